//! Vectors of four floats at raw addresses, whole or in part.

use std::arch::aarch64::*;

/// Floats in a vector.
pub(crate) const LANES: usize = 4;

/// The first `count` floats from there on, and behind them `rest`.
///
/// # Safety
/// The CPU has NEON; `count` floats, at most three, are readable at `from`, not necessarily aligned.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) unsafe fn load_first(from: *const f32, count: usize, rest: f32) -> float32x4_t {
    debug_assert!(count < LANES);
    let mut all = [rest; LANES];
    for i in 0..count {
        // SAFETY: `i < count`.
        all[i] = unsafe { from.add(i).read_unaligned() };
    }
    // SAFETY: the array has as many floats as a vector.
    unsafe { vld1q_f32(all.as_ptr()) }
}

/// Stores the first `count` lanes.
///
/// # Safety
/// The CPU has NEON; `count` floats, at most three, are writable at `to`.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) unsafe fn store_first(to: *mut f32, value: float32x4_t, count: usize) {
    debug_assert!(count < LANES);
    // SAFETY: the stores cover `count & 2` and then `count & 1` floats, one behind the other.
    unsafe {
        match count {
            3 => {
                vst1_f32(to, vget_low_f32(value));
                vst1q_lane_f32::<2>(to.add(2), value);
            }
            2 => vst1_f32(to, vget_low_f32(value)),
            1 => vst1q_lane_f32::<0>(to, value),
            _ => {}
        }
    }
}

/// The sum of all lanes, in a fixed order.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn sum(v: float32x4_t) -> f32 {
    vaddvq_f32(v)
}

/// The largest lane; a NaN wins.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn largest(v: float32x4_t) -> f32 {
    vmaxvq_f32(v)
}

/// Calls `whole` with the start of every whole vector of `0..len`, then `part` with that of the last, partial one and the number of its elements.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn vectors(len: usize, mut whole: impl FnMut(usize), mut part: impl FnMut(usize, usize)) {
    let mut at = 0;
    while at + LANES <= len {
        whole(at);
        at += LANES;
    }
    if at < len {
        part(at, len - at);
    }
}

/// Four vectors as the rows of a square, answered as its columns.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn transposed(rows: [float32x4_t; LANES]) -> [float32x4_t; LANES] {
    let [a, b, c, d] = rows;
    // Pairs of rows, then fours.
    let (ab_even, ab_odd) = (vreinterpretq_f64_f32(vtrn1q_f32(a, b)), vreinterpretq_f64_f32(vtrn2q_f32(a, b)));
    let (cd_even, cd_odd) = (vreinterpretq_f64_f32(vtrn1q_f32(c, d)), vreinterpretq_f64_f32(vtrn2q_f32(c, d)));
    [
        vreinterpretq_f32_f64(vzip1q_f64(ab_even, cd_even)),
        vreinterpretq_f32_f64(vzip1q_f64(ab_odd, cd_odd)),
        vreinterpretq_f32_f64(vzip2q_f64(ab_even, cd_even)),
        vreinterpretq_f32_f64(vzip2q_f64(ab_odd, cd_odd)),
    ]
}
