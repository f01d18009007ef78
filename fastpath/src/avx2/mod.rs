//! Kernels for x86-64 with AVX2 and FMA: vectors of eight floats.
//!
//! Functions marked `target_feature` are entered through a token of [`crate::Avx2`] only. Every element of a result is computed by the same
//! operations in the same order wherever a shard or a vector ends: the last, partial vector runs the same code under a mask.

// Arrays of vectors are registers: loops name them by number, because an adaptor of the standard library would not be inlined with
// the instruction set and would spill them.
#![allow(clippy::needless_range_loop)]

mod attention;
mod bands;
mod blocks;
mod conv;
mod depthwise;
mod direct;
mod elementwise;
mod halving;
mod int8;
mod join;
mod lanes;
mod layer_norm;
mod lstm;
mod map;
mod math;
mod matmul;
mod micro;
mod moves;
mod narrow;
mod pack;
mod pad;
mod patches;
mod pool;
pub(crate) mod probe;
mod product;
mod reduce;
mod sliding;
mod softmax;
mod spread;
mod square;
mod steps;
mod unary;
mod walk;
mod winograd;

use crate::registry::Row;
use std::sync::OnceLock;

/// All fast paths of this instruction set.
pub(crate) fn rows() -> &'static [Row] {
    static ROWS: OnceLock<Vec<Row>> = OnceLock::new();
    ROWS.get_or_init(|| {
        let families = [
            attention::rows,
            matmul::rows,
            blocks::rows,
            // The special convolutions stand before the general one, which takes everything.
            depthwise::rows,
            winograd::rows,
            direct::rows,
            conv::rows,
            spread::rows,
            pool::rows,
            elementwise::rows,
            unary::rows,
            softmax::rows,
            layer_norm::rows,
            moves::rows,
            join::rows,
            pad::rows,
            reduce::rows,
            lstm::rows,
            int8::rows,
        ];
        families.iter().flat_map(|rows| rows()).collect()
    })
}
