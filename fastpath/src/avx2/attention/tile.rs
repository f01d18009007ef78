//! One tile of queries of one head, from its scores to its results.

use super::Plan;
use crate::avx2::lanes::{self, LANES, vectors};
use crate::avx2::map::each;
use crate::avx2::math::exp;
use crate::avx2::micro::{self, COLUMNS, Left, ROWS, Right, Tile};
use crate::avx2::pack;
use crate::product::Matrix;
use std::arch::x86_64::*;
use std::cell::Cell;
use std::ops::Range;

/// Where the tensors of a dispatch are; no mask: null.
pub(super) struct Addresses {
    pub(super) q: *const f32,
    pub(super) k: *const f32,
    pub(super) v: *const f32,
    /// Floats or bytes, as the plan says.
    pub(super) mask: *const u8,
    pub(super) y: *mut f32,
    pub(super) workspace: *mut f32,
}

/// With fewer queries than this, keys are read where they are: turning them would cost more than it saves.
const QUERIES_WORTH_PACKING: usize = 3;

impl Plan {
    /// Computes tile `unit`: of batch after batch, in each of head after head.
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA. The tensors are as the plan says, the output overlaps none of the inputs, the workspace has the size that the plan
    /// asks for, and nobody else writes the rows of the tile or uses the workspace.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn tile(&self, at: &Addresses, unit: usize) {
        let (q, k, v, y) = (&self.q, &self.k, &self.v, &self.y);
        let (unit, tile) = (unit / self.tiles(), unit % self.tiles());
        let (batch, head) = (unit / q.heads, unit % q.heads);
        let shared = head / (q.heads / k.heads);
        let first = tile * self.queries;
        let rows = self.queries.min(q.length - first);
        let space = self.space();
        let scores = at.workspace;
        let (largest, sums) = (at.workspace.wrapping_add(space.largest), at.workspace.wrapping_add(space.sums));
        let results = at.y.wrapping_add(y.at(batch, head, first));
        // What a query sees begins and ends no earlier than what the one before it does.
        let seen = self.visible(first).start..self.visible(first + rows - 1).end;
        // SAFETY: rows `first..first + rows` are the head's, keys below `seen.end` too; the parts of the workspace are disjoint and as long as `space`
        // made them: a tile has at most `queries` rows and `keys` keys.
        unsafe {
            for r in 0..rows {
                largest.add(r).write(f32::NEG_INFINITY);
                sums.add(r).write(0.0);
                if seen.is_empty() {
                    each(results.add(r * y.row), results.add(r * y.row), v.width, |_| _mm256_setzero_ps());
                }
            }
            let queries = at.q.add(q.at(batch, head, first));
            for key in seen.clone().step_by(self.keys) {
                let keys = key..seen.end.min(key + self.keys);
                let from = Matrix { start: at.k.add(k.at(batch, shared, key)), row_step: k.row, column_step: 1 };
                self.products(at, queries, rows, from, keys.len());
                let is_first = key == seen.start;
                for r in 0..rows {
                    let row = scores.add(r * self.keys);
                    let bounds = self.visible(first + r);
                    let shown =
                        bounds.start.clamp(keys.start, keys.end) - key..bounds.end.clamp(keys.start, keys.end) - key;
                    self.mask_row(at.mask, (batch, head, first + r, key), row, keys.len(), shown);
                    let before = Total { largest: largest.add(r).read(), sum: sums.add(r).read() };
                    let (factor, after) = exponentials(row, keys.len(), before);
                    largest.add(r).write(after.largest);
                    sums.add(r).write(after.sum);
                    if !is_first && factor != 1.0 {
                        let result = results.add(r * y.row);
                        each(result, result, v.width, |x| _mm256_mul_ps(x, _mm256_set1_ps(factor)));
                    }
                }
                let values = Matrix { start: at.v.add(v.at(batch, shared, key)), row_step: v.row, column_step: 1 };
                self.weigh(at, rows, values, keys.len(), results, is_first);
            }
            for r in 0..rows {
                let sum = sums.add(r).read();
                // Nothing was seen: the weights are zeros, and so is their sum.
                let inverse = if sum == 0.0 { 0.0 } else { 1.0 / sum };
                let result = results.add(r * y.row);
                each(result, result, v.width, |x| _mm256_mul_ps(x, _mm256_set1_ps(inverse)));
            }
        }
    }

    /// Products of `rows` queries with `count` keys to the front of the workspace, in rows of `self.keys`.
    ///
    /// # Safety
    /// As for [`Plan::tile`].
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn products(&self, at: &Addresses, queries: *const f32, rows: usize, keys: Matrix, count: usize) {
        let width = self.k.width;
        let (scores, packed) = (at.workspace, at.workspace.wrapping_add(self.space().packed));
        // SAFETY: rows of queries and keys have `width` floats; the workspace has `self.keys` places for each row, `count` is at most that, and
        // room for a tile of keys behind.
        unsafe {
            if rows < QUERIES_WORTH_PACKING {
                for r in 0..rows {
                    let query = queries.add(r * self.q.row);
                    for key in 0..count {
                        scores.add(r * self.keys + key).write(dot(query, keys.at(key, 0).start, width));
                    }
                }
                return;
            }
            pack_turned(keys, count, width, packed);
            for panel in (0..count).step_by(COLUMNS) {
                let right = Right { start: packed.add(panel * width), step: COLUMNS };
                for r in (0..rows).step_by(ROWS) {
                    let left = Left { start: queries.add(r * self.q.row), row: self.q.row, step: 1 };
                    let into = Tile {
                        start: scores.add(r * self.keys + panel),
                        stride: self.keys,
                        rows: ROWS.min(rows - r),
                        columns: COLUMNS.min(count - panel),
                        accumulate: false,
                    };
                    micro::multiply(width, left, right, into, None);
                }
            }
        }
    }

    /// Adds the products of the weights, which stand where the scores were, with `count` values to the results, or begins with them.
    ///
    /// # Safety
    /// As for [`Plan::tile`].
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn weigh(
        &self,
        at: &Addresses,
        rows: usize,
        values: Matrix,
        count: usize,
        results: *mut f32,
        is_first: bool,
    ) {
        let width = self.v.width;
        let (weights, packed) = (at.workspace, at.workspace.wrapping_add(self.space().values));
        for panel in (0..width).step_by(COLUMNS) {
            let columns = COLUMNS.min(width - panel);
            // SAFETY: `count` rows of values have `width` floats, those of the results too; columns are below `width`, and a panel that would
            // reach beyond it is packed, for which the workspace has room.
            unsafe {
                let right = if columns == COLUMNS {
                    Right { start: values.at(0, panel).start, step: values.row_step }
                } else {
                    pack::right(values.at(0, panel), count, columns, packed);
                    Right { start: packed, step: COLUMNS }
                };
                for r in (0..rows).step_by(ROWS) {
                    let left = Left { start: weights.add(r * self.keys), row: self.keys, step: 1 };
                    let into = Tile {
                        start: results.add(r * self.y.row + panel),
                        stride: self.y.row,
                        rows: ROWS.min(rows - r),
                        columns,
                        accumulate: !is_first,
                    };
                    micro::multiply(count, left, right, into, None);
                }
            }
        }
    }

    /// Scales `count` products and adds their mask; minus infinity outside of `shown`. `place` is batch, head, query and the first key.
    ///
    /// # Safety
    /// As for [`Plan::tile`]; `row` has `count` floats.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn mask_row(
        &self,
        mask: *const u8,
        place: (usize, usize, usize, usize),
        row: *mut f32,
        count: usize,
        shown: Range<usize>,
    ) {
        let scale = _mm256_set1_ps(self.scale);
        // SAFETY: the mask has an element for each key at each place of its shape, as `Mask::of` made its steps; `vectors` names positions whose
        // eight (or masked) elements lie below `count`.
        unsafe {
            match self.mask {
                None => each(row, row, count, |x| _mm256_mul_ps(x, scale)),
                Some(form) => {
                    let (batch, head, query, key) = place;
                    let start = batch * form.batch + head * form.head + query * form.row + key;
                    if form.is_bool {
                        let mask = mask.add(start);
                        let hidden = _mm256_set1_ps(f32::NEG_INFINITY);
                        let apply = |x: __m256, bytes: u64| {
                            let flags = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(bytes as i64));
                            let is_hidden = _mm256_castsi256_ps(_mm256_cmpeq_epi32(flags, _mm256_setzero_si256()));
                            _mm256_blendv_ps(_mm256_mul_ps(x, scale), hidden, is_hidden)
                        };
                        vectors(
                            count,
                            |at| {
                                let bytes = mask.add(at).cast::<u64>().read_unaligned();
                                _mm256_storeu_ps(row.add(at), apply(_mm256_loadu_ps(row.add(at)), bytes));
                            },
                            |at, lanes, rest| {
                                let bytes =
                                    (0..rest).fold(0, |bytes, i| bytes | u64::from(mask.add(at + i).read()) << (8 * i));
                                let x = _mm256_maskload_ps(row.add(at), lanes);
                                lanes::store_first(row.add(at), apply(x, bytes), rest);
                            },
                        );
                    } else {
                        let mask = mask.cast::<f32>().add(start);
                        crate::avx2::map::each_pair(row, mask, row, count, |x, bias| _mm256_fmadd_ps(x, scale, bias));
                    }
                }
            }
            for at in (0..shown.start).chain(shown.end..count) {
                row.add(at).write(f32::NEG_INFINITY);
            }
        }
    }
}

/// What is known of a row of scores: the largest, and the sum of the exponentials against it.
#[derive(Clone, Copy)]
struct Total {
    largest: f32,
    sum: f32,
}

/// Turns `count` scores into their exponentials against the largest one so far. Answers what earlier exponentials must be multiplied with,
/// and what is known then.
///
/// # Safety
/// The CPU has AVX2 and FMA; `row` has `count` floats, and nobody else uses them.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn exponentials(row: *mut f32, count: usize, before: Total) -> (f32, Total) {
    let least = _mm256_set1_ps(f32::NEG_INFINITY);
    let peak = Cell::new(_mm256_set1_ps(before.largest));
    // SAFETY: `vectors` names positions whose eight (or masked) elements lie below `count`.
    vectors(
        count,
        |at| peak.set(_mm256_max_ps(peak.get(), unsafe { _mm256_loadu_ps(row.add(at)) })),
        |at, mask, _| {
            // SAFETY: as above, under the mask.
            let x = unsafe { _mm256_maskload_ps(row.add(at), mask) };
            peak.set(_mm256_max_ps(peak.get(), _mm256_blendv_ps(least, x, _mm256_castsi256_ps(mask))));
        },
    );
    let now = lanes::largest(peak.get());
    // Where nothing was seen yet, all differences stay minus infinity.
    let base = if now == f32::NEG_INFINITY { 0.0 } else { now };
    let factor = match before.largest {
        same if same == base => 1.0,
        smaller => _mm256_cvtss_f32(exp(_mm256_set1_ps(smaller - base))),
    };
    let base = _mm256_set1_ps(base);
    let total = Cell::new(_mm256_setzero_ps());
    // SAFETY: as above; each element is read before its place is written.
    vectors(
        count,
        |at| unsafe {
            let power = exp(_mm256_sub_ps(_mm256_loadu_ps(row.add(at)), base));
            _mm256_storeu_ps(row.add(at), power);
            total.set(_mm256_add_ps(total.get(), power));
        },
        |at, mask, rest| unsafe {
            let power = exp(_mm256_sub_ps(_mm256_maskload_ps(row.add(at), mask), base));
            lanes::store_first(row.add(at), power, rest);
            total.set(_mm256_add_ps(total.get(), _mm256_and_ps(power, _mm256_castsi256_ps(mask))));
        },
    );
    (factor, Total { largest: now, sum: before.sum * factor + lanes::sum(total.get()) })
}

/// # Safety
/// The CPU has AVX2 and FMA; `count` floats are readable at both.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn dot(left: *const f32, right: *const f32, count: usize) -> f32 {
    let sum = Cell::new(_mm256_setzero_ps());
    // SAFETY: `vectors` names positions whose eight (or masked) elements lie below `count`.
    vectors(
        count,
        |at| unsafe {
            sum.set(_mm256_fmadd_ps(_mm256_loadu_ps(left.add(at)), _mm256_loadu_ps(right.add(at)), sum.get()));
        },
        |at, mask, _| unsafe {
            let (a, b) = (_mm256_maskload_ps(left.add(at), mask), _mm256_maskload_ps(right.add(at), mask));
            sum.set(_mm256_fmadd_ps(a, b, sum.get()));
        },
    );
    lanes::sum(sum.get())
}

/// Packs `count` rows of `width` floats as the columns of a right side, as [`pack::right`] does, eight by eight.
///
/// # Safety
/// The CPU has AVX2 and FMA; the rows are readable; `count` rounded up to whole panels, times `width`, floats are writable at `to`.
#[target_feature(enable = "avx2,fma")]
unsafe fn pack_turned(from: Matrix, count: usize, width: usize, to: *mut f32) {
    for panel in (0..count).step_by(COLUMNS) {
        let to = to.wrapping_add(panel * width);
        for half in (0..COLUMNS).step_by(LANES) {
            let row = panel + half;
            let valid = LANES.min(count.saturating_sub(row));
            let mut k = 0;
            // SAFETY: rows below `count` and columns below `width` are readable; the panel takes `COLUMNS` floats for each column behind `to`.
            unsafe {
                while valid == LANES && k + LANES <= width {
                    let mut square = [_mm256_setzero_ps(); LANES];
                    for i in 0..LANES {
                        square[i] = _mm256_loadu_ps(from.at(row + i, k).start);
                    }
                    let square = lanes::transposed(square);
                    for i in 0..LANES {
                        _mm256_storeu_ps(to.add((k + i) * COLUMNS + half), square[i]);
                    }
                    k += LANES;
                }
                for k in k..width {
                    for i in 0..LANES {
                        let value = if i < valid { from.at(row + i, k).start.read() } else { 0.0 };
                        to.add(k * COLUMNS + half + i).write(value);
                    }
                }
            }
        }
    }
}
