//! Depthwise convolution with filters of 3 x 3 or 5 x 5, on a band in the workspace. A block of outputs goes through the columns of its filter; the weights
//! of one column stay in registers, and each input vector is loaded once for all outputs of the block that it belongs to.

use super::bands::Bands;
use super::depthwise::Ends;
use super::lanes::{self, LANES};
use std::arch::x86_64::*;

/// Rows of a block, where there are as many.
const DOWN: usize = 4;

/// A band that was loaded, and the filter.
struct Square<'a, const K: usize> {
    /// Tap (0, 0) of the first output.
    start: *const f32,
    /// Floats from one input row to the next.
    step: usize,
    /// Floats from tap (0, 0) to tap (0, x).
    taps: [usize; K],
    /// The filter, column by column.
    weights: [[__m256; K]; K],
    results: *mut f32,
    width: usize,
    ends: &'a Ends,
}

/// Computes the outputs of a band of `rows` rows, from `results` on. `K` is the length of the filter, `S` the stride along columns.
///
/// # Safety
/// The CPU has AVX2 and FMA. The bands' window has filters of `K` x `K` without dilation and moves down by `S`; [`Bands::load`] filled the workspace for
/// `rows` rows; `K * K` weights are readable; the outputs of so many rows are writable, and nobody else's.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn sweep<const K: usize, const S: usize>(
    bands: &Bands,
    weights: *const f32,
    workspace: *const f32,
    rows: usize,
    results: *mut f32,
    ends: Ends,
) {
    let mut square = Square {
        start: workspace,
        step: bands.row_step(),
        taps: [0; K],
        weights: [[_mm256_setzero_ps(); K]; K],
        results,
        width: bands.window.wide.output,
        ends: &ends,
    };
    for x in 0..K {
        square.taps[x] = bands.taps()[x];
        for y in 0..K {
            // SAFETY: the caller's promise.
            square.weights[x][y] = _mm256_set1_ps(unsafe { weights.add(y * K + x).read() });
        }
    }
    // The last rows, and the last columns, may be computed twice: they get the same values.
    let down = if rows >= DOWN { DOWN } else { 1 };
    for row in (0..rows).step_by(down) {
        let row = row.min(rows - down);
        // SAFETY: the rows are the band's.
        unsafe {
            match down {
                DOWN => square.row::<S, DOWN>(row),
                _ => square.row::<S, 1>(row),
            }
        }
    }
}

impl<const K: usize> Square<'_, K> {
    /// Computes `R` rows.
    ///
    /// # Safety
    /// As for [`sweep`], and the band has the rows.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn row<const S: usize, const R: usize>(&self, row: usize) {
        let last = self.width.saturating_sub(LANES);
        let mut column = 0;
        // SAFETY: vectors begin at or before the last column at which a whole one fits, or at 0.
        unsafe {
            while column + LANES < self.width {
                self.block::<S, R, 2>(row, [column, (column + LANES).min(last)]);
                column += 2 * LANES;
            }
            if column < self.width {
                self.block::<S, R, 1>(row, [column.min(last)]);
            }
        }
    }

    /// Computes `R` rows of the vectors that begin at `columns`.
    ///
    /// # Safety
    /// As for [`sweep`]; the band has the rows, and the vectors lie inside them, but for one that is a whole, narrow row.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn block<const S: usize, const R: usize, const C: usize>(&self, row: usize, columns: [usize; C]) {
        let first = self.start.wrapping_add(row * S * self.step);
        let mut sums = [[_mm256_setzero_ps(); C]; R];
        for x in 0..K {
            let weights = self.weights[x];
            for down in 0..(R - 1) * S + K {
                let mut inputs = [_mm256_setzero_ps(); C];
                for c in 0..C {
                    // SAFETY: the band holds every tap of every whole vector of its rows.
                    inputs[c] = unsafe { _mm256_loadu_ps(first.add(down * self.step + self.taps[x] + columns[c])) };
                }
                for r in 0..R {
                    if down >= r * S && down - r * S < K {
                        for c in 0..C {
                            sums[r][c] = _mm256_fmadd_ps(weights[down - r * S], inputs[c], sums[r][c]);
                        }
                    }
                }
            }
        }
        for r in 0..R {
            for c in 0..C {
                let value = self.ends.apply(sums[r][c]);
                // SAFETY: a whole vector lies inside its row; a narrow row has `width` outputs.
                unsafe {
                    let to = self.results.add((row + r) * self.width + columns[c]);
                    match self.width {
                        LANES.. => _mm256_storeu_ps(to, value),
                        narrow => lanes::store_first(to, value, narrow),
                    }
                }
            }
        }
    }
}
