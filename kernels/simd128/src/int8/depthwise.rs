//! `QLinearConv` with one channel to a group. The rows that an output row reads are copied into the workspace as words of two numbers: a place of one
//! row, and the same place one tap further down. One dot product is then two taps of four neighbouring outputs; columns are sorted by their
//! remainder modulo the stride.

use super::Less;
use super::bytes::{self, BYTES, Scaling, Target};
use super::quantised::Quantised;
use crate::arguments::shards_for;
use crate::conv::geometry::Geometry;
use crate::vector::{LANES, v128};
use core::arch::wasm32::*;
use core::ops::Range;
use sunmao_plugin_sdk::abi::{PackedConstant, Requirements};
use sunmao_plugin_sdk::{Bindings, Call, Dispatch, Kernel, Reader, Result, Writer};

/// Words of a band of rows: it stays in the first-level cache.
const BAND_WORDS: usize = 6 * 1024;
/// What a band of a single output row may take.
const ROW_WORDS_MAX: usize = 96 * 1024;
/// Vectors of outputs at a time.
const ACROSS: usize = 4;

#[derive(Clone, Copy)]
struct Depthwise {
    quantised: Quantised,
    /// Words of one row and remainder that outputs read.
    width: usize,
    /// Words from one row and remainder to the next: there is room for what is written at once.
    phase: usize,
    /// Output rows of a band.
    rows: usize,
}

pub(crate) fn prepare(quantised: Quantised) -> Option<Box<dyn Kernel>> {
    let g = quantised.geometry;
    let extent = |axis: usize| (g.kernel[axis] - 1) * g.dilation[axis] + 1;
    let width = g.output[1].next_multiple_of(LANES) + (extent(1) - 1) / g.stride[1];
    let phase = (width + BYTES).next_multiple_of(LANES);
    let row = phase * g.stride[1];
    let rows_for = |words: usize| (words / row).checked_sub(extent(0)).map(|rest| rest / g.stride[0] + 1);
    let rows = rows_for(BAND_WORDS).or_else(|| rows_for(ROW_WORDS_MAX).map(|_| 1))?;
    Some(Box::new(Depthwise { quantised, width, phase, rows: rows.min(g.output[0]) }))
}

impl Depthwise {
    fn bands(&self) -> usize {
        self.quantised.geometry.output[0].div_ceil(self.rows)
    }

    fn input_rows(&self, rows: usize) -> usize {
        let g = self.quantised.geometry;
        (rows - 1) * g.stride[0] + (g.kernel[0] - 1) * g.dilation[0] + 1
    }

    fn words(&self) -> usize {
        self.input_rows(self.rows) * self.quantised.geometry.stride[1] * self.phase
    }

    /// Pairs of taps: two rows of a column of the window each, or one and nothing.
    fn pairs(&self) -> usize {
        let g = self.quantised.geometry;
        g.kernel[0].div_ceil(2) * g.kernel[1]
    }

    /// Words from the place of tap (0, 0) to that of a pair.
    fn pair(&self, pair: usize) -> usize {
        let g = self.quantised.geometry;
        let (y, x) = (pair / g.kernel[1] * 2, pair % g.kernel[1]);
        let ahead = x * g.dilation[1];
        (y * g.dilation[0] * g.stride[1] + ahead % g.stride[1]) * self.phase + ahead / g.stride[1]
    }

    /// Copies what the output rows read into the workspace.
    ///
    /// # Safety
    /// The plane is readable, and all behind it up to `end`; [`Depthwise::words`] words are writable at `workspace`, and `rows` is a band.
    unsafe fn load(&self, plane: *const u8, end: *const u8, rows: &Range<usize>, less: Less, workspace: *mut i32) {
        let g: Geometry = self.quantised.geometry;
        let (stride, pad, wide) = (g.stride[1], g.pad[1], g.input[1]);
        let source = |row: usize| {
            let row = (rows.start * g.stride[0] + row).checked_sub(g.pad[0]).filter(|row| *row < g.input[0])?;
            Some(plane.wrapping_add(row * wide))
        };
        // Pairs begin at every second tap: an even stride never meets an odd row as the upper one.
        let step = if g.stride[0].is_multiple_of(2) { 2 } else { 1 };
        for row in (0..self.input_rows(rows.len())).step_by(step) {
            let pair = [source(row), source(row + g.dilation[0])];
            for remainder in 0..stride {
                // Place j of this remainder is column `remainder + j * stride - pad` of the plane.
                let first = pad.saturating_sub(remainder).div_ceil(stride).min(self.phase - BYTES);
                let last = (wide + pad).saturating_sub(remainder).div_ceil(stride).clamp(first, self.phase - BYTES);
                let column = (remainder + first * stride).wrapping_sub(pad);
                // SAFETY: row and remainder have `phase` words, of which `first..last` come from inside the rows of the plane, and at least `BYTES` follow
                // them. What is written there is overwritten as far as it is read.
                unsafe {
                    let to = workspace.add((row * stride + remainder) * self.phase);
                    clear(to, first);
                    let from = pair.map(|row| row.map(|row| row.wrapping_add(column)));
                    widen(from, end, stride, less, to.add(first), last - first);
                    clear(to.add(last), self.width.saturating_sub(last));
                }
            }
        }
    }
}

/// What the outputs of one filter are computed with.
#[derive(Clone, Copy)]
struct Filter<'a> {
    /// Words from the place of tap (0, 0) to that of each pair.
    pairs: &'a [usize],
    /// A word for each pair.
    weights: *const i32,
    scaling: Scaling,
    target: Target,
}

/// Computes the outputs of `VECTORS` vectors, of which the first `count` are stored.
///
/// # Safety
/// The workspace holds every tap of these outputs from `from` on; there are weights for all pairs; `count` bytes are writable at `to`.
#[inline(never)]
unsafe fn block<const VECTORS: usize>(filter: &Filter<'_>, from: *const i32, to: *mut u8, count: usize) {
    let mut sums: [v128; VECTORS] = [i32x4_splat(0); VECTORS];
    // SAFETY: the caller's promise.
    unsafe {
        for (pair, &ahead) in filter.pairs.iter().enumerate() {
            let from = from.add(ahead);
            let weight = v128_load32_splat(filter.weights.add(pair).cast());
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = i32x4_add(i32x4_dot_i16x8(v128_load(from.add(i * LANES).cast()), weight), *sum);
            }
        }
        if let (Some(&sums), true) = (sums.first_chunk(), count >= BYTES) {
            v128_store(to.cast(), filter.target.words(sums, [filter.scaling; 4]));
            return;
        }
        for (i, sum) in sums.into_iter().enumerate() {
            let left = count.saturating_sub(i * LANES);
            if left > 0 {
                bytes::store(to.add(i * LANES), filter.target.bytes(sum, filter.scaling), left);
            }
        }
    }
}

/// Writes so many zeros. Rows are short, and a call of the memory's own operation costs as much as all else that is done with one.
///
/// # Safety
/// `count` words are writable at `to`.
#[inline(always)]
unsafe fn clear(to: *mut i32, count: usize) {
    let whole = count / LANES * LANES;
    // SAFETY: words below `count` alone.
    unsafe {
        for at in (0..whole).step_by(LANES) {
            v128_store(to.add(at).cast(), i32x4_splat(0));
        }
        for at in whole..count {
            to.add(at).write(0);
        }
    }
}

/// Writes `count` words of two rows, of which one may be padding: every `stride`-th byte. Up to [`BYTES`] words more may be written than were asked for.
///
/// # Safety
/// All is readable from each row up to `end`, with `count` places in it; `count + BYTES` words are writable at `to`.
#[inline(never)]
unsafe fn widen(rows: [Option<*const u8>; 2], end: *const u8, stride: usize, less: Less, to: *mut i32, count: usize) {
    let zero = i16x8_splat(i16::from(less.zero));
    for at in (0..count).step_by(BYTES) {
        let line = |row: Option<*const u8>| -> v128 {
            match row {
                None => u8x16_splat(less.zero),
                // SAFETY: byte `at * stride` lies before the end, and no more is read than is left.
                Some(row) => unsafe {
                    let row = row.add(at * stride);
                    v128_xor(every(row, end.addr() - row.addr(), stride), u8x16_splat(less.flip))
                },
            }
        };
        let (upper, lower) = (line(rows[0]), line(rows[1]));
        let low = i8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(upper, lower);
        let high = i8x16_shuffle::<8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31>(upper, lower);
        // SAFETY: sixteen words from `at < count` on, which the caller made room for.
        unsafe {
            let to = to.add(at);
            v128_store(to.cast(), i16x8_sub(u16x8_extend_low_u8x16(low), zero));
            v128_store(to.add(LANES).cast(), i16x8_sub(u16x8_extend_high_u8x16(low), zero));
            v128_store(to.add(2 * LANES).cast(), i16x8_sub(u16x8_extend_low_u8x16(high), zero));
            v128_store(to.add(3 * LANES).cast(), i16x8_sub(u16x8_extend_high_u8x16(high), zero));
        }
    }
}

/// Sixteen bytes, every `stride`-th one; those beyond the `room` bytes that there are hold nothing of use.
///
/// # Safety
/// `room` bytes, at least one, are readable at `from`.
#[inline(always)]
unsafe fn every(from: *const u8, room: usize, stride: usize) -> v128 {
    // SAFETY: `load` reads no more than what is left; single bytes are read below `room`.
    unsafe {
        match stride {
            1 => bytes::load(from, room),
            2 => {
                let even = u16x8_splat(0xFF);
                let first = v128_and(bytes::load(from, room), even);
                let second = match room > BYTES {
                    true => v128_and(bytes::load(from.add(BYTES), room - BYTES), even),
                    false => u8x16_splat(0),
                };
                u8x16_narrow_i16x8(first, second)
            }
            _ => {
                let mut all = [0u8; BYTES];
                for (i, byte) in all.iter_mut().enumerate().take_while(|(i, _)| i * stride < room) {
                    *byte = from.add(i * stride).read();
                }
                bytes::load(all.as_ptr(), BYTES)
            }
        }
    }
}

impl Kernel for Depthwise {
    fn requirements(&self) -> Requirements {
        let g = self.quantised.geometry;
        let work = (g.batch * g.filters * g.output_plane()) as f64 * (g.taps() as f64 / 8.0 + 2.0);
        let weight = self.quantised.weight;
        Requirements {
            workspace: (self.quantised.factor_bytes() + 4 * self.words()) as u32,
            shards: shards_for(work as u64),
            packed: vec![PackedConstant {
                input: 3,
                bytes: (4 * g.filters * self.pairs()) as u32,
                align: 64,
                key: format!(
                    "int8-pairs {} {}x{} {} {}",
                    g.filters, g.kernel[0], g.kernel[1], weight.flip, weight.zero
                ),
            }],
            estimated_ns: work as u64,
            ..Requirements::simple()
        }
    }

    fn pack(&self, _: u32, source: Reader<'_, u8>, packed: Writer<'_, u8>) -> Result<()> {
        let g = self.quantised.geometry;
        let taps = g.taps();
        for filter in 0..g.filters {
            for tap in 0..taps {
                let (y, x) = (tap / g.kernel[1], tap % g.kernel[1]);
                let word = filter * self.pairs() + y / 2 * g.kernel[1] + x;
                let [low, high] = self.quantised.weight.number(source.get(filter * taps + tap)).to_le_bytes();
                packed.set(4 * word + y % 2 * 2, low);
                packed.set(4 * word + y % 2 * 2 + 1, high);
            }
        }
        Ok(())
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        let this = *self;
        let bound = self.quantised.bind(bindings)?;
        let weights = bindings.packed::<i32>(3)?;
        let pairs: Vec<usize> = (0..this.pairs()).map(|pair| this.pair(pair)).collect();
        Ok(Box::new(move |call: &Call| {
            let g = this.quantised.geometry;
            let workspace = call.workspace::<u8>().as_mut_ptr();
            // SAFETY: `bind` checked every view against shapes that `prepare` checked against each other; the workspace holds the factors and a band.
            unsafe {
                let opened = bound.open(call, workspace.cast());
                let band = workspace.add(this.quantised.factor_bytes()).cast::<i32>();
                let weights = call.read(&weights).as_ptr();
                let end = opened.planes.add(g.batch * g.groups * g.input_plane());
                for unit in call.share(g.batch * g.filters * this.bands(), 1) {
                    let (plane, number) = (unit / this.bands(), unit % this.bands());
                    let filter = plane % g.filters;
                    let source = plane / g.filters * g.groups + filter / g.group_filters();
                    let rows = number * this.rows..g.output[0].min((number + 1) * this.rows);
                    this.load(opened.planes.add(source * g.input_plane()), end, &rows, opened.x, band);
                    let (scaling, weights) = (opened.filter(filter), weights.add(filter * pairs.len()));
                    let filter = Filter { pairs: &pairs, weights, scaling, target: opened.target };
                    for row in rows.clone() {
                        let from = band.add((row - rows.start) * g.stride[0] * g.stride[1] * this.phase);
                        let to = opened.results.add(plane * g.output_plane() + row * g.output[1]);
                        for column in (0..g.output[1]).step_by(ACROSS * LANES) {
                            let (from, to, left) = (from.add(column), to.add(column), g.output[1] - column);
                            match left.div_ceil(LANES) {
                                1 => block::<1>(&filter, from, to, left),
                                2 => block::<2>(&filter, from, to, left),
                                3 => block::<3>(&filter, from, to, left),
                                _ => block::<ACROSS>(&filter, from, to, left),
                            }
                        }
                    }
                }
            }
            Ok(())
        }))
    }
}
