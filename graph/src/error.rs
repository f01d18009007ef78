//! Everything that can go wrong between a raw graph and one that a plan is made of.

use crate::infer::InferError;
use crate::specialise::SpecialiseError;
use crate::validate::GraphErrors;

/// Why a graph cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// What the importer gave is not a graph.
    #[error(transparent)]
    Invalid(#[from] GraphErrors),
    /// Operands do not fit.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// The request's shapes do not fit the model.
    #[error(transparent)]
    Specialise(#[from] SpecialiseError),
    /// The element type of an input or output of the model cannot be told.
    #[error("the element type of `{value}` does not follow from the model; declare it in the file")]
    Untyped {
        /// The value.
        value: String,
    },
    /// A weight's bytes cannot be had.
    #[error("weight {value}: {why}")]
    Weight {
        /// Name of the constant.
        value: String,
        /// What is wrong.
        why: String,
    },
    /// A constant node could not be computed.
    #[error("node {node} ({op}) cannot be computed: {why}")]
    Evaluate {
        /// Name of the node.
        node: String,
        /// Its operator.
        op: String,
        /// What is wrong.
        why: String,
    },
}
