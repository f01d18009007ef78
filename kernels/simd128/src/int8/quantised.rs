//! What the quantised convolutions share: their operands, and what turns sums into bytes.

use super::bytes::{Scaling, Target};
use super::{Less, flip_of};
use crate::arguments::{F32, Op, count, dims};
use crate::conv::geometry::Geometry;
use sunmao_plugin_sdk::{Bindings, Call, Input, Output, Result};

/// A `QLinearConv` that the kernels here take.
#[derive(Clone, Copy)]
pub(crate) struct Quantised {
    pub(crate) geometry: Geometry,
    x_flip: u8,
    y_flip: u8,
    /// Of the weights.
    pub(crate) weight: Less,
    /// The weights have a scale for each filter.
    each: bool,
    has_bias: bool,
}

/// The same, bound.
#[derive(Clone, Copy)]
pub(crate) struct Bound {
    quantised: Quantised,
    /// Scales of the input, the weights and the result.
    scales: [Input<f32>; 3],
    /// Zero points of the input and of the result.
    zeros: [Input<u8>; 2],
    bias: Option<Input<i32>>,
    x: Input<u8>,
    y: Output<u8>,
}

/// One call.
#[derive(Clone, Copy)]
pub(crate) struct Opened {
    pub(crate) x: Less,
    pub(crate) target: Target,
    factors: *const f32,
    bias: *const i32,
    pub(crate) planes: *const u8,
    pub(crate) results: *mut u8,
}

impl Quantised {
    pub(crate) fn of(op: Op<'_>) -> Option<Self> {
        let (x, w, y) = (op.input(0)?, op.input(3)?, op.0.outputs.first()?.as_ref()?);
        let geometry = Geometry::between(op, &dims(x), &dims(w), &dims(y))?;
        let flip = flip_of(w.dtype)?;
        // The weights' zero point is taken off when they are packed, so it must be one that is known now.
        let (&first, rest) = op.input(5)?.literal.as_deref()?.split_first()?;
        let floats = [1, 4, 6].iter().all(|&index| op.input(index).is_some_and(|scale| scale.dtype == F32));
        let single = [1, 2, 6, 7].iter().all(|&index| op.input(index).is_some_and(|one| count(&dims(one)) == 1));
        let each = match count(&dims(op.input(4)?)) {
            1 => false,
            n => (n == geometry.filters).then_some(true)?,
        };
        let fits = floats && single && w.constant && rest.iter().all(|&other| other == first);
        fits.then_some(Self {
            geometry,
            x_flip: flip_of(x.dtype)?,
            y_flip: flip_of(y.dtype)?,
            weight: Less { flip, zero: first ^ flip },
            each,
            has_bias: op.own(8).is_some(),
        })
    }

    /// Bytes of workspace for the factors of all filters, a whole number of cache lines.
    pub(crate) fn factor_bytes(&self) -> usize {
        (self.geometry.filters * 4).next_multiple_of(64)
    }

    pub(crate) fn bind(&self, bindings: &Bindings<'_>) -> Result<Bound> {
        Ok(Bound {
            quantised: *self,
            scales: [bindings.input(1)?, bindings.input(4)?, bindings.input(6)?],
            zeros: [bindings.input_bits(2)?, bindings.input_bits(7)?],
            bias: if self.has_bias { Some(bindings.input(8)?) } else { None },
            x: bindings.input_bits(0)?,
            y: bindings.output_bits(0)?,
        })
    }
}

impl Bound {
    /// What a call needs; writes the factor of every filter to the workspace at `factors`.
    ///
    /// # Safety
    /// [`Quantised::factor_bytes`] bytes are writable at `factors`.
    pub(crate) unsafe fn open(&self, call: &Call, factors: *mut f32) -> Opened {
        let Quantised { geometry, x_flip, y_flip, each, .. } = self.quantised;
        let [x, w, y] = &self.scales;
        let (x, w, y) = (call.read(x).get(0), call.read(w), call.read(y).get(0));
        for filter in 0..geometry.filters {
            let factor = x * w.get(if each { filter } else { 0 }) / y;
            // SAFETY: there is room for the factors of all filters.
            unsafe { factors.add(filter).write(factor) };
        }
        Opened {
            x: Less { flip: x_flip, zero: call.read(&self.zeros[0]).get(0) ^ x_flip },
            target: Target { zero: call.read(&self.zeros[1]).get(0) ^ y_flip, flip: y_flip },
            factors,
            bias: self.bias.as_ref().map_or(core::ptr::null(), |bias| call.read(bias).as_ptr()),
            planes: call.read(&self.x).as_ptr(),
            results: call.write(&self.y).as_mut_ptr(),
        }
    }
}

impl Opened {
    /// Bias and factor of a filter.
    ///
    /// # Safety
    /// `filter` is one of the operation's.
    pub(crate) unsafe fn filter(&self, filter: usize) -> Scaling {
        // SAFETY: there is a factor, and where there are biases a bias, for each filter.
        unsafe {
            let bias = if self.bias.is_null() { 0 } else { self.bias.add(filter).read() };
            Scaling::new(bias, self.factors.add(filter).read())
        }
    }
}
