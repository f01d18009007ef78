//! Runs one operation at a time, straight through the ABI: no importer, no graph, no plan between a case and the kernel.
//!
//! A [`Bench`] prepares an operation on a chip plugin or on a native kernel and runs it in one arrangement after another (`arrangement`): in
//! shards, at another slot, in place, over poisoned memory between guards. `property` asks the drawn cases so, `graphs` whole drawn models,
//! `strength` lets mutated kernels run to see whether the cases notice, `card` measures.

mod arena;
mod arrangement;
mod bench;
pub mod card;
mod graphs;
mod property;
pub mod strength;

pub use graphs::{GRAPHS, Graphs};
pub use property::{PROPERTY, PROPERTY_CASES, Property};

use bench::{Bench, Device, Failure};
