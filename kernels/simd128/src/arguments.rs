//! An operation as the fast paths read it. The portable kernel has checked it before: what is asked here is only whether a fast path
//! fits, so the answers are options, and no means that the portable kernel runs.

use sunmao_plugin_sdk::Attributes;
use sunmao_plugin_sdk::abi::{Operand, Operation};

/// Code of f32 in the ABI.
pub(crate) const F32: u16 = 1;

/// One operation.
#[derive(Clone, Copy)]
pub(crate) struct Op<'a>(pub(crate) &'a Operation);

impl<'a> Op<'a> {
    pub(crate) fn name(self) -> &'a str {
        &self.0.op
    }

    pub(crate) fn attributes(self) -> Attributes<'a> {
        Attributes(&self.0.attributes)
    }

    /// An integer attribute, or its default.
    pub(crate) fn integer(self, key: &str, default: i64) -> i64 {
        self.attributes().integer(key).unwrap_or(default)
    }

    /// A number attribute, or its default.
    pub(crate) fn number(self, key: &str, default: f64) -> f32 {
        self.attributes().number(key).unwrap_or(default) as f32
    }

    /// Input `index` when it is there.
    pub(crate) fn input(self, index: usize) -> Option<&'a Operand> {
        self.0.inputs.get(index)?.as_ref()
    }

    /// Input `index` when it is there and no epilogue step's operand.
    pub(crate) fn own(self, index: usize) -> Option<&'a Operand> {
        let of_step = self.0.epilogue.iter().any(|step| step.input == Some(index as u32));
        if of_step { None } else { self.input(index) }
    }

    /// Shape of input `index`, which is f32.
    pub(crate) fn f32_shape(self, index: usize) -> Option<Vec<usize>> {
        let operand = self.input(index)?;
        (operand.dtype == F32).then(|| dims(operand))
    }

    /// Shape of output 0.
    pub(crate) fn output_shape(self) -> Option<Vec<usize>> {
        self.0.outputs.first()?.as_ref().map(dims)
    }

    /// Shape of output 0, which is f32 and the only output.
    pub(crate) fn f32_output(self) -> Option<Vec<usize>> {
        let operand = self.0.outputs.first()?.as_ref()?;
        let only = self.0.outputs.iter().skip(1).all(Option::is_none);
        (only && operand.dtype == F32).then(|| dims(operand))
    }

    /// The integers of a constant input.
    pub(crate) fn integers(self, index: usize) -> Option<Vec<i64>> {
        let operand = self.own(index)?;
        let bytes = operand.literal.as_deref()?;
        match operand.dtype {
            7 => Some(bytes.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().expect("chunks of 8"))).collect()),
            6 => Some(
                bytes.chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().expect("chunks of 4")).into()).collect(),
            ),
            _ => None,
        }
    }

    /// The one number of a constant scalar input.
    pub(crate) fn scalar(self, index: usize) -> Option<f32> {
        let operand = self.own(index)?;
        let bytes = operand.literal.as_deref()?;
        (operand.dtype == F32).then(|| bytes.try_into().ok().map(f32::from_le_bytes))?
    }

    /// An axis that may count from the back, counted from the front.
    pub(crate) fn axis(self, axis: i64, rank: usize) -> Option<usize> {
        let from_front = if axis < 0 { axis + rank as i64 } else { axis };
        (0..rank as i64).contains(&from_front).then_some(from_front as usize)
    }
}

/// The shape of an operand.
pub(crate) fn dims(operand: &Operand) -> Vec<usize> {
    operand.shape.iter().map(|&dim| dim as usize).collect()
}

/// Number of elements.
pub(crate) fn count(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// Into how many shards work of that many nanoseconds splits with profit.
pub(crate) fn shards_for(nanoseconds: u64) -> u32 {
    if nanoseconds < 20_000 { 1 } else { (nanoseconds / 8_000).clamp(2, 64) as u32 }
}
