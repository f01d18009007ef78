//! Weights decoded into the panels of an ordinary product: two strips are a panel.

use super::super::lanes::LANES;
use super::super::micro::COLUMNS;
use super::layout::{Format, GROUP};
use super::numbers::{self, Blocks, STEP};
use std::arch::x86_64::*;

/// The right side of a product whose elements are packed blocks.
#[derive(Clone, Copy)]
pub(crate) struct Panels {
    format: Format,
    strips: usize,
    strip_bytes: usize,
}

impl Panels {
    /// Where the depth may be divided: multiples of a block of any format.
    pub(crate) const DEPTH: usize = 256;

    pub(super) fn new(format: Format, strips: usize, strip_bytes: usize) -> Self {
        Self { format, strips, strip_bytes }
    }

    /// Packs rows `first_row` to `first_row + depth` of `columns` columns from `first_column` on, as `pack::right` does.
    ///
    /// # Safety
    /// The CPU has AVX2, FMA and F16C; the strips are readable at `strips`; the first row is a multiple of [`Panels::DEPTH`], the first column
    /// one of the panel, and rows and columns are the matrix's; `columns` rounded up to whole panels, times `depth`, floats are writable at `to`, and nobody
    /// else's.
    pub(crate) unsafe fn pack(
        &self,
        strips: *const u8,
        first_row: usize,
        depth: usize,
        first_column: usize,
        columns: usize,
        to: *mut f32,
    ) {
        for half in 0..2 * columns.div_ceil(COLUMNS) {
            let strip = first_column / LANES + half;
            let to = to.wrapping_add(half / 2 * COLUMNS * depth + half % 2 * LANES);
            let from = strips.wrapping_add(strip * self.strip_bytes);
            // SAFETY: a strip is half of a panel; the one that is not there is filled with zeros.
            unsafe {
                if strip >= self.strips {
                    (0..depth).for_each(|k| to.add(k * COLUMNS).write_bytes(0, LANES));
                    continue;
                }
                match self.format {
                    Format::Q4_0 => half_panel::<numbers::Q4_0>(from, first_row, depth, to),
                    Format::Q4K => half_panel::<numbers::Q4K>(from, first_row, depth, to),
                    Format::Q5K => half_panel::<numbers::Q5K>(from, first_row, depth, to),
                    Format::Q6K => half_panel::<numbers::Q6K>(from, first_row, depth, to),
                    Format::Q8_0 => half_panel::<numbers::Q8_0>(from, first_row, depth, to),
                }
            }
        }
    }
}

/// Decodes rows `first` to `first + depth` of a strip, a panel's row apart.
///
/// # Safety
/// As for [`Panels::pack`].
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn half_panel<B: Blocks>(strip: *const u8, first: usize, depth: usize, to: *mut f32) {
    let length = B::GROUPS * GROUP;
    for row in (0..depth).step_by(length) {
        // SAFETY: a block has `length` rows, and `depth` is whole blocks.
        unsafe {
            let block = strip.add((first + row) / length * B::BYTES);
            let head = B::head(block);
            for group in 0..B::GROUPS {
                let to = to.add((row + group * GROUP) * COLUMNS);
                B::group(block, head, group, |first, weights| {
                    for j in 0..STEP {
                        _mm256_storeu_ps(to.add((first + j) * COLUMNS), weights[j]);
                    }
                });
            }
        }
    }
}
