//! A session's answer to a case. The one place that knows how values of cases travel through sessions.

use super::blame;
use crate::session::{Session, Tensor};
use sunmao_conformance::{CaseValue, Outcome, Verdict};

/// What `session` answers to `inputs`; otherwise the case's outcome.
pub(super) fn answer(session: &Session, inputs: &[(String, CaseValue)]) -> Result<Vec<(String, CaseValue)>, Outcome> {
    let mut tensors = Vec::with_capacity(inputs.len());
    for (name, value) in inputs {
        match value {
            CaseValue::Tensor(tensor) => {
                let (shape, data) = (tensor.shape.clone(), tensor.bytes.to_vec());
                tensors.push((name.clone(), Tensor { dtype: tensor.dtype, shape, data }));
            }
            _ => {
                return Err(Outcome::failed(
                    Verdict::Declined,
                    format!("input {name} is no tensor, and sessions take tensors alone"),
                ));
            }
        }
    }
    match session.infer(tensors, &[]) {
        Ok(outputs) => Ok(outputs.into_iter().map(|(name, tensor)| (name, value(tensor))).collect()),
        // With a plan for the whole it was promised. Without one (a model of several steps has none) it counts as declined, unless the error says more.
        Err(error) => Err(match shapes(session, inputs).map(|shapes| session.plan(&shapes)) {
            Some(Ok(_)) => blame::running(&error),
            _ => blame::planning(&error),
        }),
    }
}

/// The shapes of the inputs in the model's order; none where one is missing or no tensor.
pub(super) fn shapes(session: &Session, inputs: &[(String, CaseValue)]) -> Option<Vec<Vec<u64>>> {
    let shape = |name: &str| match inputs.iter().find(|(other, _)| other == name) {
        Some((_, CaseValue::Tensor(tensor))) => Some(tensor.shape.clone()),
        _ => None,
    };
    session.inputs().iter().map(|spec| shape(&spec.name)).collect()
}

fn value(tensor: Tensor) -> CaseValue {
    let bytes = tensor.data.into();
    CaseValue::Tensor(sunmao_graph::Tensor { dtype: tensor.dtype, shape: tensor.shape, bytes })
}
