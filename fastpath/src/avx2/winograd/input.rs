//! From planes to transformed patches: along columns first, on rows as they lie, then along rows, eight tiles to a vector.

use super::super::lanes::{self, LANES};
use super::super::micro::COLUMNS;
use super::tiling::{Strip, TILES_MAX, Tiling};
use super::transform;
use std::arch::x86_64::*;
use std::ops::Range;

/// Writes the transformed patches of a block of tiles: for each element of a patch, panel after panel, in it channel after channel, sixteen tiles together.
/// Places of a last panel that belong to no tile hold the patch of the block's last one.
///
/// # Safety
/// The CPU has AVX2 and FMA. `P` is the tiling's patch, and the block has 1 to `panels * COLUMNS` tiles. The input is readable at `planes`; the parts of the
/// workspace for patches and strips are writable at `patches` and `strips`, and nobody else's.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn transform<const P: usize>(
    tiling: &Tiling,
    planes: *const f32,
    block: Range<usize>,
    patches: *mut f32,
    strips: *mut f32,
) {
    let plane = tiling.window.input_len();
    let mut offsets = [0; TILES_MAX];
    for (number, strip) in tiling.strips_of(block.clone()).enumerate() {
        for tile in 0..strip.len {
            offsets[strip.first + tile] = number * tiling.strip_floats() + tile * tiling.out;
        }
    }
    let groups = block.len().div_ceil(LANES);
    let last = offsets[block.len() - 1];
    offsets[block.len()..].fill(last);
    for channel in 0..tiling.channels {
        // SAFETY: the strips of a block have room in their part, each `strip_floats`; offsets name places in them; channel, panel and half address a
        // vector inside each small matrix.
        unsafe {
            for (number, strip) in tiling.strips_of(block.clone()).enumerate() {
                let source = planes.add((strip.image * tiling.channels + channel) * plane);
                along_columns::<P>(tiling, source, strip, strips.add(number * tiling.strip_floats()));
            }
            for group in 0..groups {
                let (panel, half) = (group / 2, group % 2);
                let to = patches.add((panel * tiling.channels + channel) * COLUMNS + half * LANES);
                let offsets = &offsets[group * LANES..][..LANES];
                along_rows::<P>(strips, offsets, tiling.strip_row(), to, tiling.patches_step());
            }
        }
    }
}

/// Transforms the patches of a strip along their columns. What lies outside the plane is zero.
///
/// # Safety
/// The CPU has AVX2 and FMA; `plane` is readable, and a strip is writable at `to`.
#[target_feature(enable = "avx2,fma")]
unsafe fn along_columns<const P: usize>(tiling: &Tiling, plane: *const f32, strip: Strip, to: *mut f32) {
    let (high, wide) = (tiling.window.high, tiling.window.wide);
    let (top, left) = (strip.y * tiling.out, strip.x * tiling.out);
    let len = strip.len * tiling.out + P - tiling.out;
    // Places `first..end` of the strip lie inside the plane, as far as columns go.
    let first = wide.pad.saturating_sub(left).min(len);
    let end = (wide.input + wide.pad).saturating_sub(left).clamp(first, len);
    let row = tiling.strip_row();
    let inside = |r: usize| (top + r).checked_sub(high.pad).is_some_and(|y| y < high.input);
    let mut masks = [_mm256_setzero_si256(); P];
    let mut all_rows = true;
    for r in 0..P {
        if inside(r) {
            masks[r] = _mm256_set1_epi32(-1);
        } else {
            all_rows = false;
        }
    }
    // Possibly before the plane: what is read there is masked.
    let source = plane.wrapping_add(top * wide.input + left).wrapping_sub(high.pad * wide.input + wide.pad);
    for at in (0..len).step_by(LANES) {
        let mut d = [_mm256_setzero_ps(); P];
        // SAFETY: a lane is read where its row lies inside the plane, as does its column, which is between `first` and `end`. A row of the strip has
        // whole vectors.
        unsafe {
            if all_rows && at >= first && at + LANES <= end {
                for r in 0..P {
                    d[r] = _mm256_loadu_ps(source.wrapping_add(r * wide.input + at));
                }
            } else {
                let columns =
                    _mm256_andnot_si256(lanes::first(first.saturating_sub(at)), lanes::first(end.saturating_sub(at)));
                for r in 0..P {
                    let mask = _mm256_and_si256(columns, masks[r]);
                    d[r] = _mm256_maskload_ps(source.wrapping_add(r * wide.input + at), mask);
                }
            }
            let v = transform::patch::<P>(d);
            for r in 0..P {
                _mm256_storeu_ps(to.add(r * row + at), v[r]);
            }
        }
    }
}

/// Transforms eight patches along their rows and writes a vector for each element.
///
/// # Safety
/// The CPU has AVX2 and FMA; each offset names a patch in `strips`, whose rows are `row` floats apart; `P * P` vectors are writable, `step` floats apart.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn along_rows<const P: usize>(strips: *const f32, offsets: &[usize], row: usize, to: *mut f32, step: usize) {
    for y in 0..P {
        // SAFETY: a row of a patch has `P` floats, of which the first load takes the first four and the second the last four.
        unsafe {
            let from = strips.add(y * row);
            let pair = |tile: usize, ahead: usize| {
                let low = _mm_loadu_ps(from.add(offsets[tile] + ahead));
                _mm256_set_m128(_mm_loadu_ps(from.add(offsets[tile + 4] + ahead)), low)
            };
            let mut d = [_mm256_setzero_ps(); P];
            d[..4].copy_from_slice(&transpose([pair(0, 0), pair(1, 0), pair(2, 0), pair(3, 0)]));
            if P > 4 {
                let last = transpose([pair(0, P - 4), pair(1, P - 4), pair(2, P - 4), pair(3, P - 4)]);
                d[4..].copy_from_slice(&last[8 - P..]);
            }
            let v = transform::patch::<P>(d);
            for x in 0..P {
                _mm256_storeu_ps(to.add((y * P + x) * step), v[x]);
            }
        }
    }
}

/// Turns four vectors around, each half by itself.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn transpose(v: [__m256; 4]) -> [__m256; 4] {
    let (a, b) = (_mm256_unpacklo_ps(v[0], v[1]), _mm256_unpackhi_ps(v[0], v[1]));
    let (c, d) = (_mm256_unpacklo_ps(v[2], v[3]), _mm256_unpackhi_ps(v[2], v[3]));
    [
        _mm256_shuffle_ps::<0b01_00_01_00>(a, c),
        _mm256_shuffle_ps::<0b11_10_11_10>(a, c),
        _mm256_shuffle_ps::<0b01_00_01_00>(b, d),
        _mm256_shuffle_ps::<0b11_10_11_10>(b, d),
    ]
}
