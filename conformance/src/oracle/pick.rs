//! Operators that pick elements by index or by order.

use super::index::{place, tuples};
use super::question::from_front;
use super::tensor::dtype;
use super::{Answer, Question, Tensor, Unknown};
use std::cmp::Ordering;

pub(super) fn answer(question: &Question) -> Option<Result<Vec<Answer>, Unknown>> {
    Some(match question.op.as_str() {
        "Gather" => gather(question),
        "GatherElements" => gather_elements(question),
        "GatherND" => gather_tuples(question),
        "ArgMax" | "ArgMin" => extreme_place(question),
        "TopK" => top(question),
        _ => return None,
    })
}

fn gather(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let (x, indices) = (question.tensor(0)?, question.tensor(1)?);
    let axis = question.axis("axis", 0, x.shape.len());
    let places = indices.wholes();
    let inner = indices.shape.len();
    let mut shape = x.shape[..axis].to_vec();
    shape.extend(&indices.shape);
    shape.extend(&x.shape[axis + 1..]);
    let from = |index: Vec<usize>| {
        let mut source = index[..axis].to_vec();
        let at = places[place(&index[axis..axis + inner], &indices.shape)];
        source.push(from_front(at as i64, x.shape[axis]));
        source.extend(&index[axis + inner..]);
        Some(place(&source, &x.shape))
    };
    Ok(vec![Answer::stored(x.picked(&shape, tuples(&shape).map(from)))])
}

fn gather_elements(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let (x, indices) = (question.tensor(0)?, question.tensor(1)?);
    let axis = question.axis("axis", 0, x.shape.len());
    let places = indices.wholes();
    let from = |(at, mut index): (usize, Vec<usize>)| {
        index[axis] = from_front(places[at] as i64, x.shape[axis]);
        Some(place(&index, &x.shape))
    };
    Ok(vec![Answer::stored(x.picked(&indices.shape, tuples(&indices.shape).enumerate().map(from)))])
}

fn gather_tuples(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let (x, indices) = (question.tensor(0)?, question.tensor(1)?);
    let batch = question.whole("batch_dims", 0) as usize;
    let places = indices.wholes();
    let (&width, outer) = indices.shape.split_last().ok_or_else(|| Unknown("GatherND by a scalar".into()))?;
    let mut shape = outer.to_vec();
    shape.extend(&x.shape[batch + width..]);
    let from = |index: Vec<usize>| {
        let first = place(&index[..outer.len()], outer) * width;
        let mut source = index[..batch].to_vec();
        source.extend((0..width).map(|i| from_front(places[first + i] as i64, x.shape[batch + i])));
        source.extend(&index[outer.len()..]);
        Some(place(&source, &x.shape))
    };
    Ok(vec![Answer::stored(x.picked(&shape, tuples(&shape).map(from)))])
}

/// The order of the elements; a NaN is the largest.
fn order(x: &Tensor) -> impl Fn(usize, usize) -> Ordering + use<> {
    let (floats, reals, wholes) = (x.is_float(), x.reals(), x.wholes());
    move |a, b| {
        if floats {
            reals[a].partial_cmp(&reals[b]).unwrap_or_else(|| reals[a].is_nan().cmp(&reals[b].is_nan()))
        } else {
            wholes[a].cmp(&wholes[b])
        }
    }
}

fn extreme_place(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let x = question.tensor(0)?;
    let axis = question.axis("axis", 0, x.shape.len());
    let last = question.whole("select_last_index", 0) != 0;
    let largest = question.op == "ArgMax";
    let compare = order(x);
    let mut kept = x.shape.clone();
    kept[axis] = 1;
    let best = |mut index: Vec<usize>| {
        let mut best: Option<(usize, usize)> = None;
        for i in 0..x.shape[axis] {
            index[axis] = i;
            let at = place(&index, &x.shape);
            let wins = best.is_none_or(|(before, _)| match compare(at, before) {
                Ordering::Greater => largest,
                Ordering::Less => !largest,
                Ordering::Equal => last,
            });
            if wins {
                best = Some((at, i));
            }
        }
        best.map_or(0, |(_, i)| i as i128)
    };
    let values: Vec<i128> = tuples(&kept).map(best).collect();
    if question.whole("keepdims", 1) == 0 {
        kept.remove(axis);
    }
    Ok(vec![Answer::stored(Tensor::of_wholes(dtype::I64, &kept, &values))])
}

fn top(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let x = question.tensor(0)?;
    let axis = question.axis("axis", -1, x.shape.len());
    let k = question.list(1).and_then(|k| k.first().copied()).ok_or_else(|| Unknown("TopK without k".into()))? as usize;
    let largest = question.whole("largest", 1) != 0;
    let compare = order(x);
    let mut shape = x.shape.clone();
    shape[axis] = k;
    // For each line, its indices in order; ties by the lower index.
    let ranked = |index: &[usize]| {
        let at = |i: usize| {
            let mut from = index.to_vec();
            from[axis] = i;
            place(&from, &x.shape)
        };
        let mut line: Vec<usize> = (0..x.shape[axis]).collect();
        line.sort_by(|&a, &b| {
            let order = compare(at(a), at(b));
            if largest { order.reverse() } else { order }
        });
        let i = line[index[axis]];
        (at(i), i as i128)
    };
    let found: Vec<(usize, i128)> = tuples(&shape).map(|index| ranked(&index)).collect();
    let values = x.picked(&shape, found.iter().map(|&(at, _)| Some(at)));
    let places: Vec<i128> = found.iter().map(|&(_, i)| i).collect();
    Ok(vec![Answer::stored(values), Answer::stored(Tensor::of_wholes(dtype::I64, &shape, &places))])
}
