//! Affine quantisation: real = scale * (stored - zero), rounded half to even, saturated.

use super::float::format;
use super::index::tuples;
use super::tensor::{dtype, range};
use super::{Answer, Question, Reals, Tensor, Unknown};

pub(super) fn answer(question: &Question) -> Option<Result<Vec<Answer>, Unknown>> {
    Some(match question.op.as_str() {
        "QuantizeLinear" => quantise(question),
        "DequantizeLinear" => dequantise(question),
        "DynamicQuantizeLinear" => dynamic(question),
        "sunmao.QAdd" => add(question),
        _ => return None,
    })
}

/// An f32 value as arithmetic in f32 leaves it.
pub(super) fn single(value: f64) -> f64 {
    f64::from(value as f32)
}

/// Where the scale of an element lies.
fn scale_place(question: &Question, index: &[usize], shape: &[usize], scale: &Tensor) -> usize {
    if scale.count() == 1 && scale.shape.len() <= 1 {
        return 0;
    }
    let axis = question.axis("axis", 1, shape.len());
    let block = question.whole("block_size", 0) as usize;
    if block == 0 {
        return index[axis];
    }
    index.iter().enumerate().fold(0, |at, (i, &x)| at * scale.shape[i] + if i == axis { x / block } else { x })
}

fn quantise(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let (x, scale) = (question.tensor(0)?, question.tensor(1)?);
    let zero = question.optional(2);
    let to = match question.whole("output_dtype", 0) {
        0 => zero.map_or(dtype::U8, |zero| zero.dtype),
        given => given as u16,
    };
    if format(to).is_some() {
        return Err(Unknown("quantisation to floats".into()));
    }
    let (low, high) = range(to);
    let (numbers, scales) = (x.reals(), scale.reals());
    let zeros = zero.map(|zero| zero.wholes());
    let mut values = Vec::new();
    for (at, index) in tuples(&x.shape).enumerate() {
        let place = scale_place(question, &index, &x.shape, scale);
        let ratio = single(numbers[at] / scales[place]).round_ties_even();
        let zero = zeros.as_ref().map_or(0, |zeros| zeros[place]);
        values.push(((ratio as i128).saturating_add(zero)).clamp(low, high));
    }
    Ok(vec![Answer::stored(Tensor::of_wholes(to, &x.shape, &values))])
}

fn dequantise(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let (x, scale) = (question.tensor(0)?, question.tensor(1)?);
    let to = match question.whole("output_dtype", 0) {
        0 => scale.dtype,
        given => given as u16,
    };
    let zeros = question.optional(2).map(|zero| zero.wholes());
    let (numbers, scales) = (x.wholes(), scale.reals());
    let value = |(at, index): (usize, Vec<usize>)| {
        let place = scale_place(question, &index, &x.shape, scale);
        let zero = zeros.as_ref().map_or(0, |zeros| zeros[place]);
        (numbers[at] - zero) as f64 * scales[place]
    };
    let values = tuples(&x.shape).enumerate().map(value).collect();
    Ok(vec![Answer::reals(to, &x.shape, Reals::plain(values))])
}

/// The specification computes in f32, and so must everybody whose bytes are to be the same.
fn dynamic(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let x = question.tensor(0)?;
    let numbers = x.reals();
    let low = numbers.iter().fold(0.0, |low: f64, &x| low.min(x));
    let high = numbers.iter().fold(0.0, |high: f64, &x| high.max(x));
    let scale = single(single(high - low) / 255.0);
    let scale = if scale == 0.0 { 1.0 } else { scale };
    let zero = single(-low / scale).round_ties_even().clamp(0.0, 255.0);
    let stored = |x: f64| (single(x / scale).round_ties_even() + zero).clamp(0.0, 255.0) as i128;
    let values: Vec<i128> = numbers.into_iter().map(stored).collect();
    Ok(vec![
        Answer::stored(Tensor::of_wholes(dtype::U8, &x.shape, &values)),
        Answer::stored(Tensor::of_reals(dtype::F32, &[], &[scale])),
        Answer::stored(Tensor::of_wholes(dtype::U8, &[], &[zero as i128])),
    ])
}

/// What DequantizeLinear twice, Add and QuantizeLinear make, each step in f32.
fn add(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let one = |index: usize| match question.tensor(index) {
        Ok(tensor) if tensor.count() == 1 => Ok(tensor),
        Ok(tensor) => Err(Unknown(format!("QAdd with a scale or zero point of shape {:?}", tensor.shape))),
        Err(unknown) => Err(unknown),
    };
    let real = |stored: usize| -> Result<Vec<f64>, Unknown> {
        let (scale, zero) = (one(stored + 1)?.reals()[0], one(stored + 2)?.wholes()[0]);
        let real = |byte: i128| single((byte - zero) as f64 * scale);
        Ok(question.tensor(stored)?.wholes().into_iter().map(real).collect())
    };
    let (a, b) = (real(0)?, real(3)?);
    let (scale, zero) = (one(6)?.reals()[0], one(7)?);
    let shape = &question.tensor(0)?.shape;
    if *shape != question.tensor(3)?.shape {
        return Err(Unknown("QAdd of tensors of different shapes".into()));
    }
    let (low, high) = range(zero.dtype);
    let behind = zero.wholes()[0];
    let stored = |(a, b): (f64, f64)| {
        let ratio = single(single(a + b) / scale).round_ties_even();
        (ratio as i128).saturating_add(behind).clamp(low, high)
    };
    let values: Vec<i128> = a.into_iter().zip(b).map(stored).collect();
    Ok(vec![Answer::stored(Tensor::of_wholes(zero.dtype, shape, &values))])
}

/// Exact sums as the output's stored type: in f32 times the scales of inputs 1 and 4 by that of input 6, rounded half to even, behind the zero point,
/// saturated.
pub(super) fn requantised(question: &Question, sums: &[i128], shape: &[usize]) -> Result<Vec<Answer>, Unknown> {
    let scale = |index| question.tensor(index).map(|scale| scale.reals()[0]);
    let factor = single(single(scale(1)? * scale(4)?) / scale(6)?);
    let zero = question.tensor(7)?;
    if zero.count() != 1 {
        return Err(Unknown(format!("{} with several output scales", question.op)));
    }
    let (low, high) = range(zero.dtype);
    let zero_point = zero.wholes()[0];
    let stored =
        |sum: &i128| (single(single(*sum as f64) * factor).round_ties_even() as i128 + zero_point).clamp(low, high);
    let values: Vec<i128> = sums.iter().map(stored).collect();
    Ok(vec![Answer::stored(Tensor::of_wholes(zero.dtype, shape, &values))])
}
