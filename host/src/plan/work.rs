//! What a dispatch costs, counted from shapes alone: for cutting long stretches into calls, for sharing work out, and for profiles.

use super::{Argument, Dispatch};
use sunmao_graph::DType;
use sunmao_plugin_sdk::abi;

/// Operators that move elements and compute nothing.
const MOVES: &[&str] = &[
    "Concat",
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Gather",
    "GatherElements",
    "GatherND",
    "Identity",
    "Pad",
    "Reshape",
    "ReverseSequence",
    "ScatterElements",
    "ScatterND",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "TensorScatter",
    "Tile",
    "Transpose",
    "Trilu",
    "Unsqueeze",
    "Where",
];
/// Operators that read no more of their first input than they write.
const PICKS: &[&str] = &["Gather", "GatherElements", "GatherND", "Slice"];

/// Elementary operations: multiplications with their addition where sums of products are formed, else elements written; elements read where that
/// is more.
pub(super) fn work(operation: &abi::Operation) -> u64 {
    let read = total(&operation.inputs);
    products(operation).unwrap_or_else(|| total(&operation.outputs)).max(read)
}

impl Dispatch {
    /// Floating-point or integer operations that the operator's definition takes, an addition and a multiplication being two. 0: it only moves
    /// elements. A kernel with another algorithm does fewer.
    pub fn flops(&self) -> u64 {
        let operation = &self.operation;
        let own = match products(operation) {
            Some(products) => products.saturating_mul(2),
            None if MOVES.contains(&operation.op.as_str()) => 0,
            None => total(&operation.outputs).max(largest(&operation.inputs)),
        };
        let steps = operation.epilogue.len() as u64;
        own.saturating_add(steps.saturating_mul(total(&operation.outputs)))
    }

    /// Bytes of all operands, each input once, constants in the form that the kernel takes. What a kernel reads again, or out of a cache, is not counted twice.
    pub fn bytes(&self) -> u64 {
        let operation = &self.operation;
        let written = operation.outputs.iter().flatten().map(bytes).fold(0, u64::saturating_add);
        let mut seen: Vec<Argument> = Vec::new();
        let mut read = 0u64;
        let present =
            operation.inputs.iter().enumerate().filter_map(|(index, operand)| Some((index, operand.as_ref()?)));
        for ((index, operand), &argument) in present.zip(&self.arguments) {
            if seen.contains(&argument) {
                continue;
            }
            seen.push(argument);
            let packed = self.packed.iter().find(|packed| packed.input as usize == index);
            let whole = packed.map_or_else(|| bytes(operand), |packed| u64::from(packed.bytes));
            let is_picked = index == 0 && PICKS.contains(&operation.op.as_str());
            read = read.saturating_add(if is_picked { whole.min(written) } else { whole });
        }
        read.saturating_add(written)
    }
}

/// Multiplications with their addition of operators that form sums of products; none: it is another one, or its operands are not as they should be.
fn products(operation: &abi::Operation) -> Option<u64> {
    let shape = |index: usize| Some(&operation.inputs.get(index)?.as_ref()?.shape[..]);
    let last = |index: usize, from_end: usize| {
        let shape = shape(index)?;
        Some(u64::from(*shape.get(shape.len().checked_sub(from_end)?)?))
    };
    let written = || operation.outputs.first().and_then(Option::as_ref).map_or(0, |operand| elements(&operand.shape));
    let filter = |index: usize| Some(elements(shape(index)?.get(1..)?));
    Some(match operation.op.as_str() {
        "Conv" | "ConvInteger" | "DeformConv" => written().saturating_mul(filter(1)?),
        "QLinearConv" => written().saturating_mul(filter(3)?),
        "ConvTranspose" => elements(shape(0)?).saturating_mul(filter(1)?),
        "MatMul" | "MatMulInteger" | "QLinearMatMul" | "sunmao.MatMulIntegerToFloat" | "sunmao.QMatMul" => {
            written().saturating_mul(last(0, 1)?)
        }
        "Gemm" => {
            let transposed = operation
                .attributes
                .iter()
                .any(|kv| kv.key == "transA" && matches!(kv.val, abi::Attribute::Integer(value) if value != 0));
            written().saturating_mul(last(0, if transposed { 2 } else { 1 })?)
        }
        // Scores from queries and keys, then results from scores and values: the length of the keys behind each element.
        "Attention" => {
            let past = last(4, 2).unwrap_or(0);
            elements(shape(0)?).saturating_add(written()).saturating_mul(last(1, 2)?.saturating_add(past))
        }
        // Both matrices, for each step of each sequence.
        "LSTM" | "GRU" | "RNN" => {
            let steps = shape(0)?.iter().take(2).fold(1u64, |n, &d| n.saturating_mul(u64::from(d)));
            let matrices = elements(shape(1)?).saturating_add(elements(shape(2)?));
            steps.saturating_mul(matrices)
        }
        _ => return None,
    })
}

fn elements(shape: &[u32]) -> u64 {
    shape.iter().fold(1u64, |n, &d| n.saturating_mul(u64::from(d)))
}

fn total(operands: &[Option<abi::Operand>]) -> u64 {
    operands.iter().flatten().map(|operand| elements(&operand.shape)).fold(0, u64::saturating_add)
}

fn largest(operands: &[Option<abi::Operand>]) -> u64 {
    operands.iter().flatten().map(|operand| elements(&operand.shape)).max().unwrap_or(0)
}

fn bytes(operand: &abi::Operand) -> u64 {
    DType::from_code(operand.dtype).and_then(|dtype| dtype.bytes(elements(&operand.shape))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Place;

    fn operand(shape: &[u32]) -> Option<abi::Operand> {
        Some(abi::Operand {
            dtype: DType::F32.code(),
            shape: shape.to_vec(),
            layout: 0,
            constant: false,
            literal: None,
            quantisation: None,
            extents: Vec::new(),
            ext: Vec::new(),
        })
    }

    fn dispatch(op: &str, inputs: &[&[u32]], output: &[u32]) -> Dispatch {
        let operation = abi::Operation {
            op: op.into(),
            revision: 1,
            attributes: Vec::new(),
            inputs: inputs.iter().map(|shape| operand(shape)).collect(),
            outputs: vec![operand(output)],
            epilogue: Vec::new(),
            ext: Vec::new(),
        };
        Dispatch {
            node: op.into(),
            place: Place::Portable,
            reason: String::new(),
            arguments: (0..=inputs.len() as u64).map(Argument::Slot).collect(),
            packed: Vec::new(),
            in_place: Vec::new(),
            shards: 1,
            work: work(&operation),
            workspace: 0,
            workspace_bytes: 0,
            operation,
        }
    }

    #[test]
    fn sums_of_products_count_twice_their_length() {
        let check = |op: &str, inputs: &[&[u32]], output: &[u32], flops: u64| {
            assert_eq!(dispatch(op, inputs, output).flops(), flops, "{op}");
        };
        check("MatMul", &[&[2, 3, 5], &[5, 7]], &[2, 3, 7], 2 * 2 * 3 * 5 * 7);
        check("Gemm", &[&[3, 5], &[5, 7]], &[3, 7], 2 * 3 * 5 * 7);
        check("Conv", &[&[1, 8, 10, 10], &[16, 4, 3, 3]], &[1, 16, 8, 8], 2 * 16 * 64 * 36);
        check("ConvTranspose", &[&[1, 8, 4, 4], &[8, 3, 2, 2]], &[1, 3, 8, 8], 2 * 128 * 12);
        check("Attention", &[&[1, 2, 5, 4], &[1, 2, 9, 4], &[1, 2, 9, 6]], &[1, 2, 5, 6], 2 * 2 * 5 * 9 * (4 + 6));
        check("LSTM", &[&[7, 2, 3], &[1, 16, 3], &[1, 16, 4]], &[7, 1, 2, 4], 2 * 14 * 16 * 7);
    }

    #[test]
    fn moves_compute_nothing_and_read_what_they_take() {
        let gather = dispatch("Gather", &[&[1000, 16], &[3]], &[3, 16]);
        assert_eq!((gather.flops(), gather.bytes()), (0, 4 * (48 + 3 + 48)));
        let mut square = dispatch("Mul", &[&[10], &[10]], &[10]);
        assert_eq!((square.flops(), square.bytes()), (10, 120));
        square.arguments[1] = square.arguments[0];
        assert_eq!(square.bytes(), 80, "one tensor read once");
        square.operation.epilogue.push(abi::EpilogueStep { op: "Relu".into(), input: None, attributes: Vec::new() });
        assert_eq!(square.flops(), 20);
    }

    #[test]
    fn operands_that_are_missing_are_no_panic() {
        assert_eq!(dispatch("Conv", &[&[1, 2]], &[1, 2]).flops(), 2);
        assert_eq!(dispatch("MatMul", &[&[], &[]], &[]).flops(), 1);
    }
}
