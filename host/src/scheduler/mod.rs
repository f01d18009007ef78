//! Divides the machine's threads among requests: one team per process, so that models never oversubscribe it.
//!
//! A request that finds the team idle gets as many threads as its model wants; under load each gets one, because two callers on one thread each beat
//! one call on two threads. Who waits longer than the queue allows is told so at once. What a thread does with its turn is `engine`'s work.

mod team;

pub use team::{Busy, Grant, Team, Work};
