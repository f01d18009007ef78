//! Products of bytes with exact sums.
//!
//! Numbers are packed into words of 32 bits, neighbours along the depth together, and a step multiplies a word of a row with one of each of four columns.
//! Two forms: two numbers of 16 bits, zero points taken off, which holds any bytes; and four bytes, where the weights, zero points taken off, lie between
//! -64 and 63 (seven bits, as models quantised with a reduced range have them). The relaxed dot product is exact for the latter, because 64 is added to the
//! weights and 128 taken from the bytes of the other side; what that adds to a sum is known from the sums of both, and taken off again.

mod add;
mod bytes;
mod conv;
mod depthwise;
mod dynamic;
mod patches;
mod product;
mod quantise;
mod quantised;
mod rows;
mod tile;

use crate::arguments::Op;
use sunmao_plugin_sdk::Kernel;

/// The fast kernel for an integer product or convolution, or for what leads from floats to bytes and back, if there is one.
pub(crate) fn prepare(op: Op<'_>) -> Option<Box<dyn Kernel>> {
    match op.name() {
        "QLinearConv" => {}
        "sunmao.QAdd" => return add::prepare(op),
        "DynamicQuantizeLinear" => return dynamic::prepare(op),
        "QuantizeLinear" | "DequantizeLinear" => return quantise::prepare(op),
        _ => return product::prepare(op),
    }
    let quantised = quantised::Quantised::of(op)?;
    if quantised.geometry.is_depthwise() {
        return depthwise::prepare(quantised);
    }
    conv::prepare(quantised)
}

/// What makes bytes of an operand unsigned; none for other types.
pub(crate) fn flip_of(dtype: u16) -> Option<u8> {
    match dtype {
        2 => Some(0),
        3 => Some(0x80),
        _ => None,
    }
}

/// Takes a byte's zero point off.
#[derive(Clone, Copy)]
pub(crate) struct Less {
    /// What makes the byte unsigned: the top bit of a signed one flipped adds 128.
    pub(crate) flip: u8,
    /// The zero point, made unsigned too.
    pub(crate) zero: u8,
}

impl Less {
    pub(crate) fn number(self, byte: u8) -> i16 {
        i16::from(byte ^ self.flip) - i16::from(self.zero)
    }
}

/// How numbers lie in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Two numbers of 16 bits.
    Wide,
    /// Four bytes: weights plus 64, the other side made unsigned and less 128.
    Narrow,
}

impl Form {
    /// Words of a row or column of so many numbers.
    pub(crate) fn words(self, depth: usize) -> usize {
        match self {
            Self::Wide => depth.div_ceil(2),
            Self::Narrow => depth.div_ceil(4),
        }
    }
}
