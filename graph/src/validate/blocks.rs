//! Whether blocks take and give what their nodes hand them and want of them.

use super::{GraphErrors, problem};
use crate::{Graph, Node};

/// Checks every node with blocks; their own content is checked block by block.
pub(super) fn check(graph: &Graph, errors: &mut GraphErrors) {
    for node in &graph.nodes {
        if let Some(what) = mismatch(node) {
            errors.push(problem(node, what, "the file is damaged"));
        }
    }
}

fn mismatch(node: &Node) -> Option<String> {
    let captured = node.captured();
    if node.blocks().any(|(_, block)| block.captured != captured || block.captured > block.inputs.len()) {
        return Some("has blocks that capture other values than it lists".to_owned());
    }
    if captured > node.inputs.len() {
        return Some(format!("captures {captured} values and lists {} inputs", node.inputs.len()));
    }
    let own = node.own_inputs();
    let scanned = node.integer("num_scan_inputs").unwrap_or(0);
    let scanned = usize::try_from(scanned).ok().filter(|count| *count <= own);
    // What a block takes, what it gives at least, and how many of that are no outputs of the node.
    let (takes, gives, kept) = match node.op.as_str() {
        "If" => (0, 1, 0),
        "Loop" => (own, own.checked_sub(1)?, 1),
        "Scan" => match scanned {
            Some(scanned) => (own, own - scanned, 0),
            None => return Some("scans more inputs than it has".to_owned()),
        },
        "sunmao.BatchScan" => match scanned.filter(|count| *count < own) {
            Some(scanned) => (own - 1, own - 1 - scanned, 0),
            None => return Some("scans more inputs than it has".to_owned()),
        },
        "SequenceMap" => (own, 1, 0),
        _ => return None,
    };
    let outputs = node.outputs.len();
    node.blocks().find_map(|(key, block)| {
        let (inputs, results) = (block.inputs.len() - captured, block.outputs.len());
        if inputs != takes {
            return Some(format!("has a block `{key}` with {inputs} inputs where {takes} are needed"));
        }
        (results < gives.max(outputs + kept)).then(|| {
            format!("has a block `{key}` with {results} results where {} are needed", gives.max(outputs + kept))
        })
    })
}
