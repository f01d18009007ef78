//! `Cast`, between every pair of plain element types.

use crate::arguments::Op;
use crate::convert::Convert;
use crate::element::{EVERY, dispatch};
use crate::settle::{CHUNK, kernel, needs};
use crate::strided::count;
use crate::table::{LATEST, Row, signature};
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Result};

pub(crate) fn rows() -> Vec<Row> {
    let pairs = || EVERY.iter().flat_map(|&from| EVERY.iter().map(move |&to| signature(&[from], &[to]))).collect();
    let like = || {
        let pairs = EVERY.iter().flat_map(|&from| EVERY.iter().map(move |&to| signature(&[from, to], &[to])));
        pairs.collect()
    };
    vec![
        Row::new("Cast", (6, LATEST), pairs(), Tolerance::Exact, cast),
        Row::new("CastLike", (15, LATEST), like(), Tolerance::Exact, cast),
    ]
}

fn cast(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    op.expect_output(0, &shape)?;
    let (from, to) = (op.input(0)?.dtype, op.output(0)?.dtype);
    if op.attributes().integer("to").is_some_and(|wanted| wanted != i64::from(to)) {
        return Err(op.invalid("attribute `to` and the output's element type differ"));
    }
    if from == to {
        return crate::unary::copy(op);
    }
    dispatch!(from, every, A => dispatch!(to, every, B => converted::<A, B>(count(&shape))))
}

fn converted<A: Convert, B: Convert>(elements: usize) -> Result<Box<dyn Kernel>> {
    kernel(needs(elements as u64 * 2, elements.div_ceil(CHUNK)), |bindings| {
        let (x, y) = (bindings.input::<A::Element>(0)?, bindings.output::<B::Element>(0)?);
        Ok(Box::new(move |call: &Call| {
            let (x, y) = (call.read(&x), call.write(&y));
            let share = call.share(y.len(), CHUNK);
            let (x, y) = (x.part(share.clone()), y.part(share));
            for i in 0..y.len() {
                y.set(i, B::narrowed(A::widened(x.get(i))));
            }
            Ok(())
        }))
    })
}
