//! Functions of one number: the activations and elementary functions, as unary operators and as epilogue steps.
//!
//! What is not plain arithmetic is written once, in `f64`, with libm: the result in `f32` is then within one unit in the last place, and
//! the bits are the same in a component and in native code.

use crate::number::Number;
use crate::settle::CHUNK;
use sunmao_plugin_sdk::Attributes;

/// A function applied to each of some values, in place. A trait of its own, because the standard ones would add two more functions to each closure.
pub(crate) trait Function<V>: Send + Sync {
    fn apply(&self, values: &mut [V]);
}

impl<V, F: Fn(&mut [V]) + Send + Sync> Function<V> for F {
    fn apply(&self, values: &mut [V]) {
        self(values);
    }
}

pub(crate) type Map<V> = Box<dyn Function<V>>;

/// Lifts a function of one value to a stretch of them.
pub(crate) fn map<V: Copy + 'static>(function: impl Fn(V) -> V + Send + Sync + 'static) -> Map<V> {
    Box::new(move |values: &mut [V]| {
        for value in values {
            *value = function(*value);
        }
    })
}

/// The function of that operator name; none if the name is not known.
pub(crate) fn activation<V: Number>(name: &str, attributes: Attributes<'_>) -> Option<Map<V>> {
    arithmetic(name, attributes).or_else(|| elementary(name, attributes).map(through_f64))
}

/// A function of `f64` on narrower numbers.
fn through_f64<V: Number>(function: Map<f64>) -> Map<V> {
    Box::new(move |values: &mut [V]| {
        let mut wide = [0.0; CHUNK];
        for values in values.chunks_mut(CHUNK) {
            let wide = &mut wide[..values.len()];
            wide.iter_mut().zip(values.iter()).for_each(|(wide, value)| *wide = value.to_f64());
            function.apply(wide);
            values.iter_mut().zip(wide.iter()).for_each(|(value, &wide)| *value = V::from_f64(wide));
        }
    })
}

/// Functions that are computed in the type of their operand.
fn arithmetic<V: Number>(name: &str, attributes: Attributes<'_>) -> Option<Map<V>> {
    let number = |key: &str, default: f64| attributes.number(key).unwrap_or(default);
    Some(match name {
        "Relu" => map(|x: V| if x < V::ZERO { V::ZERO } else { x }),
        "LeakyRelu" => {
            let alpha = V::from_f64(number("alpha", 0.01));
            map(move |x: V| if x < V::ZERO { x.mul(alpha) } else { x })
        }
        "Clip" => {
            let low = attributes.number("min").map_or(V::LOWEST, V::from_f64);
            let high = attributes.number("max").map_or(V::HIGHEST, V::from_f64);
            map(move |x: V| limit(x, low, high))
        }
        "HardSigmoid" => {
            let (alpha, beta) = (V::from_f64(number("alpha", 0.2)), V::from_f64(number("beta", 0.5)));
            map(move |x: V| limit(x.mul(alpha).add(beta), V::ZERO, V::ONE))
        }
        "HardSwish" => {
            let (sixth, half) = (V::from_f64(1.0 / 6.0), V::from_f64(0.5));
            map(move |x: V| x.mul(limit(x.mul(sixth).add(half), V::ZERO, V::ONE)))
        }
        "Affine" => {
            let (alpha, beta) = (V::from_f64(number("alpha", 1.0)), V::from_f64(number("beta", 0.0)));
            map(move |x: V| x.mul(alpha).add(beta))
        }
        "ThresholdedRelu" => {
            let alpha = V::from_f64(number("alpha", 1.0));
            map(move |x: V| if x > alpha || x.is_nan() { x } else { V::ZERO })
        }
        "Abs" => map(V::abs),
        "Neg" => map(V::neg),
        "Sign" => map(V::sign),
        _ => return None,
    })
}

/// Functions that are computed in `f64`.
fn elementary(name: &str, attributes: Attributes<'_>) -> Option<Map<f64>> {
    let number = |key: &str, default: f64| attributes.number(key).unwrap_or(default);
    Some(match name {
        "Sigmoid" => map(sigmoid),
        "Tanh" => map(libm::tanh),
        "Gelu" if attributes.text("approximate") == "tanh" => {
            map(|x: f64| 0.5 * x * (1.0 + libm::tanh((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x))))
        }
        "Gelu" => map(|x: f64| 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2))),
        "Swish" => {
            let alpha = number("alpha", 1.0);
            map(move |x: f64| x * sigmoid(alpha * x))
        }
        "Elu" => {
            let alpha = number("alpha", 1.0);
            map(move |x: f64| if x < 0.0 { alpha * libm::expm1(x) } else { x })
        }
        "Celu" => {
            let alpha = number("alpha", 1.0);
            map(move |x: f64| if x < 0.0 { alpha * libm::expm1(x / alpha) } else { x })
        }
        "Selu" => {
            let (alpha, gamma) = (number("alpha", 1.673_263_192_176_818_8), number("gamma", 1.050_701_022_148_132_3));
            map(move |x: f64| gamma * if x < 0.0 { alpha * libm::expm1(x) } else { x })
        }
        "Softplus" => map(softplus),
        "Softsign" => map(|x: f64| x / (1.0 + x.abs())),
        "Mish" => map(|x: f64| x * libm::tanh(softplus(x))),
        "Shrink" => {
            let (bias, lambda) = (number("bias", 0.0), number("lambd", 0.5));
            map(move |x: f64| {
                if x < -lambda {
                    x + bias
                } else if x > lambda {
                    x - bias
                } else {
                    0.0
                }
            })
        }
        "Reciprocal" => map(|x: f64| 1.0 / x),
        "Sqrt" => map(f64::sqrt),
        "Exp" => map(libm::exp),
        "Log" => map(libm::log),
        "Sin" => map(libm::sin),
        "Cos" => map(libm::cos),
        "Tan" => map(libm::tan),
        "Asin" => map(libm::asin),
        "Acos" => map(libm::acos),
        "Atan" => map(libm::atan),
        "Sinh" => map(libm::sinh),
        "Cosh" => map(libm::cosh),
        "Asinh" => map(libm::asinh),
        "Acosh" => map(libm::acosh),
        "Atanh" => map(libm::atanh),
        "Erf" => map(libm::erf),
        "Floor" => map(f64::floor),
        "Ceil" => map(f64::ceil),
        "Round" => map(f64::round_ties_even),
        _ => return None,
    })
}

/// The nearest value between `low` and `high`; `high` wins where they cross, and a NaN stays.
#[inline(always)]
pub(crate) fn limit<V: Number>(x: V, low: V, high: V) -> V {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + libm::log1p(libm::exp(-x.abs()))
}
