//! Operators of two or more inputs of one type, element by element, with numpy broadcasting: arithmetic, bits, minima and maxima.
//!
//! Each kernel gathers a chunk of every operand into local memory, whatever its strides, and folds them there: the inner loops see plain
//! arrays, and an output may lie on an input of its own shape.

use crate::arguments::Op;
use crate::element::{FLOATS, INTEGERS, NUMBERS, Stored, dispatch};
use crate::number::Number;
use crate::settle::{CHUNK, alias, kernel, needs};
use crate::strided::{Strided, broadcast_shape, count};
use crate::table::{LATEST, Row, same};
use std::sync::Arc;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Error, Kernel, Result};

pub(crate) fn rows() -> Vec<Row> {
    let row = |name, since, signatures, tolerance| {
        Row::new(name, (since, LATEST), signatures, tolerance, fold).in_place(&[0, 1])
    };
    let mut rows = Vec::new();
    for name in ["Add", "Sub", "Mul", "Div"] {
        // Half floats are computed in f32 and rounded twice, which is once for these four.
        rows.push(row(name, 7, same(2, 1, NUMBERS), Tolerance::Exact));
    }
    rows.push(row("Max", 8, same(1, 1, NUMBERS), Tolerance::Exact));
    rows.push(row("Min", 8, same(1, 1, NUMBERS), Tolerance::Exact));
    rows.push(row("Sum", 8, same(1, 1, FLOATS), Tolerance::Accumulate(1.0)));
    rows.push(row("Mean", 8, same(1, 1, FLOATS), Tolerance::Accumulate(1.0)));
    rows.push(row("Mod", 10, same(2, 1, NUMBERS), Tolerance::Exact));
    rows.push(row("PRelu", 7, same(2, 1, &[1, 11, 10, 16, 6, 7, 12, 13]), Tolerance::Exact));
    rows.push(row("BitShift", 11, same(2, 1, INTEGERS), Tolerance::Exact));
    for name in ["BitwiseAnd", "BitwiseOr", "BitwiseXor"] {
        rows.push(row(name, 18, same(2, 1, INTEGERS), Tolerance::Exact));
    }
    for name in ["And", "Or", "Xor"] {
        rows.push(row(name, 7, same(2, 1, &[9]), Tolerance::Exact));
    }
    rows
}

/// Combines a chunk into the first one. A trait of its own, because the standard ones would add two more functions to each closure.
trait Combine<V>: Send + Sync {
    /// False: an integer was divided by zero.
    fn combine(&self, left: &mut [V], right: &[V]) -> bool;
}

impl<V, F: Fn(&mut [V], &[V]) -> bool + Send + Sync> Combine<V> for F {
    fn combine(&self, left: &mut [V], right: &[V]) -> bool {
        self(left, right)
    }
}

type Fold<V> = Box<dyn Combine<V>>;

fn total<V: Copy + 'static>(combine: impl Fn(V, V) -> V + Send + Sync + 'static) -> Fold<V> {
    Box::new(move |left: &mut [V], right: &[V]| {
        for (left, &right) in left.iter_mut().zip(right) {
            *left = combine(*left, right);
        }
        true
    })
}

fn partial<V: Copy + 'static>(combine: impl Fn(V, V) -> Option<V> + Send + Sync + 'static) -> Fold<V> {
    Box::new(move |left: &mut [V], right: &[V]| {
        left.iter_mut().zip(right).all(|(left, &right)| match combine(*left, right) {
            Some(value) => {
                *left = value;
                true
            }
            None => false,
        })
    })
}

fn arithmetic<V: Number>(op: Op<'_>) -> Result<Fold<V>> {
    Ok(match op.name() {
        "Add" | "Sum" | "Mean" => total(V::add),
        "Sub" => total(V::sub),
        "Mul" => total(V::mul),
        "Div" if V::IS_FLOAT => total(|a: V, b: V| a.div(b).unwrap_or(V::ZERO)),
        "Div" => partial(V::div),
        "Max" => total(V::larger),
        "Min" => total(V::smaller),
        "PRelu" => total(|x: V, slope: V| if x < V::ZERO { x.mul(slope) } else { x }),
        "Mod" if op.attributes().flag("fmod") => partial(V::remainder),
        "Mod" => partial(V::modulo),
        _ => return Err(op.unsupported("this combination of name and element type")),
    })
}

fn bitwise<V>(op: Op<'_>) -> Result<Fold<V>>
where
    V: Number + std::ops::BitAnd<Output = V> + std::ops::BitOr<Output = V> + std::ops::BitXor<Output = V>,
{
    let bits = 8 * size_of::<V>() as i64;
    Ok(match op.name() {
        "BitwiseAnd" => total(|a: V, b: V| a & b),
        "BitwiseOr" => total(|a: V, b: V| a | b),
        "BitwiseXor" => total(|a: V, b: V| a ^ b),
        _ => {
            let left = match op.attributes().text("direction") {
                "LEFT" => true,
                "RIGHT" => false,
                other => return Err(op.invalid(format_args!("direction `{other}`"))),
            };
            // A shift by all bits or more leaves nothing (or the sign).
            total(move |a: V, by: V| {
                let by = by.to_i64();
                let inside = (0..bits).contains(&by);
                match (left, inside) {
                    (true, true) => V::from_i64(a.to_i64() << by),
                    (true, false) => V::ZERO,
                    (false, true) if V::IS_SIGNED => V::from_i64(a.to_i64() >> by),
                    (false, true) => V::from_u64((a.to_i64() as u64) >> by),
                    (false, false) if V::IS_SIGNED && a < V::ZERO => V::ZERO.sub(V::ONE),
                    (false, false) => V::ZERO,
                }
            })
        }
    })
}

fn fold(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let dtype = op.input(0)?.dtype;
    match op.name() {
        "And" => folded::<crate::element::Bool>(op, total(|a, b| u8::from(a != 0 && b != 0))),
        "Or" => folded::<crate::element::Bool>(op, total(|a, b| u8::from(a != 0 || b != 0))),
        "Xor" => folded::<crate::element::Bool>(op, total(|a, b| u8::from((a != 0) != (b != 0)))),
        "BitwiseAnd" | "BitwiseOr" | "BitwiseXor" | "BitShift" => {
            dispatch!(dtype, integers, S => folded::<S>(op, bitwise(op)?))
        }
        _ => dispatch!(dtype, numbers, S => folded::<S>(op, arithmetic(op)?)),
    }
}

fn folded<S: Stored>(op: Op<'_>, combine: Fold<S::Value>) -> Result<Box<dyn Kernel>> {
    let shapes = op.shapes()?;
    if shapes.is_empty() {
        return Err(op.invalid("no inputs"));
    }
    let broadcast = || op.invalid(format_args!("shapes {shapes:?} do not broadcast"));
    let shape = broadcast_shape(&shapes).ok_or_else(broadcast)?;
    op.expect_output(0, &shape)?;
    let walks =
        shapes.iter().map(|s| Strided::broadcast(s, &shape).ok_or_else(broadcast)).collect::<Result<Vec<_>>>()?;
    let walks: Arc<[Strided]> = walks.into();
    let elements = count(&shape);
    let mut requirements = needs((elements * shapes.len()) as u64, elements.div_ceil(CHUNK));
    requirements.in_place = (0..shapes.len().min(2)).filter(|&i| shapes[i] == shape).map(alias).collect();
    let combine = Arc::new(combine);
    let name: Arc<str> = op.name().into();
    let divisor = (op.name() == "Mean").then(|| S::Value::from_f64(shapes.len() as f64));
    kernel(requirements, move |bindings| {
        let inputs = (0..walks.len()).map(|i| bindings.input::<S::Element>(i)).collect::<Result<Box<[_]>>>()?;
        let output = bindings.output::<S::Element>(0)?;
        let (walks, combine, name) = (walks.clone(), combine.clone(), name.clone());
        Ok(Box::new(move |call: &Call| {
            let out = call.write(&output);
            let mut left = [S::Value::default(); CHUNK];
            let mut right = [S::Value::default(); CHUNK];
            let share = call.share(out.len(), CHUNK);
            for at in share.clone().step_by(CHUNK) {
                let n = CHUNK.min(share.end - at);
                let (left, right) = (&mut left[..n], &mut right[..n]);
                walks[0].load::<S>(&call.read(&inputs[0]), at, left);
                for (walk, input) in walks.iter().zip(&inputs).skip(1) {
                    walk.load::<S>(&call.read(input), at, right);
                    if !combine.combine(left, right) {
                        return Err(Error::data(format!("{name}: an integer is divided by zero")));
                    }
                }
                if let Some(divisor) = divisor {
                    for value in left.iter_mut() {
                        *value = value.div(divisor).unwrap_or_default();
                    }
                }
                let to = out.part(at..at + n);
                for (i, &value) in left.iter().enumerate() {
                    to.set(i, S::store(value));
                }
            }
            Ok(())
        }))
    })
}
