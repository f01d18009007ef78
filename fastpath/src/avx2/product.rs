//! A blocked matrix product: which part of which side is packed when, so that the micro-kernel finds everything in a near cache.
//!
//! The sum of a result is split at fixed places along the depth; within a block it runs in order, and the blocks are added in order. Neither depends
//! on how the work is shared out.

mod sweep;

use super::blocks::Panels;
use super::lanes::LANES;
use super::micro::{COLUMNS, Left, ROWS, Right};
use super::pack;
use super::patches::Patches;
use crate::Avx2;
use crate::product::{self, Addresses, Cut, Matrix, Part};
use crate::settle::WORKSPACE_FLOATS;
use std::ops::Range;
use sunmao_plugin_sdk::Call;
use sweep::Sweep;

/// Longest block along the depth: a panel of the right side and a tile of the left one then share a first-level cache of 32 KiB.
const DEPTH_MAX: usize = 320;
/// Rows of a block of the left side that is packed in the workspace, beside a block of the right side.
const ROWS_BESIDE: usize = 96;
/// Rows of a block of the left side where nothing else is packed, or it was packed before: it stays in the second-level cache.
const ROWS_ALONE: usize = 192;
/// Floats of a block of the right side that is packed in the workspace.
const RIGHT_FLOATS: usize = WORKSPACE_FLOATS - ROWS_BESIDE * DEPTH_MAX;
/// Most columns of a block, where the depth is small.
const COLUMNS_MAX: usize = 1024;
/// With fewer columns than this, a left side that lies well is read where it is: packing would cost more than it saves.
const COLUMNS_WORTH_PACKING: usize = 512;
/// With at most this many rows, a right side that lies well is read where it is.
const ROWS_NOT_WORTH_PACKING: usize = 2 * ROWS;
/// Rows that lie a multiple of this apart compete for the same places of the cache.
const PAGE_FLOATS: usize = 1024;

/// How the left side lies.
#[derive(Clone, Copy)]
pub(crate) enum LeftForm {
    /// As [`Product::pack_left`] wrote it.
    Packed,
    /// Element (row, k) at `row * row_step + k * step`.
    Strided { row: usize, step: usize },
}

/// How the right side lies.
#[derive(Clone, Copy)]
pub(crate) enum RightForm {
    /// As [`Product::pack_right`] wrote it.
    Packed,
    /// Element (k, column) at `k * step + column * column_step`.
    Strided { step: usize, column: usize },
    /// The planes of an image.
    Patches(Patches),
    /// Block-quantised weights.
    Blocks(Panels),
}

/// A matrix product at a fixed shape.
#[derive(Clone, Copy)]
pub(crate) struct Product {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) depth: usize,
    left: LeftForm,
    right: RightForm,
    /// Length of a block along the depth; the last one may be shorter.
    block: usize,
    packs_left: bool,
    packs_right: bool,
}

impl Product {
    pub(crate) fn new(rows: usize, columns: usize, depth: usize, left: LeftForm, right: RightForm) -> Self {
        // Blocks of nearly equal length: a short last one would pay for its stores in full.
        let block = match right {
            RightForm::Blocks(_) => Panels::DEPTH,
            _ => depth.div_ceil(depth.div_ceil(DEPTH_MAX).max(1)).max(1),
        };
        let packs_left = match left {
            LeftForm::Packed => false,
            LeftForm::Strided { row, .. } => {
                columns >= COLUMNS_WORTH_PACKING || (row.is_multiple_of(PAGE_FLOATS) && columns >= 8 * COLUMNS)
            }
        };
        let packs_right = match right {
            RightForm::Packed => false,
            RightForm::Strided { column, .. } => column != 1 || rows > ROWS_NOT_WORTH_PACKING,
            RightForm::Patches(_) | RightForm::Blocks(_) => true,
        };
        Self { rows, columns, depth, left, right, block, packs_left: packs_left && rows > ROWS, packs_right }
    }

    fn tiles(&self) -> usize {
        self.rows.div_ceil(ROWS)
    }

    fn panels(&self) -> usize {
        self.columns.div_ceil(COLUMNS)
    }

    /// Floats of the packed left side.
    pub(crate) fn left_floats(&self) -> usize {
        self.tiles() * ROWS * self.depth
    }

    /// Floats of the packed right side.
    pub(crate) fn right_floats(&self) -> usize {
        self.panels() * COLUMNS * self.depth
    }

    /// Most columns of a block, a multiple of the panel.
    fn block_columns_max(&self) -> usize {
        let whole = self.columns.next_multiple_of(COLUMNS);
        match self.right {
            RightForm::Packed => whole,
            _ => whole.min((RIGHT_FLOATS / self.block / COLUMNS * COLUMNS).min(COLUMNS_MAX)),
        }
    }

    /// Width of the blocks of a stretch of `columns`: nearly equal ones, a multiple of the panel, at most the largest.
    fn block_columns(&self, columns: usize) -> usize {
        let blocks = columns.div_ceil(self.block_columns_max().max(COLUMNS)).max(1);
        columns.div_ceil(blocks).next_multiple_of(COLUMNS).max(COLUMNS)
    }

    fn block_rows(&self) -> usize {
        match (self.packs_left, self.right) {
            (true, RightForm::Patches(_) | RightForm::Blocks(_) | RightForm::Strided { .. }) => ROWS_BESIDE,
            _ => ROWS_ALONE,
        }
    }

    /// Floats of workspace: the block of the right side, then that of the left one.
    fn workspace_parts(&self) -> (usize, usize) {
        let right = match self.right {
            RightForm::Packed => 0,
            _ if self.packs_right => self.block_columns_max() * self.block,
            // Only the last panel, where it is not whole.
            _ => COLUMNS * self.block,
        };
        let rows = self.rows.next_multiple_of(ROWS).min(self.block_rows());
        (right, if self.packs_left { rows * self.block } else { 0 })
    }

    /// Bytes of workspace for a shard.
    pub(crate) fn workspace_bytes(&self) -> u32 {
        let (right, left) = self.workspace_parts();
        debug_assert!(right + left <= WORKSPACE_FLOATS);
        ((right + left) * 4) as u32
    }

    /// Nanoseconds of one product on one core.
    pub(crate) fn cost(&self) -> f64 {
        let (rows, columns, depth) = (self.rows as f64, self.columns as f64, self.depth as f64);
        let products = rows.max(2.0) * self.columns.next_multiple_of(LANES) as f64 * depth;
        products / 40.0 + (rows * depth + columns * depth + rows * columns) / 8.0
    }

    /// Units that the work of `batches` products splits into.
    pub(crate) fn units(&self, batches: usize) -> usize {
        self.cut().units(batches)
    }

    /// Writes the packed form of a left side: block after block along the depth, in each tile after tile.
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA; the matrix is readable, [`Product::left_floats`] floats are writable at `to`, and nobody else's.
    #[target_feature(enable = "avx2,fma")]
    pub(crate) unsafe fn pack_left(&self, from: Matrix, to: *mut f32) {
        for k in (0..self.depth).step_by(self.block) {
            let depth = self.block.min(self.depth - k);
            // SAFETY: blocks before this one took `tiles * ROWS * k` floats, and this one takes `depth` for each row of a whole tile.
            unsafe { pack::left(from.at(0, k), self.rows, depth, to.add(self.tiles() * ROWS * k)) };
        }
    }

    /// Writes the packed form of a right side: block after block along the depth, in each panel after panel.
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA; the matrix is readable, [`Product::right_floats`] floats are writable at `to`, and nobody else's.
    #[target_feature(enable = "avx2,fma")]
    pub(crate) unsafe fn pack_right(&self, from: Matrix, to: *mut f32) {
        for k in (0..self.depth).step_by(self.block) {
            let depth = self.block.min(self.depth - k);
            // SAFETY: as in `pack_left`, with panels.
            unsafe { pack::right(from.at(k, 0), depth, self.columns, to.add(self.panels() * COLUMNS * k)) };
        }
    }

    /// How shards may cut the results. A side that each of them would pack counts against the cut.
    pub(crate) fn cut(&self) -> Cut {
        Cut {
            rows: self.rows,
            columns: self.columns,
            tile: ROWS,
            panel: COLUMNS,
            malus_columns: self.packs_left,
            malus_rows: self.packs_right,
        }
    }

    /// Names the product and the part of its results for each stretch of this shard's share of `batches` products.
    pub(crate) fn parts(&self, call: &Call, batches: usize, visit: impl FnMut(usize, Part)) {
        self.cut().parts(call, batches, visit);
    }

    /// Computes one part.
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA. The sides are readable in the forms that the product was made with; the results (rows of `columns` floats) are readable
    /// and writable; the workspace has as many bytes as was asked for; nobody else writes the part or uses the workspace. The operands of
    /// the steps have an element for each row, column or result.
    #[target_feature(enable = "avx2,fma")]
    pub(crate) unsafe fn run(&self, at: Addresses<'_>, part: Part) {
        let mut steps = *at.steps;
        let mut finish = steps.take_finish();
        if !finish.row_bias.is_null() {
            finish.row_bias = finish.row_bias.wrapping_add(at.row);
        }
        let width = self.block_columns(part.columns.len());
        let (right_floats, _) = self.workspace_parts();
        let left_space = at.workspace.wrapping_add(right_floats);
        let height = self.block_rows();
        let by_tiles = self.packs_by_tiles(&part);
        for column in part.columns.clone().step_by(width) {
            let columns = column..part.columns.end.min(column + width);
            let mut k = 0;
            loop {
                let depth = self.block.min(self.depth - k);
                let last = k + depth == self.depth;
                // SAFETY: the caller's promise; columns and the block of the depth are the product's. The workspace holds a block of each side.
                unsafe {
                    self.prepare_right(&at, k, depth, &columns, by_tiles);
                    for row in part.rows.clone().step_by(height) {
                        let rows = row..part.rows.end.min(row + height);
                        if let (true, LeftForm::Strided { row: row_step, step }) = (self.packs_left, self.left) {
                            let from = Matrix { start: at.left, row_step, column_step: step };
                            pack::left(from.at(row, k), rows.len(), depth, left_space);
                        }
                        let sweep = Sweep {
                            product: self,
                            at: &at,
                            left: left_space,
                            k,
                            depth,
                            rows,
                            columns: columns.clone(),
                            is_first: row == part.rows.start,
                            packs: by_tiles && row == part.rows.start,
                            finish: last.then_some(&finish),
                            steps: &steps,
                        };
                        sweep.run();
                    }
                }
                k += depth;
                if last {
                    break;
                }
            }
        }
    }

    /// Whether the first tile of the left side packs the panels of the right one while it multiplies them.
    fn packs_by_tiles(&self, part: &Part) -> bool {
        let left_is_packed = self.packs_left || matches!(self.left, LeftForm::Packed);
        let in_order = matches!(self.right, RightForm::Strided { column: 1, .. });
        self.packs_right && in_order && left_is_packed && part.rows.len() >= ROWS
    }

    /// Packs what the block of the right side needs packed, and no tile packs: all of it, or the last panel, where that is not whole.
    ///
    /// # Safety
    /// As for [`Product::run`].
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn prepare_right(&self, at: &Addresses<'_>, k: usize, depth: usize, columns: &Range<usize>, by_tiles: bool) {
        // SAFETY: rows `k..k + depth` and `columns` are the right side's; the workspace begins with room for the block, or for one panel where only
        // the last one is packed.
        unsafe {
            match self.right {
                RightForm::Packed => {}
                RightForm::Patches(patches) => {
                    patches.pack(at.right, k, depth, columns.start, columns.len(), at.workspace);
                }
                RightForm::Blocks(panels) => {
                    panels.pack(at.right.cast(), k, depth, columns.start, columns.len(), at.workspace);
                }
                RightForm::Strided { step, column } => {
                    let from = Matrix { start: at.right, row_step: step, column_step: column };
                    let whole = columns.len() / COLUMNS * COLUMNS;
                    let (before, rest) = (columns.start + whole, columns.len() - whole);
                    if self.packs_right && !by_tiles {
                        pack::right(from.at(k, columns.start), depth, columns.len(), at.workspace);
                    } else if rest > 0 {
                        let to = if self.packs_right { at.workspace.add(whole * depth) } else { at.workspace };
                        pack::right(from.at(k, before), depth, rest, to);
                    }
                }
            }
        }
    }

    /// Where the micro-kernel finds the panel at column `panel` of the block.
    #[inline]
    fn right_panel(&self, at: &Addresses<'_>, k: usize, depth: usize, columns: &Range<usize>, panel: usize) -> Right {
        match self.right {
            RightForm::Packed => {
                let before = self.panels() * COLUMNS * k + panel * depth;
                Right { start: at.right.wrapping_add(before), step: COLUMNS }
            }
            RightForm::Strided { step, .. } if !self.packs_right => match panel + COLUMNS <= columns.end {
                true => Right { start: at.right.wrapping_add(k * step + panel), step },
                false => Right { start: at.workspace, step: COLUMNS },
            },
            _ => Right { start: at.workspace.wrapping_add((panel - columns.start) * depth), step: COLUMNS },
        }
    }

    /// Where the micro-kernel finds the tile at row `tile` of the block.
    #[inline]
    fn left_tile(
        &self,
        at: &Addresses<'_>,
        packed: *const f32,
        k: usize,
        depth: usize,
        rows: &Range<usize>,
        tile: usize,
    ) -> Left {
        match self.left {
            LeftForm::Packed => Left::packed(at.left.wrapping_add(self.tiles() * ROWS * k + tile * depth)),
            LeftForm::Strided { .. } if self.packs_left => {
                Left::packed(packed.wrapping_add((tile - rows.start) * depth))
            }
            LeftForm::Strided { row, step } => Left { start: at.left.wrapping_add(tile * row + k * step), row, step },
        }
    }
}

impl product::Product for Product {
    type Token = Avx2;
    const FORM: &'static str = "avx2";

    fn new(rows: usize, columns: usize, depth: usize, left: (usize, usize), right: Option<(usize, usize)>) -> Self {
        let left = LeftForm::Strided { row: left.0, step: left.1 };
        let right = right.map_or(RightForm::Packed, |(step, column)| RightForm::Strided { step, column });
        Self::new(rows, columns, depth, left, right)
    }

    fn right_floats(&self) -> usize {
        self.right_floats()
    }

    fn workspace_bytes(&self) -> u32 {
        self.workspace_bytes()
    }

    fn cost(&self) -> f64 {
        self.cost()
    }

    fn cut(&self) -> Cut {
        self.cut()
    }

    unsafe fn pack_right(&self, from: Matrix, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { self.pack_right(from, to) }
    }

    unsafe fn run(&self, at: Addresses<'_>, part: Part) {
        // SAFETY: the caller's promise.
        unsafe { self.run(at, part) }
    }
}
