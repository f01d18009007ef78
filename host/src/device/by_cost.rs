//! The choice by measured costs: the quickest of those who may run an operation; where nothing was measured, the usual order.

use super::costs::PORTABLE;
use super::{Costs, DeviceError, Place, Placed, Placer, Selector, cost_name, native_kernel, scout};
use crate::plugin::Digest;
use std::fmt::Write;
use sunmao_plugin_sdk::abi;

/// Chooses by costs.
pub struct ByCost<'a> {
    /// Who may run operations, and who chooses where no cost is known.
    pub selector: Selector<'a>,
    /// What was measured.
    pub costs: &'a Costs,
}

impl Placer for ByCost<'_> {
    fn place(&mut self, node: &str, operation: &abi::Operation) -> Result<Placed, DeviceError> {
        let costs = self.costs.of(operation);
        for &(name, cost) in &costs {
            if let Some((place, requirements)) = self.candidate(name, node, operation)? {
                return Ok(Placed { place, requirements, reason: reason(name, cost, &costs) });
            }
        }
        self.selector.place(node, operation)
    }

    fn costs(&self) -> Option<Digest> {
        Some(self.costs.digest())
    }
}

impl ByCost<'_> {
    /// Makes the operation ready with whoever has that name; none: that one may not, or does not.
    fn candidate(
        &mut self,
        name: &str,
        node: &str,
        operation: &abi::Operation,
    ) -> Result<Option<(Place, abi::Requirements)>, DeviceError> {
        let selector = &mut self.selector;
        if name == PORTABLE {
            let kernel = if selector.strict { None } else { native_kernel(Place::Portable, operation).ok() };
            return Ok(kernel.map(|kernel| (Place::Portable, kernel.requirements())));
        }
        let Some(chip) = &mut selector.chip else { return Ok(selector.fast_paths.named(name, operation)) };
        if cost_name(Place::Chip, Some(chip.digest())).as_deref() != Some(name) {
            return Ok(selector.fast_paths.named(name, operation));
        }
        match chip.ask(node, operation) {
            Ok(requirements) => Ok(Some((Place::Chip, requirements))),
            // The usual order comes to the same answer, and has the words for it.
            Err(scout::No::Declined(_) | scout::No::SetAside) => Ok(None),
            Err(scout::No::Broken(broken)) if !selector.strict => {
                chip.remember(broken);
                Ok(None)
            }
            Err(scout::No::Broken(broken)) => Err(broken.into()),
            Err(scout::No::Failed(error)) => Err(error.into()),
        }
    }
}

/// What the chosen one costs, and the others.
fn reason(chosen: &str, cost: u64, costs: &[(&str, u64)]) -> String {
    let short = |name: &str| if name.starts_with("chip:") { "chip".to_owned() } else { name.to_owned() };
    let mut text = format!("measured: {} {:.1} us", short(chosen), cost as f64 / 1e3);
    for (name, cost) in costs.iter().filter(|(name, _)| *name != chosen) {
        let _ = write!(text, ", {} {:.1}", short(name), *cost as f64 / 1e3);
    }
    text
}
