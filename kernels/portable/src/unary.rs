//! Operators of one input, element by element.

use crate::activation::{Function, Map, activation, map};
use crate::arguments::Op;
use crate::element::{FLOATS, INTEGERS, NUMBERS, SIGNED, SIZED, SMALL_FLOATS, Stored, bits, dispatch};
use crate::number::Number;
use crate::settle::{CHUNK, alias, kernel, needs};
use crate::strided::{Strided, count};
use crate::table::{LATEST, Row, same, signature};
use crate::wide::source;
use std::sync::Arc;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Input, Kernel, Output, Result};

/// Operators that are exact arithmetic or a choice, on floats.
const EXACT: &[(&str, u16)] = &[("Floor", 6), ("Ceil", 6), ("Round", 11), ("ThresholdedRelu", 10), ("Shrink", 9)];

/// Operators that round once at the end.
const ROUNDED: &[(&str, u16)] = &[
    ("LeakyRelu", 6),
    ("Sigmoid", 6),
    ("Tanh", 6),
    ("Gelu", 20),
    ("Swish", 24),
    ("Elu", 6),
    ("Celu", 12),
    ("Selu", 6),
    ("Softplus", 1),
    ("Softsign", 1),
    ("Mish", 18),
    ("Reciprocal", 6),
    ("Sqrt", 6),
    ("Exp", 6),
    ("Log", 6),
    ("Sin", 7),
    ("Cos", 7),
    ("Tan", 7),
    ("Asin", 7),
    ("Acos", 7),
    ("Atan", 7),
    ("Sinh", 9),
    ("Cosh", 9),
    ("Asinh", 9),
    ("Acosh", 9),
    ("Atanh", 9),
    ("Erf", 9),
    ("HardSigmoid", 6),
    ("HardSwish", 14),
];

/// Bytes that are copied at a time, at least.
const COPIED: usize = 4096;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for &(name, since) in EXACT {
        let dtypes = if name == "Shrink" { NUMBERS } else { FLOATS };
        rows.push(Row::new(name, (since, LATEST), same(1, 1, dtypes), Tolerance::Exact, unary).in_place(&[0]));
    }
    for &(name, since) in ROUNDED {
        let tolerance = match name {
            "Elu" | "Celu" | "Selu" | "HardSigmoid" | "HardSwish" => Tolerance::Approximate(1e-6),
            _ => Tolerance::Ulp(2),
        };
        // The exponential of an f64 has no wider type to round from.
        rows.push(Row::new(name, (since, LATEST), same(1, 1, &[1, 10, 16]), tolerance, unary).in_place(&[0]));
        rows.push(
            Row::new(name, (since, LATEST), same(1, 1, &[11]), Tolerance::Approximate(1e-12), unary).in_place(&[0]),
        );
    }
    for (name, since, dtypes) in [("Abs", 6, NUMBERS), ("Sign", 9, NUMBERS), ("Neg", 6, SIGNED), ("Relu", 6, SIGNED)] {
        rows.push(Row::new(name, (since, LATEST), same(1, 1, dtypes), Tolerance::Exact, unary).in_place(&[0]));
    }
    rows.push(Row::new("Clip", (11, LATEST), same(3, 1, NUMBERS), Tolerance::Exact, clip_operator).in_place(&[0]));
    rows.push(Row::new("Not", (1, LATEST), same(1, 1, &[9]), Tolerance::Exact, unary).in_place(&[0]));
    rows.push(Row::new("BitwiseNot", (18, LATEST), same(1, 1, INTEGERS), Tolerance::Exact, unary).in_place(&[0]));
    let to_bool = || [FLOATS, SMALL_FLOATS].concat().iter().map(|&dtype| signature(&[dtype], &[9])).collect();
    rows.push(Row::new("IsNaN", (9, LATEST), to_bool(), Tolerance::Exact, classify));
    rows.push(Row::new("IsInf", (10, LATEST), to_bool(), Tolerance::Exact, classify));
    rows.push(Row::new("Identity", (1, LATEST), same(1, 1, SIZED), Tolerance::Exact, copy).in_place(&[0]));
    rows
}

fn unary(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    op.expect_output(0, &shape)?;
    let unknown = || op.unsupported("this combination of name and element type");
    match (op.name(), op.input(0)?.dtype) {
        ("Not", _) => mapped::<crate::element::Bool>(count(&shape), map(|x| u8::from(x == 0))),
        ("BitwiseNot", dtype) => dispatch!(dtype, integers, S => {
            type V<S> = <S as Stored>::Value;
            // Two's complement: the complement is one less than the negative.
            mapped::<S>(count(&shape), map(|x: V<S>| x.neg().sub(V::<S>::ONE)))
        }),
        (name, dtype) => dispatch!(dtype, numbers, S => {
            mapped::<S>(count(&shape), activation(name, op.attributes()).ok_or_else(unknown)?)
        }),
    }
}

fn mapped<S: Stored>(elements: usize, function: Map<S::Value>) -> Result<Box<dyn Kernel>> {
    let function = Arc::new(function);
    let mut requirements = needs(elements as u64 * 4, elements.div_ceil(CHUNK));
    requirements.in_place = vec![alias(0)];
    kernel(requirements, move |bindings| {
        let (x, y) = (bindings.input::<S::Element>(0)?, bindings.output::<S::Element>(0)?);
        let function = function.clone();
        Ok(Box::new(move |call: &Call| {
            through::<S, S>(call, &x, &y, &**function);
            Ok(())
        }))
    })
}

/// Applies `function` to every element of this shard, a chunk at a time.
fn through<S: Stored, T: Stored<Value = S::Value>>(
    call: &Call,
    x: &Input<S::Element>,
    y: &Output<T::Element>,
    function: &dyn Function<S::Value>,
) {
    let (x, y) = (call.read(x), call.write(y));
    let mut local = [S::Value::default(); CHUNK];
    let share = call.share(y.len(), CHUNK);
    for at in share.clone().step_by(CHUNK) {
        let local = &mut local[..CHUNK.min(share.end - at)];
        let (from, to) = (x.part(at..at + local.len()), y.part(at..at + local.len()));
        for (value, element) in local.iter_mut().zip(from.iter()) {
            *value = S::load(element);
        }
        function.apply(local);
        for (i, &value) in local.iter().enumerate() {
            to.set(i, T::store(value));
        }
    }
}

fn clip_operator(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    op.expect_output(0, &shape)?;
    for bound in [1, 2] {
        if op.optional(bound).is_some_and(|operand| operand.shape.iter().any(|&dim| dim != 1)) {
            return Err(op.invalid("a bound must be a scalar").at(bound));
        }
    }
    let (has_low, has_high) = (op.optional(1).is_some(), op.optional(2).is_some());
    dispatch!(op.input(0)?.dtype, numbers, S => {
        let mut requirements = needs(count(&shape) as u64, count(&shape).div_ceil(CHUNK));
        requirements.in_place = vec![alias(0)];
        kernel(requirements, move |bindings| {
            type E<S> = <S as Stored>::Element;
            let (x, y) = (bindings.input::<E<S>>(0)?, bindings.output::<E<S>>(0)?);
            let low = if has_low { Some(bindings.input::<E<S>>(1)?) } else { None };
            let high = if has_high { Some(bindings.input::<E<S>>(2)?) } else { None };
            Ok(Box::new(move |call: &Call| {
                let bound = |input: &Option<Input<E<S>>>, none| {
                    input.as_ref().map_or(none, |input| S::load(call.read(input).get(0)))
                };
                let low = bound(&low, <S as Stored>::Value::LOWEST);
                let high = bound(&high, <S as Stored>::Value::HIGHEST);
                through::<S, S>(call, &x, &y, &move |values: &mut [<S as Stored>::Value]| {
                    for value in values {
                        *value = crate::activation::limit(*value, low, high);
                    }
                });
                Ok(())
            }))
        })
    })
}

/// `IsNaN` and `IsInf`.
fn classify(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    op.expect_output(0, &shape)?;
    let wants = |key: &str| op.attributes().integer(key).unwrap_or(1) != 0;
    let (negative, positive) = (wants("detect_negative"), wants("detect_positive"));
    let nan = op.name() == "IsNaN";
    let (dtype, elements) = (op.input(0)?.dtype, count(&shape));
    let walk = Strided::new(&[elements], &[1], 0);
    kernel(needs(elements as u64 * 2, elements.div_ceil(CHUNK)), move |bindings| {
        let (x, y) = (source(bindings, dtype, 0)?, bindings.output::<u8>(0)?);
        Ok(Box::new(move |call: &Call| {
            let y = call.write(&y);
            let (mut wide, mut numbers) = (x.chunk(), [0.0; CHUNK]);
            let share = call.share(elements, CHUNK);
            for at in share.clone().step_by(CHUNK) {
                let n = CHUNK.min(share.end - at);
                x.load(call, &walk, 0, at, n, &mut wide);
                wide.reals(n, &mut numbers);
                for (i, &value) in numbers[..n].iter().enumerate() {
                    let infinite = (positive && value == f64::INFINITY) || (negative && value == f64::NEG_INFINITY);
                    y.set(at + i, u8::from(if nan { value.is_nan() } else { infinite }));
                }
            }
            Ok(())
        }))
    })
}

/// Elements as they are: `Identity`, `Reshape` and the other operators that change the shape alone.
pub(crate) fn copy(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let elements = count(&op.shape(0)?);
    if elements != count(&op.output_shape(0)?) {
        return Err(op.invalid("input and output differ in their number of elements"));
    }
    let width = bits(op.input(0)?.dtype);
    if width != bits(op.output(0)?.dtype) {
        return Err(op.invalid("input and output differ in the size of their elements"));
    }
    let bytes = (elements * width as usize).div_ceil(8);
    let mut requirements = needs(bytes as u64 / 4, bytes.div_ceil(COPIED));
    requirements.in_place = vec![alias(0)];
    kernel(requirements, move |bindings| {
        let (x, y) = (bindings.input_bytes(0)?, bindings.output_bytes(0)?);
        Ok(Box::new(move |call: &Call| {
            let share = call.share(bytes, COPIED);
            call.write(&y).part(share.clone()).copy_from(call.read(&x).part(share));
            Ok(())
        }))
    })
}
