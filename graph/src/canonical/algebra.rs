//! Cheaper operators for the same numbers.

use super::node_facts::{float, through};
use crate::edit::{Editor, Rewrite, Rule, Sketch};
use crate::infer::broadcast;
use crate::tensor::Tensor;
use crate::{Dim, Node, ValueId};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "divide-by-power-of-two", ops: &["Div"], apply: divide },
    Rule { name: "plain-power", ops: &["Pow"], apply: power },
    Rule {
        name: "skip-expand",
        ops: &["Add", "Sub", "Mul", "Div", "Max", "Min", "Equal", "Less", "Greater", "Where", "And", "Or"],
        apply: skip_expand,
    },
    Rule { name: "split-sizes", ops: &["Split"], apply: split_sizes },
    Rule { name: "chain", ops: &["Sum", "Mean", "Max", "Min"], apply: chain },
];

/// Dividing by a power of two is multiplying by another one, exactly.
fn divide(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(left), Some(right), Some(output)) = (node.input(0), node.input(1), node.output(0)) else {
        return Ok(None);
    };
    let Some(dtype) = float(editor, left) else { return Ok(None) };
    let Some(divisor) = editor.scalar(right)? else { return Ok(None) };
    let reciprocal = 1.0 / divisor;
    // Nothing but the sign and the exponent, and both ends far from subnormal numbers.
    let exact = divisor.to_bits() & ((1 << 52) - 1) == 0 && (1e-4..1e4).contains(&divisor.abs());
    let Some(shape) = editor.concrete(right).filter(|_| exact) else { return Ok(None) };
    let Some(tensor) = Tensor::from_numbers(dtype, shape, &[reciprocal]) else { return Ok(None) };
    let factor = editor.constant(tensor, output);
    let made = editor.node(node, "Mul", &[Some(left), Some(factor)], &[Some(output)], &[]);
    Ok(Some(vec![made]))
}

/// x^2 is x * x, x^1 is x, x^0.5 is a square root.
fn power(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(base), Some(exponent), Some(output)) = (node.input(0), node.input(1), node.output(0)) else {
        return Ok(None);
    };
    let value = editor.value(exponent);
    let single = value.is_constant() && value.concrete().is_some_and(|shape| shape.iter().all(|length| *length == 1));
    // An exponent of more axes than the base makes the result wider.
    if !single || float(editor, base).is_none() || !editor.same_rank(base, output) {
        return Ok(None);
    }
    let Some(exponent) = editor.single_number(exponent)? else { return Ok(None) };
    if exponent == 1.0 {
        return Ok(editor.replace(output, base).then(Vec::new));
    }
    let made = if exponent == 2.0 {
        editor.node(node, "Mul", &[Some(base), Some(base)], &[Some(output)], &[])
    } else if exponent == 0.5 {
        editor.node(node, "Sqrt", &[Some(base)], &[Some(output)], &[])
    } else {
        return Ok(None);
    };
    Ok(Some(vec![made]))
}

/// Operators that broadcast need no Expand before them, when the result keeps its shape without it.
fn skip_expand(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some(output) = node.output(0) else { return Ok(None) };
    let Some(wanted) = editor.concrete(output) else { return Ok(None) };
    for index in 0..node.inputs.len() {
        let Some(input) = node.input(index) else { continue };
        let Some(expand) = editor.producer(input).filter(|producer| producer.op == "Expand") else { continue };
        let Some(source) = editor.input_of(expand, 0) else { continue };
        let mut inputs = node.inputs.clone();
        inputs[index] = Some(source);
        if broadcast_of(editor, &inputs).as_ref() == Some(&wanted) {
            let mut made = node.clone();
            made.inputs = inputs;
            return Ok(Some(vec![made]));
        }
    }
    Ok(None)
}

fn broadcast_of(editor: &Editor<'_>, inputs: &[Option<ValueId>]) -> Option<Vec<u64>> {
    let mut result: Vec<Dim> = vec![];
    for input in inputs {
        result = broadcast(&result, editor.shape((*input)?)?).ok()?;
    }
    result.iter().map(|dim| dim.known()).collect()
}

/// A Split into equal parts gets the sizes of its parts.
fn split_sizes(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some((input, output)) = through(node) else { return Ok(None) };
    if node.input(1).is_some() {
        return Ok(None);
    }
    let axis = node.integer("axis").unwrap_or(0);
    let sizes: Option<Vec<i64>> = node
        .outputs
        .iter()
        .map(|output| {
            let shape = editor.shape((*output)?)?;
            let axis = if axis < 0 { axis + shape.len() as i64 } else { axis };
            i64::try_from(shape.get(usize::try_from(axis).ok()?)?.known()?).ok()
        })
        .collect();
    let Some(sizes) = sizes else { return Ok(None) };
    let sizes = editor.constant(Tensor::vector(&sizes), output);
    let mut made = node.clone();
    made.inputs = vec![Some(input), Some(sizes)];
    made.attributes.remove("num_outputs");
    Ok(Some(vec![made]))
}

/// Operators of any number of operands, two at a time from the left.
fn chain(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let inputs: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
    let op = match node.op.as_str() {
        "Sum" | "Mean" => "Add",
        other => other,
    };
    if inputs.len() < 2 || inputs.len() == 2 && op == node.op {
        return Ok(None);
    }
    let Some(dtype) = node.output(0).and_then(|output| editor.dtype(output)) else { return Ok(None) };
    let Some(mut sketch) = Sketch::new(editor, node) else { return Ok(None) };
    let last = inputs[inputs.len() - 1];
    let mut sum = inputs[0];
    for input in &inputs[1..inputs.len() - 1] {
        sum = sketch.op(op, &[sum, *input], &[]);
    }
    if node.op != "Mean" {
        return sketch.finish(op, &[sum, last], &[]);
    }
    let sum = sketch.op(op, &[sum, last], &[]);
    let Some(count) = sketch.scalar(dtype, inputs.len() as f64) else { return Ok(None) };
    sketch.finish("Div", &[sum, count], &[])
}
