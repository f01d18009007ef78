//! The sizes of a convolution, in two dimensions: a convolution over one axis has height 1.

use crate::arguments::{Op, dims};

/// Sizes of a convolution over (height, width).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub(crate) batch: usize,
    pub(crate) groups: usize,
    /// Channels of the input, all groups together.
    pub(crate) channels: usize,
    /// Channels of the output, all groups together.
    pub(crate) filters: usize,
    pub(crate) input: [usize; 2],
    pub(crate) output: [usize; 2],
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) dilation: [usize; 2],
    /// Zeros in front of the first row and column.
    pub(crate) pad: [usize; 2],
}

impl Geometry {
    /// The sizes of a Conv operation with f32 operands and constant weights; none when it is not one that the fast paths take.
    pub(crate) fn of(op: Op<'_>) -> Option<Self> {
        let bias = op.own(2).is_none_or(|bias| {
            bias.dtype == crate::arguments::F32 && op.f32_shape(1).is_some_and(|w| dims(bias) == w[..1])
        });
        if !bias || !op.input(1)?.constant {
            return None;
        }
        Self::between(op, &op.f32_shape(0)?, &op.f32_shape(1)?, &op.f32_output()?)
    }

    /// The sizes of a convolution whose operands have those shapes.
    pub(crate) fn between(op: Op<'_>, x: &[usize], w: &[usize], y: &[usize]) -> Option<Self> {
        let rank = x.len();
        if !(rank == 3 || rank == 4) || w.len() != rank || y.len() != rank {
            return None;
        }
        let axes = rank - 2;
        let list = |key: &str, default: usize| -> Option<[usize; 2]> {
            let given = match op.attributes().integers(key) {
                Some(values) => values.iter().map(|&v| usize::try_from(v).ok()).collect::<Option<Vec<_>>>()?,
                None => vec![default; axes],
            };
            match given[..] {
                [width] if axes == 1 => Some([default, width]),
                [height, width] | [height, width, _, _] if axes == 2 => Some([height, width]),
                // `pads` of one axis: begin and end.
                [begin, _] if axes == 1 => Some([default, begin]),
                _ => None,
            }
        };
        let spatial = |shape: &[usize]| if axes == 1 { [1, shape[2]] } else { [shape[2], shape[3]] };
        let geometry = Self {
            batch: x[0],
            groups: usize::try_from(op.integer("group", 1)).ok()?,
            channels: x[1],
            filters: w[0],
            input: spatial(x),
            output: spatial(y),
            kernel: spatial(w),
            stride: list("strides", 1)?,
            dilation: list("dilations", 1)?,
            pad: list("pads", 0)?,
        };
        let g = &geometry;
        let sound = g.groups > 0
            && g.channels.is_multiple_of(g.groups)
            && g.filters.is_multiple_of(g.groups)
            && w[1] == g.channels / g.groups
            && [g.batch, g.channels, g.filters]
                .iter()
                .chain(&g.input)
                .chain(&g.output)
                .chain(&g.kernel)
                .all(|&d| d > 0)
            && g.stride.iter().chain(&g.dilation).all(|&d| d > 0);
        sound.then(|| geometry.upright())
    }

    /// A convolution over height alone is one over width: where both planes are one column wide the axes are exchanged, so that
    /// vectors run along the axis that has a length.
    fn upright(mut self) -> Self {
        if self.input[1] == 1 && self.output[1] == 1 && self.kernel[1] == 1 && self.pad[1] == 0 {
            for pair in [
                &mut self.input,
                &mut self.output,
                &mut self.kernel,
                &mut self.stride,
                &mut self.dilation,
                &mut self.pad,
            ] {
                pair.swap(0, 1);
            }
        }
        self
    }

    /// Pixels of one output plane.
    pub(crate) fn output_plane(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Pixels of one input plane.
    pub(crate) fn input_plane(&self) -> usize {
        self.input[0] * self.input[1]
    }

    /// Elements of a filter over one channel.
    pub(crate) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Channels of the input in one group.
    pub(crate) fn group_channels(&self) -> usize {
        self.channels / self.groups
    }

    /// Channels of the output in one group.
    pub(crate) fn group_filters(&self) -> usize {
        self.filters / self.groups
    }

    /// Products that each output element sums.
    pub(crate) fn depth(&self) -> usize {
        self.group_channels() * self.taps()
    }

    /// Whether a column of the product is a pixel of the input as it lies.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.taps() == 1 && self.stride == [1, 1] && self.pad == [0, 0] && self.input == self.output
    }

    /// Whether every filter sees one channel.
    pub(crate) fn is_depthwise(&self) -> bool {
        self.groups == self.channels && self.group_channels() == 1
    }

    /// Floats of workspace that one shard may take: little against the tensors that live at the same time anyway.
    pub(crate) fn workspace_floats(&self, least: usize, most: usize) -> usize {
        let tensors = self.batch * (self.channels * self.input_plane() + self.filters * self.output_plane());
        (tensors / 40).clamp(least, most)
    }
}
