//! `Cast` and `CastLike`, between every pair of plain element types.

use crate::arguments::Op;
use crate::element::EVERY;
use crate::settle::{CHUNK, kernel, needs};
use crate::strided::{Strided, count};
use crate::table::{LATEST, Row, signature};
use crate::wide::{sink, source};
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
    let elements = count(&shape);
    let walk = Strided::new(&[elements], &[1], 0);
    kernel(needs(elements as u64 * 2, elements.div_ceil(CHUNK)), move |bindings| {
        let (x, y) = (source(bindings, from, 0)?, sink(bindings, to, 0)?);
        Ok(Box::new(move |call: &Call| {
            let mut numbers = x.chunk();
            let share = call.share(elements, CHUNK);
            for at in share.clone().step_by(CHUNK) {
                let n = CHUNK.min(share.end - at);
                x.load(call, &walk, 0, at, n, &mut numbers);
                y.store(call, at, n, &numbers);
            }
            Ok(())
        }))
    })
}
