//! Elementary functions on four floats at a time: the polynomials of `avx2/math.rs`, by the same operations in the same order. The error of each is stated in
//! units in the last place, and a test holds it to that. NaN stays NaN.

use std::arch::aarch64::*;

#[inline]
#[target_feature(enable = "neon")]
fn all(value: f32) -> float32x4_t {
    vdupq_n_f32(value)
}

/// `a * b + c`, rounded once.
#[inline]
#[target_feature(enable = "neon")]
fn fused(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
    vfmaq_f32(c, a, b)
}

/// `c - a * b`, rounded once.
#[inline]
#[target_feature(enable = "neon")]
fn fused_less(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
    vfmsq_f32(c, a, b)
}

/// The magnitude of `value` with the sign of `sign`.
#[inline]
#[target_feature(enable = "neon")]
fn with_sign(value: float32x4_t, sign: float32x4_t) -> float32x4_t {
    vbslq_f32(vdupq_n_u32(0x8000_0000), sign, value)
}

/// Where the sign bit is set, also that of a zero or a NaN.
#[inline]
#[target_feature(enable = "neon")]
fn has_sign(x: float32x4_t) -> uint32x4_t {
    vcltzq_s32(vreinterpretq_s32_f32(x))
}

/// The value of the polynomial at `x`, highest coefficient first.
#[inline]
#[target_feature(enable = "neon")]
fn polynomial<const N: usize>(x: float32x4_t, coefficients: [f32; N]) -> float32x4_t {
    let mut sum = all(coefficients[0]);
    for &coefficient in &coefficients[1..] {
        sum = fused(sum, x, all(coefficient));
    }
    sum
}

/// `x` between the bounds; a NaN stays.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn limit(x: float32x4_t, low: float32x4_t, high: float32x4_t) -> float32x4_t {
    // A comparison with a NaN is false.
    let x = vbslq_f32(vcltq_f32(x, low), low, x);
    vbslq_f32(vcgtq_f32(x, high), high, x)
}

/// e to the power of `x`: 1 ulp, also where the result is denormal.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn exp(x: float32x4_t) -> float32x4_t {
    let (value, factor) = exp_parts(x);
    vmulq_f32(value, factor)
}

/// Natural logarithm: 1 ulp, also where `x` is denormal; NaN below zero.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn log(x: float32x4_t) -> float32x4_t {
    let is_tiny = vcltq_f32(x, all(f32::MIN_POSITIVE));
    let scaled = vbslq_f32(is_tiny, vmulq_f32(x, all(8_388_608.0)), x);
    // Mantissa in [sqrt(1/2), sqrt(2)), exponent in whole numbers.
    let root = vdupq_n_s32(0x3f35_04f3);
    let bits = vsubq_s32(vreinterpretq_s32_f32(scaled), root);
    let exponent = vcvtq_f32_s32(vshrq_n_s32::<23>(bits));
    let exponent = vsubq_f32(exponent, vbslq_f32(is_tiny, all(23.0), all(0.0)));
    let mantissa = vaddq_s32(vandq_s32(bits, vdupq_n_s32(0x007f_ffff)), root);
    let m = vsubq_f32(vreinterpretq_f32_s32(mantissa), all(1.0));
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
    let square = vmulq_f32(m, m);
    let y = vmulq_f32(vmulq_f32(p, m), square);
    // ln 2 in two parts, the small one first.
    let y = fused(exponent, all(-2.121_944_4e-4), y);
    let y = fused(square, all(-0.5), y);
    let y = fused(exponent, all(0.693_359_4), vaddq_f32(m, y));
    let y = vbslq_f32(vceqzq_f32(x), all(f32::NEG_INFINITY), y);
    let y = vbslq_f32(vcltzq_f32(x), all(f32::NAN), y);
    // Infinity and NaN come back as they are.
    vbslq_f32(vcltq_f32(x, all(f32::INFINITY)), y, vaddq_f32(x, x))
}

/// Two factors of e to the power of `x`, of which each is a normal float: their product alone leaves the range of floats. Below -150 the product is
/// that of -150.
#[inline]
#[target_feature(enable = "neon")]
fn exp_parts(x: float32x4_t) -> (float32x4_t, float32x4_t) {
    let (power, rest, slope) = reduced(limit(x, all(-150.0), all(89.0)));
    let value = fused(slope, rest, all(1.0));
    let half = vshrq_n_s32::<1>(power);
    (vmulq_f32(value, power_of_two(half)), power_of_two(vsubq_s32(power, half)))
}

/// Three numbers of which e to the power of `x` is 2 to the power of the first, times 1 + the second times the third.
#[inline]
#[target_feature(enable = "neon")]
fn reduced(x: float32x4_t) -> (int32x4_t, float32x4_t, float32x4_t) {
    let power = vrndnq_f32(vmulq_f32(x, all(std::f32::consts::LOG2_E)));
    // ln 2 in two parts: the product with the first is exact inside the fused operation.
    let rest = fused_less(power, all(std::f32::consts::LN_2), x);
    let rest = fused_less(power, all(-1.904_654_3e-9), rest);
    let slope = polynomial(rest, [1.378_059_4e-3, 8.373_124_5e-3, 4.166_953_6e-2, 1.666_647_2e-1, 4.999_998_5e-1, 1.0]);
    (vcvtq_s32_f32(power), rest, slope)
}

/// e to the power of `x`, less 1, for numbers up to 0: it does not cancel beside zero. 2 ulp.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn exp_less_one(x: float32x4_t) -> float32x4_t {
    // Below -30 the result is -1.
    let (power, rest, slope) = reduced(limit(x, all(-30.0), all(0.0)));
    let factor = power_of_two(power);
    fused(vmulq_f32(slope, rest), factor, vsubq_f32(factor, all(1.0)))
}

#[inline]
#[target_feature(enable = "neon")]
fn power_of_two(power: int32x4_t) -> float32x4_t {
    vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(power, vdupq_n_s32(127))))
}

/// 1 / (1 + e^-x): 3 ulp.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn sigmoid(x: float32x4_t) -> float32x4_t {
    sigmoid_times(x, all(1.0))
}

/// `y` / (1 + e^-x): 4 ulp, also where the quotient is denormal and `y` is large.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn sigmoid_times(x: float32x4_t, y: float32x4_t) -> float32x4_t {
    // The exponential of something negative: small results keep their precision.
    let (value, factor) = exp_parts(vnegq_f32(vabsq_f32(x)));
    let small = vmulq_f32(value, factor);
    let numerator = vbslq_f32(has_sign(x), value, all(1.0));
    let numerator = vbslq_f32(vcltq_f32(x, all(-150.0)), all(0.0), numerator);
    let quotient = vdivq_f32(vmulq_f32(y, numerator), vaddq_f32(all(1.0), small));
    vmulq_f32(quotient, vbslq_f32(has_sign(x), factor, all(1.0)))
}

/// Hyperbolic tangent: 2 ulp.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn tanh(x: float32x4_t) -> float32x4_t {
    let t = vabsq_f32(x);
    let e = exp(vaddq_f32(t, t));
    let far = vsubq_f32(all(1.0), vdivq_f32(all(2.0), vaddq_f32(e, all(1.0))));
    let square = vmulq_f32(x, x);
    let odd = polynomial(square, [-5.704_988_7e-3, 2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1]);
    let near = fused(vmulq_f32(odd, square), x, x);
    vbslq_f32(vcltq_f32(t, all(0.625)), near, with_sign(far, x))
}

/// The error function: 2 ulp.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn erf(x: float32x4_t) -> float32x4_t {
    // From 4 on the result is 1.
    let t = limit(vabsq_f32(x), all(0.0), all(4.0));
    let square = vmulq_f32(t, t);
    let high = fused(all(-1.728_534_7e-5), t, all(3.831_979_7e-4));
    let low = fused(all(-3.883_964_4e-3), t, all(2.425_462_2e-2));
    let power = fused(high, square, low);
    let power = fused(power, t, all(-1.067_778_8e-1));
    let power = fused(power, t, all(-6.348_468_7e-1));
    let power = fused(power, t, all(-1.287_175_1e-1));
    let power = fused(power, t, vnegq_f32(t));
    let far = vsubq_f32(all(1.0), exp(power));
    let even = polynomial(
        square,
        [-5.967_617e-4, 4.991_194_2e-3, -2.676_813_5e-2, 1.128_199_2e-1, -3.761_253_4e-1, 1.283_791_7e-1],
    );
    let near = fused(even, x, x);
    vbslq_f32(vcleq_f32(t, all(0.927_734_4)), near, with_sign(far, x))
}

/// 0.5 x (1 + erf(x / sqrt 2)): 8 ulp where the result is normal, on both sides of zero.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn gelu(x: float32x4_t) -> float32x4_t {
    // x Phi(x) = max(x, 0) - t Phi(-t) with t = |x|, and Phi(-t) = e^(-t^2 / 2) Q(t) / 2. From 15 on the product is zero.
    let t = limit(vabsq_f32(x), all(0.0), all(15.0));
    let half = vmulq_f32(all(0.5), t);
    let square = vmulq_f32(half, t);
    // What rounding took from the square, for the exponential would multiply it.
    let lost = fused(half, t, vnegq_f32(square));
    let power = exp(vnegq_f32(square));
    let power = fused_less(power, lost, power);
    // A minimax fit of e^(z^2) erfc(z) in 1 / (1 + z / 2), z = t / sqrt 2, to 3.4e-8 of its value.
    let place = vdivq_f32(all(1.0), fused(t, all(0.353_553_4), all(1.0)));
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
    fused_less(vmulq_f32(half, q), power, vmaxq_f32(all(0.0), x))
}

/// The usual approximation of [`gelu`] by a hyperbolic tangent, which is x sigmoid(2 u): 8 ulp from -2 on, and 180 ulp out
/// to where the result is denormal, because the exponential multiplies what rounding took from its argument.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn gelu_tanh(x: float32x4_t) -> float32x4_t {
    let square = vmulq_f32(x, x);
    let factor = fused(square, all(2.0 * 0.797_884_6 * 0.044_715), all(2.0 * 0.797_884_6));
    sigmoid_times(vmulq_f32(x, factor), x)
}
