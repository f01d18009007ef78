//! Operators that are kernels on numbers, for tensors of strings; and Identity, for sequences and optional values too.

use super::call::{Call, Outcome, axis_index, bools, one, place};
use super::elements::{Elements, concat as concatenated, gathered, reshaped, take};
use super::limits::STRINGS_MAX;
use super::walk::{broadcast, places, sources, strides};
use sunmao_graph::tensor::elements;
use sunmao_graph::{DType, Tensor};

/// Identity, of whatever it is.
pub(super) fn identity(call: &Call<'_>) -> Outcome {
    Ok(vec![call.value(0).cloned().ok_or("lacks input 0; the model is damaged")?])
}

/// Equal, broadcast.
pub(super) fn equal(call: &Call<'_>) -> Outcome {
    let (left, right) = (strings(call, 0)?, strings(call, 1)?);
    let shape = broadcast(&[&left.shape, &right.shape])?;
    let pairs: Vec<(usize, usize)> =
        sources(&left.shape, &shape)?.into_iter().zip(sources(&right.shape, &shape)?).collect();
    let (left, right) = (Elements::of(left)?, Elements::of(right)?);
    one(bools(shape, pairs.into_iter().map(|(a, b)| left.get(a) == right.get(b))))
}

/// Where, broadcast.
pub(super) fn choose(call: &Call<'_>) -> Outcome {
    let (condition, yes, no) = (call.tensor(0)?, strings(call, 1)?, strings(call, 2)?);
    if condition.dtype != DType::Bool {
        return Err(format!("needs a condition of bools and got {}", condition.dtype));
    }
    let shape = broadcast(&[&condition.shape, &yes.shape, &no.shape])?;
    check_count(&shape)?;
    // Both choices one behind the other, so that a place tells which.
    let (first, second) = (flat(yes)?, flat(no)?);
    let both = concatenated(&[&first, &second], 0)?;
    let behind = first.shape[0] as usize;
    let chosen: Vec<usize> = sources(&condition.shape, &shape)?
        .into_iter()
        .zip(sources(&yes.shape, &shape)?.into_iter().zip(sources(&no.shape, &shape)?))
        .map(|(flag, (yes, no))| if condition.bytes[flag] != 0 { yes } else { behind + no })
        .collect();
    one(gathered(&both, shape, &chosen)?)
}

/// Concat.
pub(super) fn concat(call: &Call<'_>) -> Outcome {
    let parts: Vec<&Tensor> = (0..call.values().count()).map(|index| strings(call, index)).collect::<Result<_, _>>()?;
    one(concatenated(&parts, call.attribute("axis")?)?)
}

/// Gather.
pub(super) fn gather(call: &Call<'_>) -> Outcome {
    let data = strings(call, 0)?;
    let axis = axis_index(call.attribute("axis")?, data.shape.len())?;
    let length = usize::try_from(data.shape[axis]).map_err(|_| "has too long an axis".to_owned())?;
    let picked: Vec<usize> = call
        .integers(1)?
        .into_iter()
        .map(|index| {
            let wrong = || format!("picks element {index} of an axis of length {length}; give indices on the axis");
            place(index, length).ok_or_else(wrong)
        })
        .collect::<Result<_, String>>()?;
    let mut shape = data.shape.clone();
    shape.splice(axis..=axis, call.tensor(1)?.shape.iter().copied());
    check_count(&shape)?;
    one(reshaped(&take(data, axis, &picked)?, shape)?)
}

/// Reshape: 0 keeps a length unless `allowzero`, -1 is what remains.
pub(super) fn reshape(call: &Call<'_>) -> Outcome {
    let data = strings(call, 0)?;
    let keeps_zero = call.attribute("allowzero")? != 0;
    let wrong = || format!("cannot be laid out from {:?}; give lengths that fit", data.shape);
    let mut rest = None;
    let mut shape = Vec::new();
    for (axis, length) in call.integers(1)?.into_iter().enumerate() {
        shape.push(match length {
            -1 if rest.is_none() => {
                rest = Some(axis);
                1
            }
            0 if !keeps_zero => *data.shape.get(axis).ok_or_else(wrong)?,
            length => u64::try_from(length).map_err(|_| wrong())?,
        });
    }
    if let Some(axis) = rest {
        let known = elements(&shape).filter(|known| *known > 0).ok_or_else(wrong)?;
        shape[axis] = elements(&data.shape).ok_or_else(wrong)? / known;
    }
    one(reshaped(data, shape)?)
}

/// Flatten: a matrix, rows up to `axis`.
pub(super) fn flatten(call: &Call<'_>) -> Outcome {
    let data = strings(call, 0)?;
    let rank = data.shape.len();
    let axis = match call.attribute("axis")? {
        end if usize::try_from(end) == Ok(rank) => rank,
        axis => axis_index(axis, rank)?,
    };
    let count = |lengths: &[u64]| elements(lengths).ok_or_else(|| "has a shape that overflows".to_owned());
    one(reshaped(data, vec![count(&data.shape[..axis])?, count(&data.shape[axis..])?])?)
}

/// Squeeze: without the axes of length 1 that are named, or without all of them.
pub(super) fn squeeze(call: &Call<'_>) -> Outcome {
    let data = strings(call, 0)?;
    let named = match call.value(1) {
        None => None,
        Some(_) => Some(axes(&call.integers(1)?, data.shape.len())?),
    };
    let goes = |axis: usize, length: u64| named.as_ref().map_or(length == 1, |named| named.contains(&axis));
    let kept = data.shape.iter().enumerate().filter(|(axis, length)| !goes(*axis, **length));
    one(reshaped(data, kept.map(|(_, length)| *length).collect())?)
}

/// Unsqueeze: with axes of length 1 at those places of the result.
pub(super) fn unsqueeze(call: &Call<'_>) -> Outcome {
    let data = strings(call, 0)?;
    let wanted = call.integers(1)?;
    let rank = data.shape.len() + wanted.len();
    let mut named = axes(&wanted, rank)?;
    named.sort_unstable();
    if named.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(format!("names an axis twice in {wanted:?}; name each once"));
    }
    let mut shape = data.shape.clone();
    // Ascending and below the rank of the result: each is at most one behind the end.
    named.into_iter().for_each(|axis| shape.insert(axis, 1));
    one(reshaped(data, shape)?)
}

/// Transpose.
pub(super) fn transpose(call: &Call<'_>) -> Outcome {
    let data = strings(call, 0)?;
    let rank = data.shape.len();
    let order: Vec<usize> = match call.node.integers("perm") {
        None => (0..rank).rev().collect(),
        Some(perm) => axes(perm, rank)?,
    };
    let mut seen = vec![false; rank];
    order.iter().for_each(|axis| seen[*axis] = true);
    if order.len() != rank || seen.contains(&false) {
        return Err(format!("has a perm that is no order of the {rank} axes; name each axis once"));
    }
    let own = strides(&data.shape)?;
    let shape: Vec<u64> = order.iter().map(|axis| data.shape[*axis]).collect();
    let steps: Vec<usize> = order.iter().map(|axis| own[*axis]).collect();
    one(gathered(data, shape.clone(), &places(&shape, &steps)?)?)
}

/// Expand.
pub(super) fn expand(call: &Call<'_>) -> Outcome {
    let data = strings(call, 0)?;
    let target: Option<Vec<u64>> = call.integers(1)?.into_iter().map(|length| u64::try_from(length).ok()).collect();
    let target = target.ok_or("has a negative length in its shape; give lengths of at least 0")?;
    let shape = broadcast(&[&data.shape, &target])?;
    check_count(&shape)?;
    one(gathered(data, shape.clone(), &sources(&data.shape, &shape)?)?)
}

/// Shape: the lengths from `start` to `end`.
pub(super) fn shape(call: &Call<'_>) -> Outcome {
    let lengths = &strings(call, 0)?.shape;
    let rank = lengths.len() as i64;
    let clamp = |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
    let start = clamp(call.attribute("start")?);
    let end = clamp(call.node.integer("end").unwrap_or(rank)).max(start);
    let window: Vec<i64> = lengths[start..end].iter().map(|length| *length as i64).collect();
    one(Tensor::vector(&window))
}

/// Size.
pub(super) fn size(call: &Call<'_>) -> Outcome {
    let count = elements(&strings(call, 0)?.shape).ok_or("has a shape that overflows")?;
    one(Tensor::from_i64(vec![], &[count as i64]))
}

fn strings<'a>(call: &Call<'a>, index: usize) -> Result<&'a Tensor, String> {
    let tensor = call.tensor(index)?;
    if tensor.dtype != DType::String {
        return Err(format!(
            "got {} as input {index} where the host works on strings; choose a device for it",
            tensor.dtype
        ));
    }
    Ok(tensor)
}

fn flat(tensor: &Tensor) -> Result<Tensor, String> {
    reshaped(tensor, vec![elements(&tensor.shape).ok_or("has a shape that overflows")?])
}

fn axes(named: &[i64], rank: usize) -> Result<Vec<usize>, String> {
    named.iter().map(|axis| axis_index(*axis, rank)).collect()
}

fn check_count(shape: &[u64]) -> Result<(), String> {
    match elements(shape) {
        Some(count) if count <= STRINGS_MAX => Ok(()),
        _ => Err(format!("would make {shape:?} strings, more than 2^24; give it less to work on")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Value;
    use super::super::testing::*;
    use sunmao_graph::{Attribute, DType};

    fn grid() -> Value {
        strings(&[2, 3], &["a", "bb", "", "d", "e", "f"])
    }

    #[track_caller]
    fn check(op: &str, attributes: &[(&str, Attribute)], inputs: &[Value], shape: &[u64], texts: &[&str]) {
        let result = run_one(op, attributes, inputs);
        assert_eq!(as_texts(&result), (shape.to_vec(), texts.to_vec()), "{op}");
    }

    #[test]
    fn equal_and_where_broadcast() {
        let row = strings(&[3], &["a", "e", ""]);
        assert_eq!(as_integers(&run_one("Equal", &[], &[grid(), row.clone()])), (vec![2, 3], vec![1, 0, 1, 0, 1, 0]));
        let flags = typed(DType::Bool, &[2, 1], &[1.0, 0.0]);
        check("Where", &[], &[flags, row, strings(&[], &["z"])], &[2, 3], &["a", "e", "", "z", "z", "z"]);
    }

    #[test]
    fn strings_are_laid_out_anew() {
        let axis = |axis| [("axis", Attribute::Integer(axis))];
        let perm = [("perm", Attribute::Integers(vec![1, 0]))];
        check("Transpose", &perm, &[grid()], &[3, 2], &["a", "d", "bb", "e", "", "f"]);
        check(
            "Concat",
            &axis(1),
            &[strings(&[1, 1], &["x"]), strings(&[1, 2], &["y", "z"])],
            &[1, 3],
            &["x", "y", "z"],
        );
        check("Gather", &axis(1), &[grid(), integers(&[1, 2], &[-1, 0])], &[2, 1, 2], &["", "a", "f", "d"]);
        check("Reshape", &[], &[grid(), integers(&[3], &[0, -1, 1])], &[2, 3, 1], &["a", "bb", "", "d", "e", "f"]);
        check("Flatten", &axis(0), &[grid()], &[1, 6], &["a", "bb", "", "d", "e", "f"]);
        check("Unsqueeze", &[], &[strings(&[1], &["a"]), integers(&[2], &[0, -1])], &[1, 1, 1], &["a"]);
        check("Squeeze", &[], &[strings(&[1, 2], &["a", "b"])], &[2], &["a", "b"]);
        check("Expand", &[], &[strings(&[2, 1], &["a", "b"]), integers(&[2], &[1, 2])], &[2, 2], &["a", "a", "b", "b"]);
        check("Identity", &[], &[grid()], &[2, 3], &["a", "bb", "", "d", "e", "f"]);
        assert_eq!(as_integers(&run_one("Shape", &[], &[grid()])), (vec![2], vec![2, 3]));
        assert_eq!(as_integers(&run_one("Size", &[], &[grid()])), (vec![], vec![6]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(
            refusal("Gather", &[], &[strings(&[2], &["a", "b"]), integers(&[1], &[2])]),
            "picks element 2 of an axis of length 2; give indices on the axis"
        );
        assert_eq!(
            refusal("Reshape", &[], &[grid(), integers(&[2], &[4, -1])]),
            "cannot lay the elements of [2, 3] as [4, 1]; give a shape of as many"
        );
        assert_eq!(
            refusal("Squeeze", &[], &[grid(), integers(&[1], &[0])]),
            "cannot lay the elements of [2, 3] as [3]; give a shape of as many"
        );
        assert_eq!(
            refusal("Unsqueeze", &[], &[grid(), integers(&[2], &[0, -4])]),
            "names an axis twice in [0, -4]; name each once"
        );
    }

    #[test]
    fn strings_that_are_cut_off_are_refused() {
        let Value::Tensor(mut tensor) = grid() else { unreachable!("a tensor") };
        tensor.bytes = tensor.bytes[..tensor.bytes.len() - 1].into();
        assert_eq!(
            refusal("Equal", &[], &[Value::Tensor(tensor), grid()]),
            "got strings that are cut off; each is a length of four bytes and as many bytes of text"
        );
    }
}
