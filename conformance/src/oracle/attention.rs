//! `Attention` with grouped heads, masks, a cache of past keys and values, soft cap; and `RotaryEmbedding`.

use super::index::{tuples, under};
use super::tensor::dtype;
use super::{Answer, Question, Reals, Tensor, Unknown};

pub(super) fn answer(question: &Question) -> Option<Result<Vec<Answer>, Unknown>> {
    Some(match question.op.as_str() {
        "Attention" => attention(question),
        "RotaryEmbedding" => rotary(question),
        _ => return None,
    })
}

/// A tensor as batches of heads of rows.
struct Heads {
    numbers: Vec<f64>,
    batches: usize,
    heads: usize,
    rows: usize,
    width: usize,
}

impl Heads {
    /// Of four axes as it is; of three, the heads lie side by side in the last one.
    fn of(tensor: &Tensor, heads: usize) -> Result<Self, Unknown> {
        let numbers = tensor.reals();
        match tensor.shape[..] {
            [batches, heads, rows, width] => Ok(Self { numbers, batches, heads, rows, width }),
            [batches, rows, all] if heads > 0 => {
                let width = all / heads;
                let from = |i: Vec<usize>| numbers[((i[0] * rows + i[2]) * heads + i[1]) * width + i[3]];
                let numbers = tuples(&[batches, heads, rows, width]).map(from).collect();
                Ok(Self { numbers, batches, heads, rows, width })
            }
            _ => Err(Unknown(format!("heads in shape {:?}", tensor.shape))),
        }
    }

    fn shape(&self) -> [usize; 4] {
        [self.batches, self.heads, self.rows, self.width]
    }

    fn get(&self, batch: usize, head: usize, row: usize, i: usize) -> f64 {
        self.numbers[((batch * self.heads + head) * self.rows + row) * self.width + i]
    }

    /// With the rows of `past` in front.
    fn behind(self, past: Option<&Tensor>) -> Result<Self, Unknown> {
        let Some(past) = past else { return Ok(self) };
        let past = Self::of(past, self.heads)?;
        let rows = past.rows + self.rows;
        let from = |i: Vec<usize>| {
            if i[2] < past.rows {
                past.get(i[0], i[1], i[2], i[3])
            } else {
                self.get(i[0], i[1], i[2] - past.rows, i[3])
            }
        };
        let numbers = tuples(&[self.batches, self.heads, rows, self.width]).map(from).collect();
        Ok(Self { numbers, rows, ..self })
    }
}

fn attention(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let (q_heads, kv_heads) = (question.whole("q_num_heads", 0) as usize, question.whole("kv_num_heads", 0) as usize);
    let given = question.tensor(0)?;
    let q = Heads::of(given, q_heads)?;
    let past_rows = question.optional(4).map_or(0, |past| past.shape[2]);
    let k = Heads::of(question.tensor(1)?, kv_heads)?.behind(question.optional(4))?;
    let v = Heads::of(question.tensor(2)?, kv_heads)?.behind(question.optional(5))?;
    if question.optional(6).is_some() || question.attributes().integer("softmax_precision").is_some() {
        return Err(Unknown("an external cache, or a precision for the softmax".into()));
    }
    let scale = question.attributes().number("scale").unwrap_or(1.0 / (q.width as f64).sqrt());
    let softcap = question.real("softcap", 0.0);
    let causal = question.whole("is_causal", 0) != 0;
    let mask = question.optional(3);
    let bias = mask.map(|mask| {
        if mask.dtype == dtype::BOOL {
            mask.wholes().iter().map(|&keep| if keep != 0 { 0.0 } else { f64::NEG_INFINITY }).collect()
        } else {
            mask.reals()
        }
    });
    let (mut values, mut magnitudes) = (Vec::new(), Vec::new());
    for index in tuples(&[q.batches, q.heads, q.rows]) {
        let (batch, head, row) = (index[0], index[1], index[2]);
        let group = head / (q.heads / k.heads.max(1)).max(1);
        let score = |j: usize| {
            let product: f64 = (0..q.width).map(|i| q.get(batch, head, row, i) * k.get(batch, group, j, i)).sum();
            let score = product * scale;
            let score = if softcap > 0.0 { softcap * (score / softcap).tanh() } else { score };
            let hidden = causal && j > row + past_rows;
            let added = mask.zip(bias.as_ref()).map_or(0.0, |(mask, bias)| {
                let last = mask.shape.last().copied().unwrap_or(1);
                if j >= last && last != 1 {
                    f64::NEG_INFINITY
                } else {
                    bias[under(&[batch, head, row, j], &mask.shape)]
                }
            });
            if hidden { f64::NEG_INFINITY } else { score + added }
        };
        let scores: Vec<f64> = (0..k.rows).map(score).collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // A row that may look at nothing answers zeros.
        let weights: Vec<f64> = match largest == f64::NEG_INFINITY {
            true => vec![0.0; k.rows],
            false => scores.iter().map(|score| (score - largest).exp()).collect(),
        };
        let sum: f64 = weights.iter().sum::<f64>();
        let sum = if sum == 0.0 { 1.0 } else { sum };
        for i in 0..v.width {
            let term = |j: usize| weights[j] / sum * v.get(batch, group, j, i);
            values.push((0..k.rows).map(term).sum::<f64>());
            magnitudes.push((0..k.rows).map(|j| term(j).abs()).sum::<f64>());
        }
    }
    let terms = (q.width + k.rows) * 4;
    let reals = Reals::sums(values, magnitudes, terms);
    let y = [q.batches, q.heads, q.rows, v.width];
    let y =
        if given.shape.len() == 4 { Answer::reals(given.dtype, &y, reals) } else { flattened(given.dtype, y, &reals) };
    let kept = |heads: &Heads| Answer::stored(Tensor::of_reals(given.dtype, &heads.shape(), &heads.numbers));
    Ok(vec![y, kept(&k), kept(&v)])
}

/// Heads side by side again.
fn flattened(dtype: u16, [batches, heads, rows, width]: [usize; 4], reals: &Reals) -> Answer {
    let turned = |numbers: &[f64]| {
        let from = |i: Vec<usize>| numbers[((i[0] * heads + i[2]) * rows + i[1]) * width + i[3]];
        tuples(&[batches, rows, heads, width]).map(from).collect::<Vec<f64>>()
    };
    let reals = Reals { values: turned(&reals.values), magnitudes: turned(&reals.magnitudes), ..reals.clone() };
    Answer::reals(dtype, &[batches, rows, heads * width], reals)
}

fn rotary(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let (x, cosines, sines) = (question.tensor(0)?, question.tensor(1)?, question.tensor(2)?);
    let &[_, _, rows, width] = &x.shape[..] else {
        return Err(Unknown("RotaryEmbedding of other than four axes".into()));
    };
    let rotated = match question.whole("rotary_embedding_dim", 0) as usize {
        0 => width,
        given => given,
    };
    let half = rotated / 2;
    let interleaved = question.whole("interleaved", 0) != 0;
    let positions = question.optional(3).map(|positions| positions.wholes());
    let (numbers, cosines, sines) = (x.reals(), cosines.reals(), sines.reals());
    let (mut values, mut magnitudes) = (Vec::new(), Vec::new());
    for (at, index) in tuples(&x.shape).enumerate() {
        let i = index[3];
        if i >= rotated {
            values.push(numbers[at]);
            magnitudes.push(0.0);
            continue;
        }
        let (pair, first) = if interleaved { (i / 2, i % 2 == 0) } else { (i % half, i < half) };
        let token = index[0] * rows + index[2];
        let angle = positions.as_ref().map_or(token, |positions| positions[token] as usize) * half + pair;
        let other = match (interleaved, first) {
            (true, true) => at + 1,
            (true, false) => at - 1,
            (false, true) => at + half,
            (false, false) => at - half,
        };
        let turn = if first { -numbers[other] * sines[angle] } else { numbers[other] * sines[angle] };
        values.push(numbers[at] * cosines[angle] + turn);
        magnitudes.push((numbers[at] * cosines[angle]).abs() + turn.abs());
    }
    Ok(vec![Answer::reals(x.dtype, &x.shape, Reals::sums(values, magnitudes, 2))])
}
