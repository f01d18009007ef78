//! Epilogue steps on results in memory, and the part of them that the micro-kernel applies in registers.

use super::map;
use crate::activation::Activation;
use crate::epilogue::{Along, BoundEpilogue, MAX_STEPS, Step};
use std::arch::x86_64::*;
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

    /// The addresses of a call. They stay inside the tensors that the steps' inputs were checked for, as long as [`Steps::apply`] is given places
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

    /// Applies the steps that are left to `len` neighbouring results, the first of which is element `flat` of the output and lies in row `row`
    /// and column `column` of its matrix.
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA; `len` floats are readable and writable at `results`; the rows, columns and elements named lie inside the output,
    /// and so inside the operands of the steps.
    #[target_feature(enable = "avx2,fma")]
    pub(crate) unsafe fn apply(&self, results: *mut f32, len: usize, row: usize, column: usize, flat: usize) {
        for step in &self.all[self.first..self.end] {
            // SAFETY: `results` is as the caller promises; an addend has an element for each row, column or result, as its shape was checked.
            unsafe {
                match *step {
                    Step::Map(activation) => map::apply(activation, results, results, len),
                    Step::Scale(factor) => {
                        map::each(results, results, len, |x| _mm256_mul_ps(x, _mm256_set1_ps(factor)));
                    }
                    Step::Add { addend, along: Along::Nothing, factor } => {
                        add_one(results, len, addend.read() * factor)
                    }
                    Step::Add { addend, along: Along::Rows, factor } => {
                        add_one(results, len, addend.add(row).read() * factor);
                    }
                    Step::Add { addend, along: Along::Columns, factor } => {
                        add_each(results, len, addend.add(column), factor);
                    }
                    Step::Add { addend, along: Along::Everything, factor } => {
                        add_each(results, len, addend.add(flat), factor);
                    }
                }
            }
        }
    }
}

/// # Safety
/// As for [`map::each`].
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn add_one(results: *mut f32, len: usize, addend: f32) {
    // SAFETY: the caller's promise.
    unsafe { map::each(results, results, len, |x| _mm256_add_ps(x, _mm256_set1_ps(addend))) }
}

/// # Safety
/// As for [`map::each_pair`].
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn add_each(results: *mut f32, len: usize, addends: *const f32, factor: f32) {
    // SAFETY: the caller's promise.
    unsafe {
        map::each_pair(results, addends, results, len, |x, y| {
            _mm256_add_ps(x, _mm256_mul_ps(y, _mm256_set1_ps(factor)))
        });
    }
}
