//! Tensors as they are stored: an element type, a shape, little-endian bytes.

use super::float;

/// Codes of the element types that cases are made of.
pub mod dtype {
    #![allow(missing_docs, reason = "the names say it all")]
    pub const F32: u16 = 1;
    pub const U8: u16 = 2;
    pub const I8: u16 = 3;
    pub const U16: u16 = 4;
    pub const I16: u16 = 5;
    pub const I32: u16 = 6;
    pub const I64: u16 = 7;
    pub const BOOL: u16 = 9;
    pub const F16: u16 = 10;
    pub const F64: u16 = 11;
    pub const U32: u16 = 12;
    pub const U64: u16 = 13;
    pub const BF16: u16 = 16;
    pub const U4: u16 = 21;
    pub const I4: u16 = 22;
    pub const Q4_0: u16 = 0x100;
    pub const Q4_K: u16 = 0x101;
    pub const Q5_K: u16 = 0x102;
    pub const Q6_K: u16 = 0x103;
    pub const Q8_0: u16 = 0x104;

    /// Whether elements of the type are floating-point numbers.
    pub fn is_float(dtype: u16) -> bool {
        crate::oracle::float::format(dtype).is_some()
    }

    /// The smallest and the largest integer of an integer type.
    pub fn range(dtype: u16) -> (i128, i128) {
        super::range(dtype)
    }
}

/// A dense tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Code of the element type.
    pub dtype: u16,
    /// The shape.
    pub shape: Vec<usize>,
    /// The elements, row-major. Types of four bits lie two to a byte, the first in the low half.
    pub bytes: Vec<u8>,
}

impl Tensor {
    /// Integers, wrapped to the element type.
    pub fn of_wholes(dtype: u16, shape: &[usize], values: &[i128]) -> Self {
        assert_eq!(values.len(), shape.iter().product::<usize>(), "as many values as elements");
        let mut bytes = Vec::with_capacity(Self::bytes_of(dtype, shape));
        if bits(dtype) == 4 {
            bytes.extend(values.chunks(2).map(|pair| {
                let high = pair.get(1).copied().unwrap_or(0);
                (pair[0] & 15) as u8 | ((high & 15) as u8) << 4
            }));
        } else {
            for value in values {
                bytes.extend_from_slice(&value.to_le_bytes()[..bits(dtype) / 8]);
            }
        }
        Self { dtype, shape: shape.to_vec(), bytes }
    }

    /// Reals, rounded to nearest, ties to even; for integer types cut and saturated.
    pub fn of_reals(dtype: u16, shape: &[usize], values: &[f64]) -> Self {
        let wholes: Vec<i128> = match float::format(dtype) {
            Some(format) => values.iter().map(|&value| format.encode(value).into()).collect(),
            None => {
                let (low, high) = range(dtype);
                values.iter().map(|&value| (value as i128).clamp(low, high)).collect()
            }
        };
        Self::of_wholes(dtype, shape, &wholes)
    }

    /// A list of 64-bit integers.
    pub fn list(values: &[i64]) -> Self {
        let wide: Vec<i128> = values.iter().map(|&value| value.into()).collect();
        Self::of_wholes(dtype::I64, &[values.len()], &wide)
    }

    /// Number of elements.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes of a tensor.
    pub fn bytes_of(dtype: u16, shape: &[usize]) -> usize {
        let elements = shape.iter().product::<usize>();
        match block(dtype) {
            Some((of_block, bytes)) => elements / of_block * bytes,
            None => (elements * bits(dtype)).div_ceil(8),
        }
    }

    /// The elements as real numbers.
    pub fn reals(&self) -> Vec<f64> {
        match float::format(self.dtype) {
            Some(format) => self.raw().map(|bits| format.decode(bits)).collect(),
            None => self.wholes().iter().map(|&value| value as f64).collect(),
        }
    }

    /// The elements as integers; those of a floating-point type as their bits.
    pub fn wholes(&self) -> Vec<i128> {
        let width = bits(self.dtype);
        let signed = is_signed(self.dtype);
        let whole = |raw: u64| {
            let negative = signed && raw >> (width - 1) & 1 != 0;
            i128::from(raw) - if negative { 1i128 << width } else { 0 }
        };
        self.raw().map(whole).collect()
    }

    /// Whether the elements are floating-point numbers.
    pub fn is_float(&self) -> bool {
        float::format(self.dtype).is_some()
    }

    /// The bits of each element.
    fn raw(&self) -> impl Iterator<Item = u64> {
        let width = bits(self.dtype);
        (0..self.count()).map(move |at| {
            if width == 4 {
                return u64::from(self.bytes[at / 2] >> (at % 2 * 4) & 15);
            }
            let mut word = [0; 8];
            word[..width / 8].copy_from_slice(&self.bytes[at * width / 8..][..width / 8]);
            u64::from_le_bytes(word)
        })
    }

    /// A tensor of elements that lie elsewhere in this one; none: zero bits.
    pub(crate) fn picked(&self, shape: &[usize], from: impl IntoIterator<Item = Option<usize>>) -> Self {
        let raw: Vec<u64> = self.raw().collect();
        let values: Vec<i128> = from.into_iter().map(|at| at.map_or(0, |at| raw[at].into())).collect();
        Self::of_wholes(self.dtype, shape, &values)
    }
}

/// Elements and bytes of a block; none where each element lies by itself.
pub(crate) fn block(dtype: u16) -> Option<(usize, usize)> {
    match dtype {
        dtype::Q4_0 => Some((32, 18)),
        dtype::Q8_0 => Some((32, 34)),
        dtype::Q4_K => Some((256, 144)),
        dtype::Q5_K => Some((256, 176)),
        dtype::Q6_K => Some((256, 210)),
        _ => None,
    }
}

/// Bits of an element.
pub(crate) fn bits(dtype: u16) -> usize {
    match dtype {
        1 | 6 | 12 => 32,
        4 | 5 | 10 | 16 => 16,
        7 | 11 | 13 => 64,
        21 | 22 => 4,
        _ => 8,
    }
}

fn is_signed(dtype: u16) -> bool {
    matches!(dtype, 3 | 5 | 6 | 7 | 22)
}

/// The smallest and the largest integer of an integer type.
pub(crate) fn range(dtype: u16) -> (i128, i128) {
    let width = if dtype == dtype::BOOL { 1 } else { bits(dtype) };
    if is_signed(dtype) { (-(1 << (width - 1)), (1 << (width - 1)) - 1) } else { (0, (1 << width) - 1) }
}
