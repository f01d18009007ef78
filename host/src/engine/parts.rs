//! A request of many samples in parts: each thread takes the next one and runs the plan for it alone, in the slot of its own member.

use super::trace::Trace;
use super::{EngineError, Executor, Loaded, Run};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a request of many samples brings for a plan of one.
pub struct Samples {
    /// For each input of the plan, the bytes of all samples one after the other, or what is the same for each.
    pub inputs: Arc<[Vec<u8>]>,
    /// For each input, whether a sample has a piece of it; otherwise all of them take the whole.
    pub apart: Vec<bool>,
    /// How many there are.
    pub count: usize,
}

/// The parts of a request. As many of them as keep every thread busy are run side by side: each thread calls [`Parts::take_parts`] once. The rest,
/// [`Parts::left_over`], are run one after the other by all threads together.
pub struct Parts {
    executor: Arc<Executor>,
    loaded: Arc<Loaded>,
    /// Member, and slot, of each thread.
    members: Vec<usize>,
    samples: Samples,
    trace: Option<Arc<Trace>>,
    /// The part that nobody has taken yet.
    next: AtomicUsize,
    progress: Mutex<Progress>,
}

/// What has come of the parts so far.
struct Progress {
    /// Of all parts, in order.
    outputs: Vec<Vec<u8>>,
    done: usize,
    failure: Option<EngineError>,
}

impl Parts {
    /// A run of `loaded` for each sample by those members, whose slots nobody else uses meanwhile. What happens is written to `trace`, where there is one.
    pub fn new(
        executor: Arc<Executor>,
        loaded: Arc<Loaded>,
        members: Vec<usize>,
        samples: Samples,
        trace: Option<Arc<Trace>>,
    ) -> Self {
        let outputs = loaded.plan.outputs.iter().map(|port| vec![0; port.bytes as usize * samples.count]).collect();
        let progress = Mutex::new(Progress { outputs, done: 0, failure: None });
        Self { executor, loaded, members, samples, trace, next: AtomicUsize::new(0), progress }
    }

    /// Runs parts alone until none is left that is to be, or one has failed. `thread` counts from 0.
    pub fn take_parts(&self, thread: usize) {
        loop {
            let part = self.next.fetch_add(1, Ordering::Relaxed);
            if part >= self.left_over().start {
                return;
            }
            if let Err(error) = self.run_alone(part, thread) {
                self.next.store(self.samples.count, Ordering::Relaxed);
                self.lock().failure.get_or_insert(error);
                return;
            }
        }
    }

    /// The parts at the end that would leave threads idle, were each run by one.
    pub fn left_over(&self) -> std::ops::Range<usize> {
        self.samples.count - self.samples.count % self.members.len()..self.samples.count
    }

    /// A run of one part by those members, its tensors in place.
    pub fn begin(&self, part: usize, members: Vec<usize>, first_thread: usize) -> Result<Run, EngineError> {
        let run = Run::new(self.executor.clone(), self.loaded.clone(), members[0], members);
        let run = run.traced(self.trace.clone(), first_thread);
        run.copy_in(&self.samples.of(part))?;
        Ok(run)
    }

    /// Takes the results of a part, once every thread of its run is back.
    pub fn end(&self, part: usize, run: &Run) -> Result<(), EngineError> {
        run.outcome()?;
        // Held while one part is copied: the threads come here at different times.
        let mut progress = self.lock();
        for (index, output) in progress.outputs.iter_mut().enumerate() {
            let bytes = output.len() / self.samples.count;
            run.copy_out_to(index, &mut output[part * bytes..][..bytes])?;
        }
        progress.done += 1;
        Ok(())
    }

    /// The first failure, once every thread is back.
    pub fn outcome(&self) -> Result<(), EngineError> {
        self.lock().failure.take().map_or(Ok(()), Err)
    }

    /// The outputs, once every part is done.
    pub fn outputs(&self) -> Result<Vec<Vec<u8>>, EngineError> {
        let mut progress = self.lock();
        // A thread that panicked outside of the replay has left its part undone.
        if progress.done == self.samples.count {
            Ok(std::mem::take(&mut progress.outputs))
        } else {
            Err(EngineError::Panic)
        }
    }

    fn run_alone(&self, part: usize, thread: usize) -> Result<(), EngineError> {
        let run = self.begin(part, vec![self.members[thread]], thread)?;
        run.take_part(0);
        self.end(part, &run)
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Samples {
    /// The inputs of one part.
    fn of(&self, part: usize) -> Vec<&[u8]> {
        let mut inputs: Vec<&[u8]> = self.inputs.iter().map(|input| &input[..]).collect();
        for (input, _) in inputs.iter_mut().zip(&self.apart).filter(|(_, apart)| **apart) {
            let bytes = input.len() / self.count;
            *input = &input[part * bytes..][..bytes];
        }
        inputs
    }
}
