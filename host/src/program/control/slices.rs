//! Takes tensors apart along an axis, and puts them together along a new one.

use std::ops::Range;
use sunmao_graph::tensor::elements;
use sunmao_graph::{DType, Tensor};

/// An axis as an index; negative ones count from the end.
pub(super) fn axis_of(axis: i64, rank: usize) -> Result<usize, String> {
    let from_start = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    from_start
        .and_then(|axis| usize::try_from(axis).ok())
        .filter(|axis| *axis < rank)
        .ok_or_else(|| format!("names axis {axis} of a tensor of rank {rank}"))
}

/// Where the elements of a tensor lie: at equal distances, or, of strings, where their frames begin.
enum Places {
    Even { bits: u64 },
    Frames(Vec<usize>),
}

impl Places {
    fn of(tensor: &Tensor) -> Result<Self, String> {
        if tensor.dtype != DType::String {
            return Ok(Places::Even { bits: u64::from(tensor.dtype.bits()) });
        }
        let (mut starts, mut at) = (vec![0], 0usize);
        while at < tensor.bytes.len() {
            let length = tensor.bytes[at..].first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes) as usize);
            let next = length.and_then(|length| at.checked_add(4)?.checked_add(length));
            at = next.filter(|next| *next <= tensor.bytes.len()).ok_or("got strings whose frames are damaged")?;
            starts.push(at);
        }
        Ok(Places::Frames(starts))
    }

    /// The bytes of a run of elements.
    fn bytes(&self, run: Range<u64>) -> Result<Range<usize>, String> {
        match self {
            Places::Even { bits } if (run.start * bits).is_multiple_of(8) && (run.end * bits).is_multiple_of(8) => {
                Ok((run.start * bits / 8) as usize..(run.end * bits / 8) as usize)
            }
            Places::Even { bits } => {
                Err(format!("would cut a tensor of {bits}-bit elements inside a byte; cast it to a wider type before"))
            }
            Places::Frames(starts) => {
                let at =
                    |index: u64| starts.get(index as usize).copied().ok_or("got fewer strings than its shape says");
                Ok(at(run.start)?..at(run.end)?)
            }
        }
    }
}

/// The part of a tensor at `index` of an axis, without that axis. Both must exist.
pub(super) fn slice(tensor: &Tensor, axis: usize, index: u64) -> Result<Tensor, String> {
    let places = Places::of(tensor)?;
    let (outer, length) = (count(&tensor.shape[..axis])?, tensor.shape[axis]);
    let inner = count(&tensor.shape[axis + 1..])?;
    let mut bytes = Vec::new();
    for row in 0..outer {
        let start = (row * length + index) * inner;
        bytes.extend_from_slice(&tensor.bytes[places.bytes(start..start + inner)?]);
    }
    let mut shape = tensor.shape.clone();
    shape.remove(axis);
    Ok(Tensor { dtype: tensor.dtype, shape, bytes: bytes.into() })
}

/// Tensors of one type and shape, at least one, along a new axis.
pub(super) fn stack(tensors: &[Tensor], axis: i64) -> Result<Tensor, String> {
    let first = tensors.first().ok_or("has nothing to put together")?;
    if let Some(other) = tensors.iter().find(|tensor| tensor.kind() != first.kind()) {
        return Err(format!(
            "gave {}{:?} in one run and {}{:?} in another, which do not stack",
            first.dtype, first.shape, other.dtype, other.shape
        ));
    }
    let axis = axis_of(axis, first.shape.len() + 1)?;
    let (outer, inner) = (count(&first.shape[..axis])?, count(&first.shape[axis..])?);
    let places = tensors.iter().map(Places::of).collect::<Result<Vec<_>, _>>()?;
    let mut bytes = Vec::with_capacity(tensors.iter().map(|tensor| tensor.bytes.len()).sum());
    for row in 0..outer {
        for (tensor, places) in tensors.iter().zip(&places) {
            bytes.extend_from_slice(&tensor.bytes[places.bytes(row * inner..(row + 1) * inner)?]);
        }
    }
    let mut shape = first.shape.clone();
    shape.insert(axis, tensors.len() as u64);
    Ok(Tensor { dtype: first.dtype, shape, bytes: bytes.into() })
}

fn count(shape: &[u64]) -> Result<u64, String> {
    elements(shape).ok_or_else(|| "got a tensor with more elements than there are numbers".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stacked_comes_apart_again() {
        let parts: Vec<Tensor> =
            [[1, 2, 3, 4], [5, 6, 7, 8]].iter().map(|values| Tensor::from_i64(vec![2, 2], values)).collect();
        let expected = [[1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 5, 6, 3, 4, 7, 8], [1, 5, 2, 6, 3, 7, 4, 8]];
        for (axis, expected) in expected.iter().enumerate() {
            let whole = stack(&parts, axis as i64).unwrap();
            assert_eq!(whole.kind(), Tensor::from_i64(vec![2, 2, 2], expected).kind());
            assert_eq!(whole, Tensor::from_i64(vec![2, 2, 2], expected));
            for (index, part) in parts.iter().enumerate() {
                assert_eq!(slice(&whole, axis, index as u64).as_ref(), Ok(part));
            }
        }
    }

    #[test]
    fn strings_keep_their_frames() {
        let words = |words: &[&str]| Tensor::from_strings(vec![words.len() as u64], words);
        let whole = stack(&[words(&["a", "bc"]), words(&["", "def"])], 1).unwrap();
        assert_eq!(whole, Tensor::from_strings(vec![2, 2], &["a", "", "bc", "def"]));
        assert_eq!(slice(&whole, 0, 1), Ok(words(&["bc", "def"])));
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        assert!(stack(&[Tensor::vector(&[1]), Tensor::vector(&[1, 2])], 0).is_err());
        assert!(stack(&[Tensor::vector(&[1])], 2).is_err());
        let nibbles = Tensor { dtype: DType::U4, shape: vec![3, 1], bytes: [0x21, 3].into() };
        assert!(slice(&nibbles, 0, 1).is_err());
    }
}
