//! Normalisations: by an exponential's share, by mean and variance, by neighbours.

use super::index::{place, tuples, under};
use super::tensor::dtype;
use super::{Answer, Question, Reals, Tensor, Unknown};

pub(super) fn answer(question: &Question) -> Option<Result<Vec<Answer>, Unknown>> {
    Some(match question.op.as_str() {
        "Softmax" | "LogSoftmax" | "Hardmax" => softmax(question),
        "LayerNormalization" | "RMSNormalization" => last_axes(question),
        "GroupNormalization" => groups(question),
        "InstanceNormalization" => instance(question),
        "BatchNormalization" => batch(question),
        "LRN" => local_response(question),
        _ => return None,
    })
}

/// The places of the elements that differ in `axis` alone, line by line.
fn lines(shape: &[usize], axis: usize) -> Vec<Vec<usize>> {
    let mut outer = shape.to_vec();
    outer[axis] = 1;
    let line = |index: Vec<usize>| {
        let along = |i: usize| {
            let mut index = index.clone();
            index[axis] = i;
            place(&index, shape)
        };
        (0..shape[axis]).map(along).collect()
    };
    tuples(&outer).map(line).collect()
}

fn softmax(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let x = question.tensor(0)?;
    let axis = question.axis("axis", -1, x.shape.len());
    let numbers = x.reals();
    let mut values = vec![0.0; numbers.len()];
    for line in lines(&x.shape, axis) {
        let largest = line.iter().map(|&at| numbers[at]).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = line.iter().map(|&at| (numbers[at] - largest).exp()).sum();
        let first = line.iter().position(|&at| numbers[at] == largest);
        for (i, &at) in line.iter().enumerate() {
            values[at] = match question.op.as_str() {
                "Softmax" => (numbers[at] - largest).exp() / sum,
                "LogSoftmax" => numbers[at] - largest - sum.ln(),
                _ => f64::from(u8::from(Some(i) == first)),
            };
        }
    }
    Ok(vec![Answer::reals(x.dtype, &x.shape, Reals { terms: x.shape[axis].max(1), ..Reals::plain(values) })])
}

/// Mean (zero unless `centred`) and the inverse of the deviation from it.
fn statistics(numbers: &[f64], centred: bool, epsilon: f64) -> (f64, f64) {
    let count = numbers.len() as f64;
    let mean = if centred { numbers.iter().sum::<f64>() / count } else { 0.0 };
    let variance = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

fn last_axes(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let (x, scale) = (question.tensor(0)?, question.tensor(1)?);
    let shift = question.optional(2);
    let axis = question.axis("axis", -1, x.shape.len());
    let centred = question.op == "LayerNormalization";
    let epsilon = question.real("epsilon", 1e-5);
    let length: usize = x.shape[axis..].iter().product();
    let numbers = x.reals();
    let (scales, shifts) = (scale.reals(), shift.map(Tensor::reals));
    let (mut means, mut inverses) = (Vec::new(), Vec::new());
    for row in numbers.chunks(length.max(1)) {
        let (mean, inverse) = statistics(row, centred, epsilon);
        means.push(mean);
        inverses.push(inverse);
    }
    let value = |(at, index): (usize, Vec<usize>)| {
        let row = at / length;
        let normal = (numbers[at] - means[row]) * inverses[row];
        let addend = shift.zip(shifts.as_ref()).map_or(0.0, |(shift, shifts)| shifts[under(&index, &shift.shape)]);
        normal * scales[under(&index, &scale.shape)] + addend
    };
    let values: Vec<f64> = tuples(&x.shape).enumerate().map(value).collect();
    let mut kept = x.shape.clone();
    kept[axis..].fill(1);
    let reals = Reals { terms: length.max(1), ..Reals::plain(values) };
    let side = |values| Answer::reals(dtype::F32, &kept, Reals { terms: length.max(1), ..Reals::plain(values) });
    Ok(vec![Answer::reals(x.dtype, &x.shape, reals), side(means), side(inverses)])
}

/// Rows of channels: `rows` of equal length; scale and shift of an element are those of `channel(place)`.
fn by_rows(
    x: &Tensor,
    rows: usize,
    epsilon: f64,
    scale: &Tensor,
    shift: &Tensor,
    channel: impl Fn(usize) -> usize,
) -> Answer {
    let numbers = x.reals();
    let (scales, shifts) = (scale.reals(), shift.reals());
    let length = numbers.len() / rows.max(1);
    let mut values = Vec::new();
    for (row, part) in numbers.chunks(length.max(1)).enumerate() {
        let (mean, inverse) = statistics(part, true, epsilon);
        for (i, number) in part.iter().enumerate() {
            let channel = channel(row * length + i);
            values.push((number - mean) * inverse * scales[channel] + shifts[channel]);
        }
    }
    Answer::reals(x.dtype, &x.shape, Reals { terms: length.max(1), ..Reals::plain(values) })
}

fn groups(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let x = question.tensor(0)?;
    let count = question.whole("num_groups", 1) as usize;
    let (n, channels) = (x.shape[0], x.shape[1]);
    let plane: usize = x.shape[2..].iter().product();
    // Revision 18 scales each group, later ones each channel.
    let per_group = question.revision < 21;
    let channel = |at: usize| {
        let channel = at / plane % channels;
        if per_group { channel / (channels / count) } else { channel }
    };
    let (scale, shift) = (question.tensor(1)?, question.tensor(2)?);
    Ok(vec![by_rows(x, n * count, question.real("epsilon", 1e-5), scale, shift, channel)])
}

fn instance(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let x = question.tensor(0)?;
    let plane: usize = x.shape[2..].iter().product();
    let (scale, shift) = (question.tensor(1)?, question.tensor(2)?);
    let (rows, channels) = (x.shape[0] * x.shape[1], x.shape[1]);
    Ok(vec![by_rows(x, rows, question.real("epsilon", 1e-5), scale, shift, |at| at / plane % channels)])
}

fn batch(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let x = question.tensor(0)?;
    let per_channel = |index| question.tensor(index).map(Tensor::reals);
    let (scale, shift, mean, variance) = (per_channel(1)?, per_channel(2)?, per_channel(3)?, per_channel(4)?);
    let epsilon = question.real("epsilon", 1e-5);
    let channels = x.shape[1];
    let plane: usize = x.shape[2..].iter().product();
    let (mut values, mut magnitudes) = (Vec::new(), Vec::new());
    for (at, number) in x.reals().into_iter().enumerate() {
        let channel = at / plane % channels;
        let factor = scale[channel] / (variance[channel] + epsilon).sqrt();
        values.push((number - mean[channel]) * factor + shift[channel]);
        // Folded into a factor and a constant, it is a sum of three terms.
        magnitudes.push((number * factor).abs() + (mean[channel] * factor).abs() + shift[channel].abs());
    }
    Ok(vec![Answer::reals(x.dtype, &x.shape, Reals::sums(values, magnitudes, 3))])
}

fn local_response(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let x = question.tensor(0)?;
    let size = question.whole("size", 1) as usize;
    let (alpha, beta, bias) = (question.real("alpha", 1e-4), question.real("beta", 0.75), question.real("bias", 1.0));
    let numbers = x.reals();
    let channels = x.shape[1];
    let value = |(at, index): (usize, Vec<usize>)| {
        let channel = index[1];
        let first = channel.saturating_sub((size - 1) / 2);
        let last = (channels - 1).min(channel + size / 2);
        let square = |c: usize| {
            let mut from = index.clone();
            from[1] = c;
            numbers[place(&from, &x.shape)].powi(2)
        };
        let squares: f64 = (first..=last).map(square).sum();
        numbers[at] / (bias + alpha / size as f64 * squares).powf(beta)
    };
    let values = tuples(&x.shape).enumerate().map(value).collect();
    Ok(vec![Answer::reals(x.dtype, &x.shape, Reals { terms: size, ..Reals::plain(values) })])
}
