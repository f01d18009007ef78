//! A graph as text: one node a line, for `host inspect` and for tests. The same graph always gives the same text.

use crate::tensor::{read_integers, read_numbers};
use crate::{Attribute, Container, Content, Dim, Graph, Node, Role, Symbol, Value, ValueId};
use std::fmt::{self, Write};

/// Constants up to this many elements are written out.
const SHOWN_ELEMENTS: u64 = 8;

/// The text form of a graph.
pub fn text(graph: &Graph) -> String {
    graph.to_string()
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for symbol in &self.symbols {
            write!(f, "symbol {}: {}..", clipped(&symbol.name), symbol.min)?;
            if symbol.max != u64::MAX {
                write!(f, "={}", symbol.max)?;
            }
            if symbol.multiple_of > 1 {
                write!(f, ", multiple of {}", symbol.multiple_of)?;
            }
            f.write_char('\n')?;
        }
        for id in &self.inputs {
            let value = self.value(*id);
            writeln!(f, "input %{}: {}", clipped(&value.name), type_text(value, &self.symbols))?;
        }
        for node in &self.nodes {
            node_line(f, self, node)?;
        }
        for id in &self.outputs {
            writeln!(f, "output {}", operand(self, *id))?;
        }
        Ok(())
    }
}

fn node_line(f: &mut fmt::Formatter<'_>, graph: &Graph, node: &Node) -> fmt::Result {
    for (index, output) in node.outputs.iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        match output {
            Some(id) => {
                let value = graph.value(*id);
                write!(f, "{separator}%{}: {}", clipped(&value.name), type_text(value, &graph.symbols))?;
            }
            None => write!(f, "{separator}_")?,
        }
    }
    write!(f, " = {}(", node.op)?;
    for (index, input) in node.inputs[..node.own_inputs()].iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        match input {
            Some(id) => write!(f, "{separator}{}", operand(graph, *id))?,
            None => write!(f, "{separator}_")?,
        }
    }
    f.write_char(')')?;
    attributes(f, graph, &node.attributes)?;
    for step in &node.epilogue {
        write!(f, " +{}", step.op)?;
        if let Some(id) = step.input.and_then(|index| node.input(index)) {
            write!(f, "({})", operand(graph, id))?;
        }
        attributes(f, graph, &step.attributes)?;
    }
    if !node.name.is_empty() {
        write!(f, "  // {}", clipped(&node.name))?;
    }
    f.write_char('\n')?;
    for (key, block) in node.blocks() {
        writeln!(f, "  {}:", clipped(key))?;
        for line in block.to_string().lines() {
            writeln!(f, "    {line}")?;
        }
    }
    Ok(())
}

fn attributes(
    f: &mut fmt::Formatter<'_>,
    graph: &Graph,
    attributes: &std::collections::BTreeMap<String, Attribute>,
) -> fmt::Result {
    if attributes.is_empty() {
        return Ok(());
    }
    f.write_str(" {")?;
    for (index, (key, attribute)) in attributes.iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        write!(f, "{separator}{}=", clipped(key))?;
        match attribute {
            Attribute::Integer(value) => write!(f, "{value}")?,
            // f32 widened without loss: the short form of the f32 is the readable one.
            Attribute::Number(value) => write!(f, "{}", number(*value))?,
            Attribute::Text(value) => f.write_str(&clipped(value))?,
            Attribute::Integers(values) => list(f, values, ToString::to_string)?,
            Attribute::Numbers(values) => list(f, values, |value| number(*value))?,
            Attribute::Texts(values) => list(f, values, |value| clipped(value))?,
            Attribute::Bytes(bytes) => write!(f, "{} bytes", bytes.len())?,
            Attribute::Value(id) => f.write_str(&operand(graph, *id))?,
            Attribute::Graph(block) => write!(f, "block of {} nodes", block.nodes.len())?,
        }
    }
    f.write_char('}')
}

fn list<T>(f: &mut fmt::Formatter<'_>, values: &[T], show: impl Fn(&T) -> String) -> fmt::Result {
    let shown: Vec<String> = values.iter().take(64).map(show).collect();
    let more = if values.len() > 64 { ",..." } else { "" };
    write!(f, "[{}{more}]", shown.join(","))
}

fn number(value: f64) -> String {
    let single = value as f32;
    if f64::from(single) == value { format!("{single:?}") } else { format!("{value:?}") }
}

/// A value where it is used: a computed one by its name, a constant with type and, when it is small, its elements.
fn operand(graph: &Graph, id: ValueId) -> String {
    let Some(value) = graph.values.get(id.index()) else { return format!("%?{}", id.0) };
    match &value.role {
        Role::Constant(content) => {
            let kind = type_text(value, &graph.symbols);
            match literal(value, content) {
                Some(elements) => format!("const {kind} {elements}"),
                None => format!("%{}: const {kind}", clipped(&value.name)),
            }
        }
        Role::Input | Role::Computed => format!("%{}", clipped(&value.name)),
    }
}

fn literal(value: &Value, content: &Content) -> Option<String> {
    let Content::Bytes(bytes) = content else { return None };
    let count = crate::tensor::elements(&value.concrete()?)?;
    if count > SHOWN_ELEMENTS {
        return None;
    }
    let dtype = value.dtype?;
    let shown: Vec<String> = match read_integers(dtype, bytes) {
        Some(integers) => integers.iter().map(ToString::to_string).collect(),
        None => read_numbers(dtype, bytes)?.into_iter().map(number).collect(),
    };
    Some(format!("[{}]", shown.join(",")))
}

/// Element type and shape: `f32[N,3,224,224]`; `?` for what is not known.
pub fn type_text(value: &Value, symbols: &[Symbol]) -> String {
    let mut text = value.dtype.map_or("?".to_owned(), |dtype| dtype.name().to_owned());
    if value.container != Container::Tensor {
        text = format!("{} of {text}", value.container.name());
    }
    match &value.shape {
        None => text.push_str("[..]"),
        Some(shape) => {
            text.push_str(&shape_text(shape, symbols));
        }
    }
    text
}

/// A shape alone: `[N,3,?]`.
pub fn shape_text(shape: &[Dim], symbols: &[Symbol]) -> String {
    let dims: Vec<String> = shape
        .iter()
        .map(|dim| match dim {
            Dim::Known(length) => length.to_string(),
            Dim::Symbol(id) => symbols.get(id.index()).map_or("?".to_owned(), |symbol| clipped(&symbol.name)),
            Dim::Unknown => "?".to_owned(),
        })
        .collect();
    format!("[{}]", dims.join(","))
}

/// A stranger's text, safe to show: control characters escaped, cut at 120 characters.
pub(crate) fn clipped(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(120)
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect();
    if text.chars().nth(120).is_some() {
        shown.push_str("...");
    }
    shown
}

/// The same in backticks.
pub(crate) fn quoted(text: &str) -> String {
    format!("`{}`", clipped(text))
}
