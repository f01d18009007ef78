//! The packed forms of the two sides of a product: what the micro-kernel reads lies in the order in which it reads it.
//!
//! Left: tiles of six rows, within a tile the rows of one column together. Right: panels of sixteen columns, within a panel the columns of one
//! row together. Rows and columns that fill up the last tile or panel are zero.

use super::lanes::{self, LANES};
use super::micro::{COLUMNS, ROWS};
use std::arch::x86_64::*;

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

/// Panels of a right side that are packed side by side.
const BESIDE: usize = 4;

/// Packs `rows` rows and `depth` columns of a left side to `to`.
///
/// # Safety
/// The elements named are readable; `rows` rounded up to whole tiles, times `depth`, floats are writable at `to`, and nobody else's.
pub(crate) unsafe fn left(from: Matrix, rows: usize, depth: usize, to: *mut f32) {
    let mut to = to;
    for tile in (0..rows).step_by(ROWS) {
        let valid = ROWS.min(rows - tile);
        let from = from.at(tile, 0);
        for k in 0..depth {
            for r in 0..ROWS {
                // SAFETY: row `tile + r < rows` and column `k < depth` are readable; `to` is advanced once for each element of the packed form.
                unsafe {
                    let value = if r < valid {
                        from.start.add(r * from.row_step + k * from.column_step).read_unaligned()
                    } else {
                        0.0
                    };
                    to.add(r).write_unaligned(value);
                }
            }
            to = to.wrapping_add(ROWS);
        }
    }
}

/// Packs `depth` rows and `columns` columns of a right side to `to`.
///
/// # Safety
/// The CPU has AVX2 and FMA; the elements named are readable; `columns` rounded up to whole panels, times `depth`, floats are writable at `to`, and
/// nobody else's.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn right(from: Matrix, depth: usize, columns: usize, to: *mut f32) {
    let mut packed = 0;
    if from.column_step == 1 {
        // A few panels side by side, so that longer stretches of each row are read.
        let whole = columns / COLUMNS;
        while packed < whole {
            let beside = BESIDE.min(whole - packed);
            // SAFETY: panels `packed..packed + beside` are whole, and each takes `COLUMNS * depth` floats behind `to`.
            unsafe { panels(from.at(0, packed * COLUMNS), depth, beside, to.add(packed * COLUMNS * depth)) };
            packed += beside;
        }
    }
    for column in (packed * COLUMNS..columns).step_by(COLUMNS) {
        let valid = COLUMNS.min(columns - column);
        let from = from.at(0, column);
        let to = to.wrapping_add(column * depth);
        // SAFETY: rows below `depth` and columns below `column + valid` are readable; panel `column / COLUMNS` takes `COLUMNS * depth` floats behind `to`.
        unsafe {
            if from.column_step == 1 {
                let masks = [lanes::first(valid), lanes::first(valid.saturating_sub(LANES))];
                for k in 0..depth {
                    let row = from.start.add(k * from.row_step);
                    _mm256_storeu_ps(to.add(k * COLUMNS), _mm256_maskload_ps(row, masks[0]));
                    let second = _mm256_maskload_ps(row.wrapping_add(LANES), masks[1]);
                    _mm256_storeu_ps(to.add(k * COLUMNS + LANES), second);
                }
            } else {
                // Columns that lie in memory as rows do are turned in squares; what is left over, and whatever lies otherwise, goes one by one.
                let turned = if from.row_step == 1 { depth / LANES * LANES } else { 0 };
                for half in 0..2 {
                    let count = valid.saturating_sub(half * LANES).min(LANES);
                    turn(from.at(0, half * LANES), turned, count, to.add(half * LANES));
                }
                for j in 0..COLUMNS {
                    let source = from.at(0, j);
                    for k in turned..depth {
                        let value =
                            if j < valid { source.start.add(k * source.row_step).read_unaligned() } else { 0.0 };
                        to.add(k * COLUMNS + j).write_unaligned(value);
                    }
                }
            }
        }
    }
}

/// Packs `depth` rows, a multiple of eight, of `count` of the eight columns of half a panel, where each column lies in one piece.
///
/// # Safety
/// The CPU has AVX2 and FMA; the elements named are readable, and the first eight floats of `depth` rows of a panel are writable at `to`, and nobody
/// else's.
#[target_feature(enable = "avx2,fma")]
unsafe fn turn(from: Matrix, depth: usize, count: usize, to: *mut f32) {
    for k in (0..depth).step_by(LANES) {
        let mut square = [_mm256_setzero_ps(); LANES];
        for j in 0..LANES {
            if j < count {
                // SAFETY: column `j < count` has eight elements from row `k` on.
                square[j] = unsafe { _mm256_loadu_ps(from.at(k, j).start) };
            }
        }
        let square = lanes::transposed(square);
        for row in 0..LANES {
            // SAFETY: row `k + row < depth` of the panel.
            unsafe { _mm256_storeu_ps(to.add((k + row) * COLUMNS), square[row]) };
        }
    }
}

/// Copies `beside` whole panels of columns that follow each other in memory.
///
/// # Safety
/// As for [`right`], with `beside * COLUMNS` columns.
#[target_feature(enable = "avx2,fma")]
unsafe fn panels(from: Matrix, depth: usize, beside: usize, to: *mut f32) {
    for k in 0..depth {
        for panel in 0..beside {
            // SAFETY: row `k < depth` and the panel's columns are readable, and so many floats writable.
            unsafe {
                let row = from.start.add(k * from.row_step + panel * COLUMNS);
                let to = to.add((panel * depth + k) * COLUMNS);
                _mm256_storeu_ps(to, _mm256_loadu_ps(row));
                _mm256_storeu_ps(to.add(LANES), _mm256_loadu_ps(row.add(LANES)));
            }
        }
    }
}
