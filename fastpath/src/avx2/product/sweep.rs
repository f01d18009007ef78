//! The inner loops of a product: a block of rows of the left side times a block of columns of the right one.

use super::{Product, RightForm};
use crate::avx2::micro::{self, Ahead, COLUMNS, Left, ROWS, Tile};
use crate::avx2::steps;
use crate::product::Addresses;
use crate::steps::{Finish, Steps};
use std::ops::Range;

/// Floats of panels of the right side that one tile of the left side meets before the next tile does: they stay in a first-level cache, and results are
/// written in longer stretches of their rows.
const NEAR_FLOATS: usize = 5 * 1024;
/// The tiles of one block.
pub(super) struct Sweep<'a> {
    pub(super) product: &'a Product,
    pub(super) at: &'a Addresses<'a>,
    /// The left side of the block, where it is packed in the workspace.
    pub(super) left: *const f32,
    /// First step and number of steps along the depth.
    pub(super) k: usize,
    pub(super) depth: usize,
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
    /// Nothing of the right side was read by tiles before.
    pub(super) is_first: bool,
    /// The first row of tiles packs the right side.
    pub(super) packs: bool,
    /// Of complete sums.
    pub(super) finish: Option<&'a Finish>,
    /// What is left to do behind `finish`.
    pub(super) steps: &'a Steps,
}

impl Sweep<'_> {
    /// # Safety
    /// As for [`Product::run`]; rows, columns and steps are the part's and lie in one block, which is packed as far as no tile packs it.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn run(&self) {
        let near = (NEAR_FLOATS / self.depth.max(1) / COLUMNS).max(1) * COLUMNS;
        let Self { product, at, .. } = self;
        for first in self.columns.clone().step_by(near) {
            let columns = first..self.columns.end.min(first + near);
            for tile in self.rows.clone().step_by(ROWS) {
                let left = product.left_tile(at, self.left, self.k, self.depth, &self.rows, tile);
                for panel in columns.clone().step_by(COLUMNS) {
                    // SAFETY: the caller's promise: tile and panel lie in the block.
                    unsafe { self.tile(left, tile, panel, near) };
                }
            }
            if self.finish.is_some() && !self.steps.is_empty() {
                // While the results are in a near cache.
                for row in self.rows.clone() {
                    let place = row * product.columns + first;
                    // SAFETY: the results of the row and these columns are the part's.
                    unsafe {
                        let results = at.results.add(place);
                        steps::apply(self.steps, results, columns.len(), at.row + row, first, at.flat + place);
                    }
                }
            }
        }
    }

    /// # Safety
    /// As for [`Sweep::run`]; `left` is the tile at row `tile`, and a panel begins at column `panel`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn tile(&self, left: Left, tile: usize, panel: usize, near: usize) {
        let Self { product, at, k, depth, .. } = *self;
        let right = product.right_panel(at, k, depth, &self.columns, panel);
        let place = tile * product.columns + panel;
        let into = Tile {
            start: at.results.wrapping_add(place),
            stride: product.columns,
            rows: ROWS.min(self.rows.end - tile),
            columns: COLUMNS.min(self.columns.end - panel),
            accumulate: k > 0,
        };
        let finish = self.finish.map(|finish| finish.at(tile, panel, at.flat + place));
        let ahead = self.ahead(tile, panel + near).unwrap_or(Ahead::nothing(left.start));
        let (right, copy) = match self.plain(panel) {
            Some(plain) if tile == self.rows.start && into.columns == COLUMNS => (plain, Some(right.start.cast_mut())),
            _ => (right, None),
        };
        // SAFETY: tile and panel are readable in the form that they have, and the results are the part's; biases and addend have an element for each. A
        // panel that is packed has its place in the workspace.
        unsafe { micro::multiply_ahead(depth, left, right, into, finish.as_ref(), copy, ahead) }
    }

    /// The panel at column `panel` as it lies before it is packed, if tiles pack it.
    #[inline]
    fn plain(&self, panel: usize) -> Option<micro::Right> {
        match self.product.right {
            RightForm::Strided { step, .. } if self.packs => {
                Some(micro::Right { start: self.at.right.wrapping_add(self.k * step + panel), step })
            }
            _ => None,
        }
    }

    /// What the tile at row `tile` asks for of the panel at `panel`, which comes later: of each of the first four tiles a quarter of it.
    #[inline]
    fn ahead(&self, tile: usize, panel: usize) -> Option<Ahead> {
        let quarter = (tile - self.rows.start) / ROWS;
        if !self.is_first || quarter >= 4 || panel + COLUMNS > self.columns.end {
            return None;
        }
        let right = match (self.plain(panel), self.product.right) {
            (Some(plain), _) => plain,
            (None, RightForm::Packed) => self.product.right_panel(self.at, self.k, self.depth, &self.columns, panel),
            _ => return None,
        };
        Some(Ahead { start: right.start.wrapping_add(quarter * (self.depth / 4) * right.step), step: right.step })
    }
}
