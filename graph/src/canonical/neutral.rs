//! Operators that change nothing.

use super::node_facts::through;
use crate::Node;
use crate::edit::{Editor, Rewrite, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "drop-identity", ops: &["Identity"], apply: drop_always },
    Rule { name: "drop-dropout", ops: &["Dropout"], apply: drop_dropout },
    Rule { name: "drop-cast", ops: &["Cast", "CastLike"], apply: drop_cast },
    Rule { name: "drop-single", ops: &["Concat", "Sum", "Mean", "Max", "Min"], apply: drop_single },
    Rule { name: "drop-split", ops: &["Split"], apply: drop_split },
    Rule { name: "drop-transpose", ops: &["Transpose"], apply: drop_transpose },
    Rule { name: "drop-slice", ops: &["Slice"], apply: drop_slice },
    Rule {
        name: "drop-same-shape",
        ops: &["Expand", "Tile", "Reshape", "Squeeze", "Unsqueeze", "Flatten"],
        apply: drop_same_shape,
    },
    Rule { name: "drop-neutral-constant", ops: &["Mul", "Div", "Sub", "Max", "Min"], apply: drop_neutral },
    Rule { name: "drop-pad", ops: &["Pad"], apply: drop_pad },
];

fn drop_always(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some((input, output)) = through(node) else { return Ok(None) };
    Ok(editor.replace(output, input).then(Vec::new))
}

fn drop_dropout(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    if node.output(1).is_some_and(|mask| editor.uses(mask) > 0) {
        return Ok(None);
    }
    if let Some(training) = node.input(2)
        && editor.integers(training)?.is_none_or(|flag| flag != [0])
    {
        return Ok(None);
    }
    drop_always(editor, node)
}

fn drop_cast(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some((input, output)) = through(node) else { return Ok(None) };
    let same = editor.dtype(input).is_some() && editor.dtype(input) == editor.dtype(output);
    if same { drop_always(editor, node) } else { Ok(None) }
}

fn drop_single(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    if node.inputs.len() == 1 { drop_always(editor, node) } else { Ok(None) }
}

fn drop_split(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    if node.outputs.len() == 1 { drop_always(editor, node) } else { Ok(None) }
}

fn drop_transpose(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    match node.integers("perm") {
        Some(perm) if perm.iter().enumerate().all(|(axis, from)| *from == axis as i64) => drop_always(editor, node),
        _ => Ok(None),
    }
}

fn drop_slice(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some((input, output)) = through(node) else { return Ok(None) };
    // Of full length, and not backwards.
    if !editor.same_shape(input, output) {
        return Ok(None);
    }
    let forwards = match node.input(4) {
        None => true,
        Some(steps) => editor.integers(steps)?.is_some_and(|steps| steps.iter().all(|step| *step > 0)),
    };
    if forwards { drop_always(editor, node) } else { Ok(None) }
}

fn drop_same_shape(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some((input, output)) = through(node) else { return Ok(None) };
    if editor.same_shape(input, output) { drop_always(editor, node) } else { Ok(None) }
}

fn drop_pad(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some(pads) = node.input(1) else { return Ok(None) };
    match editor.integers(pads)? {
        Some(pads) if pads.iter().all(|pad| *pad == 0) => drop_always(editor, node),
        _ => Ok(None),
    }
}

/// Times 1, minus 0, at least -inf: exact for every x. (x + 0 is not: it turns -0 into 0.)
fn drop_neutral(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (&[Some(left), Some(right)], Some(output)) = (node.inputs.as_slice(), node.output(0)) else { return Ok(None) };
    let neutral = match node.op.as_str() {
        "Mul" | "Div" => 1.0,
        "Sub" => 0.0,
        "Max" => f64::NEG_INFINITY,
        _ => f64::INFINITY,
    };
    for (data, constant) in [(left, right), (right, left)] {
        let turns = data == left || matches!(node.op.as_str(), "Mul" | "Max" | "Min");
        if turns && editor.same_rank(data, output) && editor.scalar(constant)? == Some(neutral) {
            return Ok(editor.replace(output, data).then(Vec::new));
        }
    }
    Ok(None)
}
