//! An operation as this chip's code reads it: operands by number, lengths as `usize`, refusals that name the operator.

use std::fmt::Display;
use sunmao_plugin_sdk::abi::{Operand, Operation};
use sunmao_plugin_sdk::{Attributes, Error, Result};

/// Element types, by the ABI's codes.
pub(crate) const F32: u16 = 1;
pub(crate) const U8: u16 = 2;
pub(crate) const I8: u16 = 3;
pub(crate) const I32: u16 = 6;

#[derive(Clone, Copy)]
pub(crate) struct Op<'a>(pub(crate) &'a Operation);

impl<'a> Op<'a> {
    /// Input `index`, if it is there.
    pub(crate) fn optional(self, index: usize) -> Option<&'a Operand> {
        self.0.inputs.get(index).and_then(Option::as_ref)
    }

    pub(crate) fn input(self, index: usize) -> Result<&'a Operand> {
        self.optional(index).ok_or_else(|| self.invalid("an input is missing").at(index))
    }

    pub(crate) fn output(self) -> Result<&'a Operand> {
        let output = self.0.outputs.first().and_then(Option::as_ref);
        output.ok_or_else(|| self.invalid("there is no output").at(self.0.inputs.len()))
    }

    pub(crate) fn attributes(self) -> Attributes<'a> {
        Attributes(&self.0.attributes)
    }

    pub(crate) fn unsupported(self, why: impl Display) -> Error {
        Error::unsupported(format!("{}: {why}", self.0.op))
    }

    pub(crate) fn invalid(self, why: impl Display) -> Error {
        Error::invalid(format!("{}: {why}", self.0.op))
    }

    /// Bytes of all operands.
    pub(crate) fn bytes(self) -> u64 {
        let size = |operand: &Operand| match operand.dtype {
            U8 | I8 => elements(operand),
            _ => elements(operand) * 4,
        };
        self.0.inputs.iter().chain(&self.0.outputs).flatten().map(|operand| size(operand) as u64).sum()
    }
}

pub(crate) fn lengths(operand: &Operand) -> Vec<usize> {
    operand.shape.iter().map(|&length| length as usize).collect()
}

pub(crate) fn elements(operand: &Operand) -> usize {
    lengths(operand).iter().product()
}

/// How a byte is a number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Byte {
    signed: bool,
}

impl Byte {
    pub(crate) fn of(dtype: u16) -> Self {
        Self { signed: dtype == I8 }
    }

    pub(crate) fn number(self, byte: u8) -> i32 {
        if self.signed { i32::from(byte as i8) } else { i32::from(byte) }
    }

    /// The nearest byte to a number.
    pub(crate) fn saturated(self, number: f64) -> u8 {
        // Conversions from floats saturate; NaN is 0.
        if self.signed { number as i8 as u8 } else { number as u8 }
    }
}
