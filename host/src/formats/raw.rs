//! Raw bytes, with element type and shape given by the user: `f32:1x3x224x224`.

use super::{FormatError, MAX_RANK, dense_bytes, fits, from_datatype};
use crate::session::Tensor;
use sunmao_graph::DType;

/// An element type by its short name (`f32`) or the protocol's (`FP32`).
pub fn parse_dtype(text: &str) -> Result<DType, FormatError> {
    from_datatype(text).or_else(|| DType::ALL.iter().copied().find(|dtype| dtype.name() == text)).ok_or_else(|| {
        let known: Vec<_> = DType::ALL.iter().map(|dtype| dtype.name()).collect();
        FormatError::malformed(format!("`{text}` is no element type; known are {}", known.join(", ")))
    })
}

/// A shape as `1x3x224x224`; empty or `scalar`: no axes.
pub fn parse_shape(text: &str) -> Result<Vec<u64>, FormatError> {
    if text.is_empty() || text == "scalar" {
        return Ok(Vec::new());
    }
    let shape = text
        .split(['x', ','])
        .map(|length| {
            length
                .trim()
                .parse()
                .map_err(|_| FormatError::malformed(format!("`{text}` is no shape; write it like 1x3x224x224")))
        })
        .collect::<Result<Vec<u64>, _>>()?;
    if shape.len() > MAX_RANK {
        return Err(FormatError::malformed(format!(
            "{} axes in `{text}`; at most {MAX_RANK} are allowed",
            shape.len()
        )));
    }
    Ok(shape)
}

/// A shape in the same notation; `?` for a length that comes with the request.
pub fn shape_text(shape: &[Option<u64>]) -> String {
    if shape.is_empty() {
        return "scalar".to_owned();
    }
    shape
        .iter()
        .map(|length| length.map_or_else(|| "?".to_owned(), |length| length.to_string()))
        .collect::<Vec<_>>()
        .join("x")
}

/// Bytes as a tensor of that type and shape.
pub fn read_raw(data: Vec<u8>, dtype: DType, shape: Vec<u64>) -> Result<Tensor, FormatError> {
    match dense_bytes(dtype, &shape) {
        None if dtype == DType::String && fits(dtype, &shape, &data) => Ok(Tensor { dtype, shape, data }),
        None if dtype == DType::String => Err(FormatError::malformed(format!(
            "the file is not {shape:?} strings, each its length as a little-endian u32 and then its UTF-8 text"
        ))),
        Some(bytes) if bytes == data.len() as u64 => Ok(Tensor { dtype, shape, data }),
        Some(bytes) => Err(FormatError::malformed(format!(
            "{dtype} of shape {shape:?} takes {bytes} bytes, the file has {}",
            data.len()
        ))),
        None => Err(FormatError::malformed(format!("the shape {shape:?} overflows"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_shapes_are_read_as_written() {
        assert_eq!(parse_dtype("f32").unwrap(), DType::F32);
        assert_eq!(parse_dtype("INT64").unwrap(), DType::I64);
        assert_eq!(parse_dtype("BYTES").unwrap(), DType::String);
        assert_eq!(parse_dtype("u2").unwrap(), DType::U2);
        assert!(read_raw(b"\x01\0\0\0a".to_vec(), DType::String, vec![1]).is_ok());
        assert!(read_raw(b"\x01\0\0\0a".to_vec(), DType::String, vec![2]).is_err());
        assert!(parse_dtype("f128").unwrap_err().to_string().contains("known are"));
        assert_eq!(parse_shape("1x3x224x224").unwrap(), [1, 3, 224, 224]);
        assert_eq!(parse_shape("scalar").unwrap(), Vec::<u64>::new());
        assert!(parse_shape("1x-3").is_err());
        assert_eq!(shape_text(&[None, Some(3)]), "?x3");
        assert!(read_raw(vec![0; 7], DType::F32, vec![2]).unwrap_err().to_string().contains("takes 8 bytes"));
        assert!(read_raw(vec![0; 2], DType::I2, vec![5]).is_ok(), "four to a byte");
        assert!(read_raw(vec![], DType::F32, vec![u64::MAX, 2]).is_err());
    }
}
