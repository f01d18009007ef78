//! The plans of a model, one for each set of input shapes, the least recently used one dropped when there are too many.

use super::load::Options;
use crate::device::{BrokenPromises, Chip, Scout, Selector};
use crate::engine::{EngineError, Executor, Layout, Loaded, PortableEvaluator};
use crate::import::WeightSource;
use crate::memory::Memory;
use crate::plan::{self, Plan};
use crate::plugin::Kind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use sunmao_graph::{Graph, GraphError, ValueId, optimise};

/// Plans of one model kept at a time. Each holds its dispatches in every instance; constants are shared.
const MAX_PLANS: usize = 16;
/// Offsets are multiples of at least this: a cache line, and what the widest native vectors want.
const MIN_ALIGNMENT: u32 = 64;
/// A plan that took longer to make is worth a line in the log.
const LONG: Duration = Duration::from_secs(1);

/// Lengths of all axes of all inputs, in order.
pub(super) type Signature = Vec<Vec<u64>>;

/// A plan that is ready on an executor.
#[derive(Clone)]
pub(super) struct Ready {
    pub(super) executor: Arc<Executor>,
    pub(super) loaded: Arc<Loaded>,
}

/// Why there is no plan for these shapes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanFailure {
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The chip failed twice while the plan was made.
    #[error("chip `{chip}` failed twice: {error}")]
    Failed { chip: String, error: EngineError },
}

/// The graph of a model, and the plans made from it so far.
pub(super) struct Plans {
    pub(super) graph: Graph,
    weights: WeightSource,
    pub(super) chip: Arc<Chip>,
    broken: BrokenPromises,
    memory: Memory,
    options: Options,
    cache: Mutex<Cache>,
    /// Held while a plan is made, so that it is made once; requests with known shapes do not wait for it.
    making: Mutex<()>,
}

#[derive(Default)]
struct Cache {
    executor: Option<Arc<Executor>>,
    /// The most recently used last.
    plans: Vec<(Signature, Arc<Loaded>)>,
}

impl Plans {
    pub(super) fn new(graph: Graph, weights: WeightSource, chip: Arc<Chip>, memory: Memory, options: Options) -> Self {
        Self {
            graph,
            weights,
            chip,
            broken: BrokenPromises::default(),
            memory,
            options,
            cache: Mutex::default(),
            making: Mutex::default(),
        }
    }

    /// The plan for `shapes`, made if need be.
    pub(super) fn get(&self, shapes: &Signature) -> Result<Ready, PlanFailure> {
        if let Some(ready) = self.cached(shapes) {
            return Ok(ready);
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ready) = self.cached(shapes) {
            return Ok(ready);
        }
        let start = Instant::now();
        let plan = Arc::new(self.plan(shapes)?);
        let executor = self.executor_for(&plan)?;
        let loaded = Arc::new(executor.load(plan, &self.weights)?);
        executor.warm(&loaded)?;
        if start.elapsed() >= LONG {
            tracing::info!(?shapes, elapsed_ms = start.elapsed().as_millis() as u64, "a plan for new shapes was made");
        }
        let mut cache = self.lock();
        if cache.plans.len() == MAX_PLANS {
            cache.plans.remove(0);
        }
        cache.plans.push((shapes.clone(), loaded.clone()));
        Ok(Ready { executor, loaded })
    }

    /// A plan for `shapes` that is not kept, for display.
    pub(super) fn plan(&self, shapes: &Signature) -> Result<Plan, PlanFailure> {
        let inputs: Vec<(ValueId, Vec<u64>)> = self.graph.inputs.iter().copied().zip(shapes.iter().cloned()).collect();
        let graph = optimise::concrete(&self.graph, &inputs, &self.weights, &mut PortableEvaluator)?;
        let Kind::Chip(facts) = self.chip.plugin.kind() else {
            unreachable!("the registry keeps importers apart from chips")
        };
        let mut selector = Selector {
            chip: Some(Scout::new(&self.chip, &self.broken)),
            no_fast_paths: self.chip.no_fast_paths(self.options.fast_paths),
            strict: self.options.strict,
        };
        let options = plan::Options {
            alignment: facts.info.alignment.max(MIN_ALIGNMENT),
            threads: (self.options.threads as u32).min(facts.info.max_shards),
        };
        plan::build(graph, &self.weights, &mut selector, options).map_err(|error| EngineError::from(error).into())
    }

    /// The executor, or a larger one in its place when the plan does not fit. Requests that run on the old one finish there.
    fn executor_for(&self, plan: &Plan) -> Result<Arc<Executor>, EngineError> {
        let mut cache = self.lock();
        let roomy = match &cache.executor {
            Some(executor) if executor.has_room(plan)? => Some(executor.clone()),
            _ => None,
        };
        let memory = plan.memory;
        let constants = roomy.as_ref().map_or(Ok(memory.constants), |executor| executor.unplaced_bytes(plan))?;
        Executor::check_memory(constants + memory.slot + memory.staging, self.memory.available())?;
        if let Some(executor) = roomy {
            return Ok(executor);
        }
        let threads = self.options.threads;
        let executor = Arc::new(Executor::new(
            Some(self.chip.plugin.clone()),
            threads,
            Layout::for_plan(plan.memory, threads as u64)?,
        )?);
        cache.plans.clear();
        cache.executor = Some(executor.clone());
        Ok(executor)
    }

    /// Notes that the chip failed twice on one request. What it failed at goes elsewhere from the next plan on, so all plans are made anew.
    pub(super) fn give_up(&self, error: &EngineError) {
        self.chip.mark();
        if let Some(broken) = error.broken_promise() {
            self.broken.note(broken);
        }
        self.lock().plans.clear();
    }

    fn cached(&self, shapes: &Signature) -> Option<Ready> {
        let mut cache = self.lock();
        let at = cache.plans.iter().position(|(signature, _)| signature == shapes)?;
        let entry = cache.plans.remove(at);
        if self.chip.is_set_aside() && entry.1.uses_chip() {
            return None;
        }
        let loaded = entry.1.clone();
        cache.plans.push(entry);
        Some(Ready { executor: cache.executor.clone()?, loaded })
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
