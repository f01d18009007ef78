//! Why a program did not give its results.

use crate::engine::EngineError;
use crate::host_ops::HostOpError;
use crate::scheduler::Busy;
use sunmao_graph::GraphError;

/// Why there is no plan for what a request brings.
#[derive(Debug, thiserror::Error)]
pub enum PlanFailure {
    /// The graph cannot be brought to these shapes.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The plan cannot be made or loaded.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The chip failed twice while the plan was made.
    #[error("chip `{chip}` failed twice: {error}")]
    Failed {
        /// The chip.
        chip: String,
        /// The second failure.
        error: EngineError,
    },
}

/// Why a program did not give its results.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Too many requests wait.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// A segment could not be planned.
    #[error(transparent)]
    Plan(#[from] PlanFailure),
    /// The engine failed, or a kernel refused the data.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The chip failed twice.
    #[error("chip `{chip}` failed twice on this request: {error}")]
    Failed {
        /// The chip.
        chip: String,
        /// The second failure.
        error: EngineError,
    },
    /// A host operator refused its operands.
    #[error(transparent)]
    HostOp(#[from] HostOpError),
    /// A value that decides shapes by its content has too much of it.
    #[error("`{value}` decides shapes by its content and has {got} bytes, at most {most} are taken: use a smaller one")]
    Content {
        /// The value.
        value: String,
        /// Its bytes.
        got: usize,
        /// The bound.
        most: u64,
    },
    /// A value of another kind than a step takes.
    #[error("`{value}` is {got} where {wanted} is needed")]
    Kind {
        /// The value.
        value: String,
        /// What is needed.
        wanted: &'static str,
        /// What there is.
        got: &'static str,
    },
    /// A bound was reached.
    #[error("the model {what}, more than the {most} that are allowed: {remedy}")]
    Limit {
        /// What it does.
        what: String,
        /// The bound.
        most: u64,
        /// What to do about it.
        remedy: &'static str,
    },
}
