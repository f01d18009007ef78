//! One step of a line: the products with the weights, then the gates.

use super::{Bound, Cell, Scratch};
use crate::activation::limit;
use crate::element::Stored;
use crate::number::Number;
use crate::settle::CHUNK;
use std::marker::PhantomData;
use sunmao_plugin_sdk::{Call, Reader, Writer};

/// Partial sums of a product of two rows.
const LANES: usize = 8;

/// A row of numbers that a product reads, a few at a time.
trait Line<V> {
    fn one(&self, at: usize) -> V;
    fn lanes(&self, at: usize) -> [V; LANES];
}

impl<S: Stored> Line<S::Value> for (Reader<'_, S::Element>, PhantomData<S>) {
    #[inline(always)]
    fn one(&self, at: usize) -> S::Value {
        S::load(self.0.get(at))
    }

    #[inline(always)]
    fn lanes(&self, at: usize) -> [S::Value; LANES] {
        let part = self.0.part(at..at + LANES);
        std::array::from_fn(|lane| S::load(part.get(lane)))
    }
}

impl<V: Number> Line<V> for &Writer<'_, V> {
    #[inline(always)]
    fn one(&self, at: usize) -> V {
        self.get(at)
    }

    #[inline(always)]
    fn lanes(&self, at: usize) -> [V; LANES] {
        let part = self.part(at..at + LANES);
        std::array::from_fn(|lane| part.get(lane))
    }
}

/// The product of two rows of `count` elements.
#[inline(always)]
fn dot<V: Number>(count: usize, left: impl Line<V>, right: impl Line<V>) -> V {
    let mut sums = [V::ZERO; LANES];
    let whole = count / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        let (left, right) = (left.lanes(at), right.lanes(at));
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum = sum.add(left[lane].mul(right[lane]));
        }
    }
    for at in whole..count {
        sums[at - whole] = sums[at - whole].add(left.one(at).mul(right.one(at)));
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] = sums[lane].add(sums[lane + width]);
        }
        width /= 2;
    }
    sums[0]
}

impl<S: Stored> Bound<S> {
    /// Reads row `row` of the input and the state in `scratch`, and leaves the next state there.
    pub(super) fn step(&self, call: &Call, direction: usize, row: usize, scratch: &Scratch<'_, S::Value>) {
        let plan = &self.plan;
        let (hidden, rows) = (plan.hidden, plan.cell.gates() * plan.hidden);
        let x = call.read(&self.x).part(row * plan.inputs..(row + 1) * plan.inputs);
        let of_direction = |count: usize| direction * count..(direction + 1) * count;
        let w = call.read(&self.w).part(of_direction(rows * plan.inputs));
        let r = call.read(&self.r).part(of_direction(rows * hidden));
        let bias = self.bias.as_ref().map(|bias| call.read(bias).part(of_direction(2 * rows)));
        let biased = |at: usize| bias.as_ref().map_or(S::Value::ZERO, |bias| S::load(bias.get(at)));
        let from_input = |gate: usize| {
            let weights = w.part(gate * plan.inputs..(gate + 1) * plan.inputs);
            dot(plan.inputs, (x, PhantomData::<S>), (weights, PhantomData::<S>))
        };
        let from_state = |gate: usize, state: &Writer<'_, S::Value>| {
            let weights = r.part(gate * hidden..(gate + 1) * hidden);
            dot(hidden, state, (weights, PhantomData::<S>))
        };
        // The candidate of a GRU waits for the reset gate.
        let now = if plan.cell == Cell::Gru { 2 * hidden } else { rows };
        for gate in 0..now {
            let sum = from_input(gate).add(from_state(gate, &scratch.hidden));
            scratch.gates.set(gate, sum.add(biased(gate)).add(biased(rows + gate)));
        }
        match plan.cell {
            Cell::Rnn => self.rnn(direction, scratch),
            Cell::Gru => {
                self.gates(direction, &scratch.gates.part(0..2 * hidden));
                let reset = scratch.gates.part(hidden..2 * hidden);
                let candidate = scratch.gates.part(2 * hidden..rows);
                if !plan.late_reset {
                    (0..hidden).for_each(|j| scratch.extra.set(j, reset.get(j).mul(scratch.hidden.get(j))));
                }
                for j in 0..hidden {
                    let gate = 2 * hidden + j;
                    let recurrent = if plan.late_reset {
                        reset.get(j).mul(from_state(gate, &scratch.hidden).add(biased(rows + gate)))
                    } else {
                        from_state(gate, &scratch.extra).add(biased(rows + gate))
                    };
                    candidate.set(j, from_input(gate).add(biased(gate)).add(recurrent));
                }
                self.gru(direction, scratch);
            }
            Cell::Lstm => {
                let peepholes = self.peepholes.as_ref();
                let peepholes = peepholes.map(|peepholes| call.read(peepholes).part(of_direction(3 * hidden)));
                self.lstm(direction, scratch, peepholes.as_ref());
            }
        }
    }

    /// The bound on what goes into an activation.
    fn clipped(&self, value: S::Value) -> S::Value {
        match self.plan.clip {
            Some(clip) => limit(value, S::Value::from_f64(-clip), S::Value::from_f64(clip)),
            None => value,
        }
    }

    /// Puts the gate's function on a stretch of sums.
    fn gates(&self, direction: usize, sums: &Writer<'_, S::Value>) {
        let mut values = [S::Value::ZERO; CHUNK];
        for at in (0..sums.len()).step_by(CHUNK) {
            let values = &mut values[..CHUNK.min(sums.len() - at)];
            values.iter_mut().enumerate().for_each(|(i, value)| *value = self.clipped(sums.get(at + i)));
            self.functions[direction].gate.apply(values);
            values.iter().enumerate().for_each(|(i, &value)| sums.set(at + i, value));
        }
    }

    fn rnn(&self, direction: usize, scratch: &Scratch<'_, S::Value>) {
        let mut values = [S::Value::ZERO; CHUNK];
        for at in (0..self.plan.hidden).step_by(CHUNK) {
            let values = &mut values[..CHUNK.min(self.plan.hidden - at)];
            values.iter_mut().enumerate().for_each(|(i, value)| *value = self.clipped(scratch.gates.get(at + i)));
            self.functions[direction].candidate.apply(values);
            values.iter().enumerate().for_each(|(i, &value)| scratch.hidden.set(at + i, value));
        }
    }

    /// Update gate and candidate are there: mixes the candidate with the old state.
    fn gru(&self, direction: usize, scratch: &Scratch<'_, S::Value>) {
        let hidden = self.plan.hidden;
        let mut values = [S::Value::ZERO; CHUNK];
        for at in (0..hidden).step_by(CHUNK) {
            let values = &mut values[..CHUNK.min(hidden - at)];
            for (i, value) in values.iter_mut().enumerate() {
                *value = self.clipped(scratch.gates.get(2 * hidden + at + i));
            }
            self.functions[direction].candidate.apply(values);
            for (i, &candidate) in values.iter().enumerate() {
                let (update, old) = (scratch.gates.get(at + i), scratch.hidden.get(at + i));
                let mixed = S::Value::ONE.sub(update).mul(candidate).add(update.mul(old));
                scratch.hidden.set(at + i, mixed);
            }
        }
    }

    /// Gates lie in the order input, output, forget, candidate; peepholes without the last.
    fn lstm(&self, direction: usize, scratch: &Scratch<'_, S::Value>, peepholes: Option<&Reader<'_, S::Element>>) {
        let hidden = self.plan.hidden;
        let functions = &self.functions[direction];
        let sum = |gate: usize, j: usize, cell: S::Value| {
            let peep = peepholes.filter(|_| gate < 3);
            let peep = peep.map_or(S::Value::ZERO, |peep| S::load(peep.get(gate * hidden + j)).mul(cell));
            self.clipped(scratch.gates.get(gate * hidden + j).add(peep))
        };
        let mut parts = [[S::Value::ZERO; CHUNK]; 3];
        for at in (0..hidden).step_by(CHUNK) {
            let count = CHUNK.min(hidden - at);
            let [input, forget, candidate] = &mut parts;
            let (input, forget, candidate) = (&mut input[..count], &mut forget[..count], &mut candidate[..count]);
            for i in 0..count {
                let cell = scratch.cell.get(at + i);
                input[i] = sum(0, at + i, cell);
                forget[i] = sum(2, at + i, cell);
                candidate[i] = sum(3, at + i, cell);
            }
            functions.gate.apply(input);
            functions.gate.apply(forget);
            functions.candidate.apply(candidate);
            for i in 0..count {
                let kept = if self.plan.coupled { S::Value::ONE.sub(input[i]) } else { forget[i] };
                let cell = kept.mul(scratch.cell.get(at + i)).add(input[i].mul(candidate[i]));
                scratch.cell.set(at + i, cell);
                // The output gate looks at the new cell.
                input[i] = sum(1, at + i, cell);
                candidate[i] = cell;
            }
            functions.gate.apply(input);
            functions.cell.apply(candidate);
            (0..count).for_each(|i| scratch.hidden.set(at + i, input[i].mul(candidate[i])));
        }
    }
}
