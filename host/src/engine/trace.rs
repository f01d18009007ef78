//! What happened when, on which thread: recorded for those requests alone that ask for it, by another instance of the replay loop.

use crate::plan::Plan;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use sunmao_graph::Node;

/// The record of one request. Times are nanoseconds since it was begun.
pub struct Trace {
    begun: Instant,
    events: Mutex<Vec<Event>>,
}

/// Something that took time.
#[derive(Clone)]
pub struct Event {
    /// What it was.
    pub what: What,
    /// Which thread of the request did it, from 0.
    pub thread: u32,
    /// Nanoseconds.
    pub start: u64,
    /// Nanoseconds.
    pub end: u64,
}

/// What took time.
#[derive(Clone)]
pub enum What {
    /// One shard of a dispatch.
    Dispatch {
        /// The plan that it belongs to.
        plan: Arc<Plan>,
        /// Its number in the plan.
        index: u32,
        /// Which part of it.
        shard: u32,
        /// Into how many parts it was split.
        shards: u32,
    },
    /// Waiting for the other threads, behind a phase.
    Wait,
    /// Copying the request's tensors in.
    CopyIn {
        /// How many.
        bytes: u64,
    },
    /// Copying a result out.
    CopyOut {
        /// How many.
        bytes: u64,
    },
    /// An operator that stays with the host.
    Host {
        /// The operator.
        op: String,
        /// What messages call the node.
        node: String,
    },
}

impl Trace {
    /// A record that begins now.
    pub fn begin() -> Arc<Self> {
        Arc::new(Self { begun: Instant::now(), events: Mutex::default() })
    }

    /// Nanoseconds since it began.
    pub fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Everything so far, in order of time.
    pub fn events(&self) -> Vec<Event> {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner).clone();
        events.sort_by_key(|event| (event.start, event.thread));
        events
    }

    /// Notes what others measured.
    pub fn extend(&self, events: impl IntoIterator<Item = Event>) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).extend(events);
    }

    /// Notes what a thread of the request did from `start` until now.
    pub fn note(&self, what: What, thread: usize, start: u64) {
        self.extend([Event { what, thread: thread as u32, start, end: self.now() }]);
    }

    /// Notes a host operator, which the caller's thread has run.
    pub fn note_host(&self, node: &Node, start: u64) {
        self.note(What::Host { op: node.op.clone(), node: node.label() }, 0, start);
    }
}

/// Looks on while one thread replays. What happens between two calls is the later one's.
pub(super) trait Observer {
    /// Whether each of the chip's dispatches is a call of its own, so that its time can be told from its neighbours'.
    const APART: bool;
    /// The replay starts.
    fn begin(&mut self);
    /// A shard of dispatch `number` of the chip, counted among the chip's own, was run.
    fn chip(&mut self, number: u32, shard: u32, shards: u32);
    /// A shard of a native dispatch was run.
    fn native(&mut self, index: u32, shard: u32, shards: u32);
    /// The thread waited until a round was over.
    fn wait(&mut self);
}

/// Nobody looks.
pub(super) struct Unobserved;

impl Observer for Unobserved {
    const APART: bool = false;
    fn begin(&mut self) {}
    fn chip(&mut self, _: u32, _: u32, _: u32) {}
    fn native(&mut self, _: u32, _: u32, _: u32) {}
    fn wait(&mut self) {}
}

/// Writes down what one thread does, and hands it over when dropped, whether or not the replay went well.
pub(super) struct Recorder<'a> {
    trace: &'a Trace,
    plan: &'a Arc<Plan>,
    /// Dispatches of the chip: their numbers in the plan.
    chip: Vec<u32>,
    thread: u32,
    mark: u64,
    lines: Vec<Line>,
}

/// An event before it goes to the trace: plain numbers, because counting a plan's references would have the threads disturb each other.
struct Line {
    /// Number of the dispatch, shard, shards; none: it waited.
    dispatch: Option<(u32, u32, u32)>,
    start: u64,
    end: u64,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(trace: &'a Trace, plan: &'a Arc<Plan>, thread: usize) -> Self {
        let of_chip = |(index, dispatch): (usize, &crate::plan::Dispatch)| {
            (dispatch.place == crate::device::Place::Chip).then_some(index as u32)
        };
        let chip = plan.dispatches.iter().enumerate().filter_map(of_chip).collect();
        // At most every shard of every dispatch and a wait behind it, so that the heap is left alone while the clock runs.
        let shards: usize = plan.dispatches.iter().map(|dispatch| dispatch.shards as usize).sum();
        let lines = Vec::with_capacity(shards + plan.dispatches.len());
        Self { trace, plan, chip, thread: thread as u32, mark: 0, lines }
    }

    fn note(&mut self, dispatch: Option<(u32, u32, u32)>) {
        let now = self.trace.now();
        self.lines.push(Line { dispatch, start: self.mark, end: now });
        self.mark = now;
    }
}

impl Observer for Recorder<'_> {
    const APART: bool = true;

    fn begin(&mut self) {
        self.mark = self.trace.now();
    }

    fn chip(&mut self, number: u32, shard: u32, shards: u32) {
        self.native(self.chip[number as usize], shard, shards);
    }

    fn native(&mut self, index: u32, shard: u32, shards: u32) {
        self.note(Some((index, shard, shards)));
    }

    fn wait(&mut self) {
        self.note(None);
    }
}

impl Drop for Recorder<'_> {
    fn drop(&mut self) {
        let (plan, thread) = (self.plan, self.thread);
        let event = |Line { dispatch, start, end }: Line| {
            let what = match dispatch {
                Some((index, shard, shards)) => What::Dispatch { plan: plan.clone(), index, shard, shards },
                None => What::Wait,
            };
            Event { what, thread, start, end }
        };
        self.trace.extend(self.lines.drain(..).map(event));
    }
}
