//! What is left of a plane behind its whole panels is often a column or a few: an image of 7 x 7 has 49, one of 14 x 14 has 196. A vector of them would be
//! mostly empty, so here the rows of a packed tile are the lanes, and there is a sum for each column.

use super::{ROWS, Right};
use crate::avx2::lanes;
use std::arch::x86_64::*;

/// Most columns.
pub(super) const THIN: usize = 4;

/// The sums of a whole tile of rows and `columns` columns, row by row.
///
/// # Safety
/// The CPU has AVX2 and FMA; `columns` is 1 to [`THIN`]; `depth` steps of a packed tile are readable at `left`, and so many
/// columns of `depth` rows of `right`.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn sums(depth: usize, left: *const f32, right: Right, columns: usize) -> [[f32; THIN]; ROWS] {
    // SAFETY: the caller's promise, with the number of columns as a constant.
    unsafe {
        match columns {
            1 => apart::<1, 4>(depth, left, right),
            2 => apart::<2, 4>(depth, left, right),
            3 => apart::<3, 2>(depth, left, right),
            _ => apart::<4, 2>(depth, left, right),
        }
    }
}

/// Each column has `CHAINS` sums, so that none waits for itself.
///
/// # Safety
/// As for [`sums`], with `C` columns.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn apart<const C: usize, const CHAINS: usize>(
    depth: usize,
    left: *const f32,
    right: Right,
) -> [[f32; THIN]; ROWS] {
    let mut sums = [[_mm256_setzero_ps(); C]; CHAINS];
    let before_last = depth.saturating_sub(1);
    // SAFETY: step `k < depth` is readable. A vector begins with its six rows and takes in two of the next step; the last step has no next one.
    unsafe {
        for four in 0..before_last / CHAINS {
            for (chain, sums) in sums.iter_mut().enumerate() {
                let k = four * CHAINS + chain;
                step(_mm256_loadu_ps(left.add(k * ROWS)), right.start.add(k * right.step), sums);
            }
        }
        for k in before_last / CHAINS * CHAINS..before_last {
            step(_mm256_loadu_ps(left.add(k * ROWS)), right.start.add(k * right.step), &mut sums[0]);
        }
        if depth > 0 {
            let rows = _mm256_maskload_ps(left.add(before_last * ROWS), lanes::first(ROWS));
            step(rows, right.start.add(before_last * right.step), &mut sums[1]);
        }
    }
    let mut turned = [[0.0; THIN]; ROWS];
    for column in 0..C {
        let mut total = sums[0][column];
        for sums in &sums[1..] {
            total = _mm256_add_ps(total, sums[column]);
        }
        let mut rows = [0.0; lanes::LANES];
        // SAFETY: the array holds a vector.
        unsafe { _mm256_storeu_ps(rows.as_mut_ptr(), total) };
        for r in 0..ROWS {
            turned[r][column] = rows[r];
        }
    }
    turned
}

/// # Safety
/// The CPU has AVX2 and FMA; `C` floats are readable at `right`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn step<const C: usize>(rows: __m256, right: *const f32, sums: &mut [__m256; C]) {
    for column in 0..C {
        // SAFETY: the caller's promise.
        let x = unsafe { _mm256_set1_ps(right.add(column).read()) };
        sums[column] = _mm256_fmadd_ps(rows, x, sums[column]);
    }
}
