//! Operators that a model wrote out in smaller ones: LayerNormalization, Gelu, HardSwish, Swish.
//!
//! Found before anything else is rewritten, and before shapes are numbers: the other factors are single elements, so equal ranks are equal shapes.

use crate::edit::{Editor, Rewrite, Rule};
use crate::error::GraphError;
use crate::{Attribute, DType, Node, ValueId};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "layer-normalization", ops: &["Mul"], apply: layer_normalization },
    Rule { name: "layer-normalization-shift", ops: &["Add"], apply: layer_normalization_shift },
    Rule { name: "gelu", ops: &["Mul"], apply: gelu },
    Rule { name: "hard-swish", ops: &["Mul", "Div"], apply: hard_swish },
    Rule { name: "swish", ops: &["Mul"], apply: swish },
];

/// Two numbers that are one when rounded to f32, or differ in its last bits: exporters write constants with 7 to 9 digits.
fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * b.abs().max(1e-30)
}

/// The two inputs of a node, in both orders.
pub(super) fn both_ways(node: &Node) -> [(Option<ValueId>, Option<ValueId>); 2] {
    [(node.input(0), node.input(1)), (node.input(1), node.input(0))]
}

/// An input made by `op`.
pub(super) fn made_by<'e>(editor: &'e Editor<'_>, id: ValueId, op: &str) -> Option<&'e Node> {
    editor.producer(id).filter(|node| node.op == op)
}

pub(super) fn inputs(editor: &Editor<'_>, node: &Node) -> Option<(ValueId, ValueId)> {
    Some((editor.input_of(node, 0)?, editor.input_of(node, 1)?))
}

/// A node of that operator with a constant of one element on one side: the other side, and the constant.
pub(super) fn with_scalar(editor: &Editor<'_>, id: ValueId, op: &str) -> Result<Option<(ValueId, f64)>, GraphError> {
    let Some(node) = made_by(editor, id, op) else { return Ok(None) };
    let Some((left, right)) = inputs(editor, node) else { return Ok(None) };
    if let Some(number) = editor.scalar(right)? {
        return Ok(Some((left, number)));
    }
    let turns = matches!(op, "Add" | "Mul");
    Ok(if turns { editor.scalar(left)?.map(|number| (right, number)) } else { None })
}

/// ReduceMean over the last axis, which stays with length 1: what is reduced.
pub(super) fn mean_of_rows(editor: &Editor<'_>, id: ValueId) -> Result<Option<ValueId>, GraphError> {
    let Some(node) = made_by(editor, id, "ReduceMean") else { return Ok(None) };
    let (Some(source), Some(axes)) = (editor.input_of(node, 0), editor.input_of(node, 1)) else { return Ok(None) };
    let Some(rank) = editor.shape(source).map(<[_]>::len) else { return Ok(None) };
    let last = editor.integers(axes)?.is_some_and(|axes| axes == [-1] || axes == [rank as i64 - 1]);
    Ok((last && node.integer("keepdims") == Some(1)).then_some(source))
}

/// (x - mean(x)) / sqrt(mean((x - mean(x))^2) + epsilon) * scale.
fn layer_normalization(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some(output) = node.output(0) else { return Ok(None) };
    for (normal, scale) in both_ways(node) {
        let (Some(normal), Some(scale)) = (normal, scale) else { continue };
        let Some((x, epsilon)) = normalised(editor, normal)? else { continue };
        let Some(scale) = row_constant(editor, scale, x) else { continue };
        let made = editor.node(
            node,
            "LayerNormalization",
            &[Some(x), Some(scale)],
            &[Some(output)],
            &[("axis", Attribute::Integer(-1)), ("epsilon", Attribute::Number(epsilon))],
        );
        return Ok(Some(vec![made]));
    }
    Ok(None)
}

fn normalised(editor: &Editor<'_>, id: ValueId) -> Result<Option<(ValueId, f64)>, GraphError> {
    let Some(division) = made_by(editor, id, "Div") else { return Ok(None) };
    let Some((distance, deviation)) = inputs(editor, division) else { return Ok(None) };
    let Some(root) = made_by(editor, deviation, "Sqrt") else { return Ok(None) };
    let Some((variance, epsilon)) = (match editor.input_of(root, 0) {
        Some(sum) => with_scalar(editor, sum, "Add")?,
        None => None,
    }) else {
        return Ok(None);
    };
    let Some(squares) = mean_of_rows(editor, variance)? else { return Ok(None) };
    let squared = match editor.producer(squares) {
        Some(square) if square.op == "Mul" => {
            inputs(editor, square).is_some_and(|(a, b)| a == b && same_distance(editor, a, distance))
        }
        Some(square) if square.op == "Pow" => {
            let (base, exponent) = (editor.input_of(square, 0), editor.input_of(square, 1));
            match (base, exponent) {
                (Some(base), Some(exponent)) => {
                    same_distance(editor, base, distance) && editor.single_number(exponent)? == Some(2.0)
                }
                _ => false,
            }
        }
        _ => false,
    };
    if !squared {
        return Ok(None);
    }
    let Some((x, mean)) = made_by(editor, distance, "Sub").and_then(|sub| inputs(editor, sub)) else { return Ok(None) };
    let fits = mean_of_rows(editor, mean)? == Some(x) && editor.dtype(x) == Some(DType::F32) && epsilon > 0.0;
    Ok(fits.then_some((x, epsilon)))
}

/// The same value, or the same difference computed twice.
fn same_distance(editor: &Editor<'_>, a: ValueId, b: ValueId) -> bool {
    if a == b {
        return true;
    }
    match (made_by(editor, a, "Sub"), made_by(editor, b, "Sub")) {
        (Some(first), Some(second)) => {
            inputs(editor, first).is_some() && inputs(editor, first) == inputs(editor, second)
        }
        _ => false,
    }
}

/// A constant with one element for each element of a row of `x`, as a vector.
pub(super) fn row_constant(editor: &mut Editor<'_>, constant: ValueId, x: ValueId) -> Option<ValueId> {
    let row = editor.shape(x)?.last()?.known()?;
    let shape = editor.value(constant).is_constant().then(|| editor.concrete(constant)).flatten()?;
    let rank = editor.shape(x)?.len();
    let (last, rest) = shape.split_last()?;
    let fits = shape.len() <= rank && *last == row && rest.iter().all(|length| *length == 1);
    fits.then(|| editor.reshaped_constant(constant, &[row]))
}

fn layer_normalization_shift(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some(output) = node.output(0) else { return Ok(None) };
    for (normal, shift) in both_ways(node) {
        let (Some(normal), Some(shift)) = (normal, shift) else { continue };
        let Some(layer) = made_by(editor, normal, "LayerNormalization").filter(|_| editor.is_private(normal)) else {
            continue;
        };
        if layer.inputs.len() != 2 || layer.outputs.len() != 1 || !editor.same_rank(normal, output) {
            continue;
        }
        let axis = layer.integer("axis");
        let Some(x) = editor.input_of(layer, 0) else { continue };
        let rank = editor.shape(x).map(|shape| shape.len() as i64);
        if axis != Some(-1) && axis.map(|axis| axis + 1) != rank {
            continue;
        }
        let Some(shift) = row_constant(editor, shift, x) else { continue };
        let Some(mut layer) = editor.take_producer(normal) else { continue };
        layer.inputs.push(Some(shift));
        layer.outputs = vec![Some(output)];
        return Ok(Some(vec![layer]));
    }
    Ok(None)
}

/// x * 0.5 * (1 + erf(x / sqrt 2)), or its tanh form, the product taken in any order.
fn gelu(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(left), Some(right), Some(output)) = (node.input(0), node.input(1), node.output(0)) else {
        return Ok(None);
    };
    // All factors of the product, two levels deep.
    let mut factors = vec![];
    let mut half = 1.0;
    for side in [left, right] {
        if let Some(number) = editor.scalar(side)? {
            half *= number;
            continue;
        }
        match made_by(editor, side, "Mul").filter(|_| editor.is_private(side)).and_then(|mul| inputs(editor, mul)) {
            Some((a, b)) => {
                for part in [a, b] {
                    match editor.scalar(part)? {
                        Some(number) => half *= number,
                        None => factors.push(part),
                    }
                }
            }
            None => factors.push(side),
        }
    }
    let &[a, b] = factors.as_slice() else { return Ok(None) };
    if half != 0.5 {
        return Ok(None);
    }
    for (x, gate) in [(a, b), (b, a)] {
        let Some((erf, one)) = with_scalar(editor, gate, "Add")? else { continue };
        if one != 1.0 || !editor.is_private(gate) {
            continue;
        }
        if let Some(inner) = made_by(editor, erf, "Tanh").and_then(|tanh| editor.input_of(tanh, 0)) {
            if is_tanh_argument(editor, x, inner)? && editor.dtype(x) == Some(DType::F32) && editor.same_rank(x, output)
            {
                let tanh = [("approximate", Attribute::Text("tanh".to_owned()))];
                let made = editor.node(node, "Gelu", &[Some(x)], &[Some(output)], &tanh);
                return Ok(Some(vec![made]));
            }
            continue;
        }
        let Some(inner) = made_by(editor, erf, "Erf").and_then(|erf| editor.input_of(erf, 0)) else { continue };
        let scaled = match with_scalar(editor, inner, "Div")? {
            Some((source, divisor)) => source == x && close(divisor, std::f64::consts::SQRT_2),
            None => with_scalar(editor, inner, "Mul")?
                .is_some_and(|(source, factor)| source == x && close(factor, std::f64::consts::FRAC_1_SQRT_2)),
        };
        if scaled && editor.dtype(x) == Some(DType::F32) && editor.same_rank(x, output) {
            let made = editor.node(
                node,
                "Gelu",
                &[Some(x)],
                &[Some(output)],
                &[("approximate", Attribute::Text("none".to_owned()))],
            );
            return Ok(Some(vec![made]));
        }
    }
    Ok(None)
}

/// sqrt(2 / pi) * (x + 0.044715 * x^3).
fn is_tanh_argument(editor: &Editor<'_>, x: ValueId, argument: ValueId) -> Result<bool, GraphError> {
    let Some((sum, factor)) = with_scalar(editor, argument, "Mul")? else { return Ok(false) };
    if !close(factor, (2.0 / std::f64::consts::PI).sqrt()) {
        return Ok(false);
    }
    let Some((a, b)) = made_by(editor, sum, "Add").and_then(|add| inputs(editor, add)) else { return Ok(false) };
    let cube = if a == x { b } else { a };
    if a != x && b != x {
        return Ok(false);
    }
    // The factors of the product, in whatever order they were multiplied.
    let (mut open, mut powers, mut number) = (vec![cube], 0, 1.0);
    while let Some(part) = open.pop() {
        if part == x {
            powers += 1;
        } else if let Some(scalar) = editor.scalar(part)? {
            number *= scalar;
        } else if let Some(product) =
            made_by(editor, part, "Mul").and_then(|mul| inputs(editor, mul)).filter(|_| open.len() < 4)
        {
            open.extend([product.0, product.1]);
        } else if let Some(power) = made_by(editor, part, "Pow") {
            match (editor.input_of(power, 0), editor.input_of(power, 1)) {
                (Some(base), Some(exponent)) if base == x && editor.single_number(exponent)? == Some(3.0) => {
                    powers += 3
                }
                _ => return Ok(false),
            }
        } else {
            return Ok(false);
        }
        if powers > 3 {
            return Ok(false);
        }
    }
    Ok(powers == 3 && close(number, 0.044715))
}

/// x * HardSigmoid(x, 1/6, 1/2), x * clip(x + 3, 0, 6) / 6 and x * (clip(x + 3, 0, 6) / 6).
fn hard_swish(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(left), Some(right), Some(output)) = (node.input(0), node.input(1), node.output(0)) else {
        return Ok(None);
    };
    let mut found = None;
    if node.op == "Mul" {
        for (x, gate) in [(left, right), (right, left)] {
            if is_hard_gate(editor, x, gate)? {
                found = Some(x);
            }
        }
    }
    // (x * clip(..)) / 6, or times 1/6.
    if found.is_none() {
        let sixth = if node.op == "Div" {
            editor.scalar(right)?.filter(|number| *number == 6.0).map(|_| left)
        } else {
            match (editor.scalar(left)?, editor.scalar(right)?) {
                (None, Some(number)) if close(number, 1.0 / 6.0) => Some(left),
                (Some(number), None) if close(number, 1.0 / 6.0) => Some(right),
                _ => None,
            }
        };
        if let Some(product) = sixth
            && editor.is_private(product)
            && let Some((a, b)) = made_by(editor, product, "Mul").and_then(|mul| inputs(editor, mul))
        {
            for (x, clip) in [(a, b), (b, a)] {
                if is_clip_of_six(editor, x, clip)? {
                    found = Some(x);
                }
            }
        }
    }
    match found {
        Some(x) if editor.dtype(x) == Some(DType::F32) && editor.same_rank(x, output) => {
            let made = editor.node(node, "HardSwish", &[Some(x)], &[Some(output)], &[]);
            Ok(Some(vec![made]))
        }
        _ => Ok(None),
    }
}

fn is_hard_gate(editor: &Editor<'_>, x: ValueId, gate: ValueId) -> Result<bool, GraphError> {
    if !editor.is_private(gate) {
        return Ok(false);
    }
    if let Some(sigmoid) = made_by(editor, gate, "HardSigmoid") {
        let number = |key: &str, wanted: f64| sigmoid.number(key).is_some_and(|number| close(number, wanted));
        return Ok(editor.input_of(sigmoid, 0) == Some(x) && number("alpha", 1.0 / 6.0) && number("beta", 0.5));
    }
    let clip = match with_scalar(editor, gate, "Div")? {
        Some((clip, 6.0)) => Some(clip),
        _ => with_scalar(editor, gate, "Mul")?.filter(|(_, factor)| close(*factor, 1.0 / 6.0)).map(|(clip, _)| clip),
    };
    match clip {
        Some(clip) => is_clip_of_six(editor, x, clip),
        None => Ok(false),
    }
}

/// clip(x + 3, 0, 6), or the minimum of 6 and a Relu.
fn is_clip_of_six(editor: &Editor<'_>, x: ValueId, clip: ValueId) -> Result<bool, GraphError> {
    let Some(node) = made_by(editor, clip, "Clip").filter(|_| editor.is_private(clip)) else { return Ok(false) };
    for (index, wanted) in [(1, 0.0), (2, 6.0)] {
        match editor.input_of(node, index) {
            Some(bound) if editor.scalar(bound)? == Some(wanted) => {}
            _ => return Ok(false),
        }
    }
    match editor.input_of(node, 0) {
        Some(sum) => Ok(with_scalar(editor, sum, "Add")? == Some((x, 3.0))),
        None => Ok(false),
    }
}

/// x * sigmoid(x), or x * sigmoid(alpha * x).
fn swish(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some(output) = node.output(0) else { return Ok(None) };
    for (x, gate) in both_ways(node) {
        let (Some(x), Some(gate)) = (x, gate) else { continue };
        let Some(sigmoid) = made_by(editor, gate, "Sigmoid").filter(|_| editor.is_private(gate)) else { continue };
        let Some(inner) = editor.input_of(sigmoid, 0) else { continue };
        let alpha = if inner == x {
            Some(1.0)
        } else {
            with_scalar(editor, inner, "Mul")?
                .filter(|(source, _)| *source == x && editor.is_private(inner))
                .map(|(_, alpha)| alpha)
        };
        if let Some(alpha) = alpha.filter(|_| editor.dtype(x) == Some(DType::F32) && editor.same_rank(x, output)) {
            let made = editor.node(node, "Swish", &[Some(x)], &[Some(output)], &[("alpha", Attribute::Number(alpha))]);
            return Ok(Some(vec![made]));
        }
    }
    Ok(None)
}
