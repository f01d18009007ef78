//! `DFT` along any axis, forwards, backwards, and with half of the spectrum left out; `STFT` over windows of a signal.

use crate::arguments::Op;
use crate::element::{FLOATS, Stored, dispatch};
use crate::number::Number;
use crate::settle::{kernel, needs};
use crate::strided::count;
use crate::table::{LATEST, Row, signature};
use crate::transform::{Complex, Transform};
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Reader, Result, Writer};

pub(crate) fn rows() -> Vec<Row> {
    let close = Tolerance::Approximate(1e-6);
    let (mut whole, mut windows) = (Vec::new(), Vec::new());
    for &d in FLOATS {
        for size in [7, 6] {
            whole.push(signature(&[d, size, 7], &[d]));
            windows.push(signature(&[d, size, d, size], &[d]));
        }
    }
    vec![
        Row::new("DFT", (17, LATEST), whole, close, dft).constants(&[1, 2]),
        Row::new("STFT", (17, LATEST), windows, close, stft).constants(&[1, 3]),
    ]
}

/// A complex number of a tensor whose last axis holds real and imaginary parts, or real ones alone.
fn load<S: Stored>(x: &Reader<'_, S::Element>, at: usize, parts: usize) -> Complex {
    let value = |part: usize| S::load(x.get(at * parts + part)).to_f64();
    (value(0), if parts == 2 { value(1) } else { 0.0 })
}

fn store<S: Stored>(y: &Writer<'_, S::Element>, at: usize, parts: usize, value: Complex) {
    y.set(at * parts, S::store(S::Value::from_f64(value.0)));
    if parts == 2 {
        y.set(at * 2 + 1, S::store(S::Value::from_f64(value.1)));
    }
}

/// A single number of a constant input.
fn scalar(op: Op<'_>, index: usize) -> Result<Option<i64>> {
    match op.integers(index)?.as_deref() {
        None => Ok(None),
        Some(&[value]) => Ok(Some(value)),
        Some(_) => Err(op.invalid("more than one number").at(index)),
    }
}

fn dft(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let (shape, out) = (op.shape(0)?, op.output_shape(0)?);
    let rank = shape.len();
    let (from_parts, to_parts) = match (shape.last(), out.last()) {
        (Some(&from @ 1..=2), Some(&to @ 1..=2)) if rank >= 2 && out.len() == rank => (from, to),
        _ => return Err(op.invalid(format_args!("shapes {shape:?} and {out:?}: the last axis holds complex numbers"))),
    };
    let axis = op.normalise(scalar(op, 2)?.unwrap_or(-2), rank)?;
    if axis == rank - 1 {
        return Err(op.invalid("the axis of complex numbers is not transformed").at(2));
    }
    let (inverse, onesided) = (op.attributes().flag("inverse"), op.attributes().flag("onesided"));
    let given = shape[axis];
    let default = if inverse && onesided { 2 * given.saturating_sub(1) } else { given };
    let length = match scalar(op, 1)? {
        Some(length) => usize::try_from(length).map_err(|_| op.invalid(format_args!("length {length}")).at(1))?,
        None => default,
    };
    if length == 0 {
        return Err(op.invalid("a transform of no elements"));
    }
    let mut expected = shape.clone();
    expected[axis] = if onesided && !inverse { length / 2 + 1 } else { length };
    expected[rank - 1] = if inverse && onesided { 1 } else { 2 };
    op.expect_output(0, &expected)?;
    let transform = Transform::new(length);
    let step = count(&shape[axis + 1..rank - 1]);
    let lines = count(&shape[..axis]) * step;
    let produced = expected[axis];
    let mut requirements = needs(lines as u64 * transform.work(), lines);
    requirements.workspace =
        u32::try_from(transform.workspace()).map_err(|_| op.unsupported(format_args!("length {length}")))?;
    dispatch!(op.input(0)?.dtype, floats, S => {
        kernel(requirements, move |bindings| {
            type E<S> = <S as Stored>::Element;
            let (x, y) = (bindings.input::<E<S>>(0)?, bindings.output::<E<S>>(0)?);
            let transform = transform.clone();
            Ok(Box::new(move |call: &Call| {
                let (x, y) = (call.read(&x), call.write(&y));
                for line in call.share(lines, 1) {
                    let (outer, inner) = (line / step, line % step);
                    let element = |at: usize| match at < given {
                        true => load::<S>(&x, (outer * given + at) * step + inner, from_parts),
                        false => (0.0, 0.0),
                    };
                    // Half a spectrum stands for the whole one of a real signal.
                    let whole = |at: usize| match (onesided && inverse, at > length / 2) {
                        (false, _) => element(at),
                        (true, false) => {
                            let own_mirror = at == 0 || 2 * at == length;
                            let (real, imaginary) = element(at);
                            (real, if own_mirror { 0.0 } else { imaginary })
                        }
                        (true, true) => {
                            let (real, imaginary) = element(length - at);
                            (real, -imaginary)
                        }
                    };
                    transform.run(&call.workspace(), inverse, whole, |at, value| {
                        if at < produced {
                            store::<S>(&y, (outer * produced + at) * step + inner, to_parts, value);
                        }
                    });
                }
                Ok(())
            }))
        })
    })
}

fn stft(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    let (batches, samples, parts) = match shape[..] {
        [batches, samples, parts @ 1..=2] => (batches, samples, parts),
        [batches, samples] => (batches, samples, 1),
        _ => return Err(op.invalid(format_args!("a signal of shape {shape:?}"))),
    };
    let step = scalar(op, 1)?.and_then(|step| usize::try_from(step).ok()).filter(|&step| step > 0);
    let step = step.ok_or_else(|| op.invalid("a step that is not positive").at(1))?;
    let window = match op.optional(2) {
        Some(_) => match op.shape(2)?[..] {
            [window] => Some(window),
            _ => return Err(op.invalid("a window that is no vector").at(2)),
        },
        None => None,
    };
    let length = match scalar(op, 3)? {
        Some(length) => usize::try_from(length).map_err(|_| op.invalid(format_args!("length {length}")).at(3))?,
        None => window.unwrap_or(samples),
    };
    if length == 0 || length > samples || window.is_some_and(|window| window != length) {
        return Err(op.invalid(format_args!("frames of {length} elements of {samples}, window {window:?}")));
    }
    let bins = if op.attributes().integer("onesided").unwrap_or(1) != 0 { length / 2 + 1 } else { length };
    let frames = (samples - length) / step + 1;
    op.expect_output(0, &[batches, frames, bins, 2])?;
    let transform = Transform::new(length);
    let units = batches * frames;
    let mut requirements = needs(units as u64 * transform.work(), units);
    requirements.workspace =
        u32::try_from(transform.workspace()).map_err(|_| op.unsupported(format_args!("length {length}")))?;
    dispatch!(op.input(0)?.dtype, floats, S => {
        kernel(requirements, move |bindings| {
            type E<S> = <S as Stored>::Element;
            let x = bindings.input::<E<S>>(0)?;
            let weights = if window.is_some() { Some(bindings.input::<E<S>>(2)?) } else { None };
            let y = bindings.output::<E<S>>(0)?;
            let transform = transform.clone();
            Ok(Box::new(move |call: &Call| {
                let (x, y) = (call.read(&x), call.write(&y));
                let weights = weights.as_ref().map(|weights| call.read(weights));
                for unit in call.share(units, 1) {
                    let start = unit / frames * samples + unit % frames * step;
                    let element = |at: usize| {
                        let (real, imaginary) = load::<S>(&x, start + at, parts);
                        let weight = weights.as_ref().map_or(1.0, |weights| S::load(weights.get(at)).to_f64());
                        (real * weight, imaginary * weight)
                    };
                    transform.run(&call.workspace(), false, element, |at, value| {
                        if at < bins {
                            store::<S>(&y, unit * bins + at, 2, value);
                        }
                    });
                }
                Ok(())
            }))
        })
    })
}
