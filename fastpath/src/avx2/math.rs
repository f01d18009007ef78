//! Elementary functions on eight floats at a time, by polynomials. The error of each is stated in units in the last place, and a test holds it to that.
//! NaN stays NaN.

use std::arch::x86_64::*;

#[inline]
#[target_feature(enable = "avx2,fma")]
fn all(value: f32) -> __m256 {
    _mm256_set1_ps(value)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn magnitude(x: __m256) -> __m256 {
    _mm256_andnot_ps(all(-0.0), x)
}

/// The magnitude of `value` with the sign of `sign`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn with_sign(value: __m256, sign: __m256) -> __m256 {
    _mm256_or_ps(magnitude(value), _mm256_and_ps(all(-0.0), sign))
}

/// The value of the polynomial at `x`, highest coefficient first.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn polynomial<const N: usize>(x: __m256, coefficients: [f32; N]) -> __m256 {
    let mut sum = all(coefficients[0]);
    for &coefficient in &coefficients[1..] {
        sum = _mm256_fmadd_ps(sum, x, all(coefficient));
    }
    sum
}

/// `x` between the bounds; a NaN stays.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn limit(x: __m256, low: __m256, high: __m256) -> __m256 {
    // Of two operands of which one is a NaN, these instructions answer the second.
    _mm256_min_ps(high, _mm256_max_ps(low, x))
}

/// [`limit`] for four numbers.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn limit_half(x: __m128, low: __m128, high: __m128) -> __m128 {
    _mm_min_ps(high, _mm_max_ps(low, x))
}

/// The larger one; a NaN wins.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn larger(a: __m256, b: __m256) -> __m256 {
    _mm256_blendv_ps(_mm256_max_ps(a, b), a, _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a))
}

/// The smaller one; a NaN wins.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn smaller(a: __m256, b: __m256) -> __m256 {
    _mm256_blendv_ps(_mm256_min_ps(a, b), a, _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a))
}

/// e to the power of `x`: 1 ulp, also where the result is denormal.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn exp(x: __m256) -> __m256 {
    let (value, factor) = exp_parts(x);
    _mm256_mul_ps(value, factor)
}

/// Natural logarithm: 1 ulp, also where `x` is denormal; NaN below zero.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn log(x: __m256) -> __m256 {
    let is_tiny = _mm256_cmp_ps::<_CMP_LT_OQ>(x, all(f32::MIN_POSITIVE));
    let scaled = _mm256_blendv_ps(x, _mm256_mul_ps(x, all(8_388_608.0)), is_tiny);
    // Mantissa in [sqrt(1/2), sqrt(2)), exponent in whole numbers.
    let root = _mm256_set1_epi32(0x3f35_04f3);
    let bits = _mm256_sub_epi32(_mm256_castps_si256(scaled), root);
    let exponent = _mm256_cvtepi32_ps(_mm256_srai_epi32::<23>(bits));
    let exponent = _mm256_sub_ps(exponent, _mm256_and_ps(is_tiny, all(23.0)));
    let mantissa = _mm256_add_epi32(_mm256_and_si256(bits, _mm256_set1_epi32(0x007f_ffff)), root);
    let m = _mm256_sub_ps(_mm256_castsi256_ps(mantissa), all(1.0));
    let p = polynomial(
        m,
        [
            7.037_683_6e-2,
            -1.151_461e-1,
            1.167_699_9e-1,
            -1.242_014_1e-1,
            1.424_932_3e-1,
            -1.666_805_7e-1,
            2.000_071_5e-1,
            -2.499_999_4e-1,
            3.333_333e-1,
        ],
    );
    let square = _mm256_mul_ps(m, m);
    let y = _mm256_mul_ps(_mm256_mul_ps(p, m), square);
    // ln 2 in two parts, the small one first.
    let y = _mm256_fmadd_ps(exponent, all(-2.121_944_4e-4), y);
    let y = _mm256_fmadd_ps(square, all(-0.5), y);
    let y = _mm256_fmadd_ps(exponent, all(0.693_359_4), _mm256_add_ps(m, y));
    let y = _mm256_blendv_ps(y, all(f32::NEG_INFINITY), _mm256_cmp_ps::<_CMP_EQ_OQ>(x, all(0.0)));
    let y = _mm256_blendv_ps(y, all(f32::NAN), _mm256_cmp_ps::<_CMP_LT_OQ>(x, all(0.0)));
    // Infinity and NaN come back as they are.
    let is_plain = _mm256_cmp_ps::<_CMP_LT_OQ>(x, all(f32::INFINITY));
    _mm256_blendv_ps(_mm256_add_ps(x, x), y, is_plain)
}

/// Two factors of e to the power of `x`, of which each is a normal float: their product alone leaves the range of floats. Below -150 the product is
/// that of -150.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn exp_parts(x: __m256) -> (__m256, __m256) {
    let (power, rest, slope) = reduced(limit(x, all(-150.0), all(89.0)));
    let value = _mm256_fmadd_ps(slope, rest, all(1.0));
    let half = _mm256_srai_epi32::<1>(power);
    (_mm256_mul_ps(value, power_of_two(half)), power_of_two(_mm256_sub_epi32(power, half)))
}

/// Three numbers of which e to the power of `x` is 2 to the power of the first, times 1 + the second times the third.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn reduced(x: __m256) -> (__m256i, __m256, __m256) {
    let power = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(_mm256_mul_ps(
        x,
        all(std::f32::consts::LOG2_E),
    ));
    // ln 2 in two parts: the product with the first is exact inside the fused operation.
    let rest = _mm256_fnmadd_ps(power, all(std::f32::consts::LN_2), x);
    let rest = _mm256_fnmadd_ps(power, all(-1.904_654_3e-9), rest);
    let slope = polynomial(rest, [1.378_059_4e-3, 8.373_124_5e-3, 4.166_953_6e-2, 1.666_647_2e-1, 4.999_998_5e-1, 1.0]);
    (_mm256_cvtps_epi32(power), rest, slope)
}

/// e to the power of `x`, less 1, for numbers up to 0: it does not cancel beside zero. 2 ulp.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn exp_less_one(x: __m256) -> __m256 {
    // Below -30 the result is -1.
    let (power, rest, slope) = reduced(limit(x, all(-30.0), all(0.0)));
    let factor = power_of_two(power);
    _mm256_fmadd_ps(_mm256_mul_ps(slope, rest), factor, _mm256_sub_ps(factor, all(1.0)))
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn power_of_two(power: __m256i) -> __m256 {
    _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(power, _mm256_set1_epi32(127))))
}

/// 1 / (1 + e^-x): 3 ulp.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn sigmoid(x: __m256) -> __m256 {
    sigmoid_times(x, all(1.0))
}

/// `y` / (1 + e^-x): 4 ulp, also where the quotient is denormal and `y` is large.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn sigmoid_times(x: __m256, y: __m256) -> __m256 {
    // The exponential of something negative: small results keep their precision.
    let (value, factor) = exp_parts(_mm256_or_ps(x, all(-0.0)));
    let small = _mm256_mul_ps(value, factor);
    let numerator = _mm256_blendv_ps(all(1.0), value, x);
    let numerator = _mm256_andnot_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(x, all(-150.0)), numerator);
    let quotient = _mm256_div_ps(_mm256_mul_ps(y, numerator), _mm256_add_ps(all(1.0), small));
    _mm256_mul_ps(quotient, _mm256_blendv_ps(all(1.0), factor, x))
}

/// Hyperbolic tangent: 2 ulp.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn tanh(x: __m256) -> __m256 {
    let t = magnitude(x);
    let e = exp(_mm256_add_ps(t, t));
    let far = _mm256_sub_ps(all(1.0), _mm256_div_ps(all(2.0), _mm256_add_ps(e, all(1.0))));
    let square = _mm256_mul_ps(x, x);
    let odd = polynomial(square, [-5.704_988_7e-3, 2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1]);
    let near = _mm256_fmadd_ps(_mm256_mul_ps(odd, square), x, x);
    let is_near = _mm256_cmp_ps::<_CMP_LT_OQ>(t, all(0.625));
    _mm256_blendv_ps(with_sign(far, x), near, is_near)
}

/// The error function: 2 ulp.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn erf(x: __m256) -> __m256 {
    // From 4 on the result is 1.
    let t = _mm256_min_ps(all(4.0), magnitude(x));
    let square = _mm256_mul_ps(t, t);
    let high = _mm256_fmadd_ps(all(-1.728_534_7e-5), t, all(3.831_979_7e-4));
    let low = _mm256_fmadd_ps(all(-3.883_964_4e-3), t, all(2.425_462_2e-2));
    let power = _mm256_fmadd_ps(high, square, low);
    let power = _mm256_fmadd_ps(power, t, all(-1.067_778_8e-1));
    let power = _mm256_fmadd_ps(power, t, all(-6.348_468_7e-1));
    let power = _mm256_fmadd_ps(power, t, all(-1.287_175_1e-1));
    let power = _mm256_fmsub_ps(power, t, t);
    let far = _mm256_sub_ps(all(1.0), exp(power));
    let even = polynomial(
        square,
        [-5.967_617e-4, 4.991_194_2e-3, -2.676_813_5e-2, 1.128_199_2e-1, -3.761_253_4e-1, 1.283_791_7e-1],
    );
    let near = _mm256_fmadd_ps(even, x, x);
    let is_near = _mm256_cmp_ps::<_CMP_LE_OQ>(t, all(0.927_734_4));
    _mm256_blendv_ps(with_sign(far, x), near, is_near)
}

/// 0.5 x (1 + erf(x / sqrt 2)): 8 ulp where the result is normal, on both sides of zero.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn gelu(x: __m256) -> __m256 {
    // x Phi(x) = max(x, 0) - t Phi(-t) with t = |x|, and Phi(-t) = e^(-t^2 / 2) Q(t) / 2. From 15 on the product is zero.
    let t = _mm256_min_ps(all(15.0), magnitude(x));
    let half = _mm256_mul_ps(all(0.5), t);
    let square = _mm256_mul_ps(half, t);
    // What rounding took from the square, for the exponential would multiply it.
    let lost = _mm256_fmsub_ps(half, t, square);
    let power = exp(_mm256_xor_ps(all(-0.0), square));
    let power = _mm256_fnmadd_ps(power, lost, power);
    // A minimax fit of e^(z^2) erfc(z) in 1 / (1 + z / 2), z = t / sqrt 2, to 3.4e-8 of its value.
    let place = _mm256_div_ps(all(1.0), _mm256_fmadd_ps(t, all(0.353_553_4), all(1.0)));
    let q = polynomial(
        place,
        [
            -0.055_536_96,
            0.266_432_23,
            -0.447_149_37,
            0.228_359_3,
            0.011_467_714,
            0.184_060_41,
            0.248_894_84,
            0.281_274_8,
            0.282_202_15,
            -5.124_144_5e-6,
        ],
    );
    let positive = _mm256_max_ps(_mm256_setzero_ps(), x);
    _mm256_fnmadd_ps(_mm256_mul_ps(half, q), power, positive)
}

/// The usual approximation of [`gelu`] by a hyperbolic tangent, which is x sigmoid(2 u): 8 ulp from -2 on, and 180 ulp out
/// to where the result is denormal, because the exponential multiplies what rounding took from its argument.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn gelu_tanh(x: __m256) -> __m256 {
    let square = _mm256_mul_ps(x, x);
    let factor = _mm256_fmadd_ps(square, all(2.0 * 0.797_884_6 * 0.044_715), all(2.0 * 0.797_884_6));
    sigmoid_times(_mm256_mul_ps(x, factor), x)
}
