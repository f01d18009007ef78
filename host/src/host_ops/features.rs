//! ArrayFeatureExtractor and Binarizer of ai.onnx.ml.

use super::call::{Call, Outcome, numbers_as, one, place};
use super::elements::{reshaped, take};
use sunmao_graph::tensor::{read_integers, read_numbers};

/// ArrayFeatureExtractor: what lies at those places of the last axis. A vector counts as a row.
pub(super) fn extract(call: &Call<'_>) -> Outcome {
    let data = call.tensor(0)?;
    let Some(length) = data.shape.last() else {
        return Err("picks features of a scalar; give it at least a vector".to_owned());
    };
    let length = usize::try_from(*length).map_err(|_| "has too long an axis".to_owned())?;
    let picked: Vec<usize> = call
        .integers(1)?
        .into_iter()
        .map(|index| {
            place(index, length).ok_or_else(|| format!("picks feature {index} of {length}; give indices below that"))
        })
        .collect::<Result<_, _>>()?;
    let taken = take(data, data.shape.len() - 1, &picked)?;
    let shape = if data.shape.len() == 1 { vec![1, picked.len() as u64] } else { taken.shape.clone() };
    one(reshaped(&taken, shape)?)
}

/// Binarizer: 1 above the threshold, else 0.
pub(super) fn binarize(call: &Call<'_>) -> Outcome {
    let tensor = call.tensor(0)?;
    let threshold = call.number_attribute("threshold")?;
    let numbers = match read_integers(tensor.dtype, &tensor.bytes) {
        Some(integers) => integers.into_iter().map(|integer| integer as f64).collect(),
        None => read_numbers(tensor.dtype, &tensor.bytes)
            .ok_or_else(|| format!("compares {} with a number; cast it to f32 first", tensor.dtype))?,
    };
    let flags: Vec<f64> = numbers.into_iter().map(|number| f64::from(u8::from(number > threshold))).collect();
    one(numbers_as(tensor.dtype, tensor.shape.clone(), &flags)?)
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use sunmao_graph::Attribute;

    const EXTRACTOR: &str = "ai.onnx.ml.ArrayFeatureExtractor";

    #[test]
    fn features_are_picked_from_the_last_axis() {
        let x = floats(&[3, 4], &[0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11.]);
        let picked = run_one(EXTRACTOR, &[], &[x, integers(&[2], &[0, 1])]);
        assert_eq!(as_numbers(&picked), (vec![3, 2], vec![0., 1., 4., 5., 8., 9.]));
        let row = run_one(EXTRACTOR, &[], &[strings(&[3], &["a", "b", "c"]), integers(&[1, 2], &[2, 0])]);
        assert_eq!(as_texts(&row), (vec![1, 2], vec!["c", "a"]));
        assert_eq!(
            refusal(EXTRACTOR, &[], &[floats(&[2], &[0.0; 2]), integers(&[1], &[2])]),
            "picks feature 2 of 2; give indices below that"
        );
    }

    #[test]
    fn numbers_above_the_threshold_are_one() {
        let threshold = [("threshold", Attribute::Number(1.0))];
        let result = run_one("ai.onnx.ml.Binarizer", &threshold, &[floats(&[4], &[0.5, 1.0, 1.5, f32::NAN])]);
        assert_eq!(as_numbers(&result), (vec![4], vec![0.0, 0.0, 1.0, 0.0]));
        let result = run_one("ai.onnx.ml.Binarizer", &threshold, &[integers(&[2], &[1, 2])]);
        assert_eq!(as_integers(&result), (vec![2], vec![0, 1]));
    }
}
