//! Which operands must be known by content before a node can be planned: they decide shapes, or kernels settle by them what they do.
//!
//! A value of this kind that is no constant is bound for each request: `specialise` puts the request's elements in its place. Whoever cuts a
//! graph into parts asks here which values those are, and through which operators a content may be traced back to where it comes from.

use crate::infer::numbers::is_followed;
use crate::{DType, Node, Value, ValueId};

/// Largest operand that may decide a shape, bytes.
pub const CONTENT_BYTES_MAX: u64 = crate::fold::SMALL_BYTES;
/// A value that others are computed from is bound in their stead up to this many elements: a shape, a list of axes, a few scales.
const SOURCE_ELEMENTS_MAX: u64 = 64;

#[rustfmt::skip] // One operator a line: a table.
const DECIDING: &[(&str, &[usize])] = &[
    ("AffineGrid", &[1]),
    ("BlackmanWindow", &[0]),
    ("CenterCropPad", &[1]),
    ("Col2Im", &[1, 2]),
    ("ConstantOfShape", &[0]),
    ("CumProd", &[1]),
    ("CumSum", &[1]),
    ("DFT", &[1, 2]),
    ("Dropout", &[1, 2]),
    ("Expand", &[1]),
    ("HammingWindow", &[0]),
    ("HannWindow", &[0]),
    ("MaxUnpool", &[2]),
    ("MelWeightMatrix", &[0, 1, 2, 3, 4]),
    ("OneHot", &[1]),
    ("Pad", &[1, 3]),
    ("Range", &[0, 1, 2]),
    ("ReduceL1", &[1]),
    ("ReduceL2", &[1]),
    ("ReduceLogSum", &[1]),
    ("ReduceLogSumExp", &[1]),
    ("ReduceMax", &[1]),
    ("ReduceMean", &[1]),
    ("ReduceMin", &[1]),
    ("ReduceProd", &[1]),
    ("ReduceSum", &[1]),
    ("ReduceSumSquare", &[1]),
    ("Reshape", &[1]),
    ("Resize", &[1, 2, 3]),
    ("STFT", &[1, 3]),
    ("Slice", &[1, 2, 3, 4]),
    ("Split", &[1]),
    ("Squeeze", &[1]),
    ("Tile", &[1]),
    ("TopK", &[1]),
    ("Trilu", &[1]),
    ("Unsqueeze", &[1]),
];

/// The inputs of an operator whose content must be known, by their places.
pub fn deciding_inputs(op: &str) -> &'static [usize] {
    DECIDING.binary_search_by_key(&op, |(known, _)| *known).map_or(&[], |at| DECIDING[at].1)
}

/// The values of a node whose content must be known, constants left out.
pub fn deciding_values(node: &Node, values: &[Value]) -> impl Iterator<Item = ValueId> {
    deciding_inputs(&node.op)
        .iter()
        .filter(|index| **index < node.own_inputs())
        .filter_map(|index| node.input(*index))
        .filter(|id| !values[id.index()].is_constant())
}

/// How the content of a node's results follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// From the shapes of its inputs alone.
    Shapes,
    /// Element by element from small inputs, as shape arithmetic does.
    Elements,
    /// In a way that only running it tells.
    Run,
}

/// How the content of this node's results follows from its inputs.
pub fn provenance(node: &Node) -> Provenance {
    match node.op.as_str() {
        "Shape" | "Size" => Provenance::Shapes,
        op if is_followed(op) => Provenance::Elements,
        _ => Provenance::Run,
    }
}

/// Whether a value may be bound in the stead of those that are computed from it: small enough, and of integers.
pub fn is_small_source(value: &Value) -> bool {
    let count = value.concrete().and_then(|shape| crate::tensor::elements(&shape));
    matches!(value.dtype, Some(DType::I64 | DType::I32 | DType::Bool))
        && count.is_some_and(|count| count <= SOURCE_ELEMENTS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    #[test]
    fn the_table_is_sorted_and_names_operands_that_exist() {
        assert!(DECIDING.is_sorted_by_key(|(op, _)| *op));
        for (op, inputs) in DECIDING {
            // Operators that a later table brings are listed before it.
            let Some(schema) = schema::find(op) else { continue };
            assert!(inputs.iter().all(|input| *input < schema.inputs.1), "{op}");
        }
        assert_eq!(deciding_inputs("Slice"), [1, 2, 3, 4]);
        assert_eq!(deciding_inputs("Relu"), [0usize; 0]);
    }
}
