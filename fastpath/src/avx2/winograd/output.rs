//! From products to planes: back along columns and rows, with everything that the convolution does to its results, in one sweep.

use super::super::lanes::{self, LANES};
use super::super::math;
use super::super::micro::COLUMNS;
use super::super::steps;
use super::input::transpose;
use super::tiling::{Place, TILES_MAX, Tiling};
use super::transform::{self, OUTPUTS_MAX};
use crate::steps::{Finish, Steps};
use std::arch::x86_64::*;
use std::ops::Range;

/// Where a block's results go.
#[derive(Clone, Copy)]
pub(super) struct Destination<'a> {
    pub(super) results: *mut f32,
    pub(super) finish: &'a Finish,
    /// What is left to do behind `finish`.
    pub(super) steps: &'a Steps,
}

/// Writes the outputs of a block of tiles for the filters `rows`.
///
/// # Safety
/// The CPU has AVX2 and FMA. `P` is the tiling's patch, `block` has 1 to `panels * COLUMNS` of its tiles, `rows` at most the tiling's. Their products are at
/// `products`: for each element of a patch, panel after panel, in it filter after filter, sixteen tiles together. The results are writable, and
/// those of the block and the filters nobody else's. The operands of `finish` and of the steps have an element for each filter or result.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn transform<const P: usize>(
    tiling: &Tiling,
    products: *const f32,
    block: Range<usize>,
    rows: Range<usize>,
    to: Destination<'_>,
) {
    let places = tiling.places(block.clone());
    let plane = tiling.window.output_len();
    for row in rows.clone() {
        // SAFETY: filter, panel and half address a vector inside each small matrix; the places of tiles lie inside the results.
        unsafe {
            let bias = if to.finish.row_bias.is_null() { 0.0 } else { to.finish.row_bias.add(row).read() };
            for first in (0..block.len()).step_by(LANES) {
                let (panel, half) = (first / COLUMNS, first % COLUMNS);
                let from = products.add((panel * tiling.rows + row - rows.start) * COLUMNS + half);
                let places = &places[first..block.len().min(first + LANES)];
                group::<P>(tiling, from, places, row * plane, bias, &to);
            }
            if !to.steps.is_empty() {
                rest(tiling, &block, &places, row, &to);
            }
        }
    }
}

/// Writes the outputs of up to eight tiles of one filter.
///
/// # Safety
/// As for [`transform()`]; the plane begins `plane` floats behind that of filter 0.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn group<const P: usize>(
    tiling: &Tiling,
    from: *const f32,
    places: &[Place],
    plane: usize,
    bias: f32,
    to: &Destination<'_>,
) {
    let out = P - 2;
    let width = tiling.window.wide.output;
    let step = tiling.products_step();
    let mut half = [[_mm256_setzero_ps(); P]; OUTPUTS_MAX];
    for x in 0..P {
        let mut m = [_mm256_setzero_ps(); P];
        for y in 0..P {
            // SAFETY: the caller's promise.
            m[y] = unsafe { _mm256_loadu_ps(from.add((y * P + x) * step)) };
        }
        let column = transform::outputs::<P>(m);
        for y in 0..out {
            half[y][x] = column[y];
        }
    }
    let bias = _mm256_set1_ps(bias);
    let (low, high) = (_mm_set1_ps(to.finish.low), _mm_set1_ps(to.finish.high));
    for y in 0..out {
        let mut row = transform::outputs::<P>(half[y]);
        for x in 0..out {
            row[x] = _mm256_add_ps(row[x], bias);
        }
        let tiles = transpose(row);
        for (lane, place) in places.iter().enumerate() {
            if y >= place.rows {
                continue;
            }
            let at = place.flat + plane + y * width;
            let both = tiles[lane % 4];
            let mut v = if lane < 4 { _mm256_castps256_ps128(both) } else { _mm256_extractf128_ps::<1>(both) };
            // SAFETY: row `y` of the tile lies inside the plane, with `columns` outputs.
            unsafe {
                if place.columns == OUTPUTS_MAX {
                    if !to.finish.addend.is_null() {
                        v = _mm_add_ps(v, _mm_loadu_ps(to.finish.addend.add(at)));
                    }
                    _mm_storeu_ps(to.results.add(at), math::limit_half(v, low, high));
                } else {
                    if !to.finish.addend.is_null() {
                        let mask = _mm256_castsi256_si128(lanes::first(place.columns));
                        v = _mm_add_ps(v, _mm_maskload_ps(to.finish.addend.add(at), mask));
                    }
                    let v = _mm256_castps128_ps256(math::limit_half(v, low, high));
                    lanes::store_first(to.results.add(at), v, place.columns);
                }
            }
        }
    }
}

/// Applies the steps that were not done in registers, along the strips of the block.
///
/// # Safety
/// As for [`transform()`].
#[target_feature(enable = "avx2,fma")]
unsafe fn rest(tiling: &Tiling, block: &Range<usize>, places: &[Place; TILES_MAX], row: usize, to: &Destination<'_>) {
    let (width, plane) = (tiling.window.wide.output, row * tiling.window.output_len());
    for strip in tiling.strips_of(block.clone()) {
        let (first, last) = (places[strip.first], places[strip.first + strip.len - 1]);
        let len = last.flat + last.columns - first.flat;
        for y in 0..first.rows {
            let at = first.flat + plane + y * width;
            // SAFETY: the outputs of a strip's row follow each other.
            unsafe { steps::apply(to.steps, to.results.add(at), len, row, 0, at) };
        }
    }
}
