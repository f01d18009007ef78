//! `Softmax` along the last axis.

use crate::registry::{LATEST, Row};
use crate::request::{Request, count};
use crate::settle::{alias, kernel, needs};
use crate::vectors::Vectors;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel};

pub(crate) fn rows<V: Vectors>(path: &'static str) -> Vec<Row<V>> {
    vec![Row {
        operator: "Softmax",
        path,
        revisions: (13, LATEST),
        tolerance: Tolerance::Approximate(1e-6),
        prepare: softmax,
    }]
}

fn softmax<V: Vectors>(token: V, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let shape = request.input(0)?;
    let axis = request.axis("axis", -1, shape.len())?;
    if request.output()? != shape || count(&shape[axis + 1..]) != 1 || !request.operation().epilogue.is_empty() {
        return None;
    }
    let (lines, length) = (count(&shape[..axis]), shape[axis]);
    let mut requirements = needs(lines as f64 * (10.0 + length as f64 * 0.7), lines);
    requirements.in_place = vec![alias(0)];
    Some(kernel(requirements, None, move |bindings| {
        let (x, output) = (bindings.input::<f32>(0)?, bindings.output::<f32>(0)?);
        Ok(Box::new(move |call: &Call| {
            let (from, to) = (call.read(&x).as_ptr(), call.write(&output).as_mut_ptr());
            for at in call.share(lines, 1) {
                let _proof: V = token;
                // SAFETY: the token proves the instruction set; both tensors have `lines` lines, and lie on each other or apart, as the bindings were
                // checked; shares are disjoint.
                unsafe { V::softmax(from.add(at * length), to.add(at * length), length) };
            }
            Ok(())
        }))
    }))
}
