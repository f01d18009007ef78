//! What the rooms above need of a model, so that they can be tested without one.

use super::{InferError, Session, Tensor, TensorSpec};

/// Answers requests. [`Session`] is the one that computes.
pub trait Model: Send + Sync {
    /// What a request brings.
    fn inputs(&self) -> &[TensorSpec];
    /// What it gets.
    fn outputs(&self) -> &[TensorSpec];
    /// Runs one request; blocks. Outputs in the order asked for; all of them when `outputs` is empty.
    fn infer(&self, inputs: Vec<(String, Tensor)>, outputs: &[String]) -> Result<Vec<(String, Tensor)>, InferError>;
}

impl Model for Session {
    fn inputs(&self) -> &[TensorSpec] {
        self.inputs()
    }

    fn outputs(&self) -> &[TensorSpec] {
        self.outputs()
    }

    fn infer(&self, inputs: Vec<(String, Tensor)>, outputs: &[String]) -> Result<Vec<(String, Tensor)>, InferError> {
        self.infer(inputs, outputs)
    }
}
