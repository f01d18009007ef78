//! What the segments of a model run on: their plans, the chip, and the threads of the process.

use super::partition::partition;
use super::plans::{Plans, Ready, Signature};
use super::{PlanFailure, Program, RunError, Segment};
use crate::device::Chip;
use crate::engine::Run;
use crate::import::WeightSource;
use crate::plan::Plan;
use crate::scheduler::{Busy, Grant, Team, Work};
use std::sync::Arc;
use sunmao_graph::{Graph, GraphError};

/// How a model is run.
#[derive(Clone, Copy, Debug)]
pub struct MachineOptions {
    /// Threads that one request may use, at most the team's.
    pub threads: usize,
    /// Whether native fast paths may be chosen.
    pub fast_paths: bool,
    /// No host fallback.
    pub strict: bool,
}

/// What the segments of a model run on.
pub struct Machine {
    plans: Plans,
    team: Arc<Team>,
    threads: usize,
}

impl Machine {
    /// Cuts a prepared graph into steps, and makes ready what its segments run on.
    pub fn new(
        graph: Graph,
        weights: WeightSource,
        chip: Arc<Chip>,
        team: Arc<Team>,
        options: MachineOptions,
    ) -> Result<(Self, Program), GraphError> {
        let threads = options.threads.clamp(1, team.threads());
        let mut segments = Vec::new();
        let program = partition(graph, &weights, &mut segments)?;
        let plans = Plans::new(segments, weights, chip, MachineOptions { threads, ..options });
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

    /// A plan of a segment that is not kept, for display.
    pub fn plan(&self, segment: usize, signature: &Signature) -> Result<Plan, PlanFailure> {
        self.plans.plan(segment, signature)
    }

    /// Makes the plan of a segment now, so that the first request finds it.
    pub fn prepare(&self, segment: usize, signature: &Signature) -> Result<(), PlanFailure> {
        self.ready(segment, signature).map(|_| ())
    }

    /// Waits for threads.
    pub(crate) fn acquire(&self) -> Result<Grant<'_>, Busy> {
        self.team.acquire(self.threads)
    }

    /// The plan of a segment, made if need be.
    pub(crate) fn ready(&self, segment: usize, signature: &Signature) -> Result<Ready, PlanFailure> {
        self.plans.get(segment, signature)
    }

    /// Runs a plan on the threads of `grant`; a failure of the chip's instance is tried once more on a fresh one. The results lie in the slot
    /// of the grant's leader until its next run.
    pub(crate) fn run(&self, ready: &Ready, grant: &Grant<'_>, inputs: &[&[u8]]) -> Result<Arc<Run>, RunError> {
        let mut second = false;
        loop {
            // The slot of the leader: nobody else leads with the same member at the same time.
            let members: Vec<usize> = grant.members().to_vec();
            let slot = members[0];
            let run = Arc::new(Run::new(ready.executor.clone(), ready.loaded.clone(), slot, members));
            run.copy_in(inputs)?;
            let part = run.clone();
            let work: Work = Arc::new(move |thread| part.take_part(thread));
            grant.run(&work);
            let chip = self.chip();
            match run.outcome() {
                Ok(()) => return Ok(run),
                Err(error) if error.worth_a_retry() && !second => {
                    tracing::warn!(chip = %chip.name, %error, "a request failed; trying once more on a fresh instance");
                    second = true;
                }
                Err(error) if error.worth_a_retry() => {
                    chip.mark();
                    tracing::error!(chip = %chip.name, %error, "a request failed twice; the chip is marked");
                    return Err(RunError::Failed { chip: chip.name.clone(), error });
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
