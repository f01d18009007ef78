//! Turns a concrete graph into a `Plan`: a device for each node, order, offsets in one arena, constants to pack.
//!
//! Pure: the same graph, constants and devices give the same plan, byte for byte; no I/O, no clock.
//! Placing constants and running a plan is `engine`'s work.

mod build;
mod kept;
mod layouts;
mod lifetimes;
mod offsets;
mod schedule;
mod text;
mod work;

#[cfg(test)]
mod tests;

pub use build::{Options, build};
pub use offsets::{Item, assign, lower_bound};
pub use schedule::{Phase, Schedule, Step};

use crate::device::{DeviceError, Place};
use crate::plugin::Digest;
use sunmao_graph::{DType, Graph, ValueId};
use sunmao_plugin_sdk::abi;

/// A model at one set of shapes, ready to be bound and run any number of times.
pub struct Plan {
    /// The concrete graph that it runs.
    pub graph: Graph,
    /// Bytes; every offset is a multiple of it.
    pub alignment: u32,
    /// In order of execution.
    pub dispatches: Vec<Dispatch>,
    /// Every constant that a dispatch reads, each once.
    pub constants: Vec<Constant>,
    /// Where a request's tensors go.
    pub inputs: Vec<Port>,
    /// Where its results are.
    pub outputs: Vec<Port>,
    /// What it takes.
    pub memory: MemoryUse,
    /// One thread does everything.
    pub alone: Schedule,
    /// The whole team takes part.
    pub shared: Schedule,
    /// What the measured costs are known by that devices were chosen by; none: the usual order chose.
    pub tuned_by: Option<Digest>,
}

impl Plan {
    /// Whether the chip runs any of it.
    pub fn uses_chip(&self) -> bool {
        self.dispatches.iter().any(|dispatch| dispatch.place == Place::Chip)
    }
}

/// Bytes that one request occupies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// The slot: activations and workspaces, as laid out.
    pub slot: u64,
    /// The largest sum of what lives at one time; no layout can be smaller.
    pub live: u64,
    /// The sum of all tensors, had each its own place.
    pub tensors: u64,
    /// Constants as the kernels want them.
    pub constants: u64,
    /// The most that packing one constant takes on top, while the model is loaded.
    pub staging: u64,
}

/// One operator, placed.
pub struct Dispatch {
    /// The node's name in the model.
    pub node: String,
    /// Who runs it.
    pub place: Place,
    /// Why nobody before in the order of choice does.
    pub reason: String,
    /// What is run.
    pub operation: abi::Operation,
    /// One for each operand that is present, inputs first.
    pub arguments: Vec<Argument>,
    /// Constants that the kernel wants in its own form.
    pub packed: Vec<abi::PackedConstant>,
    /// Aliases that the plan made use of or that the kernel allows.
    pub in_place: Vec<abi::Alias>,
    /// Into how many parts it is split when the team is free.
    pub shards: u32,
    /// Rough count of elementary operations, for cutting long stretches into calls that each meet the deadline.
    pub work: u64,
    /// Start of the workspace in the slot, when there is one.
    pub workspace: u64,
    /// Bytes of workspace for one shard.
    pub workspace_bytes: u32,
}

/// An operand's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Index into [`Plan::constants`].
    Constant(usize),
    /// Offset in the slot.
    Slot(u64),
}

/// A constant in the form that its readers want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constant {
    /// The graph's value.
    pub value: ValueId,
    /// As it is, or packed by a kernel.
    pub form: Form,
    /// Bytes in that form.
    pub bytes: u64,
    /// Bytes; a power of two.
    pub align: u32,
}

/// How a constant lies in memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Little-endian, dense, row-major.
    Plain,
    /// As the kernel of dispatch `dispatch` packs its input `input`; equal keys at the same place mean equal bytes.
    Packed {
        /// Who packs.
        place: Place,
        /// Operator and the plugin's key.
        key: String,
        /// A dispatch that can pack it.
        dispatch: usize,
        /// Index of the input.
        input: u32,
    },
}

/// A tensor of the request or of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Name in the model.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Concrete.
    pub shape: Vec<u64>,
    /// Bytes.
    pub bytes: u64,
    /// Where it is.
    pub at: Argument,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Operators that nobody runs, all of them.
    #[error("{} node(s) cannot be placed:\n  {}", .0.len(), .0.join("\n  "))]
    Unplaced(Vec<String>),
    /// Activations beyond what a 32-bit arena holds.
    #[error(
        "the model needs {needed} bytes of activations at these shapes, more than the {limit} that an arena holds: use smaller inputs"
    )]
    ArenaTooLarge {
        /// Bytes needed.
        needed: u64,
        /// Bytes possible.
        limit: u64,
    },
    /// A device failed while it was asked.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A kernel asked for what does not exist.
    #[error("the kernel for {op} of node `{node}` asks for {what}: the plugin breaks its contract")]
    Requirements {
        /// The operator.
        op: String,
        /// The node.
        node: String,
        /// What it asked for.
        what: String,
    },
}
