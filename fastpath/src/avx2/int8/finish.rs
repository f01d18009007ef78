//! From exact sums to bytes: multiplied by a factor, rounded half to even, put behind the zero point, saturated.
//!
//! Sum and product are rounded to f32, as in the portable kernel, so both round the same number.

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
const LIMIT: f32 = (1 << 30) as f32;

impl Target {
    /// Sixteen sums of one row, with their bias, as bytes: each is multiplied by `factor`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn bytes(&self, sums: [__m256i; 2], factor: f32) -> __m128i {
        let factor = _mm256_set1_ps(factor);
        self.saturate([scaled(sums[0], factor), scaled(sums[1], factor)])
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
fn scaled(sums: __m256i, factor: __m256) -> __m256i {
    rounded(_mm256_mul_ps(_mm256_cvtepi32_ps(sums), factor))
}

/// Rounds eight floats half to even. A NaN becomes the smallest number.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn rounded(numbers: __m256) -> __m256i {
    _mm256_cvtps_epi32(_mm256_min_ps(_mm256_set1_ps(LIMIT), numbers))
}

/// Stores the first `count` bytes of sixteen.
///
/// # Safety
/// The CPU has AVX2 and FMA; `count` bytes (at most sixteen) are writable at `to`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn store(to: *mut u8, bytes: __m128i, count: usize) {
    // SAFETY: sixteen bytes, or as many in two words as the caller said.
    unsafe {
        if count >= 16 {
            return _mm_storeu_si128(to.cast(), bytes);
        }
        store_word(to, _mm_cvtsi128_si64(bytes) as u64, count.min(8));
        store_word(to.wrapping_add(8), _mm_extract_epi64::<1>(bytes) as u64, count.saturating_sub(8));
    }
}

/// Stores the first `count` bytes of a word of eight.
///
/// # Safety
/// `count` bytes (at most eight) are writable at `to`.
#[inline]
pub(crate) unsafe fn store_word(to: *mut u8, word: u64, count: usize) {
    // SAFETY: eight bytes, or two halves that overlap and end with byte `count`, or single bytes.
    unsafe {
        match count {
            8.. => to.cast::<u64>().write_unaligned(word),
            4..8 => {
                to.cast::<u32>().write_unaligned(word as u32);
                to.add(count - 4).cast::<u32>().write_unaligned((word >> (8 * (count - 4))) as u32);
            }
            _ => (0..count).for_each(|i| to.add(i).write((word >> (8 * i)) as u8)),
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
    // SAFETY: sixteen bytes, or as many as the caller said.
    unsafe { if count >= 16 { _mm_loadu_si128(from.cast()) } else { load_few(from, count) } }
}

/// The same for fewer than sixteen, which are rare: out of the way of the loops.
///
/// # Safety
/// As for [`load_bytes`].
#[cold]
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
unsafe fn load_few(from: *const u8, count: usize) -> __m128i {
    let mut all = [0u8; 16];
    // SAFETY: `all` has room for the bytes, which are fewer than sixteen.
    unsafe {
        std::ptr::copy_nonoverlapping(from, all.as_mut_ptr(), count);
        _mm_loadu_si128(all.as_ptr().cast())
    }
}
