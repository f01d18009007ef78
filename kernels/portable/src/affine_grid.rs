//! `AffineGrid`: the places of a regular grid after an affine map, as `GridSample` takes them.

use crate::arguments::Op;
use crate::element::{FLOATS, Stored, dispatch};
use crate::number::Number;
use crate::settle::{kernel, needs};
use crate::strided::count;
use crate::table::{LATEST, Row, signature};
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Result};

pub(crate) fn rows() -> Vec<Row> {
    let signatures = FLOATS.iter().map(|&d| signature(&[d, 7], &[d])).collect();
    vec![Row::new("AffineGrid", (20, LATEST), signatures, Tolerance::Ulp(4), affine_grid)]
}

fn affine_grid(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let (theta, out) = (op.shape(0)?, op.output_shape(0)?);
    let (batches, axes, lengths) = match (&theta[..], &out[..]) {
        (&[n, 2, 3], &[m, _, _, 2]) if n == m => (n, 2, [1, out[1], out[2]]),
        (&[n, 3, 4], &[m, _, _, _, 3]) if n == m => (n, 3, [out[1], out[2], out[3]]),
        _ => return Err(op.invalid(format_args!("a grid of shape {out:?} from maps of shape {theta:?}"))),
    };
    let align_corners = op.attributes().flag("align_corners");
    let points = count(&lengths);
    let units = batches * points;
    dispatch!(op.input(0)?.dtype, floats, S => {
        kernel(needs(units as u64 * 30, units), move |bindings| {
            type E<S> = <S as Stored>::Element;
            let (theta, grid) = (bindings.input::<E<S>>(0)?, bindings.output::<E<S>>(0)?);
            Ok(Box::new(move |call: &Call| {
                let (theta, grid) = (call.read(&theta), call.write(&grid));
                for unit in call.share(units, 1) {
                    let (batch, mut rest) = (unit / points, unit % points);
                    // The fastest axis is the first coordinate.
                    let mut point = [0.0; 3];
                    for axis in (0..3).rev() {
                        point[2 - axis] = coordinate(rest % lengths[axis], lengths[axis], align_corners);
                        rest /= lengths[axis];
                    }
                    for row in 0..axes {
                        let factor = |i: usize| S::load(theta.get((batch * axes + row) * (axes + 1) + i)).to_f64();
                        let moved = (0..axes).map(|i| factor(i) * point[i]).sum::<f64>() + factor(axes);
                        grid.set(unit * axes + row, S::store(<S as Stored>::Value::from_f64(moved)));
                    }
                }
                Ok(())
            }))
        })
    })
}

/// Where element `at` of an axis lies between -1 and 1: its middle, or, with aligned corners, from end to end.
fn coordinate(at: usize, length: usize, align_corners: bool) -> f64 {
    match (align_corners, length) {
        (true, 1) => 0.0,
        (true, _) => 2.0 * at as f64 / (length as f64 - 1.0) - 1.0,
        (false, _) => (2.0 * at as f64 + 1.0) / length as f64 - 1.0,
    }
}
