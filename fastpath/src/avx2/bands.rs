//! Sliding windows over single planes: a band of rows is copied with its padding into the workspace, the columns sorted by their remainder modulo
//! the stride. Then every tap of eight neighbouring outputs is one whole vector, whatever padding, stride and dilation are.

use super::lanes::{self, LANES};
use super::sliding::Sliding;
use crate::settle::WORKSPACE_FLOATS;
use std::arch::x86_64::*;
use std::ops::Range;

/// What a band should fit in: most of a first-level cache.
const BAND_FLOATS: usize = 6 * 1024;

/// How planes are cut into bands.
#[derive(Clone, Debug)]
pub(crate) struct Bands {
    pub(crate) window: Sliding,
    /// Floats of one row and remainder in the workspace.
    phase: usize,
    /// Output rows of a band; the last one of a plane may have fewer.
    rows: usize,
    /// For each tap, floats from the place of tap (0, 0).
    taps: Box<[usize]>,
}

impl Bands {
    /// Bands of one plane at a time. None where even one row of outputs needs more workspace than there is.
    pub(crate) fn of(window: Sliding) -> Option<Self> {
        Self::sized(window, BAND_FLOATS, WORKSPACE_FLOATS)
    }

    /// Bands of at most `near` floats for each plane, or of one row of outputs if that takes at most `most`.
    pub(crate) fn sized(window: Sliding, near: usize, most: usize) -> Option<Self> {
        let Sliding { high, wide } = window;
        // The last vector of a row reads whole, too.
        let phase = wide.output.next_multiple_of(LANES) + (wide.extent() - 1) / wide.stride;
        let row = phase.checked_mul(wide.stride)?;
        let rows_for =
            |floats: usize| (floats / row.max(1)).checked_sub(high.extent()).map(|rest| rest / high.stride + 1);
        let rows = rows_for(near).or_else(|| rows_for(most).map(|_| 1))?;
        let tap = |tap_y: usize, tap_x: usize| {
            let ahead = tap_x * wide.dilation;
            (tap_y * high.dilation * wide.stride + ahead % wide.stride) * phase + ahead / wide.stride
        };
        let taps = (0..high.kernel).flat_map(|y| (0..wide.kernel).map(move |x| tap(y, x))).collect();
        Some(Self { window, phase, rows: rows.min(high.output.max(1)), taps })
    }

    /// At least `count` bands, if there are as many rows of outputs.
    pub(crate) fn at_least(self, count: usize) -> Self {
        Self { rows: self.rows.min(self.window.high.output.div_ceil(count.max(1))).max(1), ..self }
    }

    /// Bands of one plane.
    pub(crate) fn count(&self) -> usize {
        self.window.high.output.div_ceil(self.rows)
    }

    /// Output rows of band `number` of a plane.
    pub(crate) fn rows(&self, number: usize) -> Range<usize> {
        number * self.rows..self.window.high.output.min((number + 1) * self.rows)
    }

    fn input_rows(&self, rows: usize) -> usize {
        (rows - 1) * self.window.high.stride + self.window.high.extent()
    }

    /// Floats of the workspace for one plane.
    pub(crate) fn floats(&self) -> usize {
        self.input_rows(self.rows) * self.row_step()
    }

    /// Bytes of workspace for one plane.
    pub(crate) fn workspace_bytes(&self) -> u32 {
        debug_assert!(self.floats() <= WORKSPACE_FLOATS);
        (self.floats() * 4) as u32
    }

    /// Copies what the output rows `rows` read of a plane into the workspace; what lies outside the plane becomes `fill`.
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA; the plane is readable; the workspace has the size that was asked for and is nobody else's; `rows` is a band.
    #[target_feature(enable = "avx2,fma")]
    pub(crate) unsafe fn load(&self, plane: *const f32, rows: Range<usize>, fill: f32, workspace: *mut f32) {
        let Sliding { high, wide } = self.window;
        let input_rows = self.input_rows(rows.len());
        let above = high.pad.saturating_sub(rows.start * high.stride).min(input_rows);
        let first_row = (rows.start * high.stride + above).saturating_sub(high.pad);
        let inside = input_rows.min(above + high.input.saturating_sub(first_row));
        let fills = _mm256_set1_ps(fill);
        for remainder in 0..wide.stride {
            // Place j of this remainder is column `remainder + j * stride - pad` of the plane.
            let first = wide.pad.saturating_sub(remainder).div_ceil(wide.stride).min(self.phase);
            let end = (wide.input + wide.pad).saturating_sub(remainder).div_ceil(wide.stride).clamp(first, self.phase);
            let column = (remainder + first * wide.stride).saturating_sub(wide.pad);
            for r in 0..input_rows {
                // SAFETY: the band has `input_rows` rows of `stride` remainders of `phase` floats, all in the workspace. Rows `above..inside` of it lie inside
                // the plane, places `first..end` inside its row, by the bounds above. Where a whole vector of the padding reaches into the row, the row
                // is copied over it.
                unsafe {
                    let to = workspace.add((r * wide.stride + remainder) * self.phase);
                    if r < above || r >= inside || first == end {
                        fill_with(to, self.phase, fill);
                        continue;
                    }
                    let from = plane.add((first_row + r - above) * wide.input + column);
                    match first {
                        0 => {}
                        1..=LANES => _mm256_storeu_ps(to, fills),
                        _ => fill_with(to, first, fill),
                    }
                    match self.phase - end {
                        0 => {}
                        1..=LANES => _mm256_storeu_ps(to.add(self.phase - LANES), fills),
                        behind => fill_with(to.add(end), behind, fill),
                    }
                    let to = Row { start: to.add(first), count: end - first, room: self.phase - first };
                    copy(from, wide.input - column, wide.stride, to, fills);
                }
            }
        }
    }

    /// Floats of the workspace from one input row to the next.
    pub(crate) fn row_step(&self) -> usize {
        self.window.wide.stride * self.phase
    }

    /// For each tap, floats from the place of tap (0, 0).
    pub(crate) fn taps(&self) -> &[usize] {
        &self.taps
    }

    /// Computes the outputs of a band that was loaded, row by row from `results` on: `fold` takes a sum, the number of a tap and what it reads; `finish`
    /// takes the sum, the row of the band and the column.
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA; [`Bands::load`] filled the workspace for `rows` rows; the outputs of so many rows are writable, and nobody else's.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) unsafe fn sweep(
        &self,
        workspace: *const f32,
        rows: usize,
        results: *mut f32,
        start: __m256,
        fold: impl Fn(__m256, usize, __m256) -> __m256,
        finish: impl Fn(__m256, usize, usize) -> __m256,
    ) {
        let vectors = self.window.wide.output.div_ceil(LANES);
        let mut column = 0;
        while column < vectors {
            // About eight sums at a time, so that none waits for itself: as wide as the row allows, and then so many rows.
            let across = 4.min(vectors - column);
            let most = [8, 4, 2, 2][across - 1];
            let down = if rows >= most { most } else { 1 << rows.max(1).ilog2() };
            for row in (0..rows).step_by(down) {
                // The last rows may be done twice.
                let at = Block { workspace, results, row: row.min(rows - down), column: column * LANES };
                // SAFETY: the block lies inside the band: `across` vectors from `column` on, `down` rows from its row on.
                unsafe {
                    match (down, across) {
                        (8, _) => self.block::<8, 1>(at, start, &fold, &finish),
                        (4, 1) => self.block::<4, 1>(at, start, &fold, &finish),
                        (4, _) => self.block::<4, 2>(at, start, &fold, &finish),
                        (2, 1) => self.block::<2, 1>(at, start, &fold, &finish),
                        (2, 2) => self.block::<2, 2>(at, start, &fold, &finish),
                        (2, 3) => self.block::<2, 3>(at, start, &fold, &finish),
                        (2, _) => self.block::<2, 4>(at, start, &fold, &finish),
                        (_, 1) => self.block::<1, 1>(at, start, &fold, &finish),
                        (_, 2) => self.block::<1, 2>(at, start, &fold, &finish),
                        (_, 3) => self.block::<1, 3>(at, start, &fold, &finish),
                        (_, _) => self.block::<1, 4>(at, start, &fold, &finish),
                    }
                }
            }
            column += across;
        }
    }

    /// Computes `R` rows of `C` vectors.
    ///
    /// # Safety
    /// As for [`Bands::sweep`], and the block lies inside the band.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn block<const R: usize, const C: usize>(
        &self,
        at: Block,
        start: __m256,
        fold: &impl Fn(__m256, usize, __m256) -> __m256,
        finish: &impl Fn(__m256, usize, usize) -> __m256,
    ) {
        let width = self.window.wide.output;
        let step = self.window.high.stride * self.row_step();
        let first = at.workspace.wrapping_add(at.row * step + at.column);
        let mut sums = [[start; C]; R];
        for (number, &tap) in self.taps.iter().enumerate() {
            for r in 0..R {
                for c in 0..C {
                    // SAFETY: the band holds every tap of every whole vector of its rows.
                    let x = unsafe { _mm256_loadu_ps(first.add(tap + r * step + c * LANES)) };
                    sums[r][c] = fold(sums[r][c], number, x);
                }
            }
        }
        for r in 0..R {
            for c in 0..C {
                let (row, column) = (at.row + r, at.column + c * LANES);
                let value = finish(sums[r][c], row, column);
                // SAFETY: row and column are the band's; the last vector of a row stores what is inside the row.
                unsafe {
                    let to = at.results.add(row * width + column);
                    match width - column {
                        LANES.. => _mm256_storeu_ps(to, value),
                        rest => lanes::store_first(to, value, rest),
                    }
                }
            }
        }
    }
}

/// Where a block of outputs begins, and where its band is.
#[derive(Clone, Copy)]
struct Block {
    workspace: *const f32,
    results: *mut f32,
    row: usize,
    column: usize,
}

/// # Safety
/// The CPU has AVX2 and FMA; `count` floats are writable at `to`.
#[target_feature(enable = "avx2,fma")]
unsafe fn fill_with(to: *mut f32, count: usize, value: f32) {
    let values = _mm256_set1_ps(value);
    let mut at = 0;
    // SAFETY: places below `count` only.
    unsafe {
        while at + LANES <= count {
            _mm256_storeu_ps(to.add(at), values);
            at += LANES;
        }
        while at < count {
            to.add(at).write(value);
            at += 1;
        }
    }
}

/// A part of a row of the workspace: `count` floats are wanted, and up to `room` may be written.
#[derive(Clone, Copy)]
struct Row {
    start: *mut f32,
    count: usize,
    room: usize,
}

/// Copies every `stride`-th float. The last vector may be filled up with `fills`.
///
/// # Safety
/// The CPU has AVX2 and FMA; `readable` floats are readable at `from`, the room of `to` is writable, and `(count - 1) * stride < readable`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn copy(from: *const f32, readable: usize, stride: usize, to: Row, fills: __m256) {
    let mut at = 0;
    // SAFETY: element `at * stride` is below `readable` for `at < count`; lanes behind the last element, or behind what is readable, are masked. Whole
    // vectors are stored only where there is room.
    unsafe {
        if stride == 1 {
            while at + LANES <= to.count {
                _mm256_storeu_ps(to.start.add(at), _mm256_loadu_ps(from.add(at)));
                at += LANES;
            }
        }
        if stride == 2 {
            while at + LANES <= to.count && 2 * (at + LANES) <= readable {
                let first = from.add(2 * at);
                let value = even(_mm256_loadu_ps(first), _mm256_loadu_ps(first.add(LANES)));
                _mm256_storeu_ps(to.start.add(at), value);
                at += LANES;
            }
        }
        while at < to.count {
            let rest = to.count - at;
            let first = from.add(at * stride);
            let mask = lanes::first(rest);
            let value = match stride {
                1 => _mm256_maskload_ps(first, mask),
                2 => {
                    let left = readable - 2 * at;
                    let second = lanes::first(left.saturating_sub(LANES));
                    let a = _mm256_maskload_ps(first, lanes::first(left));
                    even(a, _mm256_maskload_ps(first.wrapping_add(LANES), second))
                }
                _ => {
                    let numbers = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
                    let steps = _mm256_mullo_epi32(numbers, _mm256_set1_epi32(stride as i32));
                    let zero = _mm256_setzero_ps();
                    _mm256_mask_i32gather_ps::<4>(zero, first, steps, _mm256_castsi256_ps(mask))
                }
            };
            let value = _mm256_blendv_ps(fills, value, _mm256_castsi256_ps(mask));
            match at + LANES <= to.room {
                true => _mm256_storeu_ps(to.start.add(at), value),
                false => lanes::store_first(to.start.add(at), value, rest),
            }
            at += LANES;
        }
    }
}

/// The elements with even numbers of sixteen.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn even(a: __m256, b: __m256) -> __m256 {
    let even = _mm256_castps_pd(_mm256_shuffle_ps::<0b10_00_10_00>(a, b));
    _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(even))
}
