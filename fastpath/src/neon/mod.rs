//! Kernels for 64-bit Arm with NEON: vectors of four floats.
//!
//! Functions marked `target_feature` are entered through a token of [`crate::Neon`] or [`crate::Dotprod`] only. Every element of a result is computed by
//! the same operations in the same order wherever a shard or a vector ends.
//!
//! All of this ran under qemu-aarch64 only (`cargo xtask cross`): results were tested, and nothing was measured.

// Arrays of vectors are registers: loops name them by number, because an adaptor of the standard library would not be inlined with
// the instruction set and would spill them.
#![allow(clippy::needless_range_loop)]
#![warn(dead_code)]

mod int8;
mod lanes;
mod map;
mod math;
mod micro;
mod pack;
mod probe;
mod product;
mod softmax;
mod steps;
mod zip;

use crate::activation::Activation;
use crate::pairs::{Combine, Operand};
use crate::registry::Row;
use crate::steps::Steps;
use crate::vectors::Vectors;
use crate::{Dotprod, Neon, matmul, pairs, unary};
use std::sync::OnceLock;

/// All fast paths that need NEON alone.
pub(crate) fn rows() -> &'static [Row<Neon>] {
    static ROWS: OnceLock<Vec<Row<Neon>>> = OnceLock::new();
    ROWS.get_or_init(|| {
        let mut rows = matmul::rows::<product::Product>("neon-gemm");
        rows.extend(pairs::rows("neon-pairs"));
        rows.extend(unary::rows("neon-map"));
        rows.extend(crate::softmax::rows("neon-lines"));
        rows
    })
}

/// Those that need its products of bytes, too.
pub(crate) fn dotprod_rows() -> &'static [Row<Dotprod>] {
    static ROWS: OnceLock<Vec<Row<Dotprod>>> = OnceLock::new();
    ROWS.get_or_init(int8::rows)
}

impl Vectors for Neon {
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
