//! A few rows times a strip: weights are decoded in registers and meet up to four rows there. Sums are those of floats, in an order that no shard changes.

use super::super::lanes::LANES;
use super::Sheet;
use super::layout::GROUP;
use super::numbers::{Blocks, STEP};
use std::arch::x86_64::*;
use std::ops::Range;

/// How far ahead of the numbers that are multiplied those are asked for that come next, in bytes.
const AHEAD: usize = 2048;

/// Asks for what lies [`AHEAD`] of an address. A hint may name any address.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn ask_ahead(at: *const u8) {
    _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(AHEAD).cast());
}

impl Sheet {
    /// # Safety
    /// The CPU has AVX2, FMA and F16C; the operands are readable and writable as the plan says, its format is that of `B`, and the results of these strips
    /// are nobody else's.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) unsafe fn few<B: Blocks>(&self, strips: Range<usize>) {
        for strip in strips {
            let mut row = 0;
            while row < self.plan.rows {
                let left = self.plan.rows - row;
                // SAFETY: the caller's promise, with as many rows as are left.
                row += unsafe {
                    match left {
                        1 => self.rows::<B, 1, 4>(row, strip),
                        2 => self.rows::<B, 2, 2>(row, strip),
                        3 => self.rows::<B, 3, 2>(row, strip),
                        _ => self.rows::<B, 4, 2>(row, strip),
                    }
                };
            }
        }
    }

    /// `R` rows from `row` on, each with `A` sums at a time. Answers how many they were.
    ///
    /// # Safety
    /// As for [`Sheet::few`]; the rows and the strip are the plan's.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn rows<B: Blocks, const R: usize, const A: usize>(&self, row: usize, strip: usize) -> usize {
        let mut sums = [[_mm256_setzero_ps(); A]; R];
        let (mut block, depth) = (self.strip(strip), self.plan.depth);
        let mut x = self.x.wrapping_add(row * depth);
        for _ in 0..self.plan.blocks() {
            // SAFETY: the block is one of the strip's, and `x` at the element of the row that meets its first weight.
            unsafe {
                let head = B::head(block);
                for group in 0..B::GROUPS {
                    let from = x.add(group * GROUP);
                    B::group(block, head, group, |first, weights| {
                        // As far into the group as the elements are, whose numbers have at most a byte.
                        ask_ahead(block.wrapping_add(group * (B::BYTES / B::GROUPS) + first * LANES));
                        multiply(weights, from.add(first), depth, &mut sums);
                    });
                }
            }
            block = block.wrapping_add(B::BYTES);
            x = x.wrapping_add(B::GROUPS * GROUP);
        }
        for r in 0..R {
            let mut sum = sums[r][0];
            for a in 1..A {
                sum = _mm256_add_ps(sum, sums[r][a]);
            }
            // SAFETY: the row and the strip are the plan's.
            unsafe { self.store(row + r, strip, sum) };
        }
        R
    }

    /// Adds the groups of a block whose bits are set in `which` to `sum`, for one row.
    ///
    /// # Safety
    /// The CPU has AVX2, FMA and F16C; the block is one of `B`, and the elements of the row that it meets are readable at `x`.
    #[inline(never)]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) unsafe fn groups<B: Blocks>(block: *const u8, which: u32, x: *const f32, sum: __m256) -> __m256 {
        let mut sums = [[sum, _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()]];
        // SAFETY: the caller's promise.
        unsafe {
            let head = B::head(block);
            for group in (0..B::GROUPS).filter(|group| which >> group & 1 != 0) {
                let from = x.add(group * GROUP);
                B::group(block, head, group, |first, weights| multiply(weights, from.add(first), 0, &mut sums));
            }
        }
        let [a, b, c, d] = sums[0];
        _mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d))
    }
}

/// Adds the products of four weights of each column with those of each row to its sums.
///
/// # Safety
/// The CPU has AVX2 and FMA; four floats are readable at `x` and, for each further row, `depth` behind those of the one before.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn multiply<const R: usize, const A: usize>(
    weights: [__m256; STEP],
    x: *const f32,
    depth: usize,
    sums: &mut [[__m256; A]; R],
) {
    for j in 0..STEP {
        for r in 0..R {
            // SAFETY: the caller's promise.
            let x = _mm256_set1_ps(unsafe { x.add(r * depth + j).read() });
            sums[r][j % A] = _mm256_fmadd_ps(weights[j], x, sums[r][j % A]);
        }
    }
}

const _: () = assert!(LANES == 8, "a strip is as wide as a vector");
