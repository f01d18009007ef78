//! Operators that write elements to places given by index.

use super::index::{place, tuples};
use super::question::from_front;
use super::{Answer, Question, Reals, Tensor, Unknown};

pub(super) fn answer(question: &Question) -> Option<Result<Vec<Answer>, Unknown>> {
    Some(match question.op.as_str() {
        "ScatterElements" => elements(question),
        "ScatterND" => blocks(question),
        "TensorScatter" => entries(question),
        _ => return None,
    })
}

/// Applies updates, given as pairs of a place and the place of its update, in order.
fn updated(
    question: &Question,
    x: &Tensor,
    updates: &Tensor,
    writes: &[(usize, usize)],
) -> Result<Vec<Answer>, Unknown> {
    let how = question.attributes().text("reduction").to_owned();
    if matches!(how.as_str(), "" | "none") || question.op == "TensorScatter" {
        let (mut values, new) = (x.wholes(), updates.wholes());
        for &(to, from) in writes {
            values[to] = new[from];
        }
        return Ok(vec![Answer::stored(Tensor::of_wholes(x.dtype, &x.shape, &values))]);
    }
    if !x.is_float() {
        let (mut values, new) = (x.wholes(), updates.wholes());
        for &(to, from) in writes {
            let (old, new) = (values[to], new[from]);
            values[to] = match how.as_str() {
                "add" => old.wrapping_add(new),
                "mul" => old.wrapping_mul(new),
                "max" => old.max(new),
                "min" => old.min(new),
                other => return Err(Unknown(format!("reduction {other}"))),
            };
        }
        return Ok(vec![Answer::stored(Tensor::of_wholes(x.dtype, &x.shape, &values))]);
    }
    let (mut values, new) = (x.reals(), updates.reals());
    let format = super::float::format(x.dtype).ok_or_else(|| Unknown("this element type".into()))?;
    for &(to, from) in writes {
        let (old, new) = (values[to], new[from]);
        let next = match how.as_str() {
            "add" => old + new,
            "mul" => old * new,
            "max" => {
                if old.is_nan() || old > new {
                    old
                } else {
                    new
                }
            }
            "min" => {
                if old.is_nan() || old < new {
                    old
                } else {
                    new
                }
            }
            other => return Err(Unknown(format!("reduction {other}"))),
        };
        // Every step is stored in the element type before the next one.
        values[to] = format.decode(format.encode(next));
    }
    Ok(vec![Answer::reals(x.dtype, &x.shape, Reals::plain(values))])
}

fn elements(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let (x, indices, updates) = (question.tensor(0)?, question.tensor(1)?, question.tensor(2)?);
    let axis = question.axis("axis", 0, x.shape.len());
    let places = indices.wholes();
    let write = |(from, mut index): (usize, Vec<usize>)| {
        index[axis] = from_front(places[from] as i64, x.shape[axis]);
        (place(&index, &x.shape), from)
    };
    let writes: Vec<_> = tuples(&indices.shape).enumerate().map(write).collect();
    updated(question, x, updates, &writes)
}

fn blocks(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let (x, indices, updates) = (question.tensor(0)?, question.tensor(1)?, question.tensor(2)?);
    let places = indices.wholes();
    let (&width, outer) = indices.shape.split_last().ok_or_else(|| Unknown("ScatterND by a scalar".into()))?;
    let write = |(from, index): (usize, Vec<usize>)| {
        let first = place(&index[..outer.len()], outer) * width;
        let mut to: Vec<usize> = (0..width).map(|i| from_front(places[first + i] as i64, x.shape[i])).collect();
        to.extend(&index[outer.len()..]);
        (place(&to, &x.shape), from)
    };
    let writes: Vec<_> = tuples(&updates.shape).enumerate().map(write).collect();
    updated(question, x, updates, &writes)
}

fn entries(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let (x, updates) = (question.tensor(0)?, question.tensor(1)?);
    let axis = question.axis("axis", -2, x.shape.len());
    let held = question.list(2).unwrap_or_else(|| vec![0; x.shape[0]]);
    let write = |(from, mut index): (usize, Vec<usize>)| {
        let at = held[index[0]] as usize + index[axis];
        index[axis] = if question.attributes().text("mode") == "circular" { at % x.shape[axis] } else { at };
        (place(&index, &x.shape), from)
    };
    let writes: Vec<_> = tuples(&updates.shape).enumerate().map(write).collect();
    updated(question, x, updates, &writes)
}
