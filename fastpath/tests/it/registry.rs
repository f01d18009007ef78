//! What the registry tells of itself.

use sunmao_fastpath::{Isa, registered};

#[test]
fn the_registry_says_what_runs_here() {
    let entries = registered();
    if cfg!(target_arch = "x86_64") {
        let operators = [
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
        for operator in operators {
            assert!(entries.iter().any(|entry| entry.operator == operator), "{operator}");
        }
    } else {
        assert!(entries.is_empty());
    }
    let available = Isa::detect().avx2().is_some();
    assert!(entries.iter().all(|entry| entry.available == available && entry.path.starts_with("avx2-")));
}
