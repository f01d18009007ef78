//! Sequences: tensors of one element type in a row.

use super::Value;
use super::call::{Call, Outcome, axis_index, kind, one, place};
use super::elements::{concat as concatenated, part, reshaped};
use super::limits::SEQUENCE_MAX;
use sunmao_graph::Tensor;

/// SequenceConstruct: the inputs in a row.
pub(super) fn construct(call: &Call<'_>) -> Outcome {
    let mut members = Vec::new();
    for value in call.values() {
        push(&mut members, members_end, value)?;
    }
    sequence(members)
}

/// SequenceEmpty: nobody yet.
pub(super) fn empty(_: &Call<'_>) -> Outcome {
    sequence(Vec::new())
}

/// SequenceInsert: one more, before the one at a place or behind all.
pub(super) fn insert(call: &Call<'_>) -> Outcome {
    let mut members = call.sequence(0)?.to_vec();
    let newcomer = call.value(1).ok_or("lacks input 1; the model is damaged")?;
    let at = match call.value(2) {
        None => members.len(),
        // Behind the last is a place too.
        Some(_) => match call.integer(2)? {
            end if usize::try_from(end) == Ok(members.len()) => members.len(),
            index => wanted(index, members.len())?,
        },
    };
    push(&mut members, |_| at, newcomer)?;
    sequence(members)
}

/// SequenceErase: without the one at a place, or without the last.
pub(super) fn erase(call: &Call<'_>) -> Outcome {
    let mut members = call.sequence(0)?.to_vec();
    let index = if call.value(1).is_some() { call.integer(1)? } else { -1 };
    let at = wanted(index, members.len())?;
    members.remove(at);
    sequence(members)
}

/// SequenceAt: the one at a place.
pub(super) fn at(call: &Call<'_>) -> Outcome {
    let members = call.sequence(0)?;
    Ok(vec![members[wanted(call.integer(1)?, members.len())?].clone()])
}

/// SequenceLength: how many.
pub(super) fn length(call: &Call<'_>) -> Outcome {
    one(Tensor::from_i64(vec![], &[call.sequence(0)?.len() as i64]))
}

/// ConcatFromSequence: all of them as one tensor, along an axis that they have or along a new one.
pub(super) fn concat(call: &Call<'_>) -> Outcome {
    let members: Vec<&Tensor> = call
        .sequence(0)?
        .iter()
        .map(|member| match member {
            Value::Tensor(tensor) => Ok(tensor),
            other => Err(format!("concatenates tensors and got {}", kind(other))),
        })
        .collect::<Result<_, _>>()?;
    let axis = call.attribute("axis")?;
    if call.attribute("new_axis")? == 0 {
        return one(concatenated(&members, axis)?);
    }
    let rank = members.first().map_or(0, |first| first.shape.len());
    let axis = axis_index(axis, rank + 1)?;
    let layers: Vec<Tensor> = members
        .into_iter()
        .map(|member| {
            let mut shape = member.shape.clone();
            shape.insert(axis.min(shape.len()), 1);
            reshaped(member, shape)
        })
        .collect::<Result<_, _>>()?;
    one(concatenated(&layers.iter().collect::<Vec<_>>(), axis as i64)?)
}

/// SplitToSequence: a tensor in pieces along an axis.
pub(super) fn split(call: &Call<'_>) -> Outcome {
    let data = call.tensor(0)?;
    let axis = axis_index(call.attribute("axis")?, data.shape.len())?;
    let length = usize::try_from(data.shape[axis]).map_err(|_| "has too long an axis".to_owned())?;
    let lengths = match call.optional_tensor(1)? {
        None => even(length, 1)?,
        Some(split) if split.shape.is_empty() => even(length, call.integer(1)?)?,
        Some(_) => listed(length, &call.integers(1)?)?,
    };
    let squeezed = call.value(1).is_none() && call.attribute("keepdims")? == 0;
    let mut start = 0;
    let mut members = Vec::with_capacity(lengths.len());
    for length in lengths {
        let mut piece = part(data, axis, start, length)?;
        if squeezed {
            piece.shape.remove(axis);
        }
        members.push(Value::Tensor(piece));
        start += length;
    }
    sequence(members)
}

/// Pieces of one length; the last may be shorter.
fn even(length: usize, each: i64) -> Result<Vec<usize>, String> {
    let each = usize::try_from(each).ok().filter(|each| *each > 0);
    let each = each.ok_or("has pieces without a length in `split`; give a positive one")?;
    let count = length.div_ceil(each);
    check_count(count)?;
    Ok((0..count).map(|index| each.min(length - index * each)).collect())
}

/// Pieces of given lengths, which must add up.
fn listed(length: usize, lengths: &[i64]) -> Result<Vec<usize>, String> {
    check_count(lengths.len())?;
    let sizes: Option<Vec<usize>> = lengths.iter().map(|length| usize::try_from(*length).ok()).collect();
    let sizes = sizes.ok_or("has a negative length in `split`; give lengths of at least 0")?;
    let sum = sizes.iter().try_fold(0usize, |sum, size| sum.checked_add(*size));
    if sum == Some(length) {
        return Ok(sizes);
    }
    Err(format!("has lengths in `split` that do not add up to {length}, the length of the axis"))
}

fn members_end(members: &[Value]) -> usize {
    members.len()
}

/// Puts a member at a place; all have one element type.
fn push(members: &mut Vec<Value>, at: impl Fn(&[Value]) -> usize, value: &Value) -> Result<(), String> {
    let Value::Tensor(newcomer) = value else {
        return Err(format!("takes tensors as members of a sequence and got {}", kind(value)));
    };
    if let Some(Value::Tensor(first)) = members.first()
        && first.dtype != newcomer.dtype
    {
        let (first, newcomer) = (first.dtype, newcomer.dtype);
        return Err(format!("puts {newcomer} into a sequence of {first}; cast it first"));
    }
    members.insert(at(members), value.clone());
    Ok(())
}

fn sequence(members: Vec<Value>) -> Outcome {
    check_count(members.len())?;
    Ok(vec![Value::Sequence(members)])
}

fn check_count(count: usize) -> Result<(), String> {
    if count > SEQUENCE_MAX {
        return Err(format!("would make a sequence of {count} members, more than 2^20; make larger pieces"));
    }
    Ok(())
}

fn wanted(index: i64, length: usize) -> Result<usize, String> {
    place(index, length).ok_or_else(|| format!("names place {index} of a sequence of {length}; give one that it has"))
}

#[cfg(test)]
mod tests {
    use super::super::Value;
    use super::super::testing::*;
    use sunmao_graph::Attribute;

    fn row(numbers: &[i64]) -> Value {
        Value::Sequence(numbers.iter().map(|number| integers(&[], &[*number])).collect())
    }

    #[test]
    fn members_come_and_go() {
        let make = |op: &str, inputs: &[Value]| run(op, &[], inputs, 1).remove(0);
        let number = |number: i64| integers(&[], &[number]);
        assert_eq!(make("SequenceConstruct", &[number(1), number(2)]), row(&[1, 2]));
        assert_eq!(make("SequenceEmpty", &[]), row(&[]));
        assert_eq!(make("SequenceInsert", &[row(&[1, 2]), number(3)]), row(&[1, 2, 3]));
        assert_eq!(make("SequenceInsert", &[row(&[1, 2]), number(3), number(0)]), row(&[3, 1, 2]));
        assert_eq!(make("SequenceInsert", &[row(&[1, 2]), number(3), number(-1)]), row(&[1, 3, 2]));
        assert_eq!(make("SequenceInsert", &[row(&[1, 2]), number(3), number(2)]), row(&[1, 2, 3]));
        assert_eq!(make("SequenceErase", &[row(&[1, 2, 3])]), row(&[1, 2]));
        assert_eq!(make("SequenceErase", &[row(&[1, 2, 3]), number(0)]), row(&[2, 3]));
        assert_eq!(make("SequenceAt", &[row(&[1, 2, 3]), number(-2)]), number(2));
        assert_eq!(make("SequenceLength", &[row(&[1, 2, 3])]), number(3));
    }

    #[test]
    fn what_is_not_there_or_does_not_fit_is_refused() {
        let number = |number: i64| integers(&[], &[number]);
        assert_eq!(
            refusal("SequenceAt", &[], &[row(&[1, 2]), number(2)]),
            "names place 2 of a sequence of 2; give one that it has"
        );
        assert_eq!(
            refusal("SequenceErase", &[], &[row(&[])]),
            "names place -1 of a sequence of 0; give one that it has"
        );
        assert_eq!(
            refusal("SequenceInsert", &[], &[row(&[1]), floats(&[], &[1.0])]),
            "puts f32 into a sequence of i64; cast it first"
        );
        assert_eq!(refusal("SequenceLength", &[], &[number(1)]), "needs a sequence as input 0 and got a tensor");
    }

    #[test]
    fn concat_along_an_old_or_a_new_axis() {
        let pair = || Value::Sequence(vec![integers(&[2], &[1, 2]), integers(&[2], &[3, 4])]);
        let attributes = |axis, new| [("axis", Attribute::Integer(axis)), ("new_axis", Attribute::Integer(new))];
        let run = |axis, new| as_integers(&run_one("ConcatFromSequence", &attributes(axis, new), &[pair()]));
        assert_eq!(run(0, 0), (vec![4], vec![1, 2, 3, 4]));
        assert_eq!(run(0, 1), (vec![2, 2], vec![1, 2, 3, 4]));
        assert_eq!(run(-1, 1), (vec![2, 2], vec![1, 3, 2, 4]));
        assert_eq!(
            refusal("ConcatFromSequence", &attributes(0, 0), &[row(&[])]),
            "has nothing to concatenate; give it at least one tensor"
        );
    }

    #[test]
    fn split_into_single_even_and_listed_pieces() {
        let x = || integers(&[3, 2], &[1, 2, 3, 4, 5, 6]);
        let split = |attributes: &[(&str, Attribute)], inputs: &[Value]| run("SplitToSequence", attributes, inputs, 1);
        let pieces = |pieces: &[(&[u64], &[i64])]| {
            vec![Value::Sequence(pieces.iter().map(|(shape, values)| integers(shape, values)).collect())]
        };
        assert_eq!(
            split(&[("keepdims", Attribute::Integer(0))], &[x()]),
            pieces(&[(&[2], &[1, 2]), (&[2], &[3, 4]), (&[2], &[5, 6])])
        );
        assert_eq!(split(&[], &[x(), integers(&[], &[2])]), pieces(&[(&[2, 2], &[1, 2, 3, 4]), (&[1, 2], &[5, 6])]));
        assert_eq!(
            split(&[("axis", Attribute::Integer(-1))], &[x(), integers(&[2], &[1, 1])]),
            pieces(&[(&[3, 1], &[1, 3, 5]), (&[3, 1], &[2, 4, 6])])
        );
        assert_eq!(
            refusal("SplitToSequence", &[], &[x(), integers(&[2], &[1, 1])]),
            "has lengths in `split` that do not add up to 3, the length of the axis"
        );
        assert_eq!(
            refusal("SplitToSequence", &[], &[x(), integers(&[], &[0])]),
            "has pieces without a length in `split`; give a positive one"
        );
    }
}
