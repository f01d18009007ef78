//! The chips that are loaded, by name, in order of preference. Plugins come and go while serving; a model keeps the one it was planned with.

use super::{Breaker, REST};
use crate::plugin::{Kind, Plugin, PluginError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Instant;

/// A chip that models can be planned on.
pub struct Chip {
    /// As `--chip` and plugins.toml name it.
    pub name: String,
    /// Further names.
    pub aliases: Vec<String>,
    /// Whether native fast paths may stand in for its kernels.
    pub fast_paths: bool,
    /// What runs it.
    pub plugin: Arc<Plugin>,
    breaker: Breaker,
    faults: AtomicU64,
}

impl Chip {
    /// A chip without faults.
    pub fn new(name: String, aliases: Vec<String>, fast_paths: bool, plugin: Arc<Plugin>) -> Self {
        Self { name, aliases, fast_paths, plugin, breaker: Breaker::default(), faults: AtomicU64::new(0) }
    }

    /// Notes that a run on it failed, and says so when that takes it out of service.
    pub fn fail(&self, error: &PluginError) {
        if self.breaker.fail(Instant::now()) {
            let (chip, seconds) = (&self.name, REST.as_secs());
            tracing::error!(%chip, %error, seconds, "the chip fails too often and is taken out of service for a while");
        }
    }

    /// Whether it is out of service.
    pub fn is_out(&self) -> bool {
        self.breaker.is_open(Instant::now())
    }

    /// How often it failed, and what came of it.
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Notes that a request failed twice on this chip.
    pub fn mark(&self) {
        self.faults.fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests failed twice on it since it was loaded.
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    fn answers_to(&self, name: &str) -> bool {
        self.name == name || self.aliases.iter().any(|alias| alias == name)
    }
}

/// A plugin file that was not taken, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The file.
    pub path: PathBuf,
    /// What is wrong and what to do about it.
    pub reason: String,
}

/// Asked for a chip that is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no chip `{wanted}`: known are {}", list(.known))]
pub struct UnknownChip {
    /// The name asked for.
    pub wanted: String,
    /// The names that exist, aliases included.
    pub known: Vec<String>,
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none (is the plugins folder filled? `cargo xtask build-plugins`)".into()
    } else {
        names.join(", ")
    }
}

/// Chips and importers by name. Shared by everything that loads models.
#[derive(Default)]
pub struct Registry {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    chips: Vec<Arc<Chip>>,
    importers: Vec<Arc<Plugin>>,
    refused: Vec<Refusal>,
}

/// More refusals than this are forgotten, the oldest first.
const MAX_REFUSALS: usize = 256;

impl Registry {
    /// Adds a chip behind those that are there; one of the same name is replaced in its place, for later loads only.
    pub fn add_chip(&self, chip: Chip) {
        let mut inner = self.inner.write().expect("registry lock: no holder panics");
        let chip = Arc::new(chip);
        inner.refused.retain(|refusal| refusal.path != chip.plugin.path());
        match inner.chips.iter().position(|other| other.name == chip.name) {
            Some(at) => inner.chips[at] = chip,
            None => inner.chips.push(chip),
        }
    }

    /// Adds a plugin that no entry names: a chip takes its own id as name and comes last, an importer serves its formats.
    pub fn add(&self, plugin: Arc<Plugin>) {
        match plugin.kind() {
            Kind::Chip(facts) => self.add_chip(Chip::new(facts.info.id.clone(), Vec::new(), true, plugin)),
            Kind::Importer(_) => {
                let mut inner = self.inner.write().expect("registry lock: no holder panics");
                inner.refused.retain(|refusal| refusal.path != plugin.path());
                inner.importers.retain(|other| other.path() != plugin.path());
                inner.importers.push(plugin);
            }
        }
    }

    /// Notes a plugin that was not taken.
    pub fn refuse(&self, path: &Path, reason: String) {
        let mut inner = self.inner.write().expect("registry lock: no holder panics");
        inner.refused.retain(|refusal| refusal.path != path);
        if inner.refused.len() == MAX_REFUSALS {
            inner.refused.remove(0);
        }
        inner.refused.push(Refusal { path: path.to_path_buf(), reason });
    }

    /// The chip of that name or alias; `auto`: the first that has no faults, else the first.
    pub fn chip(&self, name: &str) -> Result<Arc<Chip>, UnknownChip> {
        let inner = self.inner.read().expect("registry lock: no holder panics");
        let found = if name == "auto" {
            inner.chips.iter().find(|chip| chip.faults() == 0).or(inner.chips.first())
        } else {
            inner.chips.iter().find(|chip| chip.answers_to(name))
        };
        found.cloned().ok_or_else(|| UnknownChip {
            wanted: name.to_owned(),
            known: inner
                .chips
                .iter()
                .flat_map(|chip| std::iter::once(&chip.name).chain(&chip.aliases))
                .cloned()
                .collect(),
        })
    }

    /// All chips, best first.
    pub fn chips(&self) -> Vec<Arc<Chip>> {
        self.inner.read().expect("registry lock: no holder panics").chips.clone()
    }

    /// All importers.
    pub fn importers(&self) -> Vec<Arc<Plugin>> {
        self.inner.read().expect("registry lock: no holder panics").importers.clone()
    }

    /// Plugins that were not taken.
    pub fn refused(&self) -> Vec<Refusal> {
        self.inner.read().expect("registry lock: no holder panics").refused.clone()
    }
}
