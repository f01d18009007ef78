//! Operators that stay with the host, because their results have no shape that a plan could know, or are no tensors of numbers.
//!
//! Each is a function from values to values, run between the planned segments of a program. Operators on tensors of known
//! shapes are kernels, not here; running blocks (If, Loop, Scan) is `program`'s work.

mod value;

pub use value::Value;

use sunmao_graph::Node;

/// Why an operator gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node {node} ({op}) {what}")]
pub struct HostOpError {
    /// The node.
    pub node: String,
    /// Its operator.
    pub op: String,
    /// What is wrong, and what to do about it.
    pub what: String,
}

/// Whether an operator is run here.
pub fn covers(op: &str) -> bool {
    let _ = op;
    false
}

/// Runs one operator. `inputs` has an entry for each of the node's, none where it is left out; the answer has one for each of its outputs.
pub fn evaluate(node: &Node, inputs: &[Option<Value>]) -> Result<Vec<Option<Value>>, HostOpError> {
    let _ = inputs;
    Err(HostOpError { node: node.label(), op: node.op.clone(), what: "is not run by the host".to_owned() })
}
