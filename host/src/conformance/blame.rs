//! Whose fault it is that a case got no answer, told by the error: declined beforehand, a promise broken, late, or crashed.

use crate::device::DeviceError;
use crate::engine::EngineError;
use crate::import::ImportError;
use crate::plan::PlanError;
use crate::plugin::PluginError;
use crate::session::{InferError, LoadError};
use sunmao_conformance::{Outcome, Verdict};

/// `device::select` writes this where the plugin's table says yes and `prepare` says no.
const BROKEN_PROMISE: &str = "broken promise:";

/// The model could not be made ready.
pub(super) fn loading(error: &LoadError) -> Outcome {
    let verdict = match error {
        LoadError::Import(ImportError::Importer { source, .. }) => plugin(source, Verdict::Declined),
        LoadError::Import(_) | LoadError::Graph { .. } => Verdict::Declined,
        LoadError::Engine { error, .. } => engine(error),
        LoadError::Chip(_) => Verdict::Crash,
    };
    outcome(verdict, &error.to_string())
}

/// No plan could be made for the case's shapes.
pub(super) fn planning(error: &InferError) -> Outcome {
    let verdict = match error {
        InferError::Rejected(text) if text.contains(BROKEN_PROMISE) => Verdict::BrokenPromise,
        InferError::Internal(error)
        | InferError::OutOfMemory(error)
        | InferError::SetAside(error)
        | InferError::Failed { error, .. } => engine(error),
        _ => Verdict::Declined,
    };
    outcome(verdict, &error.to_string())
}

/// There is a plan, so everything in the case was promised.
pub(super) fn running(error: &InferError) -> Outcome {
    let verdict = match error {
        InferError::Failed { error, .. } | InferError::Internal(error) => engine(error),
        _ => Verdict::BrokenPromise,
    };
    outcome(verdict, &error.to_string())
}

fn engine(error: &EngineError) -> Verdict {
    match error {
        EngineError::Plugin(error) | EngineError::Plan(PlanError::Device(DeviceError::Plugin(error))) => {
            plugin(error, Verdict::BrokenPromise)
        }
        EngineError::Plan(PlanError::Unplaced(nodes)) if nodes.iter().any(|node| node.contains(BROKEN_PROMISE)) => {
            Verdict::BrokenPromise
        }
        EngineError::Plan(PlanError::Requirements { .. }) => Verdict::BrokenPromise,
        EngineError::Plan(_) => Verdict::Declined,
        EngineError::NativePanic { .. } | EngineError::Aborted => Verdict::Crash,
        _ => Verdict::BrokenPromise,
    }
}

/// `refusal`: what it is when the plugin answers with an error of the ABI.
pub(super) fn plugin(error: &PluginError, refusal: Verdict) -> Verdict {
    match error {
        PluginError::Deadline { .. } => Verdict::Timeout,
        PluginError::Trap { .. } | PluginError::Dead => Verdict::Crash,
        PluginError::Plugin { .. } => refusal,
        _ => Verdict::BrokenPromise,
    }
}

fn outcome(verdict: Verdict, text: &str) -> Outcome {
    // Errors name the file that the case was written to, which says nothing.
    let mut words = text.split_whitespace().filter(|word| !word.contains(super::model_file::FOLDER)).peekable();
    let first = words.peek().copied().unwrap_or("no reason was given").to_owned();
    Outcome::failed(verdict, words.skip(1).fold(first, |text, word| text + " " + word))
}
