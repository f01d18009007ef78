//! LabelEncoder of ai.onnx.ml: elements for elements, by a table.

use super::call::{Call, Outcome, one};
use super::elements::{concat, gathered, reshaped, string_tensor, texts};
use std::collections::HashMap;
use sunmao_graph::tensor::{elements, read_integers, read_numbers};
use sunmao_graph::{DType, Tensor};

/// What an element is found by.
#[derive(PartialEq, Eq, Hash)]
enum Key<'a> {
    Text(&'a str),
    Integer(i64),
    /// Bits of a number, one for every NaN and one for both zeros.
    Number(u64),
}

/// For each element the value of its key, or the default.
pub(super) fn encode(call: &Call<'_>) -> Outcome {
    let data = call.tensor(0)?;
    let key_table = table(call, 1, ["keys_floats", "keys_int64s", "keys_strings"])?;
    let values = table(call, 2, ["values_floats", "values_int64s", "values_strings"])?;
    let keys = keys(&key_table)?;
    let count = elements(&values.shape).unwrap_or_default();
    if keys.len() as u64 != count {
        return Err(format!("has {} keys and {count} values; give one value for each key", keys.len()));
    }
    if data.dtype != key_table.dtype {
        return Err(format!("looks {} up among keys of {}; cast it first", data.dtype, key_table.dtype));
    }
    // Of equal keys the last one counts.
    let places: HashMap<Key<'_>, usize> = keys.into_iter().enumerate().map(|(place, key)| (key, place)).collect();
    let behind = count as usize;
    let chosen: Vec<usize> = self::keys(data)?.iter().map(|key| places.get(key).copied().unwrap_or(behind)).collect();
    let with_default = concat(&[&reshaped(&values, vec![count])?, &default_value(call, values.dtype)?], 0)?;
    one(gathered(&with_default, data.shape.clone(), &chosen)?)
}

/// A list from an input or from one of three attributes: floats, integers, texts.
fn table(call: &Call<'_>, input: usize, attributes: [&str; 3]) -> Result<Tensor, String> {
    let mut found: Vec<Tensor> = call.optional_tensor(input)?.cloned().into_iter().collect();
    if let Some(floats) = call.number_list(attributes[0]) {
        let floats: Vec<f32> = floats.iter().map(|number| *number as f32).collect();
        found.push(Tensor::from_f32(vec![floats.len() as u64], &floats));
    }
    found.extend(call.node.integers(attributes[1]).map(Tensor::vector));
    if let Some(texts) = call.text_list(attributes[2]) {
        found.push(string_tensor(vec![texts.len() as u64], texts)?);
    }
    match <[Tensor; 1]>::try_from(found) {
        Ok([single]) => Ok(single),
        Err(found) => Err(format!("has {} of {attributes:?} and a tensor of them; give exactly one", found.len())),
    }
}

fn keys(tensor: &Tensor) -> Result<Vec<Key<'_>>, String> {
    if tensor.dtype == DType::String {
        return Ok(texts(tensor)?.into_iter().map(Key::Text).collect());
    }
    if let Some(integers) = read_integers(tensor.dtype, &tensor.bytes) {
        return Ok(integers.into_iter().map(Key::Integer).collect());
    }
    let numbers = read_numbers(tensor.dtype, &tensor.bytes)
        .ok_or_else(|| format!("looks {} up, which is no key; cast it to a plain number type", tensor.dtype))?;
    let bits = |number: f64| if number.is_nan() { f64::NAN.to_bits() } else { (number + 0.0).to_bits() };
    Ok(numbers.into_iter().map(|number| Key::Number(bits(number))).collect())
}

/// The value of what is not found, as a vector of one.
fn default_value(call: &Call<'_>, dtype: DType) -> Result<Tensor, String> {
    if let Some(tensor) = call.optional_tensor(3)? {
        if tensor.dtype != dtype || elements(&tensor.shape) != Some(1) {
            return Err(format!("has a default {}{:?}; give one {dtype}", tensor.dtype, tensor.shape));
        }
        return reshaped(tensor, vec![1]);
    }
    // The typed defaults belong to the lists of the same type; other types take the number that ONNX names, if it fits.
    match dtype {
        DType::String => string_tensor(vec![1], [call.text("default_string")?]),
        DType::I64 => Ok(Tensor::vector(&[call.attribute("default_int64")?])),
        dtype => {
            let number = if dtype.is_float() { call.number_attribute("default_float")? } else { -1.0 };
            Tensor::from_numbers(dtype, vec![1], &[number])
                .ok_or_else(|| format!("has values of {dtype} and no default; give default_tensor"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{Value, evaluate};
    use sunmao_graph::{Attribute, DType, Tensor};

    const OP: &str = "ai.onnx.ml.LabelEncoder";

    fn letters() -> Attribute {
        Attribute::Texts(["a", "b", "c"].map(str::to_owned).to_vec())
    }

    fn words() -> Value {
        strings(&[5], &["a", "b", "d", "c", "g"])
    }

    #[test]
    fn texts_become_integers() {
        let lists = || [("keys_strings", letters()), ("values_int64s", Attribute::Integers(vec![0, 1, 2]))];
        assert_eq!(as_integers(&run_one(OP, &lists(), &[words()])), (vec![5], vec![0, 1, -1, 2, -1]));
        let with_default = [lists().to_vec(), vec![("default_int64", Attribute::Integer(42))]].concat();
        assert_eq!(as_integers(&run_one(OP, &with_default, &[words()])).1, [0, 1, 42, 2, 42]);
    }

    #[test]
    fn tensors_of_keys_and_values() {
        let shorts = |values: &[f64]| Some(typed(DType::I16, &[values.len() as u64], values));
        let inputs = [Some(words()), Some(strings(&[3], &["a", "b", "c"])), shorts(&[0., 1., 2.]), shorts(&[42.])];
        let results = evaluate(&node(OP, &[], 1), &inputs).expect("runs");
        let expected = Tensor::from_numbers(DType::I16, vec![5], &[0., 1., 42., 2., 42.]).expect("plain");
        assert_eq!(results, [Some(Value::Tensor(expected.clone()))]);
        let inputs = [Some(words()), None, shorts(&[0., 1., 2.]), shorts(&[42.])];
        let results = evaluate(&node(OP, &[("keys_strings", letters())], 1), &inputs).expect("runs");
        assert_eq!(results, [Some(Value::Tensor(expected))]);
    }

    #[test]
    fn numbers_become_texts_and_the_last_of_equal_keys_counts() {
        let attributes = [("keys_floats", Attribute::Numbers(vec![f64::NAN, 0.0, 0.0])), ("values_strings", letters())];
        let result = run_one(OP, &attributes, &[floats(&[3], &[-f32::NAN, -0.0, 7.0])]);
        assert_eq!(as_texts(&result).1, ["a", "c", "_Unused"]);
    }

    #[test]
    fn tables_that_do_not_fit_are_refused() {
        let lists = [("keys_strings", letters()), ("values_int64s", Attribute::Integers(vec![0]))];
        assert_eq!(refusal(OP, &lists, &[words()]), "has 3 keys and 1 values; give one value for each key");
        let lists = [("keys_strings", letters()), ("values_int64s", Attribute::Integers(vec![0, 1, 2]))];
        assert_eq!(refusal(OP, &lists, &[integers(&[1], &[1])]), "looks i64 up among keys of string; cast it first");
    }
}
