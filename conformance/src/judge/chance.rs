//! Operators that draw numbers: ONNX's expected values are one draw of numpy's generator, which no other implementation repeats.
//!
//! They are judged by what the operator promises whatever the draw: shape, type, which values may occur, and how often, within five standard
//! deviations. Reports say so in the case's rule. The cases are listed in [`Chance::of`] and nowhere else.

use super::elements::Elements;
use crate::{CaseValue, Comparison, DataSet};
use sunmao_graph::{DType, Tensor};

/// What is promised of a draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chance {
    /// Zeros and ones, a one with the probability that the input has there.
    Bernoulli,
    /// The input times 1 / (1 - ratio), or zero with probability `ratio`; the mask says which.
    Dropout,
}

/// Dropout's ratio where none is given.
const USUAL_RATIO: f64 = 0.5;
/// Deviations from the mean that a draw may have.
const SIGMAS: f64 = 5.0;
/// Relative error of the scaled elements: the tolerance of ONNX's cases.
const SCALED: f64 = 1e-3;

impl Chance {
    /// The rule of ONNX's case of that name; none where the expected values must come out.
    pub fn of(case: &str) -> Option<Self> {
        // A ratio of zero drops nothing, so there the values are known.
        if case.starts_with("test_bernoulli") {
            Some(Chance::Bernoulli)
        } else if case.starts_with("test_training_dropout") && !case.contains("zero_ratio") {
            Some(Chance::Dropout)
        } else {
            None
        }
    }

    /// In words, for reports.
    pub fn rule(self) -> &'static str {
        match self {
            Chance::Bernoulli => "random: shape, type, zeros and ones, their number within 5 sigma",
            Chance::Dropout => {
                "random: shape, type, zero or the scaled input as the mask says, their number within 5 sigma"
            }
        }
    }
}

/// Judges a draw. The error says what promise does not hold.
pub fn judge_by_chance(
    chance: Chance,
    data: &DataSet,
    actual: &[(String, CaseValue)],
    seen: &mut Comparison,
) -> Result<(), String> {
    seen.rule = chance.rule().to_owned();
    seen.as_peers = Some(false);
    for ((name, expected), (_, actual)) in data.outputs.iter().zip(actual) {
        let (expected, actual) = (as_tensor(expected)?, as_tensor(actual)?);
        super::check_kind(expected, actual).map_err(|what| format!("output {name}: {what}"))?;
        seen.values += 1;
        seen.elements += numbers(actual)?.len() as u64;
    }
    let input = numbers(as_tensor(&data.inputs.first().ok_or("the case has no input")?.1)?)?;
    let output = numbers(as_tensor(&actual.first().ok_or("there is no output")?.1)?)?;
    match chance {
        Chance::Bernoulli => {
            if let Some(odd) = output.iter().find(|value| **value != 0.0 && **value != 1.0) {
                return Err(format!("{odd} is neither 0 nor 1"));
            }
            frequency("ones", output.iter().sum(), input.iter().copied())
        }
        Chance::Dropout => {
            let ratio = data.inputs.get(1).map(|(_, ratio)| as_tensor(ratio).and_then(numbers)).transpose()?;
            let ratio = ratio.and_then(|values| values.first().copied()).unwrap_or(USUAL_RATIO);
            let scale = 1.0 / (1.0 - ratio);
            let kept = |(x, y): (&f64, &f64)| (y - x * scale).abs() <= SCALED * (x * scale).abs();
            for (at, pair) in input.iter().zip(&output).enumerate() {
                if *pair.1 != 0.0 && !kept(pair) {
                    return Err(format!("element {at}: {} is neither 0 nor {} times {scale}", pair.1, pair.0));
                }
            }
            if let Some((_, mask)) = actual.get(1) {
                let mask = numbers(as_tensor(mask)?)?;
                let agrees = |at: usize| (mask[at] != 0.0) == (output[at] != 0.0) || input[at] == 0.0;
                if let Some(at) = (0..mask.len()).find(|&at| !agrees(at)) {
                    return Err(format!("element {at}: the mask is {} and the output {}", mask[at], output[at]));
                }
            }
            let dropped = output.iter().filter(|value| **value == 0.0).count() as f64;
            frequency("dropped elements", dropped, input.iter().map(|_| ratio))
        }
    }
}

fn frequency(what: &str, count: f64, probabilities: impl Iterator<Item = f64>) -> Result<(), String> {
    let (mean, variance) = probabilities.fold((0.0, 0.0), |(mean, variance), p| (mean + p, variance + p * (1.0 - p)));
    // Half a case for rounding: counts are whole.
    if (count - mean).abs() > SIGMAS * variance.sqrt() + 0.5 {
        return Err(format!("{count} {what} where {mean:.1} are expected"));
    }
    Ok(())
}

fn as_tensor(value: &CaseValue) -> Result<&Tensor, String> {
    match value {
        CaseValue::Tensor(tensor) => Ok(tensor),
        _ => Err("a container where a tensor is expected".to_owned()),
    }
}

fn numbers(tensor: &Tensor) -> Result<Vec<f64>, String> {
    match Elements::read(tensor) {
        Some(Elements::Numbers(numbers)) => Ok(numbers),
        Some(Elements::Bits(DType::Bool | DType::I32 | DType::I64 | DType::U8, bits)) => {
            Ok(bits.iter().map(|&bits| bits as f64).collect())
        }
        _ => Err(format!("{} is no element type for this", tensor.dtype)),
    }
}
