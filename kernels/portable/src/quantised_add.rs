//! `sunmao.QAdd`: two quantised tensors of one shape, added.
//!
//! In f32, step by step as DequantizeLinear, Add and QuantizeLinear compute it: each byte less its zero point, times its scale; the sum; divided by
//! the scale of the result; rounded half to even; behind the zero point; saturated.

use crate::arguments::Op;
use crate::matmul::Byte;
use crate::settle::{alias, kernel, needs};
use crate::strided::count;
use crate::table::{LATEST, Row, signature};
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Result};

pub(crate) fn rows() -> Vec<Row> {
    let mut types = Vec::new();
    for (a, b) in [(2, 2), (2, 3), (3, 2), (3, 3)] {
        types.extend([2, 3].map(|y| signature(&[a, 1, a, b, 1, b, 1, y], &[y])));
    }
    vec![Row::new("sunmao.QAdd", (1, LATEST), types, Tolerance::Exact, add).in_place(&[0, 3])]
}

/// Shards end at multiples of this, a cache line of bytes.
const GRANULE: usize = 64;

fn add(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    op.expect_input(3, &shape)?;
    op.expect_output(0, &shape)?;
    for index in [1, 2, 4, 5, 6, 7] {
        if count(&op.shape(index)?) != 1 {
            return Err(op.unsupported("a scale or zero point of several elements").at(index));
        }
    }
    let bytes = [Byte::of(op.input(0)?.dtype), Byte::of(op.input(3)?.dtype), Byte::of(op.input(7)?.dtype)];
    let elements = count(&shape);
    let mut requirements = needs(elements as u64 * 3, elements.div_ceil(GRANULE));
    requirements.in_place = vec![alias(0), alias(3)];
    kernel(requirements, move |bindings| {
        let (a, b, y) = (bindings.input_bits::<u8>(0)?, bindings.input_bits::<u8>(3)?, bindings.output_bits::<u8>(0)?);
        let scales = [bindings.input::<f32>(1)?, bindings.input::<f32>(4)?, bindings.input::<f32>(6)?];
        let zeros = [bindings.input_bits::<u8>(2)?, bindings.input_bits::<u8>(5)?, bindings.input_bits::<u8>(7)?];
        Ok(Box::new(move |call: &Call| {
            let [a_byte, b_byte, y_byte] = bytes;
            let [a_scale, b_scale, y_scale] = scales.map(|scale| call.read(&scale).get(0));
            let [a_zero, b_zero, y_zero] = zeros.map(|zero| call.read(&zero).get(0));
            let (a_zero, b_zero) = (a_byte.number(a_zero), b_byte.number(b_zero));
            let y_zero = f64::from(y_byte.number(y_zero));
            let share = call.share(elements, GRANULE);
            let (a, b) = (call.read(&a).part(share.clone()), call.read(&b).part(share.clone()));
            let y = call.write(&y).part(share);
            for i in 0..y.len() {
                let left = (a_byte.number(a.get(i)) - a_zero) as f32 * a_scale;
                let right = (b_byte.number(b.get(i)) - b_zero) as f32 * b_scale;
                let ratio = ((left + right) / y_scale).round_ties_even();
                y.set(i, y_byte.saturated(f64::from(ratio) + y_zero));
            }
            Ok(())
        }))
    })
}
