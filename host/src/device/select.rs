//! Chooses who runs a node, and writes down why.

use super::{Chip, DeviceError, Place, covers, native_kernel};
use crate::plugin::{ChipInstance, Plugin, PluginError};
use std::sync::Arc;
use sunmao_plugin_sdk::{ErrorCode, abi};

/// What a scout reserves: it prepares and never runs.
const SCOUT_ARENA: u64 = 65536;

/// An instance that is asked what the chip runs, and runs nothing.
pub fn scout(plugin: &Arc<Plugin>) -> Result<ChipInstance, PluginError> {
    let mut scout = ChipInstance::new(plugin)?;
    scout.reserve(SCOUT_ARENA)?;
    Ok(scout)
}

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
    /// The chip, and an instance to ask: a [`scout`], which is replaced when it dies.
    pub chip: Option<(&'a Chip, &'a mut ChipInstance)>,
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
        if let Some((chip, instance)) = &mut self.chip {
            let asked = match chip.is_out() && !self.strict {
                true => Err("it fails too often and is out of service".to_owned()),
                false => ask_chip(chip, instance, operation)?,
            };
            match asked {
                Ok(requirements) => {
                    return Ok(Placed { place: Place::Chip, requirements, reason: reasons.join("; ") });
                }
                Err(reason) => reasons.push(format!("chip: {reason}")),
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

/// What the chip wants for an operation, or why it does not run it. A chip that covers an operation and then refuses it, traps or lies about it has
/// broken a promise: that costs it this node, and is counted.
fn ask_chip(
    chip: &Chip,
    instance: &mut ChipInstance,
    operation: &abi::Operation,
) -> Result<Result<abi::Requirements, String>, DeviceError> {
    let table = chip.plugin.chip().map_or(&[][..], |facts| &facts.operators);
    if let Err(reason) = covers(table, operation) {
        return Ok(Err(reason.0));
    }
    let error = match prepared(instance, operation) {
        Ok(requirements) => return Ok(Ok(requirements)),
        // The one refusal that the ABI leaves open: covered, and too large.
        Err(PluginError::Plugin { code: ErrorCode::LimitExceeded, message, .. }) => return Ok(Err(message)),
        Err(error) => error,
    };
    let reason = match &error {
        PluginError::Plugin { message, .. } => format!("broken promise: {message}"),
        PluginError::Broken { .. } => format!("broken promise: {error}"),
        error if error.kills_instance() => format!("broken promise: {error}"),
        _ => return Err(error.into()),
    };
    chip.breaker().break_promise();
    if !matches!(error, PluginError::Plugin { .. }) {
        chip.fail(&error);
    }
    if instance.is_dead() {
        *instance = scout(&chip.plugin)?;
    }
    Ok(Err(reason))
}

fn prepared(instance: &mut ChipInstance, operation: &abi::Operation) -> Result<abi::Requirements, PluginError> {
    let kernel = instance.prepare(operation)?;
    let requirements = instance.requirements(kernel);
    instance.drop_kernel(kernel);
    requirements
}
