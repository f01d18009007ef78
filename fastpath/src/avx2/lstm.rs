//! `LSTM` with constant weights. For each direction and step, of rows of hidden state h and cell state c:
//!
//! ```text
//! [i o f g] = x W' + h R' + b    c' = sigmoid(f) c + sigmoid(i) tanh(g)    h' = sigmoid(o) tanh(c')
//! ```
//!
//! W' and R' are packed once. The products with the input run over many steps at a time, those with the state a step at a time. A direction and up to
//! six entries of the batch are one unit of work, whatever the number of shards. Sigmoid keeps 3 ulp, the hyperbolic tangent 2.

mod unit;

use super::micro::{COLUMNS, ROWS};
use super::pack;
use crate::Avx2;
use crate::avx2::Row;
use crate::product::Matrix;
use crate::registry::LATEST;
use crate::request::Request;
use crate::settle::{Packing, WORKSPACE_FLOATS, kernel, needs, packed};
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Reader, Writer};

pub(crate) fn rows() -> Vec<Row> {
    vec![Row {
        operator: "LSTM",
        path: "avx2-lstm",
        revisions: (7, LATEST),
        tolerance: Tolerance::Approximate(1e-5),
        prepare: lstm,
    }]
}

/// Gates of a cell, in the order input, output, forget, candidate.
const GATES: usize = 4;
/// Floats of products with the input that are kept at a time.
const AHEAD_FLOATS: usize = WORKSPACE_FLOATS / 4;

#[derive(Clone, Copy, Debug)]
struct Plan {
    steps: usize,
    batches: usize,
    inputs: usize,
    hidden: usize,
    directions: usize,
    /// The first direction runs from the end.
    reverse: bool,
    batch_first: bool,
    /// Steps whose products with the input are computed together.
    ahead: usize,
}

impl Plan {
    fn of(request: Request<'_>) -> Option<Self> {
        let attributes = request.attributes();
        let (x, w, r) = (request.input(0)?, request.input(1)?, request.input(2)?);
        let (&[first, second, inputs], &[directions, rows, hidden]) = (x.as_slice(), r.as_slice()) else { return None };
        let batch_first = attributes.integer("layout").unwrap_or(0) != 0;
        let (steps, batches) = if batch_first { (second, first) } else { (first, second) };
        let (wanted, reverse) = match attributes.text("direction") {
            "" | "forward" => (1, false),
            "reverse" => (1, true),
            "bidirectional" => (2, false),
            _ => return None,
        };
        let names = |key: &str| attributes.texts(key).unwrap_or_default();
        let usual = ["Sigmoid", "Tanh", "Tanh"];
        let plain = names("activations").iter().zip(usual.iter().cycle()).all(|(name, usual)| name.eq_ignore_ascii_case(usual))
            && (names("activations").is_empty() || names("activations").len() == usual.len() * wanted)
            && attributes.number("clip").unwrap_or(0.0) == 0.0
            && !attributes.flag("input_forget")
            // Lengths of single sequences and peepholes belong to others.
            && request.operand(4).is_none()
            && request.operand(7).is_none()
            && request.operation().epilogue.is_empty();
        let fits = directions == wanted && rows == GATES * hidden && w == [directions, rows, inputs] && hidden > 0;
        let both_constant = request.operand(1)?.constant && request.operand(2)?.constant;
        if !plain || !fits || !both_constant {
            return None;
        }
        let state = if batch_first { [batches, directions, hidden] } else { [directions, batches, hidden] };
        let all = match batch_first {
            true => [batches, steps, directions, hidden],
            false => [steps, directions, batches, hidden],
        };
        let optional: [(usize, &[usize]); 3] = [(3, &[directions, 2 * rows]), (5, &state), (6, &state)];
        for (index, shape) in optional {
            if request.operand(index).is_some() && request.input(index)? != shape {
                return None;
            }
        }
        let outputs: [&[usize]; 3] = [&all, &state, &state];
        for (index, shape) in outputs.into_iter().enumerate() {
            if request.has_output(index) && request.floats_of_output(index)? != shape {
                return None;
            }
        }
        let ahead = (AHEAD_FLOATS / (ROWS.min(batches.max(1)) * rows)).clamp(1, steps.max(1));
        Some(Self { steps, batches, inputs, hidden, directions, reverse, batch_first, ahead })
    }

    /// Rows of the weights: all gates.
    fn rows(&self) -> usize {
        GATES * self.hidden
    }

    /// Groups of entries of the batch that walk together.
    fn groups(&self) -> usize {
        self.batches.div_ceil(ROWS)
    }

    /// Floats of one direction's weights, packed.
    fn packed(&self, depth: usize) -> usize {
        self.rows().next_multiple_of(COLUMNS) * depth
    }

    /// Floats in front of the state of a direction and an entry of the batch.
    fn state_at(&self, direction: usize, batch: usize) -> usize {
        let row = if self.batch_first { batch * self.directions + direction } else { direction * self.batches + batch };
        row * self.hidden
    }

    /// Floats in front of an entry's input at a step.
    fn input_at(&self, step: usize, batch: usize) -> usize {
        let row = if self.batch_first { batch * self.steps + step } else { step * self.batches + batch };
        row * self.inputs
    }

    /// Floats in front of an entry's result at a step.
    fn result_at(&self, step: usize, direction: usize, batch: usize) -> usize {
        let row = match self.batch_first {
            true => (batch * self.steps + step) * self.directions + direction,
            false => (step * self.directions + direction) * self.batches + batch,
        };
        row * self.hidden
    }

    /// Floats of workspace: products with the input, those with the state, the bias, hidden and cell states.
    fn space(&self) -> [usize; 5] {
        let height = ROWS.min(self.batches.max(1));
        let (rows, hidden) = (self.rows(), self.hidden);
        [self.ahead * height * rows, height * rows, rows, height * hidden, height * hidden]
    }
}

fn lstm(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let plan = Plan::of(request)?;
    let floats: usize = plan.space().iter().sum();
    if floats > WORKSPACE_FLOATS {
        return None;
    }
    let units = plan.directions * plan.groups();
    let walks = (plan.directions * plan.batches * plan.steps) as f64;
    let products = plan.rows() as f64 * (plan.inputs as f64 / 25.0 + plan.hidden as f64 / 12.0);
    let mut requirements = needs(walks * (products + plan.hidden as f64 * 3.0), units);
    requirements.workspace = (floats * 4) as u32;
    let mut packings = Vec::new();
    for (input, depth) in [(1, plan.inputs), (2, plan.hidden)] {
        let key = format!("avx2-lstm f32 {}x{}x{depth}", plan.directions, plan.rows());
        requirements.packed.push(packed(input, plan.directions * plan.packed(depth), key)?);
        let pack = move |source: Reader<'_, u8>, to: Writer<'_, u8>| {
            for direction in 0..plan.directions {
                let start = source.as_ptr().cast::<f32>().wrapping_add(direction * plan.rows() * depth);
                let to = to.as_mut_ptr().cast::<f32>().wrapping_add(direction * plan.packed(depth));
                let turned = Matrix { start, row_step: 1, column_step: depth };
                let _proof: Avx2 = token;
                // SAFETY: the token proves AVX2 and FMA. The kernel checked that `source` holds the weights of all directions and `to` their packed forms.
                unsafe { pack::right(turned, depth, plan.rows(), to) };
            }
        };
        packings.push(Packing { source_bytes: plan.directions * plan.rows() * depth * 4, pack: Box::new(pack) });
    }
    let wanted = [0, 1, 2].map(|index| request.has_output(index));
    let given = [3, 5, 6].map(|index| request.operand(index).is_some());
    Some(kernel(requirements, packings, move |bindings| {
        let x = bindings.input::<f32>(0)?;
        let (w, r) = (bindings.packed::<f32>(1)?, bindings.packed::<f32>(2)?);
        let mut optional = [None; 3];
        for ((place, index), given) in optional.iter_mut().zip([3, 5, 6]).zip(given) {
            *place = if given { Some(bindings.input::<f32>(index)?) } else { None };
        }
        let mut outputs = [None; 3];
        for (index, place) in outputs.iter_mut().enumerate() {
            *place = if wanted[index] { Some(bindings.output::<f32>(index)?) } else { None };
        }
        Ok(Box::new(move |call: &Call| {
            let read = |index: usize| optional[index].map_or(std::ptr::null(), |input| call.read(&input).as_ptr());
            let write =
                |index: usize| outputs[index].map_or(std::ptr::null_mut(), |output| call.write(&output).as_mut_ptr());
            let at = unit::Addresses {
                x: call.read(&x).as_ptr(),
                w: call.read(&w).as_ptr(),
                r: call.read(&r).as_ptr(),
                bias: read(0),
                first: [read(1), read(2)],
                all: write(0),
                last: [write(1), write(2)],
                workspace: call.workspace::<f32>().as_mut_ptr(),
            };
            for unit in call.share(units, 1) {
                let _proof: Avx2 = token;
                // SAFETY: the token proves AVX2 and FMA. `Plan::of` matched the shapes of all operands with the plan, and the bindings with the
                // shapes; outputs lie on none of the inputs; each unit has rows of its own; the workspace has the size that was asked for.
                unsafe { plan.unit(&at, unit / plan.groups(), unit % plan.groups()) };
            }
            Ok(())
        }))
    }))
}
