//! An operation as a fast path reads it. Everything answers with an `Option`: what is not plainly as the operator wants it is declined, and the
//! portable kernel finds the words for what is wrong with it.

use sunmao_plugin_sdk::abi::{Operand, Operation};
use sunmao_plugin_sdk::{Attributes, Element};

/// An operation whose operands are all dense `f32` tensors of a size that 32-bit offsets reach, but for small constants of any type.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a>(&'a Operation);

/// Offsets are 32 bits wide, so no operand has more elements.
const MAX_ELEMENTS: u64 = (u32::MAX / 4) as u64;

impl<'a> Request<'a> {
    pub(crate) fn new(operation: &'a Operation) -> Option<Self> {
        let demands = operation.ext.iter().any(|kv| kv.key.starts_with('!'));
        let operands = operation.inputs.iter().chain(&operation.outputs).flatten();
        (!demands && operands.into_iter().all(is_plain)).then_some(Self(operation))
    }

    pub(crate) fn operator(self) -> &'a str {
        &self.0.op
    }

    pub(crate) fn operation(self) -> &'a Operation {
        self.0
    }

    pub(crate) fn attributes(self) -> Attributes<'a> {
        Attributes(&self.0.attributes)
    }

    /// Input `index` whatever it is; none where it was left out or belongs to an epilogue step.
    pub(crate) fn operand(self, index: usize) -> Option<&'a Operand> {
        if self.0.epilogue.iter().any(|step| step.input.is_some_and(|input| input as usize == index)) {
            return None;
        }
        self.0.inputs.get(index)?.as_ref()
    }

    /// How many inputs are the operator's own, up to the last one that is there.
    pub(crate) fn inputs(self) -> usize {
        (0..self.0.inputs.len()).rev().find(|&index| self.operand(index).is_some()).map_or(0, |last| last + 1)
    }

    /// Shape of input `index`, which must be a tensor of floats.
    pub(crate) fn input(self, index: usize) -> Option<Vec<usize>> {
        self.operand(index).and_then(floats)
    }

    /// Shape of an input that an epilogue step names.
    pub(crate) fn step_input(self, index: usize) -> Option<Vec<usize>> {
        self.0.inputs.get(index)?.as_ref().and_then(floats)
    }

    /// Shape of the only output, which must be a tensor of floats.
    pub(crate) fn output(self) -> Option<Vec<usize>> {
        if self.0.outputs.iter().skip(1).any(Option::is_some) {
            return None;
        }
        self.0.outputs.first()?.as_ref().and_then(floats)
    }

    /// Whether output `index` is wanted.
    pub(crate) fn has_output(self, index: usize) -> bool {
        self.0.outputs.get(index).is_some_and(Option::is_some)
    }

    /// Shape of output `index`, which must be a tensor of floats.
    pub(crate) fn floats_of_output(self, index: usize) -> Option<Vec<usize>> {
        self.0.outputs.get(index)?.as_ref().and_then(floats)
    }

    /// Shape of input `index`, which must have elements of four bytes, whatever they are.
    pub(crate) fn words(self, index: usize) -> Option<Vec<usize>> {
        let operand = self.operand(index)?;
        matches!(operand.dtype, f32::DTYPE | i32::DTYPE | u32::DTYPE).then(|| lengths(operand))
    }

    /// Shape of the only output, which must have elements of the type of input `index`.
    pub(crate) fn output_like(self, index: usize) -> Option<Vec<usize>> {
        let (operand, output) = (self.operand(index)?, self.0.outputs.first()?.as_ref()?);
        let alone = self.0.outputs.iter().skip(1).all(Option::is_none);
        (alone && operand.dtype == output.dtype).then(|| lengths(output))
    }

    /// The elements of a small constant of integers.
    pub(crate) fn integers(self, index: usize) -> Option<Vec<i64>> {
        let operand = self.operand(index).filter(|operand| operand.constant)?;
        let literal = operand.literal.as_deref()?;
        match operand.dtype {
            i32::DTYPE => Some(literal.as_chunks().0.iter().map(|&bytes| i32::from_le_bytes(bytes).into()).collect()),
            i64::DTYPE => Some(literal.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect()),
            _ => None,
        }
    }

    /// The value of a constant scalar of floats.
    pub(crate) fn scalar(self, index: usize) -> Option<f32> {
        let operand = self.operand(index)?;
        if operand.dtype != f32::DTYPE || !operand.constant {
            return None;
        }
        Some(f32::from_le_bytes(operand.literal.as_deref()?.try_into().ok()?))
    }

    /// An axis attribute, counted from the front.
    pub(crate) fn axis(self, key: &str, default: i64, rank: usize) -> Option<usize> {
        let axis = self.attributes().integer(key).unwrap_or(default);
        let rank = rank as i64;
        (-rank..rank).contains(&axis).then(|| axis.rem_euclid(rank) as usize)
    }
}

fn is_plain(operand: &Operand) -> bool {
    operand.layout == 0
        && operand.quantisation.is_none()
        && operand.extents.is_empty()
        && !operand.ext.iter().any(|kv| kv.key.starts_with('!'))
        && operand
            .shape
            .iter()
            .try_fold(1u64, |n, &d| n.checked_mul(u64::from(d.max(1))))
            .is_some_and(|n| n <= MAX_ELEMENTS)
}

fn lengths(operand: &Operand) -> Vec<usize> {
    operand.shape.iter().map(|&d| d as usize).collect()
}

fn floats(operand: &Operand) -> Option<Vec<usize>> {
    (operand.dtype == f32::DTYPE).then(|| lengths(operand))
}

/// Number of elements of a shape.
pub(crate) fn count(shape: &[usize]) -> usize {
    shape.iter().product()
}
