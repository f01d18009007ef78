//! `ScatterElements`, `ScatterND` and `TensorScatter`: a copy of the data, then the updates in order. One shard does it all, for two updates may
//! meet in one place.

use crate::arguments::Op;
use crate::element::{MOVED, NUMBERS, Stored, dispatch};
use crate::gather::{Indices, Tuples, along};
use crate::number::Number;
use crate::settle::{alias, kernel, needs};
use crate::strided::count;
use crate::table::{LATEST, Row, signature};
use sunmao_plugin_sdk::abi::{Attribute, Tolerance};
use sunmao_plugin_sdk::{Call, Error, Input, Kernel, Output, Result};

const REDUCTIONS: [&str; 5] = ["none", "add", "mul", "max", "min"];

pub(crate) fn rows() -> Vec<Row> {
    let signatures = |dtypes: &[u16], indices: &[u16]| {
        dtypes.iter().flat_map(|&d| indices.iter().map(move |&i| signature(&[d, i, d], &[d]))).collect::<Vec<_>>()
    };
    let named = |names: &[&str]| Attribute::Texts(names.iter().map(|&name| name.into()).collect());
    let elements = |dtypes, prepare| {
        Row::new("ScatterElements", (11, LATEST), signatures(dtypes, &[6, 7]), Tolerance::Exact, prepare).in_place(&[0])
    };
    let tuples = |dtypes, prepare| {
        Row::new("ScatterND", (11, LATEST), signatures(dtypes, &[7]), Tolerance::Exact, prepare).in_place(&[0])
    };
    vec![
        elements(MOVED, scatter_elements).limit("reduction", named(&REDUCTIONS[..1])),
        elements(NUMBERS, scatter_elements).limit("reduction", named(&REDUCTIONS)),
        tuples(MOVED, scatter_nd).limit("reduction", named(&REDUCTIONS[..1])),
        tuples(NUMBERS, scatter_nd).limit("reduction", named(&REDUCTIONS)),
        Row::new("TensorScatter", (24, LATEST), tensor_scatter_signatures(), Tolerance::Exact, tensor_scatter)
            .in_place(&[0]),
    ]
}

fn tensor_scatter_signatures() -> Vec<sunmao_plugin_sdk::abi::Signature> {
    MOVED.iter().map(|&d| signature(&[d, d, 7], &[d])).collect()
}

/// Whether an update takes the place of what is there.
fn replaces(op: Op<'_>) -> bool {
    matches!(op.attributes().text("reduction"), "" | "none")
}

/// How an update meets what is there.
fn reduction<V: Number>(op: Op<'_>) -> Result<fn(V, V) -> V> {
    Ok(match op.attributes().text("reduction") {
        "add" => V::add,
        "mul" => V::mul,
        "max" => V::larger,
        "min" => V::smaller,
        other => return Err(op.unsupported(format_args!("reduction `{other}`"))),
    })
}

/// Whether this call is the one that works; if so, the data is in the output afterwards.
fn copied<S: Stored>(call: &Call, data: &Input<S::Element>, output: &Output<S::Element>) -> bool {
    if call.shard != 0 {
        return false;
    }
    call.write(output).copy_from(call.read(data));
    true
}

fn scatter_elements(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    if replaces(op) {
        dispatch!(op.input(0)?.dtype, carriers, S => elements::<S>(op, |_, new| new))
    } else {
        dispatch!(op.input(0)?.dtype, numbers, S => elements::<S>(op, reduction(op)?))
    }
}

/// Updates one by one, each at the place that its index names along the axis.
fn elements<S: Stored>(op: Op<'_>, combine: fn(S::Value, S::Value) -> S::Value) -> Result<Box<dyn Kernel>> {
    let (shape, places) = (op.shape(0)?, op.shape(1)?);
    let axis = op.axis("axis", 0, shape.len())?;
    op.expect_input(2, &places)?;
    op.expect_output(0, &shape)?;
    let (walk, stride) = along(op, &shape, &places, axis)?;
    let (length, updates) = (shape[axis], count(&places));
    let mut requirements = needs((count(&shape) + updates * 4) as u64, 1);
    requirements.in_place = vec![alias(0)];
    let index_type = op.input(1)?.dtype;
    kernel(requirements, move |bindings| {
        let (x, places) = (bindings.input_bits::<S::Element>(0)?, Indices::bind(bindings, index_type, 1)?);
        let (new, y) = (bindings.input_bits::<S::Element>(2)?, bindings.output_bits::<S::Element>(0)?);
        Ok(Box::new(move |call: &Call| {
            if !copied::<S>(call, &x, &y) {
                return Ok(());
            }
            let (new, y) = (call.read(&new), call.write(&y));
            for at in 0..updates {
                let to = walk.offset(at) + places.get(call, at, length)? * stride;
                y.set(to, S::store(combine(S::load(y.get(to)), S::load(new.get(at)))));
            }
            Ok(())
        }))
    })
}

fn scatter_nd(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    if replaces(op) {
        dispatch!(op.input(0)?.dtype, carriers, S => blocks::<S>(op, |_, new| new))
    } else {
        dispatch!(op.input(0)?.dtype, numbers, S => blocks::<S>(op, reduction(op)?))
    }
}

/// Updates block by block, each at the place that a tuple of indices names.
fn blocks<S: Stored>(op: Op<'_>, combine: fn(S::Value, S::Value) -> S::Value) -> Result<Box<dyn Kernel>> {
    let (shape, places) = (op.shape(0)?, op.shape(1)?);
    let tuples = Tuples::of(op, 0, &places)?;
    let (&width, outer) = places.split_last().ok_or_else(|| op.invalid("indices without an axis").at(1))?;
    let mut expected = outer.to_vec();
    expected.extend(&shape[width..]);
    op.expect_input(2, &expected)?;
    op.expect_output(0, &shape)?;
    let blocks = count(outer);
    let mut requirements = needs((count(&shape) + count(&expected) * 2) as u64, 1);
    requirements.in_place = vec![alias(0)];
    kernel(requirements, move |bindings| {
        let (x, places) = (bindings.input_bits::<S::Element>(0)?, Indices::bind(bindings, 7, 1)?);
        let (new, y) = (bindings.input_bits::<S::Element>(2)?, bindings.output_bits::<S::Element>(0)?);
        let tuples = tuples.clone();
        Ok(Box::new(move |call: &Call| {
            if !copied::<S>(call, &x, &y) {
                return Ok(());
            }
            let (new, y) = (call.read(&new), call.write(&y));
            for at in 0..blocks {
                let to = tuples.offset(call, &places, at)?;
                for i in 0..tuples.block {
                    let value = combine(S::load(y.get(to + i)), S::load(new.get(at * tuples.block + i)));
                    y.set(to + i, S::store(value));
                }
            }
            Ok(())
        }))
    })
}

/// `TensorScatter`: writes the new entries of each batch behind those that its cache holds, around its end if the mode says so.
fn tensor_scatter(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let (shape, new_shape) = (op.shape(0)?, op.shape(1)?);
    op.expect_output(0, &shape)?;
    let axis = op.axis("axis", -2, shape.len())?;
    let fits = axis > 0
        && new_shape.len() == shape.len()
        && (0..shape.len()).all(|i| if i == axis { new_shape[i] <= shape[i] } else { new_shape[i] == shape[i] });
    if !fits {
        return Err(op.invalid(format_args!("updates of shape {new_shape:?} for {shape:?} along axis {axis}")).at(1));
    }
    if op.optional(2).is_some() {
        op.expect_input(2, &shape[..1])?;
    }
    let circular = match op.attributes().text("mode") {
        "" | "linear" => false,
        "circular" => true,
        other => return Err(op.unsupported(format_args!("mode `{other}`"))),
    };
    let has_lengths = op.optional(2).is_some();
    let (capacity, entries, block) = (shape[axis], new_shape[axis], count(&shape[axis + 1..]));
    let lines = count(&shape[..axis]);
    let per_batch = count(&shape[1..axis]);
    let mut requirements = needs((count(&shape) + count(&new_shape)) as u64, lines);
    requirements.in_place = vec![alias(0)];
    dispatch!(op.input(0)?.dtype, carriers, S => {
        kernel(requirements, move |bindings| {
            type E<S> = <S as Stored>::Element;
            let (x, new) = (bindings.input_bits::<E<S>>(0)?, bindings.input_bits::<E<S>>(1)?);
            let lengths = if has_lengths { Some(bindings.input::<i64>(2)?) } else { None };
            let y = bindings.output_bits::<E<S>>(0)?;
            Ok(Box::new(move |call: &Call| {
                let (x, new, y) = (call.read(&x), call.read(&new), call.write(&y));
                for line in call.share(lines, 1) {
                    let whole = line * capacity * block..(line + 1) * capacity * block;
                    y.part(whole.clone()).copy_from(x.part(whole.clone()));
                    let held = lengths.as_ref().map_or(0, |lengths| call.read(lengths).get(line / per_batch));
                    let room = if circular { i64::MAX } else { capacity as i64 - entries as i64 };
                    if held < 0 || held > room {
                        return Err(Error::data(format!("{entries} entries behind {held} in a cache of {capacity}")));
                    }
                    for entry in 0..entries {
                        let place = ((held as u64 + entry as u64) % capacity as u64) as usize;
                        let (to, from) = (whole.start + place * block, (line * entries + entry) * block);
                        y.part(to..to + block).copy_from(new.part(from..from + block));
                    }
                }
                Ok(())
            }))
        })
    })
}
