//! The geometry of a window that slides over one or two spatial axes.

use crate::operation::Op;
use std::ops::Range;
use sunmao_plugin_sdk::Result;

/// One spatial axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) kernel: usize,
    stride: usize,
    dilation: usize,
    pad: usize,
    pad_end: usize,
}

/// Height and width; a tensor with one spatial axis has height 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) high: Axis,
    pub(crate) wide: Axis,
}

impl Axis {
    const IDLE: Self = Self { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, pad: 0, pad_end: 0 };

    /// The input that tap `tap` of output `out` reads; none in the padding.
    pub(crate) fn source(&self, out: usize, tap: usize) -> Option<usize> {
        let at = (out * self.stride + tap * self.dilation).checked_sub(self.pad)?;
        (at < self.input).then_some(at)
    }

    /// Taps of output `out` that lie in the input, or in the input with its padding.
    pub(crate) fn count(&self, out: usize, padding: bool) -> usize {
        let end = self.input + self.pad + self.pad_end;
        let counts = |tap: usize| match padding {
            true => out * self.stride + tap * self.dilation < end,
            false => self.source(out, tap).is_some(),
        };
        (0..self.kernel).filter(|&tap| counts(tap)).count()
    }

    /// Whether the window of every output starts before the end of the padded input.
    fn is_sound(&self) -> bool {
        let end = self.input + self.pad + self.pad_end;
        self.output == 0 || (self.output - 1).checked_mul(self.stride).is_some_and(|start| start < end)
    }
}

impl Window {
    /// Reads the window from an operation's attributes; `input`, `output` and `kernel` are spatial lengths.
    pub(crate) fn of(op: Op<'_>, input: &[usize], output: &[usize], kernel: &[usize]) -> Result<Self> {
        let rank = input.len();
        if !(1..=2).contains(&rank) || output.len() != rank || kernel.len() != rank {
            return Err(op.unsupported(format_args!("{rank} spatial axes where 1 or 2 were expected")));
        }
        let list = |key: &str, count: usize, default: i64| -> Result<Vec<usize>> {
            let given = op.attributes().integers(key).filter(|list| !list.is_empty());
            let list = given.map_or_else(|| vec![default; count], <[i64]>::to_vec);
            let fits = |&n: &i64| (default..1 << 24).contains(&n);
            if list.len() != count || !list.iter().all(fits) {
                return Err(op.unsupported(format_args!("{key} {list:?}")));
            }
            Ok(list.into_iter().map(|n| n as usize).collect())
        };
        let (strides, dilations) = (list("strides", rank, 1)?, list("dilations", rank, 1)?);
        let pads = list("pads", 2 * rank, 0)?;
        let axis = |i: usize| Axis {
            input: input[i],
            output: output[i],
            kernel: kernel[i],
            stride: strides[i],
            dilation: dilations[i],
            pad: pads[i],
            pad_end: pads[rank + i],
        };
        let window = Self { high: if rank == 2 { axis(0) } else { Axis::IDLE }, wide: axis(rank - 1) };
        if !window.high.is_sound() || !window.wide.is_sound() {
            return Err(op.invalid(format_args!("an output of {output:?} from {input:?}")));
        }
        Ok(window)
    }

    /// Taps of the window of the output at `y`, `x` that lie in the input, as tap number and place in the input's plane.
    pub(crate) fn taps(&self, y: usize, x: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        let rows: Range<usize> = 0..self.high.kernel;
        let rows = rows.filter_map(move |tap| self.high.source(y, tap).map(|row| (tap, row)));
        rows.flat_map(move |(ty, row)| {
            let columns = (0..self.wide.kernel).filter_map(move |tap| self.wide.source(x, tap).map(|at| (tap, at)));
            columns.map(move |(tx, column)| (ty * self.wide.kernel + tx, row * self.wide.input + column))
        })
    }

    /// Number of taps.
    pub(crate) fn kernel(&self) -> usize {
        self.high.kernel * self.wide.kernel
    }
}
