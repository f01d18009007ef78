//! `QuantizeLinear`, `DequantizeLinear` (by tensor, axis or block) and `DynamicQuantizeLinear`. Rounding is half to even, then saturation.

use crate::arguments::{Op, dims};
use crate::settle::{CHUNK, kernel, needs};
use crate::strided::{Strided, count, dense_strides};
use crate::table::{LATEST, Row, signature};
use crate::wide::{Wide, sink, source};
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Result};

/// Stored types of a quantised tensor.
const QUANTISED: [u16; 4] = [2, 3, 4, 5];

pub(crate) fn rows() -> Vec<Row> {
    let (mut down, mut up) = (Vec::new(), Vec::new());
    for stored in QUANTISED {
        for real in [1, 10, 16] {
            down.push(signature(&[real, real, stored], &[stored]));
            up.push(signature(&[stored, real, stored], &[real]));
        }
        for real in [10, 16, 6] {
            down.push(signature(&[real, 1, stored], &[stored]));
        }
        up.extend([10, 16].map(|out| signature(&[stored, 1, stored], &[out])));
    }
    up.extend([1, 10, 16].map(|real| signature(&[6, real, 6], &[real])));
    vec![
        Row::new("QuantizeLinear", (10, LATEST), down, Tolerance::Exact, quantise),
        Row::new("DequantizeLinear", (10, LATEST), up, Tolerance::Exact, dequantise),
        Row::new("DynamicQuantizeLinear", (11, LATEST), vec![signature(&[1], &[2, 1, 2])], Tolerance::Exact, dynamic),
    ]
}

/// How the scale lies under the input.
fn scale_walk(op: Op<'_>) -> Result<Strided> {
    let (shape, scale) = (op.shape(0)?, op.shape(1)?);
    op.expect_output(0, &shape)?;
    if op.optional(2).is_some_and(|zero| dims(zero) != scale) {
        return Err(op.invalid("scale and zero point differ in shape").at(2));
    }
    if count(&scale) == 1 && scale.len() <= 1 {
        return Ok(Strided::new(&shape, &vec![0; shape.len()], 0));
    }
    let axis = op.axis("axis", 1, shape.len())?;
    let mismatch = || op.invalid(format_args!("a scale of shape {scale:?} for {shape:?} along axis {axis}")).at(1);
    if let &[length] = scale.as_slice()
        && length == shape[axis]
        && op.attributes().integer("block_size").unwrap_or(0) == 0
    {
        let mut strides = vec![0; shape.len()];
        strides[axis] = 1;
        return Ok(Strided::new(&shape, &strides, 0));
    }
    // Blocks: the axis is divided in two, of which the scale has the outer one.
    let block = op.attributes().integer("block_size").unwrap_or(0);
    let fits = block > 0
        && scale.len() == shape.len()
        && scale[axis] as i64 * block == shape[axis] as i64
        && (0..shape.len()).all(|i| i == axis || scale[i] == shape[i]);
    if !fits {
        return Err(mismatch());
    }
    let mut split = shape.clone();
    let mut strides = dense_strides(&scale);
    split[axis] = scale[axis];
    split.insert(axis + 1, block as usize);
    strides.insert(axis + 1, 0);
    Ok(Strided::new(&split, &strides, 0))
}

fn quantise(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    linear(op, |numbers, scales, zeros, n| {
        for i in 0..n {
            // The division is one of f32; what it is rounded to is exact in f64.
            let ratio = numbers[i] as f32 / scales[i] as f32;
            numbers[i] = f64::from(ratio.round_ties_even()) + zeros[i];
        }
    })
}

fn dequantise(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    linear(op, |numbers, scales, zeros, n| {
        for i in 0..n {
            numbers[i] = f64::from((numbers[i] - zeros[i]) as f32 * scales[i] as f32);
        }
    })
}

/// Numbers (all exact in `f64`), their scales and their zero points, a chunk at a time.
fn linear(op: Op<'_>, convert: fn(&mut [f64; CHUNK], &[f64; CHUNK], &[f64; CHUNK], usize)) -> Result<Box<dyn Kernel>> {
    let walk = scale_walk(op)?;
    let elements = count(&op.shape(0)?);
    let straight = Strided::new(&[elements], &[1], 0);
    let (from, scale, to) = (op.input(0)?.dtype, op.input(1)?.dtype, op.output(0)?.dtype);
    let zero = op.optional(2).map(|zero| zero.dtype);
    kernel(needs(elements as u64 * 6, elements.div_ceil(CHUNK)), move |bindings| {
        let (x, scale, y) = (source(bindings, from, 0)?, source(bindings, scale, 1)?, sink(bindings, to, 0)?);
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
                scale.load(call, &walk, 0, at, n, &mut wide_scale);
                wide_scale.reals(n, &mut scales);
                if let (Some(zero), Some(wide)) = (&zero, &mut wide_zero) {
                    zero.load(call, &walk, 0, at, n, wide);
                    wide.reals(n, &mut zeros);
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
