//! Elements as they are stored, whether of a fixed size or strings: taken, joined and laid anew without knowing what they mean.

use super::call::axis_index;
use super::limits::{STRINGS_MAX, check_bytes};
use std::sync::Arc;
use sunmao_graph::tensor::elements;
use sunmao_graph::{DType, Tensor};

/// Where the elements of a tensor lie in its bytes.
pub(super) struct Elements<'a> {
    bytes: &'a [u8],
    places: Places,
}

enum Places {
    /// All of one size, bytes.
    Even(usize),
    /// Framed strings: where each starts, and where the last one ends.
    Framed(Vec<usize>),
}

impl<'a> Elements<'a> {
    /// The elements of a tensor; refuses those that share bytes, and strings that are cut off.
    pub(super) fn of(tensor: &'a Tensor) -> Result<Self, String> {
        let places = match tensor.dtype.bits() {
            0 => Places::Framed(frames(tensor)?),
            bits if bits.is_multiple_of(8) => Places::Even(bits as usize / 8),
            _ => {
                return Err(format!(
                    "does not move single elements of {}, of which several share a byte; cast them to 8 bits first",
                    tensor.dtype
                ));
            }
        };
        Ok(Elements { bytes: &tensor.bytes, places })
    }

    /// Elements `start..end` as they are stored. They must exist.
    pub(super) fn range(&self, start: usize, end: usize) -> &'a [u8] {
        match &self.places {
            Places::Even(size) => &self.bytes[start * size..end * size],
            Places::Framed(starts) => &self.bytes[starts[start]..starts[end]],
        }
    }

    /// One element as it is stored; equal elements of one string tensor and another have equal bytes.
    pub(super) fn get(&self, index: usize) -> &'a [u8] {
        self.range(index, index + 1)
    }
}

/// Where each string starts, and where the last one ends.
fn frames(tensor: &Tensor) -> Result<Vec<usize>, String> {
    let count = elements(&tensor.shape)
        .filter(|count| *count <= STRINGS_MAX)
        .ok_or("got more than 2^24 strings; give it fewer at a time")?;
    let damaged =
        || "got strings that are cut off; each is a length of four bytes and as many bytes of text".to_owned();
    let mut starts = Vec::with_capacity(count as usize + 1);
    let mut at = 0usize;
    starts.push(at);
    for _ in 0..count {
        let length = tensor.bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()).ok_or_else(damaged)?;
        at = usize::try_from(u32::from_le_bytes(*length))
            .ok()
            .and_then(|length| at.checked_add(4)?.checked_add(length))
            .filter(|end| *end <= tensor.bytes.len())
            .ok_or_else(damaged)?;
        starts.push(at);
    }
    if at == tensor.bytes.len() { Ok(starts) } else { Err(damaged()) }
}

/// The texts of a tensor of strings.
pub(super) fn texts(tensor: &Tensor) -> Result<Vec<&str>, String> {
    if tensor.dtype != DType::String {
        return Err(format!("works on strings and got {}; cast it to string first", tensor.dtype));
    }
    let starts = frames(tensor)?;
    starts
        .windows(2)
        .enumerate()
        .map(|(index, ends)| {
            std::str::from_utf8(&tensor.bytes[ends[0] + 4..ends[1]])
                .map_err(|_| format!("got a string that is not UTF-8 as element {index}; encode it as UTF-8"))
        })
        .collect()
}

/// A tensor of strings. `shape` must have as many elements.
pub(super) fn string_tensor<T: AsRef<str>>(
    shape: Vec<u64>,
    texts: impl IntoIterator<Item = T>,
) -> Result<Tensor, String> {
    let mut bytes = Vec::new();
    for text in texts {
        let text = text.as_ref();
        check_bytes((bytes.len() as u64).checked_add(text.len() as u64 + 4))?;
        // Below 1 GiB: checked above.
        bytes.extend((text.len() as u32).to_le_bytes());
        bytes.extend(text.as_bytes());
    }
    Ok(Tensor { dtype: DType::String, shape, bytes: bytes.into() })
}

/// A tensor of the elements of `source` at those places, in that order; they must exist, and be as many as `shape` has.
pub(super) fn gathered(source: &Tensor, shape: Vec<u64>, places: &[usize]) -> Result<Tensor, String> {
    let stored = Elements::of(source)?;
    let total = places.iter().try_fold(0u64, |sum, place| sum.checked_add(stored.get(*place).len() as u64));
    let mut bytes = Vec::with_capacity(check_bytes(total)?);
    for place in places {
        bytes.extend_from_slice(stored.get(*place));
    }
    Ok(Tensor { dtype: source.dtype, shape, bytes: bytes.into() })
}

/// A shape seen from one axis: elements before, on and behind it, as `outer` x `length` x `inner`.
#[derive(Clone, Copy)]
struct Split {
    outer: usize,
    length: usize,
    inner: usize,
}

fn split_at(shape: &[u64], axis: usize) -> Result<Split, String> {
    let count = |lengths: &[u64]| {
        elements(lengths)
            .and_then(|count| usize::try_from(count).ok())
            .ok_or_else(|| "has a shape that overflows; give it less to work on".to_owned())
    };
    Ok(Split { outer: count(&shape[..axis])?, length: count(&shape[axis..=axis])?, inner: count(&shape[axis + 1..])? })
}

/// What lies at those places of an axis, in that order. They must be on it.
pub(super) fn take(source: &Tensor, axis: usize, places: &[usize]) -> Result<Tensor, String> {
    let split = split_at(&source.shape, axis)?;
    let stored = Elements::of(source)?;
    let blocks = || {
        (0..split.outer).flat_map(|outer| {
            let (stored, base) = (&stored, outer * split.length);
            places.iter().map(move |place| stored.range((base + place) * split.inner, (base + place + 1) * split.inner))
        })
    };
    let mut shape = source.shape.clone();
    shape[axis] = places.len() as u64;
    joined(source.dtype, shape, blocks)
}

/// The part of an axis from `start` on, `length` long. It must be on it.
pub(super) fn part(source: &Tensor, axis: usize, start: usize, length: usize) -> Result<Tensor, String> {
    let split = split_at(&source.shape, axis)?;
    let stored = Elements::of(source)?;
    let blocks = || {
        (0..split.outer).map(|outer| {
            let from = outer * split.length + start;
            stored.range(from * split.inner, (from + length) * split.inner)
        })
    };
    let mut shape = source.shape.clone();
    shape[axis] = length as u64;
    joined(source.dtype, shape, blocks)
}

/// Tensors one behind the other along an axis; all but that axis must be equal, and there must be at least one.
pub(super) fn concat(parts: &[&Tensor], axis: i64) -> Result<Tensor, String> {
    let (first, rest) = parts.split_first().ok_or("has nothing to concatenate; give it at least one tensor")?;
    let axis = axis_index(axis, first.shape.len())?;
    let mut shape = first.shape.clone();
    for part in rest {
        let fits = part.shape.len() == shape.len()
            && part.shape.iter().zip(&shape).enumerate().all(|(at, (a, b))| at == axis || a == b);
        if part.dtype != first.dtype || !fits {
            return Err(format!(
                "cannot put {}{:?} behind {}{:?} along axis {axis}; give tensors of one type that differ on that axis only",
                part.dtype, part.shape, first.dtype, first.shape
            ));
        }
        shape[axis] = shape[axis].checked_add(part.shape[axis]).ok_or("makes an axis that overflows")?;
    }
    let stored: Vec<(Elements<'_>, Split)> = parts
        .iter()
        .map(|part| Ok((Elements::of(part)?, split_at(&part.shape, axis)?)))
        .collect::<Result<_, String>>()?;
    let outer = stored[0].1.outer;
    let blocks = || {
        (0..outer).flat_map(|outer| {
            stored.iter().map(move |(elements, split)| {
                let block = split.length * split.inner;
                elements.range(outer * block, (outer + 1) * block)
            })
        })
    };
    joined(first.dtype, shape, blocks)
}

/// The same elements under another shape, which must have as many.
pub(super) fn reshaped(source: &Tensor, shape: Vec<u64>) -> Result<Tensor, String> {
    if elements(&shape) != elements(&source.shape) {
        return Err(format!("cannot lay the elements of {:?} as {shape:?}; give a shape of as many", source.shape));
    }
    Ok(Tensor { dtype: source.dtype, shape, bytes: source.bytes.clone() })
}

fn joined<'a, B: Iterator<Item = &'a [u8]>>(
    dtype: DType,
    shape: Vec<u64>,
    blocks: impl Fn() -> B,
) -> Result<Tensor, String> {
    let total = blocks().try_fold(0u64, |sum, block| sum.checked_add(block.len() as u64));
    let mut bytes = Vec::with_capacity(check_bytes(total)?);
    for block in blocks() {
        bytes.extend_from_slice(block);
    }
    Ok(Tensor { dtype, shape, bytes: Arc::from(bytes) })
}
