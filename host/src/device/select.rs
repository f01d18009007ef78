//! Chooses who runs a node, and writes down why.

use super::{DeviceError, Place, covers, native_kernel};
use crate::plugin::{ChipInstance, PluginError};
use sunmao_plugin_sdk::{ErrorCode, abi};

/// The choice for one operation.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Who runs it.
    pub place: Place,
    /// What the kernel wants.
    pub requirements: abi::Requirements,
    /// Why it was not somebody before in the order of choice; for a person.
    pub reason: String,
}

/// Answers who runs an operation. The planner asks it for each node.
pub trait Placer {
    /// Who runs `operation` of `node`.
    fn place(&mut self, node: &str, operation: &abi::Operation) -> Result<Placed, DeviceError>;
}

/// The order of choice as DESIGN.md gives it.
pub struct Selector<'a> {
    /// What the chip says it runs, and an instance to ask.
    pub chip: Option<(&'a [abi::OperatorSupport], &'a mut ChipInstance)>,
    /// Whether native fast paths may be chosen.
    pub fast_paths: bool,
    /// No host fallback: what the chip does not run is an error.
    pub strict: bool,
}

impl Placer for Selector<'_> {
    fn place(&mut self, node: &str, operation: &abi::Operation) -> Result<Placed, DeviceError> {
        let mut reasons = Vec::new();
        if self.fast_paths {
            match native(Place::FastPath, operation) {
                Ok(placed) => return Ok(placed),
                Err(reason) => reasons.push(format!("fast path: {reason}")),
            }
        }
        if let Some((table, instance)) = &mut self.chip {
            match ask_chip(table, instance, operation) {
                Ok(requirements) => {
                    return Ok(Placed { place: Place::Chip, requirements, reason: reasons.join("; ") });
                }
                Err(Refusal::Declined(reason)) => reasons.push(format!("chip: {reason}")),
                Err(Refusal::Failed(error)) => return Err(error.into()),
            }
        }
        if self.strict {
            reasons.push("host fallback: off (--strict)".into());
        } else {
            match native(Place::Portable, operation) {
                Ok(placed) => return Ok(Placed { reason: reasons.join("; "), ..placed }),
                Err(reason) => reasons.push(format!("portable: {reason}")),
            }
        }
        Err(DeviceError::Unsupported { op: operation.op.clone(), node: node.to_owned(), reasons: reasons.join("; ") })
    }
}

fn native(place: Place, operation: &abi::Operation) -> Result<Placed, String> {
    let kernel = native_kernel(place, operation).map_err(|error| error.message)?;
    Ok(Placed { place, requirements: kernel.requirements(), reason: String::new() })
}

/// Why the chip does not run an operation.
enum Refusal {
    /// It said so.
    Declined(String),
    /// Asking it went wrong.
    Failed(PluginError),
}

impl From<PluginError> for Refusal {
    fn from(error: PluginError) -> Self {
        match error {
            PluginError::Plugin { message, .. } => Refusal::Declined(message),
            other => Refusal::Failed(other),
        }
    }
}

fn ask_chip(
    table: &[abi::OperatorSupport],
    instance: &mut ChipInstance,
    operation: &abi::Operation,
) -> Result<abi::Requirements, Refusal> {
    covers(table, operation).map_err(|reason| Refusal::Declined(reason.0))?;
    // The table said yes: a refusal now is a broken promise, which the reason shows and which costs only the placement.
    let kernel = instance.prepare(operation).map_err(|error| match error {
        // The one refusal that the ABI leaves open: covered, and too large.
        PluginError::Plugin { code: ErrorCode::LimitExceeded, message, .. } => Refusal::Declined(message),
        PluginError::Plugin { message, .. } => Refusal::Declined(format!("broken promise: {message}")),
        other => Refusal::Failed(other),
    })?;
    let requirements = instance.requirements(kernel);
    instance.drop_kernel(kernel);
    Ok(requirements?)
}
