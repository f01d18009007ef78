//! Tensor data as JSON, flat or nested, without a tree of values in between: elements go straight into the tensor's bytes.
//!
//! The text has been checked to be JSON before it comes here (`serde_json::value::RawValue`), so the walk below only tells brackets,
//! commas and tokens apart. f32 is parsed from its digits directly: by way of f64 it would be rounded twice.

use super::strings::parse_strings;
use super::{FormatError, MAX_RANK, dense_bytes, elements};
use crate::session::Tensor;
use half::{bf16, f16};
use serde::{Serialize, Serializer};
use sunmao_graph::DType;
use sunmao_graph::tensor::read_strings;

/// The dense little-endian bytes of `text`, which holds `shape`'s elements flat or nested as the shape says.
pub fn parse_data(text: &str, dtype: DType, shape: &[u64]) -> Result<Vec<u8>, FormatError> {
    if dtype == DType::String {
        return parse_strings(text, shape);
    }
    let wanted = elements(shape).ok_or_else(|| FormatError::malformed(format!("the shape {shape:?} overflows")))?;
    // Each element takes at least a digit and a comma: what the text cannot hold is not allocated.
    let room = dense_bytes(dtype, shape).unwrap_or(0).min((text.len() as u64 / 2 + 1).saturating_mul(16)) as usize;
    let mut data = Vec::with_capacity(room);
    let nested = elements_of(text, dtype, wanted, &mut data)?;
    let found = elements(&nested).expect("no longer than the text");
    if found != wanted {
        return Err(FormatError::malformed(format!("`data` has {found} elements, the shape {shape:?} has {wanted}")));
    }
    if nested.len() > 1 && nested != shape {
        return Err(FormatError::malformed(format!(
            "`data` is nested as {nested:?}, but `shape` says {shape:?}; nest it like the shape, or send it flat"
        )));
    }
    Ok(data)
}

/// A bare array (or number) as a tensor of its own shape.
pub fn parse_array(text: &str, dtype: DType) -> Result<Tensor, FormatError> {
    let mut data = Vec::new();
    let shape = elements_of(text, dtype, u64::MAX, &mut data)?;
    Ok(Tensor { dtype, shape, data })
}

fn elements_of(text: &str, dtype: DType, most: u64, data: &mut Vec<u8>) -> Result<Vec<u64>, FormatError> {
    macro_rules! integers {
        ($type:ty) => {
            walk(text, most, |token| match token.parse::<$type>() {
                Ok(value) => {
                    data.extend_from_slice(&value.to_le_bytes());
                    Ok(())
                }
                Err(_) => Err(concat!("an integer that fits ", stringify!($type))),
            })
        };
    }
    macro_rules! floats {
        ($parse:ty, $store:ty) => {
            walk(text, most, |token| match token.parse::<$parse>().map(<$store as Convert<$parse>>::convert) {
                Ok(value) if value.is_finite() => {
                    data.extend_from_slice(&value.to_le_bytes());
                    Ok(())
                }
                _ => Err(concat!("a number within the range of ", stringify!($store))),
            })
        };
    }
    match dtype {
        DType::F32 => floats!(f32, f32),
        DType::F64 => floats!(f64, f64),
        DType::F16 => floats!(f64, f16),
        DType::BF16 => floats!(f64, bf16),
        DType::I8 => integers!(i8),
        DType::I16 => integers!(i16),
        DType::I32 => integers!(i32),
        DType::I64 => integers!(i64),
        DType::U8 => integers!(u8),
        DType::U16 => integers!(u16),
        DType::U32 => integers!(u32),
        DType::U64 => integers!(u64),
        DType::Bool => walk(text, most, |token| match token {
            "true" | "1" => {
                data.push(1);
                Ok(())
            }
            "false" | "0" => {
                data.push(0);
                Ok(())
            }
            _ => Err("true or false"),
        }),
        other => Err(FormatError::Unsupported(format!("elements of type {other} cannot be given as JSON"))),
    }
}

/// Calls `push` for each element and answers the lengths of the nesting.
#[inline]
fn walk(
    text: &str,
    most: u64,
    mut push: impl FnMut(&str) -> Result<(), &'static str>,
) -> Result<Vec<u64>, FormatError> {
    let ragged = |at: usize| {
        FormatError::malformed(format!("`data` is ragged at byte {at} of it: arrays of one level must have one length"))
    };
    let bytes = text.as_bytes();
    // How many items the arrays around the current place have so far; the length of the first complete array of each level.
    let (mut open, mut lengths) = (Vec::<u64>::new(), Vec::<Option<u64>>::new());
    let mut depth_of_elements = None;
    let mut count = 0u64;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b' ' | b'\t' | b'\n' | b'\r' | b',' => at += 1,
            b'[' => {
                if open.len() == MAX_RANK {
                    return Err(FormatError::malformed(format!("`data` is nested deeper than {MAX_RANK} levels")));
                }
                if depth_of_elements.is_some_and(|depth| open.len() >= depth) {
                    return Err(ragged(at));
                }
                if let Some(items) = open.last_mut() {
                    *items += 1;
                }
                open.push(0);
                if lengths.len() < open.len() {
                    lengths.push(None);
                }
                at += 1;
            }
            b']' => {
                let Some(items) = open.pop() else { return Err(ragged(at)) };
                let length = &mut lengths[open.len()];
                if *length.get_or_insert(items) != items {
                    return Err(ragged(at));
                }
                at += 1;
            }
            first => {
                let end = bytes[at..]
                    .iter()
                    .position(|byte| matches!(byte, b',' | b']' | b'[' | b' ' | b'\t' | b'\n' | b'\r'))
                    .map_or(bytes.len(), |n| at + n);
                if *depth_of_elements.get_or_insert(open.len()) != open.len() || lengths.len() > open.len() {
                    return Err(ragged(at));
                }
                if let Some(items) = open.last_mut() {
                    *items += 1;
                }
                count += 1;
                if count > most {
                    return Err(FormatError::malformed(format!(
                        "`data` has more than the {most} elements of its shape"
                    )));
                }
                // A text element may contain anything, delimiters too; it is refused before they matter.
                let wanted = if matches!(first, b'"' | b'{') {
                    Err("a number, not text or an object")
                } else {
                    push(text.get(at..end).unwrap_or(""))
                };
                wanted.map_err(|wanted| {
                    let token: String = text[at..].chars().take(24).take_while(|c| !matches!(c, ',' | ']')).collect();
                    FormatError::malformed(format!("element {} of `data` is `{token}`; expected {wanted}", count - 1))
                })?;
                at = end;
            }
        }
    }
    Ok(lengths.into_iter().map(|length| length.unwrap_or(0)).collect())
}

/// Turns a parsed number into the type that is stored; rounds to nearest even.
trait Convert<From> {
    fn convert(from: From) -> Self;
}
impl Convert<f32> for f32 {
    fn convert(from: f32) -> Self {
        from
    }
}
impl Convert<f64> for f64 {
    fn convert(from: f64) -> Self {
        from
    }
}
impl Convert<f64> for f16 {
    fn convert(from: f64) -> Self {
        f16::from_f64(from)
    }
}
impl Convert<f64> for bf16 {
    fn convert(from: f64) -> Self {
        bf16::from_f64(from)
    }
}

/// A tensor's elements as one flat JSON array. JSON has no infinities and no NaN: they become `null`.
pub struct FlatData<'a>(pub &'a Tensor);

impl Serialize for FlatData<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let data = &self.0.data;
        macro_rules! flat {
            ($type:ty) => {{
                let (items, _) = data.as_chunks::<{ size_of::<$type>() }>();
                serializer.collect_seq(items.iter().map(|item| <$type>::from_le_bytes(*item)))
            }};
        }
        match self.0.dtype {
            DType::F32 => flat!(f32),
            DType::F64 => flat!(f64),
            DType::F16 => {
                serializer.collect_seq(data.as_chunks::<2>().0.iter().map(|item| f16::from_le_bytes(*item).to_f32()))
            }
            DType::BF16 => {
                serializer.collect_seq(data.as_chunks::<2>().0.iter().map(|item| bf16::from_le_bytes(*item).to_f32()))
            }
            DType::I8 => flat!(i8),
            DType::I16 => flat!(i16),
            DType::I32 => flat!(i32),
            DType::I64 => flat!(i64),
            DType::U8 => flat!(u8),
            DType::U16 => flat!(u16),
            DType::U32 => flat!(u32),
            DType::U64 => flat!(u64),
            DType::Bool => serializer.collect_seq(data.iter().map(|&byte| byte != 0)),
            DType::String => match read_strings(data) {
                Some(texts) => serializer.collect_seq(texts),
                None => Err(serde::ser::Error::custom("the strings of a tensor are damaged")),
            },
            other => Err(serde::ser::Error::custom(format!("elements of type {other} cannot be given as JSON"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(data: &[u8]) -> Vec<f32> {
        data.as_chunks::<4>().0.iter().map(|item| f32::from_le_bytes(*item)).collect()
    }

    #[track_caller]
    fn refused(text: &str, dtype: DType, shape: &[u64], with: &str) {
        let error = parse_data(text, dtype, shape).unwrap_err().to_string();
        assert!(error.contains(with), "{error}");
    }

    #[test]
    fn flat_and_nested_data_are_the_same() {
        for text in ["[1, 2.5, -3e0, 4]", "[[1,2.5],[-3,4]]", " [ [ 1 , 2.5 ] , [ -3 , 4 ] ] "] {
            assert_eq!(floats(&parse_data(text, DType::F32, &[2, 2]).unwrap()), [1.0, 2.5, -3.0, 4.0]);
        }
        assert_eq!(floats(&parse_data("7", DType::F32, &[]).unwrap()), [7.0]);
        assert_eq!(floats(&parse_data("[7]", DType::F32, &[]).unwrap()), [7.0]);
        assert!(parse_data("[]", DType::F32, &[0, 3]).unwrap().is_empty());
        assert!(parse_data("[[],[]]", DType::F32, &[2, 0]).unwrap().is_empty());
    }

    #[test]
    fn a_single_is_rounded_once() {
        // Just above the middle between two singles; an f64 in between lands exactly on the middle and then goes to even.
        let text = "1.00000005960464477539062500001";
        assert_eq!(floats(&parse_data(text, DType::F32, &[]).unwrap()), [1.000_000_1]);
        assert_eq!(text.parse::<f64>().unwrap() as f32, 1.0);
    }

    #[test]
    fn integers_keep_all_their_bits() {
        let data = parse_data("[18446744073709551615, 0]", DType::U64, &[2]).unwrap();
        assert_eq!(data[..8], [0xff; 8]);
        let data = parse_data("[-9223372036854775808]", DType::I64, &[1]).unwrap();
        assert_eq!(i64::from_le_bytes(data.try_into().unwrap()), i64::MIN);
        assert_eq!(parse_data("[true,false,1,0]", DType::Bool, &[4]).unwrap(), [1, 0, 1, 0]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        refused("[1, 2]", DType::F32, &[3], "has 2 elements");
        refused("[1, 2, 3, 4]", DType::F32, &[3], "more than the 3 elements");
        refused("[[1, 2, 3], [4, 5, 6]]", DType::F32, &[3, 2], "nested as [2, 3]");
        refused("[[1, 2], [3]]", DType::F32, &[3], "ragged");
        refused("[1, [2, 3]]", DType::F32, &[3], "ragged");
        refused("[[2, 3], 1]", DType::F32, &[3], "ragged");
        refused("[1, 256]", DType::U8, &[2], "element 1 of `data` is `256`; expected an integer that fits u8");
        refused("[1.5]", DType::I64, &[1], "an integer");
        refused("[1e39]", DType::F32, &[1], "range of f32");
        refused("[70000]", DType::F16, &[1], "range of f16");
        refused("[null]", DType::F32, &[1], "`null`");
        refused("[\"1,2\"]", DType::F32, &[1], "not text");
        refused("[\"a b\u{e9}\"]", DType::F32, &[1], "not text");
        refused(&"[".repeat(40), DType::F32, &[1], "nested deeper");
        refused("[1]", DType::F32, &[u64::MAX, 4], "overflows");
    }

    #[test]
    fn elements_are_written_as_the_shortest_numbers_that_read_back() {
        let data = [0.1f32, f32::NAN, 3.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let tensor = Tensor { dtype: DType::F32, shape: vec![3], data };
        assert_eq!(serde_json::to_string(&FlatData(&tensor)).unwrap(), "[0.1,null,3.0]");
        let tensor = Tensor { dtype: DType::Bool, shape: vec![2], data: vec![1, 0] };
        assert_eq!(serde_json::to_string(&FlatData(&tensor)).unwrap(), "[true,false]");
    }
}
