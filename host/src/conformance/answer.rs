//! A session's answer to a case. The one place that knows how values of cases travel through sessions.

use super::blame;
use crate::host_ops::Value;
use crate::session::{Session, Tensor};
use sunmao_conformance::{CaseValue, Outcome};
use sunmao_graph::Container;

/// What `session` answers to `inputs`; otherwise the case's outcome.
pub(super) fn answer(session: &Session, inputs: &[(String, CaseValue)]) -> Result<Vec<(String, CaseValue)>, Outcome> {
    let outputs = match tensors(session, inputs) {
        Some(tensors) => session
            .infer(tensors, &[])
            .map(|outputs| outputs.into_iter().map(|(name, tensor)| (name, from_tensor(tensor))).collect()),
        None => session
            .run_values(inputs.iter().map(|(name, given)| (name.clone(), to_value(given))).collect())
            .map(|outputs| outputs.into_iter().map(|(name, made)| (name, from_value(made))).collect()),
    };
    // With a plan for the whole it was promised. Without one (a model of several steps has none) it counts as declined, unless the error says more.
    outputs.map_err(|error| match shapes(session, inputs).map(|shapes| session.plan(&shapes)) {
        Some(Ok(_)) => blame::running(&error),
        _ => blame::planning(&error),
    })
}

/// The inputs as requests bring them, where the model takes and gives tensors alone.
fn tensors(session: &Session, inputs: &[(String, CaseValue)]) -> Option<Vec<(String, Tensor)>> {
    let mut specs = session.inputs().iter().chain(session.outputs());
    if specs.any(|spec| spec.container != Container::Tensor) {
        return None;
    }
    let tensor = |(name, given): &(String, CaseValue)| match given {
        CaseValue::Tensor(tensor) => {
            let (shape, data) = (tensor.shape.clone(), tensor.bytes.to_vec());
            Some((name.clone(), Tensor { dtype: tensor.dtype, shape, data }))
        }
        CaseValue::Sequence(_) | CaseValue::Optional(_) => None,
    };
    inputs.iter().map(tensor).collect()
}

/// The shapes of the inputs in the model's order; none where one is missing or no tensor.
pub(super) fn shapes(session: &Session, inputs: &[(String, CaseValue)]) -> Option<Vec<Vec<u64>>> {
    let shape = |name: &str| match inputs.iter().find(|(other, _)| other == name) {
        Some((_, CaseValue::Tensor(tensor))) => Some(tensor.shape.clone()),
        _ => None,
    };
    session.inputs().iter().map(|spec| shape(&spec.name)).collect()
}

fn from_tensor(tensor: Tensor) -> CaseValue {
    let bytes = tensor.data.into();
    CaseValue::Tensor(sunmao_graph::Tensor { dtype: tensor.dtype, shape: tensor.shape, bytes })
}

fn to_value(given: &CaseValue) -> Value {
    match given {
        CaseValue::Tensor(tensor) => Value::Tensor(tensor.clone()),
        CaseValue::Sequence(list) => Value::Sequence(list.iter().map(to_value).collect()),
        CaseValue::Optional(content) => Value::Optional(content.as_deref().map(|content| Box::new(to_value(content)))),
    }
}

fn from_value(made: Value) -> CaseValue {
    match made {
        Value::Tensor(tensor) => CaseValue::Tensor(tensor),
        Value::Sequence(list) => CaseValue::Sequence(list.into_iter().map(from_value).collect()),
        Value::Optional(content) => CaseValue::Optional(content.map(|content| Box::new(from_value(*content)))),
    }
}
