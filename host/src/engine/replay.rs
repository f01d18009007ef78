//! One request: copy in, replay the recorded dispatches on one or more threads, copy out.

use super::pieces::{Pieces, Round};
use super::trace::{Observer, Recorder, Trace, Unobserved, What};
use super::{EngineError, Executor, Loaded};
use crate::device::Place;
use crate::plan::{Argument, Schedule, Step};
use crate::plugin::PluginError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use sunmao_plugin_sdk::ErrorCode;

/// A request on its way through the dispatches. Shared by the threads that take part; each calls [`Run::take_part`] once, the first one in any case.
pub struct Run {
    executor: Arc<Executor>,
    loaded: Arc<Loaded>,
    slot: usize,
    /// Member index of each thread that takes part; the first is the leader.
    members: Vec<usize>,
    pieces: Pieces,
    one_by_one: bool,
    trace: Option<Arc<Trace>>,
    /// What the trace calls the first thread.
    first_thread: usize,
    /// The first failure that is not a mere consequence of another.
    failure: Mutex<Option<EngineError>>,
}

impl Run {
    /// A run of `loaded` on `slot` by those members; one: it runs alone.
    pub fn new(executor: Arc<Executor>, loaded: Arc<Loaded>, slot: usize, members: Vec<usize>) -> Self {
        let pieces = Pieces::new(members.len());
        Self {
            executor,
            loaded,
            slot,
            members,
            pieces,
            one_by_one: false,
            trace: None,
            first_thread: 0,
            failure: Mutex::new(None),
        }
    }

    /// The same, with a call into the chip for each dispatch: should one fail, it is known which.
    pub fn one_by_one(self) -> Self {
        Self { one_by_one: true, ..self }
    }

    /// The same, with everything written down, threads numbered from `first_thread` on.
    pub fn traced(self, trace: Option<Arc<Trace>>, first_thread: usize) -> Self {
        Self { trace, first_thread, ..self }
    }

    /// How many threads take part.
    pub fn threads(&self) -> usize {
        self.members.len()
    }

    /// Copies the request's tensors to where the plan reads them, in the order of the plan's inputs.
    pub fn copy_in(&self, inputs: &[&[u8]]) -> Result<(), EngineError> {
        let start = self.trace.as_ref().map(|trace| trace.now());
        for (port, bytes) in self.loaded.plan.inputs.iter().zip(inputs) {
            if let Some(at) = self.slot_offset(port.at) {
                self.executor.mapping().write(at, bytes)?;
            }
        }
        if let (Some(trace), Some(start)) = (&self.trace, start) {
            let bytes = inputs.iter().map(|bytes| bytes.len() as u64).sum();
            trace.note(What::CopyIn { bytes }, self.first_thread, start);
        }
        Ok(())
    }

    /// Copies output `index` of the plan.
    pub fn copy_out(&self, index: usize) -> Result<Vec<u8>, EngineError> {
        let mut bytes = vec![0; self.loaded.plan.outputs[index].bytes as usize];
        self.copy_out_to(index, &mut bytes)?;
        Ok(bytes)
    }

    /// Copies output `index` of the plan to where it is wanted.
    pub fn copy_out_to(&self, index: usize, bytes: &mut [u8]) -> Result<(), EngineError> {
        let start = self.trace.as_ref().map(|trace| trace.now());
        let port = &self.loaded.plan.outputs[index];
        let at = match port.at {
            Argument::Constant(constant) => self.loaded.constants_at[constant],
            Argument::Slot(offset) => self.executor.layout().slots_at + offset + self.executor.base(self.slot),
        };
        self.executor.mapping().read(at, bytes)?;
        if let (Some(trace), Some(start)) = (&self.trace, start) {
            trace.note(What::CopyOut { bytes: port.bytes }, self.first_thread, start);
        }
        Ok(())
    }

    /// Replays this thread's part, and what others have not come to. `thread` counts from 0. When it comes back, all is done or the run has failed.
    pub fn take_part(&self, thread: usize) {
        // Whatever goes wrong here, the others must not wait for this thread.
        let replay = || match &self.trace {
            None => self.replay(thread, &mut Unobserved),
            Some(trace) => {
                self.replay(thread, &mut Recorder::new(trace, &self.loaded.plan, self.first_thread + thread))
            }
        };
        let replayed = catch_unwind(AssertUnwindSafe(replay)).unwrap_or(Err(EngineError::Panic));
        if let Err(error) = replayed {
            self.pieces.abort();
            let mut failure = self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if failure.is_none() && !matches!(error, EngineError::Aborted) {
                *failure = Some(error);
            }
        }
    }

    /// What went wrong, once every thread is back.
    pub fn outcome(&self) -> Result<(), EngineError> {
        let failure = self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        failure.map_or(Ok(()), Err)
    }

    fn slot_offset(&self, at: Argument) -> Option<u64> {
        match at {
            Argument::Slot(offset) => Some(self.executor.layout().slots_at + offset + self.executor.base(self.slot)),
            Argument::Constant(_) => None,
        }
    }

    fn replay<O: Observer>(&self, thread: usize, observer: &mut O) -> Result<(), EngineError> {
        let (executor, loaded) = (&*self.executor, &*self.loaded);
        let mut member = executor.member(self.members[thread]);
        let first_dispatch = member.ensure_bound(executor, loaded)?;
        let base = executor.base(self.slot);
        let schedule: &Schedule = if self.threads() == 1 { &loaded.plan.alone } else { &loaded.plan.shared };
        let mut run = |step: Step, shard: u32, shards: u32, observer: &mut O| -> Result<(), EngineError> {
            match step {
                Step::Chip { first, count } => {
                    let stride = if self.one_by_one || O::APART { 1 } else { count };
                    for first in (first..first + count).step_by(stride.max(1) as usize) {
                        let result = member.run(first_dispatch + first, stride, shard, shards, base as u32);
                        result.map_err(|error| self.name_node(error, first_dispatch, first, stride))?;
                        observer.chip(first, shard, shards);
                    }
                }
                Step::Native(index) => {
                    let dispatch = loaded.native[index as usize].as_ref();
                    let dispatch = dispatch.expect("native steps have native dispatches");
                    let node = || loaded.plan.dispatches[index as usize].node.as_str();
                    dispatch.run(executor, node, shard, shards, base)?;
                    observer.native(index, shard, shards);
                }
            }
            Ok(())
        };
        observer.begin();
        if self.threads() == 1 {
            return schedule.steps.iter().try_for_each(|&step| run(step, 0, 1, observer));
        }
        let mut end = 0;
        for (number, phase) in (1..).zip(&schedule.phases) {
            let steps = &schedule.steps[phase.first as usize..phase.end as usize];
            end += phase.shards;
            let round = Round { number, pieces: phase.shards, end };
            self.pieces.run(thread, round, |shard| {
                steps.iter().try_for_each(|&step| run(step, shard, phase.shards, observer))
            })?;
            observer.wait();
        }
        Ok(())
    }

    /// The chip's error names a dispatch at best; the user knows the node. `first` of the plan and `count` of them were called.
    #[cold]
    fn name_node(&self, error: PluginError, first_dispatch: u32, first: u32, count: u32) -> EngineError {
        let named = match &error {
            PluginError::Plugin { index, .. } => index.and_then(|index| index.checked_sub(first_dispatch)),
            _ => None,
        };
        let mut chip = self.loaded.plan.dispatches.iter().filter(|dispatch| dispatch.place == Place::Chip);
        let dispatch = named.or((count == 1).then_some(first)).and_then(|number| chip.nth(number as usize));
        match (error, dispatch) {
            (PluginError::Plugin { message, code, .. }, dispatch) if code != ErrorCode::Internal => {
                let node = dispatch.map_or_else(|| "?".to_owned(), |dispatch| dispatch.node.clone());
                EngineError::Rejected { node, message }
            }
            (error, Some(dispatch)) => EngineError::of_chip(&dispatch.operation, &dispatch.node, error),
            (error, None) => error.into(),
        }
    }
}
