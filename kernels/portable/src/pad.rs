//! `Pad` in all its modes, with negative pads too.

use crate::arguments::{Op, dims};
use crate::element::{MOVED, Stored, dispatch};
use crate::number::Number;
use crate::settle::{kernel, needs};
use crate::strided::{count, dense_strides};
use crate::table::{LATEST, MAX_RANK, Row, signature};
use std::ops::Range;
use std::sync::Arc;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Result};

pub(crate) fn rows() -> Vec<Row> {
    let signatures = MOVED.iter().flat_map(|&d| [6, 7].map(|axes| signature(&[d, 7, d, axes], &[d]))).collect();
    vec![Row::new("Pad", (11, LATEST), signatures, Tolerance::Exact, pad).constants(&[1, 3])]
}

/// One axis of the output: which element of the input each of its elements is.
struct Axis {
    /// None is the constant.
    sources: Vec<Option<u32>>,
    /// Neighbours in the output that are neighbours in the input.
    straight: Range<usize>,
}

fn pad(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    let pads = op.integers(1)?.ok_or_else(|| op.invalid("no pads").at(1))?;
    let axes = match op.integers(3)? {
        Some(axes) => op.normalise_all(&axes, shape.len())?,
        None => (0..shape.len()).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(op.invalid(format_args!("{} pads for {} axes", pads.len(), axes.len())).at(1));
    }
    if op.optional(2).is_some_and(|value| count(&dims(value)) != 1) {
        return Err(op.invalid("the value must be a scalar").at(2));
    }
    let mode = op.attributes().text("mode");
    let mut table = Vec::new();
    for (axis, &length) in shape.iter().enumerate() {
        let place = axes.iter().position(|&a| a == axis);
        let (begin, end) = place.map_or((0, 0), |i| (pads[i], pads[axes.len() + i]));
        let longest = i64::from(u32::MAX >> 1);
        if begin.abs() > longest || end.abs() > longest || length as i64 + begin + end < 0 {
            return Err(op.invalid(format_args!("pads of {begin} and {end} for a length of {length}")).at(1));
        }
        table.push((begin, (length as i64 + begin + end) as usize));
    }
    let out: Vec<usize> = table.iter().map(|&(_, length)| length).collect();
    op.expect_output(0, &out)?;
    let mut walks = Vec::new();
    for (&(begin, longer), &length) in table.iter().zip(&shape) {
        walks.push(axis(op, mode, begin, longer, length)?);
    }
    let strides: Vec<usize> = dense_strides(&shape).iter().map(|&stride| stride as usize).collect();
    // A scalar is a row of one element.
    if walks.is_empty() {
        walks.push(Axis { sources: vec![Some(0)], straight: 0..1 });
    }
    let plan = Arc::new((walks, strides));
    let has_value = op.optional(2).is_some();
    let rows = count(&out[..out.len().saturating_sub(1)]);
    dispatch!(op.input(0)?.dtype, carriers, S => {
        kernel(needs(count(&out) as u64, rows), move |bindings| {
            type E<S> = <S as Stored>::Element;
            let (x, y) = (bindings.input_bits::<E<S>>(0)?, bindings.output_bits::<E<S>>(0)?);
            let value = if has_value { Some(bindings.input_bits::<E<S>>(2)?) } else { None };
            let plan = plan.clone();
            Ok(Box::new(move |call: &Call| {
                let (x, y) = (call.read(&x), call.write(&y));
                let zero = S::store(<S as Stored>::Value::ZERO);
                let value = value.as_ref().map_or(zero, |value| call.read(value).get(0));
                let (walks, strides) = &*plan;
                let (inner, outer) = walks.split_last().expect("a row has an axis");
                let width = inner.sources.len();
                for row in call.share(rows, 1) {
                    let to = y.part(row * width..(row + 1) * width);
                    let Some(from) = source_row(row, outer, strides) else {
                        to.fill(value);
                        continue;
                    };
                    let straight = inner.straight.clone();
                    for i in (0..straight.start).chain(straight.end..width) {
                        to.set(i, inner.sources[i].map_or(value, |source| x.get(from + source as usize)));
                    }
                    if !straight.is_empty() {
                        let start = from + inner.sources[straight.start].unwrap_or(0) as usize;
                        to.part(straight.clone()).copy_from(x.part(start..start + straight.len()));
                    }
                }
                Ok(())
            }))
        })
    })
}

/// Where the input's row for a row of the output starts; none when it is padding all along.
fn source_row(row: usize, outer: &[Axis], strides: &[usize]) -> Option<usize> {
    debug_assert!(outer.len() <= MAX_RANK);
    let (mut rest, mut offset) = (row, 0);
    for (axis, &stride) in outer.iter().zip(strides).rev() {
        offset += axis.sources[rest % axis.sources.len()]? as usize * stride;
        rest /= axis.sources.len();
    }
    Some(offset)
}

fn axis(op: Op<'_>, mode: &str, begin: i64, longer: usize, length: usize) -> Result<Axis> {
    let last = length as i64 - 1;
    let mut sources = Vec::with_capacity(longer);
    for out in 0..longer as i64 {
        let at = out - begin;
        let inside = (0..=last).contains(&at);
        if length == 0 && mode != "constant" && !mode.is_empty() {
            return Err(op.invalid("an axis without elements has none to pad with"));
        }
        let source = match mode {
            "" | "constant" => inside.then_some(at),
            "edge" => Some(at.clamp(0, last)),
            "wrap" => Some(at.rem_euclid(length as i64)),
            "reflect" if last == 0 => Some(0),
            "reflect" => {
                let turn = at.rem_euclid(2 * last);
                Some(if turn > last { 2 * last - turn } else { turn })
            }
            other => return Err(op.unsupported(format_args!("mode `{other}`"))),
        };
        sources.push(source.map(|at| at as u32));
    }
    let start = begin.clamp(0, longer as i64) as usize;
    let end = (begin + length as i64).clamp(start as i64, longer as i64) as usize;
    Ok(Axis { sources, straight: start..end })
}
