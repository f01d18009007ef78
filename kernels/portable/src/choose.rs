//! `Where`: the choice between two operands.

use crate::arguments::Op;
use crate::element::{Bool, MOVED, Stored, dispatch};
use crate::settle::{CHUNK, alias, kernel, needs};
use crate::strided::{Strided, broadcast_shape, count};
use crate::table::{LATEST, Row, signature};
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Result};

pub(crate) fn rows() -> Vec<Row> {
    let choices = MOVED.iter().map(|&dtype| signature(&[9, dtype, dtype], &[dtype])).collect();
    vec![Row::new("Where", (9, LATEST), choices, Tolerance::Exact, choose).in_place(&[1, 2])]
}

fn choose(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shapes = [op.shape(0)?, op.shape(1)?, op.shape(2)?];
    let broadcast = || op.invalid(format_args!("shapes {shapes:?} do not broadcast"));
    let shape = broadcast_shape(&shapes).ok_or_else(broadcast)?;
    op.expect_output(0, &shape)?;
    let walk = |i: usize| Strided::broadcast(&shapes[i], &shape).ok_or_else(broadcast);
    let (walk_if, walk_then, walk_else) = (walk(0)?, walk(1)?, walk(2)?);
    let elements = count(&shape);
    let mut requirements = needs(elements as u64 * 2, elements.div_ceil(CHUNK));
    requirements.in_place = [1, 2].into_iter().filter(|&i| shapes[i] == shape).map(alias).collect();
    dispatch!(op.input(1)?.dtype, carriers, S => {
        kernel(requirements, move |bindings| {
            type E<S> = <S as Stored>::Element;
            let condition = bindings.input::<u8>(0)?;
            let (yes, no) = (bindings.input_bits::<E<S>>(1)?, bindings.input_bits::<E<S>>(2)?);
            let output = bindings.output_bits::<E<S>>(0)?;
            Ok(Box::new(move |call: &Call| {
                let out = call.write(&output);
                let (condition, yes, no) = (call.read(&condition), call.read(&yes), call.read(&no));
                let mut choice = [0; CHUNK];
                let mut left = [<S as Stored>::Value::default(); CHUNK];
                let mut right = [<S as Stored>::Value::default(); CHUNK];
                let share = call.share(out.len(), CHUNK);
                for at in share.clone().step_by(CHUNK) {
                    let n = CHUNK.min(share.end - at);
                    walk_if.load::<Bool>(&condition, at, &mut choice[..n]);
                    walk_then.load::<S>(&yes, at, &mut left[..n]);
                    walk_else.load::<S>(&no, at, &mut right[..n]);
                    let to = out.part(at..at + n);
                    for i in 0..n {
                        to.set(i, S::store(if choice[i] != 0 { left[i] } else { right[i] }));
                    }
                }
                Ok(())
            }))
        })
    })
}
