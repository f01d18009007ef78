//! One tile of queries of one head, from its scores to its results.

use super::Plan;
use crate::math::exp;
use crate::panels::{Matrix, pack_columns, pack_rows};
use crate::tile::{COLUMNS, Columns, Ends, ROWS, edge_tile, tile};
use crate::vector::{LANES, add, fill, fma, load, load_part, map, mul, splat, store, store_part, sub, sum_lanes};
use core::arch::wasm32::{f32x4_extract_lane, f32x4_max, i32x4_shuffle};
use core::ops::Range;

/// Where the tensors of a dispatch are. At most one of the masks is there; the other is null.
pub(super) struct Addresses {
    pub(super) q: *const f32,
    pub(super) k: *const f32,
    pub(super) v: *const f32,
    pub(super) biases: *const f32,
    pub(super) flags: *const u8,
    pub(super) y: *mut f32,
    pub(super) workspace: *mut f32,
}

impl Plan {
    /// Computes tile `unit`: of batch after batch, in each of head after head.
    ///
    /// # Safety
    /// The tensors are as the plan says, the output overlaps none of the inputs, the workspace has the size that the plan asks for.
    #[inline(never)]
    pub(super) unsafe fn tile(&self, at: &Addresses, unit: usize) {
        let (q, k, v, y) = (&self.q, &self.k, &self.v, &self.y);
        let (unit, number) = (unit / self.tiles(), unit % self.tiles());
        let (batch, head) = (unit / q.heads, unit % q.heads);
        let shared = head / (q.heads / k.heads);
        let first = number * self.queries;
        let rows = self.queries.min(q.length - first);
        let space = self.space();
        // What a query sees begins and ends no earlier than what the one before it does.
        let seen = self.visible(first).start..self.visible(first + rows - 1).end;
        // SAFETY: rows `first..first + rows` are the head's, keys below `seen.end` too; parts of the workspace are disjoint and as long as `space` made
        // them: a tile has at most `queries` rows and `keys` keys.
        unsafe {
            let queries = Matrix { start: at.q.add(q.at(batch, head, first)), row_stride: q.row, column_stride: 1 };
            let results = at.y.add(y.at(batch, head, first));
            let (largest, sums) = (at.workspace.add(space.largest), at.workspace.add(space.sums));
            fill(largest, rows, f32::NEG_INFINITY);
            fill(sums, rows, 0.0);
            for panel in (0..rows).step_by(ROWS) {
                pack_rows(queries, panel, ROWS.min(rows - panel), 0, q.width, at.workspace.add(panel * q.width));
            }
            for key in seen.clone().step_by(self.keys) {
                let keys = key..seen.end.min(key + self.keys);
                self.pack(at, at.k.add(k.at(batch, shared, key)), at.v.add(v.at(batch, shared, key)), keys.len());
                for panel in (0..rows).step_by(ROWS) {
                    let panel = panel..rows.min(panel + ROWS);
                    self.scores(at, panel.clone(), keys.len());
                    for row in panel.clone() {
                        let scores = at.workspace.add(space.scores + (row - panel.start) * self.keys);
                        self.mask(at, [batch, head, first + row], keys.clone(), scores);
                        let factor = exponentials(scores, keys.len(), largest.add(row), sums.add(row));
                        if key != seen.start && factor != 1.0 {
                            let result = results.add(row * y.row);
                            let factor = splat(factor);
                            map(result, result, v.width, |x| mul(x, factor));
                        }
                    }
                    self.weigh(at, panel, keys.len(), results, key == seen.start);
                }
            }
            for row in 0..rows {
                let result = results.add(row * y.row);
                let sum = sums.add(row).read();
                // Nothing was seen: the weights are zeros, and so is their sum.
                if seen.is_empty() || sum == 0.0 {
                    fill(result, v.width, 0.0);
                } else {
                    let inverse = splat(1.0 / sum);
                    map(result, result, v.width, |x| mul(x, inverse));
                }
            }
        }
    }

    /// Packs `count` keys and values as column panels.
    ///
    /// # Safety
    /// As for [`Plan::tile`]; the keys and values are there.
    unsafe fn pack(&self, at: &Addresses, keys: *const f32, values: *const f32, count: usize) {
        let space = self.space();
        let turned = Matrix { start: keys, row_stride: 1, column_stride: self.k.row };
        let values = Matrix { start: values, row_stride: self.v.row, column_stride: 1 };
        // SAFETY: the panels hold what `space` made room for: `keys` columns of keys, and `keys` steps for each column of values.
        unsafe {
            for column in (0..count).step_by(COLUMNS) {
                let to = at.workspace.add(space.keys + column * self.k.width);
                pack_columns(turned, column, COLUMNS.min(count - column), 0, self.k.width, to);
            }
            for column in (0..self.v.width).step_by(COLUMNS) {
                let to = at.workspace.add(space.values + column * count);
                pack_columns(values, column, COLUMNS.min(self.v.width - column), 0, count, to);
            }
        }
    }

    /// Products of a panel of queries with `count` keys.
    ///
    /// # Safety
    /// As for [`Plan::tile`], once queries and keys are packed.
    unsafe fn scores(&self, at: &Addresses, panel: Range<usize>, count: usize) {
        let space = self.space();
        let ends = Ends::plain();
        // SAFETY: the scores have `keys` places for each row of a panel, and `keys` is a multiple of four: a tile beyond `count` stays in its row.
        unsafe {
            let queries = at.workspace.add(panel.start * self.k.width);
            for column in (0..count).step_by(COLUMNS) {
                let keys = Columns::Panel(at.workspace.add(space.keys + column * self.k.width));
                tile(self.k.width, queries, keys, at.workspace.add(space.scores + column), self.keys, &ends);
            }
        }
    }

    /// Adds the products of a panel of weights, which stand where the scores were, with the values to the results, or begins with them.
    ///
    /// # Safety
    /// As for [`Plan::tile`], once the values are packed.
    unsafe fn weigh(&self, at: &Addresses, panel: Range<usize>, count: usize, results: *mut f32, is_first: bool) {
        let space = self.space();
        let rows = panel.len();
        // SAFETY: the weights have eight floats for each key; tiles end with the rows and columns that are there.
        unsafe {
            let scores = Matrix { start: at.workspace.add(space.scores), row_stride: self.keys, column_stride: 1 };
            let weights = at.workspace.add(space.weights);
            pack_rows(scores, 0, rows, 0, count, weights);
            for column in (0..self.v.width).step_by(COLUMNS) {
                let values = Columns::Panel(at.workspace.add(space.values + column * count));
                let to = results.add(panel.start * self.y.row + column);
                let mut ends = Ends::plain();
                if !is_first {
                    (ends.start, ends.start_stride) = (to, self.y.row);
                }
                let columns = COLUMNS.min(self.v.width - column);
                if rows == ROWS && columns == COLUMNS {
                    tile(count, weights, values, to, self.y.row, &ends);
                } else {
                    edge_tile(count, weights, values, to, self.y.row, &ends, (rows, columns));
                }
            }
        }
    }

    /// Scales products and adds their mask; minus infinity where a key is not seen. `place` is batch, head and query.
    ///
    /// # Safety
    /// As for [`Plan::tile`]; `scores` has a float for each key.
    unsafe fn mask(&self, at: &Addresses, place: [usize; 3], keys: Range<usize>, scores: *mut f32) {
        let (count, scale) = (keys.len(), splat(self.scale));
        let visible = self.visible(place[2]);
        // SAFETY: the mask has an element for each key at each place of its shape, as `Mask::of` made its steps.
        unsafe {
            let start = self
                .mask
                .map_or(0, |mask| (0..3).map(|axis| place[axis] * mask.steps[axis]).sum::<usize>() + keys.start);
            if at.biases.is_null() {
                map(scores, scores, count, |x| mul(x, scale));
            } else {
                let biases = at.biases.add(start);
                let whole = count - count % LANES;
                for i in (0..whole).step_by(LANES) {
                    store(scores.add(i), fma(load(scores.add(i)), scale, load(biases.add(i))));
                }
                if whole < count {
                    let rest = count - whole;
                    let bias = load_part(biases.add(whole), rest);
                    store_part(scores.add(whole), fma(load_part(scores.add(whole), rest), scale, bias), rest);
                }
            }
            if !at.flags.is_null() {
                for i in 0..count {
                    if at.flags.add(start + i).read() == 0 {
                        scores.add(i).write(f32::NEG_INFINITY);
                    }
                }
            }
            for key in (keys.start..visible.start.min(keys.end)).chain(visible.end.max(keys.start)..keys.end) {
                scores.add(key - keys.start).write(f32::NEG_INFINITY);
            }
        }
    }
}

/// Turns `count` scores into their exponentials against the largest one so far, and keeps that and the sum up to date. Answers what earlier
/// exponentials must be multiplied with.
///
/// # Safety
/// `scores` holds `count` floats, `largest` and `sum` one each.
#[inline(never)]
unsafe fn exponentials(scores: *mut f32, count: usize, largest: *mut f32, sum: *mut f32) -> f32 {
    let whole = count - count % LANES;
    // SAFETY: the caller's promise; a part of a vector is read and written as such.
    unsafe {
        let before = largest.read();
        let mut peak = splat(before);
        for i in (0..whole).step_by(LANES) {
            peak = f32x4_max(peak, load(scores.add(i)));
        }
        let pairs = f32x4_max(peak, i32x4_shuffle::<2, 3, 0, 1>(peak, peak));
        let mut now = f32x4_extract_lane::<0>(pairs).max(f32x4_extract_lane::<1>(pairs));
        for i in whole..count {
            now = now.max(scores.add(i).read());
        }
        // Where nothing was seen yet, all differences stay minus infinity.
        let base = if now == f32::NEG_INFINITY { 0.0 } else { now };
        let factor = if before == base { 1.0 } else { f32x4_extract_lane::<0>(exp(splat(before - base))) };
        let base = splat(base);
        let mut sums = splat(0.0);
        for i in (0..whole).step_by(LANES) {
            let power = exp(sub(load(scores.add(i)), base));
            store(scores.add(i), power);
            sums = add(sums, power);
        }
        let mut total = sum_lanes(sums);
        if whole < count {
            store_part(scores.add(whole), exp(sub(load_part(scores.add(whole), count - whole), base)), count - whole);
            for i in whole..count {
                total += scores.add(i).read();
            }
        }
        largest.write(now);
        sum.write(sum.read() * factor + total);
        factor
    }
}
