//! Measures what operations cost on this machine, by everybody who runs them.
//!
//! Each operation becomes a model of one node, planned, loaded and run as any other: what is measured has waiting, packing and all. Choosing by what
//! was measured is `device`'s work.

mod origin;
mod single;

#[cfg(test)]
mod tests;

pub use origin::origin;

use crate::device::{
    BrokenPromises, Chip, Costs, DeviceError, FastPathRecord, FastPathRules, Place, Placed, Placer, Scout, Selector,
    cost_name, fast_path, native_kernel,
};
use crate::engine::{EngineError, Executor, Layout, Run, check_on_samples, drawn_operands};
use crate::plan::{self, Plan};
use crate::plugin::Plugin;
use crate::scheduler::{Team, Work};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use sunmao_graph::fold::NoWeights;
use sunmao_plugin_sdk::abi;

/// How long one kernel is measured, at least.
const TIME: Duration = Duration::from_millis(15);
/// Runs that a median is taken of, at least, unless one alone takes longer than `LONG`.
const RUNS_MIN: usize = 5;
/// A run that takes longer is not repeated often.
const LONG: Duration = Duration::from_millis(200);
/// Elementary operations beyond which the portable kernel is not tried where somebody else runs the operation: seconds a run.
const PORTABLE_WORK_MAX: u64 = 1 << 27;

/// Measures operations on one chip and on the host's own kernels.
pub struct Tuner<'a> {
    /// The chip.
    pub chip: &'a Chip,
    /// Whose threads run the kernels.
    pub team: &'a Team,
    /// How many of them.
    pub threads: usize,
}

impl Tuner<'_> {
    /// Measures every operation of `plan` that `costs` does not know yet. Answers how many there were.
    pub fn measure_plan(&self, plan: &Plan, costs: &mut Costs) -> usize {
        let mut measured = 0;
        for dispatch in &plan.dispatches {
            let operation = plain(&dispatch.operation);
            if costs.knows(&operation) {
                continue;
            }
            let places = self.places(&operation, dispatch.work);
            let mut found = BTreeMap::new();
            for place in places {
                match self.measure(place, &operation, plan.alignment) {
                    Ok(cost) => {
                        let name = cost_name(place, Some(self.chip.plugin.digest()));
                        found.extend(name.map(|name| (name, cost)));
                    }
                    // It declines this operation, or there is no room for it twice: it is no candidate then.
                    Err(error) => tracing::debug!(op = %operation.op, %place, %error, "not measured"),
                }
            }
            if !found.is_empty() {
                costs.note(&operation, found);
                measured += 1;
            }
        }
        measured
    }

    /// Who might run an operation of that much work.
    fn places(&self, operation: &abi::Operation, work: u64) -> Vec<Place> {
        let record = FastPathRecord::of_process();
        let paths = sunmao_fastpath::registered().into_iter().filter(|entry| entry.operator == operation.op);
        let mut places = Vec::new();
        for entry in paths.filter(|entry| fast_path(operation, |name| name == entry.path).is_ok()) {
            check_on_samples(entry.path, entry.operator, record);
            if !record.is_refused(entry.path, entry.operator) {
                places.push(Place::FastPath(entry.path));
            }
        }
        places.push(Place::Chip);
        if work <= PORTABLE_WORK_MAX || places.len() == 1 {
            places.push(Place::Portable);
        }
        places
    }

    /// Nanoseconds of one run on all threads: the median.
    fn measure(&self, place: Place, operation: &abi::Operation, alignment: u32) -> Result<u64, EngineError> {
        let unusable = || DeviceError::Native { op: operation.op.clone(), message: "cannot be run alone".into() };
        let operands = drawn_operands(operation).ok_or_else(unusable).map_err(plan::PlanError::from)?;
        let graph = single::graph(operation, &operands).ok_or_else(unusable).map_err(plan::PlanError::from)?;
        let broken = BrokenPromises::default();
        let mut placer = Forced { place, chip: self.selector(&broken) };
        let options = plan::Options { alignment, threads: self.threads as u32 };
        let plan = plan::build(graph, &NoWeights, &mut placer, options)?;
        drop(placer);
        let plugin: Option<Arc<Plugin>> = (place == Place::Chip).then(|| self.chip.plugin.clone());
        let layout = Layout::for_plan(plan.memory, self.threads as u64)?;
        let executor = Arc::new(Executor::new(plugin, self.threads, layout)?);
        let loaded = Arc::new(executor.load(Arc::new(plan), &NoWeights)?);
        executor.warm(&loaded)?;
        let inputs: Vec<&[u8]> = single::inputs(operation, &operands);
        let mut times: Vec<u64> = Vec::new();
        let begun = Instant::now();
        // The first run finds cold caches and untouched pages, and does not count.
        let mut is_first = true;
        loop {
            let grant = self.team.acquire(self.threads).map_err(|_| EngineError::Aborted)?;
            let members = grant.members().to_vec();
            let run = Arc::new(Run::new(executor.clone(), loaded.clone(), members[0], members));
            if is_first {
                run.copy_in(&inputs)?;
            }
            let part = run.clone();
            let work: Work = Arc::new(move |thread| part.take_part(thread));
            let start = Instant::now();
            grant.run(&work);
            let took = start.elapsed();
            run.outcome()?;
            if !is_first {
                times.push(took.as_nanos() as u64);
            }
            let enough = times.len() >= RUNS_MIN && begun.elapsed() >= TIME;
            if enough || (took > LONG && !times.is_empty()) {
                times.sort_unstable();
                return Ok(times[times.len() / 2]);
            }
            is_first = false;
        }
    }

    fn selector<'b>(&'b self, broken: &'b BrokenPromises) -> Selector<'b> {
        Selector {
            chip: Some(Scout::new(self.chip, broken)),
            fast_paths: FastPathRules::off("measured apart"),
            strict: true,
        }
    }
}

/// Gives every operation to one place.
struct Forced<'a> {
    place: Place,
    chip: Selector<'a>,
}

impl Placer for Forced<'_> {
    fn place(&mut self, node: &str, operation: &abi::Operation) -> Result<Placed, DeviceError> {
        if self.place == Place::Chip {
            return self.chip.place(node, operation);
        }
        let kernel = native_kernel(self.place, operation)
            .map_err(|error| DeviceError::Native { op: operation.op.clone(), message: error.message })?;
        Ok(Placed { place: self.place, requirements: kernel.requirements(), reason: String::new() })
    }
}

/// The operation as the planner asks about it: before any layout was granted.
fn plain(operation: &abi::Operation) -> abi::Operation {
    let mut operation = operation.clone();
    operation.inputs.iter_mut().chain(&mut operation.outputs).flatten().for_each(|operand| operand.layout = 0);
    operation
}
