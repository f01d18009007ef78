//! NumPy's `.npy`: one array. The header is a Python dictionary of three known keys; anything else in it is refused, never evaluated.
//!
//! Read by hand because the lengths in the header must be multiplied with checks: a file may claim any shape.

use super::{FormatError, MAX_RANK, dense_bytes, elements};
use crate::session::Tensor;
use sunmao_graph::DType;

const MAGIC: &[u8] = b"\x93NUMPY";
const MAX_HEADER: usize = 64 * 1024;

struct Header {
    dtype: DType,
    big_endian: bool,
    column_major: bool,
    shape: Vec<u64>,
}

/// The array in the bytes of an `.npy` file. Big-endian and column-major (Fortran order) ones are brought into little-endian row-major form.
pub fn read_npy(bytes: &[u8]) -> Result<Tensor, FormatError> {
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or_else(|| FormatError::malformed("not an .npy file (it does not begin with \\x93NUMPY)"))?;
    let cut = || FormatError::malformed("the .npy header is cut short");
    let (length, rest) = match rest.get(..2).ok_or_else(cut)? {
        [1, _] => {
            (u16::from_le_bytes(rest.get(2..4).ok_or_else(cut)?.try_into().expect("two bytes")) as usize, &rest[4..])
        }
        [2 | 3, _] => {
            (u32::from_le_bytes(rest.get(2..6).ok_or_else(cut)?.try_into().expect("four bytes")) as usize, &rest[6..])
        }
        [major, minor] => {
            return Err(FormatError::malformed(format!(".npy version {major}.{minor} is not known (1, 2 and 3 are)")));
        }
        _ => return Err(cut()),
    };
    if length > MAX_HEADER {
        return Err(FormatError::malformed(format!(
            "the .npy header claims {length} bytes; at most {MAX_HEADER} are read"
        )));
    }
    let text = std::str::from_utf8(rest.get(..length).ok_or_else(cut)?)
        .map_err(|_| FormatError::malformed("the .npy header is not text"))?;
    let header = Parser { text, at: 0 }.header()?;
    let data = &rest[length..];
    let wanted = dense_bytes(header.dtype, &header.shape)
        .ok_or_else(|| FormatError::malformed(format!("the .npy header's shape {:?} overflows", header.shape)))?;
    if data.len() as u64 != wanted {
        return Err(FormatError::malformed(format!(
            "the .npy header announces {wanted} bytes of data, the file has {}",
            data.len()
        )));
    }
    let width = header.dtype.bits() as usize / 8;
    let mut data = data.to_vec();
    if header.big_endian {
        data.chunks_exact_mut(width).for_each(<[u8]>::reverse);
    }
    if header.column_major {
        data = to_row_major(&data, &header.shape, width);
    }
    if header.dtype == DType::Bool {
        data.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
    }
    Ok(Tensor { dtype: header.dtype, shape: header.shape, data })
}

fn to_row_major(data: &[u8], shape: &[u64], width: usize) -> Vec<u8> {
    let count = elements(shape).expect("fits: the data is there") as usize;
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = width;
    for &length in shape {
        strides.push(stride);
        stride *= length.max(1) as usize;
    }
    let mut out = Vec::with_capacity(data.len());
    let mut index = vec![0u64; shape.len()];
    let mut at = 0;
    for _ in 0..count {
        out.extend_from_slice(&data[at..at + width]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis] as usize;
            index[axis] = 0;
        }
    }
    out
}

/// The bytes of an `.npy` file with that tensor; bf16, which NumPy does not have, is widened to f32.
pub fn write_npy(tensor: &Tensor) -> Result<Vec<u8>, FormatError> {
    let widened;
    let (dtype, data) = if tensor.dtype == DType::BF16 {
        widened = tensor.data.chunks_exact(2).flat_map(|half| [0, 0, half[0], half[1]]).collect::<Vec<u8>>();
        (DType::F32, &widened)
    } else {
        (tensor.dtype, &tensor.data)
    };
    let descr =
        descr(dtype).ok_or_else(|| FormatError::Unsupported(format!("NumPy has no element type for {dtype}")))?;
    let mut shape = tensor.shape.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    if tensor.shape.len() == 1 {
        shape.push(',');
    }
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    // Magic, version and length take 10 bytes; the data starts at a multiple of 64.
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 10;
    header.extend(std::iter::repeat_n(' ', padded - 1 - header.len()));
    header.push('\n');
    let mut out = Vec::with_capacity(10 + header.len() + data.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&[1, 0]);
    out.extend_from_slice(&(header.len() as u16).to_le_bytes());
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(data);
    Ok(out)
}

const DESCRS: &[(DType, &str)] = &[
    (DType::Bool, "|b1"),
    (DType::I8, "|i1"),
    (DType::U8, "|u1"),
    (DType::I16, "<i2"),
    (DType::U16, "<u2"),
    (DType::I32, "<i4"),
    (DType::U32, "<u4"),
    (DType::I64, "<i8"),
    (DType::U64, "<u8"),
    (DType::F16, "<f2"),
    (DType::F32, "<f4"),
    (DType::F64, "<f8"),
    (DType::Complex64, "<c8"),
    (DType::Complex128, "<c16"),
];

fn descr(dtype: DType) -> Option<&'static str> {
    DESCRS.iter().find(|(known, _)| *known == dtype).map(|(_, descr)| *descr)
}

fn from_descr(descr: &str) -> Result<(DType, bool), FormatError> {
    let unsupported = || {
        let hint = match descr.get(1..2) {
            Some("O") => " (Python objects are never loaded)",
            Some("U" | "S") => " (strings are not served yet)",
            _ => "",
        };
        FormatError::Unsupported(format!(
            "the .npy element type `{descr}` is not supported{hint}; save it with .astype(numpy.float32) or another plain type"
        ))
    };
    let kind = descr.get(1..).ok_or_else(unsupported)?;
    let dtype =
        DESCRS.iter().find(|(_, known)| &known[1..] == kind).map(|(dtype, _)| *dtype).ok_or_else(unsupported)?;
    match descr.as_bytes()[0] {
        // Complex numbers would have to be turned half by half.
        b'>' if matches!(dtype, DType::Complex64 | DType::Complex128) => Err(unsupported()),
        b'>' => Ok((dtype, true)),
        b'<' | b'|' | b'=' => Ok((dtype, false)),
        _ => Err(unsupported()),
    }
}

/// Just the literals that NumPy writes: strings, `True`, `False`, a tuple of integers.
struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn fail<T>(&self, wanted: &str) -> Result<T, FormatError> {
        Err(FormatError::malformed(format!("the .npy header is damaged: expected {wanted} at byte {} of it", self.at)))
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        let found = self.text[self.at..].starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn string(&mut self) -> Result<&'a str, FormatError> {
        self.skip_space();
        let text = self.text;
        let rest = &text[self.at..];
        let Some(quote @ ('\'' | '"')) = rest.chars().next() else { return self.fail("a string") };
        let Some(length) = rest[1..].find(quote) else { return self.fail("the end of a string") };
        self.at += length + 2;
        Ok(&rest[1..1 + length])
    }

    fn tuple(&mut self) -> Result<Vec<u64>, FormatError> {
        if !self.eat("(") {
            return self.fail("`(`");
        }
        let mut numbers = Vec::new();
        while !self.eat(")") {
            self.skip_space();
            let rest = &self.text[self.at..];
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let Ok(number) = rest[..digits].parse() else { return self.fail("a length") };
            self.at += digits;
            // Written by Python 2.
            self.eat("L");
            numbers.push(number);
            if numbers.len() > MAX_RANK {
                return Err(FormatError::malformed(format!("more than {MAX_RANK} axes in the .npy header")));
            }
            if !self.eat(",") && !self.text[self.at..].starts_with(')') {
                return self.fail("`,` or `)`");
            }
        }
        Ok(numbers)
    }

    fn header(mut self) -> Result<Header, FormatError> {
        let (mut descr, mut column_major, mut shape) = (None, None, None);
        if !self.eat("{") {
            return self.fail("`{`");
        }
        while !self.eat("}") {
            let key = self.string()?;
            if !self.eat(":") {
                return self.fail("`:`");
            }
            match key {
                "descr" => {
                    self.skip_space();
                    if self.text[self.at..].starts_with('[') {
                        return Err(FormatError::Unsupported(
                            "the .npy file holds records, not plain numbers; save one field of it".into(),
                        ));
                    }
                    descr = Some(self.string()?);
                }
                "fortran_order" if self.eat("True") => column_major = Some(true),
                "fortran_order" if self.eat("False") => column_major = Some(false),
                "fortran_order" => return self.fail("True or False"),
                "shape" => shape = Some(self.tuple()?),
                other => {
                    return Err(FormatError::malformed(format!(
                        "unknown key `{}` in the .npy header",
                        other.escape_debug()
                    )));
                }
            }
            if !self.eat(",") && !self.eat("}") {
                return self.fail("`,` or `}`");
            } else if self.text[..self.at].ends_with('}') {
                break;
            }
        }
        self.skip_space();
        if self.at != self.text.len() {
            return self.fail("the end");
        }
        match (descr, column_major, shape) {
            (Some(descr), Some(column_major), Some(shape)) => {
                let (dtype, big_endian) = from_descr(descr)?;
                Ok(Header { dtype, big_endian, column_major, shape })
            }
            _ => Err(FormatError::malformed("the .npy header lacks one of descr, fortran_order, shape")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(header: &str, data: &[u8]) -> Vec<u8> {
        let mut out = b"\x93NUMPY\x01\x00".to_vec();
        out.extend_from_slice(&(header.len() as u16).to_le_bytes());
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(data);
        out
    }

    #[test]
    fn every_element_type_survives_the_round_trip() {
        for &(dtype, _) in DESCRS {
            for shape in [vec![], vec![3], vec![2, 0, 5], vec![2, 3, 4]] {
                let bytes = dense_bytes(dtype, &shape).unwrap();
                let tensor = Tensor {
                    dtype,
                    shape,
                    data: (0..bytes).map(|i| if dtype == DType::Bool { i as u8 % 2 } else { i as u8 }).collect(),
                };
                let file = write_npy(&tensor).unwrap();
                assert_eq!(file.len() % 64, bytes as usize % 64, "the data is aligned to 64 bytes");
                assert_eq!(read_npy(&file).unwrap(), tensor);
            }
        }
    }

    #[test]
    fn column_major_and_big_endian_become_row_major_and_little_endian() {
        let file =
            npy("{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }\n", &[0, 1, 0, 4, 0, 2, 0, 5, 0, 3, 0, 6]);
        let tensor = read_npy(&file).unwrap();
        assert_eq!(tensor.shape, [2, 3]);
        assert_eq!(tensor.data, [1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0]);
    }

    #[test]
    fn brain_floats_are_widened() {
        let tensor = Tensor { dtype: DType::BF16, shape: vec![1], data: vec![0x80, 0x3f] };
        let read = read_npy(&write_npy(&tensor).unwrap()).unwrap();
        assert_eq!((read.dtype, read.data), (DType::F32, 1f32.to_le_bytes().to_vec()));
    }

    #[test]
    fn damaged_headers_are_errors() {
        let good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n";
        assert!(read_npy(&npy(good, &[0; 8])).is_ok());
        for bad in [
            "",
            "{",
            "{'descr'",
            "{'descr': '<f4'",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 'x'), }",
            "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2,), }",
            "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), } x",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551615, 18446744073709551615), }",
            "{'descr': 'é', 'fortran_order': False, 'shape': (2,), }",
            "{'descr': '', 'fortran_order': False, 'shape': (2,), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'extra': 1}",
            "{'descr': '<f4', 'shape': (2,)}",
        ] {
            assert!(read_npy(&npy(bad, &[0; 8])).is_err(), "{bad}");
        }
        let whole = npy(good, &[0; 8]);
        for cut in 0..whole.len() {
            assert!(read_npy(&whole[..cut]).is_err(), "cut at {cut}");
        }
        assert!(read_npy(&npy(good, &[0; 9])).is_err());
    }
}
