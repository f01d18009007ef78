//! Attention against plain loops: heads that share keys, masks, order, windows, past, cap, and what its fourth output shows.

use crate::harness::{Case, Tensor};
use crate::oracle::{Seeded, assert_close, widened};

const Q_HEADS: usize = 4;
const KV_HEADS: usize = 2;
const WIDTH: usize = 3;

/// Numbers `[heads, length, width]` of one batch entry.
struct Heads<'a>(&'a [f32], usize, usize);

impl Heads<'_> {
    fn at(&self, head: usize, row: usize, i: usize) -> f64 {
        self.0[(head * self.1 + row) * self.2 + i].into()
    }
}

/// The scores with their biases; a key that is not seen has minus infinity.
fn attend(
    q: &Heads<'_>,
    k: &Heads<'_>,
    v: &Heads<'_>,
    cap: f64,
    bias: impl Fn(usize, usize, usize) -> f64,
) -> (Vec<f64>, Vec<f64>) {
    let (mut result, mut shown) = (Vec::new(), Vec::new());
    for head in 0..Q_HEADS {
        let shared = head / (Q_HEADS / KV_HEADS);
        for row in 0..q.1 {
            let score = |key: usize| {
                let sum: f64 = (0..WIDTH).map(|i| q.at(head, row, i) * k.at(shared, key, i)).sum();
                let scaled = sum / (WIDTH as f64).sqrt();
                let capped = if cap > 0.0 { cap * (scaled / cap).tanh() } else { scaled };
                capped + bias(head, row, key)
            };
            let scores: Vec<f64> = (0..k.1).map(score).collect();
            let weights: Vec<f64> = scores.iter().map(|score| score.exp()).collect();
            let sum: f64 = weights.iter().sum();
            let sum = if sum == 0.0 { 1.0 } else { sum };
            result.extend((0..v.2).map(|i| (0..k.1).map(|key| weights[key] / sum * v.at(shared, key, i)).sum::<f64>()));
            shown.extend(scores);
        }
    }
    (result, shown)
}

const HIDDEN: f64 = f64::NEG_INFINITY;

#[test]
fn causal_heads_share_keys_behind_a_past() {
    let mut random = Seeded::new(1);
    let (past, new, queries, values) = (2, 3, 3, 5);
    let q = random.tensor(&[1, Q_HEADS, queries, WIDTH]);
    let (k, past_k) = (random.tensor(&[1, KV_HEADS, new, WIDTH]), random.tensor(&[1, KV_HEADS, past, WIDTH]));
    let (v, past_v) = (random.tensor(&[1, KV_HEADS, new, values]), random.tensor(&[1, KV_HEADS, past, values]));
    let mask = random.tensor(&[queries, past + new]);
    let case = Case::new("Attention", 23).integer("is_causal", 1).number("softcap", 2.0);
    let case = case.integer("qk_matmul_output_mode", 2);
    let case = case.input(q.clone()).input(k.clone()).input(v.clone()).input(mask.clone());
    let case = case.input(past_k.clone()).input(past_v.clone()).output(1, &[1, Q_HEADS, queries, values]);
    let case = case.output(1, &[1, KV_HEADS, past + new, WIDTH]).output(1, &[1, KV_HEADS, past + new, values]);
    let outputs = case.output(1, &[1, Q_HEADS, queries, past + new]).run();
    let joined = |past: &Tensor, new: &Tensor, width: usize| {
        let (a, b) = (past.to_f32(), new.to_f32());
        let of_head = |head: usize| {
            let (a, b) = (a.chunks(a.len() / KV_HEADS).nth(head), b.chunks(b.len() / KV_HEADS).nth(head));
            [a.unwrap(), b.unwrap()].concat()
        };
        let all = (0..KV_HEADS).flat_map(of_head).collect::<Vec<f32>>();
        assert_eq!(all.len(), KV_HEADS * 5 * width);
        all
    };
    let (k, v) = (joined(&past_k, &k, WIDTH), joined(&past_v, &v, values));
    assert_eq!(outputs[1].to_f32(), k);
    assert_eq!(outputs[2].to_f32(), v);
    let mask = mask.to_f32();
    let (result, shown) = attend(
        &Heads(&q.to_f32(), queries, WIDTH),
        &Heads(&k, past + new, WIDTH),
        &Heads(&v, past + new, values),
        2.0,
        |_, row, key| if key > row + past { HIDDEN } else { mask[row * (past + new) + key].into() },
    );
    assert_close(&outputs[0].to_f32(), &result, 1e-6);
    assert_close(&outputs[3].to_f32(), &shown, 1e-6);
}

#[test]
fn packed_heads_see_a_window_of_keys_that_are_no_padding() {
    let mut random = Seeded::new(2);
    let (keys, queries, unpadded) = (6, 2, 4);
    let packed = |random: &mut Seeded, length: usize, heads: usize| random.tensor(&[1, length, heads * WIDTH]);
    let (q, k, v) = (
        packed(&mut random, queries, Q_HEADS),
        packed(&mut random, keys, KV_HEADS),
        packed(&mut random, keys, KV_HEADS),
    );
    let case =
        Case::new("Attention", 25).integer("q_num_heads", Q_HEADS as i64).integer("kv_num_heads", KV_HEADS as i64);
    let case = case.integer("left_window_size", 1).integer("right_window_size", 0);
    let mask = Tensor::bool(&[1, 1, keys], &[true, true, true, false, true, true]);
    let case = case.input(q.clone()).input(k.clone()).input(v.clone()).input(mask).absent().absent();
    let case = case.input(Tensor::i64(&[1], &[unpadded as i64])).output(1, &[1, queries, Q_HEADS * WIDTH]);
    let outputs = case.run();
    let split = |packed: &Tensor, heads: usize| {
        let all = packed.to_f32();
        let length = all.len() / heads / WIDTH;
        let element = |at: usize| all[(at / WIDTH % length * heads + at / WIDTH / length) * WIDTH + at % WIDTH];
        (0..all.len()).map(element).collect::<Vec<f32>>()
    };
    let (q, k, v) = (split(&q, Q_HEADS), split(&k, KV_HEADS), split(&v, KV_HEADS));
    // The two queries stand at places 2 and 3; key 3 is masked.
    let seen = [[false, true, true, false, false, false], [false, false, true, false, false, false]];
    let (result, _) =
        attend(&Heads(&q, queries, WIDTH), &Heads(&k, keys, WIDTH), &Heads(&v, keys, WIDTH), 0.0, |_, row, key| {
            if seen[row][key] { 0.0 } else { HIDDEN }
        });
    let got = outputs[0].to_f32();
    let by_head: Vec<f32> = split(&Tensor::f32(&[1, queries, Q_HEADS * WIDTH], &got), Q_HEADS);
    assert_close(&by_head, &result, 1e-6);
}

#[test]
fn a_query_without_keys_gives_zeros() {
    let x = Tensor::f32(&[1, 1, 2, 1], &[1.0, 2.0]);
    let mask = Tensor::bool(&[2, 2], &[false, false, true, true]);
    let case =
        Case::new("Attention", 23).integer("qk_matmul_output_mode", 3).input(x.clone()).input(x.clone()).input(x);
    let case = case.input(mask).output(1, &[1, 1, 2, 1]);
    let mut operation = case.output(1, &[1, 1, 2, 2]);
    let shown = operation.operation.outputs.pop().expect("pushed above");
    operation.operation.outputs.extend([None, None, shown]);
    let outputs = operation.run();
    assert_eq!(outputs[0].to_f32()[0], 0.0);
    assert_eq!(outputs[1].to_f32()[..2], [0.0, 0.0]);
    assert_close(&[outputs[1].to_f32()[2..].iter().sum()], &widened(&[1.0]), 1e-7);
}
