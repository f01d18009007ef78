//! Copies of four-byte elements along any steps: what `Transpose`, `Slice` and `Expand` come down to.
//!
//! Axes are merged where they go on as one. Then the innermost axis lies together, or another one does (and squares of eight by eight are turned in
//! registers), or elements are fetched one by one.

use super::lanes::{self, LANES};
use std::arch::x86_64::*;
use std::ops::Range;

/// Merged axes that a walk may have.
const MAX_AXES: usize = 8;
/// Shards end at multiples of this, a cache line.
const GRANULE: usize = 16;

/// An axis of the output: its length, what the output moves by, and what the input moves by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Axis {
    length: usize,
    to: usize,
    from: isize,
}

const UNIT: Axis = Axis { length: 1, to: 1, from: 1 };

/// How the elements of the output are found in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The last axis lies together in the input.
    Runs,
    /// The axis of that number does.
    Turned(usize),
    /// One by one.
    Single,
}

/// A way through the input in the order of the output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk {
    axes: [Axis; MAX_AXES],
    count: usize,
    /// The element of the input that is the output's first.
    start: usize,
    elements: usize,
    form: Form,
}

impl Walk {
    /// Axes of those lengths along which the input moves by `steps`, from element `start` on. The caller has seen to it that all of it lies
    /// inside the input. None where the axes do not merge to few enough.
    pub(crate) fn new(lengths: &[usize], steps: &[isize], start: usize) -> Option<Self> {
        let elements = lengths.iter().product();
        let mut axes: Vec<Axis> = Vec::new();
        let mut to = 1;
        for (&length, &from) in lengths.iter().zip(steps).rev().filter(|(length, _)| **length != 1) {
            match axes.last_mut() {
                Some(last) if from == last.from * last.length as isize => last.length *= length,
                _ => axes.push(Axis { length, to, from }),
            }
            to *= length;
        }
        if axes.is_empty() {
            axes.push(UNIT);
        }
        if axes.len() > MAX_AXES {
            return None;
        }
        axes.reverse();
        let last = axes.len() - 1;
        let form = match axes.iter().position(|axis| axis.from == 1) {
            Some(axis) if axis == last => Form::Runs,
            // Squares pay where both sides are long enough to have some.
            Some(axis) if axes[axis].length >= LANES && axes[last].length >= LANES / 2 => Form::Turned(axis),
            _ => Form::Single,
        };
        let mut walk = Self { axes: [UNIT; MAX_AXES], count: axes.len(), start, elements, form };
        walk.axes[..axes.len()].copy_from_slice(&axes);
        Some(walk)
    }

    /// Parts that the work may be shared out in, and elements that a part ends at multiples of.
    pub(crate) fn units(&self) -> (usize, usize) {
        match self.form {
            Form::Turned(axis) => {
                let (turned, last) = (self.axes[axis].length, self.axes[self.count - 1].length);
                (self.elements / (turned * last).max(1) * turned.div_ceil(GRANULE), 1)
            }
            _ => (self.elements, GRANULE),
        }
    }

    /// Nanoseconds of all of it on one core.
    pub(crate) fn cost(&self) -> f64 {
        let elements = self.elements as f64;
        match self.form {
            Form::Runs => elements * 0.25 + elements / self.axes[self.count - 1].length.max(1) as f64 * 4.0,
            Form::Turned(_) => elements * 0.5,
            Form::Single => elements * 1.0,
        }
    }

    /// Copies part `share` of [`Walk::units`].
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA; all of the walk is readable at `from`, and as many elements are writable at `to`; the two do not overlap, and nobody
    /// else writes the part.
    #[target_feature(enable = "avx2,fma")]
    pub(crate) unsafe fn copy(&self, from: *const f32, to: *mut f32, share: Range<usize>) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.form {
                Form::Turned(axis) => self.turn(axis, from, to, share),
                Form::Runs | Form::Single => self.run(from, to, share),
            }
        }
    }

    /// Elements in front of place `index` of the axes that `skip` does not name, in the output and in the input.
    fn place(&self, index: usize, skip: impl Fn(usize) -> bool) -> (usize, isize) {
        let (mut rest, mut to, mut from) = (index, 0, self.start as isize);
        for number in (0..self.count).rev().filter(|&number| !skip(number)) {
            let axis = self.axes[number];
            let at = rest % axis.length;
            rest /= axis.length;
            to += at * axis.to;
            from += at as isize * axis.from;
        }
        (to, from)
    }

    /// # Safety
    /// As for [`Walk::copy`].
    #[target_feature(enable = "avx2,fma")]
    unsafe fn run(&self, from: *const f32, to: *mut f32, share: Range<usize>) {
        let last = self.axes[self.count - 1];
        let mut at = share.start;
        while at < share.end {
            let (row, column) = (at / last.length, at % last.length);
            let len = (last.length - column).min(share.end - at);
            let (_, start) = self.place(row, |number| number == self.count - 1);
            let source = from.wrapping_offset(start + column as isize * last.from);
            // SAFETY: `len` elements of the row are left, in the output and in the input.
            unsafe {
                let to = to.add(at);
                if last.from == 1 {
                    to.copy_from_nonoverlapping(source, len);
                } else {
                    for i in 0..len {
                        to.add(i).write(source.offset(i as isize * last.from).read());
                    }
                }
            }
            at += len;
        }
    }

    /// Turns squares of the axis `turned`, which lies together in the input, and the last one, which does in the output.
    ///
    /// # Safety
    /// As for [`Walk::copy`].
    #[target_feature(enable = "avx2,fma")]
    unsafe fn turn(&self, turned: usize, from: *const f32, to: *mut f32, share: Range<usize>) {
        let (axis, last) = (self.axes[turned], self.axes[self.count - 1]);
        let blocks = axis.length.div_ceil(GRANULE);
        for unit in share {
            let (index, block) = (unit / blocks, unit % blocks);
            let (to_start, from_start) = self.place(index, |number| number == turned || number == self.count - 1);
            let first = block * GRANULE;
            let end = axis.length.min(first + GRANULE);
            let (to, from) = (to.wrapping_add(to_start), from.wrapping_offset(from_start));
            for j in (0..last.length).step_by(LANES) {
                let columns = LANES.min(last.length - j);
                for i in (first..end).step_by(LANES) {
                    let rows = LANES.min(end - i);
                    let from = from.wrapping_add(i).wrapping_offset(j as isize * last.from);
                    let to = to.wrapping_add(i * axis.to + j);
                    // SAFETY: places `i..i + rows` of the axis and `j..j + columns` of the last one are inside the walk.
                    unsafe {
                        if rows == LANES && columns == LANES {
                            let mut square = [_mm256_setzero_ps(); LANES];
                            for column in 0..LANES {
                                square[column] = _mm256_loadu_ps(from.offset(column as isize * last.from));
                            }
                            let square = lanes::transposed(square);
                            for row in 0..LANES {
                                _mm256_storeu_ps(to.add(row * axis.to), square[row]);
                            }
                        } else {
                            for row in 0..rows {
                                for column in 0..columns {
                                    let value = from.offset(row as isize + column as isize * last.from).read();
                                    to.add(row * axis.to + column).write(value);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lengths: &[usize], steps: &[isize], axes: &[(usize, usize, isize)], form: Form) {
        let walk = Walk::new(lengths, steps, 0).expect("few axes");
        let found: Vec<_> = walk.axes[..walk.count].iter().map(|axis| (axis.length, axis.to, axis.from)).collect();
        assert_eq!((found.as_slice(), walk.form), (axes, form));
    }

    #[test]
    fn axes_that_go_on_are_one() {
        check(&[2, 3, 4], &[12, 4, 1], &[(24, 1, 1)], Form::Runs);
        check(&[2, 1, 4], &[4, 99, 1], &[(8, 1, 1)], Form::Runs);
        check(&[], &[], &[(1, 1, 1)], Form::Runs);
        // Heads and lengths change places; a head stays together.
        check(
            &[2, 12, 9, 32],
            &[12 * 9 * 32, 32, 12 * 32, 1],
            &[(2, 3456, 3456), (12, 288, 32), (9, 32, 384), (32, 1, 1)],
            Form::Runs,
        );
    }

    #[test]
    fn matrices_are_turned_and_what_is_narrow_is_fetched() {
        check(&[9, 20], &[1, 9], &[(9, 20, 1), (20, 1, 9)], Form::Turned(0));
        check(&[3, 20], &[1, 3], &[(3, 20, 1), (20, 1, 3)], Form::Single);
        check(&[5, 7], &[1, 0], &[(5, 7, 1), (7, 1, 0)], Form::Single);
        check(&[6], &[-1], &[(6, 1, -1)], Form::Single);
    }
}
