//! Runs plans: the instances of a chip plugin, the arena that they share with native kernels, and the replay of recorded dispatches.
//!
//! A model has T members (one a thread), each with an instance of the chip plugin, and as many slots as requests may be in flight. Every member maps
//! the constants copy-on-write and all slots shared, so any member serves any slot, and one bind serves all.
//! Which request runs on how many threads is `scheduler`'s work; what a plan is, `plan`'s.

mod arena;
mod constants;
mod evaluate;
mod executor;
mod member;
mod native;
mod packing;
mod parts;
mod pieces;
mod replay;
mod self_check;
mod trace;

pub use arena::Layout;
pub use evaluate::PortableEvaluator;
pub use executor::{Executor, Loaded};
pub use native::Solo;
pub use parts::{Parts, Samples};
pub use replay::Run;
pub use self_check::{check_fast_paths, check_on_samples, drawn_operands};
pub use trace::{Event, Trace, What};

#[cfg(test)]
mod tests;

use crate::device::{BrokenPromise, DeviceError};
use crate::memory::MemoryError;
use crate::plan::PlanError;
use crate::plugin::PluginError;
use sunmao_plugin_sdk::abi;

/// Why a plan could not be loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The arena is too small for the plan; a larger one would do.
    #[error("the arena has no room: {what} needs {needed} bytes, {available} are left")]
    ArenaFull {
        /// What did not fit.
        what: &'static str,
        /// Bytes needed.
        needed: u64,
        /// Bytes left.
        available: u64,
    },
    /// No arena is large enough.
    #[error(
        "{needed} bytes of weights and activations exceed the {limit} that a 32-bit plugin addresses: use a smaller model or smaller inputs"
    )]
    TooLarge {
        /// Bytes needed.
        needed: u64,
        /// The most possible.
        limit: u64,
    },
    /// The machine has less memory than the model takes.
    #[error(
        "the model needs about {needed} bytes and {available} are available: free memory, use a smaller model, or raise the container's limit"
    )]
    OutOfMemory {
        /// Bytes needed.
        needed: u64,
        /// Bytes available.
        available: u64,
    },
    /// A kernel says that this request's data cannot be computed with.
    #[error("node `{node}`: {message}")]
    Rejected {
        /// The node.
        node: String,
        /// What the kernel said.
        message: String,
    },
    /// A member gave up because another one failed.
    #[error("stopped because another shard failed")]
    Aborted,
    /// A native kernel panicked, which is a bug of the host.
    #[error("the native kernel of node `{node}` panicked: this is a bug, please report it with the model")]
    NativePanic {
        /// The node.
        node: String,
    },
    /// The host itself panicked, which is a bug.
    #[error("the host failed while it ran the request: this is a bug, please report it with the model and the log")]
    Panic,
    /// The chip failed at one node.
    #[error(transparent)]
    Broken(#[from] BrokenPromise),
    /// The chip plugin failed, and it is not known at which node.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// Planning failed.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Mapping failed.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

impl EngineError {
    /// A failure of the chip while it had to do with that node.
    fn of_chip(operation: &abi::Operation, node: &str, error: PluginError) -> Self {
        BrokenPromise::blame(operation, node, error).map_or_else(Self::Plugin, Self::Broken)
    }

    /// The node at which the chip failed, where that is known.
    pub fn broken_promise(&self) -> Option<&BrokenPromise> {
        match self {
            EngineError::Broken(broken) | EngineError::Plan(PlanError::Device(DeviceError::Broken(broken))) => {
                Some(broken)
            }
            _ => None,
        }
    }

    /// Whether a fresh instance may succeed where this one failed.
    pub fn worth_a_retry(&self) -> bool {
        match self {
            EngineError::Plugin(PluginError::Plugin { .. }) => false,
            EngineError::Plugin(_) => true,
            other => other.broken_promise().is_some(),
        }
    }
}
