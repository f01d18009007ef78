//! From a file to a plugin that can be instantiated: read, pinned, inspected, instrumented, compiled or taken from the cache, asked what it is.

use super::background::give_way;
use super::bindings::chip::{DevicePluginPre, sunmao::kernel as chip_kernel};
use super::bindings::importer::{ImporterPlugin, ImporterPluginPre};
use super::cache::Identity;
use super::chip::{ChipInstance, ChipState};
use super::importer::{self, Format, ImportState};
use super::inspect::{World, inspect, validate};
use super::instrument::{self, instrument};
use super::{Digest, PluginError, PublicKey, Runtime, inert_wasi, signature};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use sunmao_plugin_sdk::abi;
use wasmtime::component::{Component, HasSelf, Linker};

/// Largest component.
const COMPONENT_MAX_BYTES: u64 = 64 << 20;

/// What a plugin may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory of one instance without its arena.
    pub memory_bytes: u64,
    /// Time for one `run`.
    pub deadline: Duration,
    /// Time for each other call; `pack` gets more for large constants, `import-model` for large files.
    pub setup_deadline: Duration,
    /// Lines that one instance may log.
    pub log_lines: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            deadline: Duration::from_secs(10),
            setup_deadline: Duration::from_secs(10),
            log_lines: 1000,
        }
    }
}

/// How a plugin is loaded.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// What it may take.
    pub limits: Limits,
    /// The only component that is accepted; none: any.
    pub pin: Option<Digest>,
    /// The keys one of which must have signed it; none: no signature is asked for.
    pub trusted: Option<Arc<[PublicKey]>>,
    /// Give it an empty WASI if it imports one.
    pub wasi_inert: bool,
    /// Compile on one thread of the lowest priority, because requests are served meanwhile.
    pub in_background: bool,
    /// Whether deadlines can stop it. False is for measuring what polls cost, and for nothing else.
    pub safepoints: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            pin: None,
            trusted: None,
            wasi_inert: false,
            in_background: false,
            safepoints: true,
        }
    }
}

/// What a plugin is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Runs operators.
    Chip(ChipFacts),
    /// Reads model files.
    Importer(ImporterFacts),
}

/// What a chip said about itself, checked.
#[derive(Clone, Debug)]
pub struct ChipFacts {
    /// Who it is.
    pub info: abi::Info,
    /// What it runs.
    pub operators: Vec<abi::OperatorSupport>,
}

/// What an importer said about itself, checked.
#[derive(Clone, Debug)]
pub struct ImporterFacts {
    /// What it reads.
    pub formats: Vec<Format>,
}

/// How the machine code came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// It was in the cache.
    pub cached: bool,
    /// Time from the component's bytes to machine code.
    pub took: Duration,
    /// Bytes of the component.
    pub component_bytes: u64,
    /// Polls that were added; 0 where none were, or where the cache had it.
    pub polls: u64,
}

/// A component ready to be instantiated. Immutable; shared by its instances.
pub struct Plugin {
    number: u64,
    pub(super) runtime: Arc<Runtime>,
    path: PathBuf,
    digest: Digest,
    limits: Limits,
    kind: Kind,
    compiled: Compiled,
    code: Code,
}

/// A component with its imports resolved.
pub(super) enum Code {
    Chip { pre: DevicePluginPre<ChipState>, wasi: bool },
    Importer { pre: ImporterPluginPre<ImportState>, wasi: bool },
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin").field("id", &self.id()).field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl Plugin {
    /// SHA-256 of the component.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// What it may take.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How its machine code came about.
    pub fn compiled(&self) -> Compiled {
        self.compiled
    }

    /// A chip's own id; for an importer the ids of its formats.
    pub fn id(&self) -> String {
        match &self.kind {
            Kind::Chip(facts) => facts.info.id.clone(),
            Kind::Importer(facts) => {
                let ids: Vec<_> = facts.formats.iter().map(|format| format.id.as_str()).collect();
                ids.join("+")
            }
        }
    }

    /// The facts of a chip.
    pub fn chip(&self) -> Option<&ChipFacts> {
        match &self.kind {
            Kind::Chip(facts) => Some(facts),
            Kind::Importer(_) => None,
        }
    }

    /// Unlike that of any other plugin of this process.
    pub fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn code(&self) -> &Code {
        &self.code
    }
}

impl Runtime {
    /// Loads a plugin: checks it, compiles it or takes it from the cache, and asks it what it is.
    pub fn load(self: &Arc<Self>, path: &Path, options: &LoadOptions) -> Result<Arc<Plugin>, PluginError> {
        let bytes = read(path)?;
        let started = Instant::now();
        let digest = Digest::of(&bytes);
        if let Some(pin) = options.pin.filter(|pin| *pin != digest) {
            return Err(PluginError::refused(
                format!("{} has the digest {digest}, and {pin} is the one that is pinned", path.display()),
                "install the pinned component again, or pin the new one after looking at where it came from",
            ));
        }
        if let Some(trusted) = &options.trusted {
            signature::verify(path, &bytes, trusted)?;
        }
        let inspection = inspect(&bytes, options.wasi_inert)?;
        let safepoints = options.safepoints && !self.interpret;
        let compile = || self.component(&bytes, digest, safepoints);
        let (component, polls, cached) = if options.in_background { give_way(compile)? } else { compile()? };
        let compiled = Compiled { cached, took: started.elapsed(), component_bytes: bytes.len() as u64, polls };
        let code = self.link(&component, inspection.world, inspection.wasi)?;
        let mut plugin = Plugin {
            number: next_number(),
            runtime: self.clone(),
            path: path.to_owned(),
            digest,
            limits: options.limits.clone(),
            // Until it has been asked.
            kind: Kind::Importer(ImporterFacts { formats: Vec::new() }),
            compiled,
            code,
        };
        plugin.kind = match inspection.world {
            World::Chip => {
                let (info, operators) = ChipInstance::describe(&plugin)?;
                Kind::Chip(ChipFacts { info, operators })
            }
            World::Importer => Kind::Importer(ImporterFacts { formats: importer::formats(&plugin)? }),
        };
        tracing::debug!(plugin = plugin.id(), %digest, cached, took_ms = compiled.took.as_millis() as u64, "plugin loaded");
        Ok(Arc::new(plugin))
    }

    /// Machine code for a component, how many polls were added, and whether it was in the cache.
    fn component(&self, bytes: &[u8], digest: Digest, safepoints: bool) -> Result<(Component, u64, bool), PluginError> {
        let instrumentation = if safepoints { instrument::VERSION } else { 0 };
        let identity = Identity { component: digest, engine: self.engine_sum(), instrumentation };
        if let Some(component) = self.cache.as_ref().and_then(|cache| cache.load(&self.engine, &identity)) {
            return Ok((component, 0, true));
        }
        validate(bytes)?;
        let refused = |error: wasmtime::Error| {
            PluginError::refused(
                format!("the component cannot be compiled: {error:#}"),
                "build it with the SDK's toolchain",
            )
        };
        let (component, polls) = if safepoints {
            let instrumented = instrument(bytes)?;
            (Component::from_binary(&self.engine, &instrumented.bytes).map_err(refused)?, instrumented.polls)
        } else {
            (Component::from_binary(&self.engine, bytes).map_err(refused)?, 0)
        };
        if let Some(cache) = &self.cache {
            cache.store(&identity, &component);
        }
        Ok((component, polls, false))
    }

    fn link(&self, component: &Component, world: World, wasi: bool) -> Result<Code, PluginError> {
        let broken = |error: wasmtime::Error| {
            PluginError::refused(
                format!("the component does not fit the ABI: {error:#}"),
                "build it against plugin-sdk/wit of this host",
            )
        };
        let failed = |error: wasmtime::Error| PluginError::Runtime(format!("{error:#}"));
        match world {
            World::Chip => {
                let mut linker = Linker::<ChipState>::new(&self.engine);
                if wasi {
                    inert_wasi::link(&mut linker).map_err(failed)?;
                }
                chip_kernel::log::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state).map_err(failed)?;
                chip_kernel::types::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state).map_err(failed)?;
                let pre = linker.instantiate_pre(component).and_then(DevicePluginPre::new).map_err(broken)?;
                Ok(Code::Chip { pre, wasi })
            }
            World::Importer => {
                let mut linker = Linker::<ImportState>::new(&self.engine);
                if wasi {
                    inert_wasi::link(&mut linker).map_err(failed)?;
                }
                ImporterPlugin::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state).map_err(failed)?;
                let pre = linker.instantiate_pre(component).and_then(ImporterPluginPre::new).map_err(broken)?;
                Ok(Code::Importer { pre, wasi })
            }
        }
    }
}

fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Reads a component, whole and once: what was hashed is what is compiled.
fn read(path: &Path) -> Result<Vec<u8>, PluginError> {
    let unreadable = |source| PluginError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(PluginError::refused(format!("{} is not a file", path.display()), "name a component"));
    }
    let mut bytes = Vec::new();
    file.take(COMPONENT_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > COMPONENT_MAX_BYTES {
        return Err(PluginError::refused(
            format!("{} is larger than {} MiB", path.display(), COMPONENT_MAX_BYTES >> 20),
            "strip its debug sections (`wasm-tools strip`)",
        ));
    }
    Ok(bytes)
}
