//! Nodes: ordinary ones, `Constant` (which becomes a constant value), and calls of the model's functions, which are inlined.

use crate::scan::{Span, quoted};
use crate::scope::{Import, Opsets, Scope, domain};
use crate::shape::Declared;
use crate::tensor::{Data, Tensor};
use std::collections::HashMap;
use sunmao_plugin_sdk::importer::{
    Attribute, Bytes, Content, Error, Kv, MAX_LITERAL_BYTES, Node, Result, Role, Sink, Value,
};

/// Inputs and outputs of one node.
const OPERANDS_MAX: usize = 1 << 16;
/// Attributes of one node.
const ATTRIBUTES_MAX: usize = 1 << 10;
/// Elements of a `Constant`'s list, in bytes.
const CONSTANT_LIST_MAX_BYTES: usize = 256 << 10;

/// A `NodeProto` as read, its attributes not yet.
#[derive(Default)]
pub(crate) struct NodeText {
    name: String,
    op: String,
    domain: String,
    overload: String,
    inputs: Vec<String>,
    outputs: Vec<String>,
    attributes: Vec<Span>,
    at: u64,
}

/// A `FunctionProto`, its nodes not yet read.
#[derive(Default)]
pub(crate) struct Function {
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    /// Attributes with a default.
    pub defaults: Vec<Span>,
    pub nodes: Vec<Span>,
    pub opsets: Opsets,
    pub at: u64,
}

impl NodeText {
    /// For error lines: "node `conv1` (Conv)"; a node without a name goes by what it computes.
    fn describe(&self) -> String {
        let op = quoted(&self.op);
        match (self.name.as_str(), self.outputs.first()) {
            ("", Some(output)) => format!("node of {} ({})", quoted(output), op.trim_matches('`')),
            (name, _) => format!("node {} ({})", quoted(name), op.trim_matches('`')),
        }
    }

    fn is_constant(&self) -> bool {
        self.domain.is_empty() && self.op == "Constant"
    }
}

impl<B: Bytes, S: Sink> Import<'_, B, S> {
    fn read_node(&self, span: Span) -> Result<NodeText> {
        let mut node = NodeText { at: span.start, ..NodeText::default() };
        let mut message = self.scanner.message(span, "NodeProto");
        while let Some(field) = message.next()? {
            let room = |count: usize, limit: usize, what: &str| {
                if count < limit {
                    return Ok(());
                }
                Err(Error::limit(format!("a node with more than {limit} {what}")).at_byte(field.at))
            };
            match field.number {
                1 => {
                    room(node.inputs.len(), OPERANDS_MAX, "inputs")?;
                    node.inputs.push(self.scanner.text(field.span()?, "the name of an input")?);
                }
                2 => {
                    room(node.outputs.len(), OPERANDS_MAX, "outputs")?;
                    node.outputs.push(self.scanner.text(field.span()?, "the name of an output")?);
                }
                3 => node.name = self.scanner.text(field.span()?, "the name of a node")?,
                4 => node.op = self.scanner.text(field.span()?, "the operator of a node")?,
                5 => {
                    room(node.attributes.len(), ATTRIBUTES_MAX, "attributes")?;
                    node.attributes.push(field.span()?);
                }
                7 => node.domain = domain(self.scanner.text(field.span()?, "the domain of a node")?),
                8 => node.overload = self.scanner.text(field.span()?, "the overload of a node")?,
                _ => {}
            }
        }
        if node.op.is_empty() {
            return Err(Error::data(format!("node {} names no operator: the file is damaged", quoted(&node.name)))
                .at_byte(span.start));
        }
        Ok(node)
    }

    /// Declares what the nodes compute, so that they may come in any order. `Constant` nodes are done with here.
    pub(crate) fn declare_outputs(&self, scope: &mut Scope<'_>, nodes: &[Span]) -> Result<()> {
        for &span in nodes {
            self.count_node(span.start)?;
            let node = self.read_node(span)?;
            let context = |error: Error| in_node(error, &node);
            if node.is_constant() {
                self.declare_constant(scope, &node).map_err(context)?;
                continue;
            }
            for name in node.outputs.iter().filter(|name| !name.is_empty()) {
                check_new(scope, name, &node).map_err(context)?;
                let number = match scope.bound.get(name) {
                    Some(&number) => number,
                    None => self.declare_output(scope, name).map_err(context)?,
                };
                scope.values.insert(name.clone(), Some(number));
            }
        }
        Ok(())
    }

    fn declare_output(&self, scope: &Scope<'_>, name: &str) -> Result<u32> {
        let declared = scope.declared.get(name);
        let dtype = declared.map_or(0, |declared| declared.dtype);
        let is_result = scope.results.contains(name);
        let shape = match declared {
            Some(declared) if is_result => self.interface_shape(declared)?,
            Some(declared) => self.hinted_shape(declared),
            None => None,
        };
        let role = if is_result { Role::Output } else { Role::Intermediate };
        let ext = declared.map(Declared::ext).unwrap_or_default();
        self.value(&Value { ext, ..Value::new(self.unique(name), dtype, shape, role) })
    }

    /// Hands the nodes on, those of called functions in their place.
    pub(crate) fn emit_nodes(&self, scope: &Scope<'_>, nodes: &[Span]) -> Result<()> {
        for &span in nodes {
            let node = self.read_node(span)?;
            if !node.is_constant() {
                self.emit_node(scope, &node).map_err(|error| in_node(error, &node))?;
            }
        }
        Ok(())
    }

    fn emit_node(&self, scope: &Scope<'_>, node: &NodeText) -> Result<()> {
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for name in &node.inputs {
            inputs.push(match name.as_str() {
                "" => None,
                name => scope.find(name).ok_or_else(|| {
                    Error::data(format!(
                        "its input {} is computed by nothing: the file is damaged; export it again",
                        quoted(name)
                    ))
                    .at_byte(node.at)
                })?,
            });
        }
        let output = |name: &String| scope.values.get(name).copied().flatten();
        let outputs: Vec<Option<u32>> = node.outputs.iter().map(output).collect();
        let mut attributes: Vec<Kv> = Vec::with_capacity(node.attributes.len());
        for &span in &node.attributes {
            let Some(attribute) = self.attribute(scope, span, None)? else { continue };
            if attributes.iter().any(|other| other.key == attribute.key) {
                return Err(Error::data(format!(
                    "attribute {} occurs twice: the file is damaged",
                    quoted(&attribute.key)
                ))
                .at_byte(span.start));
            }
            attributes.push(attribute);
        }
        let key = (node.domain.clone(), node.op.clone(), node.overload.clone());
        if let Some(function) = self.functions.get(&key) {
            return self.inline(scope, node, function, &inputs, &outputs, attributes);
        }
        let op = if node.domain.is_empty() { node.op.clone() } else { format!("{}.{}", node.domain, node.op) };
        let opset = scope.opsets.version(&node.domain).map_err(|error| error.at_byte(node.at))?;
        self.out.node(
            scope.block,
            &Node { name: node.name.clone(), op, opset, attributes, inputs, outputs, ext: Vec::new() },
        )
    }

    /// Declares the value of a `Constant` node.
    fn declare_constant(&self, scope: &mut Scope<'_>, node: &NodeText) -> Result<()> {
        let (name, span) = match (node.outputs.as_slice(), node.attributes.as_slice()) {
            ([name], &[span]) if !name.is_empty() => (name, span),
            _ => {
                return Err(
                    Error::data("a Constant has one output and one attribute: the file is damaged").at_byte(node.at)
                );
            }
        };
        check_new(scope, name, node)?;
        let Some(Kv { key, val }) = self.attribute(scope, span, Some(name))? else {
            return Err(
                Error::data("its value is an attribute that the call of the function left out").at_byte(node.at)
            );
        };
        let number = match (key.as_str(), val) {
            ("value", Attribute::Value(number)) => number,
            ("value_int", Attribute::Integer(value)) => self.list(scope, name, 7, None, &value.to_le_bytes())?,
            ("value_ints", Attribute::Integers(values)) => {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                self.list(scope, name, 7, Some(values.len()), &bytes)?
            }
            // These came from 32-bit floats, so the way back loses nothing.
            ("value_float", Attribute::Number(value)) => {
                self.list(scope, name, 1, None, &(value as f32).to_le_bytes())?
            }
            ("value_floats", Attribute::Numbers(values)) => {
                let bytes: Vec<u8> = values.iter().flat_map(|&value| (value as f32).to_le_bytes()).collect();
                self.list(scope, name, 1, Some(values.len()), &bytes)?
            }
            ("value_string", Attribute::Text(text)) => self.texts(scope, name, None, &[text])?,
            ("value_strings", Attribute::Texts(texts)) => self.texts(scope, name, Some(texts.len()), &texts)?,
            (other, _) => {
                return Err(Error::unsupported(format!(
                    "a Constant with {} is not read (value and the lists and single elements of integers, floats and strings are): remove it from the model",
                    quoted(other)
                ))
                .at_byte(node.at));
            }
        };
        if let Some(&bound) = scope.bound.get(name) {
            self.identity(scope, number, bound)?;
        }
        scope.values.insert(name.clone(), Some(number));
        Ok(())
    }

    fn list(&self, scope: &Scope<'_>, name: &str, dtype: u16, count: Option<usize>, bytes: &[u8]) -> Result<u32> {
        if bytes.len() > CONSTANT_LIST_MAX_BYTES {
            return Err(Error::limit(format!(
                "a Constant's list of {} bytes ({CONSTANT_LIST_MAX_BYTES} at most): store it as a tensor",
                bytes.len()
            )));
        }
        let data = if bytes.len() <= MAX_LITERAL_BYTES {
            Data::Content(Content::Literal(bytes.to_vec()))
        } else {
            Data::Pieces(bytes.to_vec())
        };
        let dims = count.map(|count| count as u64).into_iter().collect();
        self.constant(scope, name, Tensor { name: name.into(), dtype, dims, data })
    }

    /// A constant of strings, framed as the host wants literals.
    fn texts(&self, scope: &Scope<'_>, name: &str, count: Option<usize>, texts: &[String]) -> Result<u32> {
        let bytes = crate::tensor::framed(texts.iter().map(String::as_bytes));
        self.list(scope, name, 8, count, &bytes)
    }

    fn identity(&self, scope: &Scope<'_>, from: u32, to: u32) -> Result<()> {
        let opset = scope.opsets.version("")?;
        let node = Node {
            name: String::new(),
            op: "Identity".into(),
            opset,
            attributes: Vec::new(),
            inputs: vec![Some(from)],
            outputs: vec![Some(to)],
            ext: Vec::new(),
        };
        self.out.node(scope.block, &node)
    }

    /// Puts the nodes of a function in place of its call.
    fn inline(
        &self,
        scope: &Scope<'_>,
        call: &NodeText,
        function: &Function,
        inputs: &[Option<u32>],
        outputs: &[Option<u32>],
        given: Vec<Kv>,
    ) -> Result<()> {
        self.check_depth(scope.depth + 1, call.at)?;
        if inputs.len() > function.inputs.len() || outputs.len() > function.outputs.len() {
            return Err(
                Error::data("the call has more operands than the function: the file is damaged").at_byte(call.at)
            );
        }
        let mut attributes: HashMap<String, Attribute> = HashMap::new();
        let mut all = Vec::new();
        for &span in &function.defaults {
            all.extend(self.attribute(scope, span, None)?);
        }
        all.extend(given);
        for Kv { key, val } in all {
            if matches!(val, Attribute::Block(_)) {
                return Err(Error::unsupported(format!(
                    "attribute {} hands a graph to a function: inline the model's functions first (onnx.inliner.inline_local_functions)",
                    quoted(&key)
                ))
                .at_byte(call.at));
            }
            attributes.insert(key, val);
        }
        // A function that names no version of the default domain uses the caller's.
        let mut opsets = scope.opsets.clone();
        opsets.0.extend(function.opsets.0.iter().map(|(domain, version)| (domain.clone(), *version)));
        let actual = |index: usize| inputs.get(index).copied().flatten();
        let formal = function.inputs.iter().enumerate();
        let values: HashMap<String, Option<u32>> = formal.map(|(index, name)| (name.clone(), actual(index))).collect();
        let results = function.outputs.iter().zip(outputs);
        let bound = results.filter_map(|(name, output)| Some((name.clone(), (*output)?))).collect();
        let mut inner = Scope {
            parent: None,
            block: scope.block,
            values,
            bound,
            opsets: &opsets,
            attributes: Some(&attributes),
            declared: HashMap::new(),
            results: Default::default(),
            depth: scope.depth + 1,
        };
        let passed: Vec<(u32, Option<u32>)> =
            (inner.bound.iter()).filter_map(|(name, &output)| Some((output, *inner.values.get(name)?))).collect();
        self.declare_outputs(&mut inner, &function.nodes)?;
        for (output, input) in passed {
            let Some(input) = input else {
                return Err(Error::data("the function hands on an input that the call left out").at_byte(call.at));
            };
            self.identity(&inner, input, output)?;
        }
        if let Some(name) = inner.bound.keys().find(|&name| !inner.values.contains_key(name)) {
            return Err(Error::data(format!("its function does not compute {}: the file is damaged", quoted(name)))
                .at_byte(function.at));
        }
        self.emit_nodes(&inner, &function.nodes)
    }
}

fn check_new(scope: &Scope<'_>, name: &str, node: &NodeText) -> Result<()> {
    if !scope.values.contains_key(name) {
        return Ok(());
    }
    Err(Error::data(format!("its output {} exists already: the file is damaged; export it again", quoted(name)))
        .at_byte(node.at))
}

/// Says which node an error is about; only the innermost is named.
fn in_node(mut error: Error, node: &NodeText) -> Error {
    if !error.message.starts_with("node ") {
        error.message = format!("{}: {}", node.describe(), error.message);
    }
    if error.offset.is_none() {
        error.offset = Some(node.at);
    }
    error
}
