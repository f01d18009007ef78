//! The plans of a model's segments, one for each signature of a segment, the least recently used one dropped when a segment has too many.

use super::division::{self, Division};
use super::{MachineOptions, PlanFailure, Segment};
use crate::device::{BrokenPromises, ByCost, Chip, FastPathRecord, Placer, Scout, Selector};
use crate::engine::{EngineError, Executor, Layout, Loaded, PortableEvaluator, check_fast_paths};
use crate::import::WeightSource;
use crate::plan::{self, MemoryUse, Plan};
use crate::plugin::{ChipFacts, Kind};
use crate::store::{Shelf, encode, kept_record};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use sunmao_graph::batch::samples_apart;
use sunmao_graph::{Binding, DType, Graph, GraphError, optimise};

/// Plans of one segment kept at a time. Each holds its dispatches in every instance; constants are shared.
const MAX_PLANS: usize = 16;
/// Offsets are multiples of at least this: a cache line, and what the widest native vectors want.
const MIN_ALIGNMENT: u32 = 64;
/// Plans of one model that are kept on disk by one process: more come from shapes that keep changing, and would only fill the store.
const KEPT_MAX: usize = 64;
const KEPT: crate::store::Kind = crate::store::Kind { ending: "plan", magic: b"SUNMAOP1", what: "a plan" };
/// A plan that took longer to make is worth a line in the log.
const LONG: Duration = Duration::from_secs(1);

/// A signature, and how requests of it are computed in parts, where they are.
type Divided = (Signature, Option<Arc<Division>>);

/// What a plan is made for: one entry for each input of the segment, in order.
pub type Signature = Vec<InputKey>;

/// What a plan knows of one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputKey {
    /// Its element type.
    pub dtype: DType,
    /// Lengths of its axes.
    pub shape: Vec<u64>,
    /// Its elements, where they decide shapes.
    pub content: Option<Arc<[u8]>>,
}

kept_record! { InputKey { dtype, shape, content } }

/// A plan that is ready on an executor.
#[derive(Clone)]
pub(crate) struct Ready {
    pub(super) executor: Arc<Executor>,
    pub(super) loaded: Arc<Loaded>,
}

impl Ready {
    /// The plan.
    pub(crate) fn plan(&self) -> &Plan {
        &self.loaded.plan
    }
}

/// The segments of a model, and the plans made for them so far.
pub(super) struct Plans {
    pub(super) segments: Vec<Segment>,
    weights: WeightSource,
    pub(super) chip: Arc<Chip>,
    broken: BrokenPromises,
    options: MachineOptions,
    /// Where plans and packed constants are kept.
    shelf: Option<Shelf>,
    /// Plans that were kept there so far.
    kept: AtomicUsize,
    cache: Mutex<Cache>,
    /// By segment; the most recently made last.
    divisions: Mutex<Vec<Vec<Divided>>>,
    /// Held while a plan is made, so that it is made once; requests with known signatures do not wait for it.
    making: Mutex<()>,
}

/// One arena for all segments: what one of them computes is no larger for there being others.
#[derive(Default)]
struct Cache {
    executor: Option<Arc<Executor>>,
    /// By segment; the most recently used last.
    plans: Vec<Vec<(Signature, Arc<Loaded>)>>,
}

impl Plans {
    pub(super) fn new(
        segments: Vec<Segment>,
        weights: WeightSource,
        chip: Arc<Chip>,
        shelf: Option<Shelf>,
        options: MachineOptions,
    ) -> Self {
        let plans = segments.iter().map(|_| Vec::new()).collect();
        let divisions = Mutex::new(segments.iter().map(|_| Vec::new()).collect());
        let cache = Mutex::new(Cache { executor: None, plans });
        let (broken, kept) = (BrokenPromises::default(), AtomicUsize::new(0));
        Self { segments, weights, chip, broken, options, shelf, kept, cache, divisions, making: Mutex::new(()) }
    }

    /// The plan of a segment for `signature`, made if need be.
    pub(super) fn get(&self, segment: usize, signature: &Signature) -> Result<Ready, PlanFailure> {
        if let Some(ready) = self.cached(segment, signature) {
            return Ok(ready);
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ready) = self.cached(segment, signature) {
            return Ok(ready);
        }
        let start = Instant::now();
        let plan = Arc::new(self.plan(segment, signature)?);
        let executor = self.executor_for(segment, &plan)?;
        let loaded = Arc::new(executor.load(plan, &self.weights)?);
        executor.warm(&loaded)?;
        if start.elapsed() >= LONG {
            let shapes: Vec<_> = signature.iter().map(|key| &key.shape).collect();
            tracing::info!(
                segment,
                ?shapes,
                elapsed_ms = start.elapsed().as_millis() as u64,
                "a plan for new shapes was made"
            );
        }
        let mut cache = self.lock();
        let plans = &mut cache.plans[segment];
        if plans.len() == MAX_PLANS {
            plans.remove(0);
        }
        plans.push((signature.clone(), loaded.clone()));
        // Once each segment has its constants packed, those that were computed for it are of use to later shapes at most.
        if cache.plans.iter().all(|plans| !plans.is_empty()) {
            self.weights.release();
        }
        Ok(Ready { executor, loaded })
    }

    /// How a request is computed in parts; none: it is computed whole.
    pub(super) fn division(&self, segment: usize, signature: &Signature) -> Option<Arc<Division>> {
        let samples = division::samples(&self.segments[segment], signature)?;
        let lock = || self.divisions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = lock()[segment].iter().find(|(known, _)| known == signature) {
            return known.clone();
        }
        let division = self.divide(segment, signature, samples).map(Arc::new);
        let known = &mut lock()[segment];
        if known.len() == MAX_PLANS {
            known.remove(0);
        }
        known.push((signature.clone(), division.clone()));
        division
    }

    fn divide(&self, segment: usize, signature: &Signature, samples: u64) -> Option<Division> {
        // Who cannot split an operator may be a device behind the plugin, and a batch one job to it.
        if self.facts().info.max_shards < 2 {
            return None;
        }
        let part = division::part(signature, samples);
        let concrete = |signature| self.concrete(segment, signature).ok();
        let apart = match samples_apart(&concrete(signature)?, &concrete(&part)?) {
            Ok(apart) => apart,
            Err(together) => {
                tracing::debug!(segment, samples, %together, "a batch is computed whole");
                return None;
            }
        };
        // What is wrong with the model is told by the request itself.
        let pays = self.plan(segment, &part).is_ok_and(|plan| division::is_worth_it(&plan));
        pays.then_some(Division { part, count: samples, apart })
    }

    /// A plan of a segment for `signature`, from the store or made; it is not loaded.
    pub(super) fn plan(&self, segment: usize, signature: &Signature) -> Result<Plan, PlanFailure> {
        // What a chip's failures have led to is not to be found by a later start, nor is what was right before they happened.
        let is_sound = || self.broken.is_empty() && !self.chip.is_set_aside();
        let Some(shelf) = self.shelf.as_ref().filter(|_| is_sound()) else { return self.make(segment, signature) };
        let name = self.name(segment, signature);
        let kept: Option<Plan> = shelf.load(&KEPT, &name);
        if let Some(plan) = kept.filter(|plan| check_fast_paths(plan, FastPathRecord::of_process())) {
            return Ok(plan);
        }
        let plan = self.make(segment, signature)?;
        if is_sound() && self.kept.fetch_add(1, Ordering::Relaxed) < KEPT_MAX {
            shelf.keep(&KEPT, &name, &plan);
        }
        Ok(plan)
    }

    /// Everything that decides a plan, beside what the shelf stands for.
    fn name(&self, segment: usize, signature: &Signature) -> Vec<u8> {
        let MachineOptions { threads, strict, ref costs, ref fast_paths, .. } = self.options;
        let costs = costs.as_ref().map(|costs| costs.digest());
        let fast_paths = (fast_paths.to_string(), self.chip.fast_paths.to_string());
        encode(&((segment, threads), ((strict, (fast_paths, costs)), signature.clone())))
    }

    fn make(&self, segment: usize, signature: &Signature) -> Result<Plan, PlanFailure> {
        let graph = self.concrete(segment, signature)?;
        let facts = self.facts();
        let selector = Selector {
            chip: Some(Scout::new(&self.chip, &self.broken)),
            fast_paths: self.chip.fast_path_rules(&self.options.fast_paths),
            strict: self.options.strict,
        };
        let options = plan::Options {
            alignment: facts.info.alignment.max(MIN_ALIGNMENT),
            threads: (self.options.threads as u32).min(facts.info.max_shards),
        };
        let mut placer: Box<dyn Placer + '_> = match &self.options.costs {
            Some(costs) => Box::new(ByCost { selector, costs }),
            None => Box::new(selector),
        };
        let plan = plan::build(graph, &self.weights, &mut *placer, options).map_err(EngineError::from)?;
        if check_fast_paths(&plan, FastPathRecord::of_process()) {
            return Ok(plan);
        }
        // What failed is on record now, and refused: each round has fewer fast paths than the one before.
        self.make(segment, signature)
    }

    fn facts(&self) -> &ChipFacts {
        match self.chip.plugin.kind() {
            Kind::Chip(facts) => facts,
            _ => unreachable!("the registry keeps importers apart from chips"),
        }
    }

    /// Refuses results that there is no memory for, before they are computed.
    pub(super) fn check_room(&self, bytes: u64) -> Result<(), EngineError> {
        Executor::check_memory(bytes, self.options.memory.available())
    }

    fn concrete(&self, segment: usize, signature: &Signature) -> Result<Graph, GraphError> {
        let graph = &self.segments[segment].graph;
        let bindings: Vec<Binding> = graph
            .inputs
            .iter()
            .zip(signature.iter().cloned())
            .map(|(&input, key)| Binding { input, dtype: Some(key.dtype), shape: key.shape, content: key.content })
            .collect();
        optimise::concrete(graph, &bindings, &self.weights, &mut PortableEvaluator)
    }

    /// The executor, or a larger one in its place when the plan does not fit. Requests that run on the old one finish there.
    fn executor_for(&self, segment: usize, plan: &Plan) -> Result<Arc<Executor>, EngineError> {
        let mut cache = self.lock();
        let roomy = match &cache.executor {
            Some(executor) if executor.has_room(plan)? => Some(executor.clone()),
            _ => None,
        };
        let memory = plan.memory;
        let constants = roomy.as_ref().map_or(Ok(memory.constants), |executor| executor.unplaced_bytes(plan))?;
        Executor::check_memory(constants + memory.slot + memory.staging, self.options.memory.available())?;
        if let Some(executor) = roomy {
            return Ok(executor);
        }
        let threads = self.options.threads;
        // Room for the other segments too: they are planned again, and must not drive each other out.
        let layout = Layout::for_plan(cache.with_others(segment, memory), threads as u64)
            .or_else(|_| Layout::for_plan(memory, threads as u64))?;
        // Who had a chip keeps it: plans of both kinds must not drive each other out either.
        let has_chip = plan.uses_chip() || cache.executor.as_ref().is_some_and(|executor| executor.has_chip());
        let plugin = has_chip.then(|| self.chip.plugin.clone());
        let executor = Executor::new(plugin, threads, layout)?.keeping(self.shelf.clone());
        let executor = Arc::new(executor);
        cache.plans.iter_mut().for_each(Vec::clear);
        cache.executor = Some(executor.clone());
        Ok(executor)
    }

    /// Notes that the chip failed twice on one request. What it failed at goes elsewhere from the next plan on, so all plans are made anew.
    pub(super) fn give_up(&self, error: &EngineError) {
        self.chip.mark();
        if let Some(broken) = error.broken_promise() {
            self.broken.note(broken);
        }
        self.lock().plans.iter_mut().for_each(Vec::clear);
    }

    fn cached(&self, segment: usize, signature: &Signature) -> Option<Ready> {
        let mut cache = self.lock();
        let plans = &mut cache.plans[segment];
        let at = plans.iter().position(|(known, _)| known == signature)?;
        let entry = plans.remove(at);
        if self.chip.is_set_aside() && entry.1.uses_chip() {
            return None;
        }
        let loaded = entry.1.clone();
        plans.push(entry);
        Some(Ready { executor: cache.executor.clone()?, loaded })
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    /// What a plan of `segment` takes beside the largest plans of the other segments.
    fn with_others(&self, segment: usize, memory: MemoryUse) -> MemoryUse {
        let others = self.plans.iter().enumerate().filter(|(index, _)| *index != segment);
        others.fold(memory, |sum, (_, plans)| {
            let uses = || plans.iter().map(|(_, loaded)| loaded.plan.memory);
            MemoryUse {
                slot: sum.slot.max(uses().map(|memory| memory.slot).max().unwrap_or(0)),
                staging: sum.staging.max(uses().map(|memory| memory.staging).max().unwrap_or(0)),
                constants: sum.constants + uses().map(|memory| memory.constants).max().unwrap_or(0),
                ..sum
            }
        })
    }
}
