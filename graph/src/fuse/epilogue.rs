//! Steps on a result before it is stored: bias, residual, activation.

use crate::edit::{Editor, Rewrite, Rule};
use crate::error::GraphError;
use crate::{Attribute, DType, Epilogue, Node, ValueId, schema};
use std::collections::BTreeMap;

pub(super) const RULES: &[Rule] = &[
    Rule { name: "join-bias", ops: &["Add"], apply: bias },
    Rule { name: "join-residual", ops: &["Add"], apply: residual },
    Rule {
        name: "join-activation",
        ops: &["Relu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Gelu", "LeakyRelu", "Elu", "Swish"],
        apply: activation,
    },
    Rule { name: "join-affine", ops: &["Mul", "Add"], apply: affine },
];

/// Operators that take an epilogue.
const BEARERS: &[&str] = &["Conv", "ConvTranspose", "Gemm", "MatMul", "sunmao.MatMulIntegerToFloat"];
/// Most steps on one node.
const STEPS_MAX: usize = 4;

/// The node behind a value that one more step may hang on.
fn bearer<'e>(editor: &'e Editor<'_>, id: ValueId) -> Option<&'e Node> {
    let node = editor.producer(id).filter(|_| editor.is_private(id))?;
    let fits =
        BEARERS.contains(&node.op.as_str()) && node.epilogue.len() < STEPS_MAX && editor.dtype(id) == Some(DType::F32);
    fits.then_some(node)
}

/// Gives the bearer back with one more step; it makes the node's output from now on.
fn hang(
    editor: &mut Editor<'_>,
    node: &Node,
    on: ValueId,
    op: &str,
    operand: Option<ValueId>,
    attributes: BTreeMap<String, Attribute>,
) -> Rewrite {
    let Some(mut bearer) = editor.take_producer(on) else { return Ok(None) };
    if bearer.epilogue.is_empty() {
        // Operands of steps stand behind all of the operator's own, those left out too.
        let own = schema::find(&bearer.op).map_or(bearer.inputs.len(), |schema| schema.inputs.1);
        bearer.inputs.resize(own.max(bearer.inputs.len()), None);
    }
    let input = operand.map(|operand| {
        bearer.inputs.push(Some(operand));
        bearer.inputs.len() - 1
    });
    bearer.epilogue.push(Epilogue { op: op.to_owned(), input, attributes });
    bearer.outputs = vec![node.output(0)];
    Ok(Some(vec![bearer]))
}

/// A vector along the last axis, added to a matrix product.
fn bias(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(left), Some(right), Some(output)) = (node.input(0), node.input(1), node.output(0)) else {
        return Ok(None);
    };
    for (data, constant) in [(left, right), (right, left)] {
        if !editor.value(constant).is_constant()
            || !bearer(editor, data).is_some_and(|bearer| {
                matches!(bearer.op.as_str(), "MatMul" | "sunmao.MatMulIntegerToFloat") && bearer.epilogue.is_empty()
            })
        {
            continue;
        }
        let (Some(shape), Some(vector), true) =
            (editor.concrete(data), editor.concrete(constant), editor.same_shape(data, output))
        else {
            continue;
        };
        let (Some(columns), Some((last, rest))) = (shape.last(), vector.split_last()) else { continue };
        if last == columns && rest.iter().all(|length| *length == 1) {
            let vector = editor.reshaped_constant(constant, &[*columns]);
            return hang(editor, node, data, "bias", Some(vector), BTreeMap::new());
        }
    }
    Ok(None)
}

/// A tensor of the result's shape, added to it.
fn residual(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(left), Some(right), Some(output)) = (node.input(0), node.input(1), node.output(0)) else {
        return Ok(None);
    };
    let free =
        |data: ValueId| bearer(editor, data).is_some_and(|bearer| bearer.epilogue.iter().all(|step| step.op != "add"));
    // Of two candidates the later one: the earlier result is then simply kept until it is added.
    let mut candidates: Vec<(ValueId, ValueId)> = [(left, right), (right, left)]
        .into_iter()
        .filter(|(data, other)| {
            data != other && free(*data) && editor.same_shape(*data, *other) && editor.same_shape(*data, output)
        })
        .collect();
    candidates.sort_by_key(|(data, _)| std::cmp::Reverse(editor.place_of(*data)));
    match candidates.first() {
        Some((data, other)) => hang(editor, node, *data, "add", Some(*other), BTreeMap::new()),
        None => Ok(None),
    }
}

fn activation(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(input), Some(_)) = (node.input(0), node.output(0)) else { return Ok(None) };
    if bearer(editor, input).is_none() {
        return before_reshape(editor, node, input);
    }
    let attributes = match node.op.as_str() {
        "Clip" => match clip_bounds(editor, node)? {
            Some(bounds) => bounds,
            None => return Ok(None),
        },
        _ => node.attributes.clone(),
    };
    hang(editor, node, input, &node.op, None, attributes)
}

/// A number that is multiplied with the result or added to it, when it is the same for all of it: x * alpha + beta. Several in a row are one step.
fn affine(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(left), Some(right), Some(output)) = (node.input(0), node.input(1), node.output(0)) else {
        return Ok(None);
    };
    for (data, constant) in [(left, right), (right, left)] {
        // Masks are made with the largest numbers there are: those are left as they were written.
        let Some(number) = editor.scalar(constant)?.filter(|number| number.abs() < 1e30) else { continue };
        let last = |id: ValueId| bearer_with_last(editor, id);
        let Some((has_room, before)) = last(data).filter(|_| editor.same_shape(data, output)) else { continue };
        let (alpha, beta) = before.unwrap_or((1.0, 0.0));
        let (alpha, beta) = if node.op == "Mul" { (alpha * number, beta * number) } else { (alpha, beta + number) };
        let step = [("alpha", alpha), ("beta", beta)];
        let attributes = step.map(|(key, value)| (key.to_owned(), Attribute::Number(value))).into();
        if before.is_some() {
            let Some(mut bearer) = editor.take_producer(data) else { return Ok(None) };
            if let Some(step) = bearer.epilogue.last_mut() {
                step.attributes = attributes;
            }
            bearer.outputs = vec![Some(output)];
            return Ok(Some(vec![bearer]));
        }
        if has_room {
            return hang(editor, node, data, AFFINE, None, attributes);
        }
    }
    Ok(None)
}

/// The name of the step x * alpha + beta, as recurrent operators name that activation.
const AFFINE: &str = "Affine";

/// For a value whose producer takes steps: whether one more has room, and the numbers of the last one if it is an affine step.
fn bearer_with_last(editor: &Editor<'_>, id: ValueId) -> Option<(bool, Option<(f64, f64)>)> {
    let node = editor.producer(id).filter(|_| editor.is_private(id) && editor.dtype(id) == Some(DType::F32))?;
    if !BEARERS.contains(&node.op.as_str()) {
        return None;
    }
    let number = |step: &Epilogue, key: &str| match step.attributes.get(key) {
        Some(Attribute::Number(value)) => Some(*value),
        _ => None,
    };
    let last = node.epilogue.last().filter(|step| step.op == AFFINE);
    let last = last.and_then(|step| Some((number(step, "alpha")?, number(step, "beta")?)));
    Some((node.epilogue.len() < STEPS_MAX, last))
}

/// An activation of a reshaped result is the reshape of an activated one; the latter can be joined.
fn before_reshape(editor: &mut Editor<'_>, node: &Node, input: ValueId) -> Rewrite {
    let Some(reshape) = editor.producer(input).filter(|view| view.op == "Reshape" && editor.is_private(input)) else {
        return Ok(None);
    };
    let (Some(source), Some(output)) = (editor.input_of(reshape, 0), node.output(0)) else { return Ok(None) };
    if bearer(editor, source).is_none() {
        return Ok(None);
    }
    let Some(mut reshape) = editor.take_producer(input) else { return Ok(None) };
    let activated = editor.computed_as(output, source);
    let mut first = node.clone();
    first.inputs[0] = Some(source);
    first.outputs = vec![Some(activated)];
    reshape.inputs[0] = Some(activated);
    reshape.outputs = vec![Some(output)];
    Ok(Some(vec![first, reshape]))
}

/// The bounds of a Clip as attributes; one that is left out stays out.
fn clip_bounds(editor: &Editor<'_>, node: &Node) -> Result<Option<BTreeMap<String, Attribute>>, GraphError> {
    let mut bounds = BTreeMap::new();
    for (index, key) in [(1, "min"), (2, "max")] {
        if let Some(id) = node.input(index) {
            match editor.scalar(id)? {
                Some(bound) => bounds.insert(key.to_owned(), Attribute::Number(bound)),
                None => return Ok(None),
            };
        }
    }
    Ok(Some(bounds))
}
