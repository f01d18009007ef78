//! `MaxPool` (with its indices), `AveragePool` and `LpPool` in one to three dimensions.

use crate::arguments::Op;
use crate::element::{FLOATS, Stored, dispatch};
use crate::number::Number;
use crate::settle::{CHUNK, kernel, needs};
use crate::table::{LATEST, Row, same, signature};
use crate::window::{Axis, Window};
use std::sync::Arc;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Reader, Result};

pub(crate) fn rows() -> Vec<Row> {
    let largest = [1, 11, 10, 16, 2, 3].iter().map(|&dtype| signature(&[dtype], &[dtype, 7])).collect();
    vec![
        Row::new("MaxPool", (1, LATEST), largest, Tolerance::Exact, pool).explicit_pads(),
        Row::new("AveragePool", (1, LATEST), same(1, 1, FLOATS), Tolerance::Accumulate(1.0), pool).explicit_pads(),
        Row::new("LpPool", (2, LATEST), same(1, 1, FLOATS), Tolerance::Approximate(1e-6), pool).explicit_pads(),
    ]
}

#[derive(Clone, Copy)]
struct Planes {
    window: Window,
    planes: usize,
}

impl Planes {
    /// Rows of all output planes.
    fn rows(&self) -> usize {
        self.planes * self.window.0[0].output * self.window.0[1].output
    }

    /// Elements that all windows hold together.
    fn work(&self) -> u64 {
        self.planes as u64 * self.window.output_len() as u64 * self.window.taps() as u64
    }

    /// Calls `visit(first output, end of outputs, first input)` for every tap that reads the input for outputs `from..to` of a row.
    #[inline]
    fn taps(&self, row: usize, from: usize, to: usize, mut visit: impl FnMut(usize, usize, usize)) {
        let [deep, high, wide] = self.window.0;
        let plane = row / (deep.output * high.output);
        for tap_d in 0..deep.kernel {
            let Some(d) = deep.source(row / high.output % deep.output, tap_d) else { continue };
            for tap_h in 0..high.kernel {
                let Some(h) = high.source(row % high.output, tap_h) else { continue };
                let line = ((plane * deep.input + d) * high.input + h) * wide.input;
                for tap_w in 0..wide.kernel {
                    let valid = wide.valid(tap_w);
                    let (first, last) = (valid.start.clamp(from, to), valid.end.clamp(from, to));
                    if first < last {
                        visit(first, last, line + first * wide.stride + tap_w * wide.dilation - wide.pad);
                    }
                }
            }
        }
    }

    /// Folds the window of every output of a stretch of a row into `sums`.
    #[inline]
    fn fold<S: Stored, V: Copy>(
        &self,
        x: &Reader<'_, S::Element>,
        row: usize,
        from: usize,
        sums: &mut [V],
        step: impl Fn(V, S::Value) -> V,
    ) {
        let stride = self.window.0[2].stride;
        self.taps(row, from, from + sums.len(), |first, last, read| {
            let sums = &mut sums[first - from..last - from];
            if stride == 1 {
                for (sum, element) in sums.iter_mut().zip(x.part(read..read + last - first).iter()) {
                    *sum = step(*sum, S::load(element));
                }
            } else {
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = step(*sum, S::load(x.get(read + i * stride)));
                }
            }
        });
    }
}

fn pool(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let (x, y) = (op.shape(0)?, op.output_shape(0)?);
    if x.len() < 3 || y.len() != x.len() || y[..2] != x[..2] {
        return Err(op.invalid(format_args!("an output of shape {y:?} from {x:?}")));
    }
    let window = Window::of(op, &x[2..], &y[2..], None)?;
    let planes = Planes { window, planes: x[0] * x[1] };
    let dtype = op.input(0)?.dtype;
    match op.name() {
        "MaxPool" if op.wants_output(1) => {
            op.expect_output(1, &y)?;
            dispatch!(dtype, [F32, F64, F16, BF16, U8, I8], S => places::<S>(op, planes))
        }
        "MaxPool" => dispatch!(dtype, [F32, F64, F16, BF16, U8, I8], S => largest::<S>(planes)),
        "AveragePool" => dispatch!(dtype, floats, S => average::<S>(op, planes)),
        _ => dispatch!(dtype, floats, S => norm::<S>(op, planes)),
    }
}

/// Computes every row: `start` and `step` fold a window, `finish` turns a fold into the output at a place of the plane.
fn folded<S: Stored, V: Copy + Send + Sync + 'static>(
    planes: Planes,
    start: V,
    step: impl Fn(V, S::Value) -> V + Copy + Send + Sync + 'static,
    finish: impl Fn(V, usize, usize) -> S::Value + Clone + Send + Sync + 'static,
) -> Result<Box<dyn Kernel>> {
    let rows = planes.rows();
    let work = planes.work();
    kernel(needs(work * 2, rows), move |bindings| {
        let (x, y) = (bindings.input::<S::Element>(0)?, bindings.output::<S::Element>(0)?);
        let finish = finish.clone();
        Ok(Box::new(move |call: &Call| {
            let (x, y) = (call.read(&x), call.write(&y));
            let width = planes.window.0[2].output;
            let plane_rows = planes.window.0[0].output * planes.window.0[1].output;
            let mut sums = [start; CHUNK];
            for row in call.share(rows, 1) {
                for from in (0..width).step_by(CHUNK) {
                    let sums = &mut sums[..CHUNK.min(width - from)];
                    sums.fill(start);
                    planes.fold::<S, V>(&x, row, from, sums, step);
                    let to = y.part(row * width + from..row * width + from + sums.len());
                    for (i, &sum) in sums.iter().enumerate() {
                        to.set(i, S::store(finish(sum, row % plane_rows, from + i)));
                    }
                }
            }
            Ok(())
        }))
    })
}

fn largest<S: Stored>(planes: Planes) -> Result<Box<dyn Kernel>> {
    folded::<S, S::Value>(planes, S::Value::LOWEST, |sum, x| x.larger(sum), |sum, _, _| sum)
}

fn average<S: Stored>(op: Op<'_>, planes: Planes) -> Result<Box<dyn Kernel>> {
    let with_pads = op.attributes().flag("count_include_pad");
    // How many elements a window has is a product over the axes.
    let counts = planes.window.0.map(|axis| {
        let counts = (0..axis.output).map(|out| window_count(&axis, out, with_pads) as f64);
        counts.collect::<Arc<[f64]>>()
    });
    let height = planes.window.0[1].output;
    let finish = move |sum: f64, row: usize, at: usize| {
        let count = counts[0][row / height] * counts[1][row % height] * counts[2][at];
        S::Value::from_f64(sum / count)
    };
    folded::<S, f64>(planes, 0.0, |sum, x| sum + x.to_f64(), finish)
}

/// Elements of the window of output `out` along one axis: those of the input, or those of the padded input.
fn window_count(axis: &Axis, out: usize, with_pads: bool) -> usize {
    let inside = |tap: usize| match with_pads {
        true => out * axis.stride + tap * axis.dilation < axis.input + axis.pad + axis.pad_end,
        false => axis.source(out, tap).is_some(),
    };
    (0..axis.kernel).filter(|&tap| inside(tap)).count()
}

fn norm<S: Stored>(op: Op<'_>, planes: Planes) -> Result<Box<dyn Kernel>> {
    let p = op.attributes().integer("p").unwrap_or(2) as f64;
    let step = move |sum: f64, x: S::Value| {
        let x = x.to_f64().abs();
        sum + if p == 2.0 { x * x } else { libm::pow(x, p) }
    };
    let finish = move |sum: f64, _, _| S::Value::from_f64(if p == 2.0 { sum.sqrt() } else { libm::pow(sum, 1.0 / p) });
    folded::<S, f64>(planes, 0.0, step, finish)
}

/// `MaxPool` with the place of each maximum in the flattened input; the first one wins.
fn places<S: Stored>(op: Op<'_>, planes: Planes) -> Result<Box<dyn Kernel>> {
    let column_major = op.attributes().flag("storage_order");
    let rows = planes.rows();
    let work = planes.work();
    let [deep, high, wide] = planes.window.0;
    kernel(needs(work * 4, rows), move |bindings| {
        let x = bindings.input::<S::Element>(0)?;
        let (y, places) = (bindings.output::<S::Element>(0)?, bindings.output::<i64>(1)?);
        Ok(Box::new(move |call: &Call| {
            let (x, y, places) = (call.read(&x), call.write(&y), call.write(&places));
            for row in call.share(rows, 1) {
                for out in 0..wide.output {
                    let mut best: Option<(S::Value, usize)> = None;
                    planes.taps(row, out, out + 1, |_, _, read| {
                        let value = S::load(x.get(read));
                        let wins = |(best, _): (S::Value, usize)| value > best || (value.is_nan() && !best.is_nan());
                        if best.is_none_or(wins) {
                            best = Some((value, read));
                        }
                    });
                    let (value, at) = best.unwrap_or((S::Value::LOWEST, 0));
                    let place = if column_major {
                        let (w, h) = (at % wide.input, at / wide.input % high.input);
                        let (d, plane) = (at / wide.input / high.input % deep.input, at / planes.window.input_len());
                        ((plane * wide.input + w) * high.input + h) * deep.input + d
                    } else {
                        at
                    };
                    y.set(row * wide.output + out, S::store(value));
                    places.set(row * wide.output + out, place as i64);
                }
            }
            Ok(())
        }))
    })
}
