//! How far a result may lie from the oracle, operator by operator.
//!
//! The classes follow the table of the Web Platform Tests for WebNN, tightened where the oracle knows the terms of a sum. A chip may claim
//! less error than this, and is then held to its claim as well.

use sunmao_plugin_sdk::abi::Tolerance;

/// A bound on the distance from the oracle, before the one rounding to the element type of the output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// The oracle's value, rounded once.
    Exact,
    /// Units in the last place of the output, or of the largest output with one unit to spare.
    Ulp(f64),
    /// This factor times the number of terms, times the accumulator's epsilon, times the sum of the terms' magnitudes.
    Accumulate(f64),
    /// This fraction of the largest magnitude of the output.
    Approximate(f64),
    /// This much, whatever the output.
    Absolute(f64),
}

impl From<Tolerance> for Bound {
    fn from(tolerance: Tolerance) -> Self {
        match tolerance {
            Tolerance::Exact => Self::Exact,
            Tolerance::Ulp(units) => Self::Ulp(units.into()),
            Tolerance::Accumulate(factor) => Self::Accumulate(factor.into()),
            Tolerance::Approximate(fraction) => Self::Approximate(fraction.into()),
        }
    }
}

/// The bound of an operator's first output.
pub fn bound(op: &str) -> Bound {
    match op {
        "Add" | "Sub" | "Mul" | "Sqrt" | "LeakyRelu" | "PRelu" | "Mod" | "Shrink" => Bound::Ulp(1.0),
        "Div" | "Reciprocal" | "HardSigmoid" | "DequantizeLinear" => Bound::Ulp(2.0),
        "Softsign" => Bound::Ulp(3.0),
        "HardSwish" => Bound::Ulp(4.0),
        "Tanh" => Bound::Ulp(16.0),
        "Elu" | "Celu" | "Selu" | "Gelu" | "Swish" | "Softplus" | "Mish" => Bound::Ulp(18.0),
        "Exp" | "Pow" | "Sinh" | "Cosh" => Bound::Ulp(32.0),
        "Sigmoid" => Bound::Ulp(34.0),
        "Sin" | "Cos" | "Tan" | "Asin" | "Acos" | "Atan" | "Asinh" | "Acosh" | "Atanh" | "Erf" | "Log" => {
            Bound::Absolute(1.0 / 1024.0)
        }
        "MatMul"
        | "Gemm"
        | "Conv"
        | "ConvTranspose"
        | "sunmao.QMatMul"
        | "sunmao.MatMulIntegerToFloat"
        | "Attention"
        | "RotaryEmbedding"
        | "Sum"
        | "Mean"
        | "AveragePool"
        | "GlobalAveragePool"
        | "BatchNormalization"
        | "CumSum"
        | "CumProd"
        | "ReduceSum"
        | "ReduceMean"
        | "ReduceProd"
        | "ReduceL1"
        | "ReduceL2"
        | "ReduceSumSquare" => Bound::Accumulate(2.0),
        "Resize" => Bound::Ulp(84.0),
        "Softmax" | "LogSoftmax" | "ReduceLogSum" | "ReduceLogSumExp" | "LpPool" | "LRN" => Bound::Approximate(1e-5),
        "LayerNormalization" | "RMSNormalization" | "GroupNormalization" | "InstanceNormalization" => {
            Bound::Approximate(1e-4)
        }
        _ => Bound::Exact,
    }
}
