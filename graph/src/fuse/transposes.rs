//! Transposes in a row, transposes that move nothing, and what may as well be done before a transpose.

use crate::canonical::reshape;
use crate::edit::{Editor, Rewrite, Rule};
use crate::tensor::Tensor;
use crate::{Attribute, Dim, Node};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "merge-transposes", ops: &["Transpose"], apply: merge },
    Rule { name: "transpose-to-reshape", ops: &["Transpose"], apply: to_reshape },
    Rule { name: "pick-before-transpose", ops: &["Slice"], apply: pick_first },
    Rule { name: "squeeze-before-transpose", ops: &["Squeeze", "Reshape"], apply: squeeze_first },
];

/// The axes of the input in the order of the output; none where the attribute is no permutation of them.
pub(super) fn permutation(node: &Node, rank: usize) -> Option<Vec<usize>> {
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

/// One place of an axis of a transposed tensor: it is cut out before the rest is moved.
fn pick_first(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(input), Some(output), Some(axes)) = (node.input(0), node.output(0), node.input(3)) else {
        return Ok(None);
    };
    let Some(rank) = editor.shape(input).map(<[_]>::len) else { return Ok(None) };
    let Some(transpose) = editor.producer(input).filter(|node| node.op == "Transpose") else { return Ok(None) };
    let (Some(source), Some(perm)) = (editor.input_of(transpose, 0), permutation(transpose, rank)) else {
        return Ok(None);
    };
    let axis = match editor.integers(axes)?.as_deref() {
        Some(&[axis]) if (-(rank as i64)..rank as i64).contains(&axis) => axis.rem_euclid(rank as i64) as usize,
        _ => return Ok(None),
    };
    if editor.shape(output).and_then(|shape| shape.get(axis)) != Some(&Dim::Known(1)) {
        return Ok(None);
    }
    let picked = editor.computed(output);
    let mut slice = node.clone();
    slice.inputs[0] = Some(source);
    slice.inputs[3] = Some(editor.constant(Tensor::vector(&[perm[axis] as i64]), output));
    slice.outputs = vec![Some(picked)];
    let perm = Attribute::Integers(perm.into_iter().map(|axis| axis as i64).collect());
    let made = editor.node(node, "Transpose", &[Some(picked)], &[Some(output)], &[("perm", perm)]);
    Ok(Some(vec![slice, made]))
}

/// Axes of length 1 are dropped before a transpose rather than behind it.
fn squeeze_first(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(input), Some(output)) = (node.input(0), node.output(0)) else { return Ok(None) };
    let Some(shape) = editor.shape(input).map(<[_]>::to_vec) else { return Ok(None) };
    let transpose = editor.producer(input).filter(|node| node.op == "Transpose" && editor.is_private(input));
    let Some(transpose) = transpose else { return Ok(None) };
    let (Some(source), Some(perm)) = (editor.input_of(transpose, 0), permutation(transpose, shape.len())) else {
        return Ok(None);
    };
    let dropped = if node.op == "Squeeze" {
        let axes = match node.input(1) {
            Some(axes) => editor.integers(axes)?,
            None => None,
        };
        let rank = shape.len() as i64;
        let wrapped = |axis: i64| (-rank..rank).contains(&axis).then(|| axis.rem_euclid(rank) as usize);
        axes.and_then(|axes| axes.into_iter().map(wrapped).collect::<Option<Vec<_>>>())
    } else {
        editor.shape(output).and_then(|left| dropped_ones(&shape, left))
    };
    let Some(dropped) = dropped.filter(|axes| !axes.is_empty()) else { return Ok(None) };
    let gone: Vec<i64> = dropped.iter().map(|axis| perm[*axis] as i64).collect();
    // The other axes keep their order among themselves.
    let kept: Vec<usize> = (0..shape.len()).filter(|axis| !dropped.contains(axis)).map(|axis| perm[axis]).collect();
    let place = |axis: usize| kept.iter().filter(|other| **other < axis).count() as i64;
    let order = Attribute::Integers(kept.iter().map(|axis| place(*axis)).collect());
    let axes = editor.constant(Tensor::vector(&gone), output);
    let squeezed = editor.computed(output);
    Ok(Some(vec![
        editor.node(node, "Squeeze", &[Some(source), Some(axes)], &[Some(squeezed)], &[]),
        editor.node(node, "Transpose", &[Some(squeezed)], &[Some(output)], &[("perm", order)]),
    ]))
}

/// The axes of length 1 that `left` lacks, if it has all others in order.
fn dropped_ones(shape: &[Dim], left: &[Dim]) -> Option<Vec<usize>> {
    let mut rest = left.iter().peekable();
    let mut dropped = vec![];
    for (axis, length) in shape.iter().enumerate() {
        if *length != Dim::Unknown && rest.peek() == Some(&length) {
            rest.next();
        } else if *length == Dim::Known(1) {
            dropped.push(axis);
        } else {
            return None;
        }
    }
    rest.next().is_none().then_some(dropped)
}
