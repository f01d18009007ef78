//! Depthwise convolution with filters of 3 x 3 that takes every second column: read where the plane is, without sorting columns first.
//!
//! Four neighbouring outputs read eight neighbouring elements with their first two taps, and the same elements two places on with the third. So a vector
//! is multiplied by `w0 w1 w0 w1 ...`, the next one, of which every second lane is left out, by `w2`; what stands side by side is added at the end.

use super::depthwise::Ends;
use super::lanes::{self, LANES};
use super::sliding::Sliding;
use std::arch::x86_64::*;
use std::ops::Range;

const KERNEL: usize = 3;
/// Elements of a row that eight outputs read, as whole vectors.
const REACH: isize = 2 * LANES as isize + 2;
/// Where the four vectors of eight outputs begin: for the first two taps of four outputs, for their third tap, and the same for the other four.
const STARTS: [isize; 4] = [0, 2, LANES as isize, LANES as isize + 2];

/// Whether [`sweep`] takes this window.
pub(super) fn fits(window: Sliding) -> bool {
    let Sliding { high, wide } = window;
    [high, wide].iter().all(|axis| axis.kernel == KERNEL && axis.dilation == 1) && wide.stride == 2
}

/// One row of the plane and the weights that it meets.
#[derive(Clone, Copy)]
struct Tap {
    row: *const f32,
    pair: __m256,
    single: __m256,
}

/// Computes rows of a plane; `results` is where the first of them goes.
///
/// # Safety
/// The CPU has AVX2 and FMA; [`fits`] said yes; the plane and nine weights are readable; the outputs of `rows` are writable, and nobody else's.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn sweep(
    window: Sliding,
    rows: Range<usize>,
    plane: *const f32,
    weights: *const f32,
    results: *mut f32,
    ends: Ends,
) {
    let Sliding { high, wide } = window;
    let mut filter = [Tap { row: plane, pair: _mm256_setzero_ps(), single: _mm256_setzero_ps() }; KERNEL];
    for (y, tap) in filter.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        let [w0, w1, w2] = unsafe { weights.add(y * KERNEL).cast::<[f32; KERNEL]>().read_unaligned() };
        tap.pair = _mm256_setr_ps(w0, w1, w0, w1, w0, w1, w0, w1);
        tap.single = _mm256_set1_ps(w2);
    }
    for (number, row) in rows.enumerate() {
        let mut inside = filter;
        let mut count = 0;
        for (y, tap) in filter.iter().enumerate() {
            if let Some(y) = high.source(row, y) {
                inside[count] = Tap { row: plane.wrapping_add(y * wide.input), ..*tap };
                count += 1;
            }
        }
        for first in (0..wide.output).step_by(LANES) {
            let place = 2 * first as isize - wide.pad as isize;
            let is_whole = place >= 0 && place + REACH <= wide.input as isize;
            // SAFETY: the rows lie in the plane; whole vectors lie in a row, and of others only the lanes that do are read. The outputs are the row's.
            unsafe {
                let sums = match is_whole {
                    true => whole(&inside[..count], place),
                    false => cut(&inside[..count], place, wide.input),
                };
                let to = results.add(number * wide.output + first);
                let value = ends.apply(neighbours(sums));
                match wide.output - first {
                    LANES.. => _mm256_storeu_ps(to, value),
                    rest => lanes::store_first(to, value, rest),
                }
            }
        }
    }
}

/// Sums before neighbours are added, of eight outputs whose first element is number `place` of each row.
///
/// # Safety
/// The CPU has AVX2 and FMA; `REACH` elements from `place` on are readable in each row.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn whole(taps: &[Tap], place: isize) -> [__m256; 2] {
    let even = _mm256_castsi256_ps(_mm256_set1_epi64x(0xFFFF_FFFF));
    let mut sums = [_mm256_setzero_ps(); 2];
    for tap in taps {
        // SAFETY: the caller's promise.
        let [a, b, c, d] = STARTS.map(|start| unsafe { _mm256_loadu_ps(tap.row.offset(place + start)) });
        sums[0] = _mm256_fmadd_ps(a, tap.pair, sums[0]);
        sums[1] = _mm256_fmadd_ps(c, tap.pair, sums[1]);
        // Left out and not multiplied by zero: an infinity there is another output's.
        sums[0] = _mm256_fmadd_ps(_mm256_and_ps(b, even), tap.single, sums[0]);
        sums[1] = _mm256_fmadd_ps(_mm256_and_ps(d, even), tap.single, sums[1]);
    }
    sums
}

/// The same at the ends of rows of `length`: what lies outside of them counts as zero.
///
/// # Safety
/// The CPU has AVX2 and FMA; `length` elements are readable in each row.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn cut(taps: &[Tap], place: isize, length: usize) -> [__m256; 2] {
    let even = _mm256_set1_epi64x(0xFFFF_FFFF);
    let numbers = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let masks = STARTS.map(|start| {
        let at = _mm256_add_epi32(numbers, _mm256_set1_epi32((place + start) as i32));
        let below = _mm256_cmpgt_epi32(_mm256_set1_epi32(length as i32), at);
        _mm256_andnot_si256(_mm256_srai_epi32::<31>(at), below)
    });
    let masks = [masks[0], _mm256_and_si256(masks[1], even), masks[2], _mm256_and_si256(masks[3], even)];
    let mut sums = [_mm256_setzero_ps(); 2];
    for tap in taps {
        // SAFETY: a masked load reads only the lanes of its mask, and those lie in the row.
        let part = |i: usize| unsafe { _mm256_maskload_ps(tap.row.wrapping_offset(place + STARTS[i]), masks[i]) };
        for half in 0..2 {
            sums[half] = _mm256_fmadd_ps(part(2 * half), tap.pair, sums[half]);
            sums[half] = _mm256_fmadd_ps(part(2 * half + 1), tap.single, sums[half]);
        }
    }
    sums
}

/// Lane 2i and lane 2i + 1 of sixteen, added.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn neighbours(sums: [__m256; 2]) -> __m256 {
    // Halves of the two vectors come out in turns.
    let mixed = _mm256_castps_pd(_mm256_hadd_ps(sums[0], sums[1]));
    _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(mixed))
}
