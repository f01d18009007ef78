//! Functions of one float: activations of an epilogue and the unary operators, over runs of memory.

use crate::arguments::Op;
use crate::math;
use crate::vector::{add, at_least, at_most, div, fma, map, mul, select, splat, v128};
use core::arch::wasm32::*;
use sunmao_plugin_sdk::Attributes;

/// A function of one float, its parameters settled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Activation {
    Clip { min: f32, max: f32 },
    Sigmoid,
    HardSigmoid { alpha: f32, beta: f32 },
    HardSwish,
    Tanh,
    GeluErf,
    GeluTanh,
    LeakyRelu { alpha: f32 },
    Elu { alpha: f32 },
    Swish { alpha: f32 },
    Softplus,
    Exp,
    Log,
    Erf,
    Sqrt,
    Reciprocal,
    Square,
    Neg,
    Abs,
    Floor,
    Ceil,
    Round,
    Affine { alpha: f32, beta: f32 },
}

impl Activation {
    /// The activation of that name with these attributes; none when no fast form exists.
    pub(crate) fn named(name: &str, attributes: Attributes<'_>) -> Option<Self> {
        let number = |key: &str, default: f32| attributes.number(key).map_or(default, |value| value as f32);
        Some(match name {
            "Relu" => Self::Clip { min: 0.0, max: f32::INFINITY },
            "Clip" => Self::Clip { min: number("min", f32::NEG_INFINITY), max: number("max", f32::INFINITY) },
            "Sigmoid" => Self::Sigmoid,
            "HardSigmoid" => Self::HardSigmoid { alpha: number("alpha", 0.2), beta: number("beta", 0.5) },
            "HardSwish" => Self::HardSwish,
            "Tanh" => Self::Tanh,
            "Gelu" if attributes.text("approximate") == "tanh" => Self::GeluTanh,
            "Gelu" => Self::GeluErf,
            "LeakyRelu" => Self::LeakyRelu { alpha: number("alpha", 0.01) },
            "Elu" => Self::Elu { alpha: number("alpha", 1.0) },
            "Swish" => Self::Swish { alpha: number("alpha", 1.0) },
            "Softplus" => Self::Softplus,
            "Exp" => Self::Exp,
            "Log" => Self::Log,
            "Erf" => Self::Erf,
            "Sqrt" => Self::Sqrt,
            "Reciprocal" => Self::Reciprocal,
            "Neg" => Self::Neg,
            "Abs" => Self::Abs,
            "Floor" => Self::Floor,
            "Ceil" => Self::Ceil,
            "Round" => Self::Round,
            "Affine" => Self::Affine { alpha: number("alpha", 1.0), beta: number("beta", 0.0) },
            _ => return None,
        })
    }

    /// The function that a unary f32 operator computes.
    pub(crate) fn of_operator(op: Op<'_>) -> Option<Self> {
        match op.name() {
            "Clip" => {}
            "Pow" => return (op.scalar(1) == Some(2.0)).then_some(Self::Square),
            name => return Self::named(name, op.attributes()),
        }
        let bound = |index: usize, default: f32| match op.own(index) {
            None => Some(default),
            Some(_) => op.scalar(index),
        };
        let (min, max) = (bound(1, f32::NEG_INFINITY)?, bound(2, f32::INFINITY)?);
        Some(Self::Clip { min, max })
    }

    /// About how many nanoseconds four elements take.
    pub(crate) fn cost(self) -> f32 {
        match self {
            Self::Clip { .. }
            | Self::Affine { .. }
            | Self::HardSigmoid { .. }
            | Self::HardSwish
            | Self::LeakyRelu { .. } => 0.8,
            Self::Square | Self::Neg | Self::Abs | Self::Floor | Self::Ceil | Self::Round => 0.7,
            Self::Sqrt | Self::Reciprocal => 2.0,
            _ => 9.0,
        }
    }

    /// Applies the function to `len` floats.
    ///
    /// # Safety
    /// As for [`map`].
    pub(crate) unsafe fn run(self, from: *const f32, to: *mut f32, len: usize) {
        // SAFETY: the caller's promise is `map`'s.
        unsafe {
            match self {
                Self::Clip { min, max } => {
                    let (min, max) = (splat(min), splat(max));
                    map(from, to, len, |x| at_most(at_least(x, min), max));
                }
                Self::Sigmoid => map(from, to, len, math::sigmoid),
                Self::HardSigmoid { alpha, beta } => {
                    let (alpha, beta) = (splat(alpha), splat(beta));
                    map(from, to, len, |x| unit(fma(x, alpha, beta)));
                }
                Self::HardSwish => {
                    let (alpha, beta) = (splat(1.0 / 6.0), splat(0.5));
                    map(from, to, len, |x| mul(x, unit(fma(x, alpha, beta))));
                }
                Self::Tanh => map(from, to, len, math::tanh),
                Self::GeluErf => map(from, to, len, math::gelu),
                Self::GeluTanh => map(from, to, len, |x| {
                    // (1 + tanh u) / 2 is sigmoid(2 u), which does not cancel left of zero.
                    let factor = fma(mul(x, x), splat(2.0 * 0.797_884_6 * 0.044_715), splat(2.0 * 0.797_884_6));
                    mul(x, math::sigmoid(mul(x, factor)))
                }),
                Self::LeakyRelu { alpha } => {
                    let alpha = splat(alpha);
                    map(from, to, len, |x| select(f32x4_lt(x, splat(0.0)), mul(x, alpha), x));
                }
                Self::Elu { alpha } => {
                    let alpha = splat(alpha);
                    map(from, to, len, |x| select(f32x4_lt(x, splat(0.0)), mul(alpha, math::exp_less_one(x)), x));
                }
                Self::Swish { alpha } => {
                    let alpha = splat(alpha);
                    map(from, to, len, |x| mul(x, math::sigmoid(mul(x, alpha))));
                }
                Self::Softplus => map(from, to, len, |x| {
                    // log(1 + e^x) without overflow: max(x, 0) + log(1 + e^-|x|).
                    let rest = math::log(add(splat(1.0), math::exp(f32x4_neg(f32x4_abs(x)))));
                    add(at_least(x, splat(0.0)), rest)
                }),
                Self::Exp => map(from, to, len, math::exp),
                Self::Log => map(from, to, len, math::log),
                Self::Erf => map(from, to, len, math::erf),
                Self::Sqrt => map(from, to, len, |x| f32x4_sqrt(x)),
                Self::Reciprocal => map(from, to, len, |x| div(splat(1.0), x)),
                Self::Square => map(from, to, len, |x| mul(x, x)),
                Self::Neg => map(from, to, len, |x| f32x4_neg(x)),
                Self::Abs => map(from, to, len, |x| f32x4_abs(x)),
                Self::Floor => map(from, to, len, |x| f32x4_floor(x)),
                Self::Ceil => map(from, to, len, |x| f32x4_ceil(x)),
                Self::Round => map(from, to, len, |x| f32x4_nearest(x)),
                Self::Affine { alpha, beta } => {
                    let (alpha, beta) = (splat(alpha), splat(beta));
                    map(from, to, len, |x| fma(x, alpha, beta));
                }
            }
        }
    }
}

/// Cuts to 0..1.
#[inline(always)]
fn unit(x: v128) -> v128 {
    at_most(at_least(x, splat(0.0)), splat(1.0))
}
