//! Functions of one number that fast paths know, as operators and as epilogue steps, with their attributes settled.

use sunmao_plugin_sdk::Attributes;

/// A function of one float.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Activation {
    Relu,
    LeakyRelu {
        alpha: f32,
    },
    Clip {
        low: f32,
        high: f32,
    },
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    HardSwish,
    Sigmoid,
    Tanh,
    Gelu,
    GeluTanh,
    Swish {
        alpha: f32,
    },
    Elu {
        alpha: f32,
    },
    Erf,
    Exp,
    Sqrt,
    Reciprocal,
    Abs,
    Neg,
    Log,
    /// x * alpha + beta.
    Affine {
        alpha: f32,
        beta: f32,
    },
}

impl Activation {
    /// The function of that operator name. `Clip` takes its bounds as attributes here.
    pub(crate) fn named(name: &str, attributes: Attributes<'_>) -> Option<Self> {
        let number = |key: &str, default: f64| attributes.number(key).unwrap_or(default) as f32;
        Some(match name {
            "Relu" => Self::Relu,
            "LeakyRelu" => Self::LeakyRelu { alpha: number("alpha", 0.01) },
            "Clip" => Self::Clip { low: number("min", f64::NEG_INFINITY), high: number("max", f64::INFINITY) },
            "HardSigmoid" => Self::HardSigmoid { alpha: number("alpha", 0.2), beta: number("beta", 0.5) },
            "HardSwish" => Self::HardSwish,
            "Sigmoid" => Self::Sigmoid,
            "Tanh" => Self::Tanh,
            "Gelu" => match attributes.text("approximate") {
                "tanh" => Self::GeluTanh,
                "" | "none" => Self::Gelu,
                _ => return None,
            },
            "Swish" => Self::Swish { alpha: number("alpha", 1.0) },
            "Elu" => Self::Elu { alpha: number("alpha", 1.0) },
            "Erf" => Self::Erf,
            "Exp" => Self::Exp,
            "Sqrt" => Self::Sqrt,
            "Reciprocal" => Self::Reciprocal,
            "Abs" => Self::Abs,
            "Neg" => Self::Neg,
            "Log" => Self::Log,
            "Affine" => Self::Affine { alpha: number("alpha", 1.0), beta: number("beta", 0.0) },
            _ => return None,
        })
    }

    /// Nanoseconds for a thousand elements in cache.
    pub(crate) fn cost(self) -> f64 {
        match self {
            Self::Relu | Self::Affine { .. } | Self::LeakyRelu { .. } | Self::Clip { .. } | Self::Abs | Self::Neg => {
                60.0
            }
            Self::HardSigmoid { .. } | Self::HardSwish => 80.0,
            Self::Sqrt | Self::Reciprocal => 150.0,
            Self::Exp | Self::Elu { .. } | Self::Log => 400.0,
            Self::Sigmoid | Self::Swish { .. } | Self::Tanh | Self::Erf | Self::Gelu | Self::GeluTanh => 700.0,
        }
    }
}
