//! The softmax of a line.

use super::lanes::{self, vectors};
use super::map::each;
use super::math::exp;
use std::arch::x86_64::*;
use std::cell::Cell;

/// Writes the softmax of the `len` floats at `from` to `to`.
///
/// # Safety
/// The CPU has AVX2 and FMA; `len` floats are readable at `from` and writable at `to`; the two are equal or do not overlap.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn line(from: *const f32, to: *mut f32, len: usize) {
    let least = _mm256_set1_ps(f32::NEG_INFINITY);
    let largest = Cell::new(least);
    // SAFETY: `vectors` names positions whose eight (or masked) elements lie below `len`.
    vectors(
        len,
        |at| largest.set(_mm256_max_ps(largest.get(), unsafe { _mm256_loadu_ps(from.add(at)) })),
        |at, mask, _| {
            // SAFETY: as above, under the mask.
            let x = unsafe { _mm256_maskload_ps(from.add(at), mask) };
            largest.set(_mm256_max_ps(largest.get(), _mm256_blendv_ps(least, x, _mm256_castsi256_ps(mask))));
        },
    );
    let largest = _mm256_set1_ps(lanes::largest(largest.get()));
    let sum = Cell::new(_mm256_setzero_ps());
    // SAFETY: as above; each element is read before its place is written.
    vectors(
        len,
        |at| unsafe {
            let power = exp(_mm256_sub_ps(_mm256_loadu_ps(from.add(at)), largest));
            _mm256_storeu_ps(to.add(at), power);
            sum.set(_mm256_add_ps(sum.get(), power));
        },
        |at, mask, count| unsafe {
            let power = exp(_mm256_sub_ps(_mm256_maskload_ps(from.add(at), mask), largest));
            lanes::store_first(to.add(at), power, count);
            sum.set(_mm256_add_ps(sum.get(), _mm256_and_ps(power, _mm256_castsi256_ps(mask))));
        },
    );
    let sum = _mm256_set1_ps(lanes::sum(sum.get()));
    // SAFETY: the caller's promise.
    unsafe { each(to, to, len, |power| _mm256_div_ps(power, sum)) };
}
