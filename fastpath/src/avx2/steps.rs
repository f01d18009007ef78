//! Epilogue steps on results in memory.

use super::map;
use crate::epilogue::{Along, Step};
use crate::steps::Steps;
use std::arch::x86_64::*;

/// Applies the steps that are left to `len` neighbouring results, the first of which is element `flat` of the output and lies in row `row`
/// and column `column` of its matrix.
///
/// # Safety
/// The CPU has AVX2 and FMA; `len` floats are readable and writable at `results`; the rows, columns and elements named lie inside the output,
/// and so inside the operands of the steps.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn apply(steps: &Steps, results: *mut f32, len: usize, row: usize, column: usize, flat: usize) {
    for step in steps.left() {
        // SAFETY: `results` is as the caller promises; an addend has an element for each row, column or result, as its shape was checked.
        unsafe {
            match *step {
                Step::Map(activation) => map::apply(activation, results, results, len),
                Step::Scale(factor) => {
                    map::each(results, results, len, |x| _mm256_mul_ps(x, _mm256_set1_ps(factor)));
                }
                Step::Add { addend, along: Along::Nothing, factor } => add_one(results, len, addend.read() * factor),
                Step::Add { addend, along: Along::Rows, factor } => {
                    add_one(results, len, addend.add(row).read() * factor);
                }
                Step::Add { addend, along: Along::Columns, factor } => {
                    add_each(results, len, addend.add(column), factor);
                }
                Step::Add { addend, along: Along::Everything, factor } => {
                    add_each(results, len, addend.add(flat), factor);
                }
            }
        }
    }
}

/// # Safety
/// As for [`map::each`].
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn add_one(results: *mut f32, len: usize, addend: f32) {
    // SAFETY: the caller's promise.
    unsafe { map::each(results, results, len, |x| _mm256_add_ps(x, _mm256_set1_ps(addend))) }
}

/// # Safety
/// As for [`map::each_pair`].
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn add_each(results: *mut f32, len: usize, addends: *const f32, factor: f32) {
    // SAFETY: the caller's promise.
    unsafe {
        map::each_pair(results, addends, results, len, |x, y| {
            _mm256_add_ps(x, _mm256_mul_ps(y, _mm256_set1_ps(factor)))
        });
    }
}
