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
mod halving;
mod int8;
mod join;
mod lanes;
mod layer_norm;
mod lstm;
mod map;
mod math;
mod micro;
mod moves;
mod narrow;
mod pack;
mod pad;
mod patches;
mod pool;
mod probe;
mod product;
mod reduce;
mod sliding;
mod softmax;
mod spread;
mod square;
mod steps;
mod walk;
mod winograd;
mod zip;

use crate::activation::Activation;
use crate::pairs::{Combine, Operand};
use crate::steps::Steps;
use crate::vectors::Vectors;
use crate::{Avx2, matmul, registry, unary};
use std::sync::OnceLock;

/// A fast path of this instruction set.
type Row = registry::Row<Avx2>;

/// All fast paths of this instruction set.
pub(crate) fn rows() -> &'static [Row] {
    static ROWS: OnceLock<Vec<Row>> = OnceLock::new();
    ROWS.get_or_init(|| {
        let families: [fn() -> Vec<Row>; 19] = [
            attention::rows,
            || matmul::rows::<product::Product>("avx2-gemm"),
            blocks::rows,
            // The special convolutions stand before the general one, which takes everything.
            depthwise::rows,
            winograd::rows,
            direct::rows,
            conv::rows,
            spread::rows,
            pool::rows,
            || crate::pairs::rows("avx2-pairs"),
            || unary::rows("avx2-map"),
            || crate::softmax::rows("avx2-lines"),
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

impl Vectors for Avx2 {
    unsafe fn map(activation: Activation, from: *const f32, to: *mut f32, len: usize) {
        // SAFETY: the caller's promise.
        unsafe { map::apply(activation, from, to, len) }
    }

    unsafe fn zip(combine: Combine, left: Operand, right: Operand, to: *mut f32, len: usize) {
        // SAFETY: the caller's promise.
        unsafe { zip::stretch(combine, left, right, to, len) }
    }

    unsafe fn softmax(from: *const f32, to: *mut f32, len: usize) {
        // SAFETY: the caller's promise.
        unsafe { softmax::line(from, to, len) }
    }

    unsafe fn follow(steps: &Steps, results: *mut f32, len: usize, row: usize, column: usize, flat: usize) {
        // SAFETY: the caller's promise.
        unsafe { steps::apply(steps, results, len, row, column, flat) }
    }
}
