//! Tensors as they cross the edge of the process.

use sunmao_graph::{Container, DType};

/// A tensor with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Element type.
    pub dtype: DType,
    /// Lengths of the axes; empty: a scalar.
    pub shape: Vec<u64>,
    /// Little-endian, dense, row-major. Strings are framed, as the protocol's BYTES are.
    pub data: Vec<u8>,
}

/// What a model takes or gives under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Name in the model.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// none: the length of that axis comes with the request. Empty where even the rank does.
    pub shape: Vec<Option<u64>>,
    /// Whether the rank is known.
    pub ranked: bool,
    /// What the tensors are packed into: anything but a tensor comes and goes through `run_values` alone.
    pub container: Container,
}

impl TensorSpec {
    /// A tensor of that element type, of known rank.
    pub fn tensor(name: &str, dtype: DType, shape: &[Option<u64>]) -> Self {
        Self { name: name.to_owned(), dtype, shape: shape.to_vec(), ranked: true, container: Container::Tensor }
    }
}
