//! Attention that a model wrote out: products of queries and keys, scaled and masked, through a softmax, times values.
//!
//! The operator gives zeros for a query that sees no key at all, where the written form divides zero by zero.

use super::patterns::{both_ways, inputs, made_by, with_scalar};
use super::transposes::permutation;
use crate::edit::{Editor, Rewrite, Rule};
use crate::error::GraphError;
use crate::tensor::Tensor;
use crate::{Attribute, DType, Dim, Node, ValueId};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "attention", ops: &["MatMul"], apply: attention },
    Rule { name: "attention-shared-heads", ops: &["Attention"], apply: shared_heads },
    Rule { name: "attention-packed-heads", ops: &["Transpose"], apply: packed_heads },
];

/// What comes between the products of queries and keys and the softmax.
struct Scores {
    queries: ValueId,
    /// The right side of the product: keys, the last two axes turned.
    turned_keys: ValueId,
    scale: f64,
    mask: Option<Mask>,
}

#[derive(Clone, Copy)]
enum Mask {
    /// Added to the scores.
    Added(ValueId),
    /// True where a key is hidden.
    Hidden(ValueId),
}

/// Steps between softmax and product that are followed.
const STEPS_MAX: usize = 6;

/// MatMul(Softmax(mask(scale(MatMul(q, turned k)))), v), of three axes (heads, length, width) or four.
fn attention(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(weights), Some(values), Some(output)) = (node.input(0), node.input(1), node.output(0)) else {
        return Ok(None);
    };
    let Some(softmax) = made_by(editor, weights, "Softmax").filter(|_| editor.is_private(weights)) else {
        return Ok(None);
    };
    let Some(rank @ (3 | 4)) = editor.shape(weights).map(<[_]>::len) else { return Ok(None) };
    let axis = softmax.integer("axis");
    if axis != Some(-1) && axis != Some(rank as i64 - 1) || !node.epilogue.is_empty() {
        return Ok(None);
    }
    let Some(source) = editor.input_of(softmax, 0) else { return Ok(None) };
    let Some(mut scores) = scores(editor, source, STEPS_MAX)? else { return Ok(None) };
    while let Some((queries, factor)) = scaled(editor, scores.queries)? {
        (scores.queries, scores.scale) = (queries, scores.scale * factor);
    }
    if !fits(editor, &scores, weights, values, rank) {
        return Ok(None);
    }
    let mut nodes = vec![];
    let keys = turned_back(editor, node, scores.turned_keys, rank, &mut nodes);
    let mut operands = [scores.queries, keys, values];
    let mut result = output;
    if rank == 3 {
        let front = editor.constant(Tensor::vector(&[0]), output);
        for operand in &mut operands {
            let wide = editor.computed(*operand);
            nodes.push(editor.node(node, "Unsqueeze", &[Some(*operand), Some(front)], &[Some(wide)], &[]));
            *operand = wide;
        }
        result = editor.computed(output);
    }
    let [q, k, v] = operands.map(Some);
    let mask = match scores.mask {
        None => None,
        Some(Mask::Added(mask)) => Some(mask),
        Some(Mask::Hidden(hidden)) => {
            let seen = editor.computed(hidden);
            nodes.push(editor.node(node, "Not", &[Some(hidden)], &[Some(seen)], &[]));
            Some(seen)
        }
    };
    let operands = [q, k, v, mask];
    let operands = if mask.is_some() { &operands[..] } else { &operands[..3] };
    let scale = [("scale", Attribute::Number(scores.scale))];
    nodes.push(editor.node(node, "Attention", operands, &[Some(result)], &scale));
    if rank == 3 {
        let front = editor.constant(Tensor::vector(&[0]), output);
        nodes.push(editor.node(node, "Squeeze", &[Some(result), Some(front)], &[Some(output)], &[]));
    }
    Ok(Some(nodes))
}

/// A value times a constant of one element: the value, and the factor.
fn scaled(editor: &Editor<'_>, id: ValueId) -> Result<Option<(ValueId, f64)>, GraphError> {
    if let Some((source, factor)) = with_scalar(editor, id, "Mul")? {
        return Ok(Some((source, factor)));
    }
    Ok(with_scalar(editor, id, "Div")?.filter(|(_, divisor)| *divisor != 0.0).map(|(source, by)| (source, 1.0 / by)))
}

/// Follows the scores back to the product. Nothing on the way may be read by others.
fn scores(editor: &Editor<'_>, id: ValueId, steps: usize) -> Result<Option<Scores>, GraphError> {
    let Some(node) = editor.producer(id).filter(|_| editor.is_private(id) && steps > 0) else { return Ok(None) };
    match node.op.as_str() {
        "MatMul" if node.epilogue.is_empty() => Ok(inputs(editor, node).map(|(queries, turned_keys)| Scores {
            queries,
            turned_keys,
            scale: 1.0,
            mask: None,
        })),
        "Mul" | "Div" => {
            let Some((source, factor)) = scaled(editor, id)? else { return Ok(None) };
            let scores = scores(editor, source, steps - 1)?.filter(|scores| scores.mask.is_none());
            Ok(scores.map(|scores| Scores { scale: scores.scale * factor, ..scores }))
        }
        "Add" => {
            for (source, mask) in both_ways(node) {
                let (Some(source), Some(mask)) = (source, mask) else { continue };
                let (source, mask) = (editor.resolve(source), editor.resolve(mask));
                if let Some(scores) = scores(editor, source, steps - 1)?.filter(|scores| scores.mask.is_none()) {
                    return Ok(Some(Scores { mask: Some(Mask::Added(mask)), ..scores }));
                }
            }
            Ok(None)
        }
        "Where" => {
            let (Some(hidden), Some(low), Some(source)) =
                (editor.input_of(node, 0), editor.input_of(node, 1), editor.input_of(node, 2))
            else {
                return Ok(None);
            };
            if editor.scalar(low)? != Some(f64::NEG_INFINITY) {
                return Ok(None);
            }
            let scores = scores(editor, source, steps - 1)?.filter(|scores| scores.mask.is_none());
            Ok(scores.map(|scores| Scores { mask: Some(Mask::Hidden(hidden)), ..scores }))
        }
        _ => Ok(None),
    }
}

/// Whether the operands are what the operator takes: batches and heads are equal, and the mask has a place for each key.
fn fits(editor: &Editor<'_>, scores: &Scores, weights: ValueId, values: ValueId, rank: usize) -> bool {
    let shape = |id: ValueId| editor.shape(id).filter(|shape| shape.len() == rank);
    let (Some(q), Some(k), Some(v), Some(w)) =
        (shape(scores.queries), shape(scores.turned_keys), shape(values), shape(weights))
    else {
        return false;
    };
    let leading = rank - 2;
    let known = |shape: &[Dim]| !shape.contains(&Dim::Unknown);
    let floats = [scores.queries, scores.turned_keys, values, weights];
    let mask_fits = match scores.mask {
        None => true,
        Some(Mask::Added(mask)) => editor.dtype(mask) == Some(DType::F32) && under(editor, mask, w),
        Some(Mask::Hidden(mask)) => under(editor, mask, w),
    };
    known(&q[..leading])
        && q[..leading] == k[..leading]
        && q[..leading] == v[..leading]
        && floats.iter().all(|id| editor.dtype(*id) == Some(DType::F32))
        && mask_fits
}

/// Whether a mask broadcasts to scores of that shape and has their last axis.
fn under(editor: &Editor<'_>, mask: ValueId, scores: &[Dim]) -> bool {
    let Some(shape) = editor.shape(mask).filter(|shape| !shape.is_empty() && shape.len() <= scores.len()) else {
        return false;
    };
    let rows = scores[scores.len() - shape.len()..].iter();
    let broadcasts =
        shape.iter().zip(rows).all(|(mask, row)| mask == row && *row != Dim::Unknown || mask.known() == Some(1));
    broadcasts && shape.last() == scores.last()
}

/// The keys as rows, from a right side whose columns they are.
fn turned_back(editor: &mut Editor<'_>, like: &Node, turned: ValueId, rank: usize, nodes: &mut Vec<Node>) -> ValueId {
    let (mut source, mut order) = (turned, (0..rank).collect::<Vec<_>>());
    if let Some(transpose) = made_by(editor, turned, "Transpose")
        && let (Some(from), Some(perm)) = (editor.input_of(transpose, 0), permutation(transpose, rank))
    {
        (source, order) = (from, perm);
    }
    order.swap(rank - 2, rank - 1);
    if order.is_sorted() {
        return source;
    }
    let keys = editor.computed(turned);
    let perm = Attribute::Integers(order.into_iter().map(|axis| axis as i64).collect());
    nodes.push(editor.node(like, "Transpose", &[Some(source)], &[Some(keys)], &[("perm", perm)]));
    keys
}

/// Keys and values whose heads were repeated for the heads of the queries: Reshape(Expand(Unsqueeze(x))) along the axis of heads.
fn shared_heads(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(keys), Some(values)) = (node.input(1), node.input(2)) else { return Ok(None) };
    if node.inputs.len() > 4 || node.outputs.len() != 1 {
        return Ok(None);
    }
    let (Some((k, k_shape)), Some((v, v_shape))) = (unrepeated(editor, keys), unrepeated(editor, values)) else {
        return Ok(None);
    };
    if k_shape[1] != v_shape[1] {
        return Ok(None);
    }
    let mut attention = node.clone();
    let mut nodes = vec![];
    for (index, source, shape) in [(1, k, k_shape), (2, v, v_shape)] {
        let (shared, target) = (editor.computed(source), editor.constant(Tensor::vector(&shape), source));
        nodes.push(editor.node(node, "Reshape", &[Some(source), Some(target)], &[Some(shared)], &[]));
        attention.inputs[index] = Some(shared);
    }
    nodes.push(attention);
    Ok(Some(nodes))
}

/// A tensor of repeated heads: what was repeated, and its shape as one of four axes.
fn unrepeated(editor: &Editor<'_>, id: ValueId) -> Option<(ValueId, [i64; 4])> {
    let &[batch, heads, length, width] = editor.concrete(id)?.as_slice() else { return None };
    // Views around the expansion say nothing but the shape.
    let mut wide = id;
    let expand = loop {
        let node = editor.producer(wide)?;
        match node.op.as_str() {
            "Reshape" | "Unsqueeze" | "Squeeze" => wide = editor.input_of(node, 0)?,
            "Expand" => break node,
            _ => return None,
        }
    };
    let source = editor.input_of(expand, 0)?;
    let (from, to) = (editor.concrete(source)?, editor.concrete(wide)?);
    let (&[ref outer @ .., shared, 1, _, _], &[ref to_outer @ .., to_shared, repeats, to_length, to_width]) =
        (from.as_slice(), to.as_slice())
    else {
        return None;
    };
    let repeated = outer == to_outer
        && outer.iter().product::<u64>() == batch
        && shared == to_shared
        && shared.checked_mul(repeats) == Some(heads)
        && from[from.len() - 2..] == [length, width]
        && (to_length, to_width) == (length, width);
    let lengths = [batch, shared, length, width].map(|length| length as i64);
    // A length of zero would mean something else in a Reshape.
    (repeated && !lengths.contains(&0)).then_some((source, lengths))
}

/// Heads that were split off and turned before an Attention, and turned back behind it, stay where they lie: in rows of all heads.
fn packed_heads(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(input), Some(output)) = (node.input(0), node.output(0)) else { return Ok(None) };
    let turns = |node: &Node| permutation(node, 4).is_some_and(|perm| perm == [0, 2, 1, 3]);
    let Some(attention) = made_by(editor, input, "Attention").filter(|_| editor.is_private(input) && turns(node))
    else {
        return Ok(None);
    };
    if attention.inputs.len() > 4 || attention.outputs.len() != 1 {
        return Ok(None);
    }
    let known = |id: ValueId, axis: usize| editor.shape(id).and_then(|shape| shape.get(axis)?.known());
    // Each operand as [batch, length, heads, width].
    let mut rows = vec![];
    for index in 0..3 {
        let Some(operand) = editor.input_of(attention, index) else { return Ok(None) };
        let source = made_by(editor, operand, "Transpose").filter(|node| turns(node));
        let Some(source) = source.and_then(|node| editor.input_of(node, 0)) else { return Ok(None) };
        let (Some(4), Some(heads), Some(width)) =
            (editor.shape(source).map(<[_]>::len), known(source, 2), known(source, 3))
        else {
            return Ok(None);
        };
        rows.push((source, heads, width));
    }
    let &[(_, q_heads, _), (_, k_heads, _), (_, v_heads, v_width)] = rows.as_slice() else { return Ok(None) };
    let fits = k_heads == v_heads && [q_heads, k_heads, v_width].iter().all(|n| (1..1 << 31).contains(n));
    if !fits {
        return Ok(None);
    }
    let Some(mut attention) = editor.take_producer(input) else { return Ok(None) };
    let mut nodes = vec![];
    for (index, (source, heads, width)) in rows.into_iter().enumerate() {
        let packed = editor.computed(source);
        // Zeros keep the axes of batch and length.
        let shape = editor.constant(Tensor::vector(&[0, 0, (heads * width) as i64]), output);
        nodes.push(editor.node(node, "Reshape", &[Some(source), Some(shape)], &[Some(packed)], &[]));
        attention.inputs[index] = Some(packed);
    }
    let packed = editor.computed(output);
    attention.outputs = vec![Some(packed)];
    attention.attributes.insert("q_num_heads".to_owned(), Attribute::Integer(q_heads as i64));
    attention.attributes.insert("kv_num_heads".to_owned(), Attribute::Integer(k_heads as i64));
    let shape = editor.constant(Tensor::vector(&[0, 0, q_heads as i64, v_width as i64]), output);
    let split = editor.node(node, "Reshape", &[Some(packed), Some(shape)], &[Some(output)], &[]);
    nodes.extend([attention, split]);
    Ok(Some(nodes))
}
