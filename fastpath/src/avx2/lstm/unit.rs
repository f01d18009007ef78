//! One direction of some entries of the batch, from the first step to the last.

use super::{GATES, Plan};
use crate::avx2::lanes::{self, vectors};
use crate::avx2::math::{sigmoid, tanh};
use crate::avx2::micro::{self, COLUMNS, Left, ROWS, Right, Tile};
use std::arch::x86_64::*;
use std::ops::Range;

/// Where the tensors of a dispatch are; what is left out: null.
pub(super) struct Addresses {
    pub(super) x: *const f32,
    /// Weights of all directions, packed.
    pub(super) w: *const f32,
    pub(super) r: *const f32,
    pub(super) bias: *const f32,
    /// Hidden and cell state before the first step, and after the last.
    pub(super) first: [*const f32; 2],
    pub(super) all: *mut f32,
    pub(super) last: [*mut f32; 2],
    pub(super) workspace: *mut f32,
}

/// The workspace of a unit.
#[derive(Clone, Copy)]
struct Scratch {
    ahead: *mut f32,
    gates: *mut f32,
    bias: *mut f32,
    hidden: *mut f32,
    cell: *mut f32,
}

impl Plan {
    fn scratch(&self, workspace: *mut f32) -> Scratch {
        let mut rest = workspace;
        let [ahead, gates, bias, hidden, cell] = self.space().map(|floats| {
            let start = rest;
            rest = rest.wrapping_add(floats);
            start
        });
        Scratch { ahead, gates, bias, hidden, cell }
    }

    /// # Safety
    /// The CPU has AVX2 and FMA. The tensors are as the plan says, outputs overlap no input, the workspace has the size that the plan asks for, and
    /// nobody else writes the rows of this direction and group or uses the workspace.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn unit(&self, at: &Addresses, direction: usize, group: usize) {
        let batches = group * ROWS..self.batches.min((group + 1) * ROWS);
        let (rows, hidden) = (self.rows(), self.hidden);
        let scratch = self.scratch(at.workspace);
        let backwards = self.reverse || direction == 1;
        let place = |number: usize| if backwards { self.steps - 1 - number } else { number };
        // SAFETY: all places named are those of entries of the batch, steps and the direction; the workspace has `batches.len()` rows of states
        // and gates at most.
        unsafe {
            for i in 0..rows {
                let bias = at.bias.wrapping_add(direction * 2 * rows + i);
                let sum = if at.bias.is_null() { 0.0 } else { bias.read() + bias.add(rows).read() };
                scratch.bias.add(i).write(sum);
            }
            for (row, batch) in batches.clone().enumerate() {
                for (from, to) in at.first.into_iter().zip([scratch.hidden, scratch.cell]) {
                    let to = to.add(row * hidden);
                    match from.is_null() {
                        true => to.write_bytes(0, hidden),
                        false => to.copy_from_nonoverlapping(from.add(self.state_at(direction, batch)), hidden),
                    }
                }
            }
            for start in (0..self.steps).step_by(self.ahead) {
                let numbers = start..self.steps.min(start + self.ahead);
                let first = place(numbers.start).min(place(numbers.end - 1));
                self.look_ahead(at, &scratch, direction, batches.clone(), first..first + numbers.len());
                for number in numbers {
                    self.recur(at, &scratch, direction, batches.len());
                    for (row, batch) in batches.clone().enumerate() {
                        let ahead = scratch.ahead.add(((place(number) - first) * batches.len() + row) * rows);
                        let (h, c) = (scratch.hidden.add(row * hidden), scratch.cell.add(row * hidden));
                        cell(hidden, [ahead, scratch.gates.add(row * rows), scratch.bias], h, c);
                        if !at.all.is_null() {
                            let to = at.all.add(self.result_at(place(number), direction, batch));
                            to.copy_from_nonoverlapping(h, hidden);
                        }
                    }
                }
            }
            for (row, batch) in batches.enumerate() {
                for (from, to) in [scratch.hidden, scratch.cell].into_iter().zip(at.last) {
                    if !to.is_null() {
                        let to = to.add(self.state_at(direction, batch));
                        to.copy_from_nonoverlapping(from.add(row * hidden), hidden);
                    }
                }
            }
        }
    }

    /// Products of the inputs of some steps with the weights.
    ///
    /// # Safety
    /// As for [`Plan::unit`].
    #[target_feature(enable = "avx2,fma")]
    unsafe fn look_ahead(
        &self,
        at: &Addresses,
        scratch: &Scratch,
        direction: usize,
        batches: Range<usize>,
        steps: Range<usize>,
    ) {
        let (rows, inputs) = (self.rows(), self.inputs);
        let weights = at.w.wrapping_add(direction * self.packed(inputs));
        // Of one entry, the steps lie at equal distances in the input and in the products.
        let from_step = self.input_at(1, 0);
        let to_step = batches.len() * rows;
        for panel in (0..rows).step_by(COLUMNS) {
            let right = Right { start: weights.wrapping_add(panel * inputs), step: COLUMNS };
            for (row, batch) in batches.clone().enumerate() {
                for tile in (0..steps.len()).step_by(ROWS) {
                    let start = at.x.wrapping_add(self.input_at(steps.start + tile, batch));
                    let left = Left { start, row: from_step, step: 1 };
                    let into = Tile {
                        start: scratch.ahead.wrapping_add(tile * to_step + row * rows + panel),
                        stride: to_step,
                        rows: ROWS.min(steps.len() - tile),
                        columns: COLUMNS.min(rows - panel),
                        accumulate: false,
                    };
                    // SAFETY: the input has the steps of the entry, the weights a panel of `inputs` rows, and the workspace the products.
                    unsafe { micro::multiply(inputs, left, right, into, None) };
                }
            }
        }
    }

    /// Products of the hidden states with the recurrent weights.
    ///
    /// # Safety
    /// As for [`Plan::unit`].
    #[target_feature(enable = "avx2,fma")]
    unsafe fn recur(&self, at: &Addresses, scratch: &Scratch, direction: usize, height: usize) {
        let (rows, hidden) = (self.rows(), self.hidden);
        let weights = at.r.wrapping_add(direction * self.packed(hidden));
        for panel in (0..rows).step_by(COLUMNS) {
            let right = Right { start: weights.wrapping_add(panel * hidden), step: COLUMNS };
            let into = Tile {
                start: scratch.gates.wrapping_add(panel),
                stride: rows,
                rows: height,
                columns: COLUMNS.min(rows - panel),
                accumulate: false,
            };
            let left = Left { start: scratch.hidden, row: hidden, step: 1 };
            // SAFETY: the workspace has `height` rows of states and gates, the weights a panel of `hidden` rows.
            unsafe { micro::multiply(hidden, left, right, into, None) };
        }
    }
}

/// The next hidden and cell state of one row, from the parts of its gates.
///
/// # Safety
/// The CPU has AVX2 and FMA; each part has a float for each gate, the states `hidden` floats; nobody else uses the states.
#[target_feature(enable = "avx2,fma")]
unsafe fn cell(hidden: usize, parts: [*const f32; 3], h: *mut f32, c: *mut f32) {
    let next = |gates: [__m256; GATES], c: __m256| {
        let [input, output, forget, candidate] = gates;
        let kept = _mm256_mul_ps(sigmoid(forget), c);
        let c = _mm256_fmadd_ps(sigmoid(input), tanh(candidate), kept);
        (_mm256_mul_ps(sigmoid(output), tanh(c)), c)
    };
    // SAFETY: `vectors` names positions whose eight (or masked) elements lie below `hidden`, and gate follows gate after `hidden` floats.
    vectors(
        hidden,
        |at| unsafe {
            let mut gates = [_mm256_setzero_ps(); GATES];
            for gate in 0..GATES {
                let place = gate * hidden + at;
                let sum = _mm256_add_ps(_mm256_loadu_ps(parts[0].add(place)), _mm256_loadu_ps(parts[1].add(place)));
                gates[gate] = _mm256_add_ps(sum, _mm256_loadu_ps(parts[2].add(place)));
            }
            let (next_h, next_c) = next(gates, _mm256_loadu_ps(c.add(at)));
            _mm256_storeu_ps(h.add(at), next_h);
            _mm256_storeu_ps(c.add(at), next_c);
        },
        |at, mask, count| unsafe {
            let load = |from: *const f32| _mm256_maskload_ps(from, mask);
            let mut gates = [_mm256_setzero_ps(); GATES];
            for gate in 0..GATES {
                let place = gate * hidden + at;
                let sum = _mm256_add_ps(load(parts[0].add(place)), load(parts[1].add(place)));
                gates[gate] = _mm256_add_ps(sum, load(parts[2].add(place)));
            }
            let (next_h, next_c) = next(gates, load(c.add(at)));
            lanes::store_first(h.add(at), next_h, count);
            lanes::store_first(c.add(at), next_c, count);
        },
    );
}
