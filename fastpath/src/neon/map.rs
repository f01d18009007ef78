//! Functions over stretches of memory.

use super::lanes;
use super::math;
use crate::activation::Activation;
use std::arch::aarch64::*;

/// Writes the function of each of the `len` floats at `from` to `to`.
///
/// # Safety
/// The CPU has NEON; `len` floats are readable at `from` and writable at `to`; the two are equal or do not overlap.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn apply(activation: Activation, from: *const f32, to: *mut f32, len: usize) {
    let zero = vdupq_n_f32(0.0);
    let all = |value: f32| vdupq_n_f32(value);
    // SAFETY: the caller's promise is that of `each`.
    unsafe {
        match activation {
            // A NaN stays, and so does the sign of a zero.
            Activation::Relu => each(from, to, len, |x| vbslq_f32(vcltzq_f32(x), zero, x)),
            Activation::LeakyRelu { alpha } => {
                each(from, to, len, |x| vbslq_f32(vcltzq_f32(x), vmulq_f32(x, all(alpha)), x));
            }
            Activation::Clip { low, high } => each(from, to, len, |x| math::limit(x, all(low), all(high))),
            Activation::HardSigmoid { alpha, beta } => {
                each(from, to, len, |x| math::limit(vaddq_f32(vmulq_f32(x, all(alpha)), all(beta)), zero, all(1.0)))
            }
            Activation::HardSwish => each(from, to, len, |x| {
                let gate = vaddq_f32(vmulq_f32(x, all(1.0 / 6.0)), all(0.5));
                vmulq_f32(x, math::limit(gate, zero, all(1.0)))
            }),
            Activation::Sigmoid => each(from, to, len, |x| math::sigmoid(x)),
            Activation::Tanh => each(from, to, len, |x| math::tanh(x)),
            Activation::Gelu => each(from, to, len, |x| math::gelu(x)),
            Activation::GeluTanh => each(from, to, len, |x| math::gelu_tanh(x)),
            Activation::Swish { alpha } => {
                each(from, to, len, |x| math::sigmoid_times(vmulq_f32(x, all(alpha)), x));
            }
            Activation::Elu { alpha } => each(from, to, len, |x| {
                let below = vmulq_f32(all(alpha), math::exp_less_one(x));
                vbslq_f32(vcltzq_f32(x), below, x)
            }),
            Activation::Erf => each(from, to, len, |x| math::erf(x)),
            Activation::Exp => each(from, to, len, |x| math::exp(x)),
            Activation::Sqrt => each(from, to, len, |x| vsqrtq_f32(x)),
            Activation::Reciprocal => each(from, to, len, |x| vdivq_f32(all(1.0), x)),
            Activation::Abs => each(from, to, len, |x| vabsq_f32(x)),
            Activation::Neg => each(from, to, len, |x| vnegq_f32(x)),
            Activation::Affine { alpha, beta } => each(from, to, len, |x| vfmaq_f32(all(beta), x, all(alpha))),
            Activation::Log => each(from, to, len, |x| math::log(x)),
        }
    }
}

/// Writes `function` of each of the `len` floats at `from` to `to`.
///
/// # Safety
/// As for [`apply`].
#[inline]
#[target_feature(enable = "neon")]
pub(crate) unsafe fn each(from: *const f32, to: *mut f32, len: usize, function: impl Fn(float32x4_t) -> float32x4_t) {
    // SAFETY: `vectors` names positions whose four (or `count`) elements lie below `len`.
    lanes::vectors(
        len,
        |at| unsafe { vst1q_f32(to.add(at), function(vld1q_f32(from.add(at)))) },
        |at, count| unsafe {
            lanes::store_first(to.add(at), function(lanes::load_first(from.add(at), count, 0.0)), count);
        },
    );
}

/// Writes `function` of each pair of floats at `left` and `right` to `to`.
///
/// # Safety
/// The CPU has NEON; `len` floats are readable at `left` and `right` and writable at `to`, which equals or does not overlap each of them.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) unsafe fn each_pair(
    left: *const f32,
    right: *const f32,
    to: *mut f32,
    len: usize,
    function: impl Fn(float32x4_t, float32x4_t) -> float32x4_t,
) {
    // SAFETY: as in `each`.
    lanes::vectors(
        len,
        |at| unsafe {
            let value = function(vld1q_f32(left.add(at)), vld1q_f32(right.add(at)));
            vst1q_f32(to.add(at), value);
        },
        |at, count| unsafe {
            let value =
                function(lanes::load_first(left.add(at), count, 0.0), lanes::load_first(right.add(at), count, 0.0));
            lanes::store_first(to.add(at), value, count);
        },
    );
}
