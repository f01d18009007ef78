//! A matrix product as operators ask for it, whichever instruction set multiplies: what it is made of, where its operands are, and how shards cut its results.

use crate::isa::Token;
use crate::steps::Steps;
use std::ops::Range;
use sunmao_plugin_sdk::Call;

/// A product of a left side that lies in memory anyhow and a right one that lies so or was packed before.
pub(crate) trait Product: Copy + Send + Sync + 'static {
    /// The proof that the CPU multiplies this way.
    type Token: Token;
    /// What the names of its packed forms begin with.
    const FORM: &'static str;

    /// Element (row, k) of the left side lies `row * left.0 + k * left.1` floats behind its start; element (k, column) of the right one
    /// `k * right.0 + column * right.1`. Without `right` that side is as [`Product::pack_right`] wrote it.
    fn new(rows: usize, columns: usize, depth: usize, left: (usize, usize), right: Option<(usize, usize)>) -> Self;

    /// Floats of the packed right side.
    fn right_floats(&self) -> usize;

    /// Bytes of workspace for a shard.
    fn workspace_bytes(&self) -> u32;

    /// Nanoseconds of one product on one core.
    fn cost(&self) -> f64;

    /// How shards may cut the results.
    fn cut(&self) -> Cut;

    /// Writes the packed form of a right side.
    ///
    /// # Safety
    /// The CPU has the instruction set; the matrix is readable, [`Product::right_floats`] floats are writable at `to`, and nobody else's.
    unsafe fn pack_right(&self, from: Matrix, to: *mut f32);

    /// Computes one part.
    ///
    /// # Safety
    /// The CPU has the instruction set. The sides are readable in the forms that the product was made with; the results (rows of `columns` floats) are
    /// readable and writable; the workspace has as many bytes as was asked for; nobody else writes the part or uses the workspace. The operands of the steps
    /// have an element for each row, column or result.
    unsafe fn run(&self, at: Addresses<'_>, part: Part);
}

/// A matrix in memory: element (row, column) lies `row * row_step + column * column_step` floats behind `start`, not necessarily aligned.
#[derive(Clone, Copy)]
pub(crate) struct Matrix {
    pub(crate) start: *const f32,
    pub(crate) row_step: usize,
    pub(crate) column_step: usize,
}

impl Matrix {
    /// The matrix that starts at an element of this one.
    pub(crate) fn at(self, row: usize, column: usize) -> Self {
        let start = self.start.wrapping_add(row * self.row_step + column * self.column_step);
        Self { start, ..self }
    }
}

/// Rows and columns of the results that one call computes. Both begin at whole tiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
}

/// Where one product's operands are.
#[derive(Clone, Copy)]
pub(crate) struct Addresses<'a> {
    pub(crate) left: *const f32,
    pub(crate) right: *const f32,
    pub(crate) results: *mut f32,
    /// Number of the first result in the output.
    pub(crate) flat: usize,
    /// Number of the first row, as the epilogue counts rows.
    pub(crate) row: usize,
    pub(crate) workspace: *mut f32,
    pub(crate) steps: &'a Steps,
}

/// The tiles and panels that results are computed by, which no shard cuts through.
#[derive(Clone, Copy)]
pub(crate) struct Cut {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Rows of a tile.
    pub(crate) tile: usize,
    /// Columns of a panel.
    pub(crate) panel: usize,
    /// Shards that get columns repeat some work.
    pub(crate) malus_columns: bool,
    /// Shards that get rows do.
    pub(crate) malus_rows: bool,
}

impl Cut {
    fn tiles(&self) -> usize {
        self.rows.div_ceil(self.tile)
    }

    fn panels(&self) -> usize {
        self.columns.div_ceil(self.panel)
    }

    /// Units that the work of `batches` products splits into.
    pub(crate) fn units(&self, batches: usize) -> usize {
        batches * self.tiles().max(self.panels())
    }

    /// Names the product and the part of its results for each stretch of this shard's share of `batches` products.
    pub(crate) fn parts(&self, call: &Call, batches: usize, mut visit: impl FnMut(usize, Part)) {
        let by_columns = self.is_by_columns(call.shards as usize, batches);
        let (units, granule) = if by_columns { (self.panels(), self.panel) } else { (self.tiles(), self.tile) };
        let length = if by_columns { self.columns } else { self.rows };
        let share = call.share(batches * units, 1);
        let mut at = share.start;
        while at < share.end {
            let (batch, first) = (at / units, at % units);
            let end = units.min(first + share.end - at);
            let range = first * granule..length.min(end * granule);
            visit(
                batch,
                match by_columns {
                    true => Part { rows: 0..self.rows, columns: range },
                    false => Part { rows: range, columns: 0..self.columns },
                },
            );
            at += end - first;
        }
    }

    /// Whether shards get columns rather than rows: whichever splits more evenly, work that is repeated counted in.
    fn is_by_columns(&self, shards: usize, batches: usize) -> bool {
        if shards <= 1 {
            return true;
        }
        let malus = |repeated: bool| if repeated { 1.1 } else { 1.0 };
        uneven(self.columns, self.panel, shards, batches) * malus(self.malus_columns)
            <= uneven(self.rows, self.tile, shards, batches) * malus(self.malus_rows)
    }
}

/// How much longer the longest share of `batches` times `length` rows or columns is than a fair one, if shares are cut as [`sunmao_plugin_sdk::Call::share`] cuts units of
/// `granule`. The last unit of a batch may be a small one.
fn uneven(length: usize, granule: usize, shards: usize, batches: usize) -> f64 {
    let units = length.div_ceil(granule).max(1);
    let before = |shard: usize| {
        let unit = batches * units * shard / shards;
        unit / units * length + (unit % units * granule).min(length)
    };
    let longest = (0..shards).map(|shard| before(shard + 1) - before(shard)).max().unwrap_or(0);
    (longest * shards) as f64 / (batches * length).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::uneven;

    const COLUMNS: usize = 16;
    const ROWS: usize = 6;

    #[test]
    fn a_share_is_as_long_as_its_rows_or_columns() {
        // Three panels of sixteen and one of a single column.
        assert_eq!(uneven(49, COLUMNS, 2, 1), 64.0 / 49.0);
        assert_eq!(uneven(49, COLUMNS, 2, 8), 1.0);
        assert_eq!(uneven(512, ROWS, 2, 1), 258.0 / 256.0);
        assert_eq!(uneven(0, COLUMNS, 3, 2), 0.0);
        assert_eq!(uneven(5, ROWS, 4, 1), 4.0);
    }
}
