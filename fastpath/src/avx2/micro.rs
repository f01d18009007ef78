//! The inner loop of every matrix product: a tile of up to 6 rows by 16 columns whose sums stay in twelve registers.

mod thin;
mod whole;

use super::lanes::{self, LANES};
use super::math;
use crate::steps::Finish;
use std::arch::x86_64::*;

/// Rows of a tile.
pub(crate) const ROWS: usize = 6;
/// Columns of a tile.
pub(crate) const COLUMNS: usize = 2 * LANES;

/// Steps along the depth between two branches.
const UNROLLED: usize = 4;

/// Rows of the left side: element (r, k) lies `r * row + k * step` floats behind `start`. One of the two is 1.
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

    /// Whether the rows of one column lie together, and columns follow each other.
    fn is_packed(&self) -> bool {
        self.row == 1 && self.step == ROWS
    }
}

/// Sixteen columns of the right side: those of row k lie together, `k * step` floats behind `start`.
#[derive(Clone, Copy)]
pub(crate) struct Right {
    pub(crate) start: *const f32,
    pub(crate) step: usize,
}

/// What is read soon: a line of the cache every `step` floats, one for every four steps along the depth. Only a hint, so it may name any address.
#[derive(Clone, Copy)]
pub(crate) struct Ahead {
    pub(crate) start: *const f32,
    pub(crate) step: usize,
}

impl Ahead {
    /// Nothing new: `start` is read anyway. A hint at memory that is not there would cost a search for it.
    pub(crate) fn nothing(start: *const f32) -> Self {
        Self { start, step: 0 }
    }
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
/// The CPU has AVX2 and FMA; `tile.rows` rows and `depth` columns of `left` and all sixteen columns of `depth` rows of `right` are readable; a packed tile
/// has all six rows; the rows and columns of `tile` are readable and writable; the biases of `finish` are null or have an element for each row or column
/// of the tile, its addend is null or has one for each result.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn multiply(depth: usize, left: Left, right: Right, tile: Tile, finish: Option<&Finish>) {
    // SAFETY: the caller's promise.
    unsafe { multiply_ahead(depth, left, right, tile, finish, None, Ahead::nothing(left.start)) }
}

/// As [`multiply`]; asks for what is needed next, and writes the panel of the right side to `copy` in its packed form, if there is one.
///
/// # Safety
/// As for [`multiply`]. Where there is a `copy`, `left` is packed, the tile has all rows and columns, and a packed panel is writable, and nobody else's.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn multiply_ahead(
    depth: usize,
    left: Left,
    right: Right,
    tile: Tile,
    finish: Option<&Finish>,
    copy: Option<*mut f32>,
    ahead: Ahead,
) {
    debug_assert!((1..=ROWS).contains(&tile.rows) && (1..=COLUMNS).contains(&tile.columns));
    debug_assert!(left.row == 1 || left.step == 1);
    // SAFETY: the caller's promise.
    unsafe {
        if tile.rows == ROWS && tile.columns > LANES {
            near_tile::<ROWS>(&tile, finish);
            let sums = match copy {
                Some(copy) => whole::packing(depth, left.start, right, copy, ahead),
                None if left.row == 1 => whole::columns(depth, left, right, ahead),
                None => whole::rows(depth, left, right),
            };
            put(sums, tile, finish);
        } else if left.is_packed() && tile.columns <= thin::THIN {
            put_thin(&thin::sums(depth, left.start, right, tile.columns), tile, finish);
        } else {
            match tile.columns > LANES {
                true => columns::<2>(depth, left, right, tile, finish),
                false => columns::<1>(depth, left, right, tile, finish),
            }
        }
    }
}

/// # Safety
/// As for [`multiply`], and `tile.columns` lie in `V` vectors. Whole tiles are somebody else's.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn columns<const V: usize>(depth: usize, left: Left, right: Right, tile: Tile, finish: Option<&Finish>) {
    // SAFETY: the caller's promise, with the number of rows as a constant.
    unsafe {
        match tile.rows {
            6 => rows::<6, 1, 1>(depth, left, right, tile, finish),
            5 => rows::<5, V, 1>(depth, left, right, tile, finish),
            4 => rows::<4, V, 1>(depth, left, right, tile, finish),
            3 => rows::<3, V, 2>(depth, left, right, tile, finish),
            2 => rows::<2, V, 2>(depth, left, right, tile, finish),
            _ => rows::<1, V, 4>(depth, left, right, tile, finish),
        }
    }
}

/// Each result has `CHAINS` sums, so that none of them waits for itself where there are few.
///
/// # Safety
/// As for [`multiply`], `tile.rows` is `R`, and `tile.columns` lie in `V` vectors.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn rows<const R: usize, const V: usize, const CHAINS: usize>(
    depth: usize,
    left: Left,
    right: Right,
    tile: Tile,
    finish: Option<&Finish>,
) {
    near_tile::<R>(&tile, finish);
    let mut sums = [[[_mm256_setzero_ps(); V]; R]; CHAINS];
    let (mut a, mut b) = (left.start, right.start);
    for _ in 0..depth / UNROLLED {
        // SAFETY: `a` and `b` are at column and row `k`, and `k + UNROLLED <= depth`.
        unsafe {
            for u in 0..UNROLLED {
                step(a.add(u * left.step), left.row, b.add(u * right.step), &mut sums[u % CHAINS]);
            }
        }
        // Wrapping, because behind the last step they may leave the allocation.
        a = a.wrapping_add(UNROLLED * left.step);
        b = b.wrapping_add(UNROLLED * right.step);
    }
    for _ in 0..depth % UNROLLED {
        // SAFETY: as above, for the last steps.
        unsafe { step(a, left.row, b, &mut sums[0]) };
        a = a.wrapping_add(left.step);
        b = b.wrapping_add(right.step);
    }
    // SAFETY: the caller's promise.
    unsafe { put(total(sums), tile, finish) }
}

/// One column of the left side times one row of the right side.
///
/// # Safety
/// The CPU has AVX2 and FMA; `R` floats are readable at `left`, `row` apart, and `V` vectors at `right`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn step<const R: usize, const V: usize>(
    left: *const f32,
    row: usize,
    right: *const f32,
    sums: &mut [[__m256; V]; R],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut y = [_mm256_setzero_ps(); V];
        for v in 0..V {
            y[v] = _mm256_loadu_ps(right.add(v * LANES));
        }
        for r in 0..R {
            let x = _mm256_set1_ps(left.add(r * row).read());
            for v in 0..V {
                sums[r][v] = _mm256_fmadd_ps(x, y[v], sums[r][v]);
            }
        }
    }
}

/// Adds up sums that were made apart, in the same order always.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn total<const R: usize, const V: usize, const CHAINS: usize>(sums: [[[__m256; V]; R]; CHAINS]) -> [[__m256; V]; R] {
    let mut total = sums[0];
    for chain in 1..CHAINS {
        for r in 0..R {
            for v in 0..V {
                total[r][v] = _mm256_add_ps(total[r][v], sums[chain][r][v]);
            }
        }
    }
    total
}

/// Asks for the results, and for what is added to them: they come from far away while the sums are made. A hint may name any address.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn near_tile<const R: usize>(tile: &Tile, finish: Option<&Finish>) {
    for r in 0..R {
        near(tile.start.wrapping_add(r * tile.stride), tile.columns);
    }
    if let Some(finish) = finish
        && !finish.addend.is_null()
    {
        for r in 0..R {
            near(finish.addend.wrapping_add(r * tile.stride), tile.columns);
        }
    }
}

/// Finishes the sums of a tile and stores them.
///
/// # Safety
/// As for [`multiply`]; the tile has `R` rows, and its columns lie in `V` vectors.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn put<const R: usize, const V: usize>(sums: [[__m256; V]; R], tile: Tile, finish: Option<&Finish>) {
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

/// As [`put`], for a tile of few columns, whose sums come row by row.
///
/// # Safety
/// As for [`multiply`]; the tile has at most [`thin::THIN`] columns.
#[target_feature(enable = "avx2,fma")]
unsafe fn put_thin(sums: &[[f32; thin::THIN]; ROWS], tile: Tile, finish: Option<&Finish>) {
    for (r, sums) in sums.iter().enumerate().take(tile.rows) {
        // SAFETY: row `r` of the tile is a tile itself, and a row of sums is half a vector.
        unsafe {
            let row = Tile { start: tile.start.add(r * tile.stride), rows: 1, ..tile };
            let finish = finish.map(|finish| finish.at(r, 0, r * tile.stride));
            let sums = _mm256_zextps128_ps256(_mm_loadu_ps(sums.as_ptr()));
            put([[sums]], row, finish.as_ref());
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
