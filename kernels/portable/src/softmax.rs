//! `Softmax`, `LogSoftmax` and `Hardmax` along one axis.

use crate::arguments::Op;
use crate::element::{FLOATS, Stored, dispatch};
use crate::number::Number;
use crate::settle::{alias, kernel, needs};
use crate::strided::count;
use crate::table::{LATEST, Row, same};
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Reader, Result, Writer};

pub(crate) fn rows() -> Vec<Row> {
    // Before revision 13 the axis split the shape in two; such nodes are rewritten.
    let row = |name, tolerance| Row::new(name, (13, LATEST), same(1, 1, FLOATS), tolerance, softmax).in_place(&[0]);
    vec![
        row("Softmax", Tolerance::Approximate(1e-6)),
        row("LogSoftmax", Tolerance::Approximate(1e-6)),
        row("Hardmax", Tolerance::Exact),
    ]
}

/// One line along the axis: where its elements are.
#[derive(Clone, Copy)]
struct Line {
    start: usize,
    step: usize,
    length: usize,
}

fn softmax(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    op.expect_output(0, &shape)?;
    let axis = op.axis("axis", -1, shape.len())?;
    let (length, step) = (shape[axis], count(&shape[axis + 1..]));
    let lines = count(&shape[..axis]) * step;
    let mut requirements = needs((lines * length) as u64 * 15, lines);
    requirements.in_place = vec![alias(0)];
    let name = op.name();
    dispatch!(op.input(0)?.dtype, floats, S => {
        let along: fn(&Reader<'_, _>, &Writer<'_, _>, Line) = match name {
            "Softmax" => normalised::<S>,
            "LogSoftmax" => logarithms::<S>,
            _ => hardmax::<S>,
        };
        kernel(requirements, move |bindings| {
            type E<S> = <S as Stored>::Element;
            let (x, y) = (bindings.input::<E<S>>(0)?, bindings.output::<E<S>>(0)?);
            Ok(Box::new(move |call: &Call| {
                let (x, y) = (call.read(&x), call.write(&y));
                for line in call.share(lines, 1) {
                    let start = line / step * step * length + line % step;
                    along(&x, &y, Line { start, step, length });
                }
                Ok(())
            }))
        })
    })
}

impl Line {
    fn values<'a, S: Stored>(self, x: &'a Reader<'_, S::Element>) -> impl Iterator<Item = S::Value> + 'a {
        (0..self.length).map(move |i| S::load(x.get(self.start + i * self.step)))
    }

    fn largest<S: Stored>(self, x: &Reader<'_, S::Element>) -> S::Value {
        self.values::<S>(x).fold(S::Value::LOWEST, |largest, value| value.larger(largest))
    }
}

/// The exponential of a difference, computed in the type of the operands.
fn exponential<V: Number>(x: V) -> V {
    if size_of::<V>() == 4 {
        V::from_f64(libm::expf(x.to_f64() as f32).into())
    } else {
        V::from_f64(libm::exp(x.to_f64()))
    }
}

/// The exponentials are computed twice instead of being kept: the output may be narrower than they are.
fn normalised<S: Stored>(x: &Reader<'_, S::Element>, y: &Writer<'_, S::Element>, line: Line) {
    let largest = line.largest::<S>(x);
    let sum: f64 = line.values::<S>(x).map(|value| exponential(value.sub(largest)).to_f64()).sum();
    for i in 0..line.length {
        let at = line.start + i * line.step;
        let exponential = exponential(S::load(x.get(at)).sub(largest));
        y.set(at, S::store(S::Value::from_f64(exponential.to_f64() / sum)));
    }
}

fn logarithms<S: Stored>(x: &Reader<'_, S::Element>, y: &Writer<'_, S::Element>, line: Line) {
    let largest = line.largest::<S>(x).to_f64();
    let sum: f64 = line.values::<S>(x).map(|value| libm::exp(value.to_f64() - largest)).sum();
    let shift = largest + libm::log(sum);
    for i in 0..line.length {
        let at = line.start + i * line.step;
        y.set(at, S::store(S::Value::from_f64(S::load(x.get(at)).to_f64() - shift)));
    }
}

/// One at the first largest element, zero elsewhere.
fn hardmax<S: Stored>(x: &Reader<'_, S::Element>, y: &Writer<'_, S::Element>, line: Line) {
    let largest = line.largest::<S>(x);
    let first = line.values::<S>(x).position(|value| value == largest).unwrap_or(0);
    for i in 0..line.length {
        let value = if i == first { S::Value::ONE } else { S::Value::ZERO };
        y.set(line.start + i * line.step, S::store(value));
    }
}
