//! Comparisons, and `Pow`, whose operands may differ in type. Both work on wide numbers: one loop for all element types.

use crate::arguments::Op;
use crate::element::{EVERY, NUMBERS};
use crate::number::Number;
use crate::settle::{CHUNK, alias, kernel, needs};
use crate::strided::{Strided, broadcast_shape, count};
use crate::table::{LATEST, Row, signature};
use crate::wide::{Wide, sink, source};
use std::cmp::Ordering;
use sunmao_plugin_sdk::abi::{Signature, Tolerance};
use sunmao_plugin_sdk::{Call, Kernel, Result};

pub(crate) fn rows() -> Vec<Row> {
    let to_bool = |dtypes: &[u16]| dtypes.iter().map(|&dtype| signature(&[dtype; 2], &[9])).collect::<Vec<_>>();
    let mut rows = vec![Row::new("Equal", (7, LATEST), to_bool(EVERY), Tolerance::Exact, compare)];
    for (name, since) in [("Less", 7), ("LessOrEqual", 12), ("Greater", 7), ("GreaterOrEqual", 12)] {
        rows.push(Row::new(name, (since, LATEST), to_bool(NUMBERS), Tolerance::Exact, compare));
    }
    rows.push(Row::new("Pow", (7, LATEST), powers(), Tolerance::Ulp(1), power).in_place(&[0]));
    rows
}

/// Types of base and exponent; the result has the type of the base.
fn powers() -> Vec<Signature> {
    let bases = [1, 11, 10, 16, 6, 7];
    bases.iter().flat_map(|&base| NUMBERS.iter().map(move |&exponent| signature(&[base, exponent], &[base]))).collect()
}

fn power(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let raise = |base: &Wide, exponent: &Wide, n: usize, into: &mut Wide| {
        let (mut bases, mut exponents) = ([0.0; CHUNK], [0.0; CHUNK]);
        base.reals(n, &mut bases);
        exponent.reals(n, &mut exponents);
        let real = |i: usize| match exponents[i] {
            2.0 => bases[i] * bases[i],
            other => libm::pow(bases[i], other),
        };
        match (base, into) {
            (Wide::Signed(base), Wide::Signed(into)) => {
                for i in 0..n {
                    into[i] = match exponent {
                        Wide::Signed(exponent) if exponent[i] >= 0 => integer_power(base[i], exponent[i] as u64),
                        Wide::Unsigned(exponent) => integer_power(base[i], exponent[i]),
                        _ => real(i) as i64,
                    };
                }
            }
            (_, Wide::Real(into)) => into[..n].iter_mut().enumerate().for_each(|(i, value)| *value = real(i)),
            _ => unreachable!("the table has floats and signed integers as bases"),
        }
    };
    zipped(op, 20, true, raise)
}

fn compare(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let holds: fn(Option<Ordering>) -> bool = match op.name() {
        "Equal" => |order| order == Some(Ordering::Equal),
        "Less" => |order| order == Some(Ordering::Less),
        "LessOrEqual" => |order| matches!(order, Some(Ordering::Less | Ordering::Equal)),
        "Greater" => |order| order == Some(Ordering::Greater),
        _ => |order| matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    };
    let compare = move |left: &Wide, right: &Wide, n: usize, into: &mut Wide| {
        let Wide::Unsigned(into) = into else { return };
        for (i, value) in into[..n].iter_mut().enumerate() {
            let order = match (left, right) {
                (Wide::Real(a), Wide::Real(b)) => a[i].partial_cmp(&b[i]),
                (Wide::Signed(a), Wide::Signed(b)) => Some(a[i].cmp(&b[i])),
                (Wide::Unsigned(a), Wide::Unsigned(b)) => Some(a[i].cmp(&b[i])),
                _ => unreachable!("operands of one type"),
            };
            *value = holds(order).into();
        }
    };
    zipped(op, 3, false, compare)
}

/// Two operands, broadcast, combined chunk by chunk. The chunk of results has the kind of the left operand, or holds booleans.
fn zipped(
    op: Op<'_>,
    ns: u64,
    in_place: bool,
    combine: impl Fn(&Wide, &Wide, usize, &mut Wide) + Copy + Send + Sync + 'static,
) -> Result<Box<dyn Kernel>> {
    let shapes = [op.shape(0)?, op.shape(1)?];
    let broadcast = || op.invalid(format_args!("shapes {shapes:?} do not broadcast"));
    let shape = broadcast_shape(&shapes).ok_or_else(broadcast)?;
    op.expect_output(0, &shape)?;
    let walk_a = Strided::broadcast(&shapes[0], &shape).ok_or_else(broadcast)?;
    let walk_b = Strided::broadcast(&shapes[1], &shape).ok_or_else(broadcast)?;
    let elements = count(&shape);
    let mut requirements = needs(elements as u64 * ns, elements.div_ceil(CHUNK));
    if in_place && shapes[0] == shape {
        requirements.in_place = vec![alias(0)];
    }
    let (left, right, out) = (op.input(0)?.dtype, op.input(1)?.dtype, op.output(0)?.dtype);
    let like_left = left == out;
    kernel(requirements, move |bindings| {
        let (a, b, y) = (source(bindings, left, 0)?, source(bindings, right, 1)?, sink(bindings, out, 0)?);
        Ok(Box::new(move |call: &Call| {
            let (mut left, mut right) = (a.chunk(), b.chunk());
            let mut result = if like_left { a.chunk() } else { Wide::Unsigned([0; CHUNK]) };
            let share = call.share(elements, CHUNK);
            for at in share.clone().step_by(CHUNK) {
                let n = CHUNK.min(share.end - at);
                a.load(call, &walk_a, 0, at, n, &mut left);
                b.load(call, &walk_b, 0, at, n, &mut right);
                combine(&left, &right, n, &mut result);
                y.store(call, at, n, &result);
            }
            Ok(())
        }))
    })
}

fn integer_power(mut base: i64, mut exponent: u64) -> i64 {
    let mut result = 1;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = Number::mul(result, base);
        }
        base = Number::mul(base, base);
        exponent >>= 1;
    }
    result
}
