//! `RotaryEmbedding`: pairs of neighbours of a row are turned by the angle that belongs to the row's place in the sequence.

use crate::arguments::Op;
use crate::element::{FLOATS, Stored, dispatch};
use crate::number::Number;
use crate::settle::{alias, kernel, needs};
use crate::table::{LATEST, Row, signature};
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Error, ErrorCode, Kernel, Result};

pub(crate) fn rows() -> Vec<Row> {
    let signatures = FLOATS.iter().map(|&d| signature(&[d, d, d, 7], &[d])).collect();
    vec![Row::new("RotaryEmbedding", (23, LATEST), signatures, Tolerance::Ulp(2), rotary).in_place(&[0])]
}

fn rotary(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    op.expect_output(0, &shape)?;
    let (batches, heads, length, width) = match shape[..] {
        [batches, heads, length, width] => (batches, heads, length, width),
        [batches, length, packed] => {
            let heads = op.attributes().integer("num_heads").unwrap_or(0);
            if heads < 1 || packed as i64 % heads != 0 {
                return Err(op.invalid(format_args!("`num_heads` = {heads} for rows of {packed} elements")));
            }
            (batches, heads as usize, length, packed / heads as usize)
        }
        _ => return Err(op.invalid(format_args!("an input of shape {shape:?}"))),
    };
    let turned = match op.attributes().integer("rotary_embedding_dim").unwrap_or(0) {
        0 => width,
        given => usize::try_from(given).unwrap_or(usize::MAX),
    };
    if turned > width || turned % 2 != 0 {
        return Err(op.invalid(format_args!("{turned} elements of rows of {width} do not turn in pairs")));
    }
    let half = turned / 2;
    // Angles come row by row, or by place from a table.
    let table = match op.optional(3) {
        Some(_) => {
            op.expect_input(3, &[batches, length])?;
            let angles = op.shape(1)?;
            let places = *angles.first().ok_or_else(|| op.invalid("a table of angles without places").at(1))?;
            op.expect_input(1, &[places, half])?;
            op.expect_input(2, &[places, half])?;
            Some(places)
        }
        None => {
            op.expect_input(1, &[batches, length, half])?;
            op.expect_input(2, &[batches, length, half])?;
            None
        }
    };
    let interleaved = op.attributes().flag("interleaved");
    let packed = shape.len() == 3;
    let units = batches * heads * length;
    let mut requirements = needs((units * width * 2) as u64, units);
    requirements.in_place = vec![alias(0)];
    dispatch!(op.input(0)?.dtype, floats, S => {
        kernel(requirements, move |bindings| {
            type E<S> = <S as Stored>::Element;
            let (x, cos, sin) = (bindings.input::<E<S>>(0)?, bindings.input::<E<S>>(1)?, bindings.input::<E<S>>(2)?);
            let places = if table.is_some() { Some(bindings.input::<i64>(3)?) } else { None };
            let y = bindings.output::<E<S>>(0)?;
            Ok(Box::new(move |call: &Call| {
                let (x, cos, sin, y) = (call.read(&x), call.read(&cos), call.read(&sin), call.write(&y));
                for unit in call.share(units, 1) {
                    // Rows in the order of memory: the heads of a place lie side by side, or the places of a head.
                    let (batch, at) = match packed {
                        true => (unit / heads / length, unit / heads % length),
                        false => (unit / length / heads, unit % length),
                    };
                    let token = batch * length + at;
                    let angle = match (&places, table) {
                        (Some(places), Some(count)) => {
                            let place = call.read(places).get(token);
                            let place = usize::try_from(place).ok().filter(|&place| place < count);
                            place.ok_or_else(|| outside(count))?
                        }
                        _ => token,
                    };
                    let angles = angle * half..(angle + 1) * half;
                    let (cos, sin) = (cos.part(angles.clone()), sin.part(angles));
                    let span = unit * width..(unit + 1) * width;
                    let (from, to) = (x.part(span.clone()), y.part(span));
                    for i in 0..half {
                        let (first, second) = if interleaved { (2 * i, 2 * i + 1) } else { (i, i + half) };
                        let value = |element| S::load(element).to_f64();
                        let (a, b) = (value(from.get(first)), value(from.get(second)));
                        let (c, s) = (value(cos.get(i)), value(sin.get(i)));
                        to.set(first, S::store(<S as Stored>::Value::from_f64(c * a - s * b)));
                        to.set(second, S::store(<S as Stored>::Value::from_f64(s * a + c * b)));
                    }
                    to.part(turned..width).copy_from(from.part(turned..width));
                }
                Ok(())
            }))
        })
    })
}

fn outside(places: usize) -> Error {
    let message =
        format!("RotaryEmbedding: a position lies outside of the table of {places} angles: pass a larger table");
    Error::new(ErrorCode::InvalidArgument, message)
}
