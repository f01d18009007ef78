//! From sums of a matrix unit to bytes: scaled in f32, rounded half to even, shifted to the zero point, saturated.

use crate::operation::Byte;
use sunmao_plugin_sdk::{Bindings, Call, Input, Reader, Result};

/// The scales and zero points of a quantised operation, as bound: of both factors and of the result.
#[derive(Clone, Copy)]
pub(crate) struct Requantise {
    a_scale: Input<f32>,
    b_scale: Input<f32>,
    y_scale: Input<f32>,
    y_zero: Option<Input<u8>>,
    pub(crate) byte: Byte,
}

/// The same in a run.
pub(crate) struct Requantiser<'a> {
    a_scale: Reader<'a, f32>,
    b_scale: Reader<'a, f32>,
    y_scale: f32,
    y_zero: f64,
    byte: Byte,
}

impl Requantise {
    /// `inputs`: numbers of the three scales and of the result's zero point.
    pub(crate) fn bind(bindings: &Bindings<'_>, inputs: [usize; 4], dtype: u16) -> Result<Self> {
        let [a, b, y, zero] = inputs;
        Ok(Self {
            a_scale: bindings.input(a)?,
            b_scale: bindings.input(b)?,
            y_scale: bindings.input(y)?,
            y_zero: if bindings.has_input(zero) { Some(bindings.input_bits(zero)?) } else { None },
            byte: Byte::of(dtype),
        })
    }

    pub(crate) fn open<'a>(&'a self, call: &'a Call) -> Requantiser<'a> {
        let zero = self.y_zero.as_ref().map_or(0, |zero| self.byte.number(call.read(zero).get(0)));
        Requantiser {
            a_scale: call.read(&self.a_scale),
            b_scale: call.read(&self.b_scale),
            y_scale: call.read(&self.y_scale).get(0),
            y_zero: f64::from(zero),
            byte: self.byte,
        }
    }
}

impl Requantiser<'_> {
    /// The byte for a sum whose factors have the scales of those numbers.
    pub(crate) fn byte(&self, sum: i32, a: usize, b: usize) -> u8 {
        let scale = self.a_scale.get(a) * self.b_scale.get(b) / self.y_scale;
        self.byte.saturated(f64::from((sum as f32 * scale).round_ties_even()) + self.y_zero)
    }
}

/// Which element of a scale or of a zero point belongs to a row or column: the only one, or one for each.
pub(crate) fn element(count: usize, index: usize) -> usize {
    if count == 1 { 0 } else { index }
}
