//! Brings plugins from files into the registry: those of plugins.toml with what their entries allow them, and those that were dropped into the plugins folder.

use super::failure::Failure;
use crate::config::{Config, FastPaths, PluginEntry, Trust, Wasi, dropped};
use crate::device::{Chip, Registry};
use crate::plugin::{Kind, Limits, LoadOptions, Plugin, Runtime};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Loads plugins as plugins.toml allows them.
#[derive(Clone)]
pub(super) struct Installer {
    pub(super) config: Arc<Config>,
    pub(super) runtime: Arc<Runtime>,
    pub(super) registry: Arc<Registry>,
    /// Requests are served meanwhile: compile without getting in their way.
    pub(super) serving: bool,
}

impl Installer {
    /// All plugins: the chips of plugins.toml, its importers, its further plugins, then the dropped ones. One that cannot be used is refused with its
    /// reason, and the others go on.
    pub(super) fn install_all(&self) {
        let mut order: Vec<&PluginEntry> = Vec::new();
        let named = self
            .config
            .chips
            .iter()
            .map(|chip| &chip.plugin)
            .chain(self.config.importers.iter().map(|importer| &importer.plugin));
        for name in named {
            // Checked when the file was read: every name has its entry.
            if let Some(entry) =
                self.config.plugin(name).filter(|entry| !order.iter().any(|other| other.name == entry.name))
            {
                order.push(entry);
            }
        }
        for entry in &self.config.plugins {
            if !order.iter().any(|other| other.name == entry.name) {
                order.push(entry);
            }
        }
        let mut loaded: Vec<(&str, Arc<Plugin>)> = Vec::new();
        for entry in order {
            if let Some(plugin) = self.load_or_refuse(&entry.path, &self.options(entry)) {
                loaded.push((&entry.name, plugin));
            }
        }
        for (name, plugin) in &loaded {
            self.register(name, plugin);
        }
        match dropped(&self.config.plugins_dir) {
            Ok(paths) => {
                paths.iter().filter(|path| self.entry(path).is_none()).for_each(|path| {
                    self.install(path);
                });
            }
            Err(error) => {
                tracing::warn!(folder = %self.config.plugins_dir.display(), %error, "the plugins folder cannot be read; make it readable for the host's user")
            }
        }
    }

    /// One plugin file that is new or has changed: as its entry says, or as a dropped one. Answers whether it was taken.
    pub(super) fn install(&self, path: &Path) -> bool {
        match self.entry(path) {
            Some(entry) => match self.load_or_refuse(path, &self.options(entry)) {
                Some(plugin) => self.register(&entry.name, &plugin),
                None => false,
            },
            None if self.config.trust == Trust::Pinned => {
                let remedy =
                    "give it a [[plugin]] with the line that `host plugin verify` prints, or set trust = \"any\"";
                self.refuse(
                    path,
                    &Failure::new("trust = \"pinned\" takes only plugins that plugins.toml names", remedy),
                );
                false
            }
            None => match self.load_or_refuse(path, &self.usual_options()) {
                Some(plugin) => self.register_by_id(&plugin),
                None => false,
            },
        }
    }

    /// A plugin file that is gone: what no entry names goes with it, and whoever was refused because its id was taken is tried once more. Answers
    /// whether that brought something new.
    pub(super) fn uninstall(&self, path: &Path) -> bool {
        if self.entry(path).is_some() {
            tracing::info!(path = %path.display(), "the file of a configured plugin is gone; what was loaded from it stays until the next start");
            return false;
        }
        self.registry.remove(path);
        tracing::info!(path = %path.display(), "plugin file is gone; models that run on it keep what they loaded");
        let refused = self.registry.refused();
        let again =
            refused.iter().map(|refusal| refusal.path.as_path()).filter(|other| other.parent() == path.parent());
        // Every one of them is tried.
        again.filter(|other| self.install(other)).count() > 0
    }

    /// Loads one without registering it.
    pub(super) fn load(&self, path: &Path) -> Result<Arc<Plugin>, Failure> {
        let options = match self.entry(path) {
            Some(entry) => self.options(entry),
            None => self.usual_options(),
        };
        Ok(self.runtime.load(path, &options)?)
    }

    /// The entry of plugins.toml for that file.
    pub(super) fn entry(&self, path: &Path) -> Option<&PluginEntry> {
        let real = real(path);
        self.config.plugins.iter().find(|entry| self::real(&entry.path) == real)
    }

    fn options(&self, entry: &PluginEntry) -> LoadOptions {
        let deadline = Duration::from_millis(entry.deadline_ms);
        LoadOptions {
            limits: Limits {
                memory_bytes: entry.memory_mib << 20,
                deadline,
                setup_deadline: deadline.max(Limits::default().setup_deadline),
                ..Limits::default()
            },
            pin: (!entry.sha256.is_empty())
                .then(|| entry.sha256.parse().expect("64 hexadecimal digits: config checked it")),
            wasi_inert: entry.wasi == Wasi::Inert,
            ..self.usual_options()
        }
    }

    /// What a plugin is loaded with that no entry names.
    fn usual_options(&self) -> LoadOptions {
        let keys =
            || self.config.trusted_keys.iter().map(|key| key.parse().expect("64 digits: config checked it")).collect();
        let trusted = (self.config.trust == Trust::Signed).then(keys);
        LoadOptions { in_background: self.serving, trusted, ..LoadOptions::default() }
    }

    fn load_or_refuse(&self, path: &Path, options: &LoadOptions) -> Option<Arc<Plugin>> {
        let what = format!("loading plugin {}", path.display());
        match super::progress::during(&what, || self.runtime.load(path, options)) {
            Ok(plugin) => {
                let compiled = plugin.compiled();
                tracing::info!(plugin = %plugin.id(), path = %path.display(), cached = compiled.cached, elapsed_ms = compiled.took.as_millis() as u64, "plugin loaded");
                Some(plugin)
            }
            Err(error) => {
                self.refuse(path, &error.into());
                None
            }
        }
    }

    fn refuse(&self, path: &Path, failure: &Failure) {
        tracing::warn!(path = %path.display(), reason = %failure.message(), remedy = %failure.help(), "plugin refused");
        self.registry.refuse(path, failure.one_line());
    }

    /// The chips that plugins.toml makes of the plugin of entry `name`; without any, it goes by its own id.
    fn register(&self, name: &str, plugin: &Arc<Plugin>) -> bool {
        let chips: Vec<_> = self.config.chips.iter().enumerate().filter(|(_, chip)| chip.plugin == name).collect();
        if chips.is_empty() {
            return self.register_by_id(plugin);
        }
        if let Kind::Importer(_) = plugin.kind() {
            let failure = Failure::new(
                format!("chip `{}` is given this plugin, which is an importer", chips[0].1.name),
                "remove the [[chip]] entry, or name a chip plugin in it",
            );
            self.refuse(plugin.path(), &failure);
            return false;
        }
        for (index, chip) in chips {
            self.registry.add_chip(self.chip(&chip.name, chip.fast_paths.clone(), plugin).configured(index));
        }
        true
    }

    fn chip(&self, name: &str, fast_paths: FastPaths, plugin: &Arc<Plugin>) -> Chip {
        Chip::new(name.to_owned(), self.config.aliases(name), fast_paths, plugin.clone())
    }

    /// A plugin that no chip entry names: a chip takes its own id as its name, unless another one has it already.
    fn register_by_id(&self, plugin: &Arc<Plugin>) -> bool {
        let Kind::Chip(facts) = plugin.kind() else {
            self.registry.add(plugin.clone());
            return true;
        };
        let id = &facts.info.id;
        let holder = self.registry.chips().into_iter().find(|chip| chip.name == *id || chip.aliases.contains(id));
        match holder.filter(|holder| real(holder.plugin.path()) != real(plugin.path())) {
            Some(holder) => {
                let reason = format!("its id `{id}` is taken by {}", holder.plugin.path().display());
                self.refuse(
                    plugin.path(),
                    &Failure::new(reason, "remove one of the two, or give this one a [[chip]] entry with another name"),
                );
                false
            }
            None => {
                self.registry.add_chip(self.chip(id, FastPaths::Auto, plugin));
                true
            }
        }
    }
}

/// The file that a path leads to, links followed; the path itself where that cannot be told.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}
