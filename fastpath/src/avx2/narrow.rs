//! Depthwise convolution with filters of 3 x 3 and stride 1 on planes that are narrower than a vector: a row is one vector, whose other lanes are zero, and
//! what lies left and right of each of its elements is the same vector turned around.

use super::bands::Bands;
use super::depthwise::Ends;
use super::lanes::{self, LANES};
use super::sliding::Sliding;
use std::arch::x86_64::*;

const KERNEL: usize = 3;

/// Whether every plane of these bands is one that [`sweep`] takes.
pub(super) fn fits(bands: &Bands) -> bool {
    let Sliding { high, wide } = bands.window;
    let plain = [high, wide].iter().all(|axis| axis.kernel == KERNEL && axis.stride == 1 && axis.dilation == 1);
    // What is turned in from the other end must be zero.
    let reach = wide.pad.max((KERNEL - 1).saturating_sub(wide.pad));
    plain
        && bands.count() == 1
        && wide.pad < KERNEL
        && high.pad < KERNEL
        && wide.input.max(wide.output) + reach <= LANES
}

/// Computes a plane.
///
/// # Safety
/// The CPU has AVX2 and FMA; [`fits`] said yes to the window's bands; the plane and nine weights are readable; the outputs of the plane are writable, and
/// nobody else's.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn sweep(window: Sliding, plane: *const f32, weights: *const f32, results: *mut f32, ends: Ends) {
    let Sliding { high, wide } = window;
    let mask = lanes::first(wide.input);
    let numbers = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let mut filter = [[_mm256_setzero_ps(); KERNEL]; KERNEL];
    let mut turns = [numbers; KERNEL];
    for x in 0..KERNEL {
        // The instruction looks at the last three bits of a number.
        turns[x] = _mm256_add_epi32(numbers, _mm256_set1_epi32(x as i32 - wide.pad as i32));
        for y in 0..KERNEL {
            // SAFETY: the caller's promise.
            filter[y][x] = _mm256_set1_ps(unsafe { weights.add(y * KERNEL + x).read() });
        }
    }
    // Output row `row` is complete once input row `row + 2 - pad` was added to the first of three sums; those behind it wait for more.
    let mut sums = [_mm256_setzero_ps(); KERNEL];
    for step in 0..high.output + KERNEL - 1 {
        if let Some(y) = step.checked_sub(high.pad)
            && y < high.input
        {
            // SAFETY: row `y` of the plane has `wide.input` elements, and the other lanes are masked.
            let row = unsafe { _mm256_maskload_ps(plane.add(y * wide.input), mask) };
            for x in 0..KERNEL {
                let turned = _mm256_permutevar8x32_ps(row, turns[x]);
                for waiting in 0..KERNEL {
                    sums[waiting] = _mm256_fmadd_ps(filter[KERNEL - 1 - waiting][x], turned, sums[waiting]);
                }
            }
        }
        if let Some(row) = step.checked_sub(KERNEL - 1) {
            let value = ends.apply(sums[0]);
            let at = row * wide.output;
            // SAFETY: a whole vector ends inside the plane, where the next rows overwrite what is too much; otherwise the row has `wide.output` elements.
            unsafe {
                match at + LANES <= window.output_len() {
                    true => _mm256_storeu_ps(results.add(at), value),
                    false => lanes::store_first(results.add(at), value, wide.output),
                }
            }
        }
        sums = [sums[1], sums[2], _mm256_setzero_ps()];
    }
}
