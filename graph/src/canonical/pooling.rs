//! Pools over the whole picture are pools with a window of its size.

use super::node_facts::{known, through};
use crate::edit::{Editor, Rewrite, Rule};
use crate::{Attribute, Node};

pub(super) const RULES: &[Rule] = &[Rule {
    name: "global-pool-to-pool",
    ops: &["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"],
    apply: global_to_window,
}];

fn global_to_window(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some((input, output)) = through(node) else { return Ok(None) };
    let Some(shape) = editor.shape(input).filter(|shape| shape.len() > 2) else { return Ok(None) };
    let Some(window) = known(&shape[2..]).filter(|window| !window.contains(&0)) else { return Ok(None) };
    let rank = window.len();
    let window: Vec<i64> = window.iter().map(|length| *length as i64).collect();
    let op = node.op.trim_start_matches("Global");
    let mut attributes = vec![
        ("kernel_shape", Attribute::Integers(window)),
        ("strides", Attribute::Integers(vec![1; rank])),
        ("dilations", Attribute::Integers(vec![1; rank])),
        ("pads", Attribute::Integers(vec![0; rank * 2])),
    ];
    if let Some(p) = node.integer("p") {
        attributes.push(("p", Attribute::Integer(p)));
    }
    let made = editor.node(node, op, &[Some(input)], &[Some(output)], &attributes);
    Ok(Some(vec![made]))
}
