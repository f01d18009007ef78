//! The table is a promise: for every row, every signature and both ends of its range of revisions, a sample operation is accepted and runs.

use crate::harness::{Case, Tensor, dense_bytes};
use sunmao_plugin_sdk::abi::{Attribute, OperatorSupport, Signature};

/// Zeros of a type; as numbers they are valid in every operator.
fn zeros(dtype: u16, shape: &[usize]) -> Tensor {
    Tensor { dtype, shape: shape.to_vec(), bytes: vec![0; dense_bytes(dtype, shape)] }
}

/// Ones, for divisors.
fn ones(dtype: u16, shape: &[usize]) -> Tensor {
    let one: &[u8] = match dtype {
        1 => &1f32.to_le_bytes(),
        11 => &1f64.to_le_bytes(),
        10 => &0x3C00u16.to_le_bytes(),
        16 => &0x3F80u16.to_le_bytes(),
        4 | 5 => &1u16.to_le_bytes(),
        6 | 12 => &1u32.to_le_bytes(),
        7 | 13 => &1u64.to_le_bytes(),
        _ => &[1],
    };
    Tensor { dtype, shape: shape.to_vec(), bytes: one.repeat(shape.iter().product()) }
}

fn integers(dtype: u16, values: &[i64]) -> Tensor {
    match dtype {
        6 => Tensor::i32(&[values.len()], &values.iter().map(|&value| value as i32).collect::<Vec<_>>()),
        _ => Tensor::i64(&[values.len()], values),
    }
}

/// A single number.
fn scalar(dtype: u16, value: i64) -> Tensor {
    Tensor { shape: vec![], ..integers(dtype, &[value]) }
}

/// Operators over sequences.
fn sequence_sample(case: Case, op: &str, types: &Signature) -> Case {
    let (input, output) = (&types.inputs, &types.outputs);
    let zero = |i: usize, shape: &[usize]| zeros(input[i], shape);
    match op {
        "Attention" => {
            let case = case.input(zero(0, &[1, 2, 3, 4])).input(zero(1, &[1, 2, 5, 4])).input(zero(2, &[1, 2, 5, 4]));
            let case = case.input(zero(3, &[3, 5])).absent().absent().input(Tensor::i64(&[1], &[4]));
            case.output(output[0], &[1, 2, 3, 4])
        }
        "RotaryEmbedding" => {
            let case = case.input(zero(0, &[1, 2, 3, 4])).input(zero(1, &[5, 2])).input(zero(2, &[5, 2]));
            case.input(zero(3, &[1, 3])).output(output[0], &[1, 2, 3, 4])
        }
        "LinearAttention" => {
            let case = case.integer("q_num_heads", 2).integer("kv_num_heads", 2);
            let case = (0..3).fold(case, |case, i| case.input(zero(i, &[1, 3, 4]))).input(zero(3, &[1, 2, 2, 2]));
            let case = case.input(zero(4, &[1, 3, 2])).input(zero(5, &[1, 3, 2]));
            case.output(output[0], &[1, 3, 4]).output(output[1], &[1, 2, 2, 2])
        }
        "RNN" | "GRU" | "LSTM" => {
            let rows = 2 * [("RNN", 1), ("GRU", 3), ("LSTM", 4)].iter().find(|(name, _)| *name == op).unwrap().1;
            let case = case.input(zero(0, &[2, 1, 3])).input(zero(1, &[1, rows, 3])).input(zero(2, &[1, rows, 2]));
            let case = case.input(zero(3, &[1, 2 * rows])).input(zero(4, &[1])).input(zero(5, &[1, 1, 2]));
            let case = if op == "LSTM" { case.input(zero(6, &[1, 1, 2])).input(zero(7, &[1, 6])) } else { case };
            case.output(output[0], &[2, 1, 1, 2]).output(output[0], &[1, 1, 2])
        }
        "DFT" => {
            let case = case.input(zero(0, &[1, 4, 1])).constant(scalar(input[1], 4)).constant(scalar(7, 1));
            case.output(output[0], &[1, 4, 2])
        }
        "STFT" => {
            let case = case.input(zero(0, &[1, 8, 1])).constant(scalar(input[1], 2)).input(zero(2, &[4]));
            case.constant(scalar(input[3], 4)).output(output[0], &[1, 3, 3, 2])
        }
        _ => unreachable!("no sample of {op}"),
    }
}

/// Operators over pictures that name their places.
fn picture_sample(case: Case, op: &str, types: &Signature) -> Case {
    let (input, output) = (&types.inputs, &types.outputs);
    let zero = |i: usize, shape: &[usize]| zeros(input[i], shape);
    match op {
        "Col2Im" => {
            let case = case.input(zero(0, &[1, 4, 4])).constant(integers(7, &[3, 3])).constant(integers(7, &[2, 2]));
            case.output(output[0], &[1, 1, 3, 3])
        }
        "MaxUnpool" => {
            let case = case.integers("kernel_shape", &[2]).input(zero(0, &[1, 1, 2])).input(zero(1, &[1, 1, 2]));
            case.input(zero(2, &[3])).output(output[0], &[1, 1, 3])
        }
        "DeformConv" => {
            let case = case.input(zero(0, &[1, 1, 3, 3])).input(zero(1, &[1, 1, 2, 2])).input(zero(2, &[1, 8, 2, 2]));
            case.input(zero(3, &[1])).input(zero(4, &[1, 4, 2, 2])).output(output[0], &[1, 1, 2, 2])
        }
        "GridSample" => {
            case.input(zero(0, &[1, 1, 2, 2])).input(zero(1, &[1, 3, 1, 2])).output(output[0], &[1, 1, 3, 1])
        }
        "AffineGrid" => case.input(zero(0, &[1, 2, 3])).input(zero(1, &[4])).output(output[0], &[1, 2, 2, 2]),
        "RoiAlign" => {
            let case = case.input(zero(0, &[1, 1, 3, 3])).input(zero(1, &[1, 4])).input(zero(2, &[1]));
            case.output(output[0], &[1, 1, 1, 1])
        }
        "MaxRoiPool" => case.input(zero(0, &[1, 1, 3, 3])).input(zero(1, &[1, 5])).output(output[0], &[1, 1, 2, 2]),
        _ => unreachable!("no sample of {op}"),
    }
}

fn sample(op: &str, revision: u16, types: &Signature) -> Case {
    let case = Case::new(op, revision);
    let (input, output) = (&types.inputs, &types.outputs);
    let zero = |i: usize, shape: &[usize]| zeros(input[i], shape);
    let first = |shape: &[usize]| zeros(input[0], shape);
    match op {
        "Add" | "Sub" | "Mul" | "Div" | "Mod" | "PRelu" | "Pow" | "BitwiseAnd" | "BitwiseOr" | "BitwiseXor" | "And"
        | "Or" | "Xor" | "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "CastLike" => {
            let case = if matches!(input[0], 1 | 10 | 11 | 16) { case.integer("fmod", 1) } else { case };
            case.input(first(&[2, 3])).input(ones(input[1], &[2, 3])).output(output[0], &[2, 3])
        }
        "BitShift" => case.text("direction", "LEFT").input(first(&[3])).input(zero(1, &[3])).output(output[0], &[3]),
        "Max" | "Min" | "Sum" | "Mean" => {
            case.input(first(&[3])).input(first(&[2, 1])).input(first(&[])).output(output[0], &[2, 3])
        }
        "Where" => case.input(first(&[2])).input(zero(1, &[2])).input(zero(2, &[1])).output(output[0], &[2]),
        "Clip" => case.input(first(&[4])).constant(zero(1, &[])).input(zero(2, &[])).output(output[0], &[4]),
        "Cast" => case.integer("to", output[0].into()).input(first(&[2, 3])).output(output[0], &[2, 3]),
        "Range" => case.input(first(&[])).input(zero(1, &[])).input(ones(input[2], &[])).output(output[0], &[3]),
        "ReverseSequence" => case.input(first(&[3, 2, 2])).input(zero(1, &[2])).output(output[0], &[3, 2, 2]),
        "QLinearMatMul" | "QLinearConv" => {
            let shapes: [&[usize]; 2] =
                if op == "QLinearConv" { [&[1, 2, 5], &[4, 2, 3]] } else { [&[1, 3, 5], &[5, 3]] };
            let case = case.input(first(shapes[0])).input(ones(input[1], &[])).input(zero(2, &[]));
            let case = case.input(zero(3, shapes[1])).input(ones(input[4], &[])).input(zero(5, &[]));
            let case = case.input(ones(input[6], &[])).input(zero(7, &[]));
            if op == "QLinearConv" {
                return case.input(zero(8, &[4])).output(output[0], &[1, 4, 3]);
            }
            case.output(output[0], &[1, 3, 3])
        }
        name if name.starts_with("Reduce") => {
            let case = case.integer("keepdims", 1).input(first(&[2, 3]));
            case.constant(integers(input[1], &[-1])).output(output[0], &[2, 1])
        }
        "GlobalAveragePool" | "GlobalMaxPool" => case.input(first(&[2, 3, 4])).output(output[0], &[2, 3, 1]),
        "ArgMax" | "ArgMin" => case.integer("axis", 1).input(first(&[2, 3])).output(output[0], &[2, 1]),
        "TopK" => {
            let case = case.input(first(&[2, 3])).constant(integers(7, &[2]));
            case.output(output[0], &[2, 2]).output(output[1], &[2, 2])
        }
        "CumSum" | "CumProd" => {
            let axis = Tensor { shape: vec![], ..integers(input[1], &[1]) };
            case.input(first(&[2, 3])).constant(axis).output(output[0], &[2, 3])
        }
        "LayerNormalization" => {
            let case = case.input(first(&[2, 3])).input(zero(1, &[3])).input(zero(2, &[3]));
            case.output(output[0], &[2, 3]).output(output[1], &[2, 1]).output(output[2], &[2, 1])
        }
        "RMSNormalization" => case.input(first(&[2, 3])).input(zero(1, &[3])).output(output[0], &[2, 3]),
        "GroupNormalization" => {
            let scale = if revision < 21 { 2 } else { 4 };
            let case = case.integer("num_groups", 2).input(first(&[2, 4, 3]));
            case.input(zero(1, &[scale])).input(zero(2, &[scale])).output(output[0], &[2, 4, 3])
        }
        "InstanceNormalization" => {
            case.input(first(&[2, 4, 3])).input(zero(1, &[4])).input(zero(2, &[4])).output(output[0], &[2, 4, 3])
        }
        "BatchNormalization" => {
            let case = case.input(first(&[2, 4, 3]));
            (1..5).fold(case, |case, i| case.input(zero(i, &[4]))).output(output[0], &[2, 4, 3])
        }
        "LRN" => case.integer("size", 3).input(first(&[1, 4, 3])).output(output[0], &[1, 4, 3]),
        "Attention" | "RotaryEmbedding" | "LinearAttention" | "RNN" | "GRU" | "LSTM" | "DFT" | "STFT" => {
            sequence_sample(case, op, types)
        }
        "Col2Im" | "MaxUnpool" | "DeformConv" | "GridSample" | "AffineGrid" | "RoiAlign" | "MaxRoiPool" => {
            picture_sample(case, op, types)
        }
        "Det" => case.input(first(&[2, 3, 3])).output(output[0], &[2]),
        "Einsum" => case.text("equation", "ij->ji").input(first(&[2, 3])).output(output[0], &[3, 2]),
        "sunmao.QMatMul" => {
            let bytes = [18 * 8, 144, 176, 210, 34 * 8][usize::from(input[1] - 0x100)];
            let weights = Tensor { dtype: input[1], shape: vec![3, 256], bytes: vec![0; 3 * bytes] };
            case.input(first(&[2, 256])).constant(weights).input(zero(2, &[3])).output(output[0], &[2, 3])
        }
        "sunmao.MatMulIntegerToFloat" => {
            let case = case.input(first(&[3, 4])).input(zero(1, &[4, 5])).input(ones(1, &[])).input(ones(1, &[5]));
            case.input(zero(4, &[])).input(zero(5, &[5])).input(zero(6, &[5])).output(output[0], &[3, 5])
        }
        "sunmao.QAdd" => {
            let case = case.input(first(&[2, 3])).input(ones(1, &[])).input(zero(2, &[])).input(zero(3, &[2, 3]));
            case.input(ones(1, &[]))
                .input(zero(5, &[]))
                .input(ones(1, &[]))
                .input(zero(7, &[]))
                .output(output[0], &[2, 3])
        }
        "MatMul" | "MatMulInteger" => case.input(first(&[3, 4])).input(zero(1, &[4, 5])).output(output[0], &[3, 5]),
        "Gemm" => case.input(first(&[3, 4])).input(zero(1, &[4, 5])).input(zero(2, &[5])).output(output[0], &[3, 5]),
        "Conv" => {
            case.input(first(&[1, 2, 5])).input(zero(1, &[4, 2, 3])).input(zero(2, &[4])).output(output[0], &[1, 4, 3])
        }
        "ConvTranspose" => {
            case.input(first(&[1, 2, 5])).input(zero(1, &[2, 4, 3])).input(zero(2, &[4])).output(output[0], &[1, 4, 7])
        }
        "ConvInteger" => case.input(first(&[1, 2, 5])).input(zero(1, &[4, 2, 3])).output(output[0], &[1, 4, 3]),
        "MaxPool" => {
            let case = case.integers("kernel_shape", &[2]).input(first(&[1, 2, 5]));
            case.output(output[0], &[1, 2, 4]).output(output[1], &[1, 2, 4])
        }
        "AveragePool" | "LpPool" => {
            case.integers("kernel_shape", &[2]).input(first(&[1, 2, 5])).output(output[0], &[1, 2, 4])
        }
        "Transpose" => case.integers("perm", &[1, 0]).input(first(&[2, 3])).output(output[0], &[3, 2]),
        "DepthToSpace" => case.integer("blocksize", 2).input(first(&[1, 4, 2, 3])).output(output[0], &[1, 1, 4, 6]),
        "SpaceToDepth" => case.integer("blocksize", 2).input(first(&[1, 1, 4, 6])).output(output[0], &[1, 4, 2, 3]),
        "Concat" => {
            case.integer("axis", 0).input(first(&[2])).input(first(&[1])).input(first(&[3])).output(output[0], &[6])
        }
        "Trilu" => case.input(first(&[2, 3])).input(Tensor::i64(&[], &[1])).output(output[0], &[2, 3]),
        "Slice" => {
            let case = case.input(first(&[4])).constant(integers(input[1], &[1])).constant(integers(input[2], &[3]));
            case.constant(integers(input[3], &[0])).constant(integers(input[4], &[1])).output(output[0], &[2])
        }
        "Split" => {
            case.input(first(&[5])).constant(integers(7, &[2, 3])).output(output[0], &[2]).output(output[0], &[3])
        }
        "Expand" => case.input(first(&[1])).constant(integers(7, &[3])).output(output[0], &[3]),
        "Tile" => case.input(first(&[2])).constant(integers(7, &[2])).output(output[0], &[4]),
        "Reshape" => case.input(first(&[2, 3])).constant(integers(7, &[6])).output(output[0], &[6]),
        "Squeeze" => case.input(first(&[1, 3])).constant(integers(7, &[0])).output(output[0], &[3]),
        "Unsqueeze" => case.input(first(&[3])).constant(integers(7, &[0])).output(output[0], &[1, 3]),
        "Flatten" => case.input(first(&[2, 3, 4])).output(output[0], &[2, 12]),
        "Pad" => {
            let case = case.text("mode", "constant").input(first(&[2])).constant(integers(7, &[1, 1]));
            case.constant(zero(2, &[])).constant(integers(input[3], &[0])).output(output[0], &[4])
        }
        "Gather" => case.input(first(&[3, 2])).input(zero(1, &[2])).output(output[0], &[2, 2]),
        "GatherElements" => case.input(first(&[3, 2])).input(zero(1, &[2, 2])).output(output[0], &[2, 2]),
        "GatherND" => case.input(first(&[3, 2])).input(zero(1, &[4, 1])).output(output[0], &[4, 2]),
        "ScatterElements" => case.input(first(&[3])).input(zero(1, &[2])).input(zero(2, &[2])).output(output[0], &[3]),
        "ScatterND" => case.input(first(&[3])).input(zero(1, &[2, 1])).input(zero(2, &[2])).output(output[0], &[3]),
        "TensorScatter" => {
            let case = case.integer("axis", -2).input(first(&[1, 3, 2])).input(zero(1, &[1, 2, 2]));
            case.input(zero(2, &[1])).output(output[0], &[1, 3, 2])
        }
        "Resize" => {
            let mode = if matches!(input[0], 1 | 10 | 11 | 16) { "linear" } else { "nearest" };
            let case = case.text("mode", mode).input(first(&[2, 3])).constant(zero(1, &[0]));
            case.constant(Tensor::f32(&[2], &[2.0, 1.0])).absent().output(output[0], &[4, 3])
        }
        "QuantizeLinear" | "DequantizeLinear" => {
            case.input(first(&[2, 3])).input(ones(input[1], &[])).input(zero(2, &[])).output(output[0], &[2, 3])
        }
        "DynamicQuantizeLinear" => {
            case.input(first(&[3])).output(output[0], &[3]).output(output[1], &[]).output(output[2], &[])
        }
        _ => case.input(first(&[2, 3])).output(output[0], &[2, 3]),
    }
}

fn limited(case: Case, row: &OperatorSupport) -> Case {
    row.limits.iter().fold(case, |case, limit| {
        if case.operation.attributes.iter().any(|kv| kv.key == limit.key) {
            return case;
        }
        let value = match &limit.val {
            Attribute::Texts(choices) => Attribute::Text(choices[choices.len() - 1].clone()),
            other => other.clone(),
        };
        case.attribute(&limit.key, value)
    })
}

#[test]
fn every_row_keeps_its_promise() {
    let mut checked = 0;
    for row in sunmao_portable::operators() {
        for signature in &row.signatures {
            for revision in [row.revision_min, row.revision_max] {
                let case = limited(sample(&row.op, revision, signature), &row);
                if let Err(error) = case.try_run() {
                    panic!("{} {revision} {signature:?}: {}", row.op, error.message);
                }
                checked += 1;
            }
        }
    }
    assert!(checked > 1500, "{checked}");
}

#[test]
fn every_epilogue_is_taken() {
    for row in sunmao_portable::operators().into_iter().filter(|row| !row.epilogues.is_empty()) {
        for step in &row.epilogues {
            let case = sample(&row.op, row.revision_max, &row.signatures[0]);
            let shape: Vec<usize> =
                case.operation.outputs[0].as_ref().unwrap().shape.iter().map(|&dim| dim as usize).collect();
            let axis = if row.op.starts_with("Conv") { 1 } else { shape.len() - 1 };
            let (case, operand) = match step.as_str() {
                "bias" => (case.input(zeros(1, &shape[axis..=axis])), true),
                "add" => (case.input(zeros(1, &shape)), true),
                _ => (case, false),
            };
            let operand = operand.then_some(case.inputs.len() as u32 - 1);
            case.step(step, operand, &[]).run();
        }
    }
}

#[test]
fn aliases_that_kernels_use_are_in_the_table() {
    for row in sunmao_portable::operators() {
        let case = limited(sample(&row.op, row.revision_max, &row.signatures[0]), &row);
        let needs = sunmao_portable::prepare(&case.operation).unwrap().requirements();
        for alias in needs.in_place.iter().filter(|_| !row.op.starts_with("Cast")) {
            let listed = row.in_place.iter().any(|a| a.output == alias.output && a.input == alias.input);
            assert!(listed, "{} uses input {} in place", row.op, alias.input);
        }
    }
}

#[test]
fn what_no_row_covers_is_unsupported() {
    use sunmao_plugin_sdk::ErrorCode;
    let code = |case: Case| case.try_run().unwrap_err().code;
    let x = || Tensor::f32(&[2], &[0.0; 2]);
    assert_eq!(code(Case::new("NoSuchOperator", 1).input(x()).output(1, &[2])), ErrorCode::Unsupported);
    assert_eq!(code(Case::new("Relu", 99).input(x()).output(1, &[2])), ErrorCode::Unsupported);
    assert_eq!(code(Case::new("And", 7).input(x()).input(x()).output(1, &[2])), ErrorCode::Unsupported);
    let mut layout = Case::new("Relu", 14).input(x()).output(1, &[2]);
    layout.operation.inputs[0].as_mut().unwrap().layout = 1;
    assert_eq!(code(layout), ErrorCode::Unsupported);
    // Axes that only a run would know.
    let axes = Tensor::i64(&[1], &[0]);
    assert_eq!(code(Case::new("ReduceSum", 13).input(x()).input(axes).output(1, &[1])), ErrorCode::Unsupported);
    // Larger than an arena can be.
    let mut huge = Case::new("Relu", 14).input(x()).output(1, &[2]);
    for operand in huge.operation.inputs.iter_mut().chain(&mut huge.operation.outputs).flatten() {
        operand.shape = vec![1 << 16, 1 << 16, 1 << 16, 1 << 16];
    }
    assert_eq!(code(huge), ErrorCode::LimitExceeded);
}
