//! Chooses who runs a node, and writes down why.

use super::{DeviceError, Place, Scout, native_kernel, scout};
use sunmao_plugin_sdk::abi;

/// The choice for one operation.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Who runs it.
    pub place: Place,
    /// What the kernel wants.
    pub requirements: abi::Requirements,
    /// Why it, and why not somebody before in the order of choice; for a person.
    pub reason: String,
}

/// Answers who runs an operation. The planner asks it for each node.
pub trait Placer {
    /// Who runs `operation` of `node`.
    fn place(&mut self, node: &str, operation: &abi::Operation) -> Result<Placed, DeviceError>;
}

/// The order of choice as DESIGN.md gives it.
pub struct Selector<'a> {
    /// Asks the chip.
    pub chip: Option<Scout<'a>>,
    /// Why native fast paths may not be chosen; none: they may.
    pub no_fast_paths: Option<&'static str>,
    /// No host fallback: what the chip does not run is an error.
    pub strict: bool,
}

impl Placer for Selector<'_> {
    fn place(&mut self, node: &str, operation: &abi::Operation) -> Result<Placed, DeviceError> {
        let mut reasons = Vec::new();
        match self.no_fast_paths {
            Some(why) => reasons.push(format!("fast paths are off ({why})")),
            None => match native(Place::FastPath, operation) {
                Ok(placed) => {
                    return Ok(Placed {
                        reason: format!("registered for {}", sunmao_fastpath::Isa::detect()),
                        ..placed
                    });
                }
                Err(reason) => reasons.push(format!("fast path: {reason}")),
            },
        }
        if let Some(chip) = &mut self.chip {
            match chip.ask(node, operation) {
                Ok(requirements) => {
                    return Ok(Placed { place: Place::Chip, requirements, reason: reasons.join("; ") });
                }
                Err(scout::No::Declined(reason)) => reasons.push(format!("chip: {reason}")),
                // The host's own kernel takes over, and the request goes on.
                Err(scout::No::Broken(broken)) if !self.strict => {
                    reasons.push(format!("chip: {}", chip.remember(broken)));
                }
                Err(scout::No::Broken(broken)) => return Err(broken.into()),
                Err(scout::No::Failed(error)) => return Err(error.into()),
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
