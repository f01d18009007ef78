//! How far each operator may be off, in ULP: the table that WebNN's tests use, which grows with the number of terms that an element sums.

use super::Bound;
use crate::CaseValue;
use sunmao_graph::{DType, tensor};

/// What an operator may be off by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// Nothing: it moves, counts, compares or selects.
    Exact,
    /// That many ULP.
    Ulp(f64),
    /// An absolute difference, where a distance in ULP means nothing: near the zeros of a sine.
    Absolute(f64),
    /// The table does not say: composed operators, and those that came later.
    Unknown,
}

impl Tolerance {
    /// The bound for outputs of `dtype` whose largest finite magnitude is `largest`. `granted`: what the case grants by itself.
    pub fn bound(self, dtype: DType, largest: f64, granted: Option<(f64, f64)>) -> Bound {
        let floor = epsilon(dtype) * largest;
        match self {
            Tolerance::Exact => Bound { granted, ..Bound::EXACT },
            Tolerance::Ulp(ulp) => Bound { ulp, floor, granted },
            Tolerance::Absolute(floor) => Bound { ulp: 1.0, floor, granted },
            Tolerance::Unknown => Bound { ulp: 1.0, floor, granted },
        }
    }
}

/// The distance from 1 to the next number of the type.
pub fn epsilon(dtype: DType) -> f64 {
    super::elements::spacing(dtype, 1.0)
}

/// What `op` may be off by in `dtype`, when an element of its output sums `terms` products or terms (1 for pointwise operators).
pub fn tolerance(op: &str, dtype: DType, terms: u64) -> Tolerance {
    use Tolerance::{Absolute, Exact, Ulp, Unknown};
    let half = matches!(dtype, DType::F16 | DType::BF16);
    let n = terms as f64;
    match op {
        "Identity" | "Reshape" | "Transpose" | "Concat" | "Split" | "Slice" | "Pad" | "Expand" | "Tile" | "Gather"
        | "GatherElements" | "GatherND" | "ScatterElements" | "ScatterND" | "TensorScatter" | "Squeeze"
        | "Unsqueeze" | "Flatten" | "DepthToSpace" | "SpaceToDepth" | "ReverseSequence" | "Trilu" | "TopK"
        | "Where" | "Compress" | "CenterCropPad" | "Constant" | "ConstantOfShape" | "EyeLike" | "OneHot" | "Shape"
        | "Size" | "Range" | "NonZero" | "Unique" | "BitCast" | "Abs" | "Neg" | "Sign" | "Floor" | "Ceil" | "Round"
        | "Relu" | "Clip" | "Min" | "Max" | "MaxPool" | "GlobalMaxPool" | "ReduceMin" | "ReduceMax" | "ArgMax"
        | "ArgMin" | "Hardmax" | "ThresholdedRelu" | "Equal" | "Less" | "LessOrEqual" | "Greater"
        | "GreaterOrEqual" | "And" | "Or" | "Xor" | "Not" | "IsNaN" | "IsInf" | "MaxUnpool" => Exact,
        "Add" | "Sub" | "Mul" | "Sqrt" | "LeakyRelu" | "PRelu" | "Cast" | "CastLike" | "Shrink"
        | "DequantizeLinear" | "Mod" => Ulp(1.0),
        "Div" | "Reciprocal" | "HardSigmoid" => Ulp(2.0),
        "Softsign" => Ulp(3.0),
        "HardSwish" => Ulp(4.0),
        "BatchNormalization" => Ulp(6.0),
        "Tanh" => Ulp(16.0),
        "Elu" | "Selu" | "Celu" | "Gelu" | "Softplus" => Ulp(18.0),
        "Exp" => Ulp(if half { 1.0 } else { 32.0 }),
        "Sigmoid" | "Swish" => Ulp(if half { 10.0 } else { 34.0 }),
        "Pow" => Ulp(32.0),
        "Conv" | "ConvTranspose" | "MatMul" | "Gemm" => Ulp(2.0 * n + 3.0),
        "AveragePool" | "GlobalAveragePool" => Ulp(n + 2.0),
        "Softmax" => Ulp(3.0 * n + 3.0),
        "LogSoftmax" => Ulp(3.0 * n + 21.0),
        "Sum" | "ReduceSum" | "ReduceL1" | "ReduceProd" | "CumSum" | "CumProd" => Ulp(n),
        "Mean" | "ReduceMean" => Ulp(n + 2.0),
        "ReduceL2" => Ulp(2.0 * n + 1.0),
        "ReduceSumSquare" => Ulp(2.0 * n),
        "ReduceLogSum" => Ulp(n + 18.0),
        "ReduceLogSumExp" => Ulp(2.0 * n + 18.0),
        "Resize" | "Upsample" => Ulp(if half { 10.0 } else { 84.0 }),
        "InstanceNormalization" | "GroupNormalization" | "MeanVarianceNormalization" => {
            Ulp(if half { 8400.0 } else { 840.0 })
        }
        "Sin" | "Cos" | "Tan" | "Erf" | "Log" | "LayerNormalization" => {
            Absolute(if half { 1.0 / 512.0 } else { 1.0 / 1024.0 })
        }
        _ => Unknown,
    }
}

/// How many terms an element of the output sums, told by the shapes of inputs and output; 1 where the operator sums none or shapes do not tell.
pub fn terms(op: &str, inputs: &[(String, CaseValue)], outputs: &[(String, CaseValue)]) -> u64 {
    let shape = |values: &[(String, CaseValue)], at: usize| match values.get(at) {
        Some((_, CaseValue::Tensor(tensor))) => Some(tensor.shape.clone()),
        _ => None,
    };
    let count = |shape: &[u64]| tensor::elements(shape).unwrap_or(1).max(1);
    let (Some(first), Some(output)) = (shape(inputs, 0), shape(outputs, 0)) else { return 1 };
    let second = shape(inputs, 1).unwrap_or_default();
    match op {
        "MatMul" => first.last().copied().unwrap_or(1),
        // A is M x K or K x M, B is K x N or N x K, Y is M x N: K * K = |A| * |B| / |Y|.
        "Gemm" => (count(&first).saturating_mul(count(&second)) / count(&output)).isqrt(),
        "Conv" => count(second.get(1..).unwrap_or_default()),
        "ConvTranspose" => {
            count(second.get(2..).unwrap_or_default()).saturating_mul(second.first().copied().unwrap_or(1))
        }
        "Sum" | "Mean" => inputs.len() as u64,
        "Softmax" | "LogSoftmax" | "CumSum" | "CumProd" => first.iter().copied().max().unwrap_or(1),
        _ => count(&first).div_ceil(count(&output)),
    }
}
