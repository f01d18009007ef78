//! Tensors as they cross the edge of the process.

use sunmao_graph::DType;

/// A tensor with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Element type.
    pub dtype: DType,
    /// Lengths of the axes; empty: a scalar.
    pub shape: Vec<u64>,
    /// Little-endian, dense, row-major.
    pub data: Vec<u8>,
}

/// What a model takes or gives under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Name in the model.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// none: the length of that axis comes with the request.
    pub shape: Vec<Option<u64>>,
}
