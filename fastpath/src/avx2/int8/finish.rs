//! From exact sums to bytes: multiplied by a factor, rounded half to even, put behind the zero point, saturated.
//!
//! The product is one of `f64`, as in the portable kernel, so both round the same number.

use super::super::lanes::LANES;
use std::arch::x86_64::*;

/// What every result of an operation has in common.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// The zero point of the results, made unsigned.
    pub(crate) zero: u8,
    /// What makes the results signed again.
    pub(crate) flip: u8,
}

/// Numbers beyond this are saturated anyway, and have no place in 32 bits.
const LIMIT: f64 = (1 << 30) as f64;

impl Target {
    /// Sixteen sums of one row as bytes: `bias` is added to each (and wraps), and then each is multiplied by `factor`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn bytes(&self, sums: [__m256i; 2], bias: i32, factor: f64) -> __m128i {
        let bias = _mm256_set1_epi32(bias);
        let factor = _mm256_set1_pd(factor);
        let low = scaled(_mm256_add_epi32(sums[0], bias), factor);
        self.saturate([low, scaled(_mm256_add_epi32(sums[1], bias), factor)])
    }

    /// Sixteen rounded numbers as bytes behind the zero point.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn saturate(&self, numbers: [__m256i; 2]) -> __m128i {
        let zero = _mm256_set1_epi16(i16::from(self.zero));
        // Both steps saturate beyond what a byte holds, so nothing is lost by their order.
        let short = _mm256_adds_epi16(_mm256_packs_epi32(numbers[0], numbers[1]), zero);
        let bytes = _mm256_packus_epi16(short, short);
        // Each half holds four bytes of the first vector and then four of the second.
        let ordered = _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes));
        _mm_xor_si128(ordered, _mm_set1_epi8(self.flip as i8))
    }
}

/// Rounds eight sums times a factor half to even. A NaN becomes the smallest number.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn scaled(sums: __m256i, factor: __m256d) -> __m256i {
    let limit = _mm256_set1_pd(LIMIT);
    let round =
        |half: __m128i| _mm256_cvtpd_epi32(_mm256_min_pd(limit, _mm256_mul_pd(_mm256_cvtepi32_pd(half), factor)));
    let low = round(_mm256_castsi256_si128(sums));
    _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), round(_mm256_extracti128_si256::<1>(sums)))
}

/// Rounds eight floats half to even. A NaN becomes the smallest number.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn rounded(numbers: __m256) -> __m256i {
    _mm256_cvtps_epi32(_mm256_min_ps(_mm256_set1_ps(LIMIT as f32), numbers))
}

/// Two vectors of sums.
///
/// # Safety
/// The CPU has AVX2 and FMA; sixteen words are readable at `from`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn load(from: *const i32) -> [__m256i; 2] {
    // SAFETY: the caller's promise.
    unsafe { [_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add(LANES).cast())] }
}

/// Stores the first `count` bytes of sixteen.
///
/// # Safety
/// The CPU has AVX2 and FMA; `count` bytes (at most sixteen) are writable at `to`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn store(to: *mut u8, bytes: __m128i, count: usize) {
    // SAFETY: sixteen bytes, or as many single ones as the caller said.
    unsafe {
        if count >= 16 {
            _mm_storeu_si128(to.cast(), bytes);
        } else {
            let mut all = [0u8; 16];
            _mm_storeu_si128(all.as_mut_ptr().cast(), bytes);
            std::ptr::copy_nonoverlapping(all.as_ptr(), to, count);
        }
    }
}

/// Sixteen bytes, of which the first `count` are read and the others are zero.
///
/// # Safety
/// The CPU has AVX2 and FMA; `count` bytes are readable at `from`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn load_bytes(from: *const u8, count: usize) -> __m128i {
    // SAFETY: sixteen bytes, or as many single ones as the caller said.
    unsafe {
        if count >= 16 {
            return _mm_loadu_si128(from.cast());
        }
        let mut all = [0u8; 16];
        std::ptr::copy_nonoverlapping(from, all.as_mut_ptr(), count);
        _mm_loadu_si128(all.as_ptr().cast())
    }
}
