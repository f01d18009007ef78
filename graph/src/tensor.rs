//! A tensor with its bytes, and element access to small ones. Arithmetic on whole tensors is the kernels' work.

use crate::{Attribute, Container, Content, DType, Dim, Role, Value};
use half::{bf16, f16};
use std::sync::Arc;

/// Type and concrete shape of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorType {
    /// Element type.
    pub dtype: DType,
    /// Lengths of the axes; empty: a scalar.
    pub shape: Vec<u64>,
}

/// A tensor: little-endian, dense, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Element type.
    pub dtype: DType,
    /// Lengths of the axes; empty: a scalar.
    pub shape: Vec<u64>,
    /// The elements.
    pub bytes: Arc<[u8]>,
}

/// Number of elements of a shape; none when it overflows.
pub fn elements(shape: &[u64]) -> Option<u64> {
    shape.iter().try_fold(1u64, |product, length| product.checked_mul(*length))
}

impl Tensor {
    /// A tensor of i64; `shape` must have as many elements.
    pub fn from_i64(shape: Vec<u64>, values: &[i64]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Tensor { dtype: DType::I64, shape, bytes: bytes.into() }
    }

    /// A vector of i64.
    pub fn vector(values: &[i64]) -> Self {
        Self::from_i64(vec![values.len() as u64], values)
    }

    /// A tensor of f32.
    pub fn from_f32(shape: Vec<u64>, values: &[f32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Tensor { dtype: DType::F32, shape, bytes: bytes.into() }
    }

    /// Numbers stored as `dtype`, rounded to nearest; none for a dtype without a plain representation.
    pub fn from_numbers(dtype: DType, shape: Vec<u64>, values: &[f64]) -> Option<Self> {
        let mut bytes = Vec::with_capacity(values.len().saturating_mul(8));
        for value in values {
            push_number(&mut bytes, dtype, *value)?;
        }
        Some(Tensor { dtype, shape, bytes: bytes.into() })
    }

    /// As a constant value of that name.
    pub fn into_value(self, name: String) -> Value {
        Value {
            name,
            dtype: Some(self.dtype),
            shape: Some(self.shape.iter().map(|length| Dim::Known(*length)).collect()),
            container: Container::Tensor,
            role: Role::Constant(Content::Bytes(self.bytes)),
        }
    }

    /// Its type.
    pub fn kind(&self) -> TensorType {
        TensorType { dtype: self.dtype, shape: self.shape.clone() }
    }
}

fn push_number(bytes: &mut Vec<u8>, dtype: DType, value: f64) -> Option<()> {
    match dtype {
        DType::F32 => bytes.extend((value as f32).to_le_bytes()),
        DType::F64 => bytes.extend(value.to_le_bytes()),
        DType::F16 => bytes.extend(f16::from_f64(value).to_le_bytes()),
        DType::BF16 => bytes.extend(bf16::from_f64(value).to_le_bytes()),
        DType::I8 => bytes.extend((value as i8).to_le_bytes()),
        DType::U8 => bytes.extend((value as u8).to_le_bytes()),
        DType::I16 => bytes.extend((value as i16).to_le_bytes()),
        DType::U16 => bytes.extend((value as u16).to_le_bytes()),
        DType::I32 => bytes.extend((value as i32).to_le_bytes()),
        DType::U32 => bytes.extend((value as u32).to_le_bytes()),
        DType::I64 => bytes.extend((value as i64).to_le_bytes()),
        DType::U64 => bytes.extend((value as u64).to_le_bytes()),
        DType::Bool => bytes.push(u8::from(value != 0.0)),
        _ => return None,
    }
    Some(())
}

/// The elements as integers; none for a type that is not integer or bool, or for u64 beyond i64.
pub fn read_integers(dtype: DType, bytes: &[u8]) -> Option<Vec<i64>> {
    fn each<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> Option<i64>) -> Option<Vec<i64>> {
        bytes.as_chunks::<N>().0.iter().map(|chunk| read(*chunk)).collect()
    }
    match dtype {
        DType::I64 => each(bytes, |b| Some(i64::from_le_bytes(b))),
        DType::I32 => each(bytes, |b| Some(i32::from_le_bytes(b).into())),
        DType::I16 => each(bytes, |b| Some(i16::from_le_bytes(b).into())),
        DType::I8 => each(bytes, |b: [u8; 1]| Some((b[0] as i8).into())),
        DType::U64 => each(bytes, |b| i64::try_from(u64::from_le_bytes(b)).ok()),
        DType::U32 => each(bytes, |b| Some(u32::from_le_bytes(b).into())),
        DType::U16 => each(bytes, |b| Some(u16::from_le_bytes(b).into())),
        DType::U8 => each(bytes, |b: [u8; 1]| Some(b[0].into())),
        DType::Bool => each(bytes, |b: [u8; 1]| Some((b[0] != 0).into())),
        _ => None,
    }
}

/// The elements as numbers; none for a type that is not a plain float.
pub fn read_numbers(dtype: DType, bytes: &[u8]) -> Option<Vec<f64>> {
    match dtype {
        DType::F32 => Some(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b).into()).collect()),
        DType::F64 => Some(bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect()),
        DType::F16 => Some(bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).into()).collect()),
        DType::BF16 => Some(bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).into()).collect()),
        _ => None,
    }
}

/// A small tensor of an attribute's numbers, as ONNX `Constant` makes it.
pub(crate) fn from_attribute(attribute: &Attribute) -> Option<Tensor> {
    match attribute {
        Attribute::Integer(value) => Some(Tensor::from_i64(vec![], &[*value])),
        Attribute::Integers(values) => Some(Tensor::vector(values)),
        Attribute::Number(value) => Tensor::from_numbers(DType::F32, vec![], &[*value]),
        Attribute::Numbers(values) => Tensor::from_numbers(DType::F32, vec![values.len() as u64], values),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip_in_every_plain_type() {
        for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
            let tensor = Tensor::from_numbers(dtype, vec![3], &[0.5, -2.0, 4.0]).expect("plain");
            assert_eq!(read_numbers(dtype, &tensor.bytes), Some(vec![0.5, -2.0, 4.0]));
        }
        for dtype in [DType::I8, DType::I16, DType::I32, DType::I64] {
            let tensor = Tensor::from_numbers(dtype, vec![2], &[-3.0, 7.0]).expect("plain");
            assert_eq!(read_integers(dtype, &tensor.bytes), Some(vec![-3, 7]));
        }
        assert_eq!(read_integers(DType::U64, &u64::MAX.to_le_bytes()), None);
        assert_eq!(Tensor::from_numbers(DType::U4, vec![1], &[1.0]), None);
    }
}
