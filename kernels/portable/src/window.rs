//! The geometry of a window that slides over one to three spatial axes, as convolutions and pools have it.

use crate::arguments::Op;
use std::ops::Range;
use sunmao_plugin_sdk::Result;

/// Spatial axes; those that an operation lacks have length 1.
pub(crate) const AXES: usize = 3;

/// One spatial axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) dilation: usize,
    pub(crate) pad: usize,
    pub(crate) pad_end: usize,
}

/// All spatial axes, the fastest one last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window(pub(crate) [Axis; AXES]);

const IDLE: Axis = Axis { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, pad: 0, pad_end: 0 };

impl Axis {
    /// Input index that tap `tap` of output `out` reads; none in the padding.
    #[inline]
    pub(crate) fn source(&self, out: usize, tap: usize) -> Option<usize> {
        let at = (out * self.stride + tap * self.dilation).checked_sub(self.pad)?;
        (at < self.input).then_some(at)
    }

    /// Outputs whose tap `tap` reads the input rather than the padding.
    #[inline]
    pub(crate) fn valid(&self, tap: usize) -> Range<usize> {
        let reach = tap * self.dilation;
        let first = self.pad.saturating_sub(reach).div_ceil(self.stride);
        let end = match (self.input + self.pad).checked_sub(reach + 1) {
            Some(last) => (last / self.stride + 1).min(self.output),
            None => 0,
        };
        first.min(end)..end
    }

    /// Length of the window, gaps included.
    fn extent(&self) -> usize {
        (self.kernel - 1) * self.dilation + 1
    }
}

impl Window {
    /// Reads the window from an operation's attributes. `input` and `output` are the spatial lengths, `kernel` those of the weights, if there are any.
    pub(crate) fn of(op: Op<'_>, input: &[usize], output: &[usize], kernel: Option<&[usize]>) -> Result<Self> {
        let mut window = Self::attributes(op, input, kernel)?;
        let ceil = op.attributes().flag("ceil_mode");
        for (axis, &given) in window.spatial_mut(input.len()).iter_mut().zip(output) {
            let padded = axis.input + axis.pad + axis.pad_end;
            let room = padded.checked_sub(axis.extent());
            axis.output = match room {
                Some(room) if ceil => {
                    let count = room.div_ceil(axis.stride) + 1;
                    // A window that would start in the padding behind the end is none.
                    if (count - 1) * axis.stride >= axis.input + axis.pad { count - 1 } else { count }
                }
                Some(room) => room / axis.stride + 1,
                None => 0,
            };
            if axis.output != given {
                return Err(op.invalid(format_args!(
                    "output of spatial lengths {output:?} where the window gives {} along one axis",
                    axis.output
                )));
            }
        }
        Ok(window)
    }

    /// The window without its outputs: attributes and lengths of the input.
    pub(crate) fn attributes(op: Op<'_>, input: &[usize], kernel: Option<&[usize]>) -> Result<Self> {
        let rank = input.len();
        if rank == 0 || rank > AXES {
            return Err(op.unsupported(format_args!("{rank} spatial axes (1 to {AXES} are)")));
        }
        let list = |key: &str, default: i64, length: usize| -> Result<Vec<usize>> {
            let given = op.attributes().integers(key).filter(|list| !list.is_empty());
            let list = given.map_or_else(|| vec![default; length], <[i64]>::to_vec);
            let least = if key == "pads" { 0 } else { 1 };
            // Transposed windows that were given their output's shape may stop short of it: nothing reads their end pads.
            let unread = if key == "pads" && op.name() == "ConvTranspose" { rank } else { length };
            let bad = |(i, &n): (usize, &i64)| (n < least && i < unread) || n > i64::from(u32::MAX >> 2);
            if list.len() != length || list.iter().enumerate().any(bad) {
                return Err(op.unsupported(format_args!("attribute `{key}` = {list:?} for {rank} spatial axes")));
            }
            Ok(list.into_iter().map(|n| n.max(0) as usize).collect())
        };
        let kernel_shape = match (op.attributes().integers("kernel_shape"), kernel) {
            (Some(_), None) => list("kernel_shape", 1, rank)?,
            (Some(given), Some(kernel)) if given.iter().map(|&n| n as usize).ne(kernel.iter().copied()) => {
                return Err(op.invalid(format_args!("kernel_shape {given:?} for weights of {kernel:?}")));
            }
            (_, Some(kernel)) if kernel.len() == rank && kernel.iter().all(|&n| n > 0) => kernel.to_vec(),
            _ => return Err(op.invalid("no kernel_shape")),
        };
        let (strides, dilations) = (list("strides", 1, rank)?, list("dilations", 1, rank)?);
        let pads = match op.attributes().text("auto_pad") {
            "" | "NOTSET" => list("pads", 0, 2 * rank)?,
            "VALID" => vec![0; 2 * rank],
            other => return Err(op.unsupported(format_args!("auto_pad {other}: pads must be explicit"))),
        };
        let mut window = Self([IDLE; AXES]);
        for (i, axis) in window.spatial_mut(rank).iter_mut().enumerate() {
            *axis = Axis {
                input: input[i],
                output: 0,
                kernel: kernel_shape[i],
                stride: strides[i],
                dilation: dilations[i],
                pad: pads[i],
                pad_end: pads[rank + i],
            };
            if axis.kernel.checked_mul(axis.dilation).is_none_or(|reach| reach > 1 << 30) {
                return Err(op.unsupported("a window of more than 2^30 elements"));
            }
        }
        Ok(window)
    }

    pub(crate) fn spatial_mut(&mut self, rank: usize) -> &mut [Axis] {
        &mut self.0[AXES - rank..]
    }

    pub(crate) fn input_len(&self) -> usize {
        self.0.iter().map(|axis| axis.input).product()
    }

    pub(crate) fn output_len(&self) -> usize {
        self.0.iter().map(|axis| axis.output).product()
    }

    pub(crate) fn taps(&self) -> usize {
        self.0.iter().map(|axis| axis.kernel).product()
    }

    /// The same window with all spatial axes as one, when each output reads the one input at its own place.
    pub(crate) fn flattened(self) -> Self {
        let pointwise = |axis: &Axis| axis.kernel == 1 && axis.stride == 1 && axis.pad == 0 && axis.pad_end == 0;
        if !self.0.iter().all(pointwise) {
            return self;
        }
        let length = self.input_len();
        Self([IDLE, IDLE, Axis { input: length, output: length, ..IDLE }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_is_where_source_is() {
        for (input, output, kernel, stride, dilation, pad) in
            [(7, 7, 3, 1, 1, 1), (9, 4, 3, 2, 1, 0), (5, 9, 4, 1, 3, 7), (1, 3, 3, 2, 2, 4), (3, 6, 5, 3, 1, 9)]
        {
            let axis = Axis { input, output, kernel, stride, dilation, pad, pad_end: pad };
            for tap in 0..kernel {
                for out in 0..output {
                    assert_eq!(axis.valid(tap).contains(&out), axis.source(out, tap).is_some(), "{axis:?} {tap} {out}");
                }
            }
        }
    }
}
