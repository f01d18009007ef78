//! What flows through the steps of a program: tensors, and the containers that ONNX has beside them.

use sunmao_graph::Tensor;

/// A value at run time. The bytes of a tensor of strings are framed: for each element, in order, its length in bytes as a
/// little-endian u32, then its UTF-8 text, as the protocol's BYTES tensors are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A tensor.
    Tensor(Tensor),
    /// Values of one type, in order.
    Sequence(Vec<Value>),
    /// A value, or nothing.
    Optional(Option<Box<Value>>),
}
