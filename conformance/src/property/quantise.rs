//! Quantisation and its inverse: one scale, a scale for each channel, a scale for each block.

use super::draw::Draw;
use crate::oracle::{Question, Tensor, dtype};
use dtype::{F32, I8, I32, U8};

pub(super) const OPERATORS: &[&str] = &["QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "sunmao.QAdd"];

/// The scales of a case.
struct Scales {
    shape: Vec<usize>,
    values: Vec<f64>,
    axis: i64,
    block: i64,
    /// Whether they are powers of two, so that ties between two stored numbers are real ties.
    exact: bool,
}

fn scales(draw: &mut Draw, shape: &[usize]) -> Scales {
    let rank = shape.len();
    let axis = if rank == 0 { 0 } else { draw.axis(rank) };
    let along = if rank == 0 { 0 } else { axis.rem_euclid(rank as i64) as usize };
    let exact = draw.chance(60);
    let kind = if rank == 0 { 0 } else { draw.below(3) };
    let (scale_shape, block) = match kind {
        0 => (vec![], 0),
        1 => (vec![shape[along]], 0),
        _ => {
            let block = [4, 3, 2, 1].into_iter().find(|block| shape[along].is_multiple_of(*block)).unwrap_or(1);
            let mut blocks = shape.to_vec();
            blocks[along] /= block;
            (blocks, block as i64)
        }
    };
    let count = scale_shape.iter().product::<usize>();
    let values = (0..count)
        .map(|_| if exact { 2f64.powi(draw.between(-4, 1) as i32) } else { f64::from(draw.real(0.01, 0.2) as f32) })
        .collect();
    Scales { shape: scale_shape, values, axis, block, exact }
}

pub(super) fn draw(op: &str, draw: &mut Draw) -> Question {
    draw.special = false;
    let rank = draw.rank();
    let shape = draw.shape(rank, 600);
    if op == "sunmao.QAdd" {
        return add(draw, &shape);
    }
    if op == "DynamicQuantizeLinear" {
        let (low, high) = draw.pick(&[(-1.0, 3.0), (0.5, 2.0), (-4.0, -1.0), (0.0, 0.0)]);
        let x = if low == high {
            Tensor::of_reals(F32, &shape, &vec![0.0; shape.iter().product()])
        } else {
            draw.within(F32, &shape, low, high)
        };
        return Question::new(op, 11).input(x).output(U8).output(F32).output(U8);
    }
    let stored = draw.stored();
    let scales = scales(draw, &shape);
    let scale = Tensor::of_reals(F32, &scales.shape, &scales.values);
    let zero = draw.tensor(stored, &scales.shape);
    let question = Question::new(op, 23)
        .integer("axis", if rank == 0 { 1 } else { scales.axis })
        .integer("block_size", scales.block)
        .integer("output_dtype", 0);
    let constant = draw.chance(70);
    if op == "DequantizeLinear" {
        if draw.chance(15) {
            return question.input(draw.tensor(I32, &shape)).operand(scale, constant).output(F32);
        }
        let x = draw.tensor(stored, &shape);
        return question.input(x).operand(scale, constant).operand(zero, constant).output(F32);
    }
    let question = question.integer("precision", 0).integer("saturate", 1);
    let x = numbers(draw, &scales, &shape, stored);
    let question = question.input(x).operand(scale, constant);
    let question = if stored == U8 && draw.chance(20) { question } else { question.operand(zero, constant) };
    question.output(stored)
}

/// Every second case has scales that are powers of two, so that sums lie in the very middle between two stored numbers; some sums saturate.
fn add(draw: &mut Draw, shape: &[usize]) -> Question {
    let exact = draw.chance(50);
    let scale = |draw: &mut Draw| {
        let value = if exact { 2f64.powi(draw.between(-4, -1) as i32) } else { draw.real(0.02, 0.4) };
        Tensor::of_reals(F32, &[], &[value])
    };
    let mut question = Question::new("sunmao.QAdd", 1);
    for _ in 0..2 {
        let stored = draw.pick(&[U8, I8]);
        let constant = draw.chance(80);
        question = question
            .input(draw.tensor(stored, shape))
            .operand(scale(draw), constant)
            .operand(draw.tensor(stored, &[]), constant);
    }
    let stored = draw.pick(&[U8, I8]);
    let constant = draw.chance(80);
    question.operand(scale(draw), constant).operand(draw.tensor(stored, &[]), constant).output(stored)
}

/// Numbers a little off the middle between two stored ones, and where the scale is a power of two the very middle as well; some
/// lie beyond what is stored.
fn numbers(draw: &mut Draw, scales: &Scales, shape: &[usize], stored: u16) -> Tensor {
    let reach = (dtype::range(stored).1 as f64 * 1.5).min(4000.0);
    let scale = scales.values.iter().copied().fold(0.0, f64::max).max(1e-3);
    let one = |draw: &mut Draw| {
        let whole = draw.between(-reach as i64, reach as i64) as f64;
        if scales.exact && draw.chance(40) {
            return (whole + 0.5) * scale;
        }
        (whole + draw.real(-0.4, 0.4)) * scale
    };
    let values: Vec<f64> = (0..shape.iter().product::<usize>()).map(|_| one(draw)).collect();
    Tensor::of_reals(F32, shape, &values)
}
