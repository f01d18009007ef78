//! Quantised operators: products of bytes whose sums are exact.
//!
//! `vpmaddwd` multiplies pairs of 16-bit numbers and adds the two products in 32 bits, which never saturates: a difference of two bytes is at most 255, a
//! pair of products at most 130050. `vpmaddubsw` does the same with bytes and adds in 16 bits, which may saturate: it is used where the weights are known to
//! rule that out ([`quads`], [`columns`]). Sums wrap at 32 bits as the portable kernels' do.
//!
//! A signed byte with its top bit flipped is an unsigned one that is 128 larger. So everything here is unsigned, and `flip` says what to flip.

mod add;
mod columns;
mod conv;
mod depthwise;
mod finish;
mod matmul;
mod micro;
mod outcome;
mod pack;
mod patches;
mod pool;
mod quads;
mod quantise;
mod winograd;

use crate::registry::Row;
use crate::request::{Request, count};
use sunmao_plugin_sdk::Element;
use sunmao_plugin_sdk::abi::Operand;

/// All of them.
pub(crate) fn rows() -> Vec<Row> {
    // Before the general convolution, which takes everything.
    let families = [depthwise::rows, winograd::rows, conv::rows, matmul::rows, quantise::rows, add::rows, pool::rows];
    families.iter().flat_map(|rows| rows()).collect()
}

/// A tensor of bytes.
pub(crate) struct Bytes {
    pub(crate) shape: Vec<usize>,
    pub(crate) flip: u8,
}

impl Bytes {
    fn of(operand: &Operand) -> Option<Self> {
        let flip = match operand.dtype {
            u8::DTYPE => 0,
            i8::DTYPE => 0x80,
            _ => return None,
        };
        Some(Self { shape: operand.shape.iter().map(|&d| d as usize).collect(), flip })
    }

    /// Input `index` of the operation.
    pub(crate) fn input(request: Request<'_>, index: usize) -> Option<Self> {
        request.operand(index).and_then(Self::of)
    }

    /// The only output.
    pub(crate) fn output(request: Request<'_>) -> Option<Self> {
        match request.operation().outputs.as_slice() {
            [Some(output)] => Self::of(output),
            _ => None,
        }
    }

    /// Whether input `index` is one byte of the same type.
    pub(crate) fn has_zero(&self, request: Request<'_>, index: usize) -> bool {
        Self::input(request, index).is_some_and(|zero| zero.flip == self.flip && count(&zero.shape) == 1)
    }

    /// The zero point that constant input `index` holds for all rows or columns alike, in flipped form; without the input it is 0.
    pub(crate) fn settled_zero(&self, request: Request<'_>, index: usize) -> Option<u8> {
        let Some(operand) = request.operand(index) else { return Some(self.flip) };
        if !operand.constant || Self::of(operand)?.flip != self.flip {
            return None;
        }
        let (&first, rest) = operand.literal.as_deref()?.split_first()?;
        rest.iter().all(|&zero| zero == first).then_some(first ^ self.flip)
    }
}

/// Whether input `index` is a single float.
pub(crate) fn is_scale(request: Request<'_>, index: usize) -> bool {
    request.input(index).is_some_and(|shape| count(&shape) == 1)
}

/// Whether input `index` is one float, or else (true) one for each of `lines`. None: neither.
pub(crate) fn scale_each(request: Request<'_>, index: usize, lines: usize) -> Option<bool> {
    let shape = request.input(index)?;
    match count(&shape) {
        1 => Some(false),
        n if n == lines && shape.len() == 1 => Some(true),
        _ => None,
    }
}
