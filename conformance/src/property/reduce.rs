//! Reductions over any axes, running sums, places of extremes.

use super::draw::{Draw, FLOATS, NUMBERS};
use crate::oracle::{Question, Tensor, dtype};
use dtype::{BF16, F16, F32, F64, I32, I64, U32, U64};

pub(super) const OPERATORS: &[&str] = &[
    "ReduceSum",
    "ReduceMean",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceL1",
    "ReduceL2",
    "ReduceSumSquare",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "CumSum",
    "CumProd",
    "ArgMax",
    "ArgMin",
    "TopK",
];

pub(super) fn draw(op: &str, draw: &mut Draw) -> Question {
    match op {
        "GlobalAveragePool" | "GlobalMaxPool" => {
            let dtype = draw.dtype(FLOATS);
            let rank = draw.pick(&[3, 4, 4, 5]);
            let shape = draw.shape(rank, 800);
            Question::new(op, 1).input(draw.tensor(dtype, &shape)).output(dtype)
        }
        "CumSum" | "CumProd" => cumulate(op, draw),
        "ArgMax" | "ArgMin" => extreme(op, draw),
        "TopK" => top(draw),
        _ => reduction(op, draw),
    }
}

fn revision(op: &str) -> u16 {
    if op == "ReduceSum" { 13 } else { 18 }
}

fn reduction(op: &str, draw: &mut Draw) -> Question {
    let rank = draw.rank();
    // A sum over nothing is nothing's business of means and logarithms.
    let empty = draw.empty;
    draw.empty &= matches!(op, "ReduceSum" | "ReduceProd" | "ReduceL1" | "ReduceSumSquare");
    let shape = draw.shape(rank, 800);
    draw.empty = empty;
    let whole = matches!(op, "ReduceSum" | "ReduceProd" | "ReduceL1" | "ReduceSumSquare" | "ReduceMax" | "ReduceMin");
    let dtype = match op {
        "ReduceMax" | "ReduceMin" => draw.pick(&[F32, F32, F16, BF16, F64, 2, 3, I32, I64, U32, U64]),
        _ if whole => draw.pick(&[F32, F32, F16, BF16, F64, I32, I64, U32, U64]),
        _ => draw.dtype(FLOATS),
    };
    let x = match op {
        "ReduceProd" if dtype::is_float(dtype) => draw.within(dtype, &shape, 0.7, 1.4),
        "ReduceLogSum" => draw.within(dtype, &shape, 0.1, 2.0),
        "ReduceLogSumExp" => draw.within(dtype, &shape, -5.0, 5.0),
        _ => draw.tensor(dtype, &shape),
    };
    let mut axes: Vec<i64> = (0..rank as i64).filter(|_| draw.chance(50)).collect();
    axes.iter_mut().for_each(|axis| {
        if draw.chance(40) {
            *axis -= rank as i64
        }
    });
    let question = Question::new(op, revision(op))
        .integer("keepdims", draw.between(0, 1))
        .integer("noop_with_empty_axes", draw.between(0, 1))
        .input(x);
    let question = if draw.chance(15) { question } else { question.operand(Tensor::list(&axes), true) };
    question.output(dtype)
}

fn cumulate(op: &str, draw: &mut Draw) -> Question {
    let rank = draw.rank().max(1);
    // The oracle adds every prefix anew.
    let large = std::mem::replace(&mut draw.large, false);
    let mut shape = draw.shape(rank, 300);
    if large {
        shape = vec![700, 11, 5];
    }
    let rank = shape.len();
    let dtype = draw.pick(&[F32, F32, F16, BF16, F64, I32, I64, U32, U64]);
    let x = if op == "CumProd" && dtype::is_float(dtype) {
        draw.within(dtype, &shape, 0.8, 1.25)
    } else {
        draw.tensor(dtype, &shape)
    };
    let axis = draw.axis(rank);
    Question::new(op, if op == "CumSum" { 14 } else { 26 })
        .integer("exclusive", draw.between(0, 1))
        .integer("reverse", draw.between(0, 1))
        .input(x)
        .operand(Tensor::of_wholes(draw.pick(&[I32, I64]), &[], &[axis.into()]), true)
        .output(dtype)
}

/// Numbers among which there are equal ones.
fn with_ties(draw: &mut Draw, dtype: u16, shape: &[usize]) -> Tensor {
    if draw.chance(50) {
        let few = draw.wholes_within(dtype::I8, shape, 0, 5);
        return Tensor::of_reals(dtype, shape, &few.reals());
    }
    draw.finite(dtype, shape)
}

fn extreme(op: &str, draw: &mut Draw) -> Question {
    let rank = draw.rank().max(1);
    let empty = std::mem::replace(&mut draw.empty, false);
    let shape = draw.shape(rank, 600);
    draw.empty = empty;
    let dtype = draw.dtype(NUMBERS);
    Question::new(op, 13)
        .integer("axis", draw.axis(rank))
        .integer("keepdims", draw.between(0, 1))
        .integer("select_last_index", draw.between(0, 1))
        .input(with_ties(draw, dtype, &shape))
        .output(I64)
}

fn top(draw: &mut Draw) -> Question {
    let rank = draw.rank().max(1);
    let large = std::mem::replace(&mut draw.large, false);
    let mut shape = draw.shape(rank, 300);
    if large {
        shape = vec![97, 40, 3];
    }
    let axis = draw.axis(shape.len());
    let length = shape[axis.rem_euclid(shape.len() as i64) as usize];
    let k = if draw.chance(30) { length as i64 } else { draw.between(0, length as i64) };
    let dtype = draw.dtype(NUMBERS);
    Question::new("TopK", 11)
        .integer("axis", axis)
        .integer("largest", draw.between(0, 1))
        .integer("sorted", 1)
        .input(with_ties(draw, dtype, &shape))
        .operand(Tensor::list(&[k]), true)
        .output(dtype)
        .output(I64)
}
