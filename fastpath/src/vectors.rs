//! What the operators that are plain loops over floats need of an instruction set: a function of each element, pairs of elements, a line of a softmax, the
//! steps of an epilogue. Shapes, shards and bindings are the same for all of them, and stand in `unary`, `pairs` and `softmax`.

use crate::activation::Activation;
use crate::isa::Token;
use crate::pairs::{Combine, Operand};
use crate::steps::Steps;

/// The loops of an instruction set. Whoever calls them holds its token, as the proof of their first condition.
pub(crate) trait Vectors: Token {
    /// Writes the function of each of the `len` floats at `from` to `to`.
    ///
    /// # Safety
    /// The CPU has the instruction set; `len` floats are readable at `from` and writable at `to`; the two are equal or do not overlap.
    unsafe fn map(activation: Activation, from: *const f32, to: *mut f32, len: usize);

    /// Writes what becomes of each of `len` pairs of elements to `to`.
    ///
    /// # Safety
    /// The CPU has the instruction set; `len` floats (one, where it stands still) are readable at each operand and `len` writable at `to`, which equals or
    /// does not overlap each of them.
    unsafe fn zip(combine: Combine, left: Operand, right: Operand, to: *mut f32, len: usize);

    /// Writes the softmax of the `len` floats at `from` to `to`.
    ///
    /// # Safety
    /// As for [`Vectors::map`].
    unsafe fn softmax(from: *const f32, to: *mut f32, len: usize);

    /// Applies the steps that are left to `len` neighbouring results, the first of which is element `flat` of the output and lies in row `row`
    /// and column `column` of its matrix.
    ///
    /// # Safety
    /// The CPU has the instruction set; `len` floats are readable and writable at `results`; the rows, columns and elements named lie inside the output,
    /// and so inside the operands of the steps.
    unsafe fn follow(steps: &Steps, results: *mut f32, len: usize, row: usize, column: usize, flat: usize);
}
