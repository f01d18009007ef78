//! `Attention` by tiles. For a query q of a head with keys k and values v:
//!
//! ```text
//! y = sum_j e^(s_j - m) v_j / sum_j e^(s_j - m)    s_j = scale (q . k_j) + mask_j    m = max_j s_j
//! ```
//!
//! Keys are taken a tile at a time. Where a tile brings a larger m, the sums so far are multiplied by e^(old m - new m), so neither the
//! scores of a row nor their number are ever in memory as a whole (the online softmax of Milakov and Gimelshein, 2018). Tiles begin at places that the
//! shapes decide, so the bits are the same in any number of shards.
//!
//! The exponential keeps 1 ulp, products and sums are those of `f32`. A key that a mask hides has the weight zero; its value is
//! multiplied with it, and must be a number.

mod tile;

use super::micro::{COLUMNS, ROWS};
use crate::Avx2;
use crate::avx2::Row;
use crate::registry::LATEST;
use crate::request::{Request, count};
use crate::settle::{WORKSPACE_FLOATS, kernel, needs};
use std::ops::Range;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Element, Input, Kernel};

pub(crate) fn rows() -> Vec<Row> {
    vec![Row {
        operator: "Attention",
        path: "avx2-tiles",
        revisions: (23, LATEST),
        tolerance: Tolerance::Accumulate(4.0),
        prepare: attention,
    }]
}

/// Most queries of a tile, and most keys.
const QUERIES_MAX: usize = 96;
const KEYS_MAX: usize = 256;
/// Floats of a tile of keys in the workspace.
const PACKED_MAX: usize = WORKSPACE_FLOATS / 2;

/// How rows of heads lie in a tensor of `[batch, heads, length, width]` or `[batch, length, heads * width]`: floats from one to the next.
#[derive(Clone, Copy, Debug)]
struct Heads {
    heads: usize,
    length: usize,
    width: usize,
    batch: usize,
    head: usize,
    row: usize,
}

impl Heads {
    fn of(shape: &[usize], heads: Option<i64>) -> Option<Self> {
        match *shape {
            [_, heads, length, width] => {
                let head = length * width;
                Some(Self { heads, length, width, batch: heads * head, head, row: width })
            }
            [_, length, row] => {
                let heads = usize::try_from(heads?).ok().filter(|&heads| heads > 0 && row.is_multiple_of(heads))?;
                let width = row / heads;
                Some(Self { heads, length, width, batch: length * row, head: width, row })
            }
            _ => None,
        }
    }

    /// Floats in front of a row.
    fn at(&self, batch: usize, head: usize, row: usize) -> usize {
        batch * self.batch + head * self.head + row * self.row
    }
}

/// Floats or booleans added under the scores: elements from one batch, head and query to the next. Those of neighbouring keys lie side by side.
#[derive(Clone, Copy, Debug)]
struct Mask {
    is_bool: bool,
    batch: usize,
    head: usize,
    row: usize,
}

impl Mask {
    /// None where it does not broadcast, or has not a place for each key.
    fn of(shape: &[usize], is_bool: bool, scores: [usize; 4]) -> Option<Self> {
        if shape.is_empty() || shape.len() > 4 || *shape.last()? != scores[3] {
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
        Some(Self { is_bool, batch: steps[0], head: steps[1], row: steps[2] })
    }
}

#[derive(Clone, Copy, Debug)]
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
    /// Queries and keys of a tile.
    queries: usize,
    keys: usize,
}

/// Where in the workspace what lies, in floats.
struct Space {
    packed: usize,
    values: usize,
    largest: usize,
    sums: usize,
    end: usize,
}

impl Plan {
    fn of(request: Request<'_>) -> Option<Self> {
        let attributes = request.attributes();
        let (q_shape, k_shape, v_shape) = (request.input(0)?, request.input(1)?, request.input(2)?);
        // A past, its result, and lengths without padding belong to others.
        if request.inputs() > 4 || attributes.number("softcap").unwrap_or(0.0) != 0.0 {
            return None;
        }
        let kv_heads = attributes.integer("kv_num_heads");
        let q = Heads::of(&q_shape, attributes.integer("q_num_heads"))?;
        let (k, v) = (Heads::of(&k_shape, kv_heads)?, Heads::of(&v_shape, kv_heads)?);
        let batches = q_shape[0];
        let fits = k_shape[0] == batches
            && v_shape[0] == batches
            && q.width == k.width
            && k.heads == v.heads
            && k.length == v.length
            && k.heads > 0
            && q.heads.is_multiple_of(k.heads)
            && (1..=PACKED_MAX / COLUMNS).contains(&k.width);
        let y_shape = request.output()?;
        let y = Heads::of(&y_shape, Some(q.heads as i64))?;
        let wanted = if q_shape.len() == 4 {
            vec![batches, q.heads, q.length, v.width]
        } else {
            vec![batches, q.length, q.heads * v.width]
        };
        if !fits || y_shape != wanted {
            return None;
        }
        let mask = match request.operand(3) {
            None => None,
            Some(operand) => {
                let is_bool = operand.dtype == BOOL;
                if !is_bool && operand.dtype != f32::DTYPE {
                    return None;
                }
                let shape: Vec<usize> = operand.shape.iter().map(|&length| length as usize).collect();
                Some(Mask::of(&shape, is_bool, [batches, q.heads, q.length, k.length])?)
            }
        };
        let window = |key: &str| attributes.integer(key).and_then(|size| usize::try_from(size).ok());
        let right = if attributes.flag("is_causal") { Some(0) } else { window("right_window_size") };
        let scale = attributes.number("scale").unwrap_or_else(|| 1.0 / (q.width as f64).sqrt());
        // Tiles of nearly equal height, whole ones of the micro-kernel.
        let tiles = q.length.div_ceil(QUERIES_MAX).max(1);
        let queries = q.length.div_ceil(tiles).next_multiple_of(ROWS).max(ROWS);
        let keys =
            KEYS_MAX.min(PACKED_MAX / k.width / COLUMNS * COLUMNS).min(k.length.next_multiple_of(COLUMNS)).max(COLUMNS);
        Some(Self {
            batches,
            q,
            k,
            v,
            y,
            scale: scale as f32,
            mask,
            left: window("left_window_size"),
            right,
            queries,
            keys,
        })
    }

    /// Tiles of queries of one head.
    fn tiles(&self) -> usize {
        self.q.length.div_ceil(self.queries)
    }

    fn space(&self) -> Space {
        let packed = self.queries * self.keys;
        let values = packed + self.keys * self.k.width;
        let largest = values + if self.v.width.is_multiple_of(COLUMNS) { 0 } else { self.keys * COLUMNS };
        let sums = largest + self.queries;
        Space { packed, values, largest, sums, end: sums + self.queries }
    }

    /// The keys that a query sees as far as order and windows say.
    fn visible(&self, query: usize) -> Range<usize> {
        let end =
            self.right.map_or(self.k.length, |right| query.saturating_add(right).saturating_add(1).min(self.k.length));
        let start = self.left.map_or(0, |left| query.saturating_sub(left));
        start.min(end)..end
    }

    /// Nanoseconds of all of it on one core.
    fn cost(&self) -> f64 {
        let rows = (self.batches * self.q.heads * self.q.length) as f64;
        rows * self.k.length as f64 * ((self.k.width + self.v.width) as f64 / 30.0 + 0.8)
    }
}

/// Code of the element type of booleans.
const BOOL: u16 = 9;

/// A mask as bound.
#[derive(Clone, Copy)]
enum MaskInput {
    None,
    Floats(Input<f32>),
    Booleans(Input<u8>),
}

fn attention(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let plan = Plan::of(request)?;
    if !request.operation().epilogue.is_empty() {
        return None;
    }
    let units = plan.batches * plan.q.heads * plan.tiles();
    let mut requirements = needs(plan.cost(), units);
    let space = plan.space();
    if space.end > WORKSPACE_FLOATS {
        return None;
    }
    requirements.workspace = (space.end * 4) as u32;
    debug_assert_eq!(count(&request.output()?), plan.batches * plan.q.heads * plan.q.length * plan.v.width);
    Some(kernel(requirements, None, move |bindings| {
        let (q, k, v) = (bindings.input::<f32>(0)?, bindings.input::<f32>(1)?, bindings.input::<f32>(2)?);
        let mask = match plan.mask {
            None => MaskInput::None,
            Some(Mask { is_bool: true, .. }) => MaskInput::Booleans(bindings.input(3)?),
            Some(_) => MaskInput::Floats(bindings.input(3)?),
        };
        let output = bindings.output::<f32>(0)?;
        Ok(Box::new(move |call: &Call| {
            let at = tile::Addresses {
                q: call.read(&q).as_ptr(),
                k: call.read(&k).as_ptr(),
                v: call.read(&v).as_ptr(),
                mask: match &mask {
                    MaskInput::None => std::ptr::null(),
                    MaskInput::Floats(mask) => call.read(mask).as_ptr().cast(),
                    MaskInput::Booleans(mask) => call.read(mask).as_ptr(),
                },
                y: call.write(&output).as_mut_ptr(),
                workspace: call.workspace::<f32>().as_mut_ptr(),
            };
            for unit in call.share(units, 1) {
                let _proof: Avx2 = token;
                // SAFETY: the token proves AVX2 and FMA. `Plan::of` matched the shapes of all operands with the plan, and the bindings with the
                // shapes; the output lies on none of the inputs; each unit has rows of its own; the workspace has the size that was asked for.
                unsafe { plan.tile(&at, unit) };
            }
            Ok(())
        }))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_moves_along_the_axes_that_it_has() {
        let steps =
            |shape: &[usize]| Mask::of(shape, false, [2, 3, 5, 7]).map(|mask| (mask.batch, mask.head, mask.row));
        assert_eq!(steps(&[7]), Some((0, 0, 0)));
        assert_eq!(steps(&[5, 7]), Some((0, 0, 7)));
        assert_eq!(steps(&[2, 1, 1, 7]), Some((7, 0, 0)));
        assert_eq!(steps(&[2, 3, 5, 7]), Some((105, 35, 7)));
        assert_eq!(steps(&[3, 1, 7]), Some((0, 7, 0)));
        assert_eq!(steps(&[1]), None);
        assert_eq!(steps(&[4, 7]), None);
        assert_eq!(steps(&[]), None);
    }
}
