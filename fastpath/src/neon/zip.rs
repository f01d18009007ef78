//! Two stretches of memory, element by element.

use super::map::{each, each_pair};
use crate::pairs::{Combine, Operand};
use std::arch::aarch64::*;

/// Writes what becomes of each of `len` pairs of elements to `to`.
///
/// # Safety
/// The CPU has NEON; `len` floats (one, where it stands still) are readable at each operand and `len` writable at `to`, which equals or does
/// not overlap each of them.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn stretch(combine: Combine, left: Operand, right: Operand, to: *mut f32, len: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match combine {
            Combine::Add => zip(left, right, to, len, |a, b| vaddq_f32(a, b)),
            Combine::Sub => zip(left, right, to, len, |a, b| vsubq_f32(a, b)),
            Combine::Mul => zip(left, right, to, len, |a, b| vmulq_f32(a, b)),
            Combine::Div => zip(left, right, to, len, |a, b| vdivq_f32(a, b)),
            // A NaN wins.
            Combine::Max => zip(left, right, to, len, |a, b| vmaxq_f32(a, b)),
            Combine::Min => zip(left, right, to, len, |a, b| vminq_f32(a, b)),
        }
    }
}

/// # Safety
/// As for [`stretch`].
#[inline]
#[target_feature(enable = "neon")]
unsafe fn zip(
    left: Operand,
    right: Operand,
    to: *mut f32,
    len: usize,
    combine: impl Fn(float32x4_t, float32x4_t) -> float32x4_t,
) {
    // SAFETY: the caller's promise; an operand that stands still is read once.
    unsafe {
        match (left, right) {
            ((left, true), (right, true)) => each_pair(left, right, to, len, combine),
            ((left, true), (right, false)) => {
                let right = vdupq_n_f32(right.read());
                each(left, to, len, |x| combine(x, right));
            }
            ((left, false), (right, true)) => {
                let left = vdupq_n_f32(left.read());
                each(right, to, len, |x| combine(left, x));
            }
            ((left, false), (right, false)) => {
                let value = combine(vdupq_n_f32(left.read()), vdupq_n_f32(right.read()));
                each(to, to, len, |_| value);
            }
        }
    }
}
