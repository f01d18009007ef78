//! Puts the lengths of a request in the place of symbols.

use crate::infer::{self, InferError};
use crate::text::{quoted, shape_text};
use crate::{Dim, Graph, ValueId};

/// Why a graph cannot be made concrete.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum SpecialiseError {
    #[error("value number {0} is not an input of the model")]
    NotAnInput(u32),
    #[error("input {input} got no shape; give one for {expected}")]
    Missing { input: String, expected: String },
    #[error("input {input} got the shape {got:?}, which has {} axes; the model takes {expected}", got.len())]
    Rank { input: String, expected: String, got: Vec<u64> },
    #[error("input {input} got the shape {got:?}; axis {axis} must be {wanted}, the model takes {expected}")]
    Length { input: String, axis: usize, wanted: u64, expected: String, got: Vec<u64> },
    #[error(
        "input {input} got the shape {got:?}; axis {axis} ({symbol}) must be {wanted}, as in {before}, where it got that length"
    )]
    Inconsistent { input: String, axis: usize, symbol: String, wanted: u64, before: String, got: Vec<u64> },
    #[error("input {input} got the shape {got:?}; axis {axis} ({symbol}) must be {wanted}")]
    Bounds { input: String, axis: usize, symbol: String, wanted: String, got: Vec<u64> },
    #[error("input {input} got the shape {got:?}, which {what}")]
    TooLarge { input: String, got: Vec<u64>, what: String },
    #[error(transparent)]
    Infer(#[from] InferError),
    #[error(
        "node {node} ({op}) makes {result}, whose shape depends on the data; only models with shapes that follow from the inputs' shapes run so far"
    )]
    DataDependent { node: String, op: String, result: String },
}

/// The graph at those input shapes, every shape known.
pub fn specialise(graph: &Graph, shapes: &[(ValueId, Vec<u64>)]) -> Result<Graph, SpecialiseError> {
    let mut graph = bind(graph, shapes)?;
    infer::infer(&mut graph)?;
    check_concrete(&graph)?;
    Ok(graph)
}

/// Replaces symbols everywhere; shapes of computed values are left to inference.
pub(crate) fn bind(graph: &Graph, shapes: &[(ValueId, Vec<u64>)]) -> Result<Graph, SpecialiseError> {
    if let Some((stranger, _)) = shapes.iter().find(|(id, _)| !graph.inputs.contains(id)) {
        return Err(SpecialiseError::NotAnInput(stranger.0));
    }
    // By symbol: its length, and the input that gave it.
    let mut lengths: Vec<Option<(u64, ValueId)>> = vec![None; graph.symbols.len()];
    let mut bound = graph.clone();
    for id in &graph.inputs {
        let value = graph.value(*id);
        let name = || quoted(&value.name);
        let expected =
            || value.shape.as_ref().map_or("any shape".to_owned(), |shape| shape_text(shape, &graph.symbols));
        let Some((_, got)) = shapes.iter().find(|(given, _)| given == id) else {
            if value.concrete().is_some() {
                continue;
            }
            return Err(SpecialiseError::Missing { input: name(), expected: expected() });
        };
        let got: Vec<u64> = got.clone();
        if let Some(shape) = &value.shape {
            if shape.len() != got.len() {
                return Err(SpecialiseError::Rank { input: name(), expected: expected(), got });
            }
            for (axis, (dim, length)) in shape.iter().zip(got.iter().copied()).enumerate() {
                match *dim {
                    Dim::Unknown => {}
                    Dim::Known(wanted) if wanted == length => {}
                    Dim::Known(wanted) => {
                        return Err(SpecialiseError::Length { input: name(), axis, wanted, expected: expected(), got });
                    }
                    Dim::Symbol(symbol) => {
                        let place = &mut lengths[symbol.index()];
                        let symbol = &graph.symbols[symbol.index()];
                        match *place {
                            Some((wanted, before)) if wanted != length => {
                                return Err(SpecialiseError::Inconsistent {
                                    input: name(),
                                    axis,
                                    symbol: quoted(&symbol.name),
                                    wanted,
                                    before: quoted(&graph.value(before).name),
                                    got,
                                });
                            }
                            _ => *place = Some((length, *id)),
                        }
                        if let Some(wanted) = outside(symbol, length) {
                            return Err(SpecialiseError::Bounds {
                                input: name(),
                                axis,
                                symbol: quoted(&symbol.name),
                                wanted,
                                got,
                            });
                        }
                    }
                }
            }
        }
        let concrete: Vec<Dim> = got.iter().map(|length| Dim::Known(*length)).collect();
        if let Err(what) = infer::check_shape(Some(&concrete)) {
            return Err(SpecialiseError::TooLarge { input: name(), got, what });
        }
        bound.values[id.index()].shape = Some(concrete);
    }
    for dim in bound.values.iter_mut().flat_map(|value| value.shape.iter_mut().flatten()) {
        if let Dim::Symbol(symbol) = dim {
            // A symbol that no input carries cannot be settled here; inference will not need it.
            *dim = lengths[symbol.index()].map_or(Dim::Unknown, |(length, _)| Dim::Known(length));
        }
    }
    bound.symbols.clear();
    Ok(bound)
}

fn outside(symbol: &crate::Symbol, length: u64) -> Option<String> {
    if length < symbol.min || length > symbol.max {
        return Some(match symbol.max {
            u64::MAX => format!("at least {}", symbol.min),
            max => format!("between {} and {max}", symbol.min),
        });
    }
    (!length.is_multiple_of(symbol.multiple_of.max(1))).then(|| format!("a multiple of {}", symbol.multiple_of))
}

/// Every result of every node has a type and a shape of numbers; names the first that has not.
pub(crate) fn check_concrete(graph: &Graph) -> Result<(), SpecialiseError> {
    for node in &graph.nodes {
        for id in node.outputs.iter().flatten() {
            let value = graph.value(*id);
            if value.dtype.is_none() || value.concrete().is_none() {
                return Err(SpecialiseError::DataDependent {
                    node: node.label(),
                    op: node.op.clone(),
                    result: quoted(&value.name),
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
