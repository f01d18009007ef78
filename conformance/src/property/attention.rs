//! Attention with a cache, and rotary embeddings.

use super::draw::Draw;
use crate::oracle::{Question, Tensor, dtype};
use dtype::{BOOL, F16, F32, I64};

pub(super) const OPERATORS: &[&str] = &["Attention", "RotaryEmbedding"];

pub(super) fn draw(op: &str, draw: &mut Draw) -> Question {
    draw.special = false;
    draw.empty = false;
    if op == "Attention" { attention(draw) } else { rotary(draw) }
}

fn attention(draw: &mut Draw) -> Question {
    let dtype = draw.pick(&[F32, F32, F32, F16]);
    let batch = draw.between(1, 2) as usize;
    let kv_heads = draw.between(1, 3) as usize;
    let heads = kv_heads * draw.between(1, 3) as usize;
    let (rows, new) = (draw.pick(&[1, 1, 2, 5, 7]), draw.pick(&[1, 3, 5, 8]));
    let (width, value_width) = (draw.pick(&[1, 4, 7, 8, 16]), draw.pick(&[3, 8, 11]));
    let past = if draw.chance(60) { draw.pick(&[0usize, 1, 4, 9]) } else { 0 };
    let with_past = past > 0 || draw.chance(30);
    let flat = draw.chance(40);
    let total = past + new;
    let mut question = Question::new("Attention", 24)
        .integer("is_causal", draw.between(0, 1))
        .integer("qk_matmul_output_mode", 0)
        .number("softcap", draw.pick(&[0.0, 0.0, 2.0]));
    if draw.chance(40) {
        question = question.number("scale", draw.real(0.1, 1.0));
    }
    let tensor = |draw: &mut Draw, heads: usize, rows: usize, width: usize| {
        let shape = if flat { vec![batch, rows, heads * width] } else { vec![batch, heads, rows, width] };
        draw.within(dtype, &shape, -1.5, 1.5)
    };
    if flat {
        question = question.integer("q_num_heads", heads as i64).integer("kv_num_heads", kv_heads as i64);
    }
    question = question
        .input(tensor(draw, heads, rows, width))
        .input(tensor(draw, kv_heads, new, width))
        .input(tensor(draw, kv_heads, new, value_width));
    let mask = match draw.below(4) {
        0 => Some(draw.within(dtype, &[rows, total], -2.0, 2.0)),
        1 => Some(draw.tensor(BOOL, &[batch, 1, rows, total])),
        _ => None,
    };
    question = match mask {
        Some(mask) => question.input(mask),
        None if with_past => question.without(),
        None => question,
    };
    question = question.output(dtype);
    if with_past {
        question = question
            .input(draw.within(dtype, &[batch, kv_heads, past, width], -1.5, 1.5))
            .input(draw.within(dtype, &[batch, kv_heads, past, value_width], -1.5, 1.5))
            .output(dtype)
            .output(dtype);
    }
    question
}

fn rotary(draw: &mut Draw) -> Question {
    let dtype = draw.pick(&[F32, F32, F16]);
    let (batch, heads, rows) = (draw.between(1, 2) as usize, draw.between(1, 4) as usize, draw.between(1, 6) as usize);
    let half = draw.between(1, 6) as usize;
    let beyond = if draw.chance(40) { draw.between(1, 3) as usize * 2 } else { 0 };
    let question = Question::new("RotaryEmbedding", 23)
        .integer("interleaved", draw.between(0, 1))
        .integer("rotary_embedding_dim", if beyond > 0 { 2 * half as i64 } else { 0 })
        .input(draw.within(dtype, &[batch, heads, rows, 2 * half + beyond], -2.0, 2.0));
    let length = 11;
    if draw.chance(60) {
        let places: Vec<i128> = (0..batch * rows).map(|_| i128::from(draw.between(0, length as i64 - 1))).collect();
        return question
            .input(draw.within(dtype, &[length, half], -1.0, 1.0))
            .input(draw.within(dtype, &[length, half], -1.0, 1.0))
            .input(Tensor::of_wholes(I64, &[batch, rows], &places))
            .output(dtype);
    }
    question
        .input(draw.within(dtype, &[batch, rows, half], -1.0, 1.0))
        .input(draw.within(dtype, &[batch, rows, half], -1.0, 1.0))
        .output(dtype)
}
