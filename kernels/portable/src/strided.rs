//! How one tensor lies under the index space of another: broadcasts, transposes, slices, tiles are all one walk with strides.

use crate::element::Stored;
use std::ops::Range;
use sunmao_plugin_sdk::{Reader, Writer};

/// Axes that a walk may have. Operands have at most [`crate::table::MAX_RANK`]; a tile doubles that.
pub(crate) const MAX_AXES: usize = 16;

/// A dense index space and, for each index in it, an offset into another tensor: `start + sum(index[axis] * stride[axis])`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strided {
    axes: usize,
    dims: [usize; MAX_AXES],
    strides: [isize; MAX_AXES],
    start: isize,
}

impl Strided {
    /// Neighbouring axes that one stride can walk are merged, and axes of length 1 vanish. An axis of length 0 is kept.
    pub(crate) fn new(dims: &[usize], strides: &[isize], start: isize) -> Self {
        let mut walk = Self { axes: 0, dims: [1; MAX_AXES], strides: [0; MAX_AXES], start };
        for (&dim, &stride) in dims.iter().zip(strides) {
            if dim == 1 {
                continue;
            }
            if walk.axes > 0 && walk.strides[walk.axes - 1] == stride * dim as isize {
                walk.dims[walk.axes - 1] *= dim;
                walk.strides[walk.axes - 1] = stride;
                continue;
            }
            assert!(walk.axes < MAX_AXES, "operands have at most 8 axes, and a tile doubles them");
            walk.dims[walk.axes] = dim;
            walk.strides[walk.axes] = stride;
            walk.axes += 1;
        }
        if walk.axes == 0 {
            walk.axes = 1;
        }
        walk
    }

    /// `shape` as numpy broadcasts it to `onto`; none if it does not.
    pub(crate) fn broadcast(shape: &[usize], onto: &[usize]) -> Option<Self> {
        let strides = broadcast_strides(shape, onto)?;
        Some(Self::new(onto, &strides, 0))
    }

    /// The offset of index `index`.
    pub(crate) fn offset(&self, mut index: usize) -> usize {
        let mut offset = self.start;
        for axis in (0..self.axes).rev() {
            offset += (index % self.dims[axis]) as isize * self.strides[axis];
            index /= self.dims[axis];
        }
        offset as usize
    }

    /// Calls `visit(index, offset, stride, count)` for stretches of `range` whose offsets are `offset`, `offset + stride`, ...
    #[inline]
    pub(crate) fn runs(&self, range: Range<usize>, mut visit: impl FnMut(usize, usize, isize, usize)) {
        if range.is_empty() {
            return;
        }
        let last = self.axes - 1;
        let mut position = [0; MAX_AXES];
        let mut rest = range.start;
        let mut offset = self.start;
        for axis in (0..self.axes).rev() {
            position[axis] = rest % self.dims[axis];
            rest /= self.dims[axis];
            offset += position[axis] as isize * self.strides[axis];
        }
        let mut index = range.start;
        loop {
            let count = (self.dims[last] - position[last]).min(range.end - index);
            visit(index, offset as usize, self.strides[last], count);
            index += count;
            if index >= range.end {
                return;
            }
            offset += count as isize * self.strides[last];
            position[last] += count;
            let mut axis = last;
            while position[axis] == self.dims[axis] && axis > 0 {
                offset += self.strides[axis - 1] - self.dims[axis] as isize * self.strides[axis];
                position[axis] = 0;
                axis -= 1;
                position[axis] += 1;
            }
        }
    }

    /// Loads the elements of indices `at..at + into.len()`.
    pub(crate) fn load<S: Stored>(&self, source: &Reader<'_, S::Element>, at: usize, into: &mut [S::Value]) {
        self.runs(at..at + into.len(), |index, offset, stride, count| {
            let into = &mut into[index - at..][..count];
            match stride {
                1 => {
                    for (value, element) in into.iter_mut().zip(source.part(offset..offset + count).iter()) {
                        *value = S::load(element);
                    }
                }
                0 => into.fill(S::load(source.get(offset))),
                _ => {
                    let mut offset = offset;
                    for value in into {
                        *value = S::load(source.get(offset));
                        offset = offset.wrapping_add_signed(stride);
                    }
                }
            }
        });
    }

    /// Copies the elements of the indices in `range` to the same indices of `out`.
    pub(crate) fn copy<S: Stored>(
        &self,
        source: &Reader<'_, S::Element>,
        out: &Writer<'_, S::Element>,
        range: Range<usize>,
    ) {
        self.runs(range, |index, offset, stride, count| {
            let out = out.part(index..index + count);
            match stride {
                1 => out.copy_from(source.part(offset..offset + count)),
                0 => out.fill(source.get(offset)),
                _ => {
                    let mut offset = offset;
                    for i in 0..out.len() {
                        out.set(i, source.get(offset));
                        offset = offset.wrapping_add_signed(stride);
                    }
                }
            }
        });
    }
}

/// Number of elements.
pub(crate) fn count(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// Strides of a dense tensor.
pub(crate) fn dense_strides(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis].max(1) as isize;
    }
    strides
}

/// Strides that walk `shape` as numpy broadcasts it to `onto`; none if it does not.
pub(crate) fn broadcast_strides(shape: &[usize], onto: &[usize]) -> Option<Vec<isize>> {
    let missing = onto.len().checked_sub(shape.len())?;
    let mut strides = vec![0; missing];
    for ((&dim, &to), stride) in shape.iter().zip(&onto[missing..]).zip(dense_strides(shape)) {
        if dim != to && dim != 1 {
            return None;
        }
        strides.push(if dim == 1 { 0 } else { stride });
    }
    Some(strides)
}

/// The shape that numpy broadcasts all of `shapes` to; none if there is none.
pub(crate) fn broadcast_shape(shapes: &[Vec<usize>]) -> Option<Vec<usize>> {
    let rank = shapes.iter().map(Vec::len).max()?;
    let mut result = vec![1; rank];
    for shape in shapes {
        for (to, &dim) in result[rank - shape.len()..].iter_mut().zip(shape) {
            if *to == 1 {
                *to = dim;
            } else if dim != 1 && dim != *to {
                return None;
            }
        }
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(walk: &Strided, range: Range<usize>) -> Vec<usize> {
        let mut all = Vec::new();
        walk.runs(range, |_, offset, stride, count| {
            all.extend((0..count).map(|i| offset.wrapping_add_signed(stride * i as isize)));
        });
        all
    }

    #[test]
    fn dense_axes_merge_into_one() {
        let walk = Strided::broadcast(&[2, 3, 5], &[2, 3, 5]).unwrap();
        assert_eq!((walk.axes, walk.dims[0], walk.strides[0]), (1, 30, 1));
    }

    #[test]
    fn a_broadcast_row_repeats() {
        let walk = Strided::broadcast(&[3], &[2, 3]).unwrap();
        assert_eq!(offsets(&walk, 0..6), [0, 1, 2, 0, 1, 2]);
        assert_eq!(offsets(&walk, 2..4), [2, 0]);
        assert_eq!(offsets(&Strided::broadcast(&[], &[2, 3]).unwrap(), 0..6), [0; 6]);
        assert!(Strided::broadcast(&[2], &[2, 3]).is_none());
    }

    #[test]
    fn every_start_agrees_with_offset() {
        let walk = Strided::new(&[3, 4, 5], &[1, -30, 3], 90);
        let all = offsets(&walk, 0..60);
        for i in 0..60 {
            assert_eq!(all[i], walk.offset(i));
            assert_eq!(offsets(&walk, i..60), all[i..]);
        }
    }
}
