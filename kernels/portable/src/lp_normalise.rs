//! `LpNormalization`: each line along an axis divided by its norm; a line of zeros stays one.

use crate::arguments::Op;
use crate::element::{FLOATS, Stored, dispatch};
use crate::number::Number;
use crate::settle::{alias, kernel, needs};
use crate::strided::count;
use crate::table::{LATEST, Row, same};
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Result};

pub(crate) fn rows() -> Vec<Row> {
    let row = Row::new("LpNormalization", (1, LATEST), same(1, 1, FLOATS), Tolerance::Approximate(1e-6), normalise);
    vec![row.in_place(&[0])]
}

fn normalise(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    op.expect_output(0, &shape)?;
    let axis = op.axis("axis", -1, shape.len())?;
    let squares = match op.attributes().integer("p").unwrap_or(2) {
        1 => false,
        2 => true,
        other => return Err(op.unsupported(format_args!("p = {other} (1 and 2 are)"))),
    };
    let (length, step) = (shape[axis], count(&shape[axis + 1..]));
    let lines = count(&shape[..axis]) * step;
    let mut requirements = needs(count(&shape) as u64 * 3, lines);
    requirements.in_place = vec![alias(0)];
    dispatch!(op.input(0)?.dtype, floats, S => {
        kernel(requirements, move |bindings| {
            type E<S> = <S as Stored>::Element;
            let (x, y) = (bindings.input::<E<S>>(0)?, bindings.output::<E<S>>(0)?);
            Ok(Box::new(move |call: &Call| {
                let (x, y) = (call.read(&x), call.write(&y));
                for line in call.share(lines, 1) {
                    let first = line / step * step * length + line % step;
                    let value = |i: usize| S::load(x.get(first + i * step)).to_f64();
                    let sum: f64 = (0..length).map(|i| if squares { value(i) * value(i) } else { value(i).abs() }).sum();
                    let norm = if squares { sum.sqrt() } else { sum };
                    for i in 0..length {
                        let scaled = if norm == 0.0 { 0.0 } else { value(i) / norm };
                        y.set(first + i * step, S::store(<S as Stored>::Value::from_f64(scaled)));
                    }
                }
                Ok(())
            }))
        })
    })
}
