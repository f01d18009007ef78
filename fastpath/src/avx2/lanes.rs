//! Vectors of eight floats at raw addresses, whole or in part.

use std::arch::x86_64::*;

/// Floats in a vector.
pub(crate) const LANES: usize = 8;

/// All bits set in the first `count` lanes; in all from eight on.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn first(count: usize) -> __m256i {
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_cmpgt_epi32(_mm256_set1_epi32(count.min(LANES) as i32), lanes)
}

/// Stores the first `count` lanes: by halves, because a masked store takes many times as long on some machines.
///
/// # Safety
/// The CPU has AVX2 and FMA; `count` floats, at most seven, are writable at `to`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn store_first(to: *mut f32, value: __m256, count: usize) {
    let mut at = 0;
    let mut rest = _mm256_castps256_ps128(value);
    // SAFETY: the three stores cover `count & 4`, then `count & 2`, then `count & 1` floats, one behind the other.
    unsafe {
        if count & 4 != 0 {
            _mm_storeu_ps(to, rest);
            rest = _mm256_extractf128_ps::<1>(value);
            at = 4;
        }
        if count & 2 != 0 {
            _mm_storel_pd(to.add(at).cast(), _mm_castps_pd(rest));
            rest = _mm_movehl_ps(rest, rest);
            at += 2;
        }
        if count & 1 != 0 {
            _mm_store_ss(to.add(at), rest);
        }
    }
}

/// The sum of all lanes, in a fixed order.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn sum(v: __m256) -> f32 {
    let half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
    _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)))
}

/// The largest lane; a NaN anywhere may or may not win.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn largest(v: __m256) -> f32 {
    let half = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let pair = _mm_max_ps(half, _mm_movehl_ps(half, half));
    _mm_cvtss_f32(_mm_max_ss(pair, _mm_movehdup_ps(pair)))
}

/// Calls `whole` with the start of every whole vector of `0..len`, then `part` with that of the last, partial one, its mask and the number of its
/// elements.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn vectors(len: usize, mut whole: impl FnMut(usize), mut part: impl FnMut(usize, __m256i, usize)) {
    let mut at = 0;
    while at + LANES <= len {
        whole(at);
        at += LANES;
    }
    if at < len {
        part(at, first(len - at), len - at);
    }
}

/// Eight vectors as the rows of a square, answered as its columns.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn transposed(rows: [__m256; LANES]) -> [__m256; LANES] {
    let [a, b, c, d, e, f, g, h] = rows;
    // Pairs of rows, then fours, then halves.
    let (ab0, ab1) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    let (cd0, cd1) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    let (ef0, ef1) = (_mm256_unpacklo_ps(e, f), _mm256_unpackhi_ps(e, f));
    let (gh0, gh1) = (_mm256_unpacklo_ps(g, h), _mm256_unpackhi_ps(g, h));
    let upper = [
        _mm256_shuffle_ps::<0x44>(ab0, cd0),
        _mm256_shuffle_ps::<0xEE>(ab0, cd0),
        _mm256_shuffle_ps::<0x44>(ab1, cd1),
        _mm256_shuffle_ps::<0xEE>(ab1, cd1),
    ];
    let lower = [
        _mm256_shuffle_ps::<0x44>(ef0, gh0),
        _mm256_shuffle_ps::<0xEE>(ef0, gh0),
        _mm256_shuffle_ps::<0x44>(ef1, gh1),
        _mm256_shuffle_ps::<0xEE>(ef1, gh1),
    ];
    [
        _mm256_permute2f128_ps::<0x20>(upper[0], lower[0]),
        _mm256_permute2f128_ps::<0x20>(upper[1], lower[1]),
        _mm256_permute2f128_ps::<0x20>(upper[2], lower[2]),
        _mm256_permute2f128_ps::<0x20>(upper[3], lower[3]),
        _mm256_permute2f128_ps::<0x31>(upper[0], lower[0]),
        _mm256_permute2f128_ps::<0x31>(upper[1], lower[1]),
        _mm256_permute2f128_ps::<0x31>(upper[2], lower[2]),
        _mm256_permute2f128_ps::<0x31>(upper[3], lower[3]),
    ]
}
