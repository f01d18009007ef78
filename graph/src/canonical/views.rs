//! Operators that only give the same elements another shape: all become Reshape, and reshaped constants become constants.

use super::node_facts::through;
use crate::edit::{Editor, Rewrite, Rule};
use crate::tensor::Tensor;
use crate::{Attribute, Dim, Node};

const VIEWS: &[&str] = &["Reshape", "Flatten", "Squeeze", "Unsqueeze"];

pub(super) const RULES: &[Rule] = &[
    Rule { name: "reshape-constant", ops: VIEWS, apply: reshape_constant },
    Rule { name: "view-of-view", ops: VIEWS, apply: view_of_view },
    Rule { name: "view-to-reshape", ops: VIEWS, apply: view_to_reshape },
];

/// A view of a constant is a constant with another shape, and the same bytes.
fn reshape_constant(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some((input, output)) = through(node) else { return Ok(None) };
    match editor.concrete(output) {
        Some(shape) if editor.value(input).is_constant() => {
            let view = editor.reshaped_constant(input, &shape);
            Ok(editor.replace(output, view).then(Vec::new))
        }
        _ => Ok(None),
    }
}

/// Of two views in a row the first is skipped, once the second one's shape does not depend on it.
fn view_of_view(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some((input, output)) = through(node) else { return Ok(None) };
    let Some(first) = editor.producer(input).filter(|first| VIEWS.contains(&first.op.as_str())) else {
        return Ok(None);
    };
    let (Some(source), Some(shape)) = (editor.input_of(first, 0), editor.concrete(output)) else { return Ok(None) };
    let made = reshape(editor, node, source, &shape);
    Ok(Some(vec![made]))
}

/// A view whose shape is known, or all but one length of it, says so by a constant.
fn view_to_reshape(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some((input, output)) = through(node) else { return Ok(None) };
    if node.op == "Reshape" && node.input(1).is_some_and(|target| editor.value(target).is_constant()) {
        // Already so; with numbers in the target once they are known.
        let target = editor.integers(node.input(1).expect("just seen"))?.unwrap_or_default();
        if !target.iter().any(|length| *length <= 0) || editor.concrete(output).is_none() {
            return Ok(None);
        }
        if target.contains(&0) && node.integer("allowzero") == Some(1) {
            return Ok(None);
        }
    }
    if let Some(shape) = editor.concrete(output) {
        let made = reshape(editor, node, input, &shape);
        return Ok(Some(vec![made]));
    }
    let (Some(from), Some(to)) = (editor.shape(input), editor.shape(output)) else { return Ok(None) };
    // 0 copies a length, one -1 follows; lengths of 0 would be taken for a copy.
    let mut open = 0;
    let mut target = Vec::with_capacity(to.len());
    for (axis, dim) in to.iter().enumerate() {
        target.push(match dim {
            Dim::Known(0) => return Ok(None),
            Dim::Known(length) => *length as i64,
            Dim::Symbol(_) if from.get(axis) == Some(dim) => 0,
            _ => {
                open += 1;
                -1
            }
        });
    }
    // With a 0 somewhere -1 has no answer.
    if open > 1
        || from.contains(&Dim::Known(0))
        || node.op == "Reshape" && node.input(1).is_some_and(|target| editor.value(target).is_constant())
    {
        return Ok(None);
    }
    let target = editor.constant(Tensor::vector(&target), output);
    let made = editor.node(
        node,
        "Reshape",
        &[Some(input), Some(target)],
        &[Some(output)],
        &[("allowzero", Attribute::Integer(0))],
    );
    Ok(Some(vec![made]))
}

/// A Reshape to numbers.
pub(crate) fn reshape(editor: &mut Editor<'_>, like: &Node, input: crate::ValueId, shape: &[u64]) -> Node {
    let lengths: Vec<i64> = shape.iter().map(|length| *length as i64).collect();
    let zero = i64::from(shape.contains(&0));
    let output = like.output(0).expect("a view makes something");
    let target = editor.constant(Tensor::vector(&lengths), output);
    editor.node(
        like,
        "Reshape",
        &[Some(input), Some(target)],
        &[Some(output)],
        &[("allowzero", Attribute::Integer(zero))],
    )
}
