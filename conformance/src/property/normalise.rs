//! Normalisations.

use super::draw::{Draw, FLOATS};
use crate::oracle::{Question, dtype};
use dtype::F32;

pub(super) const OPERATORS: &[&str] = &[
    "Softmax",
    "LogSoftmax",
    "Hardmax",
    "LayerNormalization",
    "RMSNormalization",
    "GroupNormalization",
    "InstanceNormalization",
    "BatchNormalization",
    "LRN",
];

const EPSILON: f64 = 1e-5;

pub(super) fn draw(op: &str, draw: &mut Draw) -> Question {
    let dtype = draw.pick(FLOATS);
    // Statistics of what is not finite are not; where it shows is up to the algorithm.
    draw.special = false;
    match op {
        "Softmax" | "LogSoftmax" | "Hardmax" => {
            let rank = draw.rank().max(1);
            let shape = draw.shape(rank, 800);
            let axis = draw.axis(rank);
            let x = draw.within(dtype, &shape, -12.0, 12.0);
            Question::new(op, 13).integer("axis", axis).input(x).output(dtype)
        }
        "LayerNormalization" | "RMSNormalization" => along_last(op, draw, dtype),
        "LRN" => {
            let rank = draw.pick(&[3, 4, 4, 5]);
            let shape = draw.shape(rank, 500);
            let x = draw.tensor(dtype, &shape);
            Question::new(op, 13)
                .number("alpha", draw.pick(&[1e-4, 0.05]))
                .number("beta", draw.pick(&[0.75, 0.75, 0.5]))
                .number("bias", draw.pick(&[1.0, 2.0]))
                .integer("size", draw.between(1, 6))
                .input(x)
                .output(dtype)
        }
        _ => by_channel(op, draw, dtype),
    }
}

fn along_last(op: &str, draw: &mut Draw, dtype: u16) -> Question {
    let rank = draw.rank().max(1);
    draw.empty = false;
    let shape = draw.shape(rank, 900);
    let axis = draw.axis(rank);
    let from = axis.rem_euclid(rank as i64) as usize;
    let constant = draw.chance(60);
    let x = draw.tensor(dtype, &shape);
    let scale = draw.tensor(dtype, &shape[from..]);
    let question = Question::new(op, if op == "RMSNormalization" { 23 } else { 17 })
        .integer("axis", axis)
        .number("epsilon", draw.pick(&[EPSILON, 1e-3]))
        .integer("stash_type", 1)
        .input(x)
        .operand(scale, constant);
    if op == "RMSNormalization" {
        return question.output(dtype);
    }
    let question =
        if draw.chance(70) { question.operand(draw.tensor(dtype, &shape[from..]), constant) } else { question };
    let question = question.output(dtype);
    if draw.chance(30) { question.output(F32).output(F32) } else { question }
}

fn by_channel(op: &str, draw: &mut Draw, dtype: u16) -> Question {
    draw.empty &= op == "BatchNormalization";
    let rank = draw.pick(&[3, 4, 4, 5]);
    let mut shape = draw.shape(rank, 600);
    let groups = draw.between(1, 4) as usize;
    let per_group = op == "GroupNormalization";
    if per_group {
        shape[1] = if draw.large { shape[1] * groups } else { groups * draw.between(1, 4) as usize };
    }
    let channels = shape[1];
    let revision = match op {
        "GroupNormalization" => 21,
        "InstanceNormalization" => 6,
        _ => 15,
    };
    let constant = draw.chance(60);
    let x = draw.tensor(dtype, &shape);
    let mut question = Question::new(op, revision).number("epsilon", draw.pick(&[EPSILON, 1e-3]));
    if per_group {
        question = question.integer("num_groups", groups as i64).integer("stash_type", 1);
    }
    if op == "BatchNormalization" {
        question = question.number("momentum", 0.9).integer("training_mode", 0);
    }
    question = question.input(x);
    for _ in 0..2 {
        question = question.operand(draw.tensor(dtype, &[channels]), constant);
    }
    if op == "BatchNormalization" {
        let (mean, variance) = (draw.tensor(dtype, &[channels]), draw.within(dtype, &[channels], 0.2, 4.0));
        question = question.operand(mean, constant).operand(variance, constant);
    }
    question.output(dtype)
}
