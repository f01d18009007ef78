//! What becomes of the exact sums of an integer product: they are stored as they are, or scaled back to bytes.
//!
//! A sum, rounded to f32, is multiplied in f32 by `left * right / out` of the scales, which is worked out in the scales' own type; the product is rounded
//! half to even, the zero point added, and the result saturated.

use crate::arguments::{Op, dims};
use crate::matmul::Byte;
use crate::quantise::precision;
use crate::settle::CHUNK;
use crate::strided::{Strided, count};
use crate::wide::{Source, Wide, source};
use sunmao_plugin_sdk::{Bindings, Call, Input, Output, Result};

/// Which inputs scale sums, and whether each has one element for all or one for each row or column.
#[derive(Clone, Copy)]
pub(crate) struct Scales {
    dtype: u16,
    left: (usize, bool),
    right: (usize, bool),
    out: (usize, bool),
    zero: (usize, bool),
    byte: Byte,
}

impl Scales {
    /// Input numbers of the scales on the left, on the right and of the output, of which the zero point follows; `rows` go with the left one and with
    /// the output's, `columns` with the right one.
    pub(crate) fn of(op: Op<'_>, inputs: [usize; 3], rows: usize, columns: usize) -> Result<Self> {
        let [left, right, out] = inputs;
        Ok(Self {
            dtype: op.input(left)?.dtype,
            left: (left, by_line(op, left, rows, Line::Row)?),
            right: (right, by_line(op, right, columns, Line::Column)?),
            out: (out, by_line(op, out, rows, Line::Row)?),
            zero: (out + 1, by_line(op, out + 1, rows, Line::Row)?),
            byte: Byte::of(op.input(out + 1)?.dtype),
        })
    }
}

/// What a vector of scales or zero points goes by.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Line {
    Row,
    Column,
}

/// Whether input `index` differs from line to line: a vector with an element for each of `lines`, which may have its place among axes of length 1.
/// An input that was left out does not.
pub(crate) fn by_line(op: Op<'_>, index: usize, lines: usize, line: Line) -> Result<bool> {
    let Some(operand) = op.optional(index) else { return Ok(false) };
    let shape = dims(operand);
    let own = match line {
        Line::Row if shape.len() > 1 => shape.len() - 2,
        _ => shape.len().saturating_sub(1),
    };
    match count(&shape) {
        1 => Ok(false),
        n if n == lines && shape[own] == lines => Ok(true),
        _ => Err(op.unsupported(format_args!("a scale or zero point of shape {shape:?} for {lines} lines")).at(index)),
    }
}

/// Where sums go.
pub(crate) enum Finish {
    Sums(Output<i32>),
    Bytes(Box<Requantised>),
}

/// Scales and an output of bytes, bound.
pub(crate) struct Requantised {
    scales: Scales,
    factors: [Box<dyn Source>; 3],
    zero: Input<u8>,
    output: Output<u8>,
}

impl Finish {
    /// Binds output 0: without scales it holds the sums themselves.
    pub(crate) fn bind(bindings: &Bindings<'_>, scales: Option<Scales>) -> Result<Self> {
        let Some(scales) = scales else { return Ok(Self::Sums(bindings.output(0)?)) };
        let factor = |(index, _): (usize, bool)| source(bindings, scales.dtype, index);
        Ok(Self::Bytes(Box::new(Requantised {
            scales,
            factors: [factor(scales.left)?, factor(scales.right)?, factor(scales.out)?],
            zero: bindings.input_bits(scales.zero.0)?,
            output: bindings.output_bits(0)?,
        })))
    }

    /// Stores at most [`CHUNK`] sums of row `row` from place `at` of the output on. They go by columns from `column` on, or all by that one.
    pub(crate) fn store(&self, call: &Call, at: usize, row: usize, column: usize, by_column: bool, sums: &[i32]) {
        match self {
            Self::Sums(output) => {
                let to = call.write(output).part(at..at + sums.len());
                for (i, &sum) in sums.iter().enumerate() {
                    to.set(i, sum);
                }
            }
            Self::Bytes(requantised) => requantised.store(call, at, row, column, by_column, sums),
        }
    }
}

impl Requantised {
    fn store(&self, call: &Call, at: usize, row: usize, column: usize, by_column: bool, sums: &[i32]) {
        let Scales { dtype, left, right, out, zero, byte } = self.scales;
        let n = sums.len();
        let round = precision(dtype);
        let mut wide = Wide::Real([0.0; CHUNK]);
        let mut number = [0.0; CHUNK];
        let mut one = |source: &dyn Source, each: bool, line: usize| {
            let single = Strided::new(&[], &[], 0);
            source.load(call, &single, if each { line } else { 0 }, 0, 1, &mut wide);
            wide.reals(1, &mut number);
            number[0]
        };
        let [left_factor, right_factor, out_factor] = &self.factors;
        let (left, out) = (one(&**left_factor, left.1, row), one(&**out_factor, out.1, row));
        let mut rights = [0.0; CHUNK];
        if right.1 && by_column {
            right_factor.load(call, &Strided::new(&[n], &[1], 0), column, 0, n, &mut wide);
            wide.reals(n, &mut rights);
        } else {
            rights[..n].fill(one(&**right_factor, right.1, column));
        }
        let zero = byte.number(call.read(&self.zero).get(if zero.1 { row } else { 0 }));
        let to = call.write(&self.output).part(at..at + n);
        for (i, (&sum, right)) in sums.iter().zip(rights).enumerate() {
            let factor = round(round(left * right) / out);
            // Scales are f32 or narrower, so the factor is one of f32.
            let scaled = (sum as f32 * factor as f32).round_ties_even();
            to.set(i, byte.saturated(f64::from(scaled) + f64::from(zero)));
        }
    }
}
