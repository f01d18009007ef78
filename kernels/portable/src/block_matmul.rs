//! `sunmao.QMatMul`: rows of floats times block-quantised weights, `[..., k]` by `[n, k]`.
//!
//! A block is decoded once for a few rows of the left side, as exact numbers of its format; sums are kept in `f64`.

use crate::arguments::Op;
use crate::blocks::{BLOCK_MAX, Format};
use crate::element::{FLOATS, Stored, dispatch};
use crate::number::Number;
use crate::settle::{kernel, needs};
use crate::strided::count;
use crate::table::{LATEST, Row, signature};
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Result};

pub(crate) fn rows() -> Vec<Row> {
    let signatures =
        FLOATS.iter().flat_map(|&d| (0x100..=0x104).map(move |blocks| signature(&[d, blocks, d], &[d]))).collect();
    vec![Row::new("sunmao.QMatMul", (1, LATEST), signatures, Tolerance::Accumulate(1.0), block_matmul)]
}

/// Rows of the left side that share the work of decoding.
const ROWS: usize = 16;
/// The largest block, in bytes.
const BYTES_MAX: usize = 256;

fn block_matmul(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let (x, w) = (op.shape(0)?, op.shape(1)?);
    let dtype = op.input(1)?.dtype;
    let format = Format::of(dtype).ok_or_else(|| op.unsupported(format_args!("weights of type {dtype}")).at(1))?;
    let (&[columns, depth], Some((&inner, stack))) = (&w[..], x.split_last()) else {
        return Err(op.invalid(format_args!("shapes {x:?} and {w:?} do not multiply")));
    };
    if inner != depth || depth % format.elements() != 0 {
        return Err(op.invalid(format_args!("rows of {inner} elements times blocks of {}", format.elements())));
    }
    op.expect_output(0, &[stack, &[columns]].concat())?;
    if op.optional(2).is_some() {
        op.expect_input(2, &[columns])?;
    }
    let (lines, blocks) = (count(stack), depth / format.elements());
    let (elements, bytes) = (format.elements(), format.bytes());
    let work = (lines as u64 + 2) * columns as u64 * depth as u64;
    dispatch!(op.input(0)?.dtype, floats, S => {
        kernel(needs(work, columns), move |bindings| {
            type E<S> = <S as Stored>::Element;
            let (x, w) = (bindings.input::<E<S>>(0)?, bindings.input_bytes(1)?);
            let bias = if bindings.has_input(2) { Some(bindings.input::<E<S>>(2)?) } else { None };
            let y = bindings.output::<E<S>>(0)?;
            Ok(Box::new(move |call: &Call| {
                let (x, w, y) = (call.read(&x), call.read(&w), call.write(&y));
                let (mut packed, mut numbers) = ([0u8; BYTES_MAX], [0.0f32; BLOCK_MAX]);
                let (packed, numbers) = (&mut packed[..bytes], &mut numbers[..elements]);
                for column in call.share(columns, 1) {
                    let first = bias.as_ref().map_or(0.0, |bias| S::load(call.read(bias).get(column)).to_f64());
                    for line in (0..lines).step_by(ROWS) {
                        let mut sums = [first; ROWS];
                        let sums = &mut sums[..ROWS.min(lines - line)];
                        for block in 0..blocks {
                            let from = (column * blocks + block) * bytes;
                            packed.iter_mut().zip(w.part(from..from + bytes).iter()).for_each(|(to, byte)| *to = byte);
                            format.decode(packed, numbers);
                            for (row, sum) in (line..).zip(sums.iter_mut()) {
                                let from = row * depth + block * elements;
                                let left = x.part(from..from + elements);
                                for (element, &number) in left.iter().zip(numbers.iter()) {
                                    *sum += S::load(element).to_f64() * f64::from(number);
                                }
                            }
                        }
                        for (row, &sum) in (line..).zip(sums.iter()) {
                            y.set(row * columns + column, S::store(<S as Stored>::Value::from_f64(sum)));
                        }
                    }
                }
                Ok(())
            }))
        })
    })
}
