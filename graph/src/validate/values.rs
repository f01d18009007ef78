//! Symbols, values, and what the graph takes and gives.

use super::{GraphErrors, NAME_BYTES_MAX, Problem, RANK_MAX};
use crate::infer::{AXIS_MAX, check_shape};
use crate::tensor::read_strings;
use crate::text::quoted;
use crate::{Container, Content, DType, Dim, Graph, Role, Value, ValueId, Weight};
use std::collections::HashSet;

/// `is_block`: the types of its inputs come from the graph around it, and a result may be listed where it is an input.
pub(super) fn check(graph: &mut Graph, is_block: bool, errors: &mut GraphErrors) {
    symbols(graph, errors);
    let mut names = HashSet::with_capacity(graph.values.len());
    for value in &graph.values {
        let mut complain = |what: String, remedy: &'static str| {
            errors.push(Problem::Value { value: quoted(&value.name), what, remedy });
        };
        if value.name.is_empty() || value.name.len() > NAME_BYTES_MAX {
            complain(format!("has a name of {} bytes", value.name.len()), "names have 1 to 4096 bytes");
        } else if !names.insert(value.name.as_str()) {
            complain("has the name of another one".to_owned(), "names are unique in a model");
        }
        if let Some((what, remedy)) = check_value(value, graph.symbols.len(), is_block) {
            complain(what, remedy);
        }
    }
    drop(names);
    interface(graph, errors);
    for value in &mut graph.values {
        if value.role == Role::Computed {
            (value.dtype, value.shape, value.container) = (None, None, Container::Tensor);
        }
        // A symbol with one possible length is a number.
        for dim in value.shape.iter_mut().flatten() {
            if let Dim::Symbol(id) = *dim
                && let Some(symbol) = graph.symbols.get(id.index())
                && symbol.min == symbol.max
            {
                *dim = Dim::Known(symbol.min);
            }
        }
    }
}

fn symbols(graph: &Graph, errors: &mut GraphErrors) {
    let mut names = HashSet::new();
    for symbol in &graph.symbols {
        let mut complain = |what: String, remedy: &'static str| {
            errors.push(Problem::Symbol { symbol: quoted(&symbol.name), what, remedy });
        };
        if symbol.name.is_empty() || symbol.name.len() > NAME_BYTES_MAX {
            complain(format!("has a name of {} bytes", symbol.name.len()), "names have 1 to 4096 bytes");
        } else if !names.insert(symbol.name.as_str()) {
            complain("has the name of another one".to_owned(), "names are unique in a model");
        }
        if symbol.min > symbol.max {
            complain(
                format!("is at least {} and at most {}", symbol.min, symbol.max),
                "give a range that is not empty",
            );
        }
        if symbol.min > AXIS_MAX {
            complain(format!("is at least {}", symbol.min), "axes are at most 2^40 long");
        }
        if symbol.multiple_of == 0 {
            complain("is a multiple of 0".to_owned(), "give 1 for any length");
        }
    }
}

fn check_value(value: &Value, symbols: usize, is_block: bool) -> Option<(String, &'static str)> {
    if let Some(shape) = &value.shape {
        if shape.len() > RANK_MAX {
            return Some((format!("has rank {}", shape.len()), "tensors have at most 64 axes"));
        }
        for dim in shape {
            if let Dim::Symbol(id) = dim
                && id.index() >= symbols
            {
                return Some((format!("has the symbol number {} of {symbols}", id.0), "the importer is at fault"));
            }
        }
        if value.role != Role::Computed
            && let Err(what) = check_shape(Some(shape))
        {
            return Some((what, "such a tensor cannot be held"));
        }
    }
    match &value.role {
        Role::Computed => None,
        Role::Input if value.dtype.is_none() && !is_block => {
            Some(("has no element type".to_owned(), "inputs need one"))
        }
        Role::Input => None,
        Role::Constant(content) => check_constant(value, content),
    }
}

fn check_constant(value: &Value, content: &Content) -> Option<(String, &'static str)> {
    let (Some(dtype), Some(shape)) = (value.dtype, value.concrete()) else {
        return Some(("is a constant without a known type and shape".to_owned(), "constants need both"));
    };
    if value.container != Container::Tensor {
        return Some(("is a constant that is no tensor".to_owned(), "the importer is at fault"));
    }
    if dtype == DType::String {
        return check_strings(&shape, content);
    }
    let Some((elements, expected)) =
        crate::tensor::elements(&shape).and_then(|count| Some((count, dtype.bytes(count)?)))
    else {
        return Some(("has a shape that overflows".to_owned(), "such a tensor cannot be held"));
    };
    let (fits, given) = match content {
        Content::Bytes(bytes) => (bytes.len() as u64 == expected, bytes.len() as u64),
        Content::Weight(weight) => {
            if weight.offset.checked_add(weight.length).is_none() {
                return Some((
                    format!("lies at byte {} with {} bytes", weight.offset, weight.length),
                    "the file is damaged",
                ));
            }
            (weight_fits(weight, dtype, elements, expected), weight.length)
        }
    };
    (!fits).then(|| {
        let what = format!("has {given} bytes where {dtype}{shape:?} takes {expected}");
        (what, "the file is damaged or was cut off")
    })
}

fn check_strings(shape: &[u64], content: &Content) -> Option<(String, &'static str)> {
    let Some(elements) = crate::tensor::elements(shape) else {
        return Some(("has a shape that overflows".to_owned(), "such a tensor cannot be held"));
    };
    match content {
        Content::Bytes(bytes) if read_strings(bytes).map(|list| list.len() as u64) != Some(elements) => {
            Some((format!("does not have {elements} strings"), "the file is damaged"))
        }
        // Whoever reads it checks it.
        Content::Bytes(_) | Content::Weight(_) => None,
    }
}

fn weight_fits(weight: &Weight, dtype: DType, elements: u64, expected: u64) -> bool {
    match weight.encoding.as_str() {
        "raw-le" | "raw-be" => weight.length == expected,
        "splat" => Some(weight.length) == dtype.bytes(1),
        // One to ten bytes an element; packed 4-bit types hold two to a varint.
        "varint" | "zigzag" | "bits" => {
            weight.length >= elements.div_ceil(2) && elements.checked_mul(10).is_some_and(|most| weight.length <= most)
        }
        // Strided or later encodings: whoever reads them checks them.
        _ => true,
    }
}

fn interface(graph: &Graph, errors: &mut GraphErrors) {
    let mut seen = HashSet::new();
    for (ids, what) in [(&graph.inputs, "input"), (&graph.outputs, "output")] {
        seen.clear();
        for id in ids {
            match graph.values.get(id.index()) {
                None => errors.push(Problem::Value {
                    value: format!("number {}", id.0),
                    what: format!("is an {what} of the graph and does not exist"),
                    remedy: "the importer is at fault",
                }),
                Some(value) => {
                    let mut complain = |what: String| {
                        errors.push(Problem::Value {
                            value: quoted(&value.name),
                            what,
                            remedy: "the importer is at fault",
                        });
                    };
                    if !seen.insert(*id) {
                        complain(format!("is listed twice as an {what} of the graph"));
                    }
                    if what == "input" && value.role != Role::Input {
                        complain("is listed as an input of the graph and is none".to_owned());
                    }
                }
            }
        }
        if what == "input" {
            for (index, value) in graph.values.iter().enumerate() {
                if value.role == Role::Input && !seen.contains(&ValueId(index as u32)) {
                    errors.push(Problem::Value {
                        value: quoted(&value.name),
                        what: "is an input that the graph does not list".to_owned(),
                        remedy: "the importer is at fault",
                    });
                }
            }
        }
    }
    if graph.outputs.is_empty() {
        errors.push(Problem::NoOutputs);
    }
}
