//! How operands of an elementwise operation are walked: up to four axes, broadcast, each operand in its own layout.

use crate::blocked::{BLOCKED, Planes};
use crate::operation::{Op, lengths};
use sunmao_plugin_sdk::Result;
use sunmao_plugin_sdk::abi::Operand;

/// Most axes of an operand.
pub(crate) const RANK_MAX: usize = 4;

/// The lengths of the result: batch, channel, row, column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid([usize; 4]);

/// Where one operand's elements are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Walk {
    /// Row-major: the step along each axis, 0 where it is repeated.
    Strided([usize; 4]),
    /// In blocks of channels: its planes, and whether it moves along each axis.
    Blocked { planes: Planes, width: usize, moves: [bool; 4] },
}

impl Grid {
    /// The grid of `shape`; everything along one axis when `flat`.
    pub(crate) fn new(shape: &[usize], flat: bool) -> Self {
        if flat { Self([1, 1, 1, shape.iter().product()]) } else { Self(four(shape)) }
    }

    /// Rows of the result: what a shard is given.
    pub(crate) fn rows(&self) -> usize {
        self.0[0] * self.0[1] * self.0[2]
    }

    /// Elements of a row.
    pub(crate) fn width(&self) -> usize {
        self.0[3]
    }

    fn place(&self, row: usize) -> [usize; 3] {
        let [_, channels, high, _] = self.0;
        [row / high.max(1) / channels.max(1), row / high.max(1) % channels.max(1), row % high.max(1)]
    }
}

/// Up to four axes as batch, channel, row, column.
fn four(shape: &[usize]) -> [usize; 4] {
    match *shape {
        [] => [1; 4],
        [w] => [1, 1, 1, w],
        [n, c] => [n, c, 1, 1],
        [n, c, w] => [n, c, 1, w],
        [n, c, h, w] => [n, c, h, w],
        _ => unreachable!("`Walk::new` refused more axes"),
    }
}

impl Walk {
    /// How `operand`, number `index`, lies under a result of `shape`; `None` when both are walked flat.
    pub(crate) fn new(op: Op<'_>, index: usize, operand: &Operand, shape: &[usize]) -> Result<Self> {
        let own = lengths(operand);
        let mismatch = || op.unsupported(format_args!("shape {own:?} under {shape:?}")).at(index);
        if shape.len() > RANK_MAX || own.len() > shape.len() {
            return Err(mismatch());
        }
        let mut padded = vec![1; shape.len() - own.len()];
        padded.extend(&own);
        if padded.iter().zip(shape).any(|(&own, &all)| own != all && own != 1) {
            return Err(mismatch());
        }
        let axes = four(&padded);
        if operand.layout == BLOCKED {
            if own.len() != shape.len() {
                return Err(mismatch());
            }
            return Ok(Self::Blocked { planes: Planes::of(op, operand)?, width: axes[3], moves: axes.map(|n| n != 1) });
        }
        let (mut steps, mut step) = ([0; 4], 1);
        for axis in (0..4).rev() {
            steps[axis] = if axes[axis] == 1 { 0 } else { step };
            step *= axes[axis];
        }
        Ok(Self::Strided(steps))
    }

    /// Every element in the order of memory.
    pub(crate) const FLAT: Self = Self::Strided([0, 0, 0, 1]);

    /// The first element of a row of the grid, and the step to the next.
    pub(crate) fn row(&self, grid: &Grid, row: usize) -> (usize, usize) {
        let [batch, channel, high] = grid.place(row);
        match self {
            Self::Strided(steps) => (batch * steps[0] + channel * steps[1] + high * steps[2], steps[3]),
            Self::Blocked { planes, width, moves } => {
                let pick = |axis: usize, index: usize| if moves[axis] { index } else { 0 };
                let (start, step) = planes.start(pick(0, batch), pick(1, channel));
                (start + pick(2, high) * width * step, if moves[3] { step } else { 0 })
            }
        }
    }
}
