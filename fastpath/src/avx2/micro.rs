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
/// rows and columns of `tile` are readable and writable; the biases of `finish` are null or have an element for each row or column of the tile, its addend
/// is null or has one for each result.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn multiply(depth: usize, left: Left, right: Right, tile: Tile, finish: Option<&Finish>) {
    debug_assert!((1..=ROWS).contains(&tile.rows) && (1..=COLUMNS).contains(&tile.columns));
    // SAFETY: the caller's promise, with the number of rows as a constant.
    unsafe {
        match tile.columns > LANES {
            true => columns::<2>(depth, left, right, tile, finish),
            false => columns::<1>(depth, left, right, tile, finish),
        }
    }
}

/// # Safety
/// As for [`multiply`], and `tile.columns` lie in `V` vectors.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn columns<const V: usize>(depth: usize, left: Left, right: Right, tile: Tile, finish: Option<&Finish>) {
    // SAFETY: the caller's promise, with the number of rows as a constant.
    unsafe {
        match (tile.rows, left.row == 1 && left.step == ROWS) {
            (6, true) => rows::<6, V, true>(depth, left, right, tile, finish),
            (6, false) => rows::<6, V, false>(depth, left, right, tile, finish),
            (5, _) => rows::<5, V, false>(depth, left, right, tile, finish),
            (4, _) => rows::<4, V, false>(depth, left, right, tile, finish),
            (3, _) => rows::<3, V, false>(depth, left, right, tile, finish),
            (2, _) => rows::<2, V, false>(depth, left, right, tile, finish),
            _ => rows::<1, V, false>(depth, left, right, tile, finish),
        }
    }
}

/// # Safety
/// As for [`multiply`], `tile.rows` is `R`, and `tile.columns` lie in `V` vectors. `PACKED` says that `left` is a packed tile.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn rows<const R: usize, const V: usize, const PACKED: bool>(
    depth: usize,
    left: Left,
    right: Right,
    tile: Tile,
    finish: Option<&Finish>,
) {
    let (row, step) = if PACKED { (1, ROWS) } else { (left.row, left.step) };
    // The results, and what is added to them, come from far away while the sums are made. A hint may name any address.
    for r in 0..R {
        let start = tile.start.wrapping_add(r * tile.stride);
        near(start, tile.columns);
        if let Some(finish) = finish
            && !finish.addend.is_null()
        {
            near(finish.addend.wrapping_add(r * tile.stride), tile.columns);
        }
    }
    let mut sums = [[_mm256_setzero_ps(); V]; R];
    let (mut a, mut b) = (left.start, right.start);
    for _ in 0..depth {
        // SAFETY: `a` and `b` are at column and row `k < depth`, which the caller promised to be readable. They are advanced by wrapping
        // arithmetic, because behind the last step they may leave the allocation.
        unsafe {
            let mut y = [_mm256_setzero_ps(); V];
            for v in 0..V {
                y[v] = _mm256_loadu_ps(b.add(v * LANES));
            }
            for r in 0..R {
                let x = _mm256_set1_ps(a.add(r * row).read());
                for v in 0..V {
                    sums[r][v] = _mm256_fmadd_ps(x, y[v], sums[r][v]);
                }
            }
        }
        a = a.wrapping_add(step);
        b = b.wrapping_add(right.step);
    }
    // SAFETY: rows below `R` and columns below `tile.columns` are the tile's; the biases are as the caller promises.
    unsafe {
        if tile.columns == V * LANES {
            store(
                sums,
                tile,
                finish,
                |from, v| _mm256_loadu_ps(from.add(v * LANES)),
                |to, v, value| _mm256_storeu_ps(to.add(v * LANES), value),
            );
        } else {
            // All vectors but the last are whole.
            let count = tile.columns - (V - 1) * LANES;
            let mask = lanes::first(count);
            store(
                sums,
                tile,
                finish,
                |from, v| match v + 1 == V {
                    true => _mm256_maskload_ps(from.add(v * LANES), mask),
                    false => _mm256_loadu_ps(from.add(v * LANES)),
                },
                |to, v, value| match v + 1 == V {
                    true => lanes::store_first(to.add(v * LANES), value, count),
                    false => _mm256_storeu_ps(to.add(v * LANES), value),
                },
            );
        }
    }
}

/// Asks for the lines of `columns` floats, at most two.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn near(start: *const f32, columns: usize) {
    _mm_prefetch::<_MM_HINT_T0>(start.cast());
    _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(columns - 1).cast());
}

/// Plain loops throughout: a closure handed to a function of the standard library would lose the instruction set, and with it its inlining.
///
/// # Safety
/// As for [`multiply`]; `load` and `put` read and write vector `v` of the tile's columns of a row.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn store<const R: usize, const V: usize>(
    mut sums: [[__m256; V]; R],
    tile: Tile,
    finish: Option<&Finish>,
    load: impl Fn(*const f32, usize) -> __m256,
    put: impl Fn(*mut f32, usize, __m256),
) {
    if tile.accumulate {
        for r in 0..R {
            let before = tile.start.wrapping_add(r * tile.stride);
            for v in 0..V {
                sums[r][v] = _mm256_add_ps(load(before, v), sums[r][v]);
            }
        }
    }
    if let Some(finish) = finish {
        if !finish.row_bias.is_null() {
            for r in 0..R {
                // SAFETY: the bias has an element for each row of the tile.
                let bias = _mm256_set1_ps(unsafe { finish.row_bias.add(r).read() });
                for v in 0..V {
                    sums[r][v] = _mm256_add_ps(sums[r][v], bias);
                }
            }
        }
        if !finish.column_bias.is_null() {
            for v in 0..V {
                let bias = load(finish.column_bias, v);
                for r in 0..R {
                    sums[r][v] = _mm256_add_ps(sums[r][v], bias);
                }
            }
        }
        if !finish.addend.is_null() {
            for r in 0..R {
                let addend = finish.addend.wrapping_add(r * tile.stride);
                for v in 0..V {
                    sums[r][v] = _mm256_add_ps(sums[r][v], load(addend, v));
                }
            }
        }
        let (low, high) = (_mm256_set1_ps(finish.low), _mm256_set1_ps(finish.high));
        for r in 0..R {
            for v in 0..V {
                sums[r][v] = math::limit(sums[r][v], low, high);
            }
        }
    }
    for r in 0..R {
        for v in 0..V {
            put(tile.start.wrapping_add(r * tile.stride), v, sums[r][v]);
        }
    }
}
