//! `QuantizeLinear`, `DequantizeLinear` (by tensor, axis or block) and `DynamicQuantizeLinear`. Integers are rounded half to even, then saturated;
//! small floats take the nearest number that they have.

use crate::arguments::Op;
use crate::element::bits;
use crate::minifloat::Direction;
use crate::narrow::Rounding;
use crate::settle::{CHUNK, kernel, needs};
use crate::strided::{Strided, count, dense_strides};
use crate::table::{LATEST, Row, signature};
use crate::wide::{Source, Wide, rounding_sink, source};
use half::{bf16, f16};
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Result};

/// Stored types of a quantised tensor.
const QUANTISED: [u16; 13] = [2, 3, 4, 5, 17, 18, 19, 20, 21, 22, 23, 25, 26];

pub(crate) fn rows() -> Vec<Row> {
    let (mut down, mut up) = (Vec::new(), Vec::new());
    for stored in QUANTISED {
        for scale in [1, 10, 16, 24] {
            down.extend([1, 10, 16, 6].map(|real| signature(&[real, scale, stored], &[stored])));
            up.extend([1, 10, 16].map(|real| signature(&[stored, scale, stored], &[real])));
        }
        down.push(signature(&[6, 6, stored], &[stored]));
    }
    for scale in [1, 10, 16, 24] {
        up.extend([1, 10, 16].map(|real| signature(&[6, scale, 6], &[real])));
    }
    vec![
        Row::new("QuantizeLinear", (10, LATEST), down, Tolerance::Exact, quantise),
        Row::new("DequantizeLinear", (10, LATEST), up, Tolerance::Exact, dequantise),
        Row::new("DynamicQuantizeLinear", (11, LATEST), vec![signature(&[1], &[2, 1, 2])], Tolerance::Exact, dynamic),
    ]
}

/// How scales and zero points lie under the input.
#[derive(Clone, Copy)]
struct Under {
    /// Along the input, unless blocks are ragged.
    walk: Strided,
    ragged: Option<Ragged>,
}

/// Blocks of an axis, of which the last one is shorter: `length` elements in `blocks` of `block` each, `inner` elements behind each.
#[derive(Clone, Copy)]
struct Ragged {
    length: usize,
    blocks: usize,
    block: usize,
    inner: usize,
}

impl Under {
    /// Input `index`, the scale or the zero point.
    fn of(op: Op<'_>, index: usize) -> Result<Self> {
        let (shape, scale) = (op.shape(0)?, op.shape(index)?);
        if count(&scale) == 1 && scale.len() <= 1 {
            return Ok(Self::along(Strided::new(&shape, &vec![0; shape.len()], 0)));
        }
        let axis = op.axis("axis", 1, shape.len())?;
        let block = op.attributes().integer("block_size").unwrap_or(0);
        if block == 0 && scale == [shape[axis]] {
            let mut strides = vec![0; shape.len()];
            strides[axis] = 1;
            return Ok(Self::along(Strided::new(&shape, &strides, 0)));
        }
        let fits = block > 0
            && scale.len() == shape.len()
            && scale[axis] as u64 == (shape[axis] as u64).div_ceil(block as u64)
            && (0..shape.len()).all(|i| i == axis || scale[i] == shape[i]);
        if !fits {
            let what = format_args!(
                "a scale or zero point of shape {scale:?} for {shape:?} along axis {axis}, blocks of {block}"
            );
            return Err(op.invalid(what).at(index));
        }
        let (length, blocks) = (shape[axis], scale[axis]);
        let block = length.min(block as usize);
        if blocks * block != length {
            let ragged = Ragged { length, blocks, block, inner: count(&shape[axis + 1..]) };
            return Ok(Self { walk: Strided::new(&[], &[], 0), ragged: Some(ragged) });
        }
        // The axis is divided in two, of which the scale has the outer one.
        let mut split = shape.clone();
        let mut strides = dense_strides(&scale);
        split[axis] = blocks;
        split.insert(axis + 1, block);
        strides.insert(axis + 1, 0);
        Ok(Self::along(Strided::new(&split, &strides, 0)))
    }

    fn along(walk: Strided) -> Self {
        Self { walk, ragged: None }
    }

    /// Loads what belongs to elements `at..at + n` of the input.
    fn load(&self, call: &Call, from: &dyn Source, at: usize, n: usize, wide: &mut Wide, into: &mut [f64; CHUNK]) {
        let Some(Ragged { length, blocks, block, inner }) = self.ragged else {
            from.load(call, &self.walk, 0, at, n, wide);
            return wide.reals(n, into);
        };
        let mut number = [0.0; CHUNK];
        for (i, into) in into[..n].iter_mut().enumerate() {
            let (line, behind) = ((at + i) / inner, (at + i) % inner);
            let place = (line / length * blocks + line % length / block) * inner + behind;
            from.load(call, &self.walk, place, 0, 1, wide);
            wide.reals(1, &mut number);
            *into = number[0];
        }
    }
}

/// Rounds to the type in which a division is made.
pub(crate) fn precision(dtype: u16) -> fn(f64) -> f64 {
    match dtype {
        10 => |number| f16::from_f64(number).into(),
        16 => |number| bf16::from_f64(number).into(),
        11 => |number| number,
        _ => |number| f64::from(number as f32),
    }
}

/// The smallest and the largest integer of a type; none for floats.
fn bounds(dtype: u16) -> Option<(f64, f64)> {
    let numbers = f64::from(1u32 << bits(dtype));
    match dtype {
        2 | 4 | 21 | 25 => Some((0.0, numbers - 1.0)),
        3 | 5 | 22 | 26 => Some((-numbers / 2.0, numbers / 2.0 - 1.0)),
        _ => None,
    }
}

fn quantise(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let scale = op.input(1)?.dtype;
    let round = precision(match op.attributes().integer("precision") {
        None | Some(0) => scale,
        Some(wanted) => u16::try_from(wanted).unwrap_or(scale),
    });
    let bounds = bounds(op.output(0)?.dtype);
    linear(op, move |numbers, scales, zeros, n| {
        for i in 0..n {
            let ratio = round(round(numbers[i]) / round(scales[i]));
            numbers[i] = match bounds {
                Some((low, high)) => (ratio.round_ties_even() + zeros[i]).clamp(low, high),
                None => ratio + zeros[i],
            };
        }
    })
}

fn dequantise(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    linear(op, |numbers, scales, zeros, n| {
        for i in 0..n {
            // The product of two f32 is exact in f64, and rounded once when it is stored.
            numbers[i] = f64::from((numbers[i] - zeros[i]) as f32) * scales[i];
        }
    })
}

/// Numbers (all exact in `f64`), their scales and their zero points, a chunk at a time.
fn linear(
    op: Op<'_>,
    convert: impl Fn(&mut [f64; CHUNK], &[f64; CHUNK], &[f64; CHUNK], usize) + Copy + Send + Sync + 'static,
) -> Result<Box<dyn Kernel>> {
    op.expect_output(0, &op.shape(0)?)?;
    let under = Under::of(op, 1)?;
    let zero_under = if op.optional(2).is_some() { Under::of(op, 2)? } else { under };
    let elements = count(&op.shape(0)?);
    let straight = Strided::new(&[elements], &[1], 0);
    let (from, scale, to) = (op.input(0)?.dtype, op.input(1)?.dtype, op.output(0)?.dtype);
    let zero = op.optional(2).map(|zero| zero.dtype);
    let saturate = op.attributes().integer("saturate").unwrap_or(1) != 0;
    let rounding = Rounding { saturate, direction: Direction::Up };
    kernel(needs(elements as u64 * 6, elements.div_ceil(CHUNK)), move |bindings| {
        let (x, scale) = (source(bindings, from, 0)?, source(bindings, scale, 1)?);
        let y = rounding_sink(bindings, to, 0, rounding)?;
        let zero = zero.map(|dtype| source(bindings, dtype, 2)).transpose()?;
        Ok(Box::new(move |call: &Call| {
            let (mut numbers, mut scales, mut zeros) = ([0.0; CHUNK], [0.0; CHUNK], [0.0; CHUNK]);
            let mut wide = x.chunk();
            let mut wide_scale = scale.chunk();
            let mut wide_zero = zero.as_ref().map(|zero| zero.chunk());
            let share = call.share(elements, CHUNK);
            for at in share.clone().step_by(CHUNK) {
                let n = CHUNK.min(share.end - at);
                x.load(call, &straight, 0, at, n, &mut wide);
                wide.reals(n, &mut numbers);
                under.load(call, &*scale, at, n, &mut wide_scale, &mut scales);
                if let (Some(zero), Some(wide)) = (&zero, &mut wide_zero) {
                    zero_under.load(call, &**zero, at, n, wide, &mut zeros);
                }
                convert(&mut numbers, &scales, &zeros, n);
                y.store(call, at, n, &Wide::Real(numbers));
            }
            Ok(())
        }))
    })
}

/// Every shard looks at the whole input for its range, so that all agree on the scale.
fn dynamic(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    op.expect_output(0, &shape)?;
    op.expect_output(1, &[])?;
    op.expect_output(2, &[])?;
    let elements = count(&shape);
    kernel(needs(elements as u64 * 3, elements.div_ceil(CHUNK)), move |bindings| {
        let x = bindings.input::<f32>(0)?;
        let (y, y_scale) = (bindings.output::<u8>(0)?, bindings.output::<f32>(1)?);
        let y_zero = bindings.output::<u8>(2)?;
        Ok(Box::new(move |call: &Call| {
            let (x, y) = (call.read(&x), call.write(&y));
            let range = |(low, high): (f32, f32), value: f32| (low.min(value), high.max(value));
            let (low, high) = x.iter().fold((0.0, 0.0), range);
            let scale = (high - low) / 255.0;
            // All zeros: any scale will do.
            let scale = if scale == 0.0 { 1.0 } else { scale };
            let zero = (-low / scale).round_ties_even().clamp(0.0, 255.0);
            if call.shard == 0 {
                call.write(&y_scale).set(0, scale);
                call.write(&y_zero).set(0, zero as u8);
            }
            let share = call.share(elements, CHUNK);
            let (x, y) = (x.part(share.clone()), y.part(share));
            for i in 0..y.len() {
                y.set(i, ((x.get(i) / scale).round_ties_even() + zero) as u8);
            }
            Ok(())
        }))
    })
}
