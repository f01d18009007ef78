//! The packed forms of the two sides of a product: what the micro-kernel reads lies in the order in which it reads it.
//!
//! Left: tiles of six rows, within a tile the rows of one column together. Right: panels of sixteen columns, within a panel the columns of one
//! row together. Rows and columns that fill up the last tile or panel are zero.

use super::lanes::{self, LANES};
use super::micro::{COLUMNS, ROWS};
use crate::product::Matrix;
use std::arch::x86_64::*;

/// Panels of a right side that are packed side by side.
const BESIDE: usize = 4;

/// Packs `rows` rows and `depth` columns of a left side to `to`.
///
/// # Safety
/// The CPU has AVX2 and FMA; the elements named are readable; `rows` rounded up to whole tiles, times `depth`, floats are writable at `to`, and nobody
/// else's.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn left(from: Matrix, rows: usize, depth: usize, to: *mut f32) {
    for tile in (0..rows).step_by(ROWS) {
        let valid = ROWS.min(rows - tile);
        let (from, to) = (from.at(tile, 0), to.wrapping_add(tile * depth));
        let turned = if valid == ROWS && from.column_step == 1 { depth / LANES * LANES } else { 0 };
        // SAFETY: rows `tile..tile + valid` and columns below `depth` are readable; the tile takes six floats for each column.
        unsafe {
            for k in (0..turned).step_by(LANES) {
                six_rows(from.at(0, k), to.add(k * ROWS));
            }
            for k in turned..depth {
                for r in 0..ROWS {
                    let value = if r < valid {
                        from.start.add(r * from.row_step + k * from.column_step).read_unaligned()
                    } else {
                        0.0
                    };
                    to.add(k * ROWS + r).write_unaligned(value);
                }
            }
        }
    }
}

/// Packs eight columns of six rows, whose columns lie together.
///
/// # Safety
/// The CPU has AVX2 and FMA; eight floats are readable at each of six rows; 48 are writable at `to`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn six_rows(from: Matrix, to: *mut f32) {
    let zero = _mm256_setzero_ps();
    let mut rows = [zero; ROWS];
    // SAFETY: the caller's promise.
    unsafe {
        for r in 0..ROWS {
            rows[r] = _mm256_loadu_ps(from.start.add(r * from.row_step));
        }
    }
    // Column k of the first four rows, and behind it column k + 4; and so of the last two rows, with two columns in a half.
    let [a, b, c, d, e, f] = rows;
    let (ab, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    let (cd, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    let four = [
        _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd),
        _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd),
        _mm256_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high),
        _mm256_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high),
    ];
    let two = [_mm256_unpacklo_ps(e, f), _mm256_unpackhi_ps(e, f)];
    for k in 0..LANES / 2 {
        let pair = two[k / 2];
        let pair = if k % 2 == 0 { pair } else { _mm256_permute_ps::<0b11_10_11_10>(pair) };
        // SAFETY: columns `k` and `k + 4` have six floats each of the 48.
        unsafe {
            let (near, far) = (to.add(k * ROWS), to.add((k + LANES / 2) * ROWS));
            _mm_storeu_ps(near, _mm256_castps256_ps128(four[k]));
            _mm_storel_epi64(near.add(4).cast(), _mm_castps_si128(_mm256_castps256_ps128(pair)));
            _mm_storeu_ps(far, _mm256_extractf128_ps::<1>(four[k]));
            _mm_storel_epi64(far.add(4).cast(), _mm_castps_si128(_mm256_extractf128_ps::<1>(pair)));
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
