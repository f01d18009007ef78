//! The softmax of a line.

use super::lanes::{self, vectors};
use super::map::each;
use super::math::exp;
use std::arch::aarch64::*;
use std::cell::Cell;

/// Writes the softmax of the `len` floats at `from` to `to`.
///
/// # Safety
/// The CPU has NEON; `len` floats are readable at `from` and writable at `to`; the two are equal or do not overlap.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn line(from: *const f32, to: *mut f32, len: usize) {
    // What fills up the last vector: it is never the largest, and its power is zero.
    let least = f32::NEG_INFINITY;
    let largest = Cell::new(vdupq_n_f32(least));
    let meet = |x| largest.set(vmaxq_f32(largest.get(), x));
    // SAFETY: `vectors` names positions whose four (or `count`) elements lie below `len`.
    vectors(
        len,
        |at| meet(unsafe { vld1q_f32(from.add(at)) }),
        |at, count| meet(unsafe { lanes::load_first(from.add(at), count, least) }),
    );
    let largest = vdupq_n_f32(lanes::largest(largest.get()));
    let sum = Cell::new(vdupq_n_f32(0.0));
    // SAFETY: as above; each element is read before its place is written.
    vectors(
        len,
        |at| unsafe {
            let power = exp(vsubq_f32(vld1q_f32(from.add(at)), largest));
            vst1q_f32(to.add(at), power);
            sum.set(vaddq_f32(sum.get(), power));
        },
        |at, count| unsafe {
            let power = exp(vsubq_f32(lanes::load_first(from.add(at), count, least), largest));
            lanes::store_first(to.add(at), power, count);
            sum.set(vaddq_f32(sum.get(), power));
        },
    );
    let sum = vdupq_n_f32(lanes::sum(sum.get()));
    // SAFETY: the caller's promise.
    unsafe { each(to, to, len, |power| vdivq_f32(power, sum)) };
}
