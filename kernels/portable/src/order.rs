//! Where the largest and smallest elements along an axis are: `ArgMax`, `ArgMin`, `TopK`.

use crate::arguments::Op;
use crate::element::{NUMBERS, Stored, dispatch};
use crate::number::Number;
use crate::settle::{kernel, needs};
use crate::strided::count;
use crate::table::{LATEST, Row, signature};
use std::cmp::Ordering;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Result};

pub(crate) fn rows() -> Vec<Row> {
    let places = || NUMBERS.iter().map(|&dtype| signature(&[dtype], &[7])).collect();
    let largest = NUMBERS.iter().map(|&dtype| signature(&[dtype, 7], &[dtype, 7])).collect();
    vec![
        Row::new("ArgMax", (1, LATEST), places(), Tolerance::Exact, place),
        Row::new("ArgMin", (1, LATEST), places(), Tolerance::Exact, place),
        Row::new("TopK", (10, LATEST), largest, Tolerance::Exact, top).constants(&[1]),
    ]
}

fn place(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    let axis = op.axis("axis", 0, shape.len())?;
    let mut expected = shape.clone();
    if op.attributes().integer("keepdims").unwrap_or(1) != 0 {
        expected[axis] = 1;
    } else {
        expected.remove(axis);
    }
    op.expect_output(0, &expected)?;
    let (length, step) = (shape[axis], count(&shape[axis + 1..]));
    let lines = count(&shape[..axis]) * step;
    if length == 0 && lines > 0 {
        return Err(op.invalid("there is no largest among no elements"));
    }
    let largest = op.name() == "ArgMax";
    let last = op.attributes().flag("select_last_index");
    dispatch!(op.input(0)?.dtype, numbers, S => {
        kernel(needs((lines * length) as u64 * 2, lines), move |bindings| {
            let (x, y) = (bindings.input::<<S as Stored>::Element>(0)?, bindings.output::<i64>(0)?);
            Ok(Box::new(move |call: &Call| {
                let (x, y) = (call.read(&x), call.write(&y));
                for line in call.share(lines, 1) {
                    let first = line / step * step * length + line % step;
                    let mut best = S::load(x.get(first));
                    let mut at = 0;
                    for i in 1..length {
                        let value = S::load(x.get(first + i * step));
                        // The first NaN wins, as it does in numpy.
                        let better = !best.is_nan()
                            && (value.is_nan() || if largest { value > best } else { value < best });
                        if better || (last && value == best) {
                            (best, at) = (value, i);
                        }
                    }
                    y.set(line, at as i64);
                }
                Ok(())
            }))
        })
    })
}

/// `TopK` by a heap of the best so far: the order is that of the values, ties go to the lower index, and NaN counts as the largest.
fn top(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    let axis = op.axis("axis", -1, shape.len())?;
    let k = match op.integers(1)?.as_deref() {
        Some(&[k]) if k >= 0 && k as u64 <= shape[axis] as u64 => k as usize,
        other => return Err(op.invalid(format_args!("k = {other:?} of {} elements", shape[axis])).at(1)),
    };
    let mut expected = shape.clone();
    expected[axis] = k;
    op.expect_output(0, &expected)?;
    op.expect_output(1, &expected)?;
    let (length, step) = (shape[axis], count(&shape[axis + 1..]));
    let lines = count(&shape[..axis]) * step;
    let largest = op.attributes().integer("largest").unwrap_or(1) != 0;
    dispatch!(op.input(0)?.dtype, numbers, S => {
        let cost = lines as u64 * length as u64 * (2 + (k as f64 + 1.0).log2() as u64);
        let mut requirements = needs(cost, lines);
        // One heap of places for each line, the worst of those kept on top.
        requirements.workspace = u32::try_from(k * size_of::<u32>()).map_err(|_| op.invalid("k beyond 32 bits"))?;
        kernel(requirements, move |bindings| {
            type E<S> = <S as Stored>::Element;
            let x = bindings.input::<E<S>>(0)?;
            let (values, places) = (bindings.output::<E<S>>(0)?, bindings.output::<i64>(1)?);
            Ok(Box::new(move |call: &Call| {
                let (x, values, places) = (call.read(&x), call.write(&values), call.write(&places));
                let heap = call.workspace::<u32>();
                for line in call.share(lines, 1) {
                    let first = line / step * step * length + line % step;
                    let value = |place: u32| S::load(x.get(first + place as usize * step));
                    let better = |a: u32, b: u32| {
                        let order = rank(value(a), value(b));
                        let order = if largest { order.reverse() } else { order };
                        order.then(a.cmp(&b)) == Ordering::Less
                    };
                    // Makes place `at` of a heap of `size` hold the worst of those below it.
                    let sink = |mut at: usize, size: usize| loop {
                        let mut worst = at;
                        for child in [2 * at + 1, 2 * at + 2] {
                            if child < size && better(heap.get(worst), heap.get(child)) {
                                worst = child;
                            }
                        }
                        if worst == at {
                            return;
                        }
                        let moved = heap.get(at);
                        heap.set(at, heap.get(worst));
                        heap.set(worst, moved);
                        at = worst;
                    };
                    for i in 0..k {
                        heap.set(i, i as u32);
                    }
                    for at in (0..k / 2).rev() {
                        sink(at, k);
                    }
                    for i in k..length {
                        if k > 0 && better(i as u32, heap.get(0)) {
                            heap.set(0, i as u32);
                            sink(0, k);
                        }
                    }
                    let out = line / step * step * k + line % step;
                    for size in (1..=k).rev() {
                        let worst = heap.get(0);
                        values.set(out + (size - 1) * step, S::store(value(worst)));
                        places.set(out + (size - 1) * step, worst.into());
                        heap.set(0, heap.get(size - 1));
                        sink(0, size - 1);
                    }
                }
                Ok(())
            }))
        })
    })
}

/// A total order in which NaN is the largest.
fn rank<V: Number>(a: V, b: V) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}
