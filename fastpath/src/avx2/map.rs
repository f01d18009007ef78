//! Activations over a stretch of memory.

use super::{lanes, math};
use crate::activation::Activation;
use std::arch::x86_64::*;

/// Writes the function of each of the `len` floats at `from` to `to`.
///
/// # Safety
/// The CPU has AVX2 and FMA; `len` floats are readable at `from` and writable at `to`; the two are equal or do not overlap.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn apply(activation: Activation, from: *const f32, to: *mut f32, len: usize) {
    let zero = _mm256_setzero_ps();
    let all = |value: f32| _mm256_set1_ps(value);
    let is_negative = |x: __m256| _mm256_cmp_ps::<_CMP_LT_OQ>(x, zero);
    // SAFETY: the caller's promise is that of `each`.
    unsafe {
        match activation {
            Activation::Relu => each(from, to, len, |x| _mm256_max_ps(zero, x)),
            Activation::LeakyRelu { alpha } => {
                each(from, to, len, |x| _mm256_blendv_ps(x, _mm256_mul_ps(x, all(alpha)), is_negative(x)));
            }
            Activation::Clip { low, high } => each(from, to, len, |x| math::limit(x, all(low), all(high))),
            Activation::HardSigmoid { alpha, beta } => each(from, to, len, |x| {
                math::limit(_mm256_add_ps(_mm256_mul_ps(x, all(alpha)), all(beta)), zero, all(1.0))
            }),
            Activation::HardSwish => each(from, to, len, |x| {
                let gate = _mm256_add_ps(_mm256_mul_ps(x, all(1.0 / 6.0)), all(0.5));
                _mm256_mul_ps(x, math::limit(gate, zero, all(1.0)))
            }),
            Activation::Sigmoid => each(from, to, len, |x| math::sigmoid(x)),
            Activation::Tanh => each(from, to, len, |x| math::tanh(x)),
            Activation::Gelu => each(from, to, len, |x| math::gelu(x)),
            Activation::GeluTanh => each(from, to, len, |x| math::gelu_tanh(x)),
            Activation::Swish { alpha } => {
                each(from, to, len, |x| math::sigmoid_times(_mm256_mul_ps(x, all(alpha)), x));
            }
            Activation::Elu { alpha } => each(from, to, len, |x| {
                let below = _mm256_mul_ps(all(alpha), math::exp_less_one(x));
                _mm256_blendv_ps(x, below, is_negative(x))
            }),
            Activation::Erf => each(from, to, len, |x| math::erf(x)),
            Activation::Exp => each(from, to, len, |x| math::exp(x)),
            Activation::Sqrt => each(from, to, len, |x| _mm256_sqrt_ps(x)),
            Activation::Reciprocal => each(from, to, len, |x| _mm256_div_ps(all(1.0), x)),
            Activation::Abs => each(from, to, len, |x| _mm256_andnot_ps(all(-0.0), x)),
            Activation::Neg => each(from, to, len, |x| _mm256_xor_ps(all(-0.0), x)),
            Activation::Affine { alpha, beta } => each(from, to, len, |x| _mm256_fmadd_ps(x, all(alpha), all(beta))),
            Activation::Log => each(from, to, len, |x| math::log(x)),
        }
    }
}

/// Writes `function` of each of the `len` floats at `from` to `to`.
///
/// # Safety
/// As for [`apply`].
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn each(from: *const f32, to: *mut f32, len: usize, function: impl Fn(__m256) -> __m256) {
    // SAFETY: `vectors` names positions whose eight (or masked) elements lie below `len`.
    lanes::vectors(
        len,
        |at| unsafe { _mm256_storeu_ps(to.add(at), function(_mm256_loadu_ps(from.add(at)))) },
        |at, mask, count| unsafe {
            let x = _mm256_maskload_ps(from.add(at), mask);
            lanes::store_first(to.add(at), function(x), count);
        },
    );
}

/// Writes `function` of each pair of floats at `left` and `right` to `to`.
///
/// # Safety
/// The CPU has AVX2 and FMA; `len` floats are readable at `left` and `right` and writable at `to`, which equals or does not overlap each of them.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn each_pair(
    left: *const f32,
    right: *const f32,
    to: *mut f32,
    len: usize,
    function: impl Fn(__m256, __m256) -> __m256,
) {
    // SAFETY: as in `each`.
    lanes::vectors(
        len,
        |at| unsafe {
            let value = function(_mm256_loadu_ps(left.add(at)), _mm256_loadu_ps(right.add(at)));
            _mm256_storeu_ps(to.add(at), value);
        },
        |at, mask, count| unsafe {
            let value = function(_mm256_maskload_ps(left.add(at), mask), _mm256_maskload_ps(right.add(at), mask));
            lanes::store_first(to.add(at), value, count);
        },
    );
}
