//! Functions of one number: the activations and elementary functions, as unary operators and as epilogue steps.
//!
//! What is not plain arithmetic is written once, in `f64`, with libm: the result in `f32` is then within one unit in the last place, and
//! the bits are the same in a component and in native code.

use crate::number::Number;
use sunmao_plugin_sdk::Attributes;

/// A function applied to each of some values, in place.
pub(crate) type Map<V> = Box<dyn Fn(&mut [V]) + Send + Sync>;

/// Lifts a function of one value to a stretch of them.
pub(crate) fn map<V: Copy>(function: impl Fn(V) -> V + Send + Sync + 'static) -> Map<V> {
    Box::new(move |values| {
        for value in values {
            *value = function(*value);
        }
    })
}

fn wide<V: Number>(function: impl Fn(f64) -> f64 + Send + Sync + 'static) -> Map<V> {
    map(move |value: V| V::from_f64(function(value.to_f64())))
}

/// The function of that operator name on floats; none if the name or an attribute is not known.
pub(crate) fn activation<V: Number>(name: &str, attributes: Attributes<'_>) -> Option<Map<V>> {
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
            clip(low, high)
        }
        "HardSigmoid" => {
            let (alpha, beta) = (V::from_f64(number("alpha", 0.2)), V::from_f64(number("beta", 0.5)));
            map(move |x: V| limit(x.mul(alpha).add(beta), V::ZERO, V::ONE))
        }
        "HardSwish" => {
            let (sixth, half) = (V::from_f64(1.0 / 6.0), V::from_f64(0.5));
            map(move |x: V| x.mul(limit(x.mul(sixth).add(half), V::ZERO, V::ONE)))
        }
        "ThresholdedRelu" => {
            let alpha = V::from_f64(number("alpha", 1.0));
            map(move |x: V| if x > alpha || x.is_nan() { x } else { V::ZERO })
        }
        "Abs" => map(V::abs),
        "Neg" => map(V::neg),
        "Sign" => map(V::sign),
        "Sigmoid" => wide(sigmoid),
        "Tanh" => wide(libm::tanh),
        "Gelu" if attributes.text("approximate") == "tanh" => wide(|x| {
            0.5 * x * (1.0 + libm::tanh((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)))
        }),
        "Gelu" => wide(|x| 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2))),
        "Swish" => {
            let alpha = number("alpha", 1.0);
            wide(move |x| x * sigmoid(alpha * x))
        }
        "Elu" => {
            let alpha = number("alpha", 1.0);
            wide(move |x| if x < 0.0 { alpha * libm::expm1(x) } else { x })
        }
        "Celu" => {
            let alpha = number("alpha", 1.0);
            wide(move |x| if x < 0.0 { alpha * libm::expm1(x / alpha) } else { x })
        }
        "Selu" => {
            let (alpha, gamma) = (number("alpha", 1.673_263_192_176_818_8), number("gamma", 1.050_701_022_148_132_3));
            wide(move |x| gamma * if x < 0.0 { alpha * libm::expm1(x) } else { x })
        }
        "Softplus" => wide(softplus),
        "Softsign" => wide(|x| x / (1.0 + x.abs())),
        "Mish" => wide(|x| x * libm::tanh(softplus(x))),
        "Shrink" => {
            let (bias, lambda) = (number("bias", 0.0), number("lambd", 0.5));
            wide(move |x| {
                if x < -lambda {
                    x + bias
                } else if x > lambda {
                    x - bias
                } else {
                    0.0
                }
            })
        }
        "Reciprocal" => wide(|x| 1.0 / x),
        "Sqrt" => wide(f64::sqrt),
        "Exp" => wide(libm::exp),
        "Log" => wide(libm::log),
        "Sin" => wide(libm::sin),
        "Cos" => wide(libm::cos),
        "Tan" => wide(libm::tan),
        "Asin" => wide(libm::asin),
        "Acos" => wide(libm::acos),
        "Atan" => wide(libm::atan),
        "Sinh" => wide(libm::sinh),
        "Cosh" => wide(libm::cosh),
        "Asinh" => wide(libm::asinh),
        "Acosh" => wide(libm::acosh),
        "Atanh" => wide(libm::atanh),
        "Erf" => wide(libm::erf),
        "Floor" => wide(f64::floor),
        "Ceil" => wide(f64::ceil),
        "Round" => wide(f64::round_ties_even),
        _ => return None,
    })
}

/// The nearest value between `low` and `high`; `high` wins where they cross, and a NaN stays.
pub(crate) fn clip<V: Number>(low: V, high: V) -> Map<V> {
    map(move |x: V| limit(x, low, high))
}

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
