//! The inner loop of the integer product: a tile of up to 8 rows by 12 columns of 32-bit sums, in 24 registers.
//!
//! The compiler has no stable function for `sdot` yet, so it stands here as the instruction that it is.

use super::{LANES, QUAD};
use std::arch::aarch64::*;
use std::arch::asm;

/// Rows of a tile.
pub(super) const ROWS: usize = 8;
/// Vectors of columns of a tile.
pub(super) const VECTORS: usize = 3;
/// Columns of a tile.
pub(super) const COLUMNS: usize = VECTORS * LANES;

/// Multiplies `quads` fours of bytes of each of `rows` rows with as many of each of `columns` columns. Sums of other rows and columns are left as they are, or
/// hold nothing of use.
///
/// # Safety
/// The CPU has NEON and its products of bytes; a packed tile and a packed panel of so many quads are readable.
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn multiply(
    quads: usize,
    rows: usize,
    tile: *const i32,
    panel: *const i32,
    columns: usize,
    sums: &mut [[int32x4_t; VECTORS]; ROWS],
) {
    // SAFETY: the caller's promise, with rows and vectors of columns as constants.
    unsafe {
        match (rows > LANES, columns.div_ceil(LANES)) {
            (true, 3) => fours::<2, 3>(quads, tile, panel, sums),
            (true, 2) => fours::<2, 2>(quads, tile, panel, sums),
            (true, _) => fours::<2, 1>(quads, tile, panel, sums),
            (false, 3) => fours::<1, 3>(quads, tile, panel, sums),
            (false, 2) => fours::<1, 2>(quads, tile, panel, sums),
            (false, _) => fours::<1, 1>(quads, tile, panel, sums),
        }
    }
}

/// # Safety
/// As for [`multiply`], for `F` times four rows and `V` vectors of columns.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn fours<const F: usize, const V: usize>(
    quads: usize,
    tile: *const i32,
    panel: *const i32,
    into: &mut [[int32x4_t; VECTORS]; ROWS],
) {
    let mut sums = [[[vdupq_n_s32(0); V]; LANES]; F];
    for quad in 0..quads {
        // SAFETY: quad `quad < quads` of the panel has a word for each of twelve columns, and of the tile one for each of eight rows.
        unsafe {
            let mut y = [vdupq_n_s8(0); V];
            for v in 0..V {
                y[v] = vreinterpretq_s8_s32(vld1q_s32(panel.add(quad * COLUMNS + v * LANES)));
            }
            for f in 0..F {
                let x = vreinterpretq_s8_s32(vld1q_s32(tile.add(quad * ROWS + f * LANES)));
                for v in 0..V {
                    sums[f][0][v] = sdot::<0>(sums[f][0][v], y[v], x);
                    sums[f][1][v] = sdot::<1>(sums[f][1][v], y[v], x);
                    sums[f][2][v] = sdot::<2>(sums[f][2][v], y[v], x);
                    sums[f][3][v] = sdot::<3>(sums[f][3][v], y[v], x);
                }
            }
        }
    }
    for f in 0..F {
        for r in 0..LANES {
            for v in 0..V {
                into[f * LANES + r][v] = sums[f][r][v];
            }
        }
    }
}

/// Adds to each of four sums the products of the four bytes of its column and those of row `ROW` of four. It wraps.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot<const ROW: i32>(sums: int32x4_t, columns: int8x16_t, rows: int8x16_t) -> int32x4_t {
    const { assert!(0 <= ROW && ROW < QUAD as i32) };
    let mut sums = sums;
    // SAFETY: the CPU has the instruction, as this function's features say; it reads the three registers, and writes the first alone.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {columns:v}.16b, {rows:v}.4b[{row}]",
            sums = inout(vreg) sums,
            columns = in(vreg) columns,
            rows = in(vreg) rows,
            row = const ROW,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}
