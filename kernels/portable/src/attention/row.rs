//! One row of an Attention: scores, weights, and the weighted sum of values.

use super::{Heads, Plan, Shown};
use crate::element::Stored;
use crate::number::Number;
use crate::wide::{Source, source};
use std::ops::Range;
use sunmao_plugin_sdk::{Bindings, Call, Input, Output, Reader, Result, Writer};

/// One row: a query of a head, and the head of keys and values that it shares.
#[derive(Clone, Copy)]
struct Place {
    batch: usize,
    head: usize,
    shared: usize,
    query: usize,
}

impl Plan {
    fn place(&self, row: usize) -> Place {
        let (query, head) = (row % self.q.length, row / self.q.length % self.q.heads);
        let batch = row / self.q.length / self.q.heads;
        Place { batch, head, shared: head / (self.q.heads / self.k.heads), query }
    }
}

/// The tensors of a dispatch.
pub(super) struct Bound<S: Stored> {
    plan: Plan,
    q: Input<S::Element>,
    k: Input<S::Element>,
    v: Input<S::Element>,
    past_key: Option<Input<S::Element>>,
    past_value: Option<Input<S::Element>>,
    mask: Option<Box<dyn Source>>,
    unpadded: Option<Input<i64>>,
    y: Output<S::Element>,
    present: [Option<Output<S::Element>>; 2],
    shown: Option<Output<S::Element>>,
}

impl<S: Stored> Bound<S> {
    pub(super) fn of(plan: Plan, bindings: &Bindings<'_>, wanted: [bool; 3]) -> Result<Self> {
        let input = |index| bindings.input::<S::Element>(index);
        let past = |index| if bindings.has_input(index) { input(index).map(Some) } else { Ok(None) };
        let output = |index: usize| match wanted[index - 1] {
            true => bindings.output::<S::Element>(index).map(Some),
            false => Ok(None),
        };
        Ok(Self {
            plan,
            q: input(0)?,
            k: input(1)?,
            v: input(2)?,
            past_key: past(4)?,
            past_value: past(5)?,
            mask: plan.mask.map(|mask| source(bindings, mask.dtype, 3)).transpose()?,
            unpadded: if bindings.has_input(6) { Some(bindings.input::<i64>(6)?) } else { None },
            y: bindings.output::<S::Element>(0)?,
            present: [output(1)?, output(2)?],
            shown: output(3)?,
        })
    }

    /// Past and new keys and values, one behind the other. Nothing here reads them.
    pub(super) fn write_present(&self, call: &Call) {
        let plan = &self.plan;
        for (present, past, new, heads) in
            [(&self.present[0], &self.past_key, self.k, plan.k), (&self.present[1], &self.past_value, self.v, plan.v)]
        {
            let Some(present) = present else { continue };
            let (to, new) = (call.write(present), call.read(&new));
            for unit in call.share(plan.batches * heads.heads, 1) {
                let start = unit * plan.total() * heads.width;
                let middle = start + plan.past * heads.width;
                if let Some(past) = &past {
                    let from = unit * plan.past * heads.width;
                    to.part(start..middle).copy_from(call.read(past).part(from..from + middle - start));
                }
                for at in 0..heads.length {
                    let row = heads.row(unit / heads.heads, unit % heads.heads, at);
                    let place = middle + at * heads.width;
                    to.part(place..place + heads.width).copy_from(new.part(row));
                }
            }
        }
    }

    /// One query of one head.
    pub(super) fn row(&self, call: &Call, row: usize) {
        let plan = &self.plan;
        let place = plan.place(row);
        let total = plan.total();
        let workspace = call.workspace::<f64>();
        let (scores, biases) = (workspace.part(0..total), workspace.part(total..2 * total));
        let sums = workspace.part(2 * total..2 * total + plan.v.width);
        let unpadded = self.unpadded.as_ref().map(|counts| call.read(counts).get(place.batch));
        let visible = plan.visible(place.query, unpadded);
        match (&plan.mask, &self.mask) {
            (Some(mask), Some(source)) => mask.load(call, source.as_ref(), row, visible.clone(), &biases),
            _ => visible.clone().for_each(|key| biases.set(key, 0.0)),
        }
        let all = 0..total;
        let computed = if matches!(plan.shown, Shown::Nothing | Shown::Probabilities) { visible.clone() } else { all };
        self.scores(call, place, computed.clone(), &scores, |key| {
            visible.contains(&key) && biases.get(key) != f64::NEG_INFINITY
        });
        if let (Some(shown), Shown::Products | Shown::Capped) = (&self.shown, plan.shown) {
            // Products are shown as they are, before the cap is put on them below.
            let to = call.write(shown).part(row * total..(row + 1) * total);
            let cap = if plan.shown == Shown::Capped { plan.cap } else { 0.0 };
            (0..total).for_each(|key| to.set(key, S::store(S::Value::from_f64(capped(scores.get(key), cap)))));
        }
        if plan.cap > 0.0 {
            computed.for_each(|key| scores.set(key, capped(scores.get(key), plan.cap)));
        }
        if let (Some(shown), Shown::Biased) = (&self.shown, plan.shown) {
            let to = call.write(shown).part(row * total..(row + 1) * total);
            for key in 0..total {
                let bias = if visible.contains(&key) { biases.get(key) } else { f64::NEG_INFINITY };
                to.set(key, S::store(S::Value::from_f64(scores.get(key) + bias)));
            }
        }
        softmax(&scores, &biases, visible.clone());
        if let (Some(shown), Shown::Probabilities) = (&self.shown, plan.shown) {
            let to = call.write(shown).part(row * total..(row + 1) * total);
            for key in 0..total {
                let weight = if visible.contains(&key) { scores.get(key) } else { 0.0 };
                to.set(key, S::store(S::Value::from_f64(weight)));
            }
        }
        sums.fill(0.0);
        let (new, past) = (call.read(&self.v), self.past_value.as_ref().map(|past| call.read(past)));
        for key in visible {
            let weight = scores.get(key);
            if weight == 0.0 {
                continue;
            }
            let line = self.line(&new, past.as_ref(), &plan.v, place, key);
            for (i, element) in line.iter().enumerate() {
                sums.set(i, sums.get(i) + weight * S::load(element).to_f64());
            }
        }
        let to = call.write(&self.y).part(plan.y.row(place.batch, place.head, place.query));
        (0..plan.v.width).for_each(|i| to.set(i, S::store(S::Value::from_f64(sums.get(i)))));
    }

    /// The scaled products of a query with keys; those that `wanted` leaves out are computed only where the fourth output shows them.
    fn scores(
        &self,
        call: &Call,
        place: Place,
        keys: Range<usize>,
        scores: &Writer<'_, f64>,
        wanted: impl Fn(usize) -> bool,
    ) {
        let plan = &self.plan;
        let q = call.read(&self.q).part(plan.q.row(place.batch, place.head, place.query));
        let (new, past) = (call.read(&self.k), self.past_key.as_ref().map(|past| call.read(past)));
        let everything = !matches!(plan.shown, Shown::Nothing | Shown::Probabilities);
        for key in keys {
            if !everything && !wanted(key) {
                continue;
            }
            let line = self.line(&new, past.as_ref(), &plan.k, place, key);
            let product: f64 = q.iter().zip(line.iter()).map(|(a, b)| S::load(a).to_f64() * S::load(b).to_f64()).sum();
            scores.set(key, product * plan.scale);
        }
    }

    /// The row of key `key`, from the past or from the new ones.
    fn line<'a>(
        &self,
        new: &Reader<'a, S::Element>,
        past: Option<&Reader<'a, S::Element>>,
        heads: &Heads,
        place: Place,
        key: usize,
    ) -> Reader<'a, S::Element> {
        match (key.checked_sub(self.plan.past), past) {
            (None, Some(past)) => {
                let start = ((place.batch * heads.heads + place.shared) * self.plan.past + key) * heads.width;
                past.part(start..start + heads.width)
            }
            (at, _) => new.part(heads.row(place.batch, place.shared, at.unwrap_or(key))),
        }
    }
}

fn capped(score: f64, cap: f64) -> f64 {
    if cap > 0.0 { cap * libm::tanh(score / cap) } else { score }
}

/// Turns the scores of the keys into weights that add up to one, or to zero where every bias is minus infinity.
fn softmax(scores: &Writer<'_, f64>, biases: &Writer<'_, f64>, keys: Range<usize>) {
    let mut largest = f64::NEG_INFINITY;
    for key in keys.clone() {
        let bias = biases.get(key);
        let score = if bias == f64::NEG_INFINITY { bias } else { scores.get(key) + bias };
        largest = score.larger(largest);
        scores.set(key, score);
    }
    if largest == f64::NEG_INFINITY {
        keys.for_each(|key| scores.set(key, 0.0));
        return;
    }
    let mut sum = 0.0;
    for key in keys.clone() {
        let weight = libm::exp(scores.get(key) - largest);
        sum += weight;
        scores.set(key, weight);
    }
    keys.for_each(|key| scores.set(key, scores.get(key) / sum));
}
