//! A window that slides over the last one or two axes of a tensor, as convolutions and pools have it.

use crate::request::Request;

/// One spatial axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Axis {
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) dilation: usize,
    pub(crate) pad: usize,
    pub(crate) pad_end: usize,
}

/// Height and width; a tensor with one spatial axis has the height 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sliding {
    pub(crate) high: Axis,
    pub(crate) wide: Axis,
}

/// Far beyond any model, and small enough that no product below overflows.
const MAX_PARAMETER: i64 = 1 << 20;

impl Axis {
    const ONE: Self = Self { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, pad: 0, pad_end: 0 };

    /// Elements that the window spans.
    pub(crate) fn extent(&self) -> usize {
        (self.kernel - 1) * self.dilation + 1
    }

    /// The place in the input that tap `tap` of output `out` reads, if it lies inside.
    pub(crate) fn source(&self, out: usize, tap: usize) -> Option<usize> {
        let place = (out * self.stride + tap * self.dilation).checked_sub(self.pad)?;
        (place < self.input).then_some(place)
    }
}

impl Sliding {
    /// The window of `request` over the spatial axes `input`, that makes `output`. None for more than two axes, or what does not fit together.
    pub(crate) fn of(request: Request<'_>, input: &[usize], output: &[usize], kernel: &[usize]) -> Option<Self> {
        let attributes = request.attributes();
        let axes = input.len();
        if !(1..=2).contains(&axes) || output.len() != axes || kernel.len() != axes {
            return None;
        }
        if !matches!(attributes.text("auto_pad"), "" | "NOTSET") {
            return None;
        }
        let given = attributes.integers("kernel_shape");
        if given.is_some_and(|given| !given.iter().copied().eq(kernel.iter().map(|&k| k as i64))) {
            return None;
        }
        let numbers = |key: &str, count: usize, default: i64, least: i64| {
            let numbers = attributes.integers(key).map_or_else(|| vec![default; count], <[i64]>::to_vec);
            let fits = numbers.len() == count && numbers.iter().all(|n| (least..=MAX_PARAMETER).contains(n));
            fits.then(|| numbers.into_iter().map(|n| n as usize).collect::<Vec<_>>())
        };
        let strides = numbers("strides", axes, 1, 1)?;
        let dilations = numbers("dilations", axes, 1, 1)?;
        let pads = numbers("pads", 2 * axes, 0, 0)?;
        let ceil = attributes.flag("ceil_mode");
        let axis = |i: usize| {
            let axis = Axis {
                input: input[i],
                output: output[i],
                kernel: kernel[i],
                stride: strides[i],
                dilation: dilations[i],
                pad: pads[i],
                pad_end: pads[axes + i],
            };
            let kernel_fits = (1..=MAX_PARAMETER as usize).contains(&axis.kernel);
            if !kernel_fits {
                return None;
            }
            let room = (axis.input + axis.pad + axis.pad_end).checked_sub(axis.extent())?;
            let down = room / axis.stride + 1;
            // A pool that rounds up has a last window that is not whole. Whether one that begins in the padding counts is the schema's business.
            let up = room.div_ceil(axis.stride) + 1;
            (axis.output == down || (ceil && axis.output == up)).then_some(axis)
        };
        match axes {
            1 => Some(Self { high: Axis::ONE, wide: axis(0)? }),
            _ => Some(Self { high: axis(0)?, wide: axis(1)? }),
        }
    }

    /// Elements of an input plane.
    pub(crate) fn input_len(&self) -> usize {
        self.high.input * self.wide.input
    }

    /// Elements of an output plane.
    pub(crate) fn output_len(&self) -> usize {
        self.high.output * self.wide.output
    }

    /// Elements of the window.
    pub(crate) fn taps(&self) -> usize {
        self.high.kernel * self.wide.kernel
    }

    /// Whether the output is the input, place for place: a window of one element that moves by one, without padding.
    pub(crate) fn is_pointwise(&self) -> bool {
        let plain = |axis: &Axis| axis.kernel == 1 && axis.stride == 1 && axis.pad == 0 && axis.pad_end == 0;
        plain(&self.high) && plain(&self.wide)
    }
}
