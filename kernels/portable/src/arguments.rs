//! An operation as `prepare` reads it: operands by number, attributes by name, and the errors when they are not as they should be.

use crate::element::Stored;
use crate::strided::count;
use sunmao_plugin_sdk::abi::{Operand, Operation};
use sunmao_plugin_sdk::{Attributes, Error, Result};

/// One operation, to be made ready.
#[derive(Clone, Copy)]
pub(crate) struct Op<'a>(pub(crate) &'a Operation);

impl<'a> Op<'a> {
    pub(crate) fn name(self) -> &'a str {
        &self.0.op
    }

    pub(crate) fn revision(self) -> u16 {
        self.0.revision
    }

    pub(crate) fn attributes(self) -> Attributes<'a> {
        Attributes(&self.0.attributes)
    }

    pub(crate) fn unsupported(self, what: impl std::fmt::Display) -> Error {
        Error::unsupported(format!("{}: {what}", self.name()))
    }

    pub(crate) fn invalid(self, what: impl std::fmt::Display) -> Error {
        Error::invalid(format!("{}: {what}", self.name()))
    }

    /// Number of the operator's own inputs, those in the middle that were left out counted too.
    pub(crate) fn inputs(self) -> usize {
        (0..self.0.inputs.len()).rev().find(|&i| self.optional(i).is_some()).map_or(0, |last| last + 1)
    }

    /// Input `index` of the operator's own; none where it was left out, or belongs to an epilogue step.
    pub(crate) fn optional(self, index: usize) -> Option<&'a Operand> {
        if self.0.epilogue.iter().any(|step| step.input.is_some_and(|input| input as usize == index)) {
            return None;
        }
        self.0.inputs.get(index)?.as_ref()
    }

    pub(crate) fn input(self, index: usize) -> Result<&'a Operand> {
        self.optional(index).ok_or_else(|| self.invalid(format_args!("input {index} is missing")).at(index))
    }

    pub(crate) fn wants_output(self, index: usize) -> bool {
        self.0.outputs.get(index).is_some_and(Option::is_some)
    }

    pub(crate) fn output(self, index: usize) -> Result<&'a Operand> {
        let operand = self.0.outputs.get(index).and_then(Option::as_ref);
        operand.ok_or_else(|| self.invalid(format_args!("output {index} is missing")).at(self.0.inputs.len() + index))
    }

    pub(crate) fn shape(self, index: usize) -> Result<Vec<usize>> {
        self.input(index).map(dims)
    }

    pub(crate) fn output_shape(self, index: usize) -> Result<Vec<usize>> {
        self.output(index).map(dims)
    }

    /// Shapes of all inputs; none may be left out.
    pub(crate) fn shapes(self) -> Result<Vec<Vec<usize>>> {
        (0..self.inputs()).map(|i| self.shape(i)).collect()
    }

    /// The operation's output must have this shape.
    pub(crate) fn expect_output(self, index: usize, shape: &[usize]) -> Result<()> {
        let given = self.output_shape(index)?;
        if given == shape {
            return Ok(());
        }
        Err(self
            .invalid(format_args!("output {index} should have shape {shape:?}, the operation says {given:?}"))
            .at(self.0.inputs.len() + index))
    }

    /// The input must have this shape.
    pub(crate) fn expect_input(self, index: usize, shape: &[usize]) -> Result<()> {
        let given = self.shape(index)?;
        if given == shape {
            return Ok(());
        }
        Err(self.invalid(format_args!("input {index} should have shape {shape:?}, it has {given:?}")).at(index))
    }

    /// An axis attribute, counted from the front.
    pub(crate) fn axis(self, key: &str, default: i64, rank: usize) -> Result<usize> {
        self.normalise(self.attributes().integer(key).unwrap_or(default), rank)
    }

    /// An axis that may count from the back, counted from the front.
    pub(crate) fn normalise(self, axis: i64, rank: usize) -> Result<usize> {
        let from_front = if axis < 0 { axis + rank as i64 } else { axis };
        if from_front < 0 || from_front >= rank as i64 {
            return Err(self.invalid(format_args!("axis {axis} of a tensor with {rank} axes")));
        }
        Ok(from_front as usize)
    }

    /// Axes that may count from the back, each at most once.
    pub(crate) fn normalise_all(self, axes: &[i64], rank: usize) -> Result<Vec<usize>> {
        let axes = axes.iter().map(|&axis| self.normalise(axis, rank)).collect::<Result<Vec<_>>>()?;
        if (1..axes.len()).any(|i| axes[..i].contains(&axes[i])) {
            return Err(self.invalid(format_args!("axes {axes:?} repeat one")));
        }
        Ok(axes)
    }

    /// The integers of a constant input (axes, shapes, pads). None when it was left out.
    pub(crate) fn integers(self, index: usize) -> Result<Option<Vec<i64>>> {
        let Some(operand) = self.optional(index) else { return Ok(None) };
        let bytes = self.literal(index, operand)?;
        let values = match operand.dtype {
            7 => bytes.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().expect("chunks of 8"))).collect(),
            6 => bytes.chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().expect("chunks of 4")).into()).collect(),
            other => return Err(self.unsupported(format_args!("integers of element type {other}")).at(index)),
        };
        Ok(Some(values))
    }

    /// The numbers of a constant input of floats. None when it was left out.
    pub(crate) fn numbers(self, index: usize) -> Result<Option<Vec<f64>>> {
        let Some(operand) = self.optional(index) else { return Ok(None) };
        let bytes = self.literal(index, operand)?;
        let halves = || bytes.chunks_exact(2).map(|b| u16::from_le_bytes(b.try_into().expect("chunks of 2")));
        let values = match operand.dtype {
            1 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("chunks of 4")).into()).collect(),
            11 => bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().expect("chunks of 8"))).collect(),
            10 => halves().map(|bits| crate::element::F16::load(bits).into()).collect(),
            16 => halves().map(|bits| crate::element::BF16::load(bits).into()).collect(),
            other => return Err(self.unsupported(format_args!("numbers of element type {other}")).at(index)),
        };
        Ok(Some(values))
    }

    fn literal(self, index: usize, operand: &'a Operand) -> Result<&'a [u8]> {
        // A tensor without elements has nothing to carry.
        if count(&dims(operand)) == 0 {
            return Ok(&[]);
        }
        operand.literal.as_deref().ok_or_else(|| {
            self.unsupported(format_args!("input {index} must be a constant of at most 4 KiB")).at(index)
        })
    }
}

/// The shape of an operand.
pub(crate) fn dims(operand: &Operand) -> Vec<usize> {
    operand.shape.iter().map(|&dim| dim as usize).collect()
}
