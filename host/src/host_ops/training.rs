//! The optimisers of ai.onnx.preview.training: one step for each tensor. Computed in f64, rounded once.

use super::Value;
use super::call::{Call, Outcome, numbers_as};
use sunmao_graph::Tensor;

/// Adagrad: gradients scaled down by the sum of their squares.
pub(super) fn adagrad(call: &Call<'_>) -> Outcome {
    let (rate, step) = (call.number(0)?, step_number(call)?);
    let (decay, epsilon) = (call.number_attribute("decay_factor")?, call.number_attribute("epsilon")?);
    let norm = call.number_attribute("norm_coefficient")?;
    let rate = rate / (1.0 + step * decay);
    update::<1>(call, |x, gradient, [squares]| {
        let gradient = norm * x + gradient;
        let squares = squares + gradient * gradient;
        (x - rate * gradient / (squares.sqrt() + epsilon), [squares])
    })
}

/// Adam: running means of gradients and of their squares.
pub(super) fn adam(call: &Call<'_>) -> Outcome {
    let (rate, step) = (call.number(0)?, step_number(call)?);
    let (alpha, beta) = (call.number_attribute("alpha")?, call.number_attribute("beta")?);
    let epsilon = call.number_attribute("epsilon")?;
    let (norm, norm_after) =
        (call.number_attribute("norm_coefficient")?, call.number_attribute("norm_coefficient_post")?);
    // The first means are drawn to their start, 0, which this corrects.
    let rate = if step > 0.0 { rate * (1.0 - beta.powf(step)).sqrt() / (1.0 - alpha.powf(step)) } else { rate };
    update::<2>(call, |x, gradient, [mean, squares]| {
        let gradient = norm * x + gradient;
        let mean = alpha * mean + (1.0 - alpha) * gradient;
        let squares = beta * squares + (1.0 - beta) * gradient * gradient;
        ((1.0 - norm_after) * (x - rate * mean / (squares.sqrt() + epsilon)), [mean, squares])
    })
}

/// Momentum: steps that keep some of their direction; with `nesterov` they look ahead.
pub(super) fn momentum(call: &Call<'_>) -> Outcome {
    let (rate, step) = (call.number(0)?, step_number(call)?);
    let (alpha, norm) = (call.number_attribute("alpha")?, call.number_attribute("norm_coefficient")?);
    // The first step takes the gradient whole.
    let beta = if step > 0.0 { call.number_attribute("beta")? } else { 1.0 };
    let ahead = match call.text("mode")? {
        "standard" => false,
        "nesterov" => true,
        other => return Err(format!("has mode={other:?}; give standard or nesterov")),
    };
    update::<1>(call, |x, gradient, [velocity]| {
        let gradient = norm * x + gradient;
        let velocity = alpha * velocity + beta * gradient;
        let direction = if ahead { gradient + alpha * velocity } else { velocity };
        (x - rate * direction, [velocity])
    })
}

fn step_number(call: &Call<'_>) -> Result<f64, String> {
    Ok(call.integer(1)? as f64)
}

/// Inputs: rate, step, then tensors, their gradients, and `STATES` states of each; outputs: the tensors and their states.
fn update<const STATES: usize>(
    call: &Call<'_>,
    rule: impl Fn(f64, f64, [f64; STATES]) -> (f64, [f64; STATES]),
) -> Outcome {
    let groups = 2 + STATES;
    let operands = call.values().count().saturating_sub(2);
    if operands == 0 || !operands.is_multiple_of(groups) {
        return Err(format!("needs {groups} inputs for each tensor behind the first two and got {operands}"));
    }
    let tensors = operands / groups;
    // By group, then by tensor, as the outputs stand.
    let mut results: Vec<Vec<Tensor>> = vec![Vec::with_capacity(tensors); 1 + STATES];
    for tensor in 0..tensors {
        let like = call.tensor(2 + tensor)?;
        let operand = |group: usize| {
            let index = 2 + group * tensors + tensor;
            let shape = &call.tensor(index)?.shape;
            if *shape != like.shape {
                return Err(format!("has {shape:?} as input {index} for a tensor {:?}; give equal shapes", like.shape));
            }
            call.numbers(index)
        };
        let (x, gradient) = (operand(0)?, operand(1)?);
        let states: Vec<Vec<f64>> = (0..STATES).map(|state| operand(2 + state)).collect::<Result<_, _>>()?;
        let mut updated = vec![Vec::with_capacity(x.len()); 1 + STATES];
        for at in 0..x.len() {
            let (x, states) = rule(x[at], gradient[at], std::array::from_fn(|state| states[state][at]));
            updated[0].push(x);
            (0..STATES).for_each(|state| updated[1 + state].push(states[state]));
        }
        for (group, numbers) in updated.into_iter().enumerate() {
            results[group].push(numbers_as(like.dtype, like.shape.clone(), &numbers)?);
        }
    }
    Ok(results.into_iter().flatten().map(Value::Tensor).collect())
}

#[cfg(test)]
mod tests {
    use super::super::Value;
    use super::super::testing::*;
    use sunmao_graph::Attribute;

    fn inputs(rate: f32, step: i64, tensors: &[&[f32]]) -> Vec<Value> {
        let mut inputs = vec![floats(&[], &[rate]), integers(&[], &[step])];
        inputs.extend(tensors.iter().map(|tensor| floats(&[tensor.len() as u64], tensor)));
        inputs
    }

    #[track_caller]
    fn check(op: &str, attributes: &[(&str, f64)], mode: Option<&str>, inputs: &[Value], wanted: &[&[f32]]) {
        let mut all: Vec<(&str, Attribute)> =
            attributes.iter().map(|(key, value)| (*key, Attribute::Number(f64::from(*value as f32)))).collect();
        all.extend(mode.map(|mode| ("mode", Attribute::Text(mode.to_owned()))));
        let results = run(&format!("ai.onnx.preview.training.{op}"), &all, inputs, wanted.len());
        for (result, wanted) in results.into_iter().zip(wanted) {
            let (_, got) = as_numbers(&tensor(result));
            assert!(
                got.len() == wanted.len()
                    && got.iter().zip(*wanted).all(|(a, b)| (a - f64::from(*b)).abs() <= 1e-6 * f64::from(b.abs())),
                "{op}: {got:?} is not {wanted:?}"
            );
        }
    }

    #[test]
    fn one_step_of_each() {
        let (x, gradient, velocity) = ([1.2f32, 2.8], [-0.94f32, -2.5], [1.7f32, 3.6]);
        check(
            "Adam",
            &[("norm_coefficient", 0.001), ("alpha", 0.95), ("beta", 0.1), ("epsilon", 1e-7)],
            None,
            &inputs(0.1, 0, &[&x, &gradient, &velocity, &[0.1, 0.1]]),
            &[&[1.025_036_3, 2.661_032_7], &[1.568_06, 3.295_139_8], &[0.803_210_8, 5.622_407]],
        );
        check(
            "Momentum",
            &[("norm_coefficient", 0.01), ("alpha", 0.95), ("beta", 1.0)],
            Some("nesterov"),
            &inputs(0.1, 0, &[&x, &gradient, &velocity]),
            &[&[1.227_535, 2.957_14], &[0.687_000_04, 0.947_999_95]],
        );
        check(
            "Adagrad",
            &[("norm_coefficient", 0.001), ("epsilon", 1e-5), ("decay_factor", 0.1)],
            None,
            &inputs(0.1, 0, &[&[1.0], &[-1.0], &[2.0]]),
            &[&[1.057_696_2], &[2.998_001]],
        );
    }

    #[test]
    fn several_tensors_stand_group_by_group() {
        let attributes = [("norm_coefficient", 0.0), ("alpha", 0.5), ("beta", 0.25)];
        let tensors: [&[f32]; 6] = [&[1.0], &[2.0, 3.0], &[4.0], &[8.0, 12.0], &[2.0], &[0.0, 0.0]];
        let wanted: [&[f32]; 4] = [&[-1.0], &[0.0, 0.0], &[2.0], &[2.0, 3.0]];
        check("Momentum", &attributes, Some("standard"), &inputs(1.0, 1, &tensors), &wanted);
    }

    #[test]
    fn operands_that_do_not_fit_are_refused() {
        let refused = |tensors: &[&[f32]]| refusal("ai.onnx.preview.training.Adagrad", &[], &inputs(0.1, 0, tensors));
        assert_eq!(refused(&[&[1.0]]), "needs 3 inputs for each tensor behind the first two and got 1");
        assert_eq!(refused(&[&[1.0], &[1.0, 2.0], &[1.0]]), "has [2] as input 3 for a tensor [1]; give equal shapes");
    }
}
