//! Operators of one input, element by element, and conversions.

use super::draw::{Draw, EVERY, FLOATS, NUMBERS, WHOLES};
use crate::oracle::{Question, Tensor, dtype};
use dtype::{BOOL, F16, F32, F64, U64};

pub(super) const OPERATORS: &[&str] = &[
    "Abs",
    "Neg",
    "Sign",
    "Floor",
    "Ceil",
    "Round",
    "Sqrt",
    "Reciprocal",
    "Exp",
    "Log",
    "Sin",
    "Cos",
    "Tan",
    "Asin",
    "Acos",
    "Atan",
    "Sinh",
    "Cosh",
    "Tanh",
    "Asinh",
    "Acosh",
    "Atanh",
    "Erf",
    "Sigmoid",
    "Relu",
    "LeakyRelu",
    "ThresholdedRelu",
    "Elu",
    "Celu",
    "Selu",
    "Gelu",
    "Swish",
    "Softplus",
    "Softsign",
    "Mish",
    "HardSigmoid",
    "HardSwish",
    "Shrink",
    "Clip",
    "Not",
    "BitwiseNot",
    "IsNaN",
    "IsInf",
    "Cast",
    "CastLike",
];

/// The revision in which the canonical form has an operator.
fn revision(op: &str) -> u16 {
    match op {
        "Sin" | "Cos" | "Tan" | "Asin" | "Acos" | "Atan" => 7,
        "Sinh" | "Cosh" | "Asinh" | "Acosh" | "Atanh" | "Shrink" => 9,
        "Round" => 11,
        "Relu" | "HardSwish" => 14,
        "LeakyRelu" => 16,
        "ThresholdedRelu" | "IsInf" => 10,
        "Elu" | "Selu" | "HardSigmoid" => 6,
        "Celu" => 12,
        "Gelu" => 20,
        "Swish" => 24,
        "Softplus" | "Softsign" | "Not" => 1,
        "Mish" | "BitwiseNot" => 18,
        "Cast" | "CastLike" => 21,
        _ => 13,
    }
}

pub(super) fn draw(op: &str, draw: &mut Draw) -> Question {
    let rank = draw.rank();
    let shape = draw.shape(rank, 600);
    let question = Question::new(op, revision(op));
    match op {
        "Cast" | "CastLike" => return convert(question, draw, &shape),
        "Not" => return question.input(draw.tensor(BOOL, &shape)).output(BOOL),
        "Clip" => return clip(question, draw, &shape),
        _ => {}
    }
    let dtype = match op {
        "Abs" | "Sign" => draw.dtype(NUMBERS),
        "Neg" | "Relu" => draw.pick(&[F32, F32, F32, F16, 16, F64, 3, 5, 6, 7]),
        "BitwiseNot" => draw.pick(WHOLES),
        _ => draw.dtype(FLOATS),
    };
    let question = with_attributes(question, op, draw);
    let x = argument(op, draw, dtype, &shape);
    let to = if matches!(op, "IsNaN" | "IsInf") { BOOL } else { dtype };
    question.input(x).output(to)
}

fn with_attributes(question: Question, op: &str, draw: &mut Draw) -> Question {
    match op {
        "LeakyRelu" => question.number("alpha", draw.pick(&[0.01, 0.1, -0.5, 1.5])),
        "ThresholdedRelu" => question.number("alpha", draw.pick(&[1.0, 0.0, 0.5])),
        "Elu" | "Celu" => question.number("alpha", draw.pick(&[1.0, 0.5, 2.0])),
        "Selu" if draw.chance(50) => question.number("alpha", 1.5).number("gamma", 1.25),
        "Selu" => question.number("alpha", 1.673_263_192_176_818_8).number("gamma", 1.050_701_022_148_132_3),
        "Gelu" => question.text("approximate", draw.pick(&["none", "tanh"])),
        "Swish" => question.number("alpha", draw.pick(&[1.0, 1.0, 0.5, 1.702])),
        "HardSigmoid" if draw.chance(50) => question.number("alpha", 0.2).number("beta", 0.5),
        "HardSigmoid" => question.number("alpha", draw.real(0.05, 1.0)).number("beta", draw.real(0.0, 0.8)),
        "Shrink" => question.number("bias", draw.pick(&[0.0, 0.5])).number("lambd", draw.pick(&[0.5, 1.0])),
        "IsInf" => {
            question.integer("detect_negative", draw.between(0, 1)).integer("detect_positive", draw.between(0, 1))
        }
        _ => question,
    }
}

/// Numbers that the function is interesting for.
fn argument(op: &str, draw: &mut Draw, dtype: u16, shape: &[usize]) -> Tensor {
    // What is infinity times zero here is a limit elsewhere: nobody can be held to one of them.
    let limits = matches!(op, "Gelu" | "Swish" | "Mish" | "HardSwish" | "Softsign");
    if limits && draw.special {
        return draw.finite(dtype, shape);
    }
    if draw.special || !dtype::is_float(dtype) {
        return draw.tensor(dtype, shape);
    }
    match op {
        // Halves have no exponent for more.
        "Exp" | "Sinh" | "Cosh" => draw.within(dtype, shape, -9.0, 9.0),
        "Log" | "Sqrt" if draw.chance(70) => draw.within(dtype, shape, 1e-3, 100.0),
        "Tanh" | "Sigmoid" | "Erf" | "Gelu" | "Swish" | "Softplus" | "Mish" | "Elu" if draw.chance(70) => {
            draw.within(dtype, shape, -12.0, 12.0)
        }
        "HardSwish" | "HardSigmoid" => draw.within(dtype, shape, -5.0, 5.0),
        "Acosh" => draw.within(dtype, shape, 0.9, 20.0),
        "Asin" | "Acos" | "Atanh" => draw.within(dtype, shape, -1.01, 1.01),
        "Floor" | "Ceil" | "Round" if draw.chance(60) => halves(draw, dtype, shape),
        _ => draw.tensor(dtype, shape),
    }
}

/// Multiples of a half, so that ties come up.
fn halves(draw: &mut Draw, dtype: u16, shape: &[usize]) -> Tensor {
    let count = shape.iter().product::<usize>();
    let values: Vec<f64> = (0..count).map(|_| draw.between(-41, 41) as f64 / 2.0).collect();
    Tensor::of_reals(dtype, shape, &values)
}

fn clip(question: Question, draw: &mut Draw, shape: &[usize]) -> Question {
    let dtype = draw.dtype(NUMBERS);
    let question = question.input(draw.tensor(dtype, shape));
    let bound = |question: Question, draw: &mut Draw, low: i64, high: i64| match draw.below(4) {
        0 => question.without(),
        n => question.operand(draw.wholes_within(dtype, &[], low, high), n > 1),
    };
    let floats = dtype::is_float(dtype);
    let real = |question: Question, draw: &mut Draw, low: f64, high: f64| match draw.below(4) {
        0 => question.without(),
        n => question.operand(draw.within(dtype, &[], low, high), n > 1),
    };
    let question = if floats { real(question, draw, -2.0, 0.5) } else { bound(question, draw, -4, 2) };
    let question = if floats { real(question, draw, 0.5, 2.0) } else { bound(question, draw, 2, 9) };
    question.output(dtype)
}

/// Numbers that both types hold, or that round; never floats beyond an integer type, which ONNX leaves open.
fn convert(question: Question, draw: &mut Draw, shape: &[usize]) -> Question {
    let (from, to) = (draw.dtype(EVERY), draw.dtype(EVERY));
    let to_whole = !dtype::is_float(to) && to != BOOL;
    let x = if dtype::is_float(from) && to_whole {
        let unsigned = dtype::range(to).0 == 0;
        let low = if unsigned { 0.0 } else { -100.0 };
        draw.within(from, shape, low, 100.0)
    } else if dtype::is_float(to) && dtype::range(from).1 > 1 << 40 && !dtype::is_float(from) {
        let low = if from == U64 { 0 } else { -(1 << 52) };
        draw.wholes_within(from, shape, low, 1 << 52)
    } else {
        draw.tensor(from, shape)
    };
    match question.op.as_str() {
        "Cast" => question.integer("to", to.into()).integer("saturate", 1).input(x).output(to),
        _ => question.integer("saturate", 1).input(x).input(draw.finite(to, &[1])).output(to),
    }
}
