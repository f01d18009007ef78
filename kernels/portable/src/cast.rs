//! `Cast` and `CastLike`, between every pair of real element types, and `BitCast`.

use crate::arguments::Op;
use crate::element::{REAL, SIZED, bits};
use crate::minifloat::Direction;
use crate::narrow::Rounding;
use crate::settle::{CHUNK, kernel, needs};
use crate::strided::{Strided, count};
use crate::table::{LATEST, Row, signature};
use crate::unary::copy;
use crate::wide::{rounding_sink, source};
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Result};

pub(crate) fn rows() -> Vec<Row> {
    let pairs = REAL.iter().flat_map(|&from| REAL.iter().map(move |&to| (from, to)));
    let same_size = SIZED.iter().flat_map(|&from| SIZED.iter().map(move |&to| (from, to)));
    let same_size = same_size.filter(|&(from, to)| bits(from) == bits(to));
    vec![
        Row::new(
            "Cast",
            (6, LATEST),
            pairs.clone().map(|(a, b)| signature(&[a], &[b])).collect(),
            Tolerance::Exact,
            cast,
        ),
        Row::new(
            "CastLike",
            (15, LATEST),
            pairs.map(|(a, b)| signature(&[a, b], &[b])).collect(),
            Tolerance::Exact,
            cast,
        ),
        Row::new(
            "BitCast",
            (26, LATEST),
            same_size.map(|(a, b)| signature(&[a], &[b])).collect(),
            Tolerance::Exact,
            copy,
        )
        .in_place(&[0]),
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
        return copy(op);
    }
    let rounding = Rounding {
        saturate: op.attributes().integer("saturate").unwrap_or(1) != 0,
        direction: match op.attributes().text("round_mode") {
            "" | "up" => Direction::Up,
            "down" => Direction::Down,
            "nearest" => Direction::Nearest,
            other => return Err(op.unsupported(format_args!("round_mode `{other}`"))),
        },
    };
    let elements = count(&shape);
    let walk = Strided::new(&[elements], &[1], 0);
    kernel(needs(elements as u64 * 2, elements.div_ceil(CHUNK)), move |bindings| {
        let (x, y) = (source(bindings, from, 0)?, rounding_sink(bindings, to, 0, rounding)?);
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
