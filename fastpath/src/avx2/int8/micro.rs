//! The inner loop of the integer products: a tile of up to 6 rows by 16 columns of 32-bit sums, in twelve registers.

use super::super::lanes::LANES;
use std::arch::x86_64::*;

/// Rows of a tile.
pub(crate) const ROWS: usize = 6;
/// Columns of a tile.
pub(crate) const COLUMNS: usize = 2 * LANES;

/// The sums of a tile. Rows and columns beyond those that were asked for hold nothing of use.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Sums(pub(crate) [[i32; COLUMNS]; ROWS]);

impl Sums {
    pub(crate) const ZERO: Self = Self([[0; COLUMNS]; ROWS]);
}

/// Multiplies `pairs` words (two numbers of 16 bits each) of every row with as many of every column.
///
/// # Safety
/// The CPU has AVX2 and FMA; `pairs` times [`ROWS`] words are readable at `left` (the rows of one pair together) and `pairs` times [`COLUMNS`] at
/// `right`.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn multiply(
    pairs: usize,
    left: *const i32,
    right: *const i32,
    rows: usize,
    columns: usize,
    sums: &mut Sums,
) {
    debug_assert!((1..=ROWS).contains(&rows) && (1..=COLUMNS).contains(&columns));
    // SAFETY: the caller's promise, with rows and vectors of columns as constants.
    unsafe {
        match (rows, columns > LANES) {
            (6, true) => tile::<6, 2>(pairs, left, right, sums),
            (5, true) => tile::<5, 2>(pairs, left, right, sums),
            (4, true) => tile::<4, 2>(pairs, left, right, sums),
            (3, true) => tile::<3, 2>(pairs, left, right, sums),
            (2, true) => tile::<2, 2>(pairs, left, right, sums),
            (_, true) => tile::<1, 2>(pairs, left, right, sums),
            (6, false) => tile::<6, 1>(pairs, left, right, sums),
            (5, false) => tile::<5, 1>(pairs, left, right, sums),
            (4, false) => tile::<4, 1>(pairs, left, right, sums),
            (3, false) => tile::<3, 1>(pairs, left, right, sums),
            (2, false) => tile::<2, 1>(pairs, left, right, sums),
            (_, false) => tile::<1, 1>(pairs, left, right, sums),
        }
    }
}

/// # Safety
/// As for [`multiply`]; `R` and `C` are at most the rows, and the vectors of columns, of a tile.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn tile<const R: usize, const C: usize>(pairs: usize, left: *const i32, right: *const i32, into: &mut Sums) {
    let mut sums = [[_mm256_setzero_si256(); C]; R];
    for pair in 0..pairs {
        // SAFETY: pair `pair < pairs` of both sides is readable.
        unsafe {
            let (a, b) = (left.add(pair * ROWS), right.add(pair * COLUMNS));
            let mut columns = [_mm256_setzero_si256(); C];
            for c in 0..C {
                columns[c] = _mm256_loadu_si256(b.add(c * LANES).cast());
            }
            for r in 0..R {
                let row = _mm256_set1_epi32(a.add(r).read());
                for c in 0..C {
                    sums[r][c] = _mm256_add_epi32(sums[r][c], _mm256_madd_epi16(row, columns[c]));
                }
            }
        }
    }
    for r in 0..R {
        for c in 0..C {
            // SAFETY: vector `c` of row `r` lies inside the tile.
            unsafe { _mm256_storeu_si256(into.0[r].as_mut_ptr().add(c * LANES).cast(), sums[r][c]) };
        }
    }
}
