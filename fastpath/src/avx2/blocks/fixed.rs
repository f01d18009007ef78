//! One row in whole numbers. Floats would have to be made of the weights, which takes longer than the weights take to arrive.
//!
//! Each group of 32 elements of x becomes whole numbers of 24 bits times a power of two that suits the largest, in three digits of signed bytes. Their
//! products with the numbers of the weights are summed exactly, digit by digit. An element is rounded when it is much smaller than the largest of its group.
//! Where that would be more than the tolerance of the operator allows, which is in proportion to each product and grows with the depth, the group is multiplied
//! as floats; so are groups that hold a NaN or an infinity. Results that are no finite numbers are computed again as floats, for those say which they are.

use super::Sheet;
use super::few::ask_ahead;
use super::layout::GROUP;
use super::numbers::{Blocks, Pairs, Q4K, dwords, rolled};
use std::arch::x86_64::*;
use std::ops::Range;

/// Digits of an element.
const DIGITS: usize = 3;
/// Vectors of dwords of two groups of weights.
const STEPS: usize = 8;

/// A group of x.
#[repr(C, align(32))]
#[derive(Clone, Copy)]
struct Group {
    /// Of each digit, from the lowest on, four elements to a dword.
    digits: [[i32; STEPS]; DIGITS],
    /// What the last digit counts.
    unit: f32,
    sum: f32,
    /// Not zero: whole numbers do.
    is_fixed: u32,
}

/// Bytes of a row of so many elements.
pub(super) fn bytes(depth: usize) -> usize {
    depth / GROUP * size_of::<Group>()
}

impl Group {
    /// # Safety
    /// The CPU has AVX2 and FMA; 32 floats are readable at `x`.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn of(x: *const f32, rounding: f32) -> Self {
        let mut group = Self { digits: [[0; STEPS]; DIGITS], unit: 0.0, sum: 0.0, is_fixed: 1 };
        let mut all = [_mm256_setzero_ps(); 4];
        let mut largest = _mm256_setzero_ps();
        let sign = _mm256_set1_ps(-0.0);
        for i in 0..4 {
            // SAFETY: the caller's promise.
            all[i] = unsafe { _mm256_loadu_ps(x.add(8 * i)) };
            largest = _mm256_max_ps(largest, _mm256_andnot_ps(sign, all[i]));
        }
        let largest = super::lanes::largest(largest);
        if largest == 0.0 {
            // Of NaNs, the comparison below would have to tell.
            group.is_fixed = all.iter().all(|&x| is_each(x, _mm256_setzero_ps())).into();
            return group;
        }
        // The power of two such that the largest has 23 bits; one more where it is so near the next one that its highest digit would not hold it.
        let exponent = (largest.to_bits() + 0x2_0000) >> 23;
        if !(32..=250).contains(&exponent) {
            group.is_fixed = 0;
            return group;
        }
        group.unit = f32::from_bits((exponent - 22) << 23);
        let (unit, inverse) = (_mm256_set1_ps(group.unit), _mm256_set1_ps(f32::from_bits((254 + 22 - exponent) << 23)));
        let mut digits = [[_mm256_setzero_si256(); 4]; DIGITS];
        let mut is_fixed = true;
        for i in 0..4 {
            let mut whole = _mm256_cvtps_epi32(_mm256_mul_ps(all[i], inverse));
            let error = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(whole), unit, all[i]);
            let allowed = _mm256_mul_ps(_mm256_andnot_ps(sign, all[i]), _mm256_set1_ps(rounding));
            is_fixed &= is_each_at_most(_mm256_andnot_ps(sign, error), allowed);
            for digit in 0..DIGITS {
                let low = _mm256_srai_epi32::<24>(_mm256_slli_epi32::<24>(whole));
                digits[digit][i] = low;
                whole = _mm256_srai_epi32::<8>(_mm256_sub_epi32(whole, low));
            }
        }
        group.is_fixed = is_fixed.into();
        for digit in 0..DIGITS {
            let [a, b, c, d] = digits[digit];
            let bytes = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
            // Packing goes by halves of vectors.
            let bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
            // SAFETY: a digit is a vector long.
            unsafe { _mm256_storeu_si256(group.digits[digit].as_mut_ptr().cast(), bytes) };
        }
        group.sum = super::lanes::sum(_mm256_add_ps(_mm256_add_ps(all[0], all[1]), _mm256_add_ps(all[2], all[3])));
        group
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn is_each(a: __m256, b: __m256) -> bool {
    _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_EQ_OQ>(a, b)) == 0xFF
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn is_each_at_most(a: __m256, b: __m256) -> bool {
    _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LE_OQ>(a, b)) == 0xFF
}

impl Sheet {
    /// # Safety
    /// As for [`Sheet::few`], and the format is Q4_K, the only row is x, and [`bytes`] bytes are writable at `space` and nobody else's.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) unsafe fn fixed(&self, strips: Range<usize>, space: *mut u8) {
        let (groups, depth) = (space.cast::<Group>(), self.plan.depth);
        // Half of what the class allows, the other half being for what floats are rounded in the end.
        let rounding = depth as f32 * (f32::EPSILON / 4.0);
        for group in 0..depth / GROUP {
            // SAFETY: the group is one of the row, and so many have room in the space.
            unsafe { groups.add(group).write(Group::of(self.x.add(group * GROUP), rounding)) };
        }
        let mut strip = strips.start;
        while strip < strips.end {
            // SAFETY: the caller's promise; the groups were written just now.
            strip += unsafe {
                match strips.end - strip {
                    1 => self.fixed_strips::<1>(strip, groups),
                    _ => self.fixed_strips::<2>(strip, groups),
                }
            };
        }
    }

    /// `S` strips side by side, which share what is read of x. Answers how many they were.
    ///
    /// # Safety
    /// As for [`Sheet::fixed`]; the groups are those of the row.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn fixed_strips<const S: usize>(&self, strip: usize, groups: *const Group) -> usize {
        let mut sums = [_mm256_setzero_ps(); S];
        for block in 0..self.plan.blocks() {
            let mut at = [std::ptr::null(); S];
            for s in 0..S {
                at[s] = self.strip(strip + s).wrapping_add(block * Q4K::BYTES);
                ask_ahead(at[s]);
                ask_ahead(at[s].wrapping_add(64));
            }
            let groups = groups.wrapping_add(block * Q4K::GROUPS);
            // SAFETY: the blocks are the strips', and the groups of x meet theirs.
            let exact = unsafe { block_sums(at, groups, &mut sums) };
            if exact != 0 {
                for s in 0..S {
                    let x = self.x.wrapping_add(block * Q4K::GROUPS * GROUP);
                    // SAFETY: as above.
                    sums[s] = unsafe { Self::groups::<Q4K>(at[s], exact, x, sums[s]) };
                }
            }
        }
        for s in 0..S {
            let difference = _mm256_sub_ps(sums[s], sums[s]);
            // SAFETY: the strip is one of the caller's.
            unsafe {
                match is_each(difference, difference) {
                    true => self.store(0, strip + s, sums[s]),
                    false => self.few::<Q4K>(strip + s..strip + s + 1),
                }
            }
        }
        S
    }
}

/// The sums of products of the numbers of a group of `S` blocks, which lie `DOWN` bits up in each byte, with each digit of x, two for each column:
/// at most 16 products of 15 and 128.
///
/// # Safety
/// The CPU has AVX2; the numbers of a block are readable at each of `numbers`, `pair` is one of its four, and the group of x is readable.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn digit_sums<const S: usize, const DOWN: i32>(
    numbers: [*const u8; S],
    pair: usize,
    x: *const Group,
) -> [[__m256i; DIGITS]; S] {
    let mut sums = [[_mm256_setzero_si256(); DIGITS]; S];
    let four = _mm256_set1_epi8(15);
    for t in rolled(STEPS) {
        let mut halves = [four; S];
        for s in 0..S {
            // SAFETY: the caller's promise.
            let both = unsafe { dwords(numbers[s], pair * STEPS + t) };
            if DOWN == 0 {
                ask_ahead(numbers[s].wrapping_add((pair * STEPS + t) * 32));
            }
            halves[s] = _mm256_and_si256(_mm256_srli_epi32::<DOWN>(both), four);
        }
        for digit in 0..DIGITS {
            // SAFETY: the caller's promise.
            let of_x = _mm256_set1_epi32(unsafe { (&raw const (*x).digits[digit][t]).read() });
            for s in 0..S {
                sums[s][digit] = _mm256_add_epi16(sums[s][digit], _mm256_maddubs_epi16(halves[s], of_x));
            }
        }
    }
    sums
}

/// Adds what a block comes to for each of `S` strips. Answers a bit for each of its groups that must be multiplied as floats instead.
///
/// # Safety
/// The CPU has AVX2, FMA and F16C; a block of a strip is readable at each of `at`, and the groups of x that it meets at `groups`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn block_sums<const S: usize>(at: [*const u8; S], groups: *const Group, sums: &mut [__m256; S]) -> u32 {
    // SAFETY: the caller's promise.
    let mut heads = [unsafe { Q4K::head(at[0]) }; S];
    let (mut scaled, mut offsets) = ([_mm256_setzero_ps(); S], [_mm256_setzero_ps(); S]);
    let (mut numbers, mut exact) = (at, 0);
    for s in 0..S {
        if s > 0 {
            // SAFETY: the caller's promise.
            heads[s] = unsafe { Q4K::head(at[s]) };
        }
        numbers[s] = at[s].wrapping_add(Pairs::BYTES);
    }
    for four in 0..2 {
        let (mut scales, mut minima) = ([_mm256_setzero_si256(); S], [_mm256_setzero_si256(); S]);
        for s in 0..S {
            (scales[s], minima[s]) = (heads[s].scales[four], heads[s].minima[four]);
        }
        for pair in 2 * four..2 * four + 2 {
            // SAFETY: the groups are those of the block.
            unsafe {
                let (low, high) = (groups.add(2 * pair), groups.add(2 * pair + 1));
                if (&raw const (*low).is_fixed).read() != 0 {
                    let all = digit_sums::<S, 0>(numbers, pair, low);
                    for s in 0..S {
                        finish::<0>(low, all[s], (scales[s], minima[s]), (&mut scaled[s], &mut offsets[s]));
                    }
                } else {
                    exact |= 1 << (2 * pair);
                }
                if (&raw const (*high).is_fixed).read() != 0 {
                    let all = digit_sums::<S, 4>(numbers, pair, high);
                    for s in 0..S {
                        finish::<1>(high, all[s], (scales[s], minima[s]), (&mut scaled[s], &mut offsets[s]));
                    }
                } else {
                    exact |= 2 << (2 * pair);
                }
            }
            for s in 0..S {
                scales[s] = _mm256_srli_epi32::<16>(scales[s]);
                minima[s] = _mm256_srli_epi32::<16>(minima[s]);
            }
        }
    }
    for s in 0..S {
        sums[s] = _mm256_fmadd_ps(scaled[s], heads[s].scale, sums[s]);
        sums[s] = _mm256_fnmadd_ps(offsets[s], heads[s].minimum, sums[s]);
    }
    exact
}

/// Adds what a group comes to, whose scale and minimum are byte `BYTE` of each dword of `bytes`: the one to the first of `into`, the other to the second.
///
/// # Safety
/// The CPU has AVX2 and FMA; the group of x is readable.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn finish<const BYTE: i32>(
    x: *const Group,
    sums: [__m256i; DIGITS],
    bytes: (__m256i, __m256i),
    into: (&mut __m256, &mut __m256),
) {
    // SAFETY: the caller's promise.
    let (unit, sum_of_x) = unsafe { ((&raw const (*x).unit).read(), (&raw const (*x).sum).read()) };
    // The byte in both words, and alone.
    let both = |dword: i32| 0x8000_8000u32 as i32 | ((4 * dword + BYTE) * 0x1_0001);
    let alone = |dword: i32| 0x8080_8000u32 as i32 | (4 * dword + BYTE);
    let both = _mm256_broadcastsi128_si256(_mm_setr_epi32(both(0), both(1), both(2), both(3)));
    let alone = _mm256_broadcastsi128_si256(_mm_setr_epi32(alone(0), alone(1), alone(2), alone(3)));
    let scales = _mm256_shuffle_epi8(bytes.0, both);
    // At most 2 * 30720 * 63, and so 256 times as much and as much again still fits.
    let low = _mm256_madd_epi16(sums[0], scales);
    let middle = _mm256_madd_epi16(sums[1], scales);
    let high = _mm256_madd_epi16(sums[2], scales);
    let upper = _mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_slli_epi32::<8>(high), middle));
    let whole = _mm256_fmadd_ps(upper, _mm256_set1_ps(256.0), _mm256_cvtepi32_ps(low));
    *into.0 = _mm256_fmadd_ps(whole, _mm256_set1_ps(unit), *into.0);
    let minimum = _mm256_cvtepi32_ps(_mm256_shuffle_epi8(bytes.1, alone));
    *into.1 = _mm256_fmadd_ps(minimum, _mm256_set1_ps(sum_of_x), *into.1);
}
