//! The order of execution as threads replay it: phases of which each is over before the next begins, or one phase for one thread.

use super::Dispatch;
use crate::device::Place;

/// Work that one call into the plugin may do. A deadline is per call: a second or so on the slowest kernels, and the call itself costs nothing beside it.
const MAX_CALL_WORK: u64 = 500_000_000;

/// What a thread does in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Dispatches `first` to `first + count - 1` of the chip, counted among the chip's own.
    Chip {
        /// First of the chip's dispatches.
        first: u32,
        /// How many, in order.
        count: u32,
    },
    /// A native kernel: index into the plan's dispatches.
    Native(u32),
}

/// Steps that are over before the next phase begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Range of [`Schedule::steps`].
    pub first: u32,
    /// One behind the last.
    pub end: u32,
    /// Into how many shards its only step is split; 1: one thread runs all its steps.
    pub shards: u32,
}

/// Steps, and the phases that they form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// In order of execution.
    pub steps: Vec<Step>,
    /// In order of execution.
    pub phases: Vec<Phase>,
}

impl Schedule {
    /// The schedule for `threads` threads. A dispatch is split into as many shards as it profits from, at most one a thread.
    pub fn new(dispatches: &[Dispatch], threads: u32) -> Self {
        let mut this = Self::default();
        let mut chip = 0;
        let mut call_work = 0u64;
        for (index, dispatch) in dispatches.iter().enumerate() {
            let shards = dispatch.shards.min(threads).max(1);
            let open = this.phases.last().is_some_and(|phase| phase.shards == 1 && shards == 1);
            if !open {
                let first = this.steps.len() as u32;
                this.phases.push(Phase { first, end: first, shards });
            }
            match dispatch.place {
                Place::Chip => {
                    let phase_first = this.phases.last().map_or(0, |phase| phase.first as usize);
                    let in_phase = this.steps.len() > phase_first;
                    match this.steps.last_mut() {
                        // The chip's dispatches are numbered in order, so neighbours are one call.
                        Some(Step::Chip { count, .. })
                            if in_phase && call_work.saturating_add(dispatch.work) <= MAX_CALL_WORK =>
                        {
                            *count += 1;
                            call_work += dispatch.work;
                        }
                        _ => {
                            this.steps.push(Step::Chip { first: chip, count: 1 });
                            call_work = dispatch.work;
                        }
                    }
                    chip += 1;
                }
                Place::FastPath(_) | Place::Portable => this.steps.push(Step::Native(index as u32)),
            }
            let end = this.steps.len() as u32;
            if let Some(phase) = this.phases.last_mut() {
                phase.end = end;
            }
        }
        this
    }
}
