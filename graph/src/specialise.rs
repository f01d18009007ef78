//! Puts the lengths of a request in the place of symbols, and its elements in the place of inputs that decide shapes.

use crate::deciding::CONTENT_BYTES_MAX;
use crate::infer::{self, InferError};
use crate::text::{quoted, shape_text};
use crate::{Content, DType, Dim, Graph, Role, ValueId};
use std::sync::Arc;

/// What a request brings for one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The input.
    pub input: ValueId,
    /// Its element type; none: as the graph says.
    pub dtype: Option<DType>,
    /// Lengths of its axes.
    pub shape: Vec<u64>,
    /// Its elements, where they decide shapes: the input becomes a constant and is no input any more.
    pub content: Option<Arc<[u8]>>,
}

impl Binding {
    /// An input of the type that the graph says, whose elements come later.
    pub fn shape(input: ValueId, shape: Vec<u64>) -> Self {
        Binding { input, dtype: None, shape, content: None }
    }
}

/// Why a graph cannot be made concrete.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum SpecialiseError {
    #[error("value number {0} is not an input of the model")]
    NotAnInput(u32),
    #[error("input {input} is {got}, the model takes {expected}")]
    Type { input: String, expected: DType, got: DType },
    #[error("input {input} decides shapes by its content, which has {got} bytes; {wanted}")]
    Content { input: String, got: usize, wanted: String },
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
        "node {node} ({op}) makes {result}, whose type or shape follows neither from shapes nor from the small inputs that decide them; no rule of this host knows it"
    )]
    DataDependent { node: String, op: String, result: String },
}

/// The graph at those inputs, every shape known.
pub fn specialise(graph: &Graph, bindings: &[Binding]) -> Result<Graph, SpecialiseError> {
    let mut graph = bind(graph, bindings)?;
    infer::infer(&mut graph)?;
    check_concrete(&graph)?;
    Ok(graph)
}

/// Replaces symbols everywhere; shapes of computed values are left to inference.
pub(crate) fn bind(graph: &Graph, bindings: &[Binding]) -> Result<Graph, SpecialiseError> {
    if let Some(stranger) = bindings.iter().find(|binding| !graph.inputs.contains(&binding.input)) {
        return Err(SpecialiseError::NotAnInput(stranger.input.0));
    }
    // By symbol: its length, and the input that gave it.
    let mut lengths: Vec<Option<(u64, ValueId)>> = vec![None; graph.symbols.len()];
    let mut bound = graph.clone();
    for id in &graph.inputs {
        let value = graph.value(*id);
        let name = || quoted(&value.name);
        let expected =
            || value.shape.as_ref().map_or("any shape".to_owned(), |shape| shape_text(shape, &graph.symbols));
        let Some(binding) = bindings.iter().find(|binding| binding.input == *id) else {
            if value.concrete().is_some() {
                continue;
            }
            return Err(SpecialiseError::Missing { input: name(), expected: expected() });
        };
        let got: Vec<u64> = binding.shape.clone();
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
        bind_type(&mut bound, binding)?;
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

/// Puts the element type in, and the elements where they are given.
fn bind_type(bound: &mut Graph, binding: &Binding) -> Result<(), SpecialiseError> {
    let value = &mut bound.values[binding.input.index()];
    if let Some(got) = binding.dtype {
        match value.dtype {
            Some(expected) if expected != got => {
                return Err(SpecialiseError::Type { input: quoted(&value.name), expected, got });
            }
            _ => value.dtype = Some(got),
        }
    }
    let Some(content) = &binding.content else { return Ok(()) };
    let refuse = |wanted: String| SpecialiseError::Content { input: quoted(&value.name), got: content.len(), wanted };
    if content.len() as u64 > CONTENT_BYTES_MAX {
        return Err(refuse(format!("at most {CONTENT_BYTES_MAX} are taken")));
    }
    let expected = crate::tensor::elements(&binding.shape).and_then(|count| value.dtype?.bytes(count));
    if expected != Some(content.len() as u64) {
        return Err(refuse(format!("its shape {:?} takes {}", binding.shape, expected.unwrap_or_default())));
    }
    value.role = Role::Constant(Content::Bytes(content.clone()));
    bound.inputs.retain(|input| *input != binding.input);
    Ok(())
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
