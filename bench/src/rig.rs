//! What every measurement starts from: a plugin runtime, chips, sessions, and small graphs made by hand.

use anyhow::{Context, Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use sunmao_graph::fold::NoWeights;
use sunmao_graph::{Container, Content, DType, Dim, Graph, Node, Role, Value, ValueId};
use sunmao_host::config::FastPaths;
use sunmao_host::conformance::Target;
use sunmao_host::device::{BrokenPromises, Chip, FastPathRecord, FastPathRules, Place, Registry, Scout, Selector};
use sunmao_host::engine::{Executor, Layout, Loaded, Run};
use sunmao_host::plan::{self, Plan};
use sunmao_host::plugin::{LoadOptions, Plugin, Runtime, RuntimeOptions};
use sunmao_host::scheduler::Team;
use sunmao_host::session::{Host, Options, Session};
use sunmao_host::store::Store;

/// Requests never queue here.
const QUEUE: usize = 16;
/// Room for every model that is measured.
const STORE_BYTES: u64 = 16 << 30;

/// The plugins, loaded once.
pub(crate) struct Rig {
    pub(crate) runtime: Arc<Runtime>,
    registry: Arc<Registry>,
    plugins: PathBuf,
    guests: PathBuf,
    /// What is kept of models; none: nothing.
    store: Option<Arc<Store>>,
}

/// Who may run a model beside the chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paths {
    /// Nobody.
    Plugin,
    /// Native fast paths, and the host's portable kernels.
    Native,
}

impl Paths {
    /// As reports name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plugin => "plugin alone",
            Self::Native => "native",
        }
    }
}

impl Rig {
    /// Compiles and loads the plugins of `plugins`.
    pub(crate) fn new(plugins: &Path, guests: &Path) -> Result<Self> {
        let names = ["simd128", "portable", "npu-sim", "import-onnx"];
        Self::load(plugins, guests, &names, RuntimeOptions::default())
    }

    /// Loads what a model takes, compiled earlier if `cache` has it.
    pub(crate) fn cached(plugins: &Path, cache: &Path) -> Result<Self> {
        let options = RuntimeOptions { cache_dir: Some(cache.to_path_buf()), ..RuntimeOptions::default() };
        Self::load(plugins, Path::new(""), &["simd128", "import-onnx"], options)
    }

    fn load(plugins: &Path, guests: &Path, names: &[&str], options: RuntimeOptions) -> Result<Self> {
        let runtime = Runtime::new(options)?;
        let registry = Arc::new(Registry::default());
        for name in names {
            let path = plugins.join(format!("{name}.wasm"));
            let plugin = runtime
                .load(&path, &LoadOptions::default())
                .with_context(|| format!("{}: run `cargo xtask build-plugins` first", path.display()))?;
            registry.add(plugin);
        }
        Ok(Self { runtime, registry, plugins: plugins.to_path_buf(), guests: guests.to_path_buf(), store: None })
    }

    /// The same with a store of models in that folder.
    pub(crate) fn keeping(self, folder: &Path) -> Result<Self> {
        let store = Store::open(folder, STORE_BYTES).map_err(Error::msg)?;
        Ok(Self { store: Some(store), ..self })
    }

    /// The file of a plugin.
    pub(crate) fn plugin_file(&self, name: &str) -> PathBuf {
        self.plugins.join(format!("{name}.wasm"))
    }

    /// The file of a test plugin.
    pub(crate) fn guest_file(&self, name: &str) -> PathBuf {
        self.guests.join(format!("{name}.wasm"))
    }

    /// A test plugin, loaded.
    pub(crate) fn guest(&self, name: &str) -> Result<Arc<Plugin>> {
        let path = self.guest_file(name);
        let plugin = self.runtime.load(&path, &LoadOptions::default());
        plugin.with_context(|| format!("{}: run `cargo xtask build-plugins {name}` first", path.display()))
    }

    /// A loaded chip.
    pub(crate) fn chip(&self, name: &str) -> Result<Arc<Plugin>> {
        Ok(self.registry.chip(name)?.plugin.clone())
    }

    /// A chip for conformance cases, with everything that a served model has.
    pub(crate) fn target(&self, chip: &str) -> Result<Target> {
        let host = Host::new(self.registry.clone(), Team::new(1, QUEUE));
        let target = Target::whole_host(self.runtime.clone(), host, self.registry.chip(chip)?);
        Ok(Target { guests: Some(self.guests.clone()), ..target })
    }

    /// Names of all chips.
    pub(crate) fn chips(&self) -> Vec<String> {
        self.registry.chips().iter().map(|chip| chip.name.clone()).collect()
    }

    /// A session on `chip`.
    pub(crate) fn session(&self, chip: &str, threads: usize, model: &Path, paths: Paths) -> Result<Session> {
        let host = Host::new(self.registry.clone(), Team::new(threads, QUEUE)).keeping(self.store.clone());
        let native = paths == Paths::Native;
        let fast_paths = if native { FastPaths::Auto } else { FastPaths::Off };
        let options = Options { chip: chip.to_owned(), threads, fast_paths, strict: !native };
        Session::load(model, &host, options).with_context(|| format!("{} on {chip}", model.display()))
    }
}

/// Seconds that `work` takes.
pub(crate) fn seconds<R>(work: impl FnOnce() -> R) -> f64 {
    let start = Instant::now();
    std::hint::black_box(work());
    start.elapsed().as_secs_f64()
}

/// Runs `work` until `time` is over, at least `least` times; the median in seconds.
pub(crate) fn repeat(time: Duration, least: usize, mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut measured = Vec::new();
    while measured.len() < least || start.elapsed() < time {
        measured.push(seconds(&mut work));
    }
    crate::figure::median(measured)
}

/// A graph made by hand: no constants in files.
pub(crate) struct Sketch {
    graph: Graph,
}

impl Sketch {
    pub(crate) fn new() -> Self {
        Self { graph: Graph::default() }
    }

    fn value(&mut self, dtype: DType, shape: &[u64], role: Role) -> ValueId {
        let name = format!("v{}", self.graph.values.len());
        let shape = Some(shape.iter().map(|&n| Dim::Known(n)).collect());
        self.graph.add_value(Value { name, dtype: Some(dtype), shape, container: Container::Tensor, role })
    }

    /// A model input.
    pub(crate) fn input(&mut self, dtype: DType, shape: &[u64]) -> ValueId {
        let id = self.value(dtype, shape, Role::Input);
        self.graph.inputs.push(id);
        id
    }

    /// A constant; little-endian, dense, row-major.
    pub(crate) fn constant(&mut self, dtype: DType, shape: &[u64], bytes: Arc<[u8]>) -> ValueId {
        self.value(dtype, shape, Role::Constant(Content::Bytes(bytes)))
    }

    /// An operator without attributes.
    pub(crate) fn node(
        &mut self,
        op: &str,
        revision: u16,
        inputs: &[ValueId],
        (dtype, shape): (DType, &[u64]),
    ) -> ValueId {
        let output = self.value(dtype, shape, Role::Computed);
        self.graph.nodes.push(Node {
            name: format!("n{}", self.graph.nodes.len()),
            op: op.to_owned(),
            revision,
            attributes: Default::default(),
            inputs: inputs.iter().map(|&input| Some(input)).collect(),
            outputs: vec![Some(output)],
            epilogue: Vec::new(),
        });
        output
    }

    /// The finished graph.
    pub(crate) fn finish(mut self, output: ValueId) -> Graph {
        self.graph.outputs.push(output);
        self.graph
    }
}

/// What runs a hand-made graph.
#[derive(Clone, Copy)]
pub(crate) enum On<'a> {
    /// The plugin alone.
    Plugin(&'a Arc<Plugin>),
    /// The host's portable kernels.
    Portable,
    /// Fast paths, and portable kernels where there is none.
    FastPaths,
}

/// A hand-made graph on an executor of its own.
pub(crate) struct Bench {
    executor: Arc<Executor>,
    loaded: Arc<Loaded>,
    team: Arc<Team>,
}

impl Bench {
    /// Plans `graph` for `threads` threads; `adjust` may change the plan before it is loaded.
    pub(crate) fn new(graph: Graph, on: On<'_>, threads: usize, adjust: impl FnOnce(&mut Plan)) -> Result<Self> {
        let broken = BrokenPromises::default();
        let plugin = match on {
            On::Plugin(plugin) => Some(plugin),
            On::Portable | On::FastPaths => None,
        };
        let chip = plugin.map(|plugin| Chip::new("bench".into(), Vec::new(), FastPaths::Off, plugin.clone()));
        let fast_paths = match on {
            On::FastPaths => FastPathRules::new(FastPaths::Auto, FastPaths::Auto, FastPathRecord::of_process()),
            On::Plugin(_) | On::Portable => FastPathRules::off("not what is measured"),
        };
        let mut selector = Selector {
            chip: chip.as_ref().map(|chip| Scout::new(chip, &broken)),
            fast_paths,
            strict: plugin.is_some(),
        };
        let options = plan::Options { alignment: 64, threads: threads as u32 };
        let mut plan = plan::build(graph, &NoWeights, &mut selector, options)?;
        adjust(&mut plan);
        let layout = Layout::for_plan(plan.memory, threads as u64)?;
        let executor = Arc::new(Executor::new(plugin.cloned(), threads, layout)?);
        let loaded = Arc::new(executor.load(Arc::new(plan), &NoWeights)?);
        executor.warm(&loaded)?;
        Ok(Self { executor, loaded, team: Team::new(threads, QUEUE) })
    }

    /// Runs once, on inputs as they are.
    pub(crate) fn run(&self) -> Result<()> {
        self.run_on(&[]).map(drop)
    }

    /// Copies inputs in and runs once; what is returned can copy outputs out.
    pub(crate) fn run_on(&self, inputs: &[&[u8]]) -> Result<Arc<Run>> {
        let grant = self.team.acquire(self.executor.threads())?;
        let members: Vec<usize> = grant.members().to_vec();
        let run = Arc::new(Run::new(self.executor.clone(), self.loaded.clone(), members[0], members));
        run.copy_in(inputs)?;
        let part = run.clone();
        let work: Arc<dyn Fn(usize) + Send + Sync> = Arc::new(move |thread| part.take_part(thread));
        grant.run(&work);
        run.outcome()?;
        Ok(run)
    }

    /// Whether native fast paths run all of it.
    pub(crate) fn is_fast(&self) -> bool {
        self.loaded.plan.dispatches.iter().all(|dispatch| matches!(dispatch.place, Place::FastPath(_)))
    }

    /// Number of dispatches.
    pub(crate) fn dispatches(&self) -> usize {
        self.loaded.plan.dispatches.len()
    }
}
