//! `ReverseSequence`: turns the beginning of each sequence of a batch round, as far as its length says.

use crate::arguments::Op;
use crate::element::{MOVED, Stored, dispatch};
use crate::settle::{kernel, needs};
use crate::strided::count;
use crate::table::{LATEST, Row, signature};
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Error, Kernel, Result};

pub(crate) fn rows() -> Vec<Row> {
    let signatures = MOVED.iter().map(|&dtype| signature(&[dtype, 7], &[dtype])).collect();
    vec![Row::new("ReverseSequence", (10, LATEST), signatures, Tolerance::Exact, reverse)]
}

fn reverse(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    op.expect_output(0, &shape)?;
    let (batch, time) = (op.axis("batch_axis", 1, shape.len())?, op.axis("time_axis", 0, shape.len())?);
    if batch + time != 1 {
        return Err(op.invalid(format_args!("axes {batch} and {time} of batch and time are not the first two")));
    }
    op.expect_input(1, &[shape[batch]])?;
    let (rows, columns, block) = (shape[0], shape[1], count(&shape[2..]));
    dispatch!(op.input(0)?.dtype, carriers, S => {
        kernel(needs((rows * columns * (block + 4)) as u64, rows * columns), move |bindings| {
            type E<S> = <S as Stored>::Element;
            let (x, lengths) = (bindings.input_bits::<E<S>>(0)?, bindings.input::<i64>(1)?);
            let y = bindings.output_bits::<E<S>>(0)?;
            Ok(Box::new(move |call: &Call| {
                let (x, lengths, y) = (call.read(&x), call.read(&lengths), call.write(&y));
                for at in call.share(rows * columns, 1) {
                    let place = [at / columns, at % columns];
                    let length = lengths.get(place[batch]);
                    let longest = [rows, columns][time];
                    if length < 0 || length > longest as i64 {
                        return Err(Error::data(format!("a sequence of {length} in an axis of {longest}")));
                    }
                    let mut from = place;
                    if (place[time] as i64) < length {
                        from[time] = length as usize - 1 - place[time];
                    }
                    let from = (from[0] * columns + from[1]) * block;
                    y.part(at * block..(at + 1) * block).copy_from(x.part(from..from + block));
                }
                Ok(())
            }))
        })
    })
}
