//! Chooses who runs a node, and writes down why.

use super::{DeviceError, FastPathRules, Place, Scout, native_kernel, scout};
use crate::plugin::Digest;
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

    /// What the measured costs are known by that it chooses by; none: it knows no costs.
    fn costs(&self) -> Option<Digest> {
        None
    }
}

/// The order of choice as DESIGN.md gives it.
pub struct Selector<'a> {
    /// Asks the chip.
    pub chip: Option<Scout<'a>>,
    /// Which fast paths may be chosen.
    pub fast_paths: FastPathRules<'a>,
    /// No host fallback: what the chip does not run is an error.
    pub strict: bool,
}

impl Placer for Selector<'_> {
    fn place(&mut self, node: &str, operation: &abi::Operation) -> Result<Placed, DeviceError> {
        let mut reasons = Vec::new();
        match self.fast_paths.choose(operation) {
            Ok((place, kernel, reason)) => {
                return Ok(Placed { place, requirements: kernel.requirements(), reason });
            }
            Err(reason) => reasons.push(reason),
        }
        if let Some(chip) = &mut self.chip {
            match chip.ask(node, operation) {
                Ok(requirements) => {
                    return Ok(Placed { place: Place::Chip, requirements, reason: reasons.join("; ") });
                }
                Err(scout::No::SetAside) if self.strict => {
                    return Err(DeviceError::SetAside { chip: chip.chip().to_owned() });
                }
                Err(scout::No::SetAside) => {
                    reasons.push("chip: set aside: it failed too often within a minute".into());
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
            match native_kernel(Place::Portable, operation) {
                Ok(kernel) => {
                    let requirements = kernel.requirements();
                    return Ok(Placed { place: Place::Portable, requirements, reason: reasons.join("; ") });
                }
                Err(error) => reasons.push(format!("portable: {}", error.message)),
            }
        }
        Err(DeviceError::Unsupported { op: operation.op.clone(), node: node.to_owned(), reasons: reasons.join("; ") })
    }
}
