//! What the registry tells of itself.

use std::collections::BTreeSet;
use sunmao_fastpath::{Isa, registered};

/// Operators of which some are asked for: the list is longer.
const AVX2: &[&str] = &[
    "MatMul",
    "Gemm",
    "Conv",
    "ConvTranspose",
    "MaxPool",
    "AveragePool",
    "Add",
    "Relu",
    "Softmax",
    "LayerNormalization",
    "RMSNormalization",
    "Attention",
    "LSTM",
    "sunmao.QMatMul",
    "Transpose",
    "Slice",
    "Expand",
    "Concat",
    "Pad",
    "ReduceMean",
    "GlobalAveragePool",
];

/// All operators: tests of others are ignored on this architecture, and those of a new one must no longer be.
const NEON: &[&str] = &[
    "Abs",
    "Add",
    "Clip",
    "Div",
    "Elu",
    "Erf",
    "Exp",
    "Gelu",
    "Gemm",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Log",
    "MatMul",
    "MatMulInteger",
    "Max",
    "Min",
    "Mul",
    "Neg",
    "Reciprocal",
    "Relu",
    "Sigmoid",
    "Softmax",
    "Sqrt",
    "Sub",
    "Swish",
    "Tanh",
    "sunmao.MatMulIntegerToFloat",
];

#[test]
fn the_registry_says_what_runs_here() {
    let entries = registered();
    let operators: BTreeSet<&str> = entries.iter().map(|entry| entry.operator).collect();
    if cfg!(target_arch = "x86_64") {
        for operator in AVX2 {
            assert!(operators.contains(operator), "{operator}");
        }
        let available = Isa::detect().avx2().is_some();
        assert!(entries.iter().all(|entry| entry.available == available && entry.path.starts_with("avx2-")));
    } else if cfg!(target_arch = "aarch64") {
        assert_eq!(Vec::from_iter(operators), NEON);
        let neon = Isa::detect().neon();
        let dotprod = neon.and_then(|neon| neon.dotprod());
        for entry in entries {
            let needs_dotprod = entry.path.starts_with("neon-int8-");
            assert_eq!(entry.available, if needs_dotprod { dotprod.is_some() } else { neon.is_some() }, "{entry:?}");
            assert!(entry.path.starts_with("neon-") && entry.isa.contains("dotprod") == needs_dotprod, "{entry:?}");
        }
    } else {
        assert!(entries.is_empty());
    }
}

#[test]
fn the_instruction_set_has_the_name_that_its_rows_have() {
    let isa = Isa::detect().to_string();
    let entries = registered();
    let found = entries.iter().any(|entry| entry.available && entry.isa == isa);
    assert!(found || entries.iter().all(|entry| !entry.available), "{isa}");
}
