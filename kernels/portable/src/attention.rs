//! `Attention`: softmax of scaled products of queries and keys, times values, with everything that the operator allows around it.
//!
//! A row, one query of one head, is computed from front to back by one shard: its scores lie in the workspace as `f64`, so that the
//! result is rounded once. Keys that a mask, the causal order, a window or the padding excludes are not looked at.

mod row;

use crate::arguments::{Op, dims};
use crate::element::{FLOATS, dispatch};
use crate::settle::{CHUNK, kernel, needs};
use crate::strided::Strided;
use crate::table::{LATEST, Row, signature};
use crate::wide::{Source, Wide};
use row::Bound;
use std::ops::Range;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Result, Writer};

pub(crate) fn rows() -> Vec<Row> {
    let mut signatures = Vec::new();
    for &d in FLOATS {
        for mask in [d, 9, 1, 10, 16, 11, 2, 3, 4, 5, 6, 7, 12, 13] {
            signatures.push(signature(&[d, d, d, mask, d, d, 7], &[d]));
        }
    }
    vec![Row::new("Attention", (23, LATEST), signatures, Tolerance::Accumulate(4.0), attention)]
}

/// How rows of heads lie in a tensor of `[batch, heads, length, width]` or `[batch, length, heads * width]`.
#[derive(Clone, Copy)]
struct Heads {
    heads: usize,
    length: usize,
    width: usize,
    batch_stride: usize,
    head_stride: usize,
    row_stride: usize,
}

impl Heads {
    fn of(op: Op<'_>, shape: &[usize], count_key: &str) -> Result<Self> {
        match *shape {
            [_, heads, length, width] => Ok(Self::split(heads, length, width)),
            [_, length, packed] => {
                let heads = op.attributes().integer(count_key).unwrap_or(0);
                if heads < 1 || packed as i64 % heads != 0 {
                    return Err(op.invalid(format_args!("`{count_key}` = {heads} for rows of {packed} elements")));
                }
                let heads = heads as usize;
                let width = packed / heads;
                let (row_stride, batch_stride) = (packed, length * packed);
                Ok(Self { heads, length, width, batch_stride, head_stride: width, row_stride })
            }
            _ => Err(op.invalid(format_args!("an operand of shape {shape:?} has neither three nor four axes"))),
        }
    }

    /// The form with one axis for the heads.
    fn split(heads: usize, length: usize, width: usize) -> Self {
        let head_stride = length * width;
        Self { heads, length, width, batch_stride: heads * head_stride, head_stride, row_stride: width }
    }

    fn row(&self, batch: usize, head: usize, at: usize) -> Range<usize> {
        let start = batch * self.batch_stride + head * self.head_stride + at * self.row_stride;
        start..start + self.width
    }
}

/// What the fourth output shows.
#[derive(Clone, Copy, PartialEq)]
enum Shown {
    Nothing,
    /// Scaled products.
    Products,
    /// The same after the cap.
    Capped,
    /// The same with masks added.
    Biased,
    Probabilities,
}

#[derive(Clone, Copy)]
struct Plan {
    batches: usize,
    q: Heads,
    k: Heads,
    v: Heads,
    y: Heads,
    past: usize,
    scale: f64,
    cap: f64,
    causal: bool,
    /// Keys before and behind a query's own place that it sees; none: all.
    left: Option<i64>,
    right: Option<i64>,
    mask: Option<Mask>,
    shown: Shown,
}

/// A mask under the index space `[batch, heads, queries, keys of the mask]`.
#[derive(Clone, Copy)]
struct Mask {
    walk: Strided,
    keys: usize,
    dtype: u16,
}

impl Plan {
    fn of(op: Op<'_>) -> Result<Self> {
        let (q_shape, k_shape, v_shape) = (op.shape(0)?, op.shape(1)?, op.shape(2)?);
        let q = Heads::of(op, &q_shape, "q_num_heads")?;
        let k = Heads::of(op, &k_shape, "kv_num_heads")?;
        let v = Heads::of(op, &v_shape, "kv_num_heads")?;
        let batches = q_shape[0];
        let fits = k_shape[0] == batches
            && v_shape[0] == batches
            && q.width == k.width
            && k.heads == v.heads
            && k.length == v.length
            && k.heads > 0
            && q.heads.is_multiple_of(k.heads);
        if !fits {
            return Err(op.invalid(format_args!("shapes {q_shape:?}, {k_shape:?} and {v_shape:?} do not attend")));
        }
        let mut y_shape = q_shape.clone();
        *y_shape.last_mut().expect("three or four axes") = if q_shape.len() == 4 { v.width } else { q.heads * v.width };
        op.expect_output(0, &y_shape)?;
        let y = match q_shape.len() {
            4 => Heads::split(q.heads, q.length, v.width),
            _ => Heads {
                width: v.width,
                batch_stride: q.length * q.heads * v.width,
                head_stride: v.width,
                row_stride: q.heads * v.width,
                ..q
            },
        };
        let past = match (op.optional(4), op.optional(5)) {
            (None, None) => 0,
            (Some(key), Some(_)) => {
                let past = *dims(key).get(2).ok_or_else(|| op.invalid("a past key without a length").at(4))?;
                op.expect_input(4, &[batches, k.heads, past, k.width])?;
                op.expect_input(5, &[batches, v.heads, past, v.width])?;
                past
            }
            _ => return Err(op.invalid("a past key without a past value, or the other way round").at(4)),
        };
        let total = past + k.length;
        for (index, width) in [(1, k.width), (2, v.width)] {
            if op.wants_output(index) {
                op.expect_output(index, &[batches, k.heads, total, width])?;
            }
        }
        if op.optional(6).is_some() {
            op.expect_input(6, &[batches])?;
            if op.optional(4).is_some() {
                return Err(op.invalid("a past and a number of keys that are no padding").at(6));
            }
        }
        let shown = match op.attributes().integer("qk_matmul_output_mode").unwrap_or(0) {
            _ if !op.wants_output(3) => Shown::Nothing,
            0 => Shown::Products,
            1 => Shown::Capped,
            2 => Shown::Biased,
            3 => Shown::Probabilities,
            other => return Err(op.invalid(format_args!("qk_matmul_output_mode {other}"))),
        };
        if shown != Shown::Nothing {
            op.expect_output(3, &[batches, q.heads, q.length, total])?;
        }
        let window = |key: &str| op.attributes().integer(key).filter(|&size| size >= 0);
        Ok(Self {
            batches,
            q,
            k,
            v,
            y,
            past,
            scale: op.attributes().number("scale").unwrap_or_else(|| 1.0 / (q.width as f64).sqrt()),
            cap: op.attributes().number("softcap").unwrap_or(0.0),
            causal: op.attributes().flag("is_causal"),
            left: window("left_window_size"),
            right: window("right_window_size"),
            mask: Mask::of(op, [batches, q.heads, q.length], total)?,
            shown,
        })
    }

    fn total(&self) -> usize {
        self.past + self.k.length
    }

    /// The keys that a query may see as far as order, windows and padding say: all others have a bias of minus infinity.
    fn visible(&self, query: usize, unpadded: Option<i64>) -> Range<usize> {
        let total = self.total() as i64;
        let offset = unpadded.map_or(self.past as i64, |count| count.saturating_sub(self.q.length as i64));
        let place = offset.saturating_add(query as i64);
        let mut end = unpadded.map_or(total, |count| count.min(total));
        let right = if self.causal { Some(self.right.map_or(0, |right| right.min(0))) } else { self.right };
        if let Some(right) = right {
            end = end.min(place.saturating_add(right).saturating_add(1));
        }
        let start = self.left.map_or(0, |left| place.saturating_sub(left)).clamp(0, total);
        start as usize..end.clamp(start, total) as usize
    }
}

impl Mask {
    fn of(op: Op<'_>, rows: [usize; 3], total: usize) -> Result<Option<Self>> {
        let Some(operand) = op.optional(3) else { return Ok(None) };
        let shape = dims(operand);
        let Some(&keys) = shape.last() else { return Err(op.invalid("a mask without axes").at(3)) };
        let onto = [rows[0], rows[1], rows[2], keys];
        let walk = Strided::broadcast(&shape, &onto).filter(|_| keys <= total);
        let walk = walk.ok_or_else(|| op.invalid(format_args!("a mask of shape {shape:?} for {total} keys")).at(3))?;
        Ok(Some(Self { walk, keys, dtype: operand.dtype }))
    }

    /// Writes the bias of the keys of row `row` to `biases`; minus infinity behind the mask's own keys.
    fn load(&self, call: &Call, mask: &dyn Source, row: usize, keys: Range<usize>, biases: &Writer<'_, f64>) {
        let mut wide = mask.chunk();
        let mut at = keys.start;
        while at < keys.end.min(self.keys) {
            let n = CHUNK.min(keys.end.min(self.keys) - at);
            mask.load(call, &self.walk, 0, row * self.keys + at, n, &mut wide);
            for i in 0..n {
                let value = match &wide {
                    Wide::Real(values) => values[i],
                    Wide::Signed(values) => values[i] as f64,
                    Wide::Unsigned(values) if self.dtype == 9 => {
                        if values[i] != 0 {
                            0.0
                        } else {
                            f64::NEG_INFINITY
                        }
                    }
                    Wide::Unsigned(values) => values[i] as f64,
                };
                biases.set(at + i, value);
            }
            at += n;
        }
        for at in keys.start.max(self.keys)..keys.end {
            biases.set(at, f64::NEG_INFINITY);
        }
    }
}

fn attention(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let plan = Plan::of(op)?;
    let rows = plan.batches * plan.q.heads * plan.q.length;
    let total = plan.total() as u64;
    let mut requirements = needs(rows as u64 * total * (plan.k.width + plan.v.width + 8) as u64, rows);
    // Scores, biases, and the sums of one row of the result.
    let elements = 2 * total + plan.v.width as u64;
    requirements.workspace =
        u32::try_from(elements * 8).map_err(|_| op.unsupported(format_args!("{total} keys in one row")))?;
    let wanted = [1, 2, 3].map(|index| op.wants_output(index));
    dispatch!(op.input(0)?.dtype, floats, S => {
        kernel(requirements, move |bindings| {
            let bound = Bound::<S>::of(plan, bindings, wanted)?;
            Ok(Box::new(move |call: &Call| {
                bound.write_present(call);
                for row in call.share(rows, 1) {
                    bound.row(call, row);
                }
                Ok(())
            }))
        })
    })
}
