//! `Range`: numbers at equal distances. The operation's output says how many.

use crate::arguments::Op;
use crate::number::Number;
use crate::settle::{CHUNK, kernel, needs};
use crate::strided::Strided;
use crate::table::{LATEST, Row, same};
use crate::wide::{Wide, sink, source};
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Result};

pub(crate) fn rows() -> Vec<Row> {
    vec![Row::new("Range", (11, LATEST), same(3, 1, &[1, 11, 10, 16, 5, 6, 7]), Tolerance::Ulp(1), range)]
}

fn range(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    for index in 0..3 {
        if op.shape(index)?.iter().any(|&dim| dim != 1) {
            return Err(op.invalid("start, limit and delta are scalars").at(index));
        }
    }
    let &[elements] = op.output_shape(0)?.as_slice() else {
        return Err(op.invalid("the output has one axis").at(3));
    };
    let dtype = op.input(0)?.dtype;
    kernel(needs(elements as u64, elements.div_ceil(CHUNK)), move |bindings| {
        let (start, delta) = (source(bindings, dtype, 0)?, source(bindings, dtype, 2)?);
        let y = sink(bindings, dtype, 0)?;
        Ok(Box::new(move |call: &Call| {
            let single = Strided::new(&[], &[], 0);
            let (mut first, mut step) = (start.chunk(), delta.chunk());
            start.load(call, &single, 0, 0, 1, &mut first);
            delta.load(call, &single, 0, 0, 1, &mut step);
            let mut numbers = first.clone();
            let share = call.share(elements, CHUNK);
            for at in share.clone().step_by(CHUNK) {
                let n = CHUNK.min(share.end - at);
                match (&mut numbers, &first, &step) {
                    (Wide::Real(numbers), Wide::Real(first), Wide::Real(step)) => fill(numbers, first[0], step[0], at),
                    (Wide::Signed(numbers), Wide::Signed(first), Wide::Signed(step)) => {
                        fill(numbers, first[0], step[0], at);
                    }
                    _ => unreachable!("operands of one type, a float or a signed integer"),
                }
                y.store(call, at, n, &numbers);
            }
            Ok(())
        }))
    })
}

/// The numbers from place `at` on, each from its own place: nothing adds up.
fn fill<W: Number>(numbers: &mut [W; CHUNK], first: W, step: W, at: usize) {
    for (i, number) in numbers.iter_mut().enumerate() {
        *number = first.add(step.mul(W::from_i64((at + i) as i64)));
    }
}
