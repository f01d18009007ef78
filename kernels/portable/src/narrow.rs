//! Element types of 8 bits and less that are no plain bytes, as wide numbers: small floats, and integers that share a byte.

use crate::element::bits;
use crate::minifloat::{Direction, E2M1, E4M3FN, E4M3FNUZ, E5M2, E5M2FNUZ, Format, decode_scale, encode_scale};
use crate::settle::CHUNK;
use crate::strided::Strided;
use crate::wide::{Sink, Source, Wide};
use sunmao_plugin_sdk::{Bindings, Call, Input, Output, Result};

/// What becomes of numbers that a small float has no pattern for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounding {
    /// Whether what is too large becomes the largest finite number.
    pub(crate) saturate: bool,
    /// For powers of two.
    pub(crate) direction: Direction,
}

impl Rounding {
    /// As ONNX has it by default.
    pub(crate) const DEFAULT: Self = Self { saturate: true, direction: Direction::Up };
}

/// How a pattern is a number.
#[derive(Clone, Copy)]
enum Meaning {
    Float(Format),
    Scale,
    Signed,
    Unsigned,
}

#[derive(Clone, Copy)]
struct Code {
    meaning: Meaning,
    bits: u32,
}

/// Whether elements of that type are read and written here.
pub(crate) fn covers(dtype: u16) -> bool {
    code(dtype).is_some()
}

fn code(dtype: u16) -> Option<Code> {
    let meaning = match dtype {
        17 => Meaning::Float(E4M3FN),
        18 => Meaning::Float(E4M3FNUZ),
        19 => Meaning::Float(E5M2),
        20 => Meaning::Float(E5M2FNUZ),
        23 => Meaning::Float(E2M1),
        24 => Meaning::Scale,
        21 | 25 => Meaning::Unsigned,
        22 | 26 => Meaning::Signed,
        _ => return None,
    };
    Some(Code { meaning, bits: bits(dtype) })
}

/// Input `index`, of a type that is covered.
pub(crate) fn source(bindings: &Bindings<'_>, dtype: u16, index: usize) -> Result<Box<dyn Source>> {
    let code = code(dtype).expect("the caller asked whether the type is covered");
    Ok(Box::new(Packed { bytes: bindings.input_bytes(index)?, code }))
}

/// Output `index`, of a type that is covered.
pub(crate) fn sink(bindings: &Bindings<'_>, dtype: u16, index: usize, rounding: Rounding) -> Result<Box<dyn Sink>> {
    let code = code(dtype).expect("the caller asked whether the type is covered");
    Ok(Box::new(Unpacked { bytes: bindings.output_bytes(index)?, code, rounding }))
}

struct Packed {
    bytes: Input<u8>,
    code: Code,
}

struct Unpacked {
    bytes: Output<u8>,
    code: Code,
    rounding: Rounding,
}

impl Code {
    /// Elements in a byte, and the bits of one of them.
    fn layout(self) -> (usize, u8) {
        ((8 / self.bits) as usize, (0xffu32 >> (8 - self.bits)) as u8)
    }

    fn signed(self, pattern: u8) -> i64 {
        let unused = 8 - self.bits;
        i64::from((pattern << unused) as i8 >> unused)
    }

    fn real(self, number: f64, rounding: Rounding) -> u8 {
        match self.meaning {
            Meaning::Float(format) => format.encode(number, rounding.saturate),
            Meaning::Scale => encode_scale(number, rounding.saturate, rounding.direction),
            // The fraction is cut, and what is left wraps.
            Meaning::Signed | Meaning::Unsigned => number as i64 as u8,
        }
    }

    fn integer(self, number: i64, rounding: Rounding) -> u8 {
        match self.meaning {
            Meaning::Signed | Meaning::Unsigned => number as u8,
            _ => self.real(number as f64, rounding),
        }
    }
}

impl Source for Packed {
    fn chunk(&self) -> Wide {
        match self.code.meaning {
            Meaning::Float(_) | Meaning::Scale => Wide::Real([0.0; CHUNK]),
            Meaning::Signed => Wide::Signed([0; CHUNK]),
            Meaning::Unsigned => Wide::Unsigned([0; CHUNK]),
        }
    }

    fn load(&self, call: &Call, walk: &Strided, shift: usize, at: usize, n: usize, into: &mut Wide) {
        let (bytes, code) = (call.read(&self.bytes), self.code);
        let (each, mask) = code.layout();
        walk.runs(at..at + n, |index, offset, stride, count| {
            let mut offset = offset + shift;
            for i in index - at..index - at + count {
                let pattern = bytes.get(offset / each) >> (offset % each * code.bits as usize) & mask;
                match (&mut *into, code.meaning) {
                    (Wide::Real(into), Meaning::Float(format)) => into[i] = format.decode(pattern),
                    (Wide::Real(into), _) => into[i] = decode_scale(pattern),
                    (Wide::Signed(into), _) => into[i] = code.signed(pattern),
                    (Wide::Unsigned(into), _) => into[i] = pattern.into(),
                }
                offset = offset.wrapping_add_signed(stride);
            }
        });
    }
}

impl Sink for Unpacked {
    /// Whole bytes: `at` is a multiple of the elements in one, and what is behind the last element is zero.
    fn store(&self, call: &Call, at: usize, n: usize, from: &Wide) {
        let (bytes, code, rounding) = (call.write(&self.bytes), self.code, self.rounding);
        let (each, mask) = code.layout();
        debug_assert!(at.is_multiple_of(each));
        let pattern = |i: usize| match from {
            Wide::Real(from) => code.real(from[i], rounding),
            Wide::Signed(from) => code.integer(from[i], rounding),
            Wide::Unsigned(from) => code.integer(from[i] as i64, rounding),
        };
        for start in (0..n).step_by(each) {
            let mut byte = 0;
            for i in start..n.min(start + each) {
                byte |= (pattern(i) & mask) << ((i - start) * code.bits as usize);
            }
            bytes.set((at + start) / each, byte);
        }
    }
}
