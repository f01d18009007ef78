//! Places of elements for a tensor that is read in another order: broadcast, transposed, picked.

use super::limits::PLACES_MAX;
use sunmao_graph::tensor::elements;

/// The shape that all of these have after broadcasting, as NumPy does it.
pub(super) fn broadcast(shapes: &[&[u64]]) -> Result<Vec<u64>, String> {
    let rank = shapes.iter().map(|shape| shape.len()).max().unwrap_or_default();
    let mut result = vec![1; rank];
    for shape in shapes {
        for (length, own) in result[rank - shape.len()..].iter_mut().zip(*shape) {
            match (*length, *own) {
                (_, 1) => {}
                (1, own) => *length = own,
                (length, own) if length == own => {}
                _ => return Err(format!("cannot broadcast {shapes:?}; give lengths that are equal or 1")),
            }
        }
    }
    Ok(result)
}

/// For each element of a tensor of shape `target`, the place of the element of `shape` that it is broadcast from. The shapes must fit.
pub(super) fn sources(shape: &[u64], target: &[u64]) -> Result<Vec<usize>, String> {
    let own = strides(shape)?;
    let mut steps = vec![0; target.len()];
    for ((step, stride), length) in steps[target.len() - shape.len()..].iter_mut().zip(own).zip(shape) {
        if *length != 1 {
            *step = stride;
        }
    }
    places(target, &steps)
}

/// Elements between neighbours of each axis, row-major.
pub(super) fn strides(shape: &[u64]) -> Result<Vec<usize>, String> {
    let mut strides = vec![0; shape.len()];
    let mut next = 1usize;
    for (stride, length) in strides.iter_mut().zip(shape).rev() {
        *stride = next;
        next =
            usize::try_from((*length).max(1)).ok().and_then(|length| next.checked_mul(length)).ok_or_else(too_many)?;
    }
    Ok(strides)
}

/// Places of the elements of `lengths`, row-major, when a step along an axis moves by its entry of `steps`.
pub(super) fn places(lengths: &[u64], steps: &[usize]) -> Result<Vec<usize>, String> {
    let count = elements(lengths).filter(|count| *count <= PLACES_MAX).ok_or_else(too_many)?;
    let mut result = Vec::with_capacity(count as usize);
    let mut at = vec![0u64; lengths.len()];
    let mut place = 0usize;
    for _ in 0..count {
        result.push(place);
        for axis in (0..lengths.len()).rev() {
            at[axis] += 1;
            place += steps[axis];
            if at[axis] < lengths[axis] {
                break;
            }
            place -= steps[axis] * at[axis] as usize;
            at[axis] = 0;
        }
    }
    Ok(result)
}

fn too_many() -> String {
    "would make a tensor of more than 2^27 elements; give it less to work on".to_owned()
}
