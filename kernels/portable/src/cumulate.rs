//! Running sums and products along one axis, which may come with the request.

use crate::arguments::Op;
use crate::element::{Stored, dispatch};
use crate::gather::Indices;
use crate::number::Number;
use crate::settle::{kernel, needs};
use crate::strided::count;
use crate::table::{LATEST, Row, signature};
use std::sync::Arc;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Result};

const DTYPES: &[u16] = &[1, 11, 10, 16, 6, 7, 12, 13];

pub(crate) fn rows() -> Vec<Row> {
    let signatures = || {
        let axes = [6, 7];
        DTYPES.iter().flat_map(|&dtype| axes.map(|axis| signature(&[dtype, axis], &[dtype]))).collect()
    };
    vec![
        Row::new("CumSum", (11, LATEST), signatures(), Tolerance::Accumulate(1.0), cumulate),
        Row::new("CumProd", (26, LATEST), signatures(), Tolerance::Accumulate(1.0), cumulate),
    ]
}

fn cumulate(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    op.expect_output(0, &shape)?;
    if count(&op.shape(1)?) != 1 {
        return Err(op.invalid("the axis must be one integer").at(1));
    }
    let (exclusive, reverse) = (op.attributes().flag("exclusive"), op.attributes().flag("reverse"));
    let product = op.name() == "CumProd";
    let axis_type = op.input(1)?.dtype;
    let elements = count(&shape);
    let shape: Arc<[usize]> = shape.into();
    dispatch!(op.input(0)?.dtype, [F32, F64, F16, BF16, I32, I64, U32, U64], S => {
        type W<S> = <<S as Stored>::Value as Number>::Wide;
        let start = if product { W::<S>::ONE } else { W::<S>::ZERO };
        // Lines are not known before the axis is; there are seldom fewer than its length.
        kernel(needs(elements as u64 * 2, elements.isqrt()), move |bindings| {
            type E<S> = <S as Stored>::Element;
            let (x, y) = (bindings.input::<E<S>>(0)?, bindings.output::<E<S>>(0)?);
            let (axis, shape) = (Indices::bind(bindings, axis_type, 1)?, shape.clone());
            Ok(Box::new(move |call: &Call| {
                let axis = axis.get(call, 0, shape.len())?;
                let (length, step) = (shape[axis], count(&shape[axis + 1..]));
                let lines = count(&shape[..axis]) * step;
                let (x, y) = (call.read(&x), call.write(&y));
                for line in call.share(lines, 1) {
                    let first = line / step * step * length + line % step;
                    let mut running = start;
                    for i in 0..length {
                        let at = first + step * if reverse { length - 1 - i } else { i };
                        let value = S::load(x.get(at)).widen();
                        let next = if product { running.mul(value) } else { running.add(value) };
                        y.set(at, S::store(<S as Stored>::Value::narrow(if exclusive { running } else { next })));
                        running = next;
                    }
                }
                Ok(())
            }))
        })
    })
}
