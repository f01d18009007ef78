//! Transpose and nearest-neighbour Resize of 4-byte elements.

use crate::arguments::{F32, Op, count, dims, shards_for};
use crate::vector::{LANES, copy, load, store, transpose};
use core::arch::wasm32::i32x4_shuffle;
use sunmao_plugin_sdk::abi::Requirements;
use sunmao_plugin_sdk::{Bindings, Call, Dispatch, Element, Kernel, Result};

/// Code of i32 in the ABI.
const I32: u16 = 6;

/// The fast kernel for such an operation, if there is one.
pub(crate) fn prepare(op: Op<'_>) -> Option<Box<dyn Kernel>> {
    let dtype = op.input(0)?.dtype;
    if !op.0.epilogue.is_empty() || !(dtype == F32 || dtype == I32) || op.0.outputs.first()?.as_ref()?.dtype != dtype {
        return None;
    }
    match op.name() {
        "Transpose" => Some(Box::new(Transpose::new(op, dtype)?)),
        _ => Some(Box::new(Nearest::new(op, dtype)?)),
    }
}

/// Where 4-byte elements are read and written: f32 and i32 are moved by the same code.
fn bind_words(
    bindings: &Bindings<'_>,
    dtype: u16,
    run: impl Fn(&Call, *const f32, *mut f32) + Send + Sync + 'static,
) -> Result<Box<dyn Dispatch>> {
    fn typed<T: Element + Send + Sync>(
        bindings: &Bindings<'_>,
        run: impl Fn(&Call, *const f32, *mut f32) + Send + Sync + 'static,
    ) -> Result<Box<dyn Dispatch>> {
        let (x, y) = (bindings.input::<T>(0)?, bindings.output::<T>(0)?);
        Ok(Box::new(move |call: &Call| {
            run(call, call.read(&x).as_ptr().cast(), call.write(&y).as_mut_ptr().cast());
            Ok(())
        }))
    }
    if dtype == F32 { typed::<f32>(bindings, run) } else { typed::<i32>(bindings, run) }
}

/// An axis of the output: its length, and how far apart its elements lie in the input and in the output.
#[derive(Clone, Copy, Debug)]
struct Axis {
    len: usize,
    from: usize,
    to: usize,
}

/// A permutation of axes, as an outer loop over pieces that are rows (copied) or matrices (transposed).
struct Transpose {
    dtype: u16,
    outer: Vec<Axis>,
    /// The output's innermost axis.
    inner: Axis,
    /// The axis along which the input runs, when that is another one.
    other: Option<Axis>,
    len: usize,
}

impl Transpose {
    fn new(op: Op<'_>, dtype: u16) -> Option<Self> {
        let shape = dims(op.input(0)?);
        let rank = shape.len();
        let perm: Vec<usize> = match op.attributes().integers("perm") {
            Some(perm) => perm.iter().map(|&axis| op.axis(axis, rank)).collect::<Option<_>>()?,
            None => (0..rank).rev().collect(),
        };
        if count(&shape) == 0 || perm.len() != rank {
            return None;
        }
        let stride = |axis: usize| count(&shape[axis + 1..]);
        let mut axes: Vec<Axis> = Vec::new();
        let mut to = 1;
        for &axis in perm.iter().rev() {
            let (len, from) = (shape[axis], stride(axis));
            if len == 1 {
                continue;
            }
            match axes.last_mut() {
                Some(inner) if from == inner.from * inner.len => inner.len *= len,
                _ => axes.push(Axis { len, from, to }),
            }
            to *= len;
        }
        axes.reverse();
        let inner = axes.pop().unwrap_or(Axis { len: 1, from: 1, to: 1 });
        let other =
            if inner.from == 1 { None } else { Some(axes.remove(axes.iter().position(|axis| axis.from == 1)?)) };
        Some(Self { dtype, outer: axes, inner, other, len: count(&shape) })
    }
}

/// Rows of a matrix that are transposed as one unit of work.
const STRIP: usize = 16;

impl Kernel for Transpose {
    fn requirements(&self) -> Requirements {
        let each = if self.other.is_some() {
            0.6
        } else if self.inner.len < 16 {
            1.5
        } else {
            0.25
        };
        let nanoseconds = (self.len as f32 * each) as u64 + 100;
        Requirements { shards: shards_for(nanoseconds), estimated_ns: nanoseconds, ..Requirements::simple() }
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        let (outer, inner, other) = (self.outer.clone(), self.inner, self.other);
        bind_words(bindings, self.dtype, move |call, from, to| {
            let pieces: usize = outer.iter().map(|axis| axis.len).product();
            let strips = other.map_or(1, |other| other.len.div_ceil(STRIP));
            for unit in call.share(pieces * strips, 1) {
                let (mut piece, strip) = (unit / strips, unit % strips * STRIP);
                let (mut from, mut to) = (from, to);
                for axis in outer.iter().rev() {
                    let coordinate = piece % axis.len;
                    piece /= axis.len;
                    from = from.wrapping_add(coordinate * axis.from);
                    to = to.wrapping_add(coordinate * axis.to);
                }
                // SAFETY: axes, lengths and strides are those of the two tensors, whose views `bind` checked.
                unsafe {
                    match other {
                        None => copy(from, to, inner.len),
                        Some(other) => {
                            let (from, to) = (from.add(strip), to.add(strip * other.to));
                            transpose_matrix(from, inner.from, to, other.to, inner.len, STRIP.min(other.len - strip));
                        }
                    }
                }
            }
        })
    }
}

/// `to[j * to_stride + i] = from[i * from_stride + j]` for i below `rows` and j below `columns`.
///
/// # Safety
/// Both places hold these elements.
#[inline(never)]
unsafe fn transpose_matrix(
    from: *const f32,
    from_stride: usize,
    to: *mut f32,
    to_stride: usize,
    rows: usize,
    columns: usize,
) {
    let (whole_rows, whole_columns) = (rows - rows % LANES, columns - columns % LANES);
    // SAFETY: blocks of 4 x 4 within the whole parts, single elements in the rest.
    unsafe {
        for i in (0..whole_rows).step_by(LANES) {
            for j in (0..whole_columns).step_by(LANES) {
                let from = from.add(i * from_stride + j);
                let block = transpose(core::array::from_fn(|r| load(from.add(r * from_stride))));
                for (c, v) in block.into_iter().enumerate() {
                    store(to.add((j + c) * to_stride + i), v);
                }
            }
        }
        for i in 0..rows {
            let start = if i < whole_rows { whole_columns } else { 0 };
            for j in start..columns {
                to.add(j * to_stride + i).write(from.add(i * from_stride + j).read());
            }
        }
    }
}

/// Nearest-neighbour Resize of planes by whole factors: pixel x comes from pixel `x / factor`.
struct Nearest {
    dtype: u16,
    planes: usize,
    input: [usize; 2],
    factor: [usize; 2],
}

impl Nearest {
    fn new(op: Op<'_>, dtype: u16) -> Option<Self> {
        let (x, y) = (dims(op.input(0)?), op.output_shape()?);
        if x.len() != 4
            || y.len() != 4
            || x[..2] != y[..2]
            || op.attributes().text("mode") != "nearest"
            || y.contains(&0)
        {
            return None;
        }
        // Both give `x / factor` when the factor is whole: cutting x / factor, and rounding (x + 0.5) / factor - 0.5.
        let text = |key| op.attributes().text(key);
        let by_floor = text("coordinate_transformation_mode") == "asymmetric" && text("nearest_mode") == "floor";
        let by_rounding = matches!(text("coordinate_transformation_mode"), "" | "half_pixel")
            && matches!(text("nearest_mode"), "" | "round_prefer_floor" | "round_prefer_ceil");
        let whole = (2..4).all(|axis| x[axis] > 0 && y[axis] % x[axis] == 0);
        if !(by_floor || by_rounding) || !whole {
            return None;
        }
        let factor = [y[2] / x[2], y[3] / x[3]];
        if let Some(scales) = op.own(2).filter(|scales| scales.shape != [0]) {
            let wanted = [1.0, 1.0, factor[0] as f32, factor[1] as f32];
            let bytes: Vec<u8> = wanted.iter().flat_map(|v| v.to_le_bytes()).collect();
            if scales.literal.as_deref() != Some(&bytes[..]) {
                return None;
            }
        }
        Some(Self { dtype, planes: x[0] * x[1], input: [x[2], x[3]], factor })
    }
}

impl Kernel for Nearest {
    fn requirements(&self) -> Requirements {
        let pixels = self.planes * self.input[0] * self.input[1] * self.factor[0] * self.factor[1];
        let nanoseconds = pixels as u64 / 3 + 100;
        Requirements { shards: shards_for(nanoseconds), estimated_ns: nanoseconds, ..Requirements::simple() }
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        let (planes, [height, width], [down, across]) = (self.planes, self.input, self.factor);
        bind_words(bindings, self.dtype, move |call, from, to| {
            let line = width * across;
            for row in call.share(planes * height, 1) {
                let (from, to) = (from.wrapping_add(row * width), to.wrapping_add(row * down * line));
                // SAFETY: the input holds `planes * height` rows, each of which becomes `down` lines of the output.
                unsafe {
                    repeat(from, width, across, to);
                    for copy_of in 1..down {
                        copy(to, to.add(copy_of * line), line);
                    }
                }
            }
        })
    }
}

/// Writes every element `times` times.
///
/// # Safety
/// `from` holds `len` elements, `to` holds `len * times`.
#[inline(never)]
unsafe fn repeat(from: *const f32, len: usize, times: usize, to: *mut f32) {
    let mut x = 0;
    // SAFETY: `x` stays below `len`.
    unsafe {
        while x + LANES <= len && matches!(times, 2 | 4 | 8) {
            let v = load(from.add(x));
            let to = to.add(x * times);
            if times == 2 {
                store(to, i32x4_shuffle::<0, 0, 1, 1>(v, v));
                store(to.add(4), i32x4_shuffle::<2, 2, 3, 3>(v, v));
            } else {
                let lanes = [
                    i32x4_shuffle::<0, 0, 0, 0>(v, v),
                    i32x4_shuffle::<1, 1, 1, 1>(v, v),
                    i32x4_shuffle::<2, 2, 2, 2>(v, v),
                    i32x4_shuffle::<3, 3, 3, 3>(v, v),
                ];
                for (i, lane) in lanes.into_iter().enumerate() {
                    for part in (0..times).step_by(LANES) {
                        store(to.add(i * times + part), lane);
                    }
                }
            }
            x += LANES;
        }
        for x in x..len {
            let value = from.add(x).read();
            for i in 0..times {
                to.add(x * times + i).write(value);
            }
        }
    }
}
