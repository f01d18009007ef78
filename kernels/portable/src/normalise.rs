//! Normalisations: layer, RMS, group, instance, batch (with given statistics), and local response. Statistics are kept in `f64`.

use crate::arguments::Op;
use crate::element::{FLOATS, Stored, dispatch};
use crate::number::Number;
use crate::settle::{CHUNK, alias, kernel, needs};
use crate::strided::{Strided, count};
use crate::table::{LATEST, Row, same, signature};
use sunmao_plugin_sdk::abi::{Attribute, Tolerance};
use sunmao_plugin_sdk::{Call, Kernel, Reader, Result};

pub(crate) fn rows() -> Vec<Row> {
    let close = Tolerance::Approximate(1e-6);
    let layer = FLOATS.iter().map(|&d| signature(&[d; 3], &[d, 1, 1])).collect();
    vec![
        Row::new("LayerNormalization", (17, LATEST), layer, close, layer_norm).in_place(&[0]),
        Row::new("RMSNormalization", (23, LATEST), same(2, 1, FLOATS), close, rms_norm).in_place(&[0]),
        Row::new("GroupNormalization", (18, LATEST), same(3, 1, FLOATS), close, group_norm).in_place(&[0]),
        Row::new("InstanceNormalization", (6, LATEST), same(3, 1, FLOATS), close, instance_norm).in_place(&[0]),
        Row::new("BatchNormalization", (7, LATEST), same(5, 1, FLOATS), close, batch_norm)
            .in_place(&[0])
            .limit("training_mode", Attribute::Integer(0))
            .limit("spatial", Attribute::Integer(1)),
        Row::new("LRN", (1, LATEST), same(1, 1, FLOATS), close, local_response),
    ]
}

/// A normalisation of rows that lie one behind the other, and what each element is scaled with and shifted by.
#[derive(Clone, Copy)]
struct Rows {
    rows: usize,
    length: usize,
    epsilon: f64,
    /// Whether the mean is taken off.
    centred: bool,
    scale: Strided,
    shift: Option<Strided>,
}

fn epsilon(op: Op<'_>) -> f64 {
    op.attributes().number("epsilon").unwrap_or(1e-5)
}

fn layer_norm(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    along_last_axes(op, true)
}

fn rms_norm(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    along_last_axes(op, false)
}

fn along_last_axes(op: Op<'_>, centred: bool) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    let axis = op.axis("axis", -1, shape.len())?;
    let under = |index: usize| {
        let given = op.shape(index)?;
        Strided::broadcast(&given, &shape)
            .ok_or_else(|| op.invalid(format_args!("shape {given:?} does not broadcast to {shape:?}")).at(index))
    };
    let rows = Rows {
        rows: count(&shape[..axis]),
        length: count(&shape[axis..]),
        epsilon: epsilon(op),
        centred,
        scale: under(1)?,
        shift: if op.optional(2).is_some() { Some(under(2)?) } else { None },
    };
    for output in [1, 2] {
        if op.wants_output(output) {
            let mut expected = shape.clone();
            expected[axis..].fill(1);
            op.expect_output(output, &expected)?;
        }
    }
    by_rows(op, rows)
}

fn instance_norm(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    let [n, c, ..] = shape[..] else { return Err(op.invalid("the input needs a batch and a channel axis")) };
    let plane = count(&shape[2..]);
    op.expect_input(1, &[c])?;
    op.expect_input(2, &[c])?;
    let by_channel = Strided::new(&[n, c, plane], &[0, 1, 0], 0);
    let rows = Rows {
        rows: n * c,
        length: plane,
        epsilon: epsilon(op),
        centred: true,
        scale: by_channel,
        shift: Some(by_channel),
    };
    by_rows(op, rows)
}

fn group_norm(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    let [n, c, ..] = shape[..] else { return Err(op.invalid("the input needs a batch and a channel axis")) };
    let groups = op.attributes().integer("num_groups").unwrap_or(0);
    if groups <= 0 || c as i64 % groups != 0 {
        return Err(op.invalid(format_args!("{groups} groups of {c} channels")));
    }
    let groups = groups as usize;
    let plane = count(&shape[2..]);
    // Revision 18 has a scale for each group, later ones have one for each channel.
    let affine = if op.revision() < 21 {
        Strided::new(&[n, groups, c / groups * plane], &[0, 1, 0], 0)
    } else {
        Strided::new(&[n, c, plane], &[0, 1, 0], 0)
    };
    let length = if op.revision() < 21 { groups } else { c };
    op.expect_input(1, &[length])?;
    op.expect_input(2, &[length])?;
    let rows = Rows {
        rows: n * groups,
        length: c / groups * plane,
        epsilon: epsilon(op),
        centred: true,
        scale: affine,
        shift: Some(affine),
    };
    by_rows(op, rows)
}

fn by_rows(op: Op<'_>, plan: Rows) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    op.expect_output(0, &shape)?;
    let mut requirements = needs(count(&shape) as u64 * 6, plan.rows);
    requirements.in_place = vec![alias(0)];
    let (wants_mean, wants_deviation) = (op.wants_output(1), op.wants_output(2));
    dispatch!(op.input(0)?.dtype, floats, S => {
        kernel(requirements, move |bindings| {
            type E<S> = <S as Stored>::Element;
            let (x, scale) = (bindings.input::<E<S>>(0)?, bindings.input::<E<S>>(1)?);
            let shift = match plan.shift {
                Some(walk) => Some((walk, bindings.input::<E<S>>(2)?)),
                None => None,
            };
            let y = bindings.output::<E<S>>(0)?;
            let means = if wants_mean { Some(bindings.output::<f32>(1)?) } else { None };
            let deviations = if wants_deviation { Some(bindings.output::<f32>(2)?) } else { None };
            Ok(Box::new(move |call: &Call| {
                let (x, scale, y) = (call.read(&x), call.read(&scale), call.write(&y));
                let mut scales = [<S as Stored>::Value::default(); CHUNK];
                let mut shifts = [<S as Stored>::Value::default(); CHUNK];
                for row in call.share(plan.rows, 1) {
                    let span = row * plan.length..(row + 1) * plan.length;
                    let (mean, inverse) = statistics::<S>(&x.part(span.clone()), plan.centred, plan.epsilon);
                    if let Some(means) = &means {
                        call.write(means).set(row, mean as f32);
                    }
                    if let Some(deviations) = &deviations {
                        call.write(deviations).set(row, inverse as f32);
                    }
                    for at in span.clone().step_by(CHUNK) {
                        let n = CHUNK.min(span.end - at);
                        plan.scale.load::<S>(&scale, at, &mut scales[..n]);
                        if let Some((walk, shift)) = &shift {
                            walk.load::<S>(&call.read(shift), at, &mut shifts[..n]);
                        }
                        let (from, to) = (x.part(at..at + n), y.part(at..at + n));
                        for i in 0..n {
                            let value = (S::load(from.get(i)).to_f64() - mean) * inverse;
                            let value = value * scales[i].to_f64() + shifts[i].to_f64();
                            to.set(i, S::store(<S as Stored>::Value::from_f64(value)));
                        }
                    }
                }
                Ok(())
            }))
        })
    })
}

/// The mean (zero when the row is not centred) and the inverse of the deviation from it.
fn statistics<S: Stored>(row: &Reader<'_, S::Element>, centred: bool, epsilon: f64) -> (f64, f64) {
    let values = || row.iter().map(|element| S::load(element).to_f64());
    let count = row.len() as f64;
    let mean = if centred { values().sum::<f64>() / count } else { 0.0 };
    let variance = values().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

fn batch_norm(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    op.expect_output(0, &shape)?;
    if (1..op.0.outputs.len()).any(|i| op.wants_output(i)) {
        return Err(op.unsupported("running statistics as outputs"));
    }
    let channels = shape.get(1).copied().unwrap_or(1);
    for index in 1..5 {
        op.expect_input(index, &[channels])?;
    }
    let (planes, plane) = (shape.first().copied().unwrap_or(1) * channels, count(shape.get(2..).unwrap_or(&[])));
    let epsilon = epsilon(op);
    let mut requirements = needs(count(&shape) as u64, planes);
    requirements.in_place = vec![alias(0)];
    dispatch!(op.input(0)?.dtype, floats, S => {
        kernel(requirements, move |bindings| {
            type E<S> = <S as Stored>::Element;
            let input = |index| bindings.input::<E<S>>(index);
            let (x, scale, shift, mean, variance) = (input(0)?, input(1)?, input(2)?, input(3)?, input(4)?);
            let y = bindings.output::<E<S>>(0)?;
            Ok(Box::new(move |call: &Call| {
                let (x, y) = (call.read(&x), call.write(&y));
                for at in call.share(planes, 1) {
                    let of_channel = |input| S::load(call.read::<E<S>>(input).get(at % channels)).to_f64();
                    let factor = of_channel(&scale) / (of_channel(&variance) + epsilon).sqrt();
                    let (mean, shift) = (of_channel(&mean), of_channel(&shift));
                    let span = at * plane..(at + 1) * plane;
                    let (from, to) = (x.part(span.clone()), y.part(span));
                    for i in 0..to.len() {
                        let value = (S::load(from.get(i)).to_f64() - mean) * factor + shift;
                        to.set(i, S::store(<S as Stored>::Value::from_f64(value)));
                    }
                }
                Ok(())
            }))
        })
    })
}

/// A power; three quarters, which nearly every model asks for, by roots, ten times as fast.
fn power(base: f64, exponent: f64) -> f64 {
    if exponent == 0.75 && base >= 0.0 {
        let root = base.sqrt();
        return root * root.sqrt();
    }
    libm::pow(base, exponent)
}

/// `LRN`: each element is divided by a power of the squares around it, across channels.
fn local_response(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    op.expect_output(0, &shape)?;
    let [n, channels, ..] = shape[..] else { return Err(op.invalid("the input needs a batch and a channel axis")) };
    let number = |key: &str, default: f64| op.attributes().number(key).unwrap_or(default);
    let (alpha, beta, bias) = (number("alpha", 1e-4), number("beta", 0.75), number("bias", 1.0));
    let size = op.attributes().integer("size").unwrap_or(0);
    if size < 1 {
        return Err(op.invalid(format_args!("size {size}")));
    }
    let size = size as usize;
    let (before, after) = ((size - 1) / 2, size / 2);
    let plane = count(&shape[2..]);
    dispatch!(op.input(0)?.dtype, floats, S => {
        kernel(needs((count(&shape) * (size + 20)) as u64, n * channels), move |bindings| {
            type E<S> = <S as Stored>::Element;
            let (x, y) = (bindings.input::<E<S>>(0)?, bindings.output::<E<S>>(0)?);
            Ok(Box::new(move |call: &Call| {
                let (x, y) = (call.read(&x), call.write(&y));
                for at in call.share(n * channels, 1) {
                    let (batch, channel) = (at / channels, at % channels);
                    let around = channel.saturating_sub(before)..channels.min(channel.saturating_add(after) + 1);
                    for i in 0..plane {
                        let value = |c: usize| S::load(x.get((batch * channels + c) * plane + i)).to_f64();
                        let squares: f64 = around.clone().map(|c| value(c) * value(c)).sum();
                        let result = value(channel) / power(bias + alpha / size as f64 * squares, beta);
                        y.set(at * plane + i, S::store(<S as Stored>::Value::from_f64(result)));
                    }
                }
                Ok(())
            }))
        })
    })
}
