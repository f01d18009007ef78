//! Operators of several inputs that broadcast.

use super::draw::{Draw, EVERY, FLOATS, NUMBERS, WHOLES};
use crate::oracle::{Question, Tensor, dtype};
use dtype::{BF16, BOOL, F16, F32, F64, I32, I64, U32, U64};

pub(super) const OPERATORS: &[&str] = &[
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Mod",
    "Pow",
    "Max",
    "Min",
    "Sum",
    "Mean",
    "PRelu",
    "BitShift",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "And",
    "Or",
    "Xor",
    "Equal",
    "Less",
    "LessOrEqual",
    "Greater",
    "GreaterOrEqual",
    "Where",
];

fn revision(op: &str) -> u16 {
    match op {
        "Add" | "Sub" | "Mul" | "Div" => 14,
        "Pow" => 15,
        "LessOrEqual" | "GreaterOrEqual" | "Where" | "PRelu" => 16,
        "And" | "Or" | "Xor" => 7,
        "BitShift" => 11,
        "BitwiseAnd" | "BitwiseOr" | "BitwiseXor" => 18,
        _ => 13,
    }
}

/// A shape that broadcasts to `whole`: some axes of length 1, leading ones left out.
fn part_of(draw: &mut Draw, whole: &[usize]) -> Vec<usize> {
    let mut shape: Vec<usize> = whole.to_vec();
    match draw.below(4) {
        0 => {}
        1 => shape.iter_mut().for_each(|dim| {
            if draw.chance(40) {
                *dim = 1
            }
        }),
        2 => drop(shape.drain(..draw.below(whole.len() + 1))),
        _ => {
            shape.drain(..draw.below(whole.len() + 1));
            shape.iter_mut().for_each(|dim| {
                if draw.chance(40) {
                    *dim = 1
                }
            });
        }
    }
    shape
}

pub(super) fn draw(op: &str, draw: &mut Draw) -> Question {
    let rank = draw.rank();
    let whole = draw.shape(rank, 500);
    let question = Question::new(op, revision(op));
    match op {
        "Max" | "Min" | "Sum" | "Mean" => return several(question, draw, &whole),
        "Where" => {
            let dtype = draw.dtype(EVERY);
            let [condition, x, y] = [0; 3].map(|_| part_of(draw, &whole));
            return question
                .input(draw.tensor(BOOL, &condition))
                .input(draw.tensor(dtype, &x))
                .operand(draw.tensor(dtype, &y), false)
                .output(dtype);
        }
        "PRelu" => {
            let dtype = draw.pick(&[F32, F32, F16, BF16, F64, I32, I64, U32, U64]);
            let slope = part_of(draw, &whole);
            let constant = draw.chance(50);
            return question
                .input(draw.tensor(dtype, &whole))
                .operand(draw.finite(dtype, &slope), constant)
                .output(dtype);
        }
        _ => {}
    }
    let (left, right) = (part_of(draw, &whole), part_of(draw, &whole));
    let dtype = match op {
        "And" | "Or" | "Xor" => BOOL,
        "BitShift" => draw.pick(&[2, 4, U32, U64]),
        "BitwiseAnd" | "BitwiseOr" | "BitwiseXor" => draw.pick(WHOLES),
        "Equal" => draw.dtype(EVERY),
        "Pow" => draw.pick(&[F32, F32, F16, BF16, F64, I32, I64]),
        _ => draw.dtype(NUMBERS),
    };
    let question = match op {
        "BitShift" => question.text("direction", draw.pick(&["LEFT", "RIGHT"])),
        "Mod" => question.integer("fmod", if dtype::is_float(dtype) { 1 } else { draw.between(0, 1) }),
        _ => question,
    };
    let to = if matches!(op, "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual") { BOOL } else { dtype };
    let constant = draw.chance(25);
    let (a, b) = operands(op, draw, dtype, &left, &right);
    question.input(a).operand(b, constant).output(to)
}

fn operands(op: &str, draw: &mut Draw, dtype: u16, left: &[usize], right: &[usize]) -> (Tensor, Tensor) {
    let whole = !dtype::is_float(dtype);
    match op {
        "BitShift" => {
            let width = if dtype == 2 {
                8
            } else if dtype == 4 {
                16
            } else if dtype == U32 {
                32
            } else {
                64
            };
            (draw.tensor(dtype, left), draw.wholes_within(dtype, right, 0, width - 1))
        }
        // Nothing is divided by zero, nor the smallest number by minus one.
        "Div" | "Mod" if whole => {
            let divisor = draw.wholes_within(dtype, right, 1, 40);
            let signed = dtype::range(dtype).0 < 0;
            let values: Vec<i128> =
                divisor.wholes().iter().map(|&n| if signed && draw.chance(50) { -n - 1 } else { n }).collect();
            (draw.tensor(dtype, left), Tensor::of_wholes(dtype, right, &values))
        }
        "Mod" => (draw.within(dtype, left, -50.0, 50.0), draw.within(dtype, right, 0.5, 9.0)),
        "Pow" if whole => {
            let exponent = draw.pick(&[I32, I64, F32]);
            (draw.wholes_within(dtype, left, -6, 6), draw.wholes_within_or_reals(exponent, right))
        }
        "Pow" if draw.special => (draw.tensor(dtype, left), draw.wholes_within_or_reals(F32, right)),
        "Pow" if draw.chance(50) => (draw.within(dtype, left, 0.05, 4.0), draw.within(dtype, right, -3.0, 3.0)),
        "Pow" => {
            let exponent = draw.pick(&[F32, I32, I64, dtype]);
            (draw.within(dtype, left, -4.0, 4.0), draw.wholes_within_or_reals(exponent, right))
        }
        // Equal neighbours are worth having.
        "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual"
            if !draw.special && draw.chance(60) && dtype != BOOL =>
        {
            let (a, b) = (draw.wholes_within(dtype::I8, left, 0, 4), draw.wholes_within(dtype::I8, right, 0, 4));
            (Tensor::of_reals(dtype, left, &a.reals()), Tensor::of_reals(dtype, right, &b.reals()))
        }
        _ => (draw.tensor(dtype, left), draw.tensor(dtype, right)),
    }
}

impl Draw {
    /// Small whole numbers, not negative, in any type.
    fn wholes_within_or_reals(&mut self, dtype: u16, shape: &[usize]) -> Tensor {
        let whole = self.wholes_within(dtype::I8, shape, 0, 5);
        Tensor::of_reals(dtype, shape, &whole.reals())
    }
}

fn several(mut question: Question, draw: &mut Draw, whole: &[usize]) -> Question {
    let dtype = if matches!(question.op.as_str(), "Sum" | "Mean") { draw.dtype(FLOATS) } else { draw.dtype(NUMBERS) };
    for _ in 0..draw.between(1, 4) {
        let shape = part_of(draw, whole);
        question = question.input(draw.tensor(dtype, &shape));
    }
    question.output(dtype)
}
