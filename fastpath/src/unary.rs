//! Activations and other functions of one number as operators.

use crate::activation::Activation;
use crate::registry::{LATEST, Row};
use crate::request::{Request, count};
use crate::settle::{alias, kernel, needs};
use crate::vectors::Vectors;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel};

/// Shards end at multiples of this, a cache line.
const GRANULE: usize = 16;

pub(crate) fn rows<V: Vectors>(path: &'static str) -> Vec<Row<V>> {
    let table = [
        ("Relu", 6, Tolerance::Exact),
        ("LeakyRelu", 6, Tolerance::Exact),
        ("Clip", 11, Tolerance::Exact),
        ("HardSigmoid", 6, Tolerance::Approximate(1e-6)),
        ("HardSwish", 14, Tolerance::Approximate(1e-6)),
        ("Sigmoid", 6, Tolerance::Ulp(3)),
        ("Tanh", 6, Tolerance::Ulp(2)),
        // The form by a hyperbolic tangent, far out on the negative side; the other one keeps 8 ulp.
        ("Gelu", 20, Tolerance::Approximate(2.5e-5)),
        ("Swish", 24, Tolerance::Ulp(4)),
        ("Elu", 6, Tolerance::Ulp(3)),
        ("Erf", 9, Tolerance::Ulp(2)),
        ("Exp", 6, Tolerance::Ulp(1)),
        ("Sqrt", 6, Tolerance::Exact),
        ("Reciprocal", 6, Tolerance::Exact),
        ("Abs", 6, Tolerance::Exact),
        ("Neg", 6, Tolerance::Exact),
        ("Log", 6, Tolerance::Ulp(1)),
    ];
    let row =
        |(operator, since, tolerance)| Row { operator, path, revisions: (since, LATEST), tolerance, prepare: unary };
    table.into_iter().map(row).collect()
}

fn unary<V: Vectors>(token: V, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let shape = request.input(0)?;
    if request.output()? != shape || !request.operation().epilogue.is_empty() {
        return None;
    }
    let activation = if request.operator() == "Clip" {
        // A bound that is left out is none; one that is no small constant is not for this path.
        let bound = |index: usize, none: f32| match request.operand(index) {
            Some(_) => request.scalar(index),
            None => Some(none),
        };
        Activation::Clip { low: bound(1, f32::NEG_INFINITY)?, high: bound(2, f32::INFINITY)? }
    } else if request.inputs() == 1 {
        Activation::named(request.operator(), request.attributes())?
    } else {
        return None;
    };
    let elements = count(&shape);
    let cost = elements as f64 * (activation.cost() / 1000.0 + 0.1);
    let mut requirements = needs(cost, elements.div_ceil(GRANULE));
    requirements.in_place = vec![alias(0)];
    Some(kernel(requirements, None, move |bindings| {
        let (x, output) = (bindings.input::<f32>(0)?, bindings.output::<f32>(0)?);
        Ok(Box::new(move |call: &Call| {
            let share = call.share(elements, GRANULE);
            let from = call.read(&x).as_ptr().wrapping_add(share.start);
            let to = call.write(&output).as_mut_ptr().wrapping_add(share.start);
            let _proof: V = token;
            // SAFETY: the token proves the instruction set; both tensors have `elements` elements, and lie on each other or apart, as the bindings were checked;
            // shares are disjoint.
            unsafe { V::map(activation, from, to, share.len()) };
            Ok(())
        }))
    }))
}
