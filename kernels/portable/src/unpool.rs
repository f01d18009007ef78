//! `MaxUnpool`: puts each maximum back where a `MaxPool` found it, and zeros everywhere else.

use crate::arguments::Op;
use crate::element::{FLOATS, Stored, dispatch};
use crate::settle::{kernel, needs};
use crate::strided::{Strided, count, dense_strides};
use crate::table::{LATEST, Row, signature};
use crate::window::Window;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Error, ErrorCode, Kernel, Result};

pub(crate) fn rows() -> Vec<Row> {
    let signatures = FLOATS.iter().map(|&d| signature(&[d, 7, 7], &[d])).collect();
    vec![Row::new("MaxUnpool", (9, LATEST), signatures, Tolerance::Exact, unpool)]
}

fn unpool(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let (shape, out) = (op.shape(0)?, op.output_shape(0)?);
    op.expect_input(1, &shape)?;
    if shape.len() < 3 || out.len() != shape.len() || out[..2] != shape[..2] {
        return Err(op.invalid(format_args!("an output of shape {out:?} from {shape:?}")));
    }
    // Places count in the picture that the window gives; a larger output holds it in its first corner.
    let window = Window::attributes(op, &shape[2..], None)?;
    let mut pooled = shape[..2].to_vec();
    for axis in &window.0[window.0.len() - (shape.len() - 2)..] {
        let full = (axis.input.max(1) - 1) * axis.stride + axis.kernel;
        let length = full.checked_sub(axis.pad + axis.pad_end);
        pooled.push(length.ok_or_else(|| op.invalid("pads that leave nothing of the picture"))?);
    }
    if pooled.iter().zip(&out).any(|(from, to)| from > to) {
        return Err(op.invalid(format_args!("an output of shape {out:?} for a picture of {pooled:?}")));
    }
    let walk = Strided::new(&pooled, &dense_strides(&out), 0);
    let (places, total, planes) = (count(&pooled), count(&shape), out[0] * out[1]);
    let (from_plane, to_plane) = (count(&pooled[2..]), count(&out[2..]));
    dispatch!(op.input(0)?.dtype, floats, S => {
        kernel(needs((count(&out) + total) as u64, planes), move |bindings| {
            type E<S> = <S as Stored>::Element;
            let (x, indices) = (bindings.input::<E<S>>(0)?, bindings.input::<i64>(1)?);
            let y = bindings.output::<E<S>>(0)?;
            Ok(Box::new(move |call: &Call| {
                let (x, indices, y) = (call.read(&x), call.read(&indices), call.write(&y));
                let own = call.share(planes, 1);
                y.part(own.start * to_plane..own.end * to_plane).fill(S::store(Default::default()));
                // An index may name a place of any plane: every shard looks at all of them.
                for (at, index) in indices.iter().enumerate() {
                    let place = usize::try_from(index).ok().filter(|&place| place < places);
                    let place = place.ok_or_else(|| outside(places))?;
                    if own.contains(&(place / from_plane)) {
                        y.set(walk.offset(place), x.get(at));
                    }
                }
                Ok(())
            }))
        })
    })
}

fn outside(places: usize) -> Error {
    let message =
        format!("MaxUnpool: an index lies outside of the picture of {places} elements: take those of MaxPool");
    Error::new(ErrorCode::InvalidArgument, message)
}
