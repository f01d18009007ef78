//! Puts the rooms together as the flags and plugins.toml say.

use super::arguments::Common;
use super::failure::Failure;
use super::install::Installer;
use crate::config::Config;
use crate::device::Registry;
use crate::memory::address_space_bytes;
use crate::package::Package;
use crate::plugin::{INSTANCE_ADDRESS_BYTES, Runtime, RuntimeOptions};
use crate::program::Limits;
use crate::scheduler::Team;
use crate::session::{Host, Options, Session};
use crate::store::Store;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where plugins.toml is looked for when no flag names it.
const USUAL_FILE: &str = "plugins.toml";
/// Requests that may wait where nothing is served.
const FEW_WAITING: usize = 16;

/// Reads the configuration that the flags name.
pub(super) fn configuration(common: &Common) -> Result<Config, Failure> {
    match &common.plugins {
        Some(path) => Ok(Config::load(path)?),
        None if Path::new(USUAL_FILE).exists() => Ok(Config::load(Path::new(USUAL_FILE))?),
        None => Ok(Config::without_file()),
    }
}

/// Threads that models may use: as many as asked for, and no more than a model's instances find address space for.
pub(super) fn threads(common: &Common) -> usize {
    let machine = std::thread::available_parallelism().map_or(1, NonZero::get);
    let asked =
        common.threads.map_or(machine, |threads| usize::try_from(threads).expect("at most 256: the parser checked it"));
    let most = instances_max(address_space_bytes());
    if asked > most {
        tracing::warn!(
            asked,
            most,
            "fewer threads: each takes address space for an instance of its own; `host doctor` says more"
        );
    }
    asked.min(most)
}

/// Instances of one model that fit into so much address space. A quarter stays for everything else.
pub(super) fn instances_max(address_space: u64) -> usize {
    usize::try_from(address_space / 4 * 3 / INSTANCE_ADDRESS_BYTES).unwrap_or(usize::MAX).max(1)
}

/// The runtime that all plugins of the process share, with its cache.
pub(super) fn runtime(config: &Config) -> Result<Arc<Runtime>, Failure> {
    let options = RuntimeOptions { cache_dir: Some(config.cache_dir.join("compiled")), ..RuntimeOptions::default() };
    Ok(Runtime::new(options)?)
}

/// The store of models; none: nothing is to be kept, or it cannot be, and the log says why.
fn store(config: &Config) -> Option<Arc<Store>> {
    let limit_bytes = config.cache_models_mib << 20;
    let opened = (limit_bytes > 0).then(|| Store::open(&config.cache_dir.join("models"), limit_bytes))?;
    opened.inspect_err(|reason| tracing::warn!(reason, "nothing is kept of models")).ok()
}

/// Every plugin loaded, and what sessions need.
pub(super) struct Assembled {
    pub(super) installer: Installer,
    pub(super) host: Host,
}

impl Assembled {
    /// Loads every plugin. `waiting`: requests that may wait for a thread.
    pub(super) fn new(config: Arc<Config>, threads: usize, waiting: usize) -> Result<Self, Failure> {
        let installer =
            Installer { runtime: runtime(&config)?, registry: Arc::new(Registry::default()), config, serving: false };
        installer.install_all();
        let limits = Limits::from(&installer.config.loops);
        let host = Host::new(installer.registry.clone(), Team::new(threads, waiting)).keeping(store(&installer.config));
        let host = Host { limits, ..host };
        Ok(Self { installer, host })
    }

    /// The same, for a command that runs once.
    pub(super) fn once(common: &Common) -> Result<Self, Failure> {
        Self::new(Arc::new(configuration(common)?), threads(common), FEW_WAITING)?.tuned(common)
    }

    /// With the costs of the file that `--tune` names.
    pub(super) fn tuned(mut self, common: &Common) -> Result<Self, Failure> {
        self.host.costs = super::tune::given(common)?;
        Ok(self)
    }

    /// Loads a model file, or a package once it was checked, as the flags say.
    pub(super) fn session(&self, model: &Path, options: Options) -> Result<Session, Failure> {
        if let Err(error) = std::fs::metadata(model) {
            return Err(Failure::new(
                format!("{}: {error}", model.display()),
                "check the path; it is taken relative to the working directory",
            ));
        }
        self.needs_importer()?;
        let (file, options) = self.unpacked(model, options)?;
        Session::load(&file, &self.host, options).map_err(|error| {
            let failure = Failure::from(error);
            let path = model.display().to_string();
            // Some errors know their file, some come from below where there is none.
            if failure.message().contains(&path) { failure } else { failure.at(path) }
        })
    }

    /// Without an importer nothing can be read.
    pub(super) fn needs_importer(&self) -> Result<(), Failure> {
        if !self.host.registry.importers().is_empty() {
            return Ok(());
        }
        let refused: Vec<_> =
            self.host.registry.refused().iter().map(|refusal| refusal.path.display().to_string()).collect();
        let why = if refused.is_empty() {
            String::new()
        } else {
            format!(" ({} refused; `host plugin list` says why)", refused.join(", "))
        };
        let help = format!(
            "put an importer into {}, or name one in plugins.toml; `cargo xtask build-plugins` builds the project's own",
            self.installer.config.plugins_dir.display()
        );
        Err(Failure::new(format!("no importer is loaded{why}, so no model file can be read"), help))
    }

    /// The model file of a package that is whole, with the chip that the package prefers unless the user names one; a file as it is.
    fn unpacked(&self, model: &Path, options: Options) -> Result<(PathBuf, Options), Failure> {
        if !Package::is_named(model) {
            return Ok((model.to_path_buf(), options));
        }
        let package = Package::open(model)?;
        package.verify()?;
        let chip = match &package.manifest().chip {
            Some(preferred) if options.chip == "auto" => match self.host.registry.chip(preferred) {
                Ok(_) => preferred.clone(),
                Err(error) => {
                    tracing::warn!(package = %model.display(), %error, "the package prefers a chip that is not here; `auto` chooses");
                    options.chip
                }
            },
            _ => options.chip,
        };
        Ok((package.model_path(), Options { chip, ..options }))
    }
}

/// How a model is run when nothing else is said of it.
pub(super) fn options(common: &Common) -> Options {
    Options {
        chip: common.chip_type.clone(),
        threads: threads(common),
        fast_paths: common.fast_paths.clone(),
        strict: common.strict,
    }
}
