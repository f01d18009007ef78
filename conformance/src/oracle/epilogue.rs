//! Steps on a result before it is stored: bias, a second tensor, activations.

use super::functions::{between, function};
use super::index::tuples;
use super::{Answer, Content, Question, Reals, Unknown};
use sunmao_plugin_sdk::Attributes;

/// Applies the question's steps, in order, to an unrounded result.
pub(super) fn apply(question: &Question, answer: &mut Answer) -> Result<(), Unknown> {
    let shape = answer.shape.clone();
    let Content::Reals(reals) = &mut answer.content else { return Err(Unknown("an epilogue on integers".into())) };
    if reals.magnitudes.is_empty() {
        reals.magnitudes = reals.values.iter().map(|value| value.abs()).collect();
    }
    for step in &question.epilogue {
        let operand = || {
            let index = step.input.ok_or_else(|| Unknown(format!("step {} without an operand", step.op)))?;
            let operand = question.inputs.get(index as usize).and_then(Option::as_ref);
            operand.map(|operand| operand.tensor.reals()).ok_or_else(|| Unknown("a step's operand".into()))
        };
        match step.op.as_str() {
            "bias" => {
                // Channels are the second axis of what convolutions make, and the last one of matrices.
                let axis = if question.op.starts_with("Conv") { 1 } else { shape.len() - 1 };
                let bias = operand()?;
                let addends: Vec<f64> = tuples(&shape).map(|index| bias[index[axis]]).collect();
                add(reals, &addends);
            }
            "add" => add(reals, &operand()?),
            name => {
                let attributes = Attributes(&step.attributes);
                let number = |key: &str, default: f64| attributes.number(key).unwrap_or(default);
                let slope = steepness(name, number("alpha", 1.0));
                let map = match name {
                    "Clip" => {
                        let (low, high) = (number("min", f64::NEG_INFINITY), number("max", f64::INFINITY));
                        Box::new(move |x| between(x, low, high))
                    }
                    name => function(name, &number, attributes.text("approximate"))
                        .ok_or_else(|| Unknown(format!("step {name}")))?,
                };
                for (value, magnitude) in reals.values.iter_mut().zip(&mut reals.magnitudes) {
                    // What the argument is off by goes through the function's slope; the function's own error is one of a few terms.
                    let result = map(*value);
                    *magnitude = slope * *magnitude + 2.0 * result.abs().min(value.abs());
                    *value = result;
                }
                reals.terms += 4;
            }
        }
    }
    reals.signed_zeros = false;
    Ok(())
}

fn add(reals: &mut Reals, addends: &[f64]) {
    for ((value, magnitude), addend) in reals.values.iter_mut().zip(&mut reals.magnitudes).zip(addends) {
        *value += addend;
        *magnitude += addend.abs();
    }
    reals.terms += 1;
}

/// The steepest slope of an activation.
fn steepness(name: &str, alpha: f64) -> f64 {
    match name {
        "HardSwish" => 1.5,
        "Gelu" | "Swish" | "Mish" => 1.2,
        "LeakyRelu" | "Elu" | "HardSigmoid" => alpha.abs().max(1.0),
        _ => 1.0,
    }
}
