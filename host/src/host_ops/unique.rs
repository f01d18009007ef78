//! Unique: the different elements of a tensor, or the different slices along an axis.

use super::Value;
use super::call::{Call, Outcome};
use super::elements::{reshaped, take, texts};
use super::limits::PLACES_MAX;
use super::walk::{places, strides};
use std::cmp::Ordering;
use sunmao_graph::tensor::{elements, read_integers, read_numbers};
use sunmao_graph::{DType, Tensor};

/// The different rows of a list of rows.
struct Groups {
    /// Where each one occurs first.
    first: Vec<usize>,
    /// For every row, the group that it belongs to.
    of: Vec<usize>,
    /// How many rows belong to each.
    counts: Vec<usize>,
}

/// The different elements or slices, where each occurs first, which one each element is, and how often each occurs.
pub(super) fn unique(call: &Call<'_>) -> Outcome {
    let data = call.tensor(0)?;
    let count = elements(&data.shape).filter(|count| *count <= PLACES_MAX);
    let count = count.ok_or("got more than 2^27 elements; give it less to work on")?;
    let flat;
    let (data, axis) = match call.axis(data.shape.len())? {
        Some(axis) => (data, axis),
        None => {
            flat = reshaped(data, vec![count])?;
            (&flat, 0)
        }
    };
    let rows = usize::try_from(data.shape[axis]).map_err(|_| "has too long an axis".to_owned())?;
    let order = slice_by_slice(data, axis)?;
    let sorted = call.attribute("sorted")? != 0;
    let groups = if data.dtype == DType::String {
        let texts = texts(data)?;
        group(rows, &order.iter().map(|place| texts[*place]).collect::<Vec<_>>(), sorted)
    } else {
        let keys = sort_keys(data)?;
        group(rows, &order.iter().map(|place| keys[*place]).collect::<Vec<_>>(), sorted)
    };
    let list =
        |values: &[usize]| Value::Tensor(Tensor::vector(&values.iter().map(|value| *value as i64).collect::<Vec<_>>()));
    let kept = take(data, axis, &groups.first)?;
    Ok(vec![Value::Tensor(kept), list(&groups.first), list(&groups.of), list(&groups.counts)])
}

/// Places of all elements, slice by slice along the axis.
fn slice_by_slice(data: &Tensor, axis: usize) -> Result<Vec<usize>, String> {
    let mut steps = strides(&data.shape)?;
    let mut lengths = data.shape.clone();
    lengths[..=axis].rotate_right(1);
    steps[..=axis].rotate_right(1);
    places(&lengths, &steps)
}

/// Numbers that sort as the elements do: -0 as 0, all NaN as one, behind everything else.
fn sort_keys(data: &Tensor) -> Result<Vec<u64>, String> {
    const SIGN: u64 = 1 << 63;
    if data.dtype == DType::U64 {
        return Ok(data.bytes.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect());
    }
    if let Some(integers) = read_integers(data.dtype, &data.bytes) {
        return Ok(integers.into_iter().map(|integer| integer as u64 ^ SIGN).collect());
    }
    let numbers = read_numbers(data.dtype, &data.bytes)
        .ok_or_else(|| format!("does not sort {}; cast it to a plain number type first", data.dtype))?;
    let key = |number: f64| match (number + 0.0).to_bits() {
        _ if number.is_nan() => u64::MAX,
        negative if negative & SIGN != 0 => !negative,
        positive => positive | SIGN,
    };
    Ok(numbers.into_iter().map(key).collect())
}

/// Groups equal rows; `keys` holds the rows one behind the other.
fn group<K: Ord>(rows: usize, keys: &[K], sorted: bool) -> Groups {
    let width = keys.len().checked_div(rows).unwrap_or_default();
    let row = |index: usize| &keys[index * width..(index + 1) * width];
    let mut by_value: Vec<usize> = (0..rows).collect();
    by_value.sort_unstable_by(|a, b| row(*a).cmp(row(*b)).then(a.cmp(b)));
    let mut groups = Groups { first: Vec::new(), of: vec![0; rows], counts: Vec::new() };
    let mut before: Option<usize> = None;
    for index in by_value {
        if before.is_none_or(|before| row(before).cmp(row(index)) != Ordering::Equal) {
            groups.first.push(index);
            groups.counts.push(0);
        }
        let newest = groups.first.len() - 1;
        groups.of[index] = newest;
        groups.counts[newest] += 1;
        before = Some(index);
    }
    if sorted { groups } else { by_occurrence(groups) }
}

fn by_occurrence(groups: Groups) -> Groups {
    let mut order: Vec<usize> = (0..groups.first.len()).collect();
    order.sort_unstable_by_key(|group| groups.first[*group]);
    let mut rank = vec![0; order.len()];
    for (new, old) in order.iter().enumerate() {
        rank[*old] = new;
    }
    Groups {
        first: order.iter().map(|group| groups.first[*group]).collect(),
        of: groups.of.iter().map(|group| rank[*group]).collect(),
        counts: order.iter().map(|group| groups.counts[*group]).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use sunmao_graph::{Attribute, Tensor};

    fn lists(results: Vec<crate::host_ops::Value>) -> (Tensor, Vec<Vec<i64>>) {
        let mut tensors = results.into_iter().map(tensor);
        let values = tensors.next().expect("the values");
        (values, tensors.map(|list| as_integers(&list).1).collect())
    }

    #[test]
    fn sorted_and_unsorted_elements() {
        let x = || floats(&[6], &[2.0, 1.0, 1.0, 3.0, 4.0, 3.0]);
        let (y, rest) = lists(run("Unique", &[], &[x()], 4));
        assert_eq!(as_numbers(&y), (vec![4], vec![1.0, 2.0, 3.0, 4.0]));
        assert_eq!(rest, [vec![1, 0, 3, 4], vec![1, 0, 0, 2, 3, 2], vec![2, 1, 2, 1]]);
        let (y, rest) = lists(run("Unique", &[("sorted", Attribute::Integer(0))], &[x()], 4));
        assert_eq!(as_numbers(&y), (vec![4], vec![2.0, 1.0, 3.0, 4.0]));
        assert_eq!(rest, [vec![0, 1, 3, 4], vec![0, 1, 1, 2, 3, 2], vec![1, 2, 2, 1]]);
    }

    #[test]
    fn slices_along_an_axis() {
        let x = floats(&[2, 4, 2], &[1., 1., 0., 1., 2., 1., 0., 1., 1., 1., 0., 1., 2., 1., 0., 1.]);
        let (y, rest) = lists(run("Unique", &[("axis", Attribute::Integer(1))], &[x], 4));
        assert_eq!(as_numbers(&y), (vec![2, 3, 2], vec![0., 1., 1., 1., 2., 1., 0., 1., 1., 1., 2., 1.]));
        assert_eq!(rest, [vec![1, 0, 2], vec![1, 0, 2, 0], vec![2, 1, 1]]);
        let empty = floats(&[3, 0], &[]);
        let (y, rest) = lists(run("Unique", &[("axis", Attribute::Integer(0))], &[empty], 4));
        assert_eq!((y.shape, rest), (vec![1, 0], vec![vec![0], vec![0, 0, 0], vec![3]]));
    }

    #[test]
    fn signs_nan_and_strings() {
        let x = floats(&[6], &[f32::NAN, -1.0, 0.0, -0.0, f32::NAN, f32::NEG_INFINITY]);
        let (y, rest) = lists(run("Unique", &[], &[x], 4));
        assert_eq!(as_numbers(&y).1[..3], [f64::NEG_INFINITY, -1.0, 0.0]);
        assert_eq!(rest, [vec![5, 1, 2, 0], vec![3, 1, 2, 2, 3, 0], vec![1, 1, 2, 2]]);
        let (y, rest) = lists(run("Unique", &[], &[strings(&[3], &["b", "a", "b"])], 3));
        assert_eq!(as_texts(&y), (vec![2], vec!["a", "b"]));
        assert_eq!(rest, [vec![1, 0], vec![1, 0, 1]]);
        let (y, _) = lists(run("Unique", &[], &[integers(&[3], &[3, i64::MIN, -1])], 1));
        assert_eq!(as_integers(&y).1, [i64::MIN, -1, 3]);
    }
}
