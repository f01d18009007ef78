//! What can run an operator, and which of them does: a native fast path, the chip plugin, or the host's own portable kernel.
//!
//! The order of choice is fixed and printed: fast path where the chip's entry allows it, else the chip, else portable unless `--strict`.
//! Where the bytes lie is `plan`'s work; running is `engine`'s.

mod by_cost;
mod chip;
mod costs;
mod fast_paths;
mod operation;
mod plausible;
mod promises;
mod registry;
mod scout;
mod select;
mod support;

pub use by_cost::ByCost;
pub use chip::Chip;
pub use costs::{Costs, CostsError, CostsOrigin, cost_name};
pub use fast_paths::{FastPathOutcome, FastPathRecord, FastPathRules};
pub(crate) use operation::attributes;
pub use operation::{operation, value_bytes};
pub use plausible::plausible;
pub use promises::{BrokenPromise, BrokenPromises};
pub use registry::{Refusal, Registry, UnknownChip};
pub use scout::Scout;
pub use select::{Placed, Placer, Selector};
pub use support::{NotCovered, covers};

use crate::plugin::PluginError;
use std::fmt;
use sunmao_plugin_sdk as sdk;

/// What runs a dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A native kernel for this machine's instruction set: the fast path of that name.
    FastPath(&'static str),
    /// The chip plugin's kernel.
    Chip,
    /// The host's own scalar kernel.
    Portable,
}

impl Place {
    /// The name of the fast path, where it is one.
    pub fn fast_path(self) -> Option<&'static str> {
        match self {
            Place::FastPath(path) => Some(path),
            Place::Chip | Place::Portable => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Place::FastPath(_) => "fast-path",
            Place::Chip => "chip",
            Place::Portable => "portable",
        })
    }
}

/// Why an operation could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Nobody runs it.
    #[error("no device runs {op} of node `{node}`: {reasons}")]
    Unsupported {
        /// The operator.
        op: String,
        /// The node's name.
        node: String,
        /// What each device said.
        reasons: String,
    },
    /// A shape was still open when numbers were needed.
    #[error("the shape or type of `{value}` is not known: its size depends on data, which is not supported")]
    NotConcrete {
        /// The tensor.
        value: String,
    },
    /// The chip failed too often, and nobody may stand in for it.
    #[error(
        "chip `{chip}` is set aside because it failed too often within a minute, and --strict lets nobody stand in"
    )]
    SetAside {
        /// The chip.
        chip: String,
    },
    /// A tensor beyond what 32-bit plugins address.
    #[error("tensor `{value}` of shape {shape:?} is larger than {limit} bytes: use a smaller input or split the model")]
    TooLarge {
        /// The tensor.
        value: String,
        /// Its shape.
        shape: Vec<u64>,
        /// The bound.
        limit: u64,
    },
    /// A tensor or a block as an attribute, where kernels take plain ones.
    #[error("attribute `{key}` is a tensor or a block, which kernels do not take")]
    TensorAttribute {
        /// The attribute.
        key: String,
    },
    /// A constant could not be read.
    #[error("constant `{value}`: {reason}")]
    Constant {
        /// The constant.
        value: String,
        /// What went wrong.
        reason: String,
    },
    /// The chip failed at what it had promised.
    #[error(transparent)]
    Broken(#[from] BrokenPromise),
    /// The host failed while it asked the chip.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// A native kernel refused what it should take.
    #[error("native kernel for {op}: {message}")]
    Native {
        /// The operator.
        op: String,
        /// What it said.
        message: String,
    },
}

/// Makes an operation ready as a native kernel at `place`.
pub fn native_kernel(place: Place, operation: &sdk::abi::Operation) -> Result<Box<dyn sdk::Kernel>, sdk::Error> {
    match place {
        Place::FastPath(path) => fast_path(operation, |name| name == path).map(|(_, kernel)| kernel),
        Place::Chip | Place::Portable => sunmao_portable::prepare(operation),
    }
}

/// The best fast path for an operation among those that are `allowed` by name, made ready, and its place.
pub fn fast_path(
    operation: &sdk::abi::Operation,
    allowed: impl Fn(&'static str) -> bool,
) -> Result<(Place, Box<dyn sdk::Kernel>), sdk::Error> {
    sunmao_fastpath::find(operation, allowed)
        .map(|found| (Place::FastPath(found.path), found.kernel))
        .ok_or_else(|| sdk::Error::unsupported("no fast path is registered for it"))
}
