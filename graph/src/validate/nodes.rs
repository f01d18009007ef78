//! Edges, operators, operand counts, attributes.

use super::{ATTRIBUTES_MAX, GraphErrors, INPUTS_MAX, NAME_BYTES_MAX, OUTPUTS_MAX, Problem};
use crate::schema::{self, Default, LookupError, Schema, VARIADIC};
use crate::text::{clipped, quoted};
use crate::{Attribute, Graph, Node, Role};
use std::collections::BTreeMap;

/// A problem of one node.
pub(crate) fn problem(node: &Node, what: String, remedy: &'static str) -> Problem {
    Problem::Node { node: node.label(), op: clipped(&node.op), what, remedy }
}

const IMPORTER: &str = "the importer is at fault";

/// Every number exists, every value has one producer, and what is used is made by somebody.
pub(super) fn check_edges(graph: &Graph, errors: &mut GraphErrors) {
    let mut produced = vec![false; graph.values.len()];
    for node in &graph.nodes {
        if node.name.len() > NAME_BYTES_MAX || node.op.len() > NAME_BYTES_MAX {
            errors.push(problem(node, "has too long a name".to_owned(), "names have at most 4096 bytes"));
        }
        for (what, count, limit) in [
            ("inputs", node.inputs.len(), INPUTS_MAX),
            ("outputs", node.outputs.len(), OUTPUTS_MAX),
            ("attributes", node.attributes.len(), ATTRIBUTES_MAX),
        ] {
            if count > limit {
                errors.push(problem(node, format!("has {count} {what}, more than {limit}"), "split the node"));
            }
        }
        if !node.epilogue.is_empty() {
            errors.push(problem(node, "has an epilogue".to_owned(), IMPORTER));
        }
        for output in node.outputs.iter().flatten() {
            match graph.values.get(output.index()) {
                None => errors.push(problem(
                    node,
                    format!("makes value number {}, which does not exist", output.0),
                    IMPORTER,
                )),
                Some(value) if value.role != Role::Computed => {
                    let what = format!("makes {}, which is an input or a constant", quoted(&value.name));
                    errors.push(problem(node, what, "the file is damaged"));
                }
                Some(value) if std::mem::replace(&mut produced[output.index()], true) => {
                    let what = format!("makes {}, which another node makes too", quoted(&value.name));
                    errors.push(problem(node, what, "the file is damaged"));
                }
                Some(_) => {}
            }
        }
    }
    let dangling = |id: &crate::ValueId| match graph.values.get(id.index()) {
        None => Some(format!("value number {}, which does not exist", id.0)),
        Some(value) if value.role == Role::Computed && !produced[id.index()] => {
            Some(format!("{}, which no node makes", quoted(&value.name)))
        }
        Some(_) => None,
    };
    for node in &graph.nodes {
        for what in node.inputs.iter().flatten().filter_map(dangling) {
            errors.push(problem(node, format!("uses {what}"), "the file is damaged"));
        }
        for (key, attribute) in &node.attributes {
            if let Attribute::Value(id) = attribute
                && !graph.values.get(id.index()).is_some_and(crate::Value::is_constant)
            {
                let what = format!("has an attribute {} that is not a constant of the graph", quoted(key));
                errors.push(problem(node, what, IMPORTER));
            }
        }
    }
    for what in graph.outputs.iter().filter(|id| id.index() < graph.values.len()).filter_map(dangling) {
        errors.push(Problem::Value {
            value: "output".to_owned(),
            what: format!("is {what}"),
            remedy: "the file is damaged",
        });
    }
}

/// A node without a name gets that of its first result, so that messages can name it.
pub(super) fn name_unnamed(graph: &mut Graph) {
    let Graph { nodes, values, .. } = graph;
    for node in nodes.iter_mut().filter(|node| node.name.is_empty()) {
        if let Some(output) = node.outputs.iter().flatten().next() {
            node.name.clone_from(&values[output.index()].name);
        }
    }
}

/// Lists every operator that is not known, all at once.
pub(super) fn check_operators(graph: &Graph, errors: &mut GraphErrors) {
    let mut unknown = BTreeMap::<(String, String), (usize, Vec<String>)>::new();
    let mut opsets = BTreeMap::<u16, usize>::new();
    for node in &graph.nodes {
        let why = match schema::lookup(&node.op, node.revision) {
            Ok(_) => continue,
            Err(LookupError::Opset { opset }) => {
                *opsets.entry(opset).or_default() += 1;
                continue;
            }
            Err(LookupError::Unknown { .. }) => "is unknown".to_owned(),
            Err(LookupError::TooNew { since, opset, .. }) => {
                format!("came with opset {since} and the model says {opset}")
            }
        };
        let (count, nodes) = unknown.entry((node.op.clone(), why)).or_default();
        *count += 1;
        if nodes.len() < 8 {
            nodes.push(node.label());
        }
    }
    for (opset, count) in opsets {
        errors.push(Problem::Opset { opset, count });
    }
    for ((op, why), (count, nodes)) in unknown {
        let more = if count > nodes.len() { ", ..." } else { "" };
        let remedy = if op.contains('.') {
            "export the model with standard ONNX operators only (for ONNX Runtime: without its graph optimisations)"
        } else {
            "export the model without it, or with an opset that has it"
        };
        errors.push(Problem::Operator {
            op: quoted(&op),
            why,
            count,
            nodes: format!("{}{more}", nodes.join(", ")),
            remedy,
        });
    }
}

/// Brings a node of canonical form to completion: counts checked, attributes checked and defaults filled in, revision set.
pub(crate) fn complete(node: &mut Node, schema: &Schema) -> Result<(), Problem> {
    // Inputs and outputs left out at the end are as good as not there.
    while node.inputs.last() == Some(&None) {
        node.inputs.pop();
    }
    while node.outputs.len() > schema.outputs.0 && node.outputs.last() == Some(&None) {
        node.outputs.pop();
    }
    let bound = |(least, most): (usize, usize)| match most {
        VARIADIC => format!("at least {least}"),
        _ if least == most => least.to_string(),
        _ => format!("{least} to {most}"),
    };
    for (what, count, limits) in
        [("inputs", node.inputs.len(), schema.inputs), ("outputs", node.outputs.len(), schema.outputs)]
    {
        if count < limits.0 || count > limits.1 {
            let what = format!("has {count} {what}, its operator takes {}", bound(limits));
            return Err(problem(node, what, "the file is damaged or its opset is wrong"));
        }
    }
    let needed = if schema.inputs.1 == VARIADIC { node.inputs.len() } else { schema.inputs.0 };
    if let Some(missing) = node.inputs[..needed].iter().position(Option::is_none) {
        return Err(problem(node, format!("leaves out input {missing}, which is not optional"), "the file is damaged"));
    }
    for (key, attribute) in &node.attributes {
        match schema.attribute(key) {
            None => {
                let known: Vec<&str> = schema.attributes.iter().map(|known| known.name).collect();
                let known =
                    if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
                let what = format!("has an attribute {} that its operator does not have ({known})", quoted(key));
                return Err(problem(node, what, "export the model anew, or correct the opset"));
            }
            Some(known) if !known.kind.admits(attribute) => {
                let what = format!("has an attribute {} that is not of the type {:?}", quoted(key), known.kind);
                return Err(problem(node, what, "the file is damaged"));
            }
            Some(_) => {}
        }
    }
    for known in schema.attributes {
        if node.attributes.contains_key(known.name) {
            continue;
        }
        match known.filled() {
            Some(default) => {
                node.attributes.insert(known.name.to_owned(), default);
            }
            None if known.default == Default::Required => {
                return Err(problem(node, format!("lacks the attribute `{}`", known.name), "the file is damaged"));
            }
            None => {}
        }
    }
    node.revision = schema.canonical;
    Ok(())
}
