//! The chips that are loaded, by name, in order of preference. Plugins come and go while serving; a model keeps the one it was planned with.

use super::Chip;
use crate::config::FastPaths;
use crate::plugin::{Kind, Plugin};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

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
    /// Adds a chip at its place in the order of choice; it replaces one of the same name, for later loads only.
    pub fn add_chip(&self, chip: Chip) {
        let mut inner = self.inner.write().expect("registry lock: no holder panics");
        inner.refused.retain(|refusal| refusal.path != chip.plugin.path());
        inner.chips.retain(|other| other.name != chip.name);
        let at = inner.chips.partition_point(|other| other.rank() <= chip.rank());
        inner.chips.insert(at, Arc::new(chip));
    }

    /// Forgets what the file brought that is gone: a chip or importer that no entry of plugins.toml names, and that it was refused. Models that
    /// run on the chip keep it.
    pub fn remove(&self, path: &Path) {
        let mut inner = self.inner.write().expect("registry lock: no holder panics");
        inner.chips.retain(|chip| chip.is_configured() || chip.plugin.path() != path);
        inner.importers.retain(|importer| importer.path() != path);
        inner.refused.retain(|refusal| refusal.path != path);
    }

    /// Adds a plugin that no entry names: a chip takes its own id as name, an importer serves its formats.
    pub fn add(&self, plugin: Arc<Plugin>) {
        match plugin.kind() {
            Kind::Chip(facts) => self.add_chip(Chip::new(facts.info.id.clone(), Vec::new(), FastPaths::Auto, plugin)),
            Kind::Importer(_) => {
                let mut inner = self.inner.write().expect("registry lock: no holder panics");
                inner.refused.retain(|refusal| refusal.path != plugin.path());
                match inner.importers.iter().position(|other| other.path() == plugin.path()) {
                    Some(at) => inner.importers[at] = plugin,
                    None => inner.importers.push(plugin),
                }
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

    /// The chip of that name or alias; `auto`: the first that has not failed yet, else the first that is not set aside, else the first.
    pub fn chip(&self, name: &str) -> Result<Arc<Chip>, UnknownChip> {
        let inner = self.inner.read().expect("registry lock: no holder panics");
        let found = if name == "auto" {
            inner.chips.iter().min_by_key(|chip| (chip.is_set_aside(), chip.faults() > 0))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::testing;

    fn chip(name: &str) -> Chip {
        Chip::new(name.into(), Vec::new(), FastPaths::Auto, testing::chip())
    }

    fn names(registry: &Registry) -> Vec<String> {
        registry.chips().iter().map(|chip| chip.name.clone()).collect()
    }

    #[test]
    fn a_configured_chip_takes_its_entrys_place_whenever_it_comes() {
        let registry = Registry::default();
        registry.add_chip(chip("dropped"));
        registry.add_chip(chip("third").configured(2));
        registry.add_chip(chip("first").configured(0));
        assert_eq!(names(&registry), ["first", "third", "dropped"]);
        registry.add_chip(chip("second").configured(1));
        registry.add_chip(chip("first").configured(0));
        assert_eq!(names(&registry), ["first", "second", "third", "dropped"]);
        assert_eq!(registry.chip("auto").unwrap().name, "first");
    }

    #[test]
    fn auto_passes_over_a_chip_that_fails_and_takes_it_back_when_it_is_loaded_anew() {
        let registry = Registry::default();
        registry.add_chip(chip("first").configured(0));
        registry.add_chip(chip("second").configured(1));
        let auto = || registry.chip("auto").unwrap();
        auto().mark();
        assert_eq!(auto().name, "second");
        (0..3).for_each(|_| registry.chip("second").unwrap().broke_promise());
        assert_eq!(auto().name, "first", "one fault is better than set aside");
        registry.add_chip(chip("second").configured(1));
        assert_eq!(auto().name, "second");
    }

    #[test]
    fn with_its_file_goes_what_no_entry_names() {
        let registry = Registry::default();
        let path = testing::chip().path().to_path_buf();
        registry.add_chip(chip("configured").configured(0));
        registry.add_chip(chip("dropped"));
        registry.add(testing::importer());
        registry.refuse(Path::new("broken.wasm"), "it is".into());
        registry.remove(Path::new("broken.wasm"));
        registry.remove(&path);
        assert_eq!((names(&registry), registry.refused()), (vec!["configured".into()], vec![]));
        registry.remove(testing::importer().path());
        assert!(registry.importers().is_empty());
    }
}
