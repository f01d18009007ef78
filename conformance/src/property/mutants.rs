//! The faults that the suite must notice: one operator with one fault each, in the words that `conformance/mutants` understands.

use super::{layout, operators};

/// One operator with one fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// The operator.
    pub op: &'static str,
    /// The fault.
    pub fault: &'static str,
}

impl Mutant {
    /// As reports name it.
    pub fn name(&self) -> String {
        format!("{}:{}", self.op, self.fault)
    }
}

/// Faults of a result that every operator may have.
const EVERYWHERE: &[&str] = &["negate", "stale-first", "stale-last", "relative"];

/// Operators whose results are floats that come out of arithmetic.
fn computes(op: &str) -> bool {
    !is_move(op)
        && !matches!(
            op,
            "ArgMax"
                | "ArgMin"
                | "TopK"
                | "Not"
                | "And"
                | "Or"
                | "Xor"
                | "IsNaN"
                | "IsInf"
                | "Equal"
                | "Less"
                | "LessOrEqual"
                | "Greater"
                | "GreaterOrEqual"
                | "MatMulInteger"
                | "ConvInteger"
                | "QuantizeLinear"
                | "DynamicQuantizeLinear"
                | "BitShift"
                | "BitwiseAnd"
                | "BitwiseOr"
                | "BitwiseXor"
                | "BitwiseNot"
                | "Sign"
                | "Floor"
                | "Ceil"
                | "Round"
                | "Hardmax"
                | "Cast"
                | "CastLike"
                | "Attention"
                | "RotaryEmbedding"
                | "QLinearMatMul"
                | "QLinearConv"
                | "sunmao.QAdd"
                | "sunmao.QMatMul"
                | "Clip"
                | "Relu"
                | "Abs"
                | "Neg"
                | "Max"
                | "Min"
                | "MaxPool"
                | "MaxRoiPool"
                | "GlobalMaxPool"
                | "ReduceMax"
                | "ReduceMin"
                | "ThresholdedRelu"
        )
}

/// Whether results are elements of the inputs, unchanged. Of the operators that move by place, only Resize computes.
fn is_move(op: &str) -> bool {
    (layout::OPERATORS.contains(&op) && op != "Resize") || MOVES_BY_INDEX.contains(&op)
}

const MOVES_BY_INDEX: &[&str] =
    &["Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND", "TensorScatter", "Where"];

/// Operators that keep every NaN that comes in.
const KEEP_NAN: &[&str] = &[
    "Abs",
    "Neg",
    "Sqrt",
    "Exp",
    "Log",
    "Sin",
    "Relu",
    "LeakyRelu",
    "Floor",
    "Round",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Max",
    "Min",
    "ReduceMax",
    "ReduceMin",
    "ReduceSum",
    "ReduceMean",
    "GlobalMaxPool",
    "MatMul",
    "Gemm",
    "Clip",
    "MaxPool",
    "Identity",
    "Transpose",
    "Concat",
    "Slice",
    "Where",
];

/// Operators where the sign of a zero is settled.
const KEEP_ZERO_SIGN: &[&str] = &[
    "Neg",
    "Floor",
    "Ceil",
    "Round",
    "Sqrt",
    "Mul",
    "Div",
    "Identity",
    "Transpose",
    "Slice",
    "Concat",
    "Gather",
    "Pad",
];

/// Operators that kernels split.
const SPLIT: &[&str] = &[
    "Add",
    "Mul",
    "Div",
    "Where",
    "Exp",
    "Tanh",
    "Sigmoid",
    "Gelu",
    "Clip",
    "Cast",
    "MatMul",
    "Gemm",
    "Conv",
    "ConvTranspose",
    "MaxPool",
    "AveragePool",
    "ReduceSum",
    "ReduceMean",
    "ReduceLogSumExp",
    "CumSum",
    "Softmax",
    "LayerNormalization",
    "InstanceNormalization",
    "BatchNormalization",
    "LRN",
    "Transpose",
    "Concat",
    "Slice",
    "Pad",
    "Expand",
    "Resize",
    "QuantizeLinear",
    "DequantizeLinear",
    "ConvInteger",
    "sunmao.QAdd",
    "sunmao.MatMulIntegerToFloat",
    "TopK",
    "ArgMax",
];

/// Faults of single operators: operands exchanged, attributes and constants misread, parts forgotten. What would give another shape is none
/// of them: `prepare` finds it by itself.
#[rustfmt::skip] // An operator a line: a table.
const OWN: &[(&str, &[&str])] = &[
    ("Sub", &["swap:0:1"]), ("Div", &["swap:0:1"]), ("Pow", &["swap:0:1"]), ("Less", &["swap:0:1"]), ("Greater", &["swap:0:1"]),
    ("LessOrEqual", &["swap:0:1"]), ("GreaterOrEqual", &["swap:0:1"]), ("Where", &["swap:1:2"]), ("PRelu", &["swap:0:1"]),
    ("Mod", &["swap:0:1", "attribute:fmod:toggle"]), ("BitShift", &["swap:0:1", "attribute:direction:text:LEFT", "attribute:direction:text:RIGHT"]),
    ("Add", &["f64-detour"]), ("BitwiseXor", &["f64-detour"]), ("Identity", &["f64-detour"]), ("ReduceSum", &["f64-detour", "literal:1:add:-1"]),
    ("MatMul", &["swap:0:1", "steps:none", "steps:last", "steps:bias", "steps:add", "steps:Relu", "steps:Clip", "steps:Gelu"]),
    ("Gemm", &["drop:2", "attribute:alpha:scale:1.001", "attribute:beta:scale:1.01", "attribute:transA:toggle", "attribute:transB:toggle", "steps:none", "steps:last", "steps:bias", "steps:add", "steps:Relu"]),
    ("Conv", &["drop:2", "attribute:pads:slide", "attribute:pads:reverse", "attribute:pads:turn", "window:dilate", "steps:none", "steps:last", "steps:bias", "steps:add", "steps:Relu", "steps:Clip", "steps:HardSwish"]),
    ("ConvTranspose", &["drop:2", "attribute:pads:slide", "attribute:pads:reverse", "window:dilate", "steps:none", "steps:bias", "steps:add"]),
    ("ConvInteger", &["drop:3", "attribute:pads:slide", "attribute:pads:reverse"]),
    ("MatMulInteger", &["drop:2", "drop:3"]),
    ("MaxPool", &["attribute:pads:slide", "window:dilate", "attribute:kernel_shape:last:-1", "attribute:storage_order:toggle"]),
    ("AveragePool", &["attribute:pads:slide", "attribute:count_include_pad:toggle", "window:dilate", "attribute:kernel_shape:last:-1"]),
    ("LpPool", &["attribute:pads:slide", "attribute:p:add:1", "attribute:kernel_shape:last:-1"]),
    ("ReduceMean", &["literal:1:add:-1"]), ("ReduceMax", &["literal:1:add:-1", "finite"]), ("ReduceL2", &["literal:1:add:-1"]),
    ("CumSum", &["attribute:exclusive:toggle", "attribute:reverse:toggle"]), ("CumProd", &["attribute:exclusive:toggle", "attribute:reverse:toggle"]),
    ("ArgMax", &["attribute:select_last_index:toggle", "attribute:axis:add:-1"]), ("ArgMin", &["attribute:select_last_index:toggle"]),
    ("TopK", &["attribute:largest:toggle", "attribute:axis:add:-1"]),
    ("Softmax", &["attribute:axis:add:-1"]), ("LogSoftmax", &["attribute:axis:add:-1"]), ("Hardmax", &["attribute:axis:add:-1"]),
    ("LayerNormalization", &["drop:2", "attribute:epsilon:scale:100", "attribute:axis:add:-1"]), ("RMSNormalization", &["attribute:epsilon:scale:100"]),
    ("GroupNormalization", &["swap:1:2", "attribute:epsilon:scale:1000", "attribute:num_groups:add:1", "attribute:num_groups:add:-1"]),
    ("InstanceNormalization", &["swap:1:2", "attribute:epsilon:scale:1000"]),
    ("BatchNormalization", &["swap:1:2", "swap:2:3", "attribute:epsilon:scale:1000"]),
    ("LRN", &["attribute:size:add:1", "attribute:alpha:scale:1.1", "attribute:beta:scale:1.01", "attribute:bias:scale:1.001"]),
    ("Transpose", &["attribute:perm:reverse", "attribute:perm:turn", "attribute:perm:empty"]),
    ("DepthToSpace", &["attribute:mode:text:DCR", "attribute:mode:text:CRD"]),
    ("Concat", &["swap:0:1"]),
    ("Slice", &["literal:1:first:1", "literal:1:first:-1", "literal:3:reverse"]),
    ("Pad", &["literal:1:slide", "literal:1:reverse", "attribute:mode:text:edge", "attribute:mode:text:constant", "attribute:mode:text:wrap", "drop:2"]),
    ("Trilu", &["attribute:upper:toggle", "drop:1"]),
    ("Gather", &["attribute:axis:add:-1"]), ("GatherElements", &["attribute:axis:add:-1"]),
    ("ScatterElements", &["attribute:axis:add:-1", "attribute:reduction:text:none", "attribute:reduction:text:add"]), ("ScatterND", &["attribute:reduction:text:none", "attribute:reduction:text:add"]),
    ("TensorScatter", &["drop:2"]),
    ("Resize", &["attribute:coordinate_transformation_mode:text:asymmetric", "attribute:coordinate_transformation_mode:text:half_pixel", "attribute:nearest_mode:text:ceil", "attribute:nearest_mode:text:floor"]),
    ("QuantizeLinear", &["drop:2", "attribute:axis:add:-1"]), ("DequantizeLinear", &["drop:2", "attribute:axis:add:-1"]),
    ("Clip", &["drop:1", "drop:2", "swap:1:2"]),
    ("LeakyRelu", &["attribute:alpha:scale:1.001"]), ("Elu", &["attribute:alpha:scale:1.001"]), ("Celu", &["attribute:alpha:scale:1.001"]), ("Selu", &["attribute:gamma:scale:1.001"]),
    ("ThresholdedRelu", &["attribute:alpha:scale:0.5"]), ("HardSigmoid", &["attribute:alpha:scale:1.001", "attribute:beta:scale:1.001"]), ("Swish", &["attribute:alpha:scale:1.001"]),
    ("Shrink", &["attribute:bias:scale:2", "attribute:lambd:scale:0.9"]), ("Gelu", &["attribute:approximate:text:tanh", "attribute:approximate:text:none"]),
    ("Attention", &["attribute:is_causal:toggle", "attribute:scale:scale:1.01", "attribute:softcap:scale:1.1", "swap:1:2"]), ("RotaryEmbedding", &["attribute:interleaved:toggle", "swap:1:2"]),
    ("MaxRoiPool", &["attribute:spatial_scale:scale:0.5", "shards-idle", "shards-short"]),
    ("QLinearConv", &["attribute:pads:slide", "attribute:pads:reverse", "drop:8"]), ("sunmao.QMatMul", &["drop:2"]),
    ("sunmao.QAdd", &["swap:0:3", "swap:1:4", "swap:2:5"]),
    ("sunmao.MatMulIntegerToFloat", &["drop:4", "drop:5", "drop:6", "steps:none", "steps:last", "steps:add"]),
    ("IsInf", &["attribute:detect_negative:toggle", "attribute:detect_positive:toggle"]),
];

/// All mutants.
pub fn mutants() -> Vec<Mutant> {
    let mut all = Vec::new();
    for op in operators() {
        let mut add = |faults: &[&'static str]| all.extend(faults.iter().map(|&fault| Mutant { op, fault }));
        add(EVERYWHERE);
        if is_move(op) {
            add(&["shift"]);
        }
        if computes(op) {
            add(&["half"]);
        }
        if matches!(op, "Add" | "Sub" | "Mul" | "Div") {
            add(&["truncate"]);
        }
        if KEEP_NAN.contains(&op) {
            add(&["nan-to-zero"]);
        }
        if KEEP_ZERO_SIGN.contains(&op) {
            add(&["zero-sign"]);
        }
        if SPLIT.contains(&op) {
            add(&["shards-idle", "shards-short"]);
        }
        for (_, faults) in OWN.iter().filter(|(name, _)| *name == op) {
            add(faults);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn there_are_enough_mutants_and_each_is_one_of_its_own() {
        let all = mutants();
        let names: HashSet<String> = all.iter().map(Mutant::name).collect();
        assert_eq!(names.len(), all.len());
        assert!(all.len() >= 200, "{}", all.len());
        for (op, faults) in OWN {
            assert!(operators().any(|known| known == *op), "{op} is not drawn");
            assert!(!faults.is_empty());
        }
    }
}
