//! Operators over rows: Softmax along the last axis, LayerNormalization, BatchNormalization, and reductions over neighbouring axes.

use crate::arguments::{Op, count, shards_for};
use crate::math;
use crate::vector::{LANES, add, div, fma, load, load_part, mul, splat, store, store_part, sub, sum_lanes, v128};
use core::arch::wasm32::{f32x4_extract_lane, f32x4_max, f32x4_min, i32x4_shuffle};
use sunmao_plugin_sdk::abi::{Alias, Requirements};
use sunmao_plugin_sdk::{Bindings, Call, Dispatch, Kernel, Result};

/// The fast kernel for such an operation, if there is one.
pub(crate) fn prepare(op: Op<'_>) -> Option<Box<dyn Kernel>> {
    if !op.0.epilogue.is_empty() {
        return None;
    }
    match op.name() {
        "Softmax" => Some(Box::new(Softmax::new(op)?)),
        "LayerNormalization" => Some(Box::new(LayerNorm::new(op)?)),
        "BatchNormalization" => Some(Box::new(BatchNorm::new(op)?)),
        _ => Some(Box::new(Reduce::new(op)?)),
    }
}

/// Sum (or another fold) of a run, four chains of vectors wide.
///
/// # Safety
/// `from` holds `len` readable floats.
#[inline(never)]
unsafe fn fold(
    from: *const f32,
    len: usize,
    start: f32,
    f: impl Fn(v128, v128) -> v128,
    lane: impl Fn(f32, f32) -> f32,
) -> f32 {
    let mut acc = [splat(start); 4];
    let mut i = 0;
    // SAFETY: `i` stays below `len`.
    unsafe {
        while i + 16 <= len {
            for (j, acc) in acc.iter_mut().enumerate() {
                *acc = f(*acc, load(from.add(i + j * LANES)));
            }
            i += 16;
        }
        let mut all = f(f(acc[0], acc[1]), f(acc[2], acc[3]));
        while i + LANES <= len {
            all = f(all, load(from.add(i)));
            i += LANES;
        }
        let pairs = f(all, i32x4_shuffle::<2, 3, 0, 1>(all, all));
        let mut result = lane(f32x4_extract_lane::<0>(pairs), f32x4_extract_lane::<1>(pairs));
        for i in i..len {
            result = lane(result, from.add(i).read());
        }
        result
    }
}

/// The larger one; NaN wins.
fn larger(a: f32, b: f32) -> f32 {
    if a.is_nan() || a > b { a } else { b }
}

/// The smaller one; NaN wins.
fn smaller(a: f32, b: f32) -> f32 {
    if a.is_nan() || a < b { a } else { b }
}

/// Softmax along an axis with nothing behind it.
struct Softmax {
    rows: usize,
    len: usize,
}

impl Softmax {
    fn new(op: Op<'_>) -> Option<Self> {
        let shape = op.f32_shape(0)?;
        let axis = op.axis(op.integer("axis", -1), shape.len())?;
        if op.0.revision < 13 || count(&shape[axis + 1..]) != 1 || op.f32_output()? != shape || count(&shape) == 0 {
            return None;
        }
        Some(Self { rows: count(&shape[..axis]), len: shape[axis] })
    }
}

impl Kernel for Softmax {
    fn requirements(&self) -> Requirements {
        let nanoseconds = (self.rows * (3 * self.len + 40)) as u64;
        Requirements {
            shards: shards_for(nanoseconds),
            in_place: vec![Alias { output: 0, input: 0 }],
            estimated_ns: nanoseconds,
            ..Requirements::simple()
        }
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        let (rows, len) = (self.rows, self.len);
        let (x, y) = (bindings.input::<f32>(0)?, bindings.output::<f32>(0)?);
        Ok(Box::new(move |call: &Call| {
            let (from, to) = (call.read(&x).as_ptr(), call.write(&y).as_mut_ptr());
            for row in call.share(rows, 1) {
                // SAFETY: both tensors hold `rows` rows of `len` floats.
                unsafe { softmax(from.add(row * len), to.add(row * len), len) };
            }
            Ok(())
        }))
    }
}

/// Floats that [`softmax`] sums in one chain for each lane.
const SUM_BLOCK: usize = 64 * LANES;

/// # Safety
/// Both hold `len` floats; they are one place or apart.
#[inline(never)]
unsafe fn softmax(from: *const f32, to: *mut f32, len: usize) {
    // SAFETY: the caller's promise; a part of a vector is read and written as such.
    unsafe {
        let top = splat(fold(from, len, f32::NEG_INFINITY, |a, b| f32x4_max(a, b), larger));
        let whole = len - len % LANES;
        // Sums of blocks, and their sum: one chain of additions over a long row would lose digits that every result shares.
        let mut blocks = splat(0.0);
        let mut i = 0;
        while i < whole {
            let end = whole.min(i + SUM_BLOCK);
            let mut sums = splat(0.0);
            while i < end {
                let e = math::exp(sub(load(from.add(i)), top));
                sums = add(sums, e);
                store(to.add(i), e);
                i += LANES;
            }
            blocks = add(blocks, sums);
        }
        let mut sum = sum_lanes(blocks);
        if whole < len {
            store_part(to.add(whole), math::exp(sub(load_part(from.add(whole), len - whole), top)), len - whole);
            for i in whole..len {
                sum += to.add(i).read();
            }
        }
        let factor = splat(1.0 / sum);
        crate::vector::map(to, to, len, |e| mul(e, factor));
    }
}

/// LayerNormalization with one output.
struct LayerNorm {
    rows: usize,
    len: usize,
    epsilon: f32,
    has_bias: bool,
}

impl LayerNorm {
    fn new(op: Op<'_>) -> Option<Self> {
        let (shape, scale) = (op.f32_shape(0)?, op.f32_shape(1)?);
        let axis = op.axis(op.integer("axis", -1), shape.len())?;
        let len = count(&shape[axis..]);
        let has_bias = op.own(2).is_some();
        let plain = op.f32_output()? == shape && count(&scale) == len && (!has_bias || count(&op.f32_shape(2)?) == len);
        if !plain || len == 0 || op.integer("stash_type", 1) != 1 {
            return None;
        }
        Some(Self { rows: count(&shape[..axis]), len, epsilon: op.number("epsilon", 1e-5), has_bias })
    }
}

impl Kernel for LayerNorm {
    fn requirements(&self) -> Requirements {
        let nanoseconds = (self.rows * (self.len + 40)) as u64;
        Requirements {
            shards: shards_for(nanoseconds),
            in_place: vec![Alias { output: 0, input: 0 }],
            estimated_ns: nanoseconds,
            ..Requirements::simple()
        }
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        let (rows, len, epsilon) = (self.rows, self.len, self.epsilon);
        let (x, scale, y) = (bindings.input::<f32>(0)?, bindings.input::<f32>(1)?, bindings.output::<f32>(0)?);
        let bias = self.has_bias.then(|| bindings.input::<f32>(2)).transpose()?;
        Ok(Box::new(move |call: &Call| {
            let (from, to, scale) = (call.read(&x).as_ptr(), call.write(&y).as_mut_ptr(), call.read(&scale).as_ptr());
            let bias = bias.as_ref().map(|bias| call.read(bias).as_ptr());
            for row in call.share(rows, 1) {
                // SAFETY: both tensors hold `rows` rows of `len` floats, scale and bias hold `len`.
                unsafe { normalise(from.add(row * len), to.add(row * len), len, scale, bias, epsilon) };
            }
            Ok(())
        }))
    }
}

/// # Safety
/// All pointers hold `len` floats.
#[inline(never)]
unsafe fn normalise(
    from: *const f32,
    to: *mut f32,
    len: usize,
    scale: *const f32,
    bias: Option<*const f32>,
    epsilon: f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mean = fold(from, len, 0.0, add, |a, b| a + b) / len as f32;
        let centre = splat(mean);
        let whole = len - len % LANES;
        let mut sums = [splat(0.0); 2];
        let mut i = 0;
        while i + 8 <= whole {
            for (j, sum) in sums.iter_mut().enumerate() {
                let d = sub(load(from.add(i + 4 * j)), centre);
                *sum = fma(d, d, *sum);
            }
            i += 8;
        }
        while i < whole {
            let d = sub(load(from.add(i)), centre);
            sums[0] = fma(d, d, sums[0]);
            i += LANES;
        }
        let mut sum = sum_lanes(add(sums[0], sums[1]));
        for i in whole..len {
            let d = from.add(i).read() - mean;
            sum += d * d;
        }
        let factor = splat(1.0 / (sum / len as f32 + epsilon).sqrt());
        let one = |x: v128, scale: v128, bias: v128| fma(mul(sub(x, centre), factor), scale, bias);
        let mut i = 0;
        while i < whole {
            let bias = bias.map_or(splat(0.0), |bias| load(bias.add(i)));
            store(to.add(i), one(load(from.add(i)), load(scale.add(i)), bias));
            i += LANES;
        }
        let rest = len - whole;
        if rest > 0 {
            let bias = bias.map_or(splat(0.0), |bias| load_part(bias.add(whole), rest));
            store_part(
                to.add(whole),
                one(load_part(from.add(whole), rest), load_part(scale.add(whole), rest), bias),
                rest,
            );
        }
    }
}

/// BatchNormalization with the statistics of the training: one factor and one shift for each channel.
struct BatchNorm {
    planes: usize,
    channels: usize,
    plane: usize,
    epsilon: f64,
}

impl BatchNorm {
    fn new(op: Op<'_>) -> Option<Self> {
        let shape = op.f32_shape(0)?;
        let channels = *shape.get(1)?;
        let vectors = (1..5).all(|input| op.f32_shape(input).is_some_and(|shape| shape == [channels]));
        if !vectors || op.f32_output()? != shape || count(&shape) == 0 {
            return None;
        }
        let epsilon = op.attributes().number("epsilon").unwrap_or(1e-5);
        Some(Self { planes: shape[0] * channels, channels, plane: count(&shape[2..]), epsilon })
    }
}

impl Kernel for BatchNorm {
    fn requirements(&self) -> Requirements {
        let nanoseconds = (self.planes * (self.plane / 4 + 20)) as u64;
        Requirements {
            shards: shards_for(nanoseconds),
            in_place: vec![Alias { output: 0, input: 0 }],
            estimated_ns: nanoseconds,
            ..Requirements::simple()
        }
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        let (planes, channels, plane, epsilon) = (self.planes, self.channels, self.plane, self.epsilon);
        let input = |index| bindings.input::<f32>(index);
        let (x, scale, shift, mean, variance) = (input(0)?, input(1)?, input(2)?, input(3)?, input(4)?);
        let y = bindings.output::<f32>(0)?;
        Ok(Box::new(move |call: &Call| {
            let (from, to) = (call.read(&x).as_ptr(), call.write(&y).as_mut_ptr());
            for at in call.share(planes, 1) {
                let of_channel = |input| f64::from(call.read::<f32>(input).get(at % channels));
                let factor = of_channel(&scale) / (of_channel(&variance) + epsilon).sqrt();
                let rest = of_channel(&shift) - of_channel(&mean) * factor;
                let (factor, rest) = (splat(factor as f32), splat(rest as f32));
                // SAFETY: both tensors hold `planes` planes; they are one place or apart.
                unsafe {
                    crate::vector::map(from.add(at * plane), to.add(at * plane), plane, |x| fma(x, factor, rest))
                };
            }
            Ok(())
        }))
    }
}

/// What a reduction folds with.
#[derive(Clone, Copy, PartialEq)]
enum Fold {
    Sum,
    Mean,
    Max,
    Min,
}

/// A reduction over neighbouring axes: [outer, reduced, inner] becomes [outer, inner].
struct Reduce {
    fold: Fold,
    outer: usize,
    reduced: usize,
    inner: usize,
}

impl Reduce {
    fn new(op: Op<'_>) -> Option<Self> {
        let shape = op.f32_shape(0)?;
        op.f32_output()?;
        let (fold, axes) = match op.name() {
            "GlobalAveragePool" => (Fold::Mean, (2..shape.len()).collect()),
            "GlobalMaxPool" => (Fold::Max, (2..shape.len()).collect()),
            "ReduceSum" => (Fold::Sum, Self::axes(op, shape.len())?),
            "ReduceMean" => (Fold::Mean, Self::axes(op, shape.len())?),
            "ReduceMax" => (Fold::Max, Self::axes(op, shape.len())?),
            "ReduceMin" => (Fold::Min, Self::axes(op, shape.len())?),
            _ => return None,
        };
        let (&first, &last) = (axes.first()?, axes.last()?);
        // Axes of length 1 between the others do not matter.
        let neighbours = (first..=last).all(|axis| axes.contains(&axis) || shape[axis] == 1);
        if !neighbours || count(&shape) == 0 {
            return None;
        }
        Some(Self {
            fold,
            outer: count(&shape[..first]),
            reduced: count(&shape[first..=last]),
            inner: count(&shape[last + 1..]),
        })
    }

    /// The reduced axes in order; none when no fast path fits.
    fn axes(op: Op<'_>, rank: usize) -> Option<Vec<usize>> {
        let given = match (op.own(1), op.attributes().integers("axes")) {
            (Some(_), _) => op.integers(1)?,
            (None, Some(axes)) => axes.to_vec(),
            (None, None) => Vec::new(),
        };
        if given.is_empty() {
            return (op.integer("noop_with_empty_axes", 0) == 0).then(|| (0..rank).collect());
        }
        let mut axes = given.iter().map(|&axis| op.axis(axis, rank)).collect::<Option<Vec<_>>>()?;
        axes.sort_unstable();
        Some(axes)
    }

    fn nanoseconds(&self) -> u64 {
        (self.outer * self.reduced * self.inner) as u64 / 4 + 50
    }
}

impl Kernel for Reduce {
    fn requirements(&self) -> Requirements {
        let nanoseconds = self.nanoseconds();
        let units = if self.inner == 1 { self.outer } else { self.outer * self.inner.div_ceil(64) };
        let shards = shards_for(nanoseconds).min(units.max(1) as u32);
        Requirements { shards, estimated_ns: nanoseconds, ..Requirements::simple() }
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        let (kind, outer, reduced, inner) = (self.fold, self.outer, self.reduced, self.inner);
        let (x, y) = (bindings.input::<f32>(0)?, bindings.output::<f32>(0)?);
        Ok(Box::new(move |call: &Call| {
            let (from, to) = (call.read(&x).as_ptr(), call.write(&y).as_mut_ptr());
            // SAFETY: the input holds outer * reduced * inner floats, the output outer * inner.
            unsafe {
                if inner == 1 {
                    for row in call.share(outer, 1) {
                        let from = from.add(row * reduced);
                        let value = match kind {
                            Fold::Sum => fold(from, reduced, 0.0, add, |a, b| a + b),
                            Fold::Mean => fold(from, reduced, 0.0, add, |a, b| a + b) / reduced as f32,
                            Fold::Max => fold(from, reduced, f32::NEG_INFINITY, |a, b| f32x4_max(a, b), larger),
                            Fold::Min => fold(from, reduced, f32::INFINITY, |a, b| f32x4_min(a, b), smaller),
                        };
                        to.add(row).write(value);
                    }
                    return Ok(());
                }
                let strips = inner.div_ceil(64);
                for unit in call.share(outer * strips, 1) {
                    let (row, column) = (unit / strips, unit % strips * 64);
                    let (from, to) = (from.add(row * reduced * inner + column), to.add(row * inner + column));
                    let width = 64.min(inner - column);
                    match kind {
                        Fold::Sum => down(from, reduced, inner, to, width, 0.0, add, |v| v),
                        Fold::Mean => {
                            let length = splat(reduced as f32);
                            down(from, reduced, inner, to, width, 0.0, add, |v| div(v, length));
                        }
                        Fold::Max => {
                            down(from, reduced, inner, to, width, f32::NEG_INFINITY, |a, b| f32x4_max(a, b), |v| v)
                        }
                        Fold::Min => {
                            down(from, reduced, inner, to, width, f32::INFINITY, |a, b| f32x4_min(a, b), |v| v)
                        }
                    }
                }
            }
            Ok(())
        }))
    }
}

/// Folds `rows` rows that are `stride` floats apart into one of `width` floats.
///
/// # Safety
/// `from` holds the rows, `to` holds `width` floats.
#[inline(never)]
#[allow(clippy::too_many_arguments)]
unsafe fn down(
    from: *const f32,
    rows: usize,
    stride: usize,
    to: *mut f32,
    width: usize,
    start: f32,
    f: impl Fn(v128, v128) -> v128,
    end: impl Fn(v128) -> v128,
) {
    let mut x = 0;
    // SAFETY: `x` stays below `width`.
    unsafe {
        while x + 16 <= width {
            let mut acc = [splat(start); 4];
            for row in 0..rows {
                let from = from.add(row * stride + x);
                for (j, acc) in acc.iter_mut().enumerate() {
                    *acc = f(*acc, load(from.add(j * LANES)));
                }
            }
            for (j, acc) in acc.iter().enumerate() {
                store(to.add(x + j * LANES), end(*acc));
            }
            x += 16;
        }
        while x < width {
            let left = (width - x).min(LANES);
            let mut acc = splat(start);
            for row in 0..rows {
                let from = from.add(row * stride + x);
                acc = f(acc, if left == LANES { load(from) } else { load_part(from, left) });
            }
            if left == LANES {
                store(to.add(x), end(acc));
            } else {
                store_part(to.add(x), end(acc), left);
            }
            x += LANES;
        }
    }
}
