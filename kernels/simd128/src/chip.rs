//! What the chip says of itself, and which kernel an operation gets.

use crate::arguments::{F32, Op};
use sunmao_plugin_sdk::abi::{Info, Operation, OperatorSupport, Tolerance, Unit};
use sunmao_plugin_sdk::{Chip, Kernel, Result};

/// The chip.
pub(crate) struct Simd128;

impl Chip for Simd128 {
    fn describe() -> Info {
        Info {
            id: "simd128".into(),
            vendor: "sunmao".into(),
            name: "WebAssembly SIMD".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            isa: "wasm-simd128".into(),
            vector_bits: 128,
            alignment: 64,
            max_shards: 64,
            deterministic: true,
            units: vec![Unit { kind: "compute".into(), name: "SIMD128 with relaxed SIMD".into(), ext: Vec::new() }],
            ext: Vec::new(),
        }
    }

    /// The portable table: what is fast here covers part of it. Only the tolerances of the polynomials in `math` are wider.
    fn operators() -> Vec<OperatorSupport> {
        let mut rows = sunmao_portable::operators();
        for row in &mut rows {
            if !row.signatures.iter().any(|signature| signature.inputs.first() == Some(&F32)) {
                continue;
            }
            match row.op.as_str() {
                "Exp" | "Log" | "Tanh" | "Erf" | "Sigmoid" => row.tolerance = Tolerance::Ulp(4),
                // Differences of numbers that are nearly equal: close to the largest result, not to each one.
                "Gelu" | "Swish" | "Softplus" => row.tolerance = Tolerance::Approximate(1e-6),
                // Winograd's transforms enlarge the rounding errors of short sums.
                "Conv" => row.tolerance = Tolerance::Accumulate(2.0),
                _ => {}
            }
        }
        rows
    }

    /// The portable kernel checks the operation and runs it where no fast path fits.
    fn prepare(operation: &Operation) -> Result<Box<dyn Kernel>> {
        let portable = sunmao_portable::prepare(operation)?;
        Ok(fast(Op(operation)).unwrap_or(portable))
    }
}

/// The fast kernel for an operation that the portable kernels have accepted.
fn fast(op: Op<'_>) -> Option<Box<dyn Kernel>> {
    match op.name() {
        "Attention" => crate::attention::prepare(op),
        "Conv" => crate::conv::prepare(op),
        "MatMulInteger"
        | "sunmao.MatMulIntegerToFloat"
        | "QLinearConv"
        | "QuantizeLinear"
        | "DequantizeLinear"
        | "DynamicQuantizeLinear"
        | "sunmao.QAdd" => crate::int8::prepare(op),
        "MatMul" | "Gemm" => crate::matmul::prepare(op),
        "sunmao.QMatMul" => crate::blocks::prepare(op),
        "ConvTranspose" => crate::conv::transposed::prepare(op),
        "Softmax" | "LayerNormalization" | "BatchNormalization" | "GlobalAveragePool" | "GlobalMaxPool"
        | "ReduceSum" | "ReduceMean" | "ReduceMax" | "ReduceMin" => crate::rows::prepare(op),
        "MaxPool" | "AveragePool" => crate::pool::prepare(op),
        "Transpose" | "Resize" => crate::moves::prepare(op),
        _ => crate::elementwise::prepare(op),
    }
}
