//! Sliding windows with everything spelled out: kernel_shape, strides, dilations, explicit pads.

use super::node_facts::known;
use crate::edit::{Editor, Rewrite, Rule};
use crate::error::GraphError;
use crate::infer::{InferError, PoolGeometry, transpose_pads};
use crate::{Attribute, Dim, Node, schema};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "spell-out-window",
        ops: &["Conv", "ConvInteger", "QLinearConv", "MaxPool", "AveragePool", "LpPool"],
        apply: spell_out,
    },
    Rule { name: "pad-in-convolution", ops: &["Conv"], apply: fold_pad },
    Rule { name: "spell-out-transpose", ops: &["ConvTranspose"], apply: spell_out_transpose },
];

fn refuse(node: &Node, what: String) -> GraphError {
    InferError { node: node.label(), op: node.op.clone(), what, operands: "as before".to_owned() }.into()
}

fn spell_out(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some(shape) = node.input(0).and_then(|id| editor.shape(id)).filter(|shape| shape.len() > 2) else {
        return Ok(None);
    };
    let spatial = shape[2..].to_vec();
    let weight = match node.op.as_str() {
        "Conv" | "ConvInteger" => node.input(1),
        "QLinearConv" => node.input(3),
        _ => None,
    };
    let weight = weight.and_then(|id| editor.shape(id)).and_then(|shape| shape.get(2..)).map(<[Dim]>::to_vec);
    let geometry = PoolGeometry::read(node, spatial.len(), weight.as_deref()).map_err(|what| refuse(node, what))?;
    let Some(geometry) = geometry else { return Ok(None) };
    let Some(resolved) = geometry.resolved(&spatial).map_err(|what| refuse(node, what))? else { return Ok(None) };
    Ok(with_window(node, &resolved).map(|node| vec![node]))
}

/// Zeros that a Pad puts around the picture are the convolution's own padding.
fn fold_pad(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some(input) = node.input(0).filter(|input| editor.is_private(*input)) else { return Ok(None) };
    let Some(pad) =
        editor.producer(input).filter(|pad| pad.op == "Pad" && pad.text("mode") == Some("constant")).cloned()
    else {
        return Ok(None);
    };
    let (Some(source), Some(own), Some("NOTSET")) =
        (editor.input_of(&pad, 0), node.integers("pads"), node.text("auto_pad"))
    else {
        return Ok(None);
    };
    let (Some(amounts), None) = (editor.input_of(&pad, 1), pad.input(3)) else { return Ok(None) };
    if let Some(value) = editor.input_of(&pad, 2)
        && editor.scalar(value)? != Some(0.0)
    {
        return Ok(None);
    }
    let Some(amounts) = editor.integers(amounts)? else { return Ok(None) };
    let rank = own.len() / 2 + 2;
    if amounts.len() != rank * 2
        || amounts.iter().any(|amount| *amount < 0)
        || [0, 1, rank, rank + 1].iter().any(|axis| amounts[*axis] != 0)
    {
        return Ok(None);
    }
    let added = amounts[2..rank].iter().chain(&amounts[rank + 2..]);
    let Some(pads) = own.iter().zip(added).map(|(own, added)| own.checked_add(*added)).collect::<Option<Vec<i64>>>()
    else {
        return Ok(None);
    };
    let mut made = node.clone();
    made.inputs[0] = Some(source);
    made.attributes.insert("pads".to_owned(), Attribute::Integers(pads));
    Ok(Some(vec![made]))
}

/// The node with that window, if that changes it.
fn with_window(node: &Node, window: &PoolGeometry) -> Option<Node> {
    let list = |read: fn(&crate::infer::Spatial) -> u64| {
        window.axes.iter().map(|axis| read(axis) as i64).collect::<Vec<i64>>()
    };
    let mut pads = list(|axis| axis.pad_begin);
    pads.extend(list(|axis| axis.pad_end));
    let mut changed = node.clone();
    let known = schema::find(&node.op)?;
    for (key, values) in [
        ("kernel_shape", list(|axis| axis.kernel)),
        ("strides", list(|axis| axis.stride)),
        ("dilations", list(|axis| axis.dilation)),
        ("pads", pads),
    ] {
        if known.attribute(key).is_some() {
            changed.attributes.insert(key.to_owned(), Attribute::Integers(values));
        }
    }
    changed.attributes.insert("auto_pad".to_owned(), Attribute::Text("NOTSET".to_owned()));
    (changed != *node).then_some(changed)
}

fn spell_out_transpose(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(input), Some(weight), Some(output)) = (node.input(0), node.input(1), node.output(0)) else {
        return Ok(None);
    };
    let (Some(input), Some(weight)) = (editor.shape(input), editor.shape(weight)) else { return Ok(None) };
    if input.len() < 3 || weight.len() != input.len() {
        return Ok(None);
    }
    let (spatial, weight) = (input[2..].to_vec(), weight[2..].to_vec());
    let rank = spatial.len();
    let asks_shape = node.integers("output_shape").is_some_and(|shape| !shape.is_empty());
    let asks_same = node.text("auto_pad").is_some_and(|mode| mode.starts_with("SAME"));
    let mut changed = node.clone();
    if node.integers("output_padding").is_none_or(<[i64]>::is_empty) {
        changed.attributes.insert("output_padding".to_owned(), Attribute::Integers(vec![0; rank]));
    }
    if asks_shape || asks_same {
        let (Some(from), Some(to)) = (known(&spatial), editor.concrete(output)) else { return Ok(None) };
        let pads = transpose_pads(&changed, &from, &to[2..], &weight).map_err(|what| refuse(node, what))?;
        let Some(mut pads) = pads else { return Ok(None) };
        let (begins, ends) = pads.split_at_mut(rank);
        if begins.iter().any(|pad| *pad < 0) {
            return Err(refuse(node, "wants a larger result than its input gives".to_owned()));
        }
        let mut extra = changed.integers("output_padding").unwrap_or_default().to_vec();
        for (end, extra) in ends.iter_mut().zip(&mut extra).filter(|(end, _)| **end < 0) {
            *extra = extra.saturating_sub(*end);
            *end = 0;
        }
        changed.attributes.insert("output_padding".to_owned(), Attribute::Integers(extra));
        changed.attributes.insert("pads".to_owned(), Attribute::Integers(pads));
        changed.attributes.insert("auto_pad".to_owned(), Attribute::Text("NOTSET".to_owned()));
        changed.attributes.remove("output_shape");
    }
    let geometry = PoolGeometry::read(&changed, rank, Some(&weight)).map_err(|what| refuse(node, what))?;
    let Some(geometry) = geometry else { return Ok(None) };
    let Some(resolved) = geometry.resolved(&spatial).map_err(|what| refuse(node, what))? else { return Ok(None) };
    let spelled = with_window(&changed, &resolved).unwrap_or(changed);
    Ok((spelled != *node).then(|| vec![spelled]))
}
