//! The inner loop of every matrix product: a tile of up to 6 rows by 16 columns whose sums stay in twelve registers.

use super::lanes::{self, LANES};
use super::math;
use super::steps::Finish;
use std::arch::x86_64::*;

/// Rows of a tile.
pub(crate) const ROWS: usize = 6;
/// Columns of a tile.
pub(crate) const COLUMNS: usize = 2 * LANES;

/// Rows of the left side: element (r, k) lies `r * row + k * step` floats behind `start`.
#[derive(Clone, Copy)]
pub(crate) struct Left {
    pub(crate) start: *const f32,
    pub(crate) row: usize,
    pub(crate) step: usize,
}

impl Left {
    /// A packed tile: the rows of one column of the left side lie together.
    pub(crate) fn packed(start: *const f32) -> Self {
        Self { start, row: 1, step: ROWS }
    }
}

/// Sixteen columns of the right side: those of row k lie together, `k * step` floats behind `start`.
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

/// Multiplies `depth` columns of the left side with as many rows of the right side into the tile, and finishes the sums if they are complete.
///
/// # Safety
/// The CPU has AVX2 and FMA; `tile.rows` rows and `depth` columns of `left` and all sixteen columns of `depth` rows of `right` are readable; the
/// rows and columns of `tile` are readable and writable; the biases of `finish` are null or have an element for each row or column of the tile.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn multiply(depth: usize, left: Left, right: Right, tile: Tile, finish: Option<&Finish>) {
    debug_assert!((1..=ROWS).contains(&tile.rows) && (1..=COLUMNS).contains(&tile.columns));
    // SAFETY: the caller's promise, with the number of rows as a constant.
    unsafe {
        match (tile.rows, left.row == 1 && left.step == ROWS) {
            (6, true) => rows::<6, true>(depth, left, right, tile, finish),
            (6, false) => rows::<6, false>(depth, left, right, tile, finish),
            (5, _) => rows::<5, false>(depth, left, right, tile, finish),
            (4, _) => rows::<4, false>(depth, left, right, tile, finish),
            (3, _) => rows::<3, false>(depth, left, right, tile, finish),
            (2, _) => rows::<2, false>(depth, left, right, tile, finish),
            _ => rows::<1, false>(depth, left, right, tile, finish),
        }
    }
}

/// # Safety
/// As for [`multiply`], and `tile.rows` is `R`. `PACKED` says that `left` is a packed tile.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn rows<const R: usize, const PACKED: bool>(
    depth: usize,
    left: Left,
    right: Right,
    tile: Tile,
    finish: Option<&Finish>,
) {
    let (row, step) = if PACKED { (1, ROWS) } else { (left.row, left.step) };
    let mut sums = [[_mm256_setzero_ps(); 2]; R];
    let (mut a, mut b) = (left.start, right.start);
    for _ in 0..depth {
        // SAFETY: `a` and `b` are at column and row `k < depth`, which the caller promised to be readable. They are advanced by wrapping
        // arithmetic, because behind the last step they may leave the allocation.
        unsafe {
            let (b0, b1) = (_mm256_loadu_ps(b), _mm256_loadu_ps(b.add(LANES)));
            for r in 0..R {
                let x = _mm256_set1_ps(a.add(r * row).read());
                sums[r][0] = _mm256_fmadd_ps(x, b0, sums[r][0]);
                sums[r][1] = _mm256_fmadd_ps(x, b1, sums[r][1]);
            }
        }
        a = a.wrapping_add(step);
        b = b.wrapping_add(right.step);
    }
    // SAFETY: rows below `R` and columns below `tile.columns` are the tile's; the biases are as the caller promises.
    unsafe {
        if tile.columns == COLUMNS {
            store::<R>(
                sums,
                tile,
                finish,
                |from| [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(LANES))],
                |to, [v0, v1]| {
                    _mm256_storeu_ps(to, v0);
                    _mm256_storeu_ps(to.add(LANES), v1);
                },
            );
        } else {
            let masks = [lanes::first(tile.columns), lanes::first(tile.columns.saturating_sub(LANES))];
            store::<R>(
                sums,
                tile,
                finish,
                |from| {
                    let second = from.wrapping_add(LANES);
                    [_mm256_maskload_ps(from, masks[0]), _mm256_maskload_ps(second, masks[1])]
                },
                |to, [v0, v1]| match tile.columns {
                    LANES.. => {
                        _mm256_storeu_ps(to, v0);
                        lanes::store_first(to.add(LANES), v1, tile.columns - LANES);
                    }
                    columns => lanes::store_first(to, v0, columns),
                },
            );
        }
    }
}

/// Plain loops throughout: a closure handed to a function of the standard library would lose the instruction set, and with it its inlining.
///
/// # Safety
/// As for [`multiply`]; `load` and `put` read and write the tile's columns of a row.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn store<const R: usize>(
    mut sums: [[__m256; 2]; R],
    tile: Tile,
    finish: Option<&Finish>,
    load: impl Fn(*const f32) -> [__m256; 2],
    put: impl Fn(*mut f32, [__m256; 2]),
) {
    if tile.accumulate {
        for r in 0..R {
            let before = load(tile.start.wrapping_add(r * tile.stride));
            sums[r] = [_mm256_add_ps(before[0], sums[r][0]), _mm256_add_ps(before[1], sums[r][1])];
        }
    }
    if let Some(finish) = finish {
        if !finish.row_bias.is_null() {
            for r in 0..R {
                // SAFETY: the bias has an element for each row of the tile.
                let bias = _mm256_set1_ps(unsafe { finish.row_bias.add(r).read() });
                sums[r] = [_mm256_add_ps(sums[r][0], bias), _mm256_add_ps(sums[r][1], bias)];
            }
        }
        if !finish.column_bias.is_null() {
            let bias = load(finish.column_bias);
            for r in 0..R {
                sums[r] = [_mm256_add_ps(sums[r][0], bias[0]), _mm256_add_ps(sums[r][1], bias[1])];
            }
        }
        let (low, high) = (_mm256_set1_ps(finish.low), _mm256_set1_ps(finish.high));
        for r in 0..R {
            sums[r] = [math::limit(sums[r][0], low, high), math::limit(sums[r][1], low, high)];
        }
    }
    for r in 0..R {
        put(tile.start.wrapping_add(r * tile.stride), sums[r]);
    }
}
