//! Random tensors, samples, and Dropout.
//!
//! With a seed a node gives the same numbers each time it runs. Without one they differ from run to run; see `generator` for where
//! they come from.

use super::Value;
use super::call::{Call, Outcome, bools, numbers_as, one};
use super::generator::Generator;
use super::limits::{Steps, check_bytes};
use sunmao_graph::tensor::elements;
use sunmao_graph::{DType, Tensor};

/// RandomNormal and RandomNormalLike.
pub(super) fn normal(call: &Call<'_>) -> Outcome {
    let (mean, scale) = (call.number_attribute("mean")?, call.number_attribute("scale")?);
    filled(call, |generator| generator.normal() * scale + mean)
}

/// RandomUniform and RandomUniformLike.
pub(super) fn uniform(call: &Call<'_>) -> Outcome {
    let (low, high) = (call.number_attribute("low")?, call.number_attribute("high")?);
    filled(call, |generator| generator.uniform() * (high - low) + low)
}

/// Bernoulli: 1 with the probability that an element is, else 0.
pub(super) fn bernoulli(call: &Call<'_>) -> Outcome {
    let tensor = call.tensor(0)?;
    let dtype = call.dtype_attribute("dtype")?.unwrap_or(tensor.dtype);
    let mut generator = generator(call);
    let drawn: Vec<f64> =
        call.numbers(0)?.into_iter().map(|chance| f64::from(u8::from(generator.uniform() < chance))).collect();
    one(numbers_as(dtype, tensor.shape.clone(), &drawn)?)
}

/// Multinomial: classes drawn by their unnormalised log-probabilities.
pub(super) fn multinomial(call: &Call<'_>) -> Outcome {
    let [batches, classes] = *call.tensor(0)?.shape.as_slice() else {
        return Err(format!("needs log-probabilities [batches, classes] and got {:?}", call.tensor(0)?.shape));
    };
    let dtype = call.dtype_attribute("dtype")?.unwrap_or(DType::I32);
    if !matches!(dtype, DType::I32 | DType::I64) {
        return Err(format!("draws classes as {dtype}; choose i32 or i64"));
    }
    let samples = call.attribute("sample_size")?;
    let samples = u64::try_from(samples).map_err(|_| format!("draws {samples} samples; draw at least 0"))?;
    check_bytes(samples.checked_mul(batches).and_then(|count| count.checked_mul(8)))?;
    let mut steps = Steps::new();
    let mut generator = generator(call);
    let mut drawn = Vec::with_capacity((samples * batches) as usize);
    for row in call.numbers(0)?.chunks(classes.max(1) as usize) {
        steps.take(row.len() as u64)?;
        let sums = running_sums(row);
        let total = *sums.last().unwrap_or(&0.0);
        if !(total > 0.0 && total.is_finite()) {
            return Err(
                "has a row without a finite probability; give log-probabilities of which one is finite".to_owned()
            );
        }
        for _ in 0..samples {
            let at = generator.uniform() * total;
            drawn.push(sums.partition_point(|sum| *sum <= at) as f64);
        }
    }
    if drawn.len() as u64 != samples * batches {
        return Err("has no classes to draw; give at least one".to_owned());
    }
    one(numbers_as(dtype, vec![batches, samples], &drawn)?)
}

/// Dropout: in training elements are zeroed by chance and the others scaled up; otherwise nothing changes.
pub(super) fn dropout(call: &Call<'_>) -> Outcome {
    let tensor = call.tensor(0)?;
    let ratio = if call.value(1).is_some() { call.number(1)? } else { 0.5 };
    let training = call.value(2).is_some() && call.integer(2)? != 0;
    let count = elements(&tensor.shape).unwrap_or_default() as usize;
    if !training || ratio == 0.0 {
        let mask = bools(tensor.shape.clone(), std::iter::repeat_n(true, count));
        return Ok(vec![Value::Tensor(tensor.clone()), Value::Tensor(mask)]);
    }
    if !(0.0..1.0).contains(&ratio) {
        return Err(format!("drops a ratio of {ratio}; give one from 0 to below 1"));
    }
    let mut generator = generator(call);
    let kept: Vec<bool> = (0..count).map(|_| generator.uniform() >= ratio).collect();
    let scale = 1.0 / (1.0 - ratio);
    let scaled: Vec<f64> =
        call.numbers(0)?.iter().zip(&kept).map(|(number, kept)| if *kept { number * scale } else { 0.0 }).collect();
    let result = numbers_as(tensor.dtype, tensor.shape.clone(), &scaled)?;
    Ok(vec![Value::Tensor(result), Value::Tensor(bools(tensor.shape.clone(), kept.into_iter()))])
}

/// A tensor of the shape that the node names or that its input has.
fn filled(call: &Call<'_>, draw: impl Fn(&mut Generator) -> f64) -> Outcome {
    let like: Option<&Tensor> = call.optional_tensor(0)?;
    let shape = match (like, call.node.integers("shape")) {
        (Some(like), _) => like.shape.clone(),
        (None, Some(shape)) => shape
            .iter()
            .map(|length| u64::try_from(*length).map_err(|_| format!("has the length {length}; give at least 0")))
            .collect::<Result<_, _>>()?,
        (None, None) => return Err("has neither a shape nor an input; the model is damaged".to_owned()),
    };
    let dtype = call.dtype_attribute("dtype")?.or(like.map(|like| like.dtype)).unwrap_or(DType::F32);
    if !dtype.is_float() {
        return Err(format!("draws {dtype}; choose a floating-point type in `dtype`"));
    }
    let count = check_bytes(elements(&shape).and_then(|count| count.checked_mul(8)))? / 8;
    let mut generator = generator(call);
    let drawn: Vec<f64> = (0..count).map(|_| draw(&mut generator)).collect();
    one(numbers_as(dtype, shape, &drawn)?)
}

/// The stream of the node's seed, which ONNX has as a float or, for Dropout, as an integer.
fn generator(call: &Call<'_>) -> Generator {
    let number = call.node.number("seed").filter(|seed| seed.is_finite());
    match call.node.integer("seed").or(number.map(|seed| seed as i64)) {
        Some(seed) => Generator::seeded(seed as u64),
        None => Generator::unseeded(),
    }
}

/// Sums of probabilities up to each class, of which the likeliest counts 1.
fn running_sums(logits: &[f64]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    logits
        .iter()
        .scan(0.0, |sum, logit| {
            *sum += (logit - most).exp();
            Some(*sum)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use sunmao_graph::{Attribute, DType};

    fn seed() -> (&'static str, Attribute) {
        ("seed", Attribute::Number(0.0))
    }

    #[test]
    fn random_tensors_have_the_asked_shape_and_scale() {
        let shape = || ("shape", Attribute::Integers(vec![3]));
        let uniform = [seed(), shape(), ("low", Attribute::Number(1.0)), ("high", Attribute::Number(3.0))];
        let (lengths, numbers) = as_numbers(&run_one("RandomUniform", &uniform, &[]));
        assert_eq!(lengths, [3]);
        assert_eq!(numbers, [2.097_627, 2.430_378_7, 2.205_526_8].map(|number| f64::from(number as f32)));
        let like = typed(DType::F64, &[2], &[0.0, 0.0]);
        let normal = [seed(), ("mean", Attribute::Number(1.0)), ("scale", Attribute::Number(2.0))];
        let (_, numbers) = as_numbers(&run_one("RandomNormalLike", &normal, &[like]));
        assert_eq!(numbers, [1.764052345967664 * 2.0 + 1.0, 0.4001572083672233 * 2.0 + 1.0]);
        let unseeded = || as_numbers(&run_one("RandomNormal", &[shape()], &[])).1;
        assert_ne!(unseeded(), unseeded());
    }

    #[test]
    fn chances_are_kept() {
        let chances = floats(&[4], &[0.0, 1.0, 0.6, 0.6]);
        // The third and fourth numbers of seed 0 are 0.603 and 0.545.
        assert_eq!(as_numbers(&run_one("Bernoulli", &[seed()], &[chances])).1, [0.0, 1.0, 0.0, 1.0]);
        let logits = floats(&[2, 3], &[f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY, 0.0, 0.0, f32::NEG_INFINITY]);
        let samples = [seed(), ("sample_size", Attribute::Integer(1000))];
        let (shape, drawn) = as_integers(&run_one("Multinomial", &samples, &[logits]));
        assert_eq!(shape, [2, 1000]);
        assert!(drawn[..1000].iter().all(|class| *class == 1));
        let ones: i64 = drawn[1000..].iter().sum();
        assert!((400..600).contains(&ones), "{ones} of 1000 where each class has half a chance");
        assert_eq!(
            refusal("Multinomial", &[], &[floats(&[1, 1], &[f32::NAN])]),
            "has a row without a finite probability; give log-probabilities of which one is finite"
        );
    }

    #[test]
    fn dropout_changes_nothing_outside_training() {
        let x = || floats(&[2], &[1.0, -2.0]);
        let results = run("Dropout", &[], &[x(), floats(&[], &[0.9])], 2);
        assert_eq!(results[0], x());
        assert_eq!(results[1], typed(DType::Bool, &[2], &[1.0, 1.0]));
    }

    #[test]
    fn dropout_in_training_drops_and_scales() {
        let inputs = [floats(&[4], &[1.0; 4]), floats(&[], &[0.6]), typed(DType::Bool, &[], &[1.0])];
        let results = run("Dropout", &[("seed", Attribute::Integer(0))], &inputs, 2);
        // Numbers of seed 0: 0.549, 0.715, 0.603, 0.545.
        assert_eq!(results[1], typed(DType::Bool, &[4], &[0.0, 1.0, 1.0, 0.0]));
        let (_, numbers) = as_numbers(&tensor(results[0].clone()));
        assert!(numbers.iter().zip([0.0, 2.5, 2.5, 0.0]).all(|(number, wanted)| (number - wanted).abs() < 1e-6));
        let whole = [floats(&[1], &[1.0]), floats(&[], &[1.0]), typed(DType::Bool, &[], &[1.0])];
        assert_eq!(refusal("Dropout", &[], &whole), "drops a ratio of 1; give one from 0 to below 1");
    }
}
