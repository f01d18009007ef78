//! Cast between strings and numbers.
//!
//! ONNX leaves much open. Numbers become plain decimals, without an exponent, that read back as the same number; infinities and NaN become the
//! literals that ONNX reserves. Texts are read as decimals with or without an exponent; for integers a fraction is cut off.

use super::call::{Call, Outcome, numbers_as, one};
use super::elements::{string_tensor, texts};
use super::limits::check_bytes;
use sunmao_graph::tensor::{read_integers, read_numbers};
use sunmao_graph::{DType, Tensor};

/// Cast to the type of the attribute `to`.
pub(super) fn cast(call: &Call<'_>) -> Outcome {
    let to = call.dtype_attribute("to")?.ok_or("names no element type in `to`; export the model anew")?;
    one(convert(call.tensor(0)?, to)?)
}

/// Cast to the type of the second input.
pub(super) fn cast_like(call: &Call<'_>) -> Outcome {
    one(convert(call.tensor(0)?, call.tensor(1)?.dtype)?)
}

fn convert(tensor: &Tensor, to: DType) -> Result<Tensor, String> {
    match (tensor.dtype, to) {
        (DType::String, DType::String) => Ok(tensor.clone()),
        (DType::String, _) => from_texts(tensor, to),
        (_, DType::String) => to_texts(tensor),
        (from, to) => Err(format!("casts {from} to {to}, which is a kernel's work; choose a device that has Cast")),
    }
}

fn to_texts(tensor: &Tensor) -> Result<Tensor, String> {
    let shape = tensor.shape.clone();
    let bytes = &tensor.bytes;
    match tensor.dtype {
        DType::U64 => {
            string_tensor(shape, bytes.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes).to_string()))
        }
        // Shorter decimals suffice to tell one f32 from the next.
        DType::F32 => string_tensor(
            shape,
            bytes.as_chunks().0.iter().map(|bytes| {
                let number = f32::from_le_bytes(*bytes);
                special(number.into()).unwrap_or_else(|| number.to_string())
            }),
        ),
        dtype => {
            if let Some(integers) = read_integers(dtype, bytes) {
                return string_tensor(shape, integers.iter().map(ToString::to_string));
            }
            let numbers = read_numbers(dtype, bytes)
                .ok_or_else(|| format!("does not write {dtype} as text; cast it to f32 first"))?;
            string_tensor(shape, numbers.iter().map(|number| special(*number).unwrap_or_else(|| number.to_string())))
        }
    }
}

fn special(number: f64) -> Option<String> {
    if number.is_nan() {
        Some("NaN".to_owned())
    } else if number.is_infinite() {
        Some(if number > 0.0 { "INF" } else { "-INF" }.to_owned())
    } else {
        None
    }
}

fn from_texts(tensor: &Tensor, to: DType) -> Result<Tensor, String> {
    let texts = texts(tensor)?;
    if to.is_float() || to == DType::Bool {
        let numbers = texts
            .iter()
            .enumerate()
            .map(|(index, text)| text.trim().parse().map_err(|_| unreadable(index, text, to)))
            .collect::<Result<Vec<f64>, _>>()?;
        return numbers_as(to, tensor.shape.clone(), &numbers);
    }
    let (least, most) =
        integer_range(to).ok_or_else(|| format!("does not read {to} from text; cast the text to i64 first"))?;
    let size = check_bytes(to.bytes(texts.len() as u64))?;
    let width = to.bits() as usize / 8;
    let mut bytes = Vec::with_capacity(size);
    for (index, text) in texts.iter().enumerate() {
        let number = integer(text.trim())
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| unreadable(index, text, to))?;
        bytes.extend_from_slice(&number.to_le_bytes()[..width]);
    }
    Ok(Tensor { dtype: to, shape: tensor.shape.clone(), bytes: bytes.into() })
}

/// Digits exactly; a decimal without its fraction.
fn integer(text: &str) -> Option<i128> {
    if let Ok(integer) = text.parse() {
        return Some(integer);
    }
    let number: f64 = text.parse().ok()?;
    // Far beyond every integer type, and far within i128.
    (number.abs() < 1e30).then_some(number as i128)
}

fn integer_range(dtype: DType) -> Option<(i128, i128)> {
    Some(match dtype {
        DType::I8 => (i8::MIN.into(), i8::MAX.into()),
        DType::U8 => (0, u8::MAX.into()),
        DType::I16 => (i16::MIN.into(), i16::MAX.into()),
        DType::U16 => (0, u16::MAX.into()),
        DType::I32 => (i32::MIN.into(), i32::MAX.into()),
        DType::U32 => (0, u32::MAX.into()),
        DType::I64 => (i64::MIN.into(), i64::MAX.into()),
        DType::U64 => (0, u64::MAX.into()),
        _ => return None,
    })
}

fn unreadable(index: usize, text: &str, to: DType) -> String {
    let shown: String = text.chars().take(40).collect();
    format!("cannot read {shown:?}, element {index}, as {to}; give decimals such as 100.5, 1e-5, INF or NaN")
}

#[cfg(test)]
mod tests {
    use super::super::Value;
    use super::super::testing::*;
    use sunmao_graph::{Attribute, DType, Tensor};

    fn cast(input: Value, to: DType) -> Tensor {
        run_one("Cast", &[("to", Attribute::Integer(to.code().into()))], &[input])
    }

    #[test]
    fn numbers_become_plain_decimals() {
        let x = floats(&[7], &[0.47892547, 1e-5, 1.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
        assert_eq!(as_texts(&cast(x, DType::String)).1, ["0.47892547", "0.00001", "1", "-0", "NaN", "INF", "-INF"]);
        let x = typed(DType::F16, &[2], &[0.5, 1e10]);
        assert_eq!(as_texts(&cast(x, DType::String)).1, ["0.5", "INF"]);
        assert_eq!(as_texts(&cast(integers(&[2], &[i64::MIN, 7]), DType::String)).1, ["-9223372036854775808", "7"]);
        assert_eq!(as_texts(&cast(typed(DType::Bool, &[2], &[1.0, 0.0]), DType::String)).1, ["1", "0"]);
    }

    #[test]
    fn texts_are_read_as_decimals() {
        let x = || strings(&[6], &["0.47892547", "1e-5", "1E8", "+inf", "-INF", "NaN"]);
        let (_, numbers) = as_numbers(&cast(x(), DType::F32));
        assert_eq!(numbers[..5], [f64::from(0.47892547f32), f64::from(1e-5f32), 1e8, f64::INFINITY, f64::NEG_INFINITY]);
        assert!(numbers[5].is_nan());
        let (_, integers) = as_integers(&cast(strings(&[3], &["100.5", "-9223372036854775808", " 7"]), DType::I64));
        assert_eq!(integers, [100, i64::MIN, 7]);
        let large = cast(strings(&[1], &["18446744073709551615"]), DType::U64);
        assert_eq!(*large.bytes, u64::MAX.to_le_bytes());
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let to = |dtype: DType| [("to", Attribute::Integer(dtype.code().into()))];
        assert_eq!(
            refusal("Cast", &to(DType::F32), &[strings(&[2], &["1", "Hello World!"])]),
            "cannot read \"Hello World!\", element 1, as f32; give decimals such as 100.5, 1e-5, INF or NaN"
        );
        assert!(refusal("Cast", &to(DType::I8), &[strings(&[1], &["300"])]).contains("as i8"));
        assert!(refusal("Cast", &to(DType::I4), &[strings(&[1], &["3"])]).contains("does not read i4"));
    }
}
