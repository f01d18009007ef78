//! `LinearAttention`: a matrix of state for each head, which every token decays, corrects, adds to and reads.

use crate::arguments::{Op, dims};
use crate::element::{Stored, dispatch};
use crate::number::Number;
use crate::settle::{CHUNK, kernel, needs};
use crate::strided::Strided;
use crate::table::{LATEST, Row, signature};
use crate::wide::{Sink, Source, Wide, sink, source};
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Bindings, Call, Input, Kernel, Output, Result, Writer};

pub(crate) fn rows() -> Vec<Row> {
    let floats = [1, 10, 16, 11];
    let signatures = floats.iter().flat_map(|&d| floats.map(|s| signature(&[d, d, d, s, d, d], &[d, s]))).collect();
    vec![Row::new("LinearAttention", (27, LATEST), signatures, Tolerance::Accumulate(8.0), linear_attention)]
}

#[derive(Clone, Copy)]
struct Plan {
    batches: usize,
    tokens: usize,
    q_heads: usize,
    heads: usize,
    keys: usize,
    values: usize,
    scale: f64,
    /// Elements of the decay for each head, 1 or `keys`.
    decays: Option<usize>,
    /// Heads of the update rate, 1 or all.
    rates: Option<usize>,
    state_in: Option<u16>,
    state_out: Option<u16>,
}

impl Plan {
    fn of(op: Op<'_>) -> Result<Self> {
        let (q, k, v) = (op.shape(0)?, op.shape(1)?, op.shape(2)?);
        let (&[batches, tokens, q_width], &[.., k_width], &[.., v_width]) = (&q[..], &k[..], &v[..]) else {
            return Err(op.invalid(format_args!("shapes {q:?}, {k:?} and {v:?}: three axes each are needed")));
        };
        let count = |key: &str| usize::try_from(op.attributes().integer(key).unwrap_or(0)).unwrap_or(0);
        let (q_heads, heads) = (count("q_num_heads"), count("kv_num_heads"));
        if q_heads == 0
            || heads == 0
            || q_heads % heads != 0
            || q_width % q_heads != 0
            || k_width % heads != 0
            || v_width % heads != 0
        {
            return Err(op.invalid(format_args!("{q_heads} and {heads} heads for shapes {q:?}, {k:?} and {v:?}")));
        }
        let (keys, values) = (q_width / q_heads, v_width / heads);
        op.expect_input(1, &[batches, tokens, heads * keys])?;
        op.expect_input(2, &[batches, tokens, heads * values])?;
        op.expect_output(0, &[batches, tokens, q_heads * values])?;
        let state = [batches, heads, keys, values];
        let state_in = match op.optional(3) {
            Some(operand) => {
                op.expect_input(3, &state)?;
                Some(operand.dtype)
            }
            None => None,
        };
        let state_out = match op.wants_output(1) {
            true => {
                op.expect_output(1, &state)?;
                Some(op.output(1)?.dtype)
            }
            false => None,
        };
        let (gated, corrected) = match op.attributes().text("update_rule") {
            "linear" => (false, false),
            "gated" => (true, false),
            "delta" => (false, true),
            "" | "gated_delta" => (true, true),
            other => return Err(op.unsupported(format_args!("update_rule `{other}`"))),
        };
        let per_head = |index: usize, wanted: bool, choices: [usize; 2]| -> Result<Option<usize>> {
            match (op.optional(index), wanted) {
                (None, false) => Ok(None),
                (Some(operand), true) => {
                    let shape = dims(operand);
                    let last = shape.last().copied().filter(|last| choices.contains(last));
                    let last = last.filter(|&last| shape == [batches, tokens, last]);
                    last.map(Some).ok_or_else(|| op.invalid(format_args!("an input of shape {shape:?}")).at(index))
                }
                _ => Err(op.invalid("the update rule and the inputs that are there do not fit").at(index)),
            }
        };
        let decays = per_head(4, gated, [heads, heads * keys])?.map(|last| last / heads);
        let rates = per_head(5, corrected, [heads, 1])?;
        let scale = match op.attributes().number("scale") {
            None | Some(0.0) => 1.0 / (keys as f64).sqrt(),
            Some(scale) => scale,
        };
        Ok(Self { batches, tokens, q_heads, heads, keys, values, scale, decays, rates, state_in, state_out })
    }
}

struct Bound<S: Stored> {
    plan: Plan,
    q: Input<S::Element>,
    k: Input<S::Element>,
    v: Input<S::Element>,
    decay: Option<Input<S::Element>>,
    rate: Option<Input<S::Element>>,
    past: Option<Box<dyn Source>>,
    y: Output<S::Element>,
    present: Option<Box<dyn Sink>>,
}

fn linear_attention(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let plan = Plan::of(op)?;
    let units = plan.batches * plan.heads;
    let state = (plan.keys * plan.values) as u64;
    let mut requirements = needs(units as u64 * plan.tokens as u64 * state * 4, units);
    requirements.workspace = u32::try_from((state + plan.values as u64) * 8)
        .map_err(|_| op.unsupported(format_args!("a state of {} by {}", plan.keys, plan.values)))?;
    dispatch!(op.input(0)?.dtype, floats, S => {
        kernel(requirements, move |bindings| {
            let bound = Bound::<S>::of(plan, bindings)?;
            Ok(Box::new(move |call: &Call| {
                call.share(units, 1).for_each(|unit| bound.head(call, unit));
                Ok(())
            }))
        })
    })
}

impl<S: Stored> Bound<S> {
    fn of(plan: Plan, bindings: &Bindings<'_>) -> Result<Self> {
        let input = |index| bindings.input::<S::Element>(index);
        Ok(Self {
            plan,
            q: input(0)?,
            k: input(1)?,
            v: input(2)?,
            decay: plan.decays.map(|_| input(4)).transpose()?,
            rate: plan.rates.map(|_| input(5)).transpose()?,
            past: plan.state_in.map(|dtype| source(bindings, dtype, 3)).transpose()?,
            y: bindings.output::<S::Element>(0)?,
            present: plan.state_out.map(|dtype| sink(bindings, dtype, 1)).transpose()?,
        })
    }

    /// All tokens of one head of keys and values, and the query heads that read its state.
    fn head(&self, call: &Call, unit: usize) {
        let plan = &self.plan;
        let (batch, head) = (unit / plan.heads, unit % plan.heads);
        let cells = plan.keys * plan.values;
        let workspace = call.workspace::<f64>();
        let (state, line) = (workspace.part(0..cells), workspace.part(cells..cells + plan.values));
        self.load(call, unit * cells, &state);
        let (q, k, v) = (call.read(&self.q), call.read(&self.k), call.read(&self.v));
        let group = plan.q_heads / plan.heads;
        for token in batch * plan.tokens..(batch + 1) * plan.tokens {
            let key = |i: usize| S::load(k.get((token * plan.heads + head) * plan.keys + i)).to_f64();
            let value = |j: usize| S::load(v.get((token * plan.heads + head) * plan.values + j)).to_f64();
            if let (Some(decay), Some(each)) = (&self.decay, plan.decays) {
                let decay = call.read(decay);
                for i in 0..plan.keys {
                    let at = (token * plan.heads + head) * each + i.min(each - 1);
                    let factor = libm::exp(S::load(decay.get(at)).to_f64());
                    let row = state.part(i * plan.values..(i + 1) * plan.values);
                    (0..plan.values).for_each(|j| row.set(j, row.get(j) * factor));
                }
            }
            (0..plan.values).for_each(|j| line.set(j, value(j)));
            if let (Some(rate), Some(rates)) = (&self.rate, plan.rates) {
                // What the state already answers to this key is taken off.
                for i in 0..plan.keys {
                    let row = state.part(i * plan.values..(i + 1) * plan.values);
                    (0..plan.values).for_each(|j| line.set(j, line.get(j) - row.get(j) * key(i)));
                }
                let rate = S::load(call.read(rate).get(token * rates + head.min(rates - 1))).to_f64();
                (0..plan.values).for_each(|j| line.set(j, line.get(j) * rate));
            }
            for i in 0..plan.keys {
                let row = state.part(i * plan.values..(i + 1) * plan.values);
                (0..plan.values).for_each(|j| row.set(j, row.get(j) + key(i) * line.get(j)));
            }
            for reader in head * group..(head + 1) * group {
                let place = token * plan.q_heads + reader;
                self.read(call, &state, &line, |i| S::load(q.get(place * plan.keys + i)).to_f64(), place);
            }
        }
        self.store(call, unit * cells, &state);
    }

    /// The state as one query sees it.
    fn read(
        &self,
        call: &Call,
        state: &Writer<'_, f64>,
        sums: &Writer<'_, f64>,
        query: impl Fn(usize) -> f64,
        place: usize,
    ) {
        let plan = &self.plan;
        sums.fill(0.0);
        for i in 0..plan.keys {
            let row = state.part(i * plan.values..(i + 1) * plan.values);
            (0..plan.values).for_each(|j| sums.set(j, sums.get(j) + query(i) * row.get(j)));
        }
        let to = call.write(&self.y).part(place * plan.values..(place + 1) * plan.values);
        (0..plan.values).for_each(|j| to.set(j, S::store(S::Value::from_f64(plan.scale * sums.get(j)))));
    }

    fn load(&self, call: &Call, at: usize, state: &Writer<'_, f64>) {
        let Some(past) = &self.past else { return state.fill(0.0) };
        let cells = state.len();
        let walk = Strided::new(&[self.plan.batches * self.plan.heads * cells], &[1], 0);
        let mut wide = past.chunk();
        for from in (0..cells).step_by(CHUNK) {
            let n = CHUNK.min(cells - from);
            past.load(call, &walk, 0, at + from, n, &mut wide);
            if let Wide::Real(values) = &wide {
                (0..n).for_each(|i| state.set(from + i, values[i]));
            }
        }
    }

    fn store(&self, call: &Call, at: usize, state: &Writer<'_, f64>) {
        let Some(present) = &self.present else { return };
        for from in (0..state.len()).step_by(CHUNK) {
            let n = CHUNK.min(state.len() - from);
            let mut values = [0.0; CHUNK];
            (0..n).for_each(|i| values[i] = state.get(from + i));
            present.store(call, at + from, n, &Wide::Real(values));
        }
    }
}
