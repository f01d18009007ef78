//! Operators that read or write at indices.

use super::draw::{Draw, EVERY, NUMBERS};
use crate::oracle::{Question, Tensor, dtype};
use dtype::{BOOL, I32, I64};

pub(super) const OPERATORS: &[&str] =
    &["Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND", "TensorScatter"];

pub(super) fn draw(op: &str, draw: &mut Draw) -> Question {
    match op {
        "GatherND" | "ScatterND" => by_tuples(op, draw),
        "TensorScatter" => entries(draw),
        "Gather" => gather(draw),
        _ => by_elements(op, draw),
    }
}

/// Indices into an axis, some of them counted from the back.
fn indices(draw: &mut Draw, dtype: u16, shape: &[usize], length: usize) -> Tensor {
    let length = length.max(1) as i64;
    draw.wholes_within(dtype, shape, -length, length - 1)
}

fn gather(draw: &mut Draw) -> Question {
    let dtype = draw.dtype(EVERY);
    let rank = draw.rank().max(1);
    draw.empty = false;
    let shape = draw.shape(rank, 200);
    let axis = draw.axis(rank);
    let length = shape[axis.rem_euclid(rank as i64) as usize];
    let places: Vec<usize> = (0..draw.below(3)).map(|_| draw.between(i64::from(draw.large), 5) as usize).collect();
    let wide = draw.pick(&[I32, I64]);
    let places = indices(draw, wide, &places, length);
    let constant = draw.chance(40);
    Question::new("Gather", 13)
        .integer("axis", axis)
        .input(draw.tensor(dtype, &shape))
        .operand(places, constant)
        .output(dtype)
}

fn reduced(question: Question, draw: &mut Draw) -> (Question, u16) {
    let how = draw.pick(&["none", "none", "add", "mul", "max", "min"]);
    let dtype = if how == "none" { draw.dtype(EVERY) } else { draw.dtype(NUMBERS) };
    (question.text("reduction", how), dtype)
}

fn by_elements(op: &str, draw: &mut Draw) -> Question {
    draw.special &= op == "GatherElements";
    let rank = draw.rank().max(1);
    draw.empty = false;
    let shape = draw.shape(rank, 300);
    let axis = draw.axis(rank);
    let along = axis.rem_euclid(rank as i64) as usize;
    let mut places: Vec<usize> = shape.iter().map(|&dim| draw.between(1, dim as i64) as usize).collect();
    places[along] = draw.between(0, 6) as usize;
    let wide = draw.pick(&[I32, I64]);
    let constant = draw.chance(30);
    let length = shape[along];
    if op == "GatherElements" {
        let dtype = draw.dtype(EVERY);
        if draw.large {
            places = shape.clone();
        }
        let places = indices(draw, wide, &places, length);
        let x = draw.tensor(dtype, &shape);
        return Question::new(op, 13).integer("axis", axis).input(x).operand(places, constant).output(dtype);
    }
    let (question, dtype) = reduced(Question::new(op, 16).integer("axis", axis), draw);
    // Without a reduction, two updates of one element would race: each line gets every place once.
    let unique = question.attributes.iter().any(|kv| {
        kv.key == "reduction" && matches!(&kv.val, sunmao_plugin_sdk::abi::Attribute::Text(how) if how == "none")
    });
    let places = if unique {
        places[along] = places[along].min(length);
        let turn = draw.below(length);
        let values: Vec<i128> = (0..places.iter().product::<usize>())
            .map(|at| {
                let inner: usize = places[along + 1..].iter().product();
                ((at / inner % places[along] + turn) % length) as i128
            })
            .collect();
        Tensor::of_wholes(wide, &places, &values)
    } else {
        indices(draw, wide, &places, length)
    };
    let updates = draw.tensor(dtype, &places.shape.clone());
    question.input(draw.tensor(dtype, &shape)).operand(places, constant).input(updates).output(dtype)
}

fn by_tuples(op: &str, draw: &mut Draw) -> Question {
    draw.special &= op == "GatherND";
    let rank = draw.rank().max(1);
    draw.empty = false;
    let shape = draw.shape(rank, 300);
    let batch = if op == "GatherND" && rank > 1 { draw.below(rank.min(3)) } else { 0 };
    let width = draw.between(1, (rank - batch) as i64) as usize;
    let mut outer = shape[..batch].to_vec();
    outer.extend((0..draw.below(3)).map(|_| draw.between(1, 5) as usize));
    if outer.len() == batch {
        outer.push(2);
    }
    let tuples: usize = outer.iter().product();
    let mut values = Vec::new();
    for _ in 0..tuples {
        for i in 0..width {
            let length = shape[batch + i] as i64;
            values.push(i128::from(draw.between(-length, length - 1)));
        }
    }
    let places = Tensor::of_wholes(I64, &[&outer[..], &[width]].concat(), &values);
    let constant = draw.chance(30);
    if op == "GatherND" {
        let dtype = draw.dtype(EVERY);
        let question = Question::new(op, 13).integer("batch_dims", batch as i64).input(draw.tensor(dtype, &shape));
        return question.operand(places, constant).output(dtype);
    }
    let (question, dtype) = reduced(Question::new(op, 16), draw);
    let block = [&outer[..], &shape[width..]].concat();
    // Equal updates cannot race; other than that, places may come twice.
    let updates = match question.attributes.first().map(|kv| &kv.val) {
        Some(sunmao_plugin_sdk::abi::Attribute::Text(how)) if how == "none" => {
            let one = draw.tensor(dtype, &[1]);
            let bytes = one.bytes.iter().copied().cycle().take(Tensor::bytes_of(dtype, &block)).collect();
            Tensor { dtype, shape: block, bytes }
        }
        _ => draw.tensor(dtype, &block),
    };
    question.input(draw.tensor(dtype, &shape)).operand(places, constant).input(updates).output(dtype)
}

fn entries(draw: &mut Draw) -> Question {
    let dtype = draw.dtype(EVERY);
    let dtype = if dtype == BOOL { I32 } else { dtype };
    let (batch, heads, capacity, width) = (
        draw.between(1, 3) as usize,
        draw.between(1, 4) as usize,
        draw.between(3, 12) as usize,
        draw.between(1, 7) as usize,
    );
    let (width, heads) = if draw.large { (width * 40, heads * 8) } else { (width, heads) };
    let new = draw.between(1, capacity as i64) as usize;
    let circular = draw.chance(50);
    let room = if circular { capacity * 2 } else { capacity - new };
    let held: Vec<i128> = (0..batch).map(|_| i128::from(draw.between(0, room as i64))).collect();
    let question = Question::new("TensorScatter", 24)
        .integer("axis", -2)
        .text("mode", if circular { "circular" } else { "linear" })
        .input(draw.tensor(dtype, &[batch, heads, capacity, width]))
        .input(draw.tensor(dtype, &[batch, heads, new, width]));
    let question = if draw.chance(85) { question.input(Tensor::of_wholes(I64, &[batch], &held)) } else { question };
    question.output(dtype)
}
