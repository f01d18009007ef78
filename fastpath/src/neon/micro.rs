//! The inner loop of the matrix product: a tile of up to 8 rows by 12 columns whose sums stay in 24 of the 32 registers.

use super::lanes::{self, LANES};
use super::math;
use crate::steps::Finish;
use std::arch::aarch64::*;

/// Rows of a tile.
pub(crate) const ROWS: usize = 8;
/// Columns of a tile.
pub(crate) const COLUMNS: usize = 3 * LANES;

/// Steps along the depth between two branches.
const UNROLLED: usize = 4;

/// Rows of a packed tile of which `rows` are of use: 1, 2, 4 or 8.
pub(crate) fn height(rows: usize) -> usize {
    rows.next_power_of_two()
}

/// Twelve columns of the right side: those of row k lie together, `k * step` floats behind `start`.
#[derive(Clone, Copy)]
pub(crate) struct Right {
    pub(crate) start: *const f32,
    pub(crate) step: usize,
}

/// Where the sums go.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    pub(crate) start: *mut f32,
    /// Floats from one row to the next.
    pub(crate) stride: usize,
    /// 1 to [`ROWS`].
    pub(crate) rows: usize,
    /// 1 to [`COLUMNS`].
    pub(crate) columns: usize,
    /// Add to what is there, instead of replacing it.
    pub(crate) accumulate: bool,
}

/// Multiplies `depth` columns of a packed tile of the left side with as many rows of the right side into the tile, and finishes the sums if they are
/// complete.
///
/// # Safety
/// The CPU has NEON; `depth` times [`height`] of the tile's rows floats are readable at `left`, and all twelve columns of `depth` rows of `right`; the
/// rows and columns of `tile` are readable and writable; the biases of `finish` are null or have an element for each row or column of the tile, its
/// addend is null or has one for each result.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn multiply(depth: usize, left: *const f32, right: Right, tile: Tile, finish: Option<&Finish>) {
    debug_assert!((1..=ROWS).contains(&tile.rows) && (1..=COLUMNS).contains(&tile.columns));
    // SAFETY: the caller's promise, with the vectors of columns as a constant.
    unsafe {
        match tile.columns.div_ceil(LANES) {
            3 => columns::<3>(depth, left, right, tile, finish),
            2 => columns::<2>(depth, left, right, tile, finish),
            _ => columns::<1>(depth, left, right, tile, finish),
        }
    }
}

/// # Safety
/// As for [`multiply`], and `tile.columns` lie in `V` vectors.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn columns<const V: usize>(depth: usize, left: *const f32, right: Right, tile: Tile, finish: Option<&Finish>) {
    // SAFETY: the caller's promise, with the number of rows as a constant.
    unsafe {
        match height(tile.rows) {
            8 => rows::<8, V, 1>(depth, left, right, tile, finish),
            4 => rows::<4, V, 2>(depth, left, right, tile, finish),
            2 => rows::<2, V, 4>(depth, left, right, tile, finish),
            _ => rows::<1, V, 4>(depth, left, right, tile, finish),
        }
    }
}

/// Each result has `CHAINS` sums, so that none of them waits for itself where there are few.
///
/// # Safety
/// As for [`multiply`], the packed tile has `H` rows, and `tile.columns` lie in `V` vectors.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn rows<const H: usize, const V: usize, const CHAINS: usize>(
    depth: usize,
    left: *const f32,
    right: Right,
    tile: Tile,
    finish: Option<&Finish>,
) {
    let mut sums = [[[vdupq_n_f32(0.0); V]; H]; CHAINS];
    let (mut a, mut b) = (left, right.start);
    for _ in 0..depth / UNROLLED {
        // SAFETY: `a` and `b` are at column and row `k`, and `k + UNROLLED <= depth`.
        unsafe {
            for u in 0..UNROLLED {
                step(a.add(u * H), b.add(u * right.step), &mut sums[u % CHAINS]);
            }
        }
        // Wrapping, because behind the last step they may leave the allocation.
        a = a.wrapping_add(UNROLLED * H);
        b = b.wrapping_add(UNROLLED * right.step);
    }
    for _ in 0..depth % UNROLLED {
        // SAFETY: as above, for the last steps.
        unsafe { step(a, b, &mut sums[0]) };
        a = a.wrapping_add(H);
        b = b.wrapping_add(right.step);
    }
    // SAFETY: the caller's promise.
    unsafe { put(total(sums), tile, finish) }
}

/// One column of the left side times one row of the right side.
///
/// # Safety
/// The CPU has NEON; `H` floats are readable at `left` and `V` vectors at `right`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn step<const H: usize, const V: usize>(left: *const f32, right: *const f32, sums: &mut [[float32x4_t; V]; H]) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut y = [vdupq_n_f32(0.0); V];
        for v in 0..V {
            y[v] = vld1q_f32(right.add(v * LANES));
        }
        if H.is_multiple_of(LANES) {
            for four in (0..H).step_by(LANES) {
                // A number of each of four rows: the instruction takes it from its lane.
                let x = vld1q_f32(left.add(four));
                for v in 0..V {
                    sums[four][v] = vfmaq_laneq_f32::<0>(sums[four][v], y[v], x);
                    sums[four + 1][v] = vfmaq_laneq_f32::<1>(sums[four + 1][v], y[v], x);
                    sums[four + 2][v] = vfmaq_laneq_f32::<2>(sums[four + 2][v], y[v], x);
                    sums[four + 3][v] = vfmaq_laneq_f32::<3>(sums[four + 3][v], y[v], x);
                }
            }
        } else {
            for r in 0..H {
                let x = vdupq_n_f32(left.add(r).read());
                for v in 0..V {
                    sums[r][v] = vfmaq_f32(sums[r][v], y[v], x);
                }
            }
        }
    }
}

/// Adds up sums that were made apart, in the same order always.
#[inline]
#[target_feature(enable = "neon")]
fn total<const H: usize, const V: usize, const CHAINS: usize>(
    sums: [[[float32x4_t; V]; H]; CHAINS],
) -> [[float32x4_t; V]; H] {
    let mut total = sums[0];
    for chain in 1..CHAINS {
        for r in 0..H {
            for v in 0..V {
                total[r][v] = vaddq_f32(total[r][v], sums[chain][r][v]);
            }
        }
    }
    total
}

/// Finishes the sums of a tile and stores those of its rows and columns.
///
/// # Safety
/// As for [`multiply`]; `H` is at least the tile's rows, and its columns lie in `V` vectors.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn put<const H: usize, const V: usize>(sums: [[float32x4_t; V]; H], tile: Tile, finish: Option<&Finish>) {
    // All vectors but the last are whole.
    let count = tile.columns - (V - 1) * LANES;
    // SAFETY: rows below `tile.rows` and columns below `tile.columns` are the tile's; the biases are as the caller promises.
    unsafe {
        if count == LANES {
            store(
                sums,
                tile,
                finish,
                |from, v| vld1q_f32(from.add(v * LANES)),
                |to, v, value| vst1q_f32(to.add(v * LANES), value),
            );
        } else {
            store(
                sums,
                tile,
                finish,
                |from, v| match v + 1 == V {
                    true => lanes::load_first(from.add(v * LANES), count, 0.0),
                    false => vld1q_f32(from.add(v * LANES)),
                },
                |to, v, value| match v + 1 == V {
                    true => lanes::store_first(to.add(v * LANES), value, count),
                    false => vst1q_f32(to.add(v * LANES), value),
                },
            );
        }
    }
}

/// # Safety
/// As for [`put`]; `load` and `put` read and write vector `v` of the tile's columns of a row.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn store<const H: usize, const V: usize>(
    mut sums: [[float32x4_t; V]; H],
    tile: Tile,
    finish: Option<&Finish>,
    load: impl Fn(*const f32, usize) -> float32x4_t,
    put: impl Fn(*mut f32, usize, float32x4_t),
) {
    // Number of rows, not an end that the loops below run to: they are unrolled, so that the sums stay in registers.
    for r in 0..H {
        if r >= tile.rows {
            break;
        }
        let row = tile.start.wrapping_add(r * tile.stride);
        for v in 0..V {
            if tile.accumulate {
                sums[r][v] = vaddq_f32(load(row, v), sums[r][v]);
            }
            if let Some(finish) = finish {
                if !finish.row_bias.is_null() {
                    // SAFETY: the bias has an element for each row of the tile.
                    let bias = vdupq_n_f32(unsafe { finish.row_bias.add(r).read() });
                    sums[r][v] = vaddq_f32(sums[r][v], bias);
                }
                if !finish.column_bias.is_null() {
                    sums[r][v] = vaddq_f32(sums[r][v], load(finish.column_bias, v));
                }
                if !finish.addend.is_null() {
                    let addend = load(finish.addend.wrapping_add(r * tile.stride), v);
                    sums[r][v] = vaddq_f32(sums[r][v], addend);
                }
                sums[r][v] = math::limit(sums[r][v], vdupq_n_f32(finish.low), vdupq_n_f32(finish.high));
            }
            put(row, v, sums[r][v]);
        }
    }
}
