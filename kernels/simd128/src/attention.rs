//! `Attention` by tiles: scores of some queries with some keys, their exponentials, and the weighted sum of values, the softmax kept up to date from
//! tile to tile (online softmax): where a tile brings a larger score, the sums so far are multiplied by e^(old - new).
//!
//! A past, a cap, lengths without padding and further outputs stay with the portable kernel. A key that a mask hides has the weight zero;
//! its value is multiplied with it, and must be a number.

mod tile;

use crate::arguments::{F32, Op, dims, shards_for};
use crate::tile::{COLUMNS, ROWS};
use core::ops::Range;
use sunmao_plugin_sdk::abi::Requirements;
use sunmao_plugin_sdk::{Bindings, Call, Dispatch, Input, Kernel, Result};

/// Most queries of a tile, and most keys.
const QUERIES_MAX: usize = 64;
const KEYS_MAX: usize = 128;
/// Widest head.
const WIDTH_MAX: usize = 256;
/// Code of booleans in the ABI.
const BOOL: u16 = 9;

/// How rows of heads lie in a tensor of `[batch, heads, length, width]` or `[batch, length, heads * width]`: floats from one to the next.
#[derive(Clone, Copy)]
struct Heads {
    heads: usize,
    length: usize,
    width: usize,
    batch: usize,
    head: usize,
    row: usize,
}

impl Heads {
    fn of(shape: &[usize], heads: i64) -> Option<Self> {
        match *shape {
            [_, heads, length, width] => {
                let head = length * width;
                Some(Self { heads, length, width, batch: heads * head, head, row: width })
            }
            [_, length, row] => {
                let heads = usize::try_from(heads).ok().filter(|&heads| heads > 0 && row % heads == 0)?;
                let width = row / heads;
                Some(Self { heads, length, width, batch: length * row, head: width, row })
            }
            _ => None,
        }
    }

    fn at(&self, batch: usize, head: usize, row: usize) -> usize {
        batch * self.batch + head * self.head + row * self.row
    }
}

/// Steps of a mask from one batch, head and query to the next; neighbouring keys lie side by side.
#[derive(Clone, Copy)]
struct Mask {
    is_bool: bool,
    steps: [usize; 3],
}

impl Mask {
    /// None where the mask does not broadcast, or has not a place for each key.
    fn of(shape: &[usize], is_bool: bool, scores: [usize; 4]) -> Option<Self> {
        if shape.is_empty() || shape.len() > 4 || shape.last() != scores.last() {
            return None;
        }
        let (mut steps, mut step) = ([0; 4], 1);
        for (axis, &length) in (4 - shape.len()..4).zip(shape).rev() {
            if length != scores[axis] && length != 1 {
                return None;
            }
            steps[axis] = if length == 1 { 0 } else { step };
            step *= length;
        }
        Some(Self { is_bool, steps: [steps[0], steps[1], steps[2]] })
    }
}

#[derive(Clone, Copy)]
struct Plan {
    batches: usize,
    q: Heads,
    k: Heads,
    v: Heads,
    y: Heads,
    scale: f32,
    mask: Option<Mask>,
    /// Keys in front of and behind a query's own place that it sees; none: all.
    left: Option<usize>,
    right: Option<usize>,
    /// Queries and keys of a tile, whole panels.
    queries: usize,
    keys: usize,
}

/// Where in the workspace what lies, in floats.
struct Space {
    keys: usize,
    values: usize,
    scores: usize,
    weights: usize,
    largest: usize,
    sums: usize,
    end: usize,
}

/// The kernel, if these tiles fit the operation.
pub(crate) fn prepare(op: Op<'_>) -> Option<Box<dyn Kernel>> {
    Some(Box::new(Plan::of(op)?))
}

impl Plan {
    fn of(op: Op<'_>) -> Option<Self> {
        let (q_shape, k_shape, v_shape) = (op.f32_shape(0)?, op.f32_shape(1)?, op.f32_shape(2)?);
        let has_more = (4..op.0.inputs.len()).any(|index| op.input(index).is_some());
        if has_more || op.number("softcap", 0.0) != 0.0 || !op.0.epilogue.is_empty() {
            return None;
        }
        let kv_heads = op.integer("kv_num_heads", 0);
        let q = Heads::of(&q_shape, op.integer("q_num_heads", 0))?;
        let (k, v) = (Heads::of(&k_shape, kv_heads)?, Heads::of(&v_shape, kv_heads)?);
        let y = Heads::of(&op.f32_output()?, q.heads as i64)?;
        if !(1..=WIDTH_MAX).contains(&q.width) || v.width > WIDTH_MAX {
            return None;
        }
        let batches = q_shape[0];
        let mask = match op.input(3) {
            None => None,
            Some(operand) if operand.dtype == F32 || operand.dtype == BOOL => {
                let scores = [batches, q.heads, q.length, k.length];
                Some(Mask::of(&dims(operand), operand.dtype == BOOL, scores)?)
            }
            Some(_) => return None,
        };
        let window = |key: &str| usize::try_from(op.integer(key, -1)).ok();
        let right = if op.integer("is_causal", 0) != 0 { Some(0) } else { window("right_window_size") };
        let scale = op.attributes().number("scale").unwrap_or_else(|| 1.0 / (q.width as f64).sqrt()) as f32;
        let queries = q.length.clamp(1, QUERIES_MAX).next_multiple_of(ROWS);
        let keys = k.length.clamp(1, KEYS_MAX).next_multiple_of(COLUMNS);
        Some(Self { batches, q, k, v, y, scale, mask, left: window("left_window_size"), right, queries, keys })
    }

    fn tiles(&self) -> usize {
        self.q.length.div_ceil(self.queries)
    }

    fn space(&self) -> Space {
        let keys = self.queries * self.k.width;
        let values = keys + self.keys * self.k.width;
        let scores = values + self.keys * self.v.width.next_multiple_of(COLUMNS);
        let weights = scores + ROWS * self.keys;
        let largest = weights + ROWS * self.keys;
        let sums = largest + self.queries;
        Space { keys, values, scores, weights, largest, sums, end: sums + self.queries }
    }

    /// The keys that a query sees as far as order and windows say.
    fn visible(&self, query: usize) -> Range<usize> {
        let end =
            self.right.map_or(self.k.length, |right| query.saturating_add(right).saturating_add(1).min(self.k.length));
        let start = self.left.map_or(0, |left| query.saturating_sub(left));
        start.min(end)..end
    }

    fn units(&self) -> usize {
        self.batches * self.q.heads * self.tiles()
    }
}

impl Kernel for Plan {
    fn requirements(&self) -> Requirements {
        let rows = (self.batches * self.q.heads * self.q.length) as u64;
        let nanoseconds = rows * self.k.length as u64 * (self.k.width + self.v.width + 32) as u64 / 14;
        Requirements {
            shards: shards_for(nanoseconds).min(self.units().max(1) as u32),
            workspace: (self.space().end * 4) as u32,
            estimated_ns: nanoseconds,
            ..Requirements::simple()
        }
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        let plan = *self;
        let (q, k, v) = (bindings.input::<f32>(0)?, bindings.input::<f32>(1)?, bindings.input::<f32>(2)?);
        let (mut biases, mut flags): (Option<Input<f32>>, Option<Input<u8>>) = (None, None);
        match plan.mask {
            Some(mask) if mask.is_bool => flags = Some(bindings.input(3)?),
            Some(_) => biases = Some(bindings.input(3)?),
            None => {}
        }
        let output = bindings.output::<f32>(0)?;
        Ok(Box::new(move |call: &Call| {
            let at = tile::Addresses {
                q: call.read(&q).as_ptr(),
                k: call.read(&k).as_ptr(),
                v: call.read(&v).as_ptr(),
                biases: biases.as_ref().map_or(core::ptr::null(), |biases| call.read(biases).as_ptr()),
                flags: flags.as_ref().map_or(core::ptr::null(), |flags| call.read(flags).as_ptr()),
                y: call.write(&output).as_mut_ptr(),
                workspace: call.workspace::<f32>().as_mut_ptr(),
            };
            for unit in call.share(plan.units(), 1) {
                // SAFETY: the portable kernel checked the shapes against each other and the SDK the bindings against the shapes; the workspace has the
                // size that was asked for, and each unit has rows of its own.
                unsafe { plan.tile(&at, unit) };
            }
            Ok(())
        }))
    }
}
