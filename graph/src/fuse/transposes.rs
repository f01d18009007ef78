//! Transposes in a row, and transposes that move nothing.

use crate::canonical::reshape;
use crate::edit::{Editor, Rewrite, Rule};
use crate::{Attribute, Node};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "merge-transposes", ops: &["Transpose"], apply: merge },
    Rule { name: "transpose-to-reshape", ops: &["Transpose"], apply: to_reshape },
];

fn permutation(node: &Node, rank: usize) -> Option<Vec<usize>> {
    match node.integers("perm") {
        None => Some((0..rank).rev().collect()),
        Some(perm) => {
            let wrap = |axis: i64| {
                usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).ok().filter(|axis| *axis < rank)
            };
            perm.iter().map(|axis| wrap(*axis)).collect::<Option<Vec<_>>>().filter(|perm| perm.len() == rank)
        }
    }
}

fn merge(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(input), Some(output)) = (node.input(0), node.output(0)) else { return Ok(None) };
    let Some(rank) = editor.shape(input).map(<[_]>::len) else { return Ok(None) };
    let Some(first) = editor.producer(input).filter(|first| first.op == "Transpose") else { return Ok(None) };
    let (Some(source), Some(inner), Some(outer)) =
        (editor.input_of(first, 0), permutation(first, rank), permutation(node, rank))
    else {
        return Ok(None);
    };
    let joined: Vec<i64> = outer.iter().map(|axis| inner[*axis] as i64).collect();
    if joined.is_sorted() && editor.replace(output, source) {
        return Ok(Some(vec![]));
    }
    let made =
        editor.node(node, "Transpose", &[Some(source)], &[Some(output)], &[("perm", Attribute::Integers(joined))]);
    Ok(Some(vec![made]))
}

/// Axes of length 1 may be moved without moving an element.
fn to_reshape(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(input), Some(output)) = (node.input(0), node.output(0)) else { return Ok(None) };
    let (Some(from), Some(to)) = (editor.concrete(input), editor.concrete(output)) else { return Ok(None) };
    let Some(perm) = permutation(node, from.len()) else { return Ok(None) };
    let moved: Vec<usize> = perm.into_iter().filter(|axis| from[*axis] != 1).collect();
    if !moved.is_sorted() {
        return Ok(None);
    }
    let made = reshape(editor, node, input, &to);
    Ok(Some(vec![made]))
}
