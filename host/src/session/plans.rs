//! The plans of a model, one for each set of input shapes, the least recently used one dropped when there are too many.

use super::load::Options;
use crate::device::{Chip, Selector, scout};
use crate::engine::{EngineError, Executor, Layout, Loaded, PortableEvaluator};
use crate::import::WeightSource;
use crate::plan::{self, MemoryUse, Plan};
use crate::plugin::Kind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use sunmao_graph::{Graph, GraphError, ValueId, optimise};

/// Plans of one model kept at a time. Each holds its dispatches in every instance; constants are shared.
const MAX_PLANS: usize = 16;
/// Offsets are multiples of at least this: a cache line, and what the widest native vectors want.
const MIN_ALIGNMENT: u32 = 64;

/// Lengths of all axes of all inputs, in order.
pub(super) type Signature = Vec<Vec<u64>>;

/// What a plan was made for: shapes, and whether the chip may be used.
type Key = (Signature, bool);

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
}

impl PlanFailure {
    pub(super) fn into_engine(self) -> Result<EngineError, GraphError> {
        match self {
            PlanFailure::Engine(error) => Ok(error),
            PlanFailure::Graph(error) => Err(error),
        }
    }
}

/// The graph of a model, and the plans made from it so far.
pub(super) struct Plans {
    pub(super) graph: Graph,
    weights: WeightSource,
    pub(super) chip: Arc<Chip>,
    options: Options,
    cache: Mutex<Cache>,
    /// Held while a plan is made, so that it is made once; requests with known shapes do not wait for it.
    making: Mutex<()>,
}

#[derive(Default)]
struct Cache {
    executor: Option<Arc<Executor>>,
    /// The most recently used last.
    plans: Vec<(Key, Arc<Loaded>)>,
}

impl Plans {
    pub(super) fn new(graph: Graph, weights: WeightSource, chip: Arc<Chip>, options: Options) -> Self {
        Self { graph, weights, chip, options, cache: Mutex::default(), making: Mutex::default() }
    }

    /// The plan for `shapes`, made if need be: one without the chip while that is out of service.
    pub(super) fn get(&self, shapes: &Signature) -> Result<Ready, PlanFailure> {
        let key = (shapes.clone(), self.uses_chip());
        if let Some(ready) = self.cached(&key) {
            return Ok(ready);
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ready) = self.cached(&key) {
            return Ok(ready);
        }
        let plan = Arc::new(self.plan(shapes)?);
        Executor::check_memory(plan.memory)?;
        let executor = self.executor_for(plan.memory)?;
        let loaded = Arc::new(executor.load(plan, &self.weights)?);
        executor.warm(&loaded)?;
        let mut cache = self.lock();
        if cache.plans.len() == MAX_PLANS {
            let (_, evicted) = cache.plans.remove(0);
            executor.forget(&evicted);
        }
        cache.plans.push((key, loaded.clone()));
        Ok(Ready { executor, loaded })
    }

    /// A plan for `shapes` that is not kept, for display.
    pub(super) fn plan(&self, shapes: &Signature) -> Result<Plan, PlanFailure> {
        let inputs: Vec<(ValueId, Vec<u64>)> = self.graph.inputs.iter().copied().zip(shapes.iter().cloned()).collect();
        let graph = optimise::concrete(&self.graph, &inputs, &self.weights, &mut PortableEvaluator)?;
        let Kind::Chip(facts) = self.chip.plugin.kind() else {
            unreachable!("the registry keeps importers apart from chips")
        };
        let mut scout = self.uses_chip().then(|| scout(&self.chip.plugin)).transpose().map_err(EngineError::from)?;
        let mut selector = Selector {
            chip: scout.as_mut().map(|scout| (&*self.chip, scout)),
            fast_paths: self.options.fast_paths && self.chip.fast_paths,
            strict: self.options.strict,
        };
        let options = plan::Options {
            alignment: facts.info.alignment.max(MIN_ALIGNMENT),
            threads: (self.options.threads as u32).min(facts.info.max_shards),
        };
        plan::build(graph, &self.weights, &mut selector, options).map_err(|error| EngineError::from(error).into())
    }

    /// The executor, or a larger one in its place when the plan does not fit. Requests that run on the old one finish there.
    fn executor_for(&self, memory: MemoryUse) -> Result<Arc<Executor>, EngineError> {
        let mut cache = self.lock();
        if let Some(executor) = &cache.executor
            && executor.has_room(memory)
        {
            return Ok(executor.clone());
        }
        let threads = self.options.threads;
        let executor = Arc::new(Executor::new(
            Some(self.chip.plugin.clone()),
            threads,
            Layout::for_plan(memory, threads as u64)?,
        )?);
        cache.plans.clear();
        cache.executor = Some(executor.clone());
        Ok(executor)
    }

    /// Whether a plan made now may use the chip. With `--strict` there is nothing else.
    fn uses_chip(&self) -> bool {
        self.options.strict || !self.chip.is_out()
    }

    fn cached(&self, key: &Key) -> Option<Ready> {
        let mut cache = self.lock();
        let at = cache.plans.iter().position(|(other, _)| other == key)?;
        let entry = cache.plans.remove(at);
        let loaded = entry.1.clone();
        cache.plans.push(entry);
        Some(Ready { executor: cache.executor.clone()?, loaded })
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
