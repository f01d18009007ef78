//! The elements of a tensor as what they are compared by: numbers for the floats that round, bytes and integers for what must be exact, texts.

use crate::strings;
use half::{bf16, f16};
use sunmao_graph::{DType, Tensor, tensor};

/// The elements of a tensor.
pub(super) enum Elements<'a> {
    /// f16, bf16, f32, f64; complex ones as real and imaginary part in turn.
    Numbers(Vec<f64>),
    /// Element by element, as bits of the type's width.
    Bits(DType, Vec<u64>),
    /// Strings.
    Texts(Vec<&'a str>),
}

impl<'a> Elements<'a> {
    /// Reads them; none where the bytes do not fit type and shape.
    pub(super) fn read(tensor: &'a Tensor) -> Option<Self> {
        let count = tensor::elements(&tensor.shape)?;
        let bytes = &*tensor.bytes;
        if tensor.dtype == DType::String {
            return strings::read(bytes).filter(|texts| texts.len() as u64 == count).map(Elements::Texts);
        }
        if tensor.dtype.bytes(count)? != bytes.len() as u64 {
            return None;
        }
        Some(match tensor.dtype {
            DType::F32 | DType::Complex64 => Elements::Numbers(each(bytes, |b| f32::from_le_bytes(b).into())),
            DType::F64 | DType::Complex128 => Elements::Numbers(each(bytes, f64::from_le_bytes)),
            DType::F16 => Elements::Numbers(each(bytes, |b| f16::from_le_bytes(b).into())),
            DType::BF16 => Elements::Numbers(each(bytes, |b| bf16::from_le_bytes(b).into())),
            dtype => Elements::Bits(dtype, bits(bytes, dtype.bits(), usize::try_from(count).ok()?)),
        })
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Elements::Numbers(numbers) => numbers.len(),
            Elements::Bits(_, bits) => bits.len(),
            Elements::Texts(texts) => texts.len(),
        }
    }

    /// Whether both have the same element there.
    pub(super) fn same(&self, other: &Self, at: usize) -> bool {
        match (self, other) {
            (Elements::Numbers(one), Elements::Numbers(other)) => one[at] == other[at],
            (Elements::Texts(one), Elements::Texts(other)) => one[at] == other[at],
            (Elements::Bits(dtype, one), Elements::Bits(_, other)) => {
                one[at] == other[at] || same_small_float(*dtype, one[at], other[at])
            }
            _ => false,
        }
    }

    /// An element for a person.
    pub(super) fn text(&self, at: usize) -> String {
        match self {
            Elements::Numbers(numbers) => numbers[at].to_string(),
            Elements::Texts(texts) => format!("{:?}", texts[at]),
            Elements::Bits(dtype, bits) => bits_text(*dtype, bits[at]),
        }
    }
}

fn each<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    bytes.as_chunks::<N>().0.iter().map(|chunk| read(*chunk)).collect()
}

/// Elements of `width` bits, at most 64 each; types under a byte have their first element in the lowest bits.
fn bits(bytes: &[u8], width: u32, count: usize) -> Vec<u64> {
    if width >= 8 {
        let chunk = |chunk: &[u8]| chunk.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
        return bytes.chunks_exact(width as usize / 8).map(chunk).collect();
    }
    let (per_byte, mask) = ((8 / width) as usize, (1u8 << width) - 1);
    (0..count).map(|at| u64::from(bytes[at / per_byte] >> (width as usize * (at % per_byte)) & mask)).collect()
}

fn bits_text(dtype: DType, bits: u64) -> String {
    let width = dtype.bits();
    if dtype.is_float() || dtype.name().starts_with("f8") {
        return format!("{bits:#04x} ({dtype})");
    }
    if dtype.name().starts_with('i') && width < 64 {
        let shift = 64 - width;
        return (((bits << shift) as i64) >> shift).to_string();
    }
    if dtype == DType::I64 { (bits as i64).to_string() } else { bits.to_string() }
}

/// Which bytes of a small float are no numbers.
pub(super) enum NaN {
    /// All of the exponent and more of the mantissa than infinity.
    Above(u8),
    /// One byte.
    Only(u8),
}

impl NaN {
    pub(super) fn of(dtype: DType) -> Option<Self> {
        match dtype.name() {
            "f8e4m3fn" => Some(NaN::Above(0x7e)),
            "f8e5m2" => Some(NaN::Above(0x7c)),
            "f8e4m3fnuz" | "f8e5m2fnuz" => Some(NaN::Only(0x80)),
            "f8e8m0" => Some(NaN::Only(0xff)),
            _ => None,
        }
    }

    pub(super) fn fits(&self, byte: u8) -> bool {
        match self {
            NaN::Above(last) => byte & 0x7f > *last,
            NaN::Only(only) => byte == *only,
        }
    }
}

/// NaN and NaN, or zeros of both signs, of a float of 8 or 4 bits.
fn same_small_float(dtype: DType, one: u64, other: u64) -> bool {
    let byte = |bits: u64| u8::try_from(bits).unwrap_or(0);
    let both_nan = super::is_nan(dtype, byte(one)) && super::is_nan(dtype, byte(other));
    let sign = match dtype {
        DType::F8E4M3FN | DType::F8E5M2 => 0x80,
        DType::F4E2M1 => 0x8,
        _ => return both_nan,
    };
    both_nan || (one & !sign == 0 && other & !sign == 0)
}

/// The distance from `value` to the next number of the type, further from zero; for subnormal numbers the smallest one.
pub(super) fn spacing(dtype: DType, value: f64) -> f64 {
    let (mantissa, least_exponent) = match dtype {
        DType::F16 => (10, -14),
        DType::BF16 => (7, -126),
        DType::F64 | DType::Complex128 => (52, -1022),
        _ => (23, -126),
    };
    // The exponent field of f64: subnormal ones of it lie below every type's least but its own, where the least holds.
    let exponent = ((value.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(least_exponent);
    f64::powi(2.0, exponent - mantissa)
}
