//! Blocked matrix products over packed panels: which tiles run in which order, and what each starts from.
//!
//! One operand is packed as a whole (a constant, through `pack`), the other one block by block into the shard's workspace. A result that
//! needs several blocks of k waits in the output itself. The cuts in k are the same for every shard, so each element sees the same sum.

use crate::epilogue::BoundEpilogue;
use crate::tile::{COLUMNS, Columns, Ends, ROWS, edge_tile, tile};
use core::ops::Range;
use sunmao_plugin_sdk::Call;

/// Longest stretch of k in one block: a panel of 8 rows then takes 12 KiB of the first cache.
const K_BLOCK_MAX: usize = 384;

/// How k and the other dimension are cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blocks {
    /// Length of a block of k.
    pub(crate) k: usize,
    /// Columns (or rows) packed at a time.
    pub(crate) width: usize,
}

impl Blocks {
    /// Cuts for `k` and `width`, so that a block takes at most about `floats`. `granule`: columns or rows of a panel.
    pub(crate) fn new(k: usize, width: usize, granule: usize, floats: usize) -> Self {
        let cuts = k.div_ceil(K_BLOCK_MAX).max(1);
        // An even length keeps the tiles' pairs of steps whole.
        let k_block = k.div_ceil(cuts).next_multiple_of(2).min(k.max(1));
        let fit = (floats / k_block.max(1) / granule * granule).max(4 * granule);
        let parts = width.div_ceil(fit).max(1);
        let width = width.div_ceil(parts).next_multiple_of(granule).max(granule);
        Self { k: k_block, width }
    }

    /// Floats of one packed block.
    pub(crate) fn floats(&self) -> usize {
        self.k * self.width
    }
}

/// Where the result goes, and what belongs to it.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The output tensor.
    pub(crate) output: *mut f32,
    /// Element of the output where this product's (0, 0) lies.
    pub(crate) at: usize,
    /// Floats from one row to the next.
    pub(crate) stride: usize,
    /// Rows of this product.
    pub(crate) rows: usize,
    /// Columns of this product.
    pub(crate) columns: usize,
    /// Bias of row 0, or null.
    pub(crate) row_bias: *const f32,
    /// Bias of column 0, or null.
    pub(crate) column_bias: *const f32,
    /// Tensor of the output's shape to start from, or null. Not together with `column_bias`.
    pub(crate) first: *const f32,
    pub(crate) epilogue: &'a BoundEpilogue,
    pub(crate) call: &'a Call,
}

impl Target<'_> {
    /// Runs one tile at (row, column) for block `from .. from + k` of `total`.
    ///
    /// # Safety
    /// The panels hold `k` steps; row and column lie in the product.
    #[inline(always)]
    unsafe fn tile(
        &self,
        (row, column): (usize, usize),
        (from, k, total): (usize, usize, usize),
        a: *const f32,
        b: *const f32,
    ) {
        let mut ends = Ends::plain();
        // SAFETY: row and column lie in the product, whose output, bias and start hold it whole; edges go to `edge_tile`.
        unsafe {
            let c = self.output.add(self.at + row * self.stride + column);
            if from > 0 {
                ends.start = c;
                ends.start_stride = self.stride;
            } else {
                if !self.row_bias.is_null() {
                    ends.bias = self.row_bias.add(row);
                }
                if !self.first.is_null() {
                    ends.start = self.first.add(self.at + row * self.stride + column);
                    ends.start_stride = self.stride;
                } else if !self.column_bias.is_null() {
                    ends.start = self.column_bias.add(column);
                }
            }
            if from + k == total {
                ends.range = self.epilogue.range();
            }
            let (rows, columns) = (ROWS.min(self.rows - row), COLUMNS.min(self.columns - column));
            if rows == ROWS && columns == COLUMNS {
                tile(k, a, Columns::Panel(b), c, self.stride, &ends);
            } else {
                edge_tile(k, a, Columns::Panel(b), c, self.stride, &ends, (rows, columns));
            }
        }
    }

    /// Runs the steps behind the tiles on a block that is complete.
    ///
    /// # Safety
    /// The block lies in the product.
    unsafe fn finish(&self, rows: Range<usize>, columns: Range<usize>) {
        if !self.epilogue.has_rest() {
            return;
        }
        for row in rows.start..rows.end.min(self.rows) {
            let at = self.at + row * self.stride + columns.start;
            let len = columns.end.min(self.columns) - columns.start;
            // SAFETY: the caller's promise.
            unsafe { self.epilogue.finish(self.call, self.output.add(at), at, len) };
        }
    }
}

/// A product whose row operand is packed as a whole at `panels` (each panel with all of k). `pack(from, k, column, columns, to)` packs columns on
/// the fly into panels of `k * 4` floats at `to`. Computes `rows` x `columns` of the target; both ranges start at panel borders.
///
/// # Safety
/// `panels` holds the row panels, `workspace` [`Blocks::floats`] floats, and `pack` fills what it is asked to.
pub(crate) unsafe fn with_packed_rows(
    target: &Target<'_>,
    blocks: Blocks,
    k: usize,
    panels: *const f32,
    (rows, columns): (Range<usize>, Range<usize>),
    workspace: *mut f32,
    mut pack: impl FnMut(usize, usize, usize, usize, *mut f32),
) {
    let mut column = columns.start;
    while column < columns.end {
        let width = blocks.width.min(columns.end - column);
        let mut from = 0;
        loop {
            let depth = blocks.k.min(k - from);
            pack(from, depth, column, width, workspace);
            for row in rows.clone().step_by(ROWS) {
                // SAFETY: panel `row / 8` starts at `row * k`; the column panel at `j * depth` was packed just now.
                unsafe {
                    let a = panels.add(row * k + from * ROWS);
                    for j in (0..width).step_by(COLUMNS) {
                        target.tile((row, column + j), (from, depth, k), a, workspace.add(j * depth));
                    }
                    if from + depth >= k {
                        target.finish(row..(row + ROWS).min(rows.end), column..column + width);
                    }
                }
            }
            from += depth;
            if from >= k {
                break;
            }
        }
        column += width;
    }
}

/// Columns that a block of rows is multiplied with before the steps behind the tiles run.
const FINISH_COLUMNS: usize = 64;

/// A product whose column operand is packed as a whole at `panels`. `pack(from, k, row, rows, to)` packs rows on the fly into panels of
/// `k * 8` floats at `to`.
///
/// # Safety
/// `panels` holds the column panels, `workspace` [`Blocks::floats`] floats, and `pack` fills what it is asked to.
pub(crate) unsafe fn with_packed_columns(
    target: &Target<'_>,
    blocks: Blocks,
    k: usize,
    panels: *const f32,
    (rows, columns): (Range<usize>, Range<usize>),
    workspace: *mut f32,
    mut pack: impl FnMut(usize, usize, usize, usize, *mut f32),
) {
    let mut row = rows.start;
    while row < rows.end {
        let height = blocks.width.min(rows.end - row);
        let mut from = 0;
        loop {
            let depth = blocks.k.min(k - from);
            pack(from, depth, row, height, workspace);
            for chunk in columns.clone().step_by(FINISH_COLUMNS) {
                let end = (chunk + FINISH_COLUMNS).min(columns.end);
                for column in (chunk..end).step_by(COLUMNS) {
                    // SAFETY: panel `column / 4` starts at `column * k`; the row panel at `i * depth` was packed just now.
                    unsafe {
                        let b = panels.add(column * k + from * COLUMNS);
                        for i in (0..height).step_by(ROWS) {
                            target.tile((row + i, column), (from, depth, k), workspace.add(i * depth), b);
                        }
                    }
                }
                if from + depth >= k {
                    // SAFETY: the block lies in the product.
                    unsafe { target.finish(row..row + height, chunk..end) };
                }
            }
            from += depth;
            if from >= k {
                break;
            }
        }
        row += height;
    }
}

/// The part of a product that a shard computes: cut along the side that gives the more even parts. `penalties`: what cutting along (rows,
/// columns) makes every shard do again, as a fraction of the whole work.
pub(crate) fn split(call: &Call, rows: usize, columns: usize, penalties: (f32, f32)) -> (Range<usize>, Range<usize>) {
    if call.shards <= 1 {
        return (0..rows, 0..columns);
    }
    let shards = call.shards as usize;
    let largest = |panels: usize| panels.div_ceil(shards) as f32 / panels.max(1) as f32;
    let by_columns = largest(columns.div_ceil(COLUMNS)) + penalties.1;
    let by_rows = largest(rows.div_ceil(ROWS)) + penalties.0;
    if by_rows < by_columns { (call.share(rows, ROWS), 0..columns) } else { (0..rows, call.share(columns, COLUMNS)) }
}
