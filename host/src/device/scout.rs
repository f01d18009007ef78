//! Asks a chip what it runs, on an instance that never runs anything itself and is made anew when a question kills it.

use super::{BrokenPromise, BrokenPromises, Chip, covers, plausible};
use crate::plugin::{ChipInstance, Digest, PluginError};
use sunmao_plugin_sdk::{ErrorCode, abi};

/// What the instance reserves: it prepares and never runs.
const ARENA_BYTES: u64 = 65536;

/// Asks one chip about the nodes of one model.
pub struct Scout<'a> {
    chip: &'a Chip,
    broken: &'a BrokenPromises,
    instance: Option<ChipInstance>,
}

/// Why the chip does not run an operation.
pub(super) enum No {
    /// It said so, or it is not asked.
    Declined(String),
    /// It would be asked, had it not failed too often.
    SetAside,
    /// Its table said yes, and then it failed.
    Broken(BrokenPromise),
    /// The host itself failed.
    Failed(PluginError),
}

impl<'a> Scout<'a> {
    /// A scout to `chip`, which is not asked again about the nodes in `broken`.
    pub fn new(chip: &'a Chip, broken: &'a BrokenPromises) -> Self {
        Self { chip, broken, instance: None }
    }

    /// What the chip's kernel wants, if it runs `operation` of `node`.
    pub(super) fn ask(&mut self, node: &str, operation: &abi::Operation) -> Result<abi::Requirements, No> {
        let table = self.chip.plugin.chip().map_or(&[][..], |facts| &facts.operators);
        covers(table, operation).map_err(|reason| No::Declined(reason.0))?;
        if self.chip.is_set_aside() {
            return Err(No::SetAside);
        }
        if let Some(reason) = self.broken.reason(&operation.op, node) {
            return Err(No::Declined(reason));
        }
        match self.requirements(operation) {
            Ok(requirements) => Ok(requirements),
            // The one refusal that the ABI leaves open: covered, and too large.
            Err(PluginError::Plugin { code: ErrorCode::LimitExceeded, message, .. }) => Err(No::Declined(message)),
            // A table cannot say everything, so `prepare` may decline; that costs the placement and nothing else.
            Err(PluginError::Plugin { message, code, .. }) if code != ErrorCode::Internal => {
                Err(No::Declined(format!("broken promise: {message}")))
            }
            Err(error) => {
                self.instance = None;
                Err(BrokenPromise::blame(operation, node, error).map_or_else(No::Failed, No::Broken))
            }
        }
    }

    /// What the chip's plugin is known by.
    pub(super) fn digest(&self) -> Digest {
        self.chip.plugin.digest()
    }

    /// Name of the chip.
    pub(super) fn chip(&self) -> &str {
        &self.chip.name
    }

    /// Counts a broken promise and answers what to write down. The chip is not asked about that node again.
    pub(super) fn remember(&self, broken: BrokenPromise) -> String {
        tracing::warn!(chip = %self.chip.name, %broken, "the chip broke its promise; the node is planned elsewhere");
        self.chip.broke_promise();
        self.broken.note(&broken);
        format!("broken promise: {}", broken.error)
    }

    fn requirements(&mut self, operation: &abi::Operation) -> Result<abi::Requirements, PluginError> {
        let instance = self.instance()?;
        let kernel = instance.prepare(operation)?;
        let requirements = instance.requirements(kernel);
        instance.drop_kernel(kernel);
        let requirements = requirements?;
        plausible(operation, &requirements).map_err(|what| PluginError::broken("requirements", what))?;
        Ok(requirements)
    }

    fn instance(&mut self) -> Result<&mut ChipInstance, PluginError> {
        let live = self.instance.take().filter(|instance| !instance.is_dead());
        let instance = match live {
            Some(instance) => instance,
            None => {
                let mut fresh = ChipInstance::new(&self.chip.plugin)?;
                fresh.reserve(ARENA_BYTES)?;
                fresh
            }
        };
        Ok(self.instance.insert(instance))
    }
}
