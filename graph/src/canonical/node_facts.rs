//! What several rules ask about a node.

use crate::edit::Editor;
use crate::{DType, Dim, Node, ValueId};

/// The only input and the only output of a node.
pub(super) fn through(node: &Node) -> Option<(ValueId, ValueId)> {
    Some((node.input(0)?, node.output(0)?))
}

/// The element type, when it is a float that weights come in.
pub(super) fn float(editor: &Editor<'_>, id: ValueId) -> Option<DType> {
    editor.dtype(id).filter(|dtype| matches!(dtype, DType::F32 | DType::F64 | DType::F16 | DType::BF16))
}

/// Lengths as numbers.
pub(super) fn known(dims: &[Dim]) -> Option<Vec<u64>> {
    dims.iter().map(|dim| dim.known()).collect()
}
