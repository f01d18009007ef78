//! Epilogue steps with the addresses of a call, and the part of them that a micro-kernel applies in registers. Applying what is left is the
//! instruction sets' work.

use crate::activation::Activation;
use crate::epilogue::{Along, BoundEpilogue, MAX_STEPS, Step};
use sunmao_plugin_sdk::Call;

/// The steps of one call, with addresses.
#[derive(Clone, Copy)]
pub(crate) struct Steps {
    all: [Step<*const f32>; MAX_STEPS],
    first: usize,
    end: usize,
}

/// What the micro-kernel does to a tile before it stores the last of its sums.
#[derive(Clone, Copy)]
pub(crate) struct Finish {
    /// A float for each row, or null.
    pub(crate) row_bias: *const f32,
    /// A float for each column, or null.
    pub(crate) column_bias: *const f32,
    /// A float for each result, in the order of the results, or null.
    pub(crate) addend: *const f32,
    pub(crate) low: f32,
    pub(crate) high: f32,
}

impl Finish {
    /// What is done to results from `row` and `column` on, the first of which is element `flat` of the output.
    pub(crate) fn at(self, row: usize, column: usize, flat: usize) -> Self {
        let ahead = |operand: *const f32, by: usize| if operand.is_null() { operand } else { operand.wrapping_add(by) };
        Self {
            row_bias: ahead(self.row_bias, row),
            column_bias: ahead(self.column_bias, column),
            addend: ahead(self.addend, flat),
            ..self
        }
    }
}

impl Steps {
    /// Nothing to do.
    pub(crate) const NONE: Self = Self { all: [Step::Scale(1.0); MAX_STEPS], first: 0, end: 0 };

    /// The addresses of a call. They stay inside the tensors that the steps' inputs were checked for, as long as the steps are applied to places
    /// inside the output.
    pub(crate) fn open(bound: &BoundEpilogue, call: &Call) -> Self {
        let mut all = [Step::Scale(1.0); MAX_STEPS];
        let steps = bound.steps();
        for (open, step) in all.iter_mut().zip(steps) {
            *open = match *step {
                Step::Scale(factor) => Step::Scale(factor),
                Step::Add { addend, along, factor } => Step::Add { addend: call.read(&addend).as_ptr(), along, factor },
                Step::Map(activation) => Step::Map(activation),
            };
        }
        Self { all, first: 0, end: steps.len() }
    }

    /// Those that are left to do.
    pub(crate) fn left(&self) -> &[Step<*const f32>] {
        &self.all[self.first..self.end]
    }

    fn next(&self) -> Option<Step<*const f32>> {
        (self.first < self.end).then(|| self.all[self.first])
    }

    /// Whether nothing is left to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.first == self.end
    }

    /// Takes the steps that can be done in registers off the front: one bias, a second tensor, then one activation that is a range.
    pub(crate) fn take_finish(&mut self) -> Finish {
        let mut finish = self.take_bias();
        if let Some(Step::Add { addend, along: Along::Everything, factor: 1.0 }) = self.next() {
            finish.addend = addend;
            self.first += 1;
        }
        self.take_range(&mut finish);
        finish
    }

    /// As [`Steps::take_finish`], for kernels that read no second tensor: its `addend` is null.
    pub(crate) fn take_plain_finish(&mut self) -> Finish {
        let mut finish = self.take_bias();
        self.take_range(&mut finish);
        finish
    }

    fn take_bias(&mut self) -> Finish {
        let null = std::ptr::null();
        let mut finish =
            Finish { row_bias: null, column_bias: null, addend: null, low: f32::NEG_INFINITY, high: f32::INFINITY };
        if let Some(Step::Add { addend, along: along @ (Along::Rows | Along::Columns), factor: 1.0 }) = self.next() {
            match along {
                Along::Rows => finish.row_bias = addend,
                _ => finish.column_bias = addend,
            }
            self.first += 1;
        }
        finish
    }

    fn take_range(&mut self, finish: &mut Finish) {
        let range = match self.next() {
            Some(Step::Map(Activation::Relu)) => Some((0.0, f32::INFINITY)),
            Some(Step::Map(Activation::Clip { low, high })) => Some((low, high)),
            _ => None,
        };
        if let Some(range) = range {
            (finish.low, finish.high) = range;
            self.first += 1;
        }
    }
}
