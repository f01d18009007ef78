//! Matrix products, with what may follow them.

use super::draw::{Draw, FLOATS};
use crate::oracle::{Operand, Question, Tensor, dtype};
use dtype::{BF16, F16, F32, F64, I8, I32, I64, U8, U32, U64};
use sunmao_plugin_sdk::abi::{Attribute, EpilogueStep, Kv};

pub(super) const OPERATORS: &[&str] =
    &["MatMul", "Gemm", "MatMulInteger", "QLinearMatMul", "sunmao.MatMulIntegerToFloat", "sunmao.QMatMul"];

pub(super) fn draw(op: &str, draw: &mut Draw) -> Question {
    match op {
        "MatMul" => matmul(draw),
        "Gemm" => gemm(draw),
        "MatMulInteger" => integers(draw),
        "QLinearMatMul" => quantised(draw),
        "sunmao.MatMulIntegerToFloat" => scaled(draw),
        _ => blocks(draw),
    }
}

/// Rows, depth and columns.
fn sizes(draw: &mut Draw) -> (usize, usize, usize) {
    if draw.large {
        let n = draw.pick(&[31, 33, 40, 61]);
        return (draw.pick(&[1, 7, 16, 29]), draw.pick(&[32, 67, 90]), n);
    }
    if draw.empty {
        let zero = draw.below(3);
        let size = |draw: &mut Draw, at| if at == zero { 0 } else { draw.between(1, 9) as usize };
        return (size(draw, 0), size(draw, 1), size(draw, 2));
    }
    let size = |draw: &mut Draw| draw.pick(&[1, 2, 3, 4, 5, 7, 8, 9, 11, 13, 16, 17, 19]);
    if draw.chance(25) {
        let side = size(draw);
        return (side, side, side);
    }
    (size(draw), size(draw), size(draw))
}

fn matmul(draw: &mut Draw) -> Question {
    let (m, k, n) = sizes(draw);
    let constant = draw.chance(50);
    let lead = draw.below(3);
    let (mut a, mut b): (Vec<usize>, Vec<usize>) = match draw.below(8) {
        0 => (vec![k], vec![k, n]),
        1 => (vec![m, k], vec![k]),
        2 => (vec![k], vec![k]),
        3 | 4 => {
            let batch: Vec<usize> = (0..lead).map(|_| draw.between(1, 3) as usize).collect();
            let other: Vec<usize> = batch.iter().map(|&dim| if draw.chance(30) { 1 } else { dim }).collect();
            (batch, other)
        }
        _ => (vec![m, k], vec![k, n]),
    };
    if a.len() == lead && b.len() == lead && !(lead == 1 && a == [k] && b == [k]) && !(lead == 2 && a == [m, k]) {
        a.extend([m, k]);
        b.extend([k, n]);
    }
    let dtype = draw.pick(&[F32, F32, F32, F32, F16, BF16, F64, I32, I64, U32, U64]);
    let matrices = a.len() >= 2 && b.len() >= 2;
    let question = Question::new("MatMul", 13)
        .input(draw.tensor(dtype, &a))
        .operand(draw.tensor(dtype, &b), constant)
        .output(dtype);
    if dtype == F32 && matrices { with_epilogue(question, draw, b[b.len() - 1]) } else { question }
}

fn gemm(draw: &mut Draw) -> Question {
    let (m, k, n) = sizes(draw);
    let dtype = draw.pick(&[F32, F32, F32, F32, F16, BF16, F64, I32, I64]);
    let floats = dtype::is_float(dtype);
    let (turned_a, turned_b) = (draw.chance(40), draw.chance(40));
    let scale = |draw: &mut Draw| if floats && draw.chance(40) { draw.real(-1.5, 1.5) } else { 1.0 };
    let (alpha, beta) = (scale(draw), scale(draw));
    let constant = draw.chance(60);
    let a = draw.tensor(dtype, &if turned_a { [k, m] } else { [m, k] });
    let b = draw.tensor(dtype, &if turned_b { [n, k] } else { [k, n] });
    let mut question = Question::new("Gemm", 13)
        .number("alpha", alpha)
        .number("beta", beta)
        .integer("transA", turned_a.into())
        .integer("transB", turned_b.into())
        .input(a)
        .operand(b, constant);
    let addend: Option<Vec<usize>> = match draw.below(6) {
        0 => None,
        1 => Some(vec![]),
        2 => Some(vec![m, 1]),
        3 => Some(vec![m, n]),
        _ => Some(vec![n]),
    };
    if let Some(shape) = addend {
        question = question.operand(draw.tensor(dtype, &shape), constant);
    }
    let question = question.output(dtype);
    if dtype == F32 { with_epilogue(question, draw, n) } else { question }
}

/// Adds up to three steps in half of the cases. `channels` is the length of the axis that a bias runs along.
pub(super) fn with_epilogue(mut question: Question, draw: &mut Draw, channels: usize) -> Question {
    if draw.chance(25) {
        return question;
    }
    // The shape of the result is the oracle's to say.
    let Ok(answers) = crate::oracle::answer(&question) else { return question };
    let shape = answers[0].shape.clone();
    for _ in 0..draw.between(1, 3) {
        let name = draw.pick(&[
            "bias",
            "add",
            "Relu",
            "Clip",
            "Sigmoid",
            "HardSigmoid",
            "HardSwish",
            "Tanh",
            "Gelu",
            "LeakyRelu",
            "Elu",
            "Swish",
        ]);
        // Infinity times zero, which is a limit elsewhere: nobody can be held to one of them.
        if draw.special && matches!(name, "Gelu" | "Swish" | "HardSwish") {
            continue;
        }
        let number =
            |key: &str, value: f64| Kv { key: key.to_owned(), val: Attribute::Number(f64::from(value as f32)) };
        let (operand, attributes) = match name {
            "bias" => (Some(draw.finite(F32, &[channels])), Vec::new()),
            "add" => (Some(draw.finite(F32, &shape)), Vec::new()),
            "Clip" => (None, vec![number("min", draw.pick(&[0.0, -1.0])), number("max", draw.pick(&[1.0, 6.0]))]),
            "HardSigmoid" => (None, vec![number("alpha", 0.2), number("beta", 0.5)]),
            "LeakyRelu" => (None, vec![number("alpha", draw.pick(&[0.01, 0.2]))]),
            "Elu" | "Swish" => (None, vec![number("alpha", 1.0)]),
            "Gelu" => {
                let how = draw.pick(&["none", "tanh"]);
                (None, vec![Kv { key: "approximate".into(), val: Attribute::Text(how.into()) }])
            }
            _ => (None, Vec::new()),
        };
        let input = operand.map(|tensor| {
            question.inputs.push(Some(Operand { tensor, constant: name == "bias" && draw.chance(70) }));
            question.inputs.len() as u32 - 1
        });
        question.epilogue.push(EpilogueStep { op: name.into(), input, attributes });
    }
    question
}

fn integers(draw: &mut Draw) -> Question {
    let (m, k, n) = sizes(draw);
    let (a, b) = (draw.pick(&[U8, I8]), draw.pick(&[U8, I8]));
    let batch: Vec<usize> = (0..draw.below(2)).map(|_| draw.between(1, 3) as usize).collect();
    let constant = draw.chance(50);
    let mut question = Question::new("MatMulInteger", 10)
        .input(draw.tensor(a, &[&batch[..], &[m, k]].concat()))
        .operand(draw.tensor(b, &[k, n]), constant);
    match draw.below(4) {
        0 => {}
        1 => question = question.operand(draw.tensor(a, &[]), true),
        2 => question = question.without().operand(draw.tensor(b, &[n]), true),
        _ => {
            let rows = if draw.chance(50) { vec![] } else { vec![m] };
            question = question.operand(draw.tensor(a, &rows), true).operand(draw.tensor(b, &[]), true);
        }
    }
    question.output(I32)
}

fn quantised(draw: &mut Draw) -> Question {
    let (m, k, n) = sizes(draw);
    let (a, b, y) = (draw.pick(&[U8, I8]), draw.pick(&[U8, I8]), draw.pick(&[U8, I8]));
    // Powers of two: what comes before rounding is then exact whatever the order of multiplications.
    let scale =
        |draw: &mut Draw, low: i64, high: i64| Tensor::of_reals(F32, &[], &[2f64.powi(draw.between(low, high) as i32)]);
    Question::new("QLinearMatMul", 10)
        .input(draw.tensor(a, &[m, k]))
        .operand(scale(draw, -7, -3), true)
        .operand(draw.tensor(a, &[]), true)
        .operand(draw.tensor(b, &[k, n]), true)
        .operand(scale(draw, -7, -3), true)
        .operand(draw.tensor(b, &[]), true)
        .operand(scale(draw, -2, 3), true)
        .operand(draw.tensor(y, &[]), true)
        .output(y)
}

fn scaled(draw: &mut Draw) -> Question {
    draw.special = false;
    let (m, k, n) = sizes(draw);
    let (a, b) = (draw.pick(&[U8, I8]), draw.pick(&[U8, I8]));
    let batch: Vec<usize> = (0..draw.below(2)).map(|_| draw.between(1, 3) as usize).collect();
    let constant = draw.chance(70);
    let each = |draw: &mut Draw| if draw.chance(50) { vec![n] } else { vec![] };
    let (scales, zeros) = (each(draw), each(draw));
    let question = Question::new("sunmao.MatMulIntegerToFloat", 1)
        .input(draw.tensor(a, &[&batch[..], &[m, k]].concat()))
        .operand(draw.tensor(b, &[k, n]), constant)
        .operand(draw.within(F32, &[], 0.001, 0.1), draw.chance(30))
        .operand(draw.within(F32, &scales, 0.001, 0.1), constant);
    let question = match draw.below(4) {
        0 => question.without().without(),
        1 => question.operand(draw.tensor(a, &[]), false).without(),
        2 => question.without().operand(draw.tensor(b, &zeros), constant),
        _ => question.operand(draw.tensor(a, &[]), false).operand(draw.tensor(b, &zeros), constant),
    };
    let question = if draw.chance(50) { question.operand(draw.finite(F32, &[n]), true) } else { question.without() };
    with_epilogue(question.output(F32), draw, n)
}

fn blocks(draw: &mut Draw) -> Question {
    // The format, the elements and bytes of its blocks, and where half floats stand there.
    let formats: [(u16, usize, usize, &[usize]); 5] = [
        (dtype::Q4_0, 32, 18, &[0]),
        (dtype::Q8_0, 32, 34, &[0]),
        (dtype::Q4_K, 256, 144, &[0, 2]),
        (dtype::Q5_K, 256, 176, &[0, 2]),
        (dtype::Q6_K, 256, 210, &[208]),
    ];
    let (format, elements, length, halves) = draw.pick(&formats);
    let most = if elements == 32 { 4 } else { 2 };
    let (rows, k, n) = (draw.between(1, 5) as usize, elements * draw.between(1, most) as usize, draw.size(40));
    draw.empty = false;
    let mut bytes = Vec::new();
    for _ in 0..n * k / elements {
        let mut block: Vec<u8> = (0..length).map(|_| draw.next() as u8).collect();
        for &at in halves {
            block[at..at + 2].copy_from_slice(&Tensor::of_reals(F16, &[1], &[draw.real(-0.1, 0.1)]).bytes);
        }
        bytes.extend(block);
    }
    let x = draw.pick(FLOATS);
    let x = if x == F64 { F32 } else { x };
    let shape = if draw.chance(50) { vec![rows, k] } else { vec![2, rows, k] };
    let question = Question::new("sunmao.QMatMul", 1)
        .input(draw.finite(x, &shape))
        .operand(Tensor { dtype: format, shape: vec![n, k], bytes }, true);
    let question = if draw.chance(40) { question.operand(draw.finite(x, &[n]), true) } else { question };
    question.output(x)
}
