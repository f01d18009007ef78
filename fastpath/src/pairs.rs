//! Operators of two tensors, element by element, with numpy broadcasting: the axes are merged until the innermost one is as long as possible, and
//! along it each operand either runs or stands still.

use crate::epilogue::{Along, Epilogue};
use crate::registry::{LATEST, Row};
use crate::request::{Request, count};
use crate::settle::{alias, kernel, needs};
use crate::steps::Steps;
use crate::vectors::Vectors;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel};

pub(crate) fn rows<V: Vectors>(path: &'static str) -> Vec<Row<V>> {
    let table = [("Add", 7), ("Sub", 7), ("Mul", 7), ("Div", 7), ("Max", 8), ("Min", 8)];
    let row = |(operator, since)| Row {
        operator,
        path,
        revisions: (since, LATEST),
        tolerance: Tolerance::Exact,
        prepare: pairs,
    };
    table.into_iter().map(row).collect()
}

/// What becomes of two elements.
#[derive(Clone, Copy)]
pub(crate) enum Combine {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
}

/// Where the elements of an operand begin, and whether it moves: one that stands still has a single element for all.
pub(crate) type Operand = (*const f32, bool);

/// Shards end at multiples of this, a cache line.
const GRANULE: usize = 16;
/// Elements between two steps of an epilogue: they stay in the first-level cache.
const STRETCH: usize = 2048;
/// Merged axes that a walk may have.
const MAX_AXES: usize = 8;

/// One merged axis: its length, and the elements that each operand moves by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Axis {
    length: usize,
    left: usize,
    right: usize,
}

/// The way through both operands, axes from the outermost on.
#[derive(Clone, Copy, Debug)]
struct Walk {
    axes: [Axis; MAX_AXES],
    count: usize,
}

impl Walk {
    /// None where the shapes do not broadcast to `output`, or the axes do not merge to few enough.
    fn of(left: &[usize], right: &[usize], output: &[usize]) -> Option<Self> {
        let rank = output.len();
        let mut walk = Self { axes: [Axis { length: 1, left: 0, right: 0 }; MAX_AXES], count: 1 };
        if left.len() > rank || right.len() > rank {
            return None;
        }
        let length =
            |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis]);
        let (mut left_step, mut right_step) = (1, 1);
        // From the innermost axis on, collected in reverse.
        let mut axes: Vec<Axis> = Vec::new();
        for axis in (0..rank).rev() {
            let (l, r, length) = (length(left, axis), length(right, axis), output[axis]);
            if (l != length && l != 1) || (r != length && r != 1) || l.max(r) < length {
                return None;
            }
            if length != 1 {
                let next = Axis {
                    length,
                    left: if l == 1 { 0 } else { left_step },
                    right: if r == 1 { 0 } else { right_step },
                };
                match axes.last_mut() {
                    Some(last)
                        if follows(last.length, last.left, next.left)
                            && follows(last.length, last.right, next.right) =>
                    {
                        last.length *= length;
                    }
                    _ => axes.push(next),
                }
            }
            left_step *= l;
            right_step *= r;
        }
        if axes.len() > MAX_AXES {
            return None;
        }
        walk.count = axes.len().max(1);
        for (to, from) in walk.axes.iter_mut().zip(axes.iter().rev()) {
            *to = *from;
        }
        Some(walk)
    }

    fn inner(&self) -> Axis {
        self.axes[self.count - 1]
    }

    /// Elements in front of row `row` in each operand.
    fn row(&self, row: usize) -> (usize, usize) {
        let (mut rest, mut left, mut right) = (row, 0, 0);
        for axis in self.axes[..self.count - 1].iter().rev() {
            let place = rest % axis.length;
            rest /= axis.length;
            left += place * axis.left;
            right += place * axis.right;
        }
        (left, right)
    }
}

/// Whether an axis that moves by `outer` goes on where one of `length` that moves by `inner` ends.
fn follows(length: usize, inner: usize, outer: usize) -> bool {
    outer == inner * length
}

fn pairs<V: Vectors>(token: V, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    if request.inputs() != 2 {
        return None;
    }
    let (left, right, output) = (request.input(0)?, request.input(1)?, request.output()?);
    let walk = Walk::of(&left, &right, &output)?;
    let combine = match request.operator() {
        "Add" => Combine::Add,
        "Sub" => Combine::Sub,
        "Mul" => Combine::Mul,
        "Div" => Combine::Div,
        "Max" => Combine::Max,
        _ => Combine::Min,
    };
    // No step `bias` here: nothing has so many elements.
    let epilogue = Epilogue::plan(request, Vec::new(), Along::Columns, usize::MAX)?;
    let elements = count(&output);
    let rows = elements / walk.inner().length.max(1);
    let cost = elements as f64 * 0.2 + rows as f64 * 5.0 + epilogue.cost(elements);
    let mut requirements = needs(cost, elements.div_ceil(GRANULE));
    requirements.in_place =
        [(0, &left), (1, &right)].iter().filter(|(_, s)| **s == output).map(|(i, _)| alias(*i)).collect();
    Some(kernel(requirements, None, move |bindings| {
        let (left, right) = (bindings.input::<f32>(0)?, bindings.input::<f32>(1)?);
        let output = bindings.output::<f32>(0)?;
        let epilogue = epilogue.bind(bindings)?;
        Ok(Box::new(move |call: &Call| {
            let steps = Steps::open(&epilogue, call);
            let (left, right) = (call.read(&left).as_ptr(), call.read(&right).as_ptr());
            let results = call.write(&output).as_mut_ptr();
            let share = call.share(elements, GRANULE);
            let inner = walk.inner();
            let mut at = share.start;
            while at < share.end {
                let (row, column) = (at / inner.length, at % inner.length);
                let len = (inner.length - column).min(share.end - at).min(STRETCH);
                let (left_row, right_row) = walk.row(row);
                let _proof: V = token;
                // SAFETY: the token proves the instruction set. `Walk::of` matched the operands with the output: each element of it has its place in both.
                // An operand lies on the output only with equal shape, as granted, and then place on place. Shares are disjoint.
                unsafe {
                    let left = left.add(left_row + column * inner.left);
                    let right = right.add(right_row + column * inner.right);
                    let to = results.add(at);
                    V::zip(combine, (left, inner.left != 0), (right, inner.right != 0), to, len);
                    V::follow(&steps, to, len, 0, 0, at);
                }
                at += len;
            }
            Ok(())
        }))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(left: &[usize], right: &[usize], output: &[usize], axes: &[(usize, usize, usize)]) {
        let walk = Walk::of(left, right, output).expect("the shapes broadcast");
        let found: Vec<_> = walk.axes[..walk.count].iter().map(|axis| (axis.length, axis.left, axis.right)).collect();
        assert_eq!(found, axes);
    }

    #[test]
    fn equal_shapes_are_one_axis() {
        check(&[2, 3, 4], &[2, 3, 4], &[2, 3, 4], &[(24, 1, 1)]);
        check(&[1, 1], &[1], &[1, 1], &[(1, 0, 0)]);
    }

    #[test]
    fn a_scalar_stands_still_along_one_axis() {
        check(&[2, 3, 4], &[], &[2, 3, 4], &[(24, 1, 0)]);
    }

    #[test]
    fn a_channel_factor_moves_along_the_middle() {
        check(&[2, 3, 4, 5], &[3, 1, 1], &[2, 3, 4, 5], &[(2, 60, 0), (3, 20, 1), (20, 1, 0)]);
        check(&[1, 3, 1, 1], &[1, 3, 4, 5], &[1, 3, 4, 5], &[(3, 1, 20), (20, 0, 1)]);
    }

    #[test]
    fn shapes_that_do_not_broadcast_are_declined() {
        assert!(Walk::of(&[2, 3], &[2, 4], &[2, 4]).is_none());
        assert!(Walk::of(&[1], &[1], &[2]).is_none());
        assert!(Walk::of(&[2, 1], &[2], &[2]).is_none());
    }
}
