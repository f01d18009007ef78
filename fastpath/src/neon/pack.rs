//! The packed forms of the two sides of a product: what the micro-kernel reads lies in the order in which it reads it.
//!
//! Left: tiles of eight rows (the last one of 1, 2, 4 or 8), within a tile the rows of one column together. Right: panels of twelve columns, within a panel
//! the columns of one row together. Rows and columns that fill up the last tile or panel are zero.

use super::lanes::{self, LANES};
use super::micro::{COLUMNS, ROWS, height};
use crate::product::Matrix;
use std::arch::aarch64::*;

/// Packs `rows` rows and `depth` columns of a left side to `to`.
///
/// # Safety
/// The CPU has NEON; the elements named are readable; `rows` rounded up to whole tiles, times `depth`, floats are writable at `to`, and nobody else's.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn left(from: Matrix, rows: usize, depth: usize, to: *mut f32) {
    for tile in (0..rows).step_by(ROWS) {
        let valid = ROWS.min(rows - tile);
        // SAFETY: rows `tile..tile + valid` are the matrix's, and the tiles before this one took `tile * depth` floats.
        unsafe { lines(from.at(tile, 0), valid, depth, height(valid), to.add(tile * depth)) };
    }
}

/// Packs `depth` rows and `columns` columns of a right side to `to`.
///
/// # Safety
/// The CPU has NEON; the elements named are readable; `columns` rounded up to whole panels, times `depth`, floats are writable at `to`, and nobody
/// else's.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn right(from: Matrix, depth: usize, columns: usize, to: *mut f32) {
    // A column of the right side is packed as a row of the left one is.
    let turned = Matrix { row_step: from.column_step, column_step: from.row_step, ..from };
    for panel in (0..columns).step_by(COLUMNS) {
        let valid = COLUMNS.min(columns - panel);
        // SAFETY: columns `panel..panel + valid` are the matrix's, and the panels before this one took `panel * depth` floats.
        unsafe { lines(turned.at(panel, 0), valid, depth, COLUMNS, to.add(panel * depth)) };
    }
}

/// Packs `valid` lines of `depth` elements, so that those of one place lie together: `width` of them, zeros behind the last line.
///
/// # Safety
/// The CPU has NEON; the elements of the lines (rows of `from`) are readable; `valid` is at most `width`; `width * depth` floats are writable at `to`, and
/// nobody else's.
#[target_feature(enable = "neon")]
unsafe fn lines(from: Matrix, valid: usize, depth: usize, width: usize, to: *mut f32) {
    let mut line = 0;
    while line < width {
        let (here, beside) = (from.at(line, 0), valid.saturating_sub(line).min(LANES));
        let to = to.wrapping_add(line);
        // SAFETY: lines `line..line + beside` are readable; four of them, or as many as `width` has left, have their place in `to`.
        unsafe {
            if line + LANES <= width && here.row_step == 1 {
                together(here, beside, depth, width, to);
            } else if line + LANES <= width && here.column_step == 1 {
                let squares = depth / LANES * LANES;
                turn(here, beside, squares, width, to);
                singly(here.at(0, squares), beside, depth - squares, LANES, width, to.wrapping_add(squares * width));
            } else {
                singly(here, beside, depth, LANES.min(width - line), width, to);
            }
        }
        line += LANES;
    }
}

/// Four lines of which the elements of one place lie together in memory too.
///
/// # Safety
/// As for [`lines`]; `beside` lines, at most four, are readable, and four have their place in `to`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn together(from: Matrix, beside: usize, depth: usize, width: usize, to: *mut f32) {
    for k in 0..depth {
        let here = from.at(0, k).start;
        // SAFETY: place `k < depth` has `beside` elements in memory, and four in `to`.
        unsafe {
            let four = if beside == LANES { vld1q_f32(here) } else { lanes::load_first(here, beside, 0.0) };
            vst1q_f32(to.add(k * width), four);
        }
    }
}

/// Four lines of which each lies in one piece, over a multiple of four places: squares are turned in registers.
///
/// # Safety
/// As for [`together`].
#[inline]
#[target_feature(enable = "neon")]
unsafe fn turn(from: Matrix, beside: usize, depth: usize, width: usize, to: *mut f32) {
    for k in (0..depth).step_by(LANES) {
        let mut square = [vdupq_n_f32(0.0); LANES];
        for line in 0..LANES {
            if line < beside {
                // SAFETY: line `line < beside` has four elements from place `k` on.
                square[line] = unsafe { vld1q_f32(from.at(line, k).start) };
            }
        }
        let square = lanes::transposed(square);
        for place in 0..LANES {
            // SAFETY: place `k + place < depth` has four elements in `to`.
            unsafe { vst1q_f32(to.add((k + place) * width), square[place]) };
        }
    }
}

/// `wide` lines, element by element.
///
/// # Safety
/// As for [`lines`]; `beside` lines are readable, and `wide` have their place in `to`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn singly(from: Matrix, beside: usize, depth: usize, wide: usize, width: usize, to: *mut f32) {
    for k in 0..depth {
        for line in 0..wide {
            // SAFETY: line `line < beside` has an element at place `k < depth`, and `wide` have one in `to`. Constants are packed from where they lie, which
            // need not be aligned.
            unsafe {
                let value = if line < beside { from.at(line, k).start.read_unaligned() } else { 0.0 };
                to.add(k * width + line).write_unaligned(value);
            }
        }
    }
}
