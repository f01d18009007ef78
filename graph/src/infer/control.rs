//! Types across the edge of a block: from a node into its branches or its body, and from their results back.

use super::{Fact, Facts, InferError, Scope, run};
use crate::{Attribute, Container, DType, Dim, Graph, Node, Value};
use std::sync::Arc;

pub(super) fn covers(op: &str) -> bool {
    matches!(op, "If" | "Loop" | "Scan" | "sunmao.BatchScan" | "SequenceMap")
}

/// Gives the inputs of a node's blocks their types and infers inside. Blocks know no symbols: a length that a request decides is unknown there.
pub(super) fn infer_blocks(values: &[Value], node: &mut Node) -> Result<(), InferError> {
    let (own, op) = (node.own_inputs(), node.op.clone());
    let given: Vec<Option<Value>> = node.inputs.iter().map(|id| id.map(|id| values[id.index()].clone())).collect();
    let scanned = node.integer("num_scan_inputs").and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    let axes = node.integers("scan_input_axes").map(<[i64]>::to_vec).unwrap_or_default();
    for block in node.blocks_mut() {
        let params = block.inputs.len().saturating_sub(block.captured);
        for (index, id) in block.inputs.clone().into_iter().enumerate() {
            let captured = index.checked_sub(params).and_then(|at| given.get(own + at)?.as_ref());
            let fact = match (captured, op.as_str()) {
                (Some(value), _) => Fact { container: value.container, ..Fact::new(value.dtype, value.shape.clone()) },
                (None, "Loop") => loop_parameter(&given, index),
                (None, "Scan") => scan_parameter(&given[..own.min(given.len())], index, scanned, &axes),
                (None, "sunmao.BatchScan") => typed(given.get(index + 1)),
                (None, "SequenceMap") => typed(given.get(index)),
                _ => Fact::default(),
            };
            let value = &mut block.values[id.index()];
            value.dtype = fact.dtype.or(value.dtype);
            value.shape = match fact.shape {
                // The count and the condition of a loop have one element, some models say of rank 1.
                None if op == "Loop" && index < 2 => {
                    let single = value.concrete().is_some_and(|shape| shape.iter().all(|length| *length == 1));
                    if single { value.shape.take() } else { Some(vec![]) }
                }
                shape => shape.map(|shape| shape.into_iter().map(without_symbol).collect()),
            };
            value.container = fact.container;
        }
        run(block)?;
    }
    Ok(())
}

fn without_symbol(dim: Dim) -> Dim {
    dim.known().map_or(Dim::Unknown, Dim::Known)
}

/// The element type of an outer value; its shape may change from run to run.
fn typed(value: Option<&Option<Value>>) -> Fact {
    Fact::new(value.and_then(Option::as_ref).and_then(|value| value.dtype), None)
}

fn loop_parameter(given: &[Option<Value>], index: usize) -> Fact {
    match index {
        0 => Fact::new(Some(DType::I64), None),
        1 => Fact::new(Some(DType::Bool), None),
        _ => {
            let container =
                given.get(index).and_then(Option::as_ref).map_or(Container::Tensor, |value| value.container);
            Fact { container, ..typed(given.get(index)) }
        }
    }
}

/// States keep their rank; a scanned tensor loses an axis.
fn scan_parameter(given: &[Option<Value>], index: usize, scanned: usize, axes: &[i64]) -> Fact {
    let Some(Some(value)) = given.get(index) else { return Fact::default() };
    let states = given.len().saturating_sub(scanned);
    let shape = match index.checked_sub(states) {
        None => value.shape.as_ref().map(|shape| vec![Dim::Unknown; shape.len()]),
        Some(at) => value.shape.as_ref().and_then(|shape| {
            let axis = super::axis_index(axes.get(at).copied().unwrap_or(0), shape.len()).ok()?;
            Some([&shape[..axis], &shape[axis + 1..]].concat())
        }),
    };
    Fact::new(value.dtype, shape)
}

pub(super) fn infer(scope: &Scope<'_>) -> Facts {
    let outputs = scope.node.outputs.len();
    let block = |key: &str| match scope.node.attributes.get(key) {
        Some(Attribute::Graph(block)) => Some(block.clone()),
        _ => None,
    };
    Ok(match scope.node.op.as_str() {
        "If" => {
            let (yes, no) = (block("then_branch"), block("else_branch"));
            (0..outputs).map(|index| either(result(yes.as_ref(), index), result(no.as_ref(), index))).collect()
        }
        "Loop" => {
            let carried = scope.node.own_inputs().saturating_sub(2);
            let body = block("body");
            let fact = |index: usize| {
                let fact = result(body.as_ref(), index + 1);
                if index < carried { either(fact, entry(scope, index + 2)) } else { stacked(fact, Some(0)) }
            };
            (0..outputs).map(fact).collect()
        }
        "Scan" => {
            let scanned = usize::try_from(scope.attribute("num_scan_inputs", 0)).unwrap_or(0);
            let states = scope.node.own_inputs().saturating_sub(scanned);
            let axes = scope.node.integers("scan_output_axes").unwrap_or_default();
            let body = block("body");
            let fact = |index: usize| {
                let fact = result(body.as_ref(), index);
                match index.checked_sub(states) {
                    None => either(fact, entry(scope, index)),
                    Some(at) => stacked(fact, axes.get(at).copied().or(Some(0))),
                }
            };
            (0..outputs).map(fact).collect()
        }
        "SequenceMap" => {
            let body = block("body");
            (0..outputs)
                .map(|index| Fact { shape: None, container: Container::Sequence, ..result(body.as_ref(), index) })
                .collect()
        }
        // Both axes that the batch and the scan add are in front; a state has the batch's alone.
        _ => {
            let body = block("body");
            (0..outputs).map(|index| Fact { shape: None, ..result(body.as_ref(), index) }).collect()
        }
    })
}

/// What a block's result is. Nothing about the block has been checked when an upgrade asks.
fn result(block: Option<&Arc<Graph>>, index: usize) -> Fact {
    let value = block.and_then(|block| block.values.get(block.outputs.get(index)?.index()));
    let Some(value) = value else { return Fact::default() };
    let shape = value.shape.as_ref().map(|shape| shape.iter().copied().map(without_symbol).collect());
    Fact { container: value.container, ..Fact::new(value.dtype, shape) }
}

fn entry(scope: &Scope<'_>, index: usize) -> Fact {
    let shape = scope.shape(index).map(|shape| shape.iter().copied().map(without_symbol).collect());
    Fact {
        container: scope.value(index).map_or(Container::Tensor, |v| v.container),
        ..Fact::new(scope.dtype(index), shape)
    }
}

/// What holds of both.
fn either(a: Fact, b: Fact) -> Fact {
    let shape = match (a.shape, b.shape) {
        (Some(a), Some(b)) if a.len() == b.len() => {
            Some(a.into_iter().zip(b).map(|(a, b)| if a == b { a } else { Dim::Unknown }).collect())
        }
        _ => None,
    };
    let container = if a.container == Container::Tensor { b.container } else { a.container };
    Fact { container, ..Fact::new(a.dtype.or(b.dtype), shape) }
}

/// One more axis, as long as there are iterations.
fn stacked(fact: Fact, axis: Option<i64>) -> Fact {
    let shape = fact.shape.and_then(|mut shape| {
        let axis = super::axis_index(axis?, shape.len() + 1).ok()?;
        shape.insert(axis, Dim::Unknown);
        Some(shape)
    });
    Fact::new(fact.dtype, shape)
}
