//! Why a request got no answer.

use crate::device::DeviceError;
use crate::engine::EngineError;
use crate::plan::PlanError;
use crate::program::{PlanFailure, RunError};
use crate::scheduler::Busy;
use sunmao_graph::DType;

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    /// A tensor that the model does not take.
    #[error("no input `{name}`: the model takes {}", .known.join(", "))]
    UnknownInput {
        /// The name given.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// A tensor given twice.
    #[error("input `{name}` is given twice")]
    DuplicateInput {
        /// The name.
        name: String,
    },
    /// A tensor that the model needs.
    #[error("input `{name}` is missing")]
    MissingInput {
        /// The name.
        name: String,
    },
    /// A tensor of another element type.
    #[error("input `{name}` is {got}, the model takes {expected}")]
    WrongType {
        /// The name.
        name: String,
        /// What the model takes.
        expected: DType,
        /// What came.
        got: DType,
    },
    /// A tensor of another shape, or shapes that contradict each other.
    #[error("input `{name}` has shape {got:?}, the model takes {expected}")]
    WrongShape {
        /// The name.
        name: String,
        /// What the model takes.
        expected: String,
        /// What came.
        got: Vec<u64>,
    },
    /// Bytes that do not fit shape and type.
    #[error("input `{name}` has {got} bytes of data where its shape takes {expected}")]
    WrongLength {
        /// The name.
        name: String,
        /// Bytes that the shape takes.
        expected: u64,
        /// Bytes that came.
        got: u64,
    },
    /// A value of another kind than the model takes, or a kind that tensors cannot carry.
    #[error("`{name}` is {expected}, and {got}")]
    WrongKind {
        /// The name.
        name: String,
        /// What the model takes or gives.
        expected: &'static str,
        /// What came, or how it was asked for.
        got: &'static str,
    },
    /// An output that the model does not give.
    #[error("no output `{name}`: the model gives {}", .known.join(", "))]
    UnknownOutput {
        /// The name given.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// The queue is full.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The chip is set aside until it is loaded anew, and nobody may stand in for it.
    #[error("{0}")]
    SetAside(EngineError),
    /// Not enough memory for a request of this size.
    #[error("{0}")]
    OutOfMemory(EngineError),
    /// The model cannot be run at these shapes, or this data cannot be computed with.
    #[error("{0}")]
    Rejected(String),
    /// The host itself failed: mapping, or a native kernel. Not the request's fault.
    #[error("{0}")]
    Internal(EngineError),
    /// The device failed twice.
    #[error("chip `{chip}` failed twice on this request: {error}")]
    Failed {
        /// The chip.
        chip: String,
        /// The second failure.
        error: EngineError,
    },
}

impl From<EngineError> for InferError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::OutOfMemory { .. } => InferError::OutOfMemory(error),
            EngineError::Memory(_) | EngineError::NativePanic { .. } | EngineError::Panic | EngineError::Aborted => {
                InferError::Internal(error)
            }
            EngineError::Plan(PlanError::Device(DeviceError::SetAside { .. })) => InferError::SetAside(error),
            // Weights that cannot be read are not the request's fault.
            EngineError::Plan(PlanError::Device(DeviceError::Constant { .. })) => InferError::Internal(error),
            other => InferError::Rejected(other.to_string()),
        }
    }
}

impl From<PlanFailure> for InferError {
    fn from(failure: PlanFailure) -> Self {
        match failure {
            PlanFailure::Engine(error) => error.into(),
            PlanFailure::Graph(error) => InferError::Rejected(error.to_string()),
            PlanFailure::Failed { chip, error } => InferError::Failed { chip, error },
        }
    }
}

impl From<RunError> for InferError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Busy(busy) => busy.into(),
            RunError::Plan(failure) => failure.into(),
            RunError::Engine(error) => error.into(),
            RunError::Failed { chip, error } => InferError::Failed { chip, error },
            RunError::HostOp(_) | RunError::Content { .. } | RunError::Kind { .. } | RunError::Limit { .. } => {
                InferError::Rejected(error.to_string())
            }
        }
    }
}
