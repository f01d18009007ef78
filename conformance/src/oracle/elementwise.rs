//! Operators of several inputs that broadcast.

use super::index::{broadcast, tuples, under};
use super::tensor::dtype;
use super::{Answer, Question, Reals, Tensor, Unknown};

pub(super) fn answer(question: &Question) -> Option<Result<Vec<Answer>, Unknown>> {
    let name = question.op.as_str();
    Some(match name {
        "Add" | "Sub" | "Mul" | "Div" | "Mod" | "Pow" | "PRelu" | "BitShift" | "BitwiseAnd" | "BitwiseOr"
        | "BitwiseXor" | "And" | "Or" | "Xor" => pairs(question),
        "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" => compare(question),
        "Max" | "Min" | "Sum" | "Mean" => fold(question),
        "Where" => choose(question),
        _ => return None,
    })
}

fn shape_of(question: &Question) -> Result<Vec<usize>, Unknown> {
    let shapes: Result<Vec<&[usize]>, _> =
        (0..question.own()).map(|i| question.tensor(i).map(|t| &t.shape[..])).collect();
    broadcast(&shapes?).ok_or_else(|| Unknown(format!("{} of shapes that do not broadcast", question.op)))
}

fn pairs(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let (a, b) = (question.tensor(0)?, question.tensor(1)?);
    let shape = shape_of(question)?;
    if a.is_float() {
        let (left, right) = (a.reals(), b.reals());
        let combine: fn(f64, f64) -> f64 = match question.op.as_str() {
            "Add" => |a, b| a + b,
            "Sub" => |a, b| a - b,
            "Mul" => |a, b| a * b,
            "Div" => |a, b| a / b,
            "Mod" if question.whole("fmod", 0) != 0 => |a, b| a % b,
            "Pow" => f64::powf,
            "PRelu" => |x, slope| if x < 0.0 { slope * x } else { x },
            other => return Err(Unknown(format!("{other} of floats"))),
        };
        let values = tuples(&shape).map(|i| combine(left[under(&i, &a.shape)], right[under(&i, &b.shape)])).collect();
        let signed_zeros = matches!(question.op.as_str(), "Add" | "Sub" | "Mul" | "Div");
        return Ok(vec![Answer::reals(a.dtype, &shape, Reals { signed_zeros, ..Reals::plain(values) })]);
    }
    let left_shift = question.attributes().text("direction") == "LEFT";
    let (left, right) = (a.wholes(), exponents(b));
    let combine = |a: i128, b: i128| -> Result<i128, Unknown> {
        Ok(match question.op.as_str() {
            "Add" => a + b,
            "Sub" => a - b,
            "Mul" => a.wrapping_mul(b),
            "Div" if b != 0 => a / b,
            "Mod" if b != 0 && question.whole("fmod", 0) != 0 => a % b,
            "Mod" if b != 0 => (a % b + b) % b,
            "Pow" if b >= 0 => (0..b).fold(1i128, |power, _| power.wrapping_mul(a)),
            "PRelu" => {
                if a < 0 {
                    a.wrapping_mul(b)
                } else {
                    a
                }
            }
            "BitShift" if left_shift => a << b,
            "BitShift" => a >> b,
            "BitwiseAnd" | "And" => a & b,
            "BitwiseOr" | "Or" => a | b,
            "BitwiseXor" | "Xor" => a ^ b,
            other => return Err(Unknown(format!("{other} of {a} and {b}"))),
        })
    };
    let values: Result<Vec<i128>, _> =
        tuples(&shape).map(|i| combine(left[under(&i, &a.shape)], right[under(&i, &b.shape)])).collect();
    Ok(vec![Answer::stored(Tensor::of_wholes(a.dtype, &shape, &values?))])
}

/// Right operands of integers: they may be floats that are whole numbers, as exponents are.
fn exponents(b: &Tensor) -> Vec<i128> {
    if b.is_float() { b.reals().iter().map(|&x| x as i128).collect() } else { b.wholes() }
}

fn compare(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let (a, b) = (question.tensor(0)?, question.tensor(1)?);
    let shape = shape_of(question)?;
    let holds = |order: Option<std::cmp::Ordering>| match question.op.as_str() {
        "Equal" => order.is_some_and(|order| order.is_eq()),
        "Less" => order.is_some_and(|order| order.is_lt()),
        "LessOrEqual" => order.is_some_and(|order| order.is_le()),
        "Greater" => order.is_some_and(|order| order.is_gt()),
        _ => order.is_some_and(|order| order.is_ge()),
    };
    let values: Vec<i128> = if a.is_float() {
        let (left, right) = (a.reals(), b.reals());
        let order = |i: Vec<usize>| left[under(&i, &a.shape)].partial_cmp(&right[under(&i, &b.shape)]);
        tuples(&shape).map(|i| i128::from(holds(order(i)))).collect()
    } else {
        let (left, right) = (a.wholes(), b.wholes());
        let order = |i: Vec<usize>| Some(left[under(&i, &a.shape)].cmp(&right[under(&i, &b.shape)]));
        tuples(&shape).map(|i| i128::from(holds(order(i)))).collect()
    };
    Ok(vec![Answer::stored(Tensor::of_wholes(dtype::BOOL, &shape, &values))])
}

fn fold(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let shape = shape_of(question)?;
    let inputs: Vec<&Tensor> = (0..question.own()).map(|i| question.tensor(i)).collect::<Result<_, _>>()?;
    let first = inputs[0];
    let name = question.op.as_str();
    if !first.is_float() {
        let numbers: Vec<Vec<i128>> = inputs.iter().map(|input| input.wholes()).collect();
        let at = |i: &[usize]| inputs.iter().zip(&numbers).map(|(t, n)| n[under(i, &t.shape)]).collect::<Vec<_>>();
        let pick = |all: Vec<i128>| match name {
            "Max" => all.into_iter().max(),
            "Min" => all.into_iter().min(),
            _ => None,
        };
        let values: Option<Vec<i128>> = tuples(&shape).map(|i| pick(at(&i))).collect();
        let values = values.ok_or_else(|| Unknown(format!("{name} of integers")))?;
        return Ok(vec![Answer::stored(Tensor::of_wholes(first.dtype, &shape, &values))]);
    }
    let numbers: Vec<Vec<f64>> = inputs.iter().map(|input| input.reals()).collect();
    let at = |i: &[usize]| inputs.iter().zip(&numbers).map(|(t, n)| n[under(i, &t.shape)]).collect::<Vec<_>>();
    let extreme = |all: Vec<f64>, better: fn(f64, f64) -> bool| {
        all.into_iter().reduce(|a, b| if a.is_nan() || better(a, b) { a } else { b }).unwrap_or(f64::NAN)
    };
    let n = inputs.len() as f64;
    let mut values = Vec::new();
    let mut magnitudes = Vec::new();
    for i in tuples(&shape) {
        let all = at(&i);
        let sum: f64 = all.iter().sum();
        let magnitude: f64 = all.iter().map(|x| x.abs()).sum();
        let (value, magnitude) = match name {
            "Max" => (extreme(all, |a, b| a > b), 0.0),
            "Min" => (extreme(all, |a, b| a < b), 0.0),
            "Sum" => (sum, magnitude),
            _ => (sum / n, magnitude / n),
        };
        values.push(value);
        magnitudes.push(magnitude);
    }
    let reals = match name {
        "Max" | "Min" => Reals::plain(values),
        _ => Reals::sums(values, magnitudes, inputs.len()),
    };
    Ok(vec![Answer::reals(first.dtype, &shape, reals)])
}

fn choose(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let (condition, x, y) = (question.tensor(0)?, question.tensor(1)?, question.tensor(2)?);
    let shape = shape_of(question)?;
    let (chosen, from_x, from_y) = (condition.wholes(), x.wholes(), y.wholes());
    let pick = |i: Vec<usize>| {
        if chosen[under(&i, &condition.shape)] != 0 { from_x[under(&i, &x.shape)] } else { from_y[under(&i, &y.shape)] }
    };
    let values: Vec<i128> = tuples(&shape).map(pick).collect();
    Ok(vec![Answer::stored(Tensor::of_wholes(x.dtype, &shape, &values))])
}
