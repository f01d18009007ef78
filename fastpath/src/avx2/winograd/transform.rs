//! The small transforms of Winograd's minimal filtering: F(2, 3) on patches of 4 and F(4, 3) on patches of 6.
//!
//! In one dimension `P - 2` outputs of a filter with 3 taps cost `P` multiplications: `y = outputs(filter(g) * patch(d))`. Nested, they give
//! `(P - 2)²` outputs of a 3 x 3 filter for `P²` multiplications: 2.25 and 4 times fewer than the direct sum. The matrices are those of Lavin and
//! Gray, "Fast Algorithms for Convolutional Neural Networks" (2015), with the points 0, 1, -1 (and 2, -2) and infinity.

use super::super::micro::ROWS;
use std::arch::x86_64::*;

/// Most outputs of a tile in one dimension.
pub(super) const OUTPUTS_MAX: usize = 4;

/// What a patch goes through along one axis.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn patch<const P: usize>(d: [__m256; P]) -> [__m256; P] {
    let mut v = [_mm256_setzero_ps(); P];
    if P == 6 {
        let four = _mm256_set1_ps(4.0);
        // d4 - 4 d2, d3 - 4 d1, d4 - d2 and 2 (d3 - d1) occur in two rows each.
        let even = _mm256_fnmadd_ps(four, d[2], d[4]);
        let odd = _mm256_fnmadd_ps(four, d[1], d[3]);
        let near = _mm256_sub_ps(d[4], d[2]);
        let apart = _mm256_sub_ps(d[3], d[1]);
        let far = _mm256_add_ps(apart, apart);
        let five = _mm256_set1_ps(5.0);
        v[0] = _mm256_fmadd_ps(four, d[0], _mm256_fnmadd_ps(five, d[2], d[4]));
        v[1] = _mm256_add_ps(even, odd);
        v[2] = _mm256_sub_ps(even, odd);
        v[3] = _mm256_add_ps(near, far);
        v[4] = _mm256_sub_ps(near, far);
        v[5] = _mm256_fmadd_ps(four, d[1], _mm256_fnmadd_ps(five, d[3], d[5]));
    } else {
        v[0] = _mm256_sub_ps(d[0], d[2]);
        v[1] = _mm256_add_ps(d[1], d[2]);
        v[2] = _mm256_sub_ps(d[2], d[1]);
        v[3] = _mm256_sub_ps(d[1], d[3]);
    }
    v
}

/// What the products go through along one axis: the first `P - 2` are outputs, the others zero.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn outputs<const P: usize>(m: [__m256; P]) -> [__m256; OUTPUTS_MAX] {
    let (sum, difference) = (_mm256_add_ps(m[1], m[2]), _mm256_sub_ps(m[1], m[2]));
    if P == 6 {
        let (far_sum, far_difference) = (_mm256_add_ps(m[3], m[4]), _mm256_sub_ps(m[3], m[4]));
        [
            _mm256_add_ps(_mm256_add_ps(m[0], sum), far_sum),
            _mm256_fmadd_ps(_mm256_set1_ps(2.0), far_difference, difference),
            _mm256_fmadd_ps(_mm256_set1_ps(4.0), far_sum, sum),
            _mm256_add_ps(_mm256_fmadd_ps(_mm256_set1_ps(8.0), far_difference, difference), m[5]),
        ]
    } else {
        let zero = _mm256_setzero_ps();
        [_mm256_add_ps(m[0], sum), _mm256_sub_ps(difference, m[3]), zero, zero]
    }
}

/// One number for each row of a tile of filters, in double precision because filters are transformed once.
pub(super) type Rows = [f64; ROWS];

/// What a filter goes through along one axis.
#[inline]
pub(super) fn filter<const P: usize>(g: [Rows; 3]) -> [Rows; P] {
    let mut v = [[0.0; ROWS]; P];
    for r in 0..ROWS {
        let outer = g[0][r] + g[2][r];
        if P == 6 {
            let wide = g[0][r] / 24.0 + g[2][r] / 6.0;
            v[0][r] = g[0][r] / 4.0;
            v[1][r] = -(outer + g[1][r]) / 6.0;
            v[2][r] = -(outer - g[1][r]) / 6.0;
            v[3][r] = wide + g[1][r] / 12.0;
            v[4][r] = wide - g[1][r] / 12.0;
        } else {
            v[0][r] = g[0][r];
            v[1][r] = (outer + g[1][r]) / 2.0;
            v[2][r] = (outer - g[1][r]) / 2.0;
        }
        v[P - 1][r] = g[2][r];
    }
    v
}
