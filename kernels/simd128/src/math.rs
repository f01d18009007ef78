//! Vector forms of exp, log, tanh, erf and sigmoid: polynomials after range reduction.
//!
//! Largest errors seen in two million arguments each, over the whole range and around zero, with a fused multiply-add: exp, log and erf 1 ULP, tanh
//! and sigmoid 2 ULP, denormal results included. The table claims 4, for processors where the relaxed multiply-add rounds twice.

use crate::vector::{add, at_least, at_most, div, fma, mul, select, splat, sub, v128};
use core::arch::wasm32::*;

/// e to the power of each lane.
#[inline(always)]
pub(crate) fn exp(x: v128) -> v128 {
    // Beyond these the result is infinite or zero anyway; inside, both halves of the exponent are in range.
    let (n, p) = reduced(at_least(at_most(x, splat(89.0)), splat(-104.5)));
    let p = add(p, splat(1.0));
    // Two steps, so that overflow gives infinity and underflow a denormal. NaN converts to 0, and stays NaN through `p`.
    let half = i32x4_shr(n, 1);
    mul(mul(p, power_of_two(half)), power_of_two(i32x4_sub(n, half)))
}

/// e to the power of each lane, less 1, for numbers up to 0: it does not cancel beside zero.
#[inline(always)]
pub(crate) fn exp_less_one(x: v128) -> v128 {
    // Below -30 the result is -1.
    let (n, p) = reduced(at_least(at_most(x, splat(0.0)), splat(-30.0)));
    let factor = power_of_two(n);
    fma(p, factor, sub(factor, splat(1.0)))
}

/// Two numbers of which e to the power of `x` is 2 to the power of the first, times 1 + the second.
#[inline(always)]
fn reduced(x: v128) -> (v128, v128) {
    let n = f32x4_nearest(mul(x, splat(core::f32::consts::LOG2_E)));
    let r = fma(n, splat(-0.693_359_4), x);
    let r = fma(n, splat(2.121_944_4e-4), r);
    let mut p = splat(1.987_569_1e-4);
    for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = fma(p, r, splat(c));
    }
    (i32x4_trunc_sat_f32x4(n), fma(p, mul(r, r), r))
}

#[inline(always)]
fn power_of_two(n: v128) -> v128 {
    i32x4_shl(i32x4_add(n, i32x4_splat(127)), 23)
}

/// Natural logarithm of each lane.
#[inline(always)]
pub(crate) fn log(x: v128) -> v128 {
    let tiny = f32x4_lt(x, splat(f32::MIN_POSITIVE));
    let scaled = select(tiny, mul(x, splat(8_388_608.0)), x);
    // Mantissa in [sqrt(1/2), sqrt(2)), exponent in whole numbers.
    let bits = i32x4_sub(scaled, i32x4_splat(0x3f35_04f3));
    let exponent = f32x4_convert_i32x4(i32x4_shr(bits, 23));
    let exponent = sub(exponent, v128_and(tiny, splat(23.0)));
    let mantissa = i32x4_add(v128_and(bits, i32x4_splat(0x007f_ffff)), i32x4_splat(0x3f35_04f3));
    let m = sub(mantissa, splat(1.0));
    let mut p = splat(7.037_683_6e-2);
    for c in [
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_7e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ] {
        p = fma(p, m, splat(c));
    }
    let square = mul(m, m);
    let y = mul(mul(p, m), square);
    let y = fma(exponent, splat(-2.121_944_4e-4), y);
    let y = fma(square, splat(-0.5), y);
    let y = fma(exponent, splat(0.693_359_4), add(m, y));
    let y = select(f32x4_eq(x, splat(0.0)), splat(f32::NEG_INFINITY), y);
    let y = select(f32x4_lt(x, splat(0.0)), splat(f32::NAN), y);
    // Infinity and NaN come back as they are.
    select(f32x4_lt(x, splat(f32::INFINITY)), y, add(x, x))
}

/// `1 / (1 + exp(-x))`, in the form that neither overflows nor loses small results.
#[inline(always)]
pub(crate) fn sigmoid(x: v128) -> v128 {
    let e = exp(f32x4_neg(f32x4_abs(x)));
    div(select(f32x4_lt(x, splat(0.0)), e, splat(1.0)), add(splat(1.0), e))
}

/// Hyperbolic tangent of each lane.
#[inline(always)]
pub(crate) fn tanh(x: v128) -> v128 {
    let sign = v128_and(x, splat(-0.0));
    let size = f32x4_abs(x);
    let s = mul(x, x);
    let mut p = splat(1.573_944e-2);
    for c in [-5.230_256e-2, 1.331_524_7e-1, -3.333_276_8e-1] {
        p = fma(p, s, splat(c));
    }
    // The sign once more, for negative zero.
    let small = v128_or(fma(mul(p, s), x, x), sign);
    let e = exp(add(size, size));
    let large = sub(splat(1.0), div(splat(2.0), add(e, splat(1.0))));
    let large = v128_or(large, sign);
    // A NaN compares false and takes `large`, which it has made NaN.
    select(f32x4_lt(size, splat(0.55)), small, large)
}

/// Error function of each lane.
#[inline(always)]
pub(crate) fn erf(x: v128) -> v128 {
    let sign = v128_and(x, splat(-0.0));
    let t = f32x4_abs(x);
    let s = mul(x, x);
    let mut small = splat(-5.967_617e-4);
    for c in [4.991_194_2e-3, -2.676_813_5e-2, 1.128_199_25e-1, -3.761_253_4e-1, 1.283_791_7e-1] {
        small = fma(small, s, splat(c));
    }
    let small = fma(small, x, x);
    // Beyond 4 the result is 1; the polynomial is used no further, so that it cannot overflow.
    let t = at_most(t, splat(4.0));
    let s = mul(t, t);
    let r = fma(splat(-1.728_534_7e-5), t, splat(3.831_974_3e-4));
    let u = fma(splat(-3.883_964_4e-3), t, splat(2.425_462_2e-2));
    let mut r = fma(r, s, u);
    for c in [-1.067_778_8e-1, -6.348_467e-1, -1.287_175_1e-1] {
        r = fma(r, t, splat(c));
    }
    let r = fma(r, t, f32x4_neg(t));
    let large = v128_or(sub(splat(1.0), exp(r)), sign);
    select(f32x4_lt(f32x4_abs(x), splat(0.927_734_4)), small, large)
}

/// `x (1 + erf(x / sqrt 2)) / 2` of each lane, with a relative error of its own on both sides of zero: `1 + erf` would cancel on the left.
#[inline(always)]
pub(crate) fn gelu(x: v128) -> v128 {
    // x Phi(x) = max(x, 0) - t Phi(-t) with t = |x|, and Phi(-t) = e^(-t^2 / 2) Q(t) / 2. From 15 on the product is zero.
    let t = at_most(f32x4_abs(x), splat(15.0));
    let half = mul(t, splat(0.5));
    let square = mul(half, t);
    // What rounding took from the square, for the exponential would multiply it.
    let lost = fma(half, t, f32x4_neg(square));
    let power = exp(f32x4_neg(square));
    let power = fma(f32x4_neg(power), lost, power);
    // The minimax fit of e^(z^2) erfc(z) in 1 / (1 + z / 2), z = t / sqrt 2, that the host's fast path uses, too.
    let place = div(splat(1.0), fma(t, splat(0.353_553_4), splat(1.0)));
    let mut q = splat(-0.055_536_96);
    for c in [
        0.266_432_23,
        -0.447_149_37,
        0.228_359_3,
        0.011_467_714,
        0.184_060_41,
        0.248_894_84,
        0.281_274_8,
        0.282_202_15,
        -5.124_144_5e-6,
    ] {
        q = fma(q, place, splat(c));
    }
    let tail = mul(mul(half, q), power);
    sub(at_least(x, splat(0.0)), tail)
}
