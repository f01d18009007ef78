//! The runtime that all plugins of a process share: one engine, one watchdog, one cache.

use super::PluginError;
use super::cache::Cache;
use super::linear_memory::Creator;
use super::watchdog::Watchdog;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use wasmtime::{Config, Engine, OptLevel};

/// Address space of one linear memory, and the inaccessible rest behind it: with both, hot loops have no bounds checks.
const RESERVATION_BYTES: u64 = 4 << 30;
const GUARD_BYTES: u64 = 32 << 20;
const STACK_BYTES: usize = 512 << 10;
/// Address space of one instance: its own memory, and as much again behind its poll page, because fault ranges must lie apart.
pub const INSTANCE_ADDRESS_BYTES: u64 = 2 * (RESERVATION_BYTES + GUARD_BYTES);

/// How plugins are run.
#[derive(Clone, Debug)]
pub struct RuntimeOptions {
    /// Where compiled components are kept; none: they are compiled at each start.
    pub cache_dir: Option<PathBuf>,
    /// Total size of what is kept there.
    pub cache_bytes: u64,
    /// Compile on all cores.
    pub parallel_compilation: bool,
    /// Interpret instead of compiling. Needs the feature `pulley`; 50 to 130 times slower.
    pub interpret: bool,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        Self { cache_dir: None, cache_bytes: 2 << 30, parallel_compilation: true, interpret: !has_compiler() }
    }
}

/// Whether there is a compiler for this processor.
fn has_compiler() -> bool {
    cfg!(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64", target_arch = "s390x"))
}

/// What all plugins of a process share. Make one.
pub struct Runtime {
    pub(super) engine: Engine,
    pub(super) watchdog: Watchdog,
    pub(super) cache: Option<Cache>,
    /// Plugins are interpreted: no poll pages, epochs instead.
    pub(super) interpret: bool,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("cache", &self.cache.is_some()).finish_non_exhaustive()
    }
}

impl Runtime {
    /// Sets the runtime up. A cache that cannot be used is a warning: plugins are then compiled at each start.
    pub fn new(options: RuntimeOptions) -> Result<Arc<Self>, PluginError> {
        let failed = |error: wasmtime::Error| PluginError::Runtime(format!("{error:#}"));
        let mut config = config(&options);
        if options.interpret {
            if !cfg!(feature = "pulley") {
                return Err(PluginError::Runtime(
                    "plugins cannot be interpreted: build the host with `--features pulley`".into(),
                ));
            }
            config.target(if cfg!(target_endian = "big") { "pulley64be" } else { "pulley64" }).map_err(failed)?;
        }
        let engine = Engine::new(&config).map_err(failed)?;
        let watchdog = Watchdog::new(engine.clone()).map_err(|error| PluginError::Runtime(error.to_string()))?;
        let cache = options.cache_dir.and_then(|directory| {
            let opened = Cache::open(&directory, options.cache_bytes);
            opened.inspect_err(|reason| tracing::warn!(reason, "compiled plugins are not kept")).ok()
        });
        Ok(Arc::new(Self { engine, watchdog, cache, interpret: options.interpret }))
    }

    /// Sums up everything of the engine that a compiled component depends on.
    pub(super) fn engine_sum(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.finish()
    }
}

fn config(options: &RuntimeOptions) -> Config {
    let mut config = Config::new();
    config
        .with_host_memory(Arc::new(Creator))
        .memory_reservation(RESERVATION_BYTES)
        .memory_guard_size(GUARD_BYTES)
        .memory_may_move(false)
        // The arena is mapped by the host: a copy-on-write image of the initial memory would be mapped over it again.
        .memory_init_cow(false)
        .max_wasm_stack(STACK_BYTES)
        .cranelift_opt_level(OptLevel::Speed)
        .parallel_compilation(options.parallel_compilation)
        // The second memory is the host's: `inspect` refuses components that have two of their own.
        .wasm_multi_memory(true)
        .wasm_memory64(false)
        .wasm_tail_call(false)
        .wasm_simd(true)
        .wasm_relaxed_simd(true)
        .relaxed_simd_deterministic(false)
        .wasm_component_model(true)
        .concurrency_support(false)
        // Polls of one function must not move into another, where their offsets would meet (see `instrument`).
        .compiler_inlining(wasmtime::Inlining::No)
        .wasm_backtrace_max_frames(None)
        // On the deadline's way under the interpreter, where a protected page would be a fault of the host.
        .epoch_interruption(options.interpret);
    config
}
