//! `sunmao.MatMulIntegerToFloat`: an exact product of bytes, made real. A sum is rounded to f32 and multiplied by the product of both scales, which
//! is rounded to f32 first; then come the bias and the steps of the epilogue.

use crate::arguments::Op;
use crate::element::F32;
use crate::epilogue::{Epilogue, STEPS};
use crate::matmul::{Byte, Matrices};
use crate::product::Product;
use crate::requantise::{Line, by_line};
use crate::strided::count;
use crate::table::{LATEST, Row, signature};
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Result};

pub(crate) fn rows() -> Vec<Row> {
    let types = [(2, 2), (2, 3), (3, 2), (3, 3)].map(|(a, b)| signature(&[a, b, 1, 1, a, b, 1], &[1]));
    // As exact as the steps: the sums are integers.
    vec![
        Row::new("sunmao.MatMulIntegerToFloat", (1, LATEST), types.to_vec(), Tolerance::Accumulate(1.0), product)
            .epilogues(STEPS),
    ]
}

fn product(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let (a, b) = (op.shape(0)?, op.shape(1)?);
    if a.len() < 2 || b.len() < 2 {
        return Err(op.invalid(format_args!("shapes {a:?} and {b:?} are not matrices")));
    }
    let columns = b[b.len() - 1];
    let matrices = Matrices::of(op, a, b)?;
    if count(&op.shape(2)?) != 1
        || op.optional(4).is_some_and(|zero| crate::arguments::dims(zero).iter().any(|&d| d != 1))
    {
        return Err(op.unsupported("a left side with scales or zero points by row"));
    }
    let scale_each = by_line(op, 3, columns, Line::Column)?;
    let zero_each = by_line(op, 5, columns, Line::Column)?;
    let (a_byte, b_byte) = (Byte::of(op.input(0)?.dtype), Byte::of(op.input(1)?.dtype));
    let last = op.output_shape(0)?.len() - 1;
    let epilogue = Epilogue::<F32>::of(op, op.optional(6).map(|_| 6), last)?;
    crate::settle::kernel(matrices.product.requirements::<i32>(), move |bindings| {
        let (a, b) = (bindings.input_bits::<u8>(0)?, bindings.input_bits::<u8>(1)?);
        let (a_scale, b_scale) = (bindings.input::<f32>(2)?, bindings.input::<f32>(3)?);
        let zero = |index: usize| bindings.has_input(index).then(|| bindings.input_bits::<u8>(index)).transpose();
        let (a_zero, b_zero) = (zero(4)?, zero(5)?);
        let output = bindings.output::<f32>(0)?;
        let epilogue = epilogue.bind(bindings)?;
        Ok(Box::new(move |call: &Call| {
            let (a, b, out) = (call.read(&a), call.read(&b), call.write(&output));
            let (a_scale, b_scale) = (call.read(&a_scale).get(0), call.read(&b_scale));
            let a_zero = a_zero.as_ref().map_or(0, |zero| a_byte.number(call.read(zero).get(0)));
            let b_zero = b_zero.as_ref().map(|zero| call.read(zero));
            let load_b = |column: usize, e: u8| {
                let at = if zero_each { column } else { 0 };
                b_byte.number(e) - b_zero.as_ref().map_or(0, |zero| b_byte.number(zero.get(at)))
            };
            let Product { rows, columns, .. } = matrices.product;
            let load_a = |_, e: u8| a_byte.number(e) - a_zero;
            matrices.run(call, &a, &b, load_a, load_b, |batch, row, column, sums: &mut [i32]| {
                let at = (batch * rows + row) * columns + column;
                let to = out.part(at..at + sums.len());
                let mut reals = [0.0f32; REALS];
                for (first, sums) in (0..sums.len()).step_by(REALS).zip(sums.chunks(REALS)) {
                    let reals = &mut reals[..sums.len()];
                    for (i, (real, &sum)) in reals.iter_mut().zip(sums).enumerate() {
                        let scale = b_scale.get(if scale_each { column + first + i } else { 0 });
                        *real = sum as f32 * (a_scale * scale);
                    }
                    epilogue.apply(call, reals, at + first, column + first, 1);
                    reals.iter().enumerate().for_each(|(i, &real)| to.set(first + i, real));
                }
            });
            Ok(())
        }))
    })
}

/// Results that are finished at a time.
const REALS: usize = 64;
