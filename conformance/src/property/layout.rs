//! Operators that move elements by their place.

use super::draw::{Draw, EVERY};
use crate::oracle::{Question, Tensor, dtype};
use dtype::{F32, I64};

pub(super) const OPERATORS: &[&str] = &[
    "Identity",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "DepthToSpace",
    "SpaceToDepth",
    "Concat",
    "Split",
    "Slice",
    "Pad",
    "Expand",
    "Tile",
    "Trilu",
    "Resize",
];

pub(super) fn draw(op: &str, draw: &mut Draw) -> Question {
    let dtype = draw.dtype(EVERY);
    let rank = draw.rank();
    match op {
        "Transpose" => transpose(draw, dtype, rank),
        "DepthToSpace" | "SpaceToDepth" => between_depth_and_space(op, draw, dtype),
        "Concat" => concat(draw, dtype, rank.max(1)),
        "Split" => split(draw, dtype, rank.max(1)),
        "Slice" => slice(draw, dtype, rank.max(1)),
        "Pad" => pad(draw, dtype, rank.max(1)),
        "Resize" => resize(draw, dtype),
        _ => reshaped(op, draw, dtype, rank),
    }
}

fn reshaped(op: &str, draw: &mut Draw, dtype: u16, rank: usize) -> Question {
    let rank = if op == "Trilu" { rank.max(2) } else { rank };
    let shape = draw.shape(rank, 500);
    let x = draw.tensor(dtype, &shape);
    let revision = match op {
        "Identity" => 16,
        "Reshape" | "Trilu" => 14,
        _ => 13,
    };
    let question = Question::new(op, revision);
    match op {
        "Identity" => question.input(x).output(dtype),
        "Flatten" => question.integer("axis", draw.between(-(rank as i64), rank as i64)).input(x).output(dtype),
        "Squeeze" => {
            let ones = shape.iter().enumerate().filter(|(_, dim)| **dim == 1).map(|(axis, _)| axis as i64);
            let axes: Vec<i64> = ones.filter(|_| draw.chance(60)).collect();
            question.input(x).operand(Tensor::list(&axes), true).output(dtype)
        }
        "Unsqueeze" => {
            let out = rank as i64 + 2;
            let first = draw.between(0, out - 1);
            let second = (first + draw.between(1, out - 1)) % out;
            question.input(x).operand(Tensor::list(&[first, second - out]), true).output(dtype)
        }
        "Reshape" => {
            let flat = if draw.chance(50) { vec![-1] } else { vec![1, x.count() as i64, 1] };
            let target = if draw.empty { shape.iter().rev().map(|&n| n as i64).collect() } else { flat };
            question.integer("allowzero", draw.empty.into()).input(x).operand(Tensor::list(&target), true).output(dtype)
        }
        "Expand" => {
            let target: Vec<i64> =
                shape.iter().map(|&dim| if dim == 1 { draw.between(1, 5) } else { dim as i64 }).collect();
            let target =
                if draw.chance(40) && !draw.large { [&[draw.between(1, 3)], &target[..]].concat() } else { target };
            question.input(x).operand(Tensor::list(&target), true).output(dtype)
        }
        "Tile" => {
            let repeats: Vec<i64> =
                shape.iter().map(|_| if draw.large { 1 } else { draw.between(i64::from(!draw.empty), 3) }).collect();
            question.input(x).operand(Tensor::list(&repeats), true).output(dtype)
        }
        _ => {
            let question = question.integer("upper", draw.between(0, 1)).input(x);
            let k = Tensor::of_wholes(I64, &[], &[draw.between(-6, 6).into()]);
            let question = if draw.chance(60) { question.operand(k, draw.chance(50)) } else { question };
            question.output(dtype)
        }
    }
}

fn transpose(draw: &mut Draw, dtype: u16, rank: usize) -> Question {
    let shape = draw.shape(rank, 700);
    let mut perm: Vec<i64> = (0..rank as i64).collect();
    for at in (1..rank).rev() {
        perm.swap(at, draw.below(at + 1));
    }
    let question = Question::new("Transpose", 13);
    let question = if draw.chance(85) { question.integers("perm", &perm) } else { question };
    question.input(draw.tensor(dtype, &shape)).output(dtype)
}

fn between_depth_and_space(op: &str, draw: &mut Draw, dtype: u16) -> Question {
    let block = draw.between(1, 3) as usize;
    let mut shape = draw.shape(4, 100);
    if op == "DepthToSpace" {
        shape[1] *= block * block;
    } else {
        shape[2] *= block;
        shape[3] *= block;
    }
    let question = Question::new(op, 13).integer("blocksize", block as i64);
    let question = if op == "DepthToSpace" { question.text("mode", draw.pick(&["DCR", "CRD"])) } else { question };
    question.input(draw.tensor(dtype, &shape)).output(dtype)
}

fn concat(draw: &mut Draw, dtype: u16, rank: usize) -> Question {
    let shape = draw.shape(rank, 200);
    let axis = draw.axis(rank);
    let along = axis.rem_euclid(rank as i64) as usize;
    let mut question = Question::new("Concat", 13).integer("axis", axis);
    let same = draw.chance(40);
    for _ in 0..draw.between(1, 4) {
        let mut part = shape.clone();
        if !same {
            part[along] = draw.size(if draw.large { 2000 } else { 9 });
        }
        question = question.input(draw.tensor(dtype, &part));
    }
    question.output(dtype)
}

fn split(draw: &mut Draw, dtype: u16, rank: usize) -> Question {
    let mut shape = draw.shape(rank, 300);
    let axis = draw.axis(rank);
    let along = axis.rem_euclid(rank as i64) as usize;
    let parts = draw.between(1, 4) as usize;
    let lengths: Vec<i64> = (0..parts).map(|_| draw.size(8) as i64).collect();
    if !draw.large {
        shape[along] = lengths.iter().sum::<i64>() as usize;
    }
    let mut question = Question::new("Split", 18).integer("axis", axis);
    if draw.large || draw.chance(30) {
        // Equal parts, the last one shorter; none of them may be missing.
        if shape[along] < parts {
            shape[along] = parts;
        }
        question = question.integer("num_outputs", parts as i64).input(draw.tensor(dtype, &shape));
    } else {
        question = question.input(draw.tensor(dtype, &shape)).operand(Tensor::list(&lengths), true);
    }
    (0..parts).fold(question, |question, _| question.output(dtype))
}

fn slice(draw: &mut Draw, dtype: u16, rank: usize) -> Question {
    let shape = draw.shape(rank, 600);
    let mut axes: Vec<i64> = (0..rank as i64).filter(|_| draw.chance(60)).collect();
    if axes.is_empty() {
        axes.push(0);
    }
    let (mut starts, mut ends, mut steps) = (Vec::new(), Vec::new(), Vec::new());
    for &axis in &axes {
        let n = shape[axis as usize] as i64;
        let step = if draw.large { 1 } else { draw.pick(&[1, 1, 2, 3, -1, -1, -2, -3]) };
        let (low, high) = if draw.large { (0, 2.min(n)) } else { (-n - 2, n + 2) };
        starts.push(if draw.chance(20) { if step > 0 { 0 } else { i64::MAX } } else { draw.between(low, high) });
        ends.push(if draw.large || draw.chance(25) {
            if step > 0 { i64::MAX } else { i64::MIN }
        } else {
            draw.between(low, high)
        });
        steps.push(step);
    }
    axes.iter_mut().for_each(|axis| {
        if draw.chance(40) {
            *axis -= rank as i64
        }
    });
    Question::new("Slice", 13)
        .input(draw.tensor(dtype, &shape))
        .operand(Tensor::list(&starts), true)
        .operand(Tensor::list(&ends), true)
        .operand(Tensor::list(&axes), true)
        .operand(Tensor::list(&steps), true)
        .output(dtype)
}

fn pad(draw: &mut Draw, dtype: u16, rank: usize) -> Question {
    let mode = draw.pick(&["constant", "constant", "reflect", "edge", "wrap"]);
    if mode != "constant" {
        draw.empty = false;
    }
    let shape = draw.shape(rank, 200);
    let mut axes: Vec<i64> = (0..rank as i64).filter(|_| draw.chance(60)).collect();
    if draw.chance(30) {
        axes = (0..rank as i64).collect();
    }
    let most = |axis: i64| if mode == "reflect" { shape[axis as usize] as i64 - 1 } else { 3 };
    let mut pads: Vec<i64> = Vec::new();
    for _ in 0..2 {
        for &axis in &axes {
            let n = shape[axis as usize] as i64;
            // Negative pads crop; the first side never crops all.
            let crops = mode == "constant" && n > 2 && draw.chance(25);
            pads.push(if crops { -draw.between(0, (n - 1) / 2) } else { draw.between(0, most(axis).clamp(0, 3)) });
        }
    }
    axes.iter_mut().for_each(|axis| {
        if draw.chance(40) {
            *axis -= rank as i64
        }
    });
    let question = Question::new("Pad", 21)
        .text("mode", mode)
        .input(draw.tensor(dtype, &shape))
        .operand(Tensor::list(&pads), true);
    let value = draw.finite(dtype, &[]);
    let question = if mode == "constant" && draw.chance(70) {
        question.operand(value, draw.chance(70))
    } else {
        question.without()
    };
    question.operand(Tensor::list(&axes), true).output(dtype)
}

fn resize(draw: &mut Draw, dtype: u16) -> Question {
    let linear = draw.chance(45);
    let dtype = if linear { draw.pick(super::draw::FLOATS) } else { dtype };
    draw.special = false;
    draw.empty = false;
    let shape = if draw.large { vec![1, 3, 31, 29] } else { draw.shape(4, 60).iter().map(|&dim| dim.min(9)).collect() };
    // Powers of two: no rounding decides between two neighbours.
    let scales: Vec<f64> = shape
        .iter()
        .enumerate()
        .map(|(axis, &dim)| {
            if axis < 2 && draw.chance(80) {
                return 1.0;
            }
            let scale: f64 = draw.pick(&[1.0, 2.0, 2.0, 4.0, 0.5]);
            // Of an odd length, half is not a length: what the corners are then is open.
            if dim % 2 == 1 { scale.max(1.0) } else { scale }
        })
        .collect();
    let sizes: Vec<i64> = shape.iter().zip(&scales).map(|(&dim, scale)| (dim as f64 * scale) as i64).collect();
    let by_size = linear && draw.chance(40);
    let question = Question::new("Resize", 19)
        .integer("antialias", 0)
        .text(
            "coordinate_transformation_mode",
            draw.pick(&["half_pixel", "half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]),
        )
        .number("cubic_coeff_a", -0.75)
        .integer("exclude_outside", 0)
        .number("extrapolation_value", 0.0)
        .text("keep_aspect_ratio_policy", "stretch")
        .text("mode", if linear { "linear" } else { "nearest" })
        .text("nearest_mode", draw.pick(&["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]))
        .input(draw.tensor(dtype, &shape))
        .without();
    let question = if by_size {
        question.without().operand(Tensor::list(&sizes), true)
    } else {
        question.operand(Tensor::of_reals(F32, &[4], &scales), true)
    };
    question.output(dtype)
}
