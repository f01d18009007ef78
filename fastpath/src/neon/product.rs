//! A blocked matrix product: the left side is packed a block at a time; the right one was packed before, or is packed a block at a time, or is read where it is.
//!
//! The sum of a result is split at fixed places along the depth; within a block it runs in order, and the blocks are added in order. Neither depends
//! on how the work is shared out.

use super::lanes::LANES;
use super::micro::{self, COLUMNS, ROWS, Right, Tile};
use super::{pack, steps};
use crate::Neon;
use crate::product::{self, Addresses, Cut, Matrix, Part};
use crate::settle::WORKSPACE_FLOATS;
use std::ops::Range;

/// Longest block along the depth: a panel of the right side and a tile of the left one then share a first-level cache of 32 KiB.
const DEPTH_MAX: usize = 320;
/// Rows of a block of the left side: with the longest block along the depth, half of a second-level cache of 256 KiB.
const BLOCK_ROWS: usize = 96;
/// Floats of a block of the right side that is packed in the workspace.
const RIGHT_FLOATS: usize = WORKSPACE_FLOATS - BLOCK_ROWS * DEPTH_MAX;
/// Most columns of a block.
const COLUMNS_MAX: usize = 85 * COLUMNS;
/// With at most this many rows, a right side that lies well is read where it is.
const ROWS_NOT_WORTH_PACKING: usize = 2 * ROWS;

/// A matrix product at a fixed shape.
#[derive(Clone, Copy)]
pub(crate) struct Product {
    rows: usize,
    columns: usize,
    depth: usize,
    left: (usize, usize),
    /// None: packed before.
    right: Option<(usize, usize)>,
    /// Length of a block along the depth; the last one may be shorter.
    block: usize,
    /// The right side is packed in the workspace.
    packs_right: bool,
}

impl product::Product for Product {
    type Token = Neon;
    const FORM: &'static str = "neon";

    fn new(rows: usize, columns: usize, depth: usize, left: (usize, usize), right: Option<(usize, usize)>) -> Self {
        // Blocks of nearly equal length: a short last one would pay for its stores in full.
        let block = depth.div_ceil(depth.div_ceil(DEPTH_MAX).max(1)).max(1);
        let packs_right = right.is_some_and(|(_, column)| column != 1 || rows > ROWS_NOT_WORTH_PACKING);
        Self { rows, columns, depth, left, right, block, packs_right }
    }

    fn right_floats(&self) -> usize {
        self.panels() * COLUMNS * self.depth
    }

    fn workspace_bytes(&self) -> u32 {
        let rows = BLOCK_ROWS.min(self.rows.next_multiple_of(ROWS));
        let floats = self.right_space() + rows * self.block;
        debug_assert!(floats <= WORKSPACE_FLOATS);
        (floats * 4) as u32
    }

    /// An estimate and no measurement: eight multiplications and additions a nanosecond, and half as much in loads and stores.
    fn cost(&self) -> f64 {
        let (rows, columns, depth) = (self.rows as f64, self.columns as f64, self.depth as f64);
        let products = rows.max(2.0) * self.columns.next_multiple_of(LANES) as f64 * depth;
        products / 8.0 + (rows * depth + columns * depth + rows * columns) / 4.0
    }

    fn cut(&self) -> Cut {
        Cut {
            rows: self.rows,
            columns: self.columns,
            tile: ROWS,
            panel: COLUMNS,
            malus_columns: self.rows > ROWS,
            malus_rows: self.packs_right,
        }
    }

    unsafe fn pack_right(&self, from: Matrix, to: *mut f32) {
        for k in (0..self.depth).step_by(self.block) {
            let depth = self.block.min(self.depth - k);
            // SAFETY: the caller's promise; blocks before this one took `panels * COLUMNS * k` floats, and this one takes `depth` for each column of a
            // whole panel.
            unsafe { pack::right(from.at(k, 0), depth, self.columns, to.add(self.panels() * COLUMNS * k)) };
        }
    }

    unsafe fn run(&self, at: Addresses<'_>, part: Part) {
        // SAFETY: the caller's promise.
        unsafe { self.multiply(&at, part) }
    }
}

impl Product {
    fn panels(&self) -> usize {
        self.columns.div_ceil(COLUMNS)
    }

    /// Columns of a block, whole panels.
    fn block_columns(&self) -> usize {
        let most = self.columns.next_multiple_of(COLUMNS).clamp(COLUMNS, COLUMNS_MAX);
        if self.packs_right { most.min(RIGHT_FLOATS / self.block / COLUMNS * COLUMNS) } else { most }
    }

    /// Floats of workspace for the right side: a block, or only the last panel, where that is not whole. Behind it lies the block of the left side.
    fn right_space(&self) -> usize {
        match self.right {
            None => 0,
            Some(_) if self.packs_right => self.block_columns() * self.block,
            Some(_) => COLUMNS * self.block,
        }
    }

    /// # Safety
    /// As for [`product::Product::run`].
    #[target_feature(enable = "neon")]
    unsafe fn multiply(&self, at: &Addresses<'_>, part: Part) {
        let mut left_over = *at.steps;
        let mut finish = left_over.take_finish();
        if !finish.row_bias.is_null() {
            finish.row_bias = finish.row_bias.wrapping_add(at.row);
        }
        let (width, left_space) = (self.block_columns(), at.workspace.wrapping_add(self.right_space()));
        for column in part.columns.clone().step_by(width) {
            let columns = column..part.columns.end.min(column + width);
            let mut k = 0;
            loop {
                let depth = self.block.min(self.depth - k);
                let is_last = k + depth == self.depth;
                // SAFETY: the caller's promise; columns and the block of the depth are the product's, and the workspace has room for the block.
                unsafe { self.prepare_right(at, k, depth, &columns) };
                for row in part.rows.clone().step_by(BLOCK_ROWS) {
                    let rows = row..part.rows.end.min(row + BLOCK_ROWS);
                    let from = Matrix { start: at.left, row_step: self.left.0, column_step: self.left.1 };
                    // SAFETY: as above; rows are the product's, and a block of them has room behind that of the right side.
                    unsafe { pack::left(from.at(row, k), rows.len(), depth, left_space) };
                    for panel in columns.clone().step_by(COLUMNS) {
                        let right = self.right_panel(at, k, depth, &columns, panel);
                        for tile in rows.clone().step_by(ROWS) {
                            let place = tile * self.columns + panel;
                            let into = Tile {
                                start: at.results.wrapping_add(place),
                                stride: self.columns,
                                rows: ROWS.min(rows.end - tile),
                                columns: COLUMNS.min(columns.end - panel),
                                accumulate: k > 0,
                            };
                            let finish = is_last.then(|| finish.at(tile, panel, at.flat + place));
                            let left = left_space.wrapping_add((tile - row) * depth);
                            // SAFETY: tile and panel are packed, or the panel is whole and read where it is; the results are the part's, and biases and
                            // addend have an element for each.
                            unsafe { micro::multiply(depth, left, right, into, finish.as_ref()) };
                        }
                    }
                    if is_last && !left_over.is_empty() {
                        for row in rows {
                            let place = row * self.columns + columns.start;
                            // SAFETY: the results of the row and these columns are the part's.
                            unsafe {
                                let results = at.results.add(place);
                                steps::apply(
                                    &left_over,
                                    results,
                                    columns.len(),
                                    at.row + row,
                                    columns.start,
                                    at.flat + place,
                                );
                            }
                        }
                    }
                }
                k += depth;
                if is_last {
                    break;
                }
            }
        }
    }

    /// Packs what the block of the right side needs packed: all of it, or the last panel, where that is not whole.
    ///
    /// # Safety
    /// As for [`product::Product::run`]; rows `k..k + depth` and `columns` are the right side's, and at most a block.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn prepare_right(&self, at: &Addresses<'_>, k: usize, depth: usize, columns: &Range<usize>) {
        let Some((row_step, column_step)) = self.right else { return };
        let from = Matrix { start: at.right, row_step, column_step };
        let whole = columns.len() / COLUMNS * COLUMNS;
        // SAFETY: the caller's promise; the workspace begins with room for the block, or for one panel where only the last one is packed.
        unsafe {
            if self.packs_right {
                pack::right(from.at(k, columns.start), depth, columns.len(), at.workspace);
            } else {
                pack::right(from.at(k, columns.start + whole), depth, columns.len() - whole, at.workspace);
            }
        }
    }

    /// Where the micro-kernel finds the panel at column `panel` of the block.
    #[inline]
    fn right_panel(&self, at: &Addresses<'_>, k: usize, depth: usize, columns: &Range<usize>, panel: usize) -> Right {
        match self.right {
            None => {
                let before = self.panels() * COLUMNS * k + panel * depth;
                Right { start: at.right.wrapping_add(before), step: COLUMNS }
            }
            Some(_) if self.packs_right => {
                Right { start: at.workspace.wrapping_add((panel - columns.start) * depth), step: COLUMNS }
            }
            Some((step, _)) if panel + COLUMNS <= columns.end => {
                Right { start: at.right.wrapping_add(k * step + panel), step }
            }
            Some(_) => Right { start: at.workspace, step: COLUMNS },
        }
    }
}
