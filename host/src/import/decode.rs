//! From the bytes of a weight as they are stored to little-endian, dense, row-major elements.

use sunmao_graph::DType;

/// How a weight is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As it is.
    RawLe,
    /// Elements with their bytes the other way round.
    RawBe,
    /// Protobuf packed integers.
    Varint,
    /// Protobuf packed signed integers.
    Zigzag,
    /// One element, repeated.
    Splat,
    /// Protobuf integers that carry the bits of narrower elements.
    Bits,
    /// Fields of a protobuf message one behind the other, each a tag, a length and a text; they become framed strings.
    Fields,
}

impl Encoding {
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "raw-le" => Self::RawLe,
            "raw-be" => Self::RawBe,
            "varint" => Self::Varint,
            "zigzag" => Self::Zigzag,
            "splat" => Self::Splat,
            "bits" => Self::Bits,
            "fields" => Self::Fields,
            _ => return None,
        })
    }

    /// Checks the stored length against type and number of elements, as far as it can be without reading.
    pub(super) fn check(self, dtype: DType, elements: u64, stored: u64) -> Result<(), String> {
        if (self == Self::Fields) != (dtype == DType::String) {
            return Err(format!("{dtype} is not stored so"));
        }
        if self == Self::Fields {
            // A tag and a length take a byte each at least.
            let enough = elements.checked_mul(2).is_some_and(|least| stored >= least);
            return if enough { Ok(()) } else { Err(format!("{stored} bytes are stored for {elements} strings")) };
        }
        let dense = dtype.bytes(elements).ok_or("elements of that type have no fixed size")?;
        let integer = is_integer(dtype);
        let right = match self {
            Self::RawLe | Self::RawBe => stored == dense,
            Self::Splat => elements == 0 || Some(stored) == dtype.bytes(1),
            Self::Varint | Self::Zigzag if !integer => return Err(format!("{dtype} is not stored as integers")),
            // Each takes 1 to 10 bytes.
            Self::Varint | Self::Zigzag => stored >= elements && stored <= elements.saturating_mul(10),
            Self::Bits if dtype.bits() > 16 => return Err(format!("{dtype} is not stored as the bits of integers")),
            Self::Bits => {
                let entries = if dtype.bits() < 8 { dense } else { elements };
                stored >= entries && stored <= entries.saturating_mul(10)
            }
            Self::Fields => unreachable!("answered above"),
        };
        if right { Ok(()) } else { Err(format!("{stored} bytes are stored for {elements} elements of {dtype}")) }
    }

    /// Decodes; `check` has passed.
    pub(super) fn decode(self, dtype: DType, elements: u64, mut stored: Vec<u8>) -> Result<Vec<u8>, String> {
        if self == Self::Fields {
            return fields(&stored, elements);
        }
        let dense = dtype.bytes(elements).and_then(|bytes| usize::try_from(bytes).ok());
        let dense = dense.ok_or("more elements than memory has room for")?;
        match self {
            Self::RawLe => Ok(stored),
            Self::RawBe => {
                // Complex numbers are two parts, each with its bytes the other way round.
                let parts = if matches!(dtype, DType::Complex64 | DType::Complex128) { 2 } else { 1 };
                let width = (dtype.bits() / 8 / parts).max(1) as usize;
                stored.chunks_exact_mut(width).for_each(<[u8]>::reverse);
                Ok(stored)
            }
            Self::Splat if elements == 0 => Ok(Vec::new()),
            Self::Splat => {
                let each = 8 / dtype.bits().min(8);
                if each > 1 {
                    let low = stored[0] & (0xff >> (8 - dtype.bits()));
                    stored = vec![(0..each).fold(0, |byte, _| byte << dtype.bits() | low)];
                }
                let mut out = stored.repeat(dense / stored.len());
                let in_last = (elements % u64::from(each)) as u32;
                if in_last > 0 {
                    // What is behind the last element in its byte is zero, as everywhere.
                    out[dense - 1] &= 0xff >> (8 - in_last * dtype.bits());
                }
                Ok(out)
            }
            Self::Varint => integers(&stored, dense, dtype, |raw| raw as i64),
            Self::Zigzag => integers(&stored, dense, dtype, |raw| (raw >> 1) as i64 ^ -((raw & 1) as i64)),
            Self::Bits => bits(&stored, dense, dtype),
            Self::Fields => unreachable!("answered above"),
        }
    }
}

fn is_integer(dtype: DType) -> bool {
    use DType::*;
    matches!(dtype, U8 | I8 | U16 | I16 | I32 | I64 | Bool | U32 | U64)
}

/// One packed integer, and the rest.
fn varint(bytes: &[u8]) -> Result<(u64, &[u8]), String> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().enumerate().take(10) {
        let part = u64::from(byte & 0x7f);
        if index == 9 && part > 1 {
            break;
        }
        value |= part << (7 * index);
        if byte < 0x80 {
            return Ok((value, &bytes[index + 1..]));
        }
    }
    Err("an integer is cut short or longer than 64 bits".into())
}

fn integers(stored: &[u8], dense: usize, dtype: DType, signed: impl Fn(u64) -> i64) -> Result<Vec<u8>, String> {
    use DType::*;
    let mut out = Vec::with_capacity(dense);
    let mut rest = stored;
    while out.len() < dense {
        let (raw, behind) = varint(rest)?;
        rest = behind;
        let value = signed(raw);
        let fits = match dtype {
            Bool => (0..=1).contains(&value),
            U8 => u8::try_from(value).is_ok(),
            I8 => i8::try_from(value).is_ok(),
            U16 => u16::try_from(value).is_ok(),
            I16 => i16::try_from(value).is_ok(),
            U32 => u32::try_from(value).is_ok(),
            I32 => i32::try_from(value).is_ok(),
            _ => true,
        };
        if !fits {
            return Err(format!("{value} is no {dtype}"));
        }
        out.extend_from_slice(&value.to_le_bytes()[..dtype.bits() as usize / 8]);
    }
    if rest.is_empty() { Ok(out) } else { Err("more integers are stored than the tensor has elements".into()) }
}

/// Entries of one byte (8-bit types, and as many smaller elements as share one) or two.
fn bits(stored: &[u8], dense: usize, dtype: DType) -> Result<Vec<u8>, String> {
    let width = if dtype.bits() == 16 { 2 } else { 1 };
    let mut out = Vec::with_capacity(dense);
    let mut rest = stored;
    while out.len() < dense {
        let (raw, behind) = varint(rest)?;
        rest = behind;
        let value = raw as i64;
        let (low, high) = if width == 2 { (i64::from(i16::MIN), 0xffff) } else { (i64::from(i8::MIN), 0xff) };
        if !(low..=high).contains(&value) || (dtype == DType::Bool && !(0..=1).contains(&value)) {
            return Err(format!("{value} are not the bits of {dtype}"));
        }
        out.extend_from_slice(&value.to_le_bytes()[..width]);
    }
    if rest.is_empty() { Ok(out) } else { Err("more entries are stored than the tensor has elements".into()) }
}

/// The texts of protobuf fields as framed strings.
fn fields(stored: &[u8], elements: u64) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(stored.len().saturating_mul(2));
    let (mut rest, mut count, mut tag) = (stored, 0u64, None);
    while !rest.is_empty() {
        let (field, behind) = varint(rest)?;
        let (length, behind) = varint(behind)?;
        if field & 7 != 2 || *tag.get_or_insert(field) != field {
            return Err("another field stands between the strings".into());
        }
        let text = usize::try_from(length).ok().and_then(|length| behind.split_at_checked(length));
        let (text, behind) = text.ok_or("a string is cut short")?;
        let text = str::from_utf8(text).map_err(|error| format!("a string is not UTF-8: {error}"))?;
        let length = u32::try_from(text.len()).map_err(|_| "a string is longer than 4 GiB")?;
        out.extend(length.to_le_bytes());
        out.extend(text.as_bytes());
        (rest, count) = (behind, count + 1);
    }
    if count == elements { Ok(out) } else { Err(format!("{count} strings are stored for {elements} elements")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn decodes(encoding: &str, dtype: DType, elements: u64, stored: &[u8], expected: &[u8]) {
        let encoding = Encoding::from_name(encoding).unwrap();
        encoding.check(dtype, elements, stored.len() as u64).unwrap();
        assert_eq!(encoding.decode(dtype, elements, stored.to_vec()).unwrap(), expected);
    }

    #[track_caller]
    fn fails(encoding: &str, dtype: DType, elements: u64, stored: &[u8]) {
        let encoding = Encoding::from_name(encoding).unwrap();
        let result = encoding
            .check(dtype, elements, stored.len() as u64)
            .and_then(|()| encoding.decode(dtype, elements, stored.to_vec()));
        assert!(result.is_err(), "{result:?}");
    }

    #[test]
    fn every_encoding_decodes() {
        decodes("raw-le", DType::F32, 1, &[1, 2, 3, 4], &[1, 2, 3, 4]);
        decodes("raw-be", DType::F32, 2, &[1, 2, 3, 4, 5, 6, 7, 8], &[4, 3, 2, 1, 8, 7, 6, 5]);
        decodes("raw-be", DType::Complex64, 1, &[1, 2, 3, 4, 5, 6, 7, 8], &[4, 3, 2, 1, 8, 7, 6, 5]);
        decodes("raw-be", DType::U4, 3, &[0x21, 3], &[0x21, 3]);
        decodes("splat", DType::I16, 3, &[1, 2], &[1, 2, 1, 2, 1, 2]);
        decodes("splat", DType::U4, 3, &[0x07], &[0x77, 0x07]);
        decodes("splat", DType::U2, 7, &[0x02], &[0xaa, 0x2a]);
        decodes("splat", DType::F32, 0, &[], &[]);
        decodes("varint", DType::I32, 2, &[0x96, 0x01, 5], &[150, 0, 0, 0, 5, 0, 0, 0]);
        let minus_one = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        decodes("varint", DType::I32, 1, &minus_one, &[0xff; 4]);
        decodes("varint", DType::U64, 1, &minus_one, &[0xff; 8]);
        decodes("zigzag", DType::I8, 3, &[0, 1, 2], &[0, 0xff, 1]);
        decodes("bits", DType::F16, 2, &[0x80, 0x78, 0], &[0, 0x3c, 0, 0]);
        decodes("bits", DType::I8, 1, &minus_one, &[0xff]);
        decodes("bits", DType::U4, 3, &[0x21, 3], &[0x21, 3]);
        decodes("bits", DType::I2, 5, &[0xe4, 1, 3], &[0xe4, 3]);
        decodes("bits", DType::Bool, 2, &[1, 0], &[1, 0]);
        decodes("fields", DType::String, 2, b"\x32\x02ab\x32\x00", b"\x02\0\0\0ab\0\0\0\0");
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        fails("raw-le", DType::F32, 2, &[0; 7]);
        fails("raw-le", DType::F32, u64::MAX, &[0; 8]);
        fails("splat", DType::F32, 2, &[0; 8]);
        fails("varint", DType::F32, 1, &[0]);
        fails("varint", DType::I8, 1, &[0x80, 0x01]);
        fails("varint", DType::U32, 1, &[0x80, 0x80, 0x80, 0x80, 0x10]);
        fails("varint", DType::I64, 1, &[0x80]);
        fails("varint", DType::I64, 2, &[0, 0, 0]);
        fails("varint", DType::I64, 1, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]);
        fails("varint", DType::I64, 1 << 40, &[0; 4]);
        fails("bits", DType::F32, 1, &[0]);
        fails("bits", DType::F16, 1, &[0x80, 0x80, 0x04]);
        fails("bits", DType::Bool, 1, &[2]);
        fails("raw-le", DType::String, 1, &[0]);
        fails("fields", DType::String, 2, b"\x32\x02ab");
        fails("fields", DType::String, 1, b"\x32\x03ab");
        fails("fields", DType::String, 2, b"\x32\x00\x3a\x00");
        assert_eq!(Encoding::from_name("base64"), None);
    }
}
