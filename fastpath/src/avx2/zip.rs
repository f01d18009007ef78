//! Two stretches of memory, element by element.

use super::map::{each, each_pair};
use super::math;
use crate::pairs::{Combine, Operand};
use std::arch::x86_64::*;

/// Writes what becomes of each of `len` pairs of elements to `to`.
///
/// # Safety
/// The CPU has AVX2 and FMA; `len` floats (one, where it stands still) are readable at each operand and `len` writable at `to`, which equals or does
/// not overlap each of them.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn stretch(combine: Combine, left: Operand, right: Operand, to: *mut f32, len: usize) {
    // SAFETY: the caller's promise; no memory has more bytes than this, and a compiler that knows it unrolls the loops.
    unsafe {
        std::hint::assert_unchecked(len <= isize::MAX as usize / size_of::<f32>());
        match combine {
            Combine::Add => zip(left, right, to, len, |a, b| _mm256_add_ps(a, b)),
            Combine::Sub => zip(left, right, to, len, |a, b| _mm256_sub_ps(a, b)),
            Combine::Mul => zip(left, right, to, len, |a, b| _mm256_mul_ps(a, b)),
            Combine::Div => zip(left, right, to, len, |a, b| _mm256_div_ps(a, b)),
            Combine::Max => zip(left, right, to, len, |a, b| math::larger(a, b)),
            Combine::Min => zip(left, right, to, len, |a, b| math::smaller(a, b)),
        }
    }
}

/// # Safety
/// As for [`stretch`].
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn zip(left: Operand, right: Operand, to: *mut f32, len: usize, combine: impl Fn(__m256, __m256) -> __m256) {
    // SAFETY: the caller's promise; an operand that stands still is read once.
    unsafe {
        match (left, right) {
            ((left, true), (right, true)) => each_pair(left, right, to, len, combine),
            ((left, true), (right, false)) => {
                let right = _mm256_set1_ps(right.read());
                each(left, to, len, |x| combine(x, right));
            }
            ((left, false), (right, true)) => {
                let left = _mm256_set1_ps(left.read());
                each(right, to, len, |x| combine(left, x));
            }
            ((left, false), (right, false)) => {
                let value = combine(_mm256_set1_ps(left.read()), _mm256_set1_ps(right.read()));
                each(to, to, len, |_| value);
            }
        }
    }
}
