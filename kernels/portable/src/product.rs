//! The product of matrices that MatMul, Gemm, Conv and their integer forms share: blocks of both sides are packed into the workspace in the
//! order in which the inner loop reads them, whatever their strides and types, and the loop keeps a small tile of sums in registers.
//!
//! Every sum runs over the depth in order, from the first term to the last, so that its bits do not depend on tiles or shards.

use crate::number::Number;
use crate::settle::needs;
use std::ops::Range;
use sunmao_plugin_sdk::abi::Requirements;
use sunmao_plugin_sdk::{Call, Writer};

/// Rows and columns of the tile of sums. Scalar registers hold 12 sums and their factors, vector registers eight times four.
const ROWS: usize = if cfg!(target_arch = "wasm32") { 3 } else { 4 };
const COLUMNS: usize = if cfg!(target_arch = "wasm32") { 4 } else { 8 };
/// Columns that are packed at a time, at most.
const STRIP: usize = 256;
/// Elements of the packed right side that stay in the second-level cache.
const STRIP_ELEMENTS: usize = 64 * 1024;
/// Columns, and steps of the depth, of a block in the loop for few rows: a line of a cache holds so many floats, and each is used up at once.
const NARROW: usize = 16;
/// Rows that are few.
const NARROW_ROWS: usize = 2;

/// A block of the right side: a line of columns for each step of the depth.
pub(crate) type Block<V> = [[V; NARROW]; NARROW];

/// `batches` products of a `rows` x `depth` and a `depth` x `columns` matrix.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    pub(crate) batches: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) depth: usize,
}

/// A block of the left side as the inner loop reads it: one group of rows for each step of the depth.
pub(crate) struct Left<'a, V>(Writer<'a, V>);

/// A strip of the right side: panels of columns, each with one group for each step of the depth.
pub(crate) struct Right<'a, V>(Writer<'a, V>, usize);

impl<V: Number> Left<'_, V> {
    /// Rows of the block.
    pub(crate) const ROWS: usize = ROWS;

    #[inline(always)]
    pub(crate) fn set(&self, row: usize, depth: usize, value: V) {
        self.0.set(depth * ROWS + row, value);
    }
}

impl<V: Number> Right<'_, V> {
    #[inline(always)]
    pub(crate) fn set(&self, depth: usize, column: usize, value: V) {
        self.0.set((column / COLUMNS * self.1 + depth) * COLUMNS + column % COLUMNS, value);
    }
}

impl Product {
    /// Few rows do not pay for packing: see [`Product::run_narrow`].
    pub(crate) fn is_narrow(&self) -> bool {
        self.rows <= NARROW_ROWS
    }

    /// The longer side is the one that is divided among shards.
    fn by_columns(&self) -> bool {
        self.columns >= self.rows || self.is_narrow()
    }

    fn strip(&self) -> usize {
        let fitting = STRIP_ELEMENTS / self.depth.max(1) / COLUMNS * COLUMNS;
        fitting.clamp(COLUMNS, STRIP).min(self.columns.next_multiple_of(COLUMNS)).max(COLUMNS)
    }

    pub(crate) fn requirements<V: Number>(&self) -> Requirements {
        let per_batch = if self.by_columns() { self.columns.div_ceil(COLUMNS) } else { self.rows.div_ceil(ROWS) };
        let work = self.batches as u64 * self.rows as u64 * self.columns as u64 * self.depth as u64;
        let mut needs = needs(work / 2, self.batches * per_batch);
        if !self.is_narrow() {
            let elements = (self.strip() + ROWS) as u64 * self.depth as u64;
            needs.workspace = u32::try_from(elements * size_of::<V>() as u64).unwrap_or(u32::MAX);
        }
        needs
    }

    /// Computes this shard's part. `left` packs the rows from the given one on, as far as there are; `right` packs a range of columns; `finish`
    /// takes the sums of a row from a column on.
    pub(crate) fn run<V: Number>(
        &self,
        call: &Call,
        left: impl Fn(usize, Range<usize>, &Left<'_, V>),
        right: impl Fn(usize, Range<usize>, &Right<'_, V>),
        finish: impl Fn(usize, usize, usize, &mut [V]),
    ) {
        let blocks = if self.by_columns() { self.columns.div_ceil(COLUMNS) } else { self.rows.div_ceil(ROWS) };
        let share = call.share(self.batches * blocks, 1);
        let strip = self.strip();
        let workspace = call.workspace::<V>();
        let packed_left = Left(workspace.part(0..ROWS * self.depth));
        let packed_right = Right(workspace.part(ROWS * self.depth..(ROWS + strip) * self.depth), self.depth);
        let mut unit = share.start;
        while unit < share.end {
            let (batch, first) = (unit / blocks, unit % blocks);
            let last = blocks.min(first + share.end - unit);
            unit += last - first;
            let (rows, columns) = if self.by_columns() {
                (0..self.rows, first * COLUMNS..self.columns.min(last * COLUMNS))
            } else {
                (first * ROWS..self.rows.min(last * ROWS), 0..self.columns)
            };
            for column in columns.clone().step_by(strip) {
                let end = columns.end.min(column + strip);
                right(batch, column..end, &packed_right);
                for row in rows.clone().step_by(ROWS) {
                    let row_end = rows.end.min(row + ROWS);
                    left(batch, row..row_end, &packed_left);
                    let mut sums = [[V::ZERO; STRIP]; ROWS];
                    for panel in 0..(end - column).div_ceil(COLUMNS) {
                        let from = panel * COLUMNS * self.depth;
                        let right = packed_right.0.part(from..from + COLUMNS * self.depth);
                        let tile = tile(self.depth, &packed_left.0, &right);
                        for (sums, tile) in sums.iter_mut().zip(&tile) {
                            sums[panel * COLUMNS..][..COLUMNS].copy_from_slice(tile);
                        }
                    }
                    for (row, sums) in (row..row_end).zip(&mut sums) {
                        finish(batch, row, column, &mut sums[..end - column]);
                    }
                }
            }
        }
    }

    /// The same for few rows, without packing: `left` answers one element, `right` fills in a block of the right side, from a depth and a column on.
    pub(crate) fn run_narrow<V: Number>(
        &self,
        call: &Call,
        left: impl Fn(usize, usize, usize) -> V,
        right: impl Fn(usize, Range<usize>, Range<usize>, &mut Block<V>),
        finish: impl Fn(usize, usize, usize, &mut [V]),
    ) {
        let blocks = self.columns.div_ceil(NARROW);
        for unit in call.share(self.batches * blocks, 1) {
            let (batch, column) = (unit / blocks, unit % blocks * NARROW);
            let end = self.columns.min(column + NARROW);
            let mut sums = [[V::ZERO; NARROW]; NARROW_ROWS];
            let mut block = [[V::ZERO; NARROW]; NARROW];
            for depth in (0..self.depth).step_by(NARROW) {
                let depths = depth..self.depth.min(depth + NARROW);
                right(batch, depths.clone(), column..end, &mut block);
                for (row, sums) in sums[..self.rows].iter_mut().enumerate() {
                    for (depth, line) in depths.clone().zip(&block) {
                        let factor = left(batch, row, depth);
                        for (sum, &other) in sums.iter_mut().zip(line) {
                            *sum = sum.add(factor.mul(other));
                        }
                    }
                }
            }
            for (row, sums) in sums[..self.rows].iter_mut().enumerate() {
                finish(batch, row, column, &mut sums[..end - column]);
            }
        }
    }
}

/// The inner loop: `ROWS` x `COLUMNS` sums over the depth.
#[inline(always)]
fn tile<V: Number>(depth: usize, left: &Writer<'_, V>, right: &Writer<'_, V>) -> [[V; COLUMNS]; ROWS] {
    let mut sums = [[V::ZERO; COLUMNS]; ROWS];
    for k in 0..depth {
        let left = left.part(k * ROWS..k * ROWS + ROWS);
        let right = right.part(k * COLUMNS..k * COLUMNS + COLUMNS);
        let columns: [V; COLUMNS] = std::array::from_fn(|j| right.get(j));
        for (i, sums) in sums.iter_mut().enumerate() {
            let row = left.get(i);
            for (sum, &column) in sums.iter_mut().zip(&columns) {
                *sum = sum.add(row.mul(column));
            }
        }
    }
    sums
}
