//! Losses of classifiers in the core's words, as the function bodies of the ONNX specification have them.

use super::node_facts::float;
use crate::edit::{Editor, Rewrite, Rule, Sketch};
use crate::{Attribute, Node};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "cross-entropy-to-likelihood", ops: &["SoftmaxCrossEntropyLoss"], apply: cross_entropy },
    Rule { name: "likelihood-to-gather", ops: &["NegativeLogLikelihoodLoss"], apply: likelihood },
];

/// The loss of the logarithms of the softmax over the classes, which the node may hand out as well.
fn cross_entropy(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(scores), Some(output)) = (node.input(0), node.output(0)) else { return Ok(None) };
    let logarithms = match node.output(1) {
        Some(logarithms) => logarithms,
        None => editor.computed_as(output, scores),
    };
    let axis = [("axis", Attribute::Integer(1))];
    let softmax = editor.node(node, "LogSoftmax", &[Some(scores)], &[Some(logarithms)], &axis);
    let inputs = [Some(logarithms), node.input(1), node.input(2)];
    let kept: Vec<(&str, Attribute)> =
        node.attributes.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    let loss = editor.node(node, "NegativeLogLikelihoodLoss", &inputs, &[Some(output)], &kept);
    Ok(Some(vec![softmax, loss]))
}

/// Picks each place's own class, turns the sign, weighs by class. A place whose label is `ignore_index` counts nothing, neither in the sum nor
/// in what a mean divides by; its label need not be a class.
fn likelihood(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(scores), Some(labels), weights) = (node.input(0), node.input(1), node.input(2)) else { return Ok(None) };
    let (Some(dtype), Some(label_dtype)) = (float(editor, scores), editor.dtype(labels)) else { return Ok(None) };
    let (ignored, reduction) = (node.integer("ignore_index"), node.text("reduction").unwrap_or("mean").to_owned());
    let Some(mut sketch) = Sketch::new(editor, node) else { return Ok(None) };
    let (Some(zero), Some(one)) = (sketch.scalar(dtype, 0.0), sketch.scalar(dtype, 1.0)) else { return Ok(None) };
    let mut classes = labels;
    let mut is_ignored = None;
    if let Some(ignored) = ignored {
        let (Some(ignored), Some(first)) =
            (sketch.scalar(label_dtype, ignored as f64), sketch.scalar(label_dtype, 0.0))
        else {
            return Ok(None);
        };
        let hit = sketch.op("Equal", &[labels, ignored], &[]);
        classes = sketch.op("Where", &[hit, first, labels], &[]);
        is_ignored = Some(hit);
    }
    let axis = sketch.vector(&[1]);
    let columns = sketch.op("Unsqueeze", &[classes, axis], &[]);
    let own = sketch.op("GatherElements", &[scores, columns], &[("axis", Attribute::Integer(1))]);
    let own = sketch.op("Squeeze", &[own, axis], &[]);
    let mut loss = sketch.op("Neg", &[own], &[]);
    let mut weight = None;
    if let Some(weights) = weights {
        let by_place = sketch.op("Gather", &[weights, classes], &[("axis", Attribute::Integer(0))]);
        loss = sketch.op("Mul", &[loss, by_place], &[]);
        weight = Some(by_place);
    }
    if let Some(hit) = is_ignored {
        loss = sketch.op("Where", &[hit, zero, loss], &[]);
        weight = Some(sketch.op("Where", &[hit, zero, weight.unwrap_or(one)], &[]));
    }
    let whole = [("keepdims", Attribute::Integer(0))];
    match (reduction.as_str(), weight) {
        ("none", _) => sketch.finish("Identity", &[loss], &[]),
        ("sum", _) => sketch.finish("ReduceSum", &[loss], &whole),
        (_, None) => sketch.finish("ReduceMean", &[loss], &whole),
        (_, Some(weight)) => {
            let sum = sketch.op("ReduceSum", &[loss], &whole);
            let divisor = sketch.op("ReduceSum", &[weight], &whole);
            sketch.finish("Div", &[sum, divisor], &[])
        }
    }
}
