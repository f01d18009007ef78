//! Evaluates constant nodes with the portable kernels, for folding.

use super::native::run_once;
use crate::device::{Place, attributes};
use sunmao_graph::{Evaluator, Node, Tensor, TensorType};
use sunmao_plugin_sdk::{ErrorCode, abi};

/// Runs operators on constants with the host's portable kernels.
pub struct PortableEvaluator;

impl Evaluator for PortableEvaluator {
    fn evaluate(
        &mut self,
        node: &Node,
        inputs: &[Option<Tensor>],
        outputs: &[Option<TensorType>],
    ) -> Option<Result<Vec<Tensor>, String>> {
        let operation = operation(node, inputs, outputs)?;
        let bytes: Vec<&[u8]> = inputs.iter().flatten().map(|tensor| &*tensor.bytes).collect();
        let kinds: Vec<&TensorType> = outputs.iter().flatten().collect();
        let sizes: Option<Vec<usize>> = kinds
            .iter()
            .map(|kind| {
                let elements = kind.shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d))?;
                usize::try_from(kind.dtype.bytes(elements)?).ok()
            })
            .collect();
        match run_once(Place::Portable, &operation, &bytes, &sizes?) {
            Ok(results) => {
                let tensor = |(bytes, kind): (Vec<u8>, &&TensorType)| Tensor {
                    dtype: kind.dtype,
                    shape: kind.shape.clone(),
                    bytes: bytes.into(),
                };
                Some(Ok(results.into_iter().zip(&kinds).map(tensor).collect()))
            }
            // What the portable kernels do not run is left for a device.
            Err(error) if matches!(error.code, ErrorCode::Unsupported | ErrorCode::LimitExceeded) => None,
            Err(error) => Some(Err(error.message)),
        }
    }
}

fn operation(node: &Node, inputs: &[Option<Tensor>], outputs: &[Option<TensorType>]) -> Option<abi::Operation> {
    let operand = |dtype: u16, shape: &[u64], bytes: Option<&[u8]>| {
        Some(abi::Operand {
            dtype,
            shape: shape.iter().map(|&d| u32::try_from(d)).collect::<Result<_, _>>().ok()?,
            layout: 0,
            constant: bytes.is_some(),
            literal: bytes.filter(|bytes| bytes.len() <= 4096).map(<[u8]>::to_vec),
            quantisation: None,
            extents: Vec::new(),
            ext: Vec::new(),
        })
    };
    let input = |tensor: &Option<Tensor>| match tensor {
        None => Some(None),
        Some(tensor) => operand(tensor.dtype.code(), &tensor.shape, Some(&tensor.bytes)).map(Some),
    };
    let output = |kind: &Option<TensorType>| match kind {
        None => Some(None),
        Some(kind) => operand(kind.dtype.code(), &kind.shape, None).map(Some),
    };
    Some(abi::Operation {
        op: node.op.clone(),
        revision: node.revision,
        attributes: attributes(&node.attributes).ok()?,
        inputs: inputs.iter().map(input).collect::<Option<_>>()?,
        outputs: outputs.iter().map(output).collect::<Option<_>>()?,
        epilogue: Vec::new(),
        ext: Vec::new(),
    })
}
