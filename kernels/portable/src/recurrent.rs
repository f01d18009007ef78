//! `RNN`, `GRU` and `LSTM`: one line, a batch entry in one direction, walks the whole sequence and keeps its state in the workspace.
//!
//! Products are sums of eight lanes in the type of the operands (`f32` for half floats); activations come from `activation`, and only
//! what is stored is rounded to the element type.

mod functions;
mod step;

use crate::arguments::Op;
use crate::element::{FLOATS, Stored, dispatch};
use crate::settle::{kernel, needs};
use crate::table::{LATEST, Row, signature};
use functions::{Functions, functions};
use std::sync::Arc;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Bindings, Call, Input, Kernel, Output, Result, Writer};

pub(crate) fn rows() -> Vec<Row> {
    let plain = || FLOATS.iter().map(|&d| signature(&[d, d, d, d, 6, d], &[d])).collect();
    let cells = FLOATS.iter().map(|&d| signature(&[d, d, d, d, 6, d, d, d], &[d])).collect();
    let close = Tolerance::Approximate(1e-5);
    vec![
        Row::new("RNN", (7, LATEST), plain(), close, recurrent),
        Row::new("GRU", (7, LATEST), plain(), close, recurrent),
        Row::new("LSTM", (7, LATEST), cells, close, recurrent),
    ]
}

#[derive(Clone, Copy, PartialEq)]
enum Cell {
    Rnn,
    Gru,
    Lstm,
}

impl Cell {
    /// Blocks of rows in the weights.
    fn gates(self) -> usize {
        match self {
            Cell::Rnn => 1,
            Cell::Gru => 3,
            Cell::Lstm => 4,
        }
    }
}

#[derive(Clone, Copy)]
struct Plan {
    cell: Cell,
    steps: usize,
    batches: usize,
    inputs: usize,
    hidden: usize,
    directions: usize,
    /// The first direction runs from the end.
    reverse: bool,
    batch_first: bool,
    clip: Option<f64>,
    /// GRU: the reset gate acts on the product, not on the state.
    late_reset: bool,
    /// LSTM: the forget gate is what the input gate leaves.
    coupled: bool,
}

impl Plan {
    fn of(op: Op<'_>) -> Result<Self> {
        let cell = match op.name() {
            "RNN" => Cell::Rnn,
            "GRU" => Cell::Gru,
            _ => Cell::Lstm,
        };
        let attributes = op.attributes();
        let (x, r) = (op.shape(0)?, op.shape(2)?);
        let (&[first, second, inputs], &[directions, _, hidden]) = (&x[..], &r[..]) else {
            return Err(op.invalid(format_args!("an input of shape {x:?} and recurrent weights of {r:?}")));
        };
        let batch_first = attributes.integer("layout").unwrap_or(0) != 0;
        let (steps, batches) = if batch_first { (second, first) } else { (first, second) };
        let (wanted, reverse) = match attributes.text("direction") {
            "" | "forward" => (1, false),
            "reverse" => (1, true),
            "bidirectional" => (2, false),
            other => return Err(op.unsupported(format_args!("direction `{other}`"))),
        };
        if directions != wanted {
            return Err(op.invalid(format_args!("weights for {directions} directions where {wanted} belong")).at(2));
        }
        let rows = cell.gates() * hidden;
        op.expect_input(1, &[directions, rows, inputs])?;
        op.expect_input(2, &[directions, rows, hidden])?;
        let state = if batch_first { [batches, directions, hidden] } else { [directions, batches, hidden] };
        let optional: &[(usize, &[usize])] =
            &[(3, &[directions, 2 * rows]), (4, &[batches]), (5, &state), (6, &state), (7, &[directions, 3 * hidden])];
        for &(index, shape) in optional {
            if op.optional(index).is_some() {
                op.expect_input(index, shape)?;
            }
        }
        let all = match batch_first {
            true => [batches, steps, directions, hidden],
            false => [steps, directions, batches, hidden],
        };
        for (index, shape) in [(0, &all[..]), (1, &state), (2, &state)] {
            if op.wants_output(index) {
                op.expect_output(index, shape)?;
            }
        }
        Ok(Self {
            cell,
            steps,
            batches,
            inputs,
            hidden,
            directions,
            reverse,
            batch_first,
            clip: attributes.number("clip").filter(|&clip| clip > 0.0),
            late_reset: attributes.flag("linear_before_reset"),
            coupled: attributes.flag("input_forget"),
        })
    }

    /// Place of a step of a batch entry among the rows of the input.
    fn input_row(&self, step: usize, batch: usize) -> usize {
        if self.batch_first { batch * self.steps + step } else { step * self.batches + batch }
    }

    /// Place of a step of a line among the rows of the first output.
    fn output_row(&self, step: usize, direction: usize, batch: usize) -> usize {
        match self.batch_first {
            true => (batch * self.steps + step) * self.directions + direction,
            false => (step * self.directions + direction) * self.batches + batch,
        }
    }

    /// Place of a line among the rows of states.
    fn state_row(&self, direction: usize, batch: usize) -> usize {
        if self.batch_first { batch * self.directions + direction } else { direction * self.batches + batch }
    }
}

/// What a line keeps while it walks: gates, hidden state, cell state, and a row for products.
struct Scratch<'a, V> {
    gates: Writer<'a, V>,
    hidden: Writer<'a, V>,
    cell: Writer<'a, V>,
    extra: Writer<'a, V>,
}

struct Bound<S: Stored> {
    plan: Plan,
    functions: Arc<[Functions<S::Value>]>,
    x: Input<S::Element>,
    w: Input<S::Element>,
    r: Input<S::Element>,
    bias: Option<Input<S::Element>>,
    lengths: Option<Input<i32>>,
    first_hidden: Option<Input<S::Element>>,
    first_cell: Option<Input<S::Element>>,
    peepholes: Option<Input<S::Element>>,
    all: Option<Output<S::Element>>,
    last_hidden: Option<Output<S::Element>>,
    last_cell: Option<Output<S::Element>>,
}

fn recurrent(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let plan = Plan::of(op)?;
    let lines = plan.directions * plan.batches;
    let rows = plan.cell.gates() * plan.hidden;
    let work = (lines * plan.steps) as u64 * (rows * (plan.inputs + plan.hidden + 20)) as u64;
    let mut requirements = needs(work / 2, lines);
    let wanted = [0, 1, 2].map(|index| op.wants_output(index));
    dispatch!(op.input(0)?.dtype, floats, S => {
        let bytes = (rows + 3 * plan.hidden) * size_of::<<S as Stored>::Value>();
        requirements.workspace = u32::try_from(bytes).map_err(|_| op.unsupported("a state beyond 32 bits"))?;
        let functions = functions::<<S as Stored>::Value>(op, plan.cell, plan.directions)?;
        kernel(requirements, move |bindings| {
            let bound = Bound::<S>::of(plan, functions.clone(), bindings, wanted)?;
            Ok(Box::new(move |call: &Call| {
                call.share(lines, 1).for_each(|line| bound.walk(call, line / plan.batches, line % plan.batches));
                Ok(())
            }))
        })
    })
}

impl<S: Stored> Bound<S> {
    fn of(
        plan: Plan,
        functions: Arc<[Functions<S::Value>]>,
        bindings: &Bindings<'_>,
        wanted: [bool; 3],
    ) -> Result<Self> {
        let input = |index: usize| match bindings.has_input(index) {
            true => bindings.input::<S::Element>(index).map(Some),
            false => Ok(None),
        };
        let output = |index: usize| match wanted[index] {
            true => bindings.output::<S::Element>(index).map(Some),
            false => Ok(None),
        };
        Ok(Self {
            plan,
            functions,
            x: bindings.input(0)?,
            w: bindings.input(1)?,
            r: bindings.input(2)?,
            bias: input(3)?,
            lengths: if bindings.has_input(4) { Some(bindings.input::<i32>(4)?) } else { None },
            first_hidden: input(5)?,
            first_cell: input(6)?,
            peepholes: input(7)?,
            all: output(0)?,
            last_hidden: output(1)?,
            last_cell: output(2)?,
        })
    }

    /// One line from its first to its last step. Outputs behind the end of a short sequence are zeros.
    fn walk(&self, call: &Call, direction: usize, batch: usize) {
        let plan = &self.plan;
        let (hidden, rows) = (plan.hidden, plan.cell.gates() * plan.hidden);
        let workspace = call.workspace::<S::Value>();
        let part = |index: usize| workspace.part(rows + index * hidden..rows + (index + 1) * hidden);
        let scratch = Scratch { gates: workspace.part(0..rows), hidden: part(0), cell: part(1), extra: part(2) };
        let state = plan.state_row(direction, batch) * hidden..(plan.state_row(direction, batch) + 1) * hidden;
        for (first, into) in [(&self.first_hidden, &scratch.hidden), (&self.first_cell, &scratch.cell)] {
            match first {
                Some(first) => {
                    let from = call.read(first).part(state.clone());
                    from.iter().enumerate().for_each(|(i, element)| into.set(i, S::load(element)));
                }
                None => into.fill(S::Value::default()),
            }
        }
        let length = self
            .lengths
            .as_ref()
            .map_or(plan.steps, |lengths| usize::try_from(call.read(lengths).get(batch)).unwrap_or(0).min(plan.steps));
        let backwards = plan.reverse || direction == 1;
        for step in 0..length {
            let at = if backwards { length - 1 - step } else { step };
            self.step(call, direction, plan.input_row(at, batch), &scratch);
            if let Some(all) = &self.all {
                let start = plan.output_row(at, direction, batch) * hidden;
                store::<S>(&scratch.hidden, &call.write(all).part(start..start + hidden));
            }
        }
        if let Some(all) = &self.all {
            for at in length..plan.steps {
                let start = plan.output_row(at, direction, batch) * hidden;
                call.write(all).part(start..start + hidden).fill(S::store(S::Value::default()));
            }
        }
        for (last, from) in [(&self.last_hidden, &scratch.hidden), (&self.last_cell, &scratch.cell)] {
            if let Some(last) = last {
                store::<S>(from, &call.write(last).part(state.clone()));
            }
        }
    }
}

fn store<S: Stored>(from: &Writer<'_, S::Value>, to: &Writer<'_, S::Element>) {
    (0..from.len()).for_each(|i| to.set(i, S::store(from.get(i))));
}
