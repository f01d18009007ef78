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

use crate::avx2::Row;
pub(crate) use crate::bytes::{Bytes, is_scale, scale_each};

/// All of them.
pub(crate) fn rows() -> Vec<Row> {
    // Before the general convolution, which takes everything.
    let families = [depthwise::rows, winograd::rows, conv::rows, matmul::rows, quantise::rows, add::rows, pool::rows];
    families.iter().flat_map(|rows| rows()).collect()
}
