//! LSTM and GRU against plain loops, with sequences of different lengths in both directions.

use crate::harness::{Case, Tensor};
use crate::oracle::{Seeded, assert_close};

const STEPS: usize = 4;
const BATCHES: usize = 2;
const INPUTS: usize = 3;
const HIDDEN: usize = 5;
const LENGTHS: [i32; BATCHES] = [4, 2];

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// One direction of a cell with weights as ONNX lays them out.
struct Weights {
    w: Vec<f32>,
    r: Vec<f32>,
    b: Vec<f32>,
    p: Vec<f32>,
    gates: usize,
    direction: usize,
}

impl Weights {
    fn input(&self, row: usize, x: &[f64]) -> f64 {
        let rows = self.gates * HIDDEN;
        let start = (self.direction * rows + row) * INPUTS;
        let bias = f64::from(self.b[self.direction * 2 * rows + row]);
        bias + (0..INPUTS).map(|i| x[i] * f64::from(self.w[start + i])).sum::<f64>()
    }

    fn state(&self, row: usize, h: &[f64]) -> f64 {
        let rows = self.gates * HIDDEN;
        let start = (self.direction * rows + row) * HIDDEN;
        let bias = f64::from(self.b[self.direction * 2 * rows + rows + row]);
        bias + (0..HIDDEN).map(|i| h[i] * f64::from(self.r[start + i])).sum::<f64>()
    }

    fn peep(&self, gate: usize, j: usize) -> f64 {
        self.p[(self.direction * 3 + gate) * HIDDEN + j].into()
    }
}

fn lstm(weights: &Weights, x: &[f64], h: &mut [f64], c: &mut [f64]) {
    let sum =
        |gate: usize, j: usize, h: &[f64]| weights.input(gate * HIDDEN + j, x) + weights.state(gate * HIDDEN + j, h);
    let old = h.to_vec();
    for j in 0..HIDDEN {
        let input = sigmoid(sum(0, j, &old) + weights.peep(0, j) * c[j]);
        let forget = sigmoid(sum(2, j, &old) + weights.peep(2, j) * c[j]);
        c[j] = forget * c[j] + input * sum(3, j, &old).tanh();
        h[j] = sigmoid(sum(1, j, &old) + weights.peep(1, j) * c[j]) * c[j].tanh();
    }
}

fn gru(weights: &Weights, x: &[f64], h: &mut [f64], late: bool) {
    let old = h.to_vec();
    let gate =
        |gate: usize, j: usize| sigmoid(weights.input(gate * HIDDEN + j, x) + weights.state(gate * HIDDEN + j, &old));
    let reset: Vec<f64> = (0..HIDDEN).map(|j| gate(1, j)).collect();
    let kept: Vec<f64> = (0..HIDDEN).map(|j| reset[j] * old[j]).collect();
    for j in 0..HIDDEN {
        let row = 2 * HIDDEN + j;
        let state = if late { reset[j] * weights.state(row, &old) } else { weights.state(row, &kept) };
        let candidate = (weights.input(row, x) + state).tanh();
        h[j] = (1.0 - gate(0, j)) * candidate + gate(0, j) * old[j];
    }
}

/// Runs a cell over all lines; the outputs `[steps, directions, batches, hidden]` and the last states.
fn walk(
    x: &[f32],
    first: &[f32],
    step: impl Fn(usize, &[f64], &mut [f64], &mut [f64]),
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let mut all = vec![0.0; STEPS * 2 * BATCHES * HIDDEN];
    let (mut last, mut cells) = (Vec::new(), Vec::new());
    for direction in 0..2 {
        for (batch, length) in LENGTHS.into_iter().enumerate() {
            let start = (direction * BATCHES + batch) * HIDDEN;
            let mut h: Vec<f64> = first[start..start + HIDDEN].iter().map(|&x| x.into()).collect();
            let mut c = vec![0.0; HIDDEN];
            let length = length as usize;
            for at in 0..length {
                let at = if direction == 1 { length - 1 - at } else { at };
                let row = (at * BATCHES + batch) * INPUTS;
                let x: Vec<f64> = x[row..row + INPUTS].iter().map(|&x| x.into()).collect();
                step(direction, &x, &mut h, &mut c);
                let to = ((at * 2 + direction) * BATCHES + batch) * HIDDEN;
                all[to..to + HIDDEN].copy_from_slice(&h);
            }
            last.extend(h);
            cells.extend(c);
        }
    }
    (all, last, cells)
}

fn case(op: &str, gates: usize, random: &mut Seeded) -> (Case, Tensor, Tensor, [Weights; 2]) {
    let x = random.tensor(&[STEPS, BATCHES, INPUTS]);
    let (w, r) = (random.tensor(&[2, gates * HIDDEN, INPUTS]), random.tensor(&[2, gates * HIDDEN, HIDDEN]));
    let b = random.tensor(&[2, 2 * gates * HIDDEN]);
    let first = random.tensor(&[2, BATCHES, HIDDEN]);
    let p = random.tensor(&[2, 3 * HIDDEN]);
    let weights = [0, 1].map(|direction| Weights {
        w: w.to_f32(),
        r: r.to_f32(),
        b: b.to_f32(),
        p: p.to_f32(),
        gates,
        direction,
    });
    let case = Case::new(op, 14).text("direction", "bidirectional").integer("hidden_size", HIDDEN as i64);
    let case = case.input(x.clone()).input(w).input(r).input(b).input(Tensor::i32(&[BATCHES], &LENGTHS));
    let case = case.input(first.clone());
    let case = if op == "LSTM" { case.absent().input(p) } else { case };
    let case = case.output(1, &[STEPS, 2, BATCHES, HIDDEN]).output(1, &[2, BATCHES, HIDDEN]);
    (case, x, first, weights)
}

#[test]
fn an_lstm_with_peepholes_walks_short_sequences_from_their_own_ends() {
    let (case, x, first, weights) = case("LSTM", 4, &mut Seeded::new(3));
    let outputs = case.output(1, &[2, BATCHES, HIDDEN]).run();
    let (all, last, cells) =
        walk(&x.to_f32(), &first.to_f32(), |direction, x, h, c| lstm(&weights[direction], x, h, c));
    assert_close(&outputs[0].to_f32(), &all, 1e-6);
    assert_close(&outputs[1].to_f32(), &last, 1e-6);
    assert_close(&outputs[2].to_f32(), &cells, 1e-6);
}

#[test]
fn the_reset_gate_of_a_gru_acts_before_or_behind_its_product() {
    for late in [false, true] {
        let (case, x, first, weights) = case("GRU", 3, &mut Seeded::new(4));
        let outputs = case.integer("linear_before_reset", late.into()).run();
        let (all, last, _) =
            walk(&x.to_f32(), &first.to_f32(), |direction, x, h, _| gru(&weights[direction], x, h, late));
        assert_close(&outputs[0].to_f32(), &all, 1e-6);
        assert_close(&outputs[1].to_f32(), &last, 1e-6);
    }
}

#[test]
fn activations_take_their_constants_in_order_and_clip_bounds_what_goes_in() {
    let one = |values: &[f32]| Tensor::f32(&[1, values.len(), 1], values);
    let case = Case::new("RNN", 14)
        .attribute("activations", sunmao_plugin_sdk::abi::Attribute::Texts(vec!["Affine".into()]))
        .attribute("activation_alpha", sunmao_plugin_sdk::abi::Attribute::Numbers(vec![2.0]))
        .attribute("activation_beta", sunmao_plugin_sdk::abi::Attribute::Numbers(vec![0.5]))
        .number("clip", 3.0);
    let case = case.input(Tensor::f32(&[2, 1, 1], &[1.0, 100.0])).input(one(&[1.0])).input(one(&[0.0]));
    let outputs = case.output(1, &[2, 1, 1, 1]).run();
    assert_eq!(outputs[0].to_f32(), [2.5, 6.5]);
}
