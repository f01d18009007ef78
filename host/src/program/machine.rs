//! What the segments of a model run on: their plans, the chip, and the threads of the process.

use super::division::Division;
use super::partition::partition;
use super::plans::{Plans, Ready, Signature};
use super::{PlanFailure, Program, RunError, Segment};
use crate::config::FastPaths;
use crate::device::{Chip, Costs};
use crate::engine::{EngineError, Parts, Run, Samples, Trace};
use crate::import::WeightSource;
use crate::memory::Memory;
use crate::plan::Plan;
use crate::scheduler::{Busy, Grant, Team, Work};
use crate::store::Shelf;
use std::sync::Arc;
use sunmao_graph::{Graph, GraphError};

/// How a model is run.
#[derive(Clone, Debug)]
pub struct MachineOptions {
    /// Threads that one request may use, at most the team's.
    pub threads: usize,
    /// Which native fast paths may be chosen.
    pub fast_paths: FastPaths,
    /// What `host tune` measured; none: the usual order chooses.
    pub costs: Option<Arc<Costs>>,
    /// No host fallback.
    pub strict: bool,
    /// How much memory to count with.
    pub memory: Memory,
}

/// Times that a plan is tried to be made while a model is loaded; as many failures set the chip aside.
const LOAD_TRIES_MAX: u32 = 4;

/// What the segments of a model run on.
pub struct Machine {
    plans: Plans,
    team: Arc<Team>,
    threads: usize,
}

impl Machine {
    /// Cuts a prepared graph into steps, and makes ready what its segments run on.
    pub(crate) fn new(
        graph: Graph,
        weights: WeightSource,
        chip: Arc<Chip>,
        team: Arc<Team>,
        shelf: Option<Shelf>,
        options: MachineOptions,
    ) -> Result<(Self, Program), GraphError> {
        let threads = options.threads.clamp(1, team.threads());
        let mut segments = Vec::new();
        let program = partition(graph, &weights, &mut segments)?;
        let plans = Plans::new(segments, weights, chip, shelf, MachineOptions { threads, ..options });
        Ok((Self { plans, team, threads }, program))
    }

    /// The chip that segments run on.
    pub fn chip(&self) -> &Chip {
        &self.plans.chip
    }

    /// The segments of all programs of the model.
    pub fn segments(&self) -> &[Segment] {
        &self.plans.segments
    }

    /// A plan of a segment that is not loaded, for display.
    pub fn plan(&self, segment: usize, signature: &Signature) -> Result<Plan, PlanFailure> {
        self.plans.plan(segment, signature)
    }

    /// How a request is computed in parts, where it is.
    pub(crate) fn division(&self, segment: usize, signature: &Signature) -> Option<Arc<Division>> {
        self.plans.division(segment, signature)
    }

    /// Makes the plan of a segment now, so that the first request finds it. Where the chip fails at one node after the other, each goes elsewhere,
    /// until the chip is set aside.
    pub fn prepare(&self, segment: usize, signature: &Signature) -> Result<(), PlanFailure> {
        let mut tried = 0;
        loop {
            match self.ready(segment, signature) {
                Err(PlanFailure::Failed { .. }) if tried < LOAD_TRIES_MAX => tried += 1,
                other => return other.map(|_| ()),
            }
        }
    }

    /// Threads that one request may use; so many requests may be in flight.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Waits for threads.
    pub(crate) fn acquire(&self) -> Result<Grant<'_>, Busy> {
        self.team.acquire(self.threads)
    }

    /// The plan of a segment, made if need be. A failure of the chip meanwhile is tried once more, as one while it runs.
    pub(crate) fn ready(&self, segment: usize, signature: &Signature) -> Result<Ready, PlanFailure> {
        match self.plans.get(segment, signature) {
            Err(PlanFailure::Engine(error)) if error.worth_a_retry() => {
                tracing::warn!(chip = %self.chip().name, %error, "new shapes could not be planned; trying once more on a fresh instance");
            }
            other => return other,
        }
        match self.plans.get(segment, signature) {
            Err(PlanFailure::Engine(error)) if error.worth_a_retry() => {
                self.give_up(&error);
                Err(PlanFailure::Failed { chip: self.chip().name.clone(), error })
            }
            other => other,
        }
    }

    /// The chip failed twice.
    fn give_up(&self, error: &EngineError) {
        tracing::error!(chip = %self.chip().name, %error, "a request failed twice; the chip is marked");
        self.plans.give_up(error);
    }

    /// Runs a plan on the threads of `grant`; a failure of the chip's instance is tried once more on a fresh one. The results lie in the slot
    /// of the grant's leader until its next run. What happens is written to `trace`, where there is one. `second`: the request has failed once already.
    pub(crate) fn run(
        &self,
        ready: &Ready,
        grant: &Grant<'_>,
        inputs: &[&[u8]],
        mut second: bool,
        trace: Option<&Arc<Trace>>,
    ) -> Result<Arc<Run>, RunError> {
        loop {
            // The slot of the leader: nobody else leads with the same member at the same time.
            let members: Vec<usize> = grant.members().to_vec();
            let slot = members[0];
            let run = Run::new(ready.executor.clone(), ready.loaded.clone(), slot, members).traced(trace.cloned(), 0);
            let run = Arc::new(if second { run.one_by_one() } else { run });
            run.copy_in(inputs)?;
            work_together(grant, &run);
            let chip = self.chip();
            match run.outcome() {
                Ok(()) => return Ok(run),
                Err(error) if error.worth_a_retry() && !second => {
                    self.begin_anew(ready, grant, &error);
                    second = true;
                }
                Err(error) if error.worth_a_retry() => {
                    self.give_up(&error);
                    return Err(RunError::Failed { chip: chip.name.clone(), error });
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A request failed for the first time: none of the instances that it ran on is to run it again.
    fn begin_anew(&self, ready: &Ready, grant: &Grant<'_>, error: &EngineError) {
        tracing::warn!(chip = %self.chip().name, %error, "a request failed; trying once more on a fresh instance");
        ready.executor.renew(grant.members());
    }

    /// Runs the plan of one sample for each, several at a time on the threads of `grant`. Answers the bytes of each output, of all samples one after the
    /// other. none: the chip's instance failed at one, and the request is to be tried once more, whole and on a fresh one.
    pub(crate) fn run_parts(
        &self,
        ready: &Ready,
        grant: &Grant<'_>,
        samples: Samples,
        trace: Option<&Arc<Trace>>,
    ) -> Result<Option<Vec<Vec<u8>>>, RunError> {
        let part_bytes: u64 = ready.plan().outputs.iter().map(|port| port.bytes).sum();
        self.plans.check_room(part_bytes.saturating_mul(samples.count as u64))?;
        let members = || grant.members().to_vec();
        let parts = Parts::new(ready.executor.clone(), ready.loaded.clone(), members(), samples, trace.cloned());
        let parts = Arc::new(parts);
        let taken = parts.clone();
        let work: Work = Arc::new(move |thread| taken.take_parts(thread));
        grant.run(&work);
        let run_together = |part: usize| {
            let run = Arc::new(parts.begin(part, members(), 0)?);
            work_together(grant, &run);
            parts.end(part, &run)
        };
        let outcome = parts.outcome().and_then(|()| parts.left_over().try_for_each(run_together));
        match outcome.and_then(|()| parts.outputs()) {
            Err(error) if error.worth_a_retry() => {
                self.begin_anew(ready, grant, &error);
                Ok(None)
            }
            other => Ok(Some(other?)),
        }
    }
}

fn work_together(grant: &Grant<'_>, run: &Arc<Run>) {
    let part = run.clone();
    let work: Work = Arc::new(move |thread| part.take_part(thread));
    grant.run(&work);
}
