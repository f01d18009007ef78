//! Graphs: the model's own, and those of branches and loop bodies, which see the values of the graphs around them.

use crate::scan::{Field, Span, quoted};
use crate::scope::{Import, Opsets, Scope};
use crate::shape::{Declared, declared};
use crate::tensor;
use std::collections::HashMap;
use sunmao_plugin_sdk::importer::{Attribute, Bytes, Error, Result, Role, Sink, Value};

/// Entries of one list of a graph.
const PARTS_MAX: usize = 1 << 20;

/// Where the parts of a graph lie.
#[derive(Default)]
struct Parts {
    name: String,
    nodes: Vec<Span>,
    initializers: Vec<Span>,
    inputs: Vec<Span>,
    outputs: Vec<Span>,
    declared: Vec<Span>,
}

impl<B: Bytes, S: Sink> Import<'_, B, S> {
    /// The model's own graph: block 0.
    pub(crate) fn main_graph(&self, span: Span, opsets: &Opsets, ir_version: u64) -> Result<()> {
        let parts = self.parts(span)?;
        if !parts.name.is_empty() {
            self.out.meta("graph", Attribute::Text(parts.name.clone()));
        }
        self.graph(&parts, None, opsets, 0, 0, ir_version >= 4)
    }

    /// A graph inside `scope`: a block of its own, whose number this answers.
    pub(crate) fn block(&self, scope: &Scope<'_>, span: Span) -> Result<u32> {
        self.check_depth(scope.depth + 1, span.start)?;
        let parts = self.parts(span)?;
        let block = self.out.block()?;
        self.graph(&parts, Some(scope), scope.opsets, block, scope.depth + 1, false)?;
        Ok(block)
    }

    fn parts(&self, span: Span) -> Result<Parts> {
        let mut parts = Parts::default();
        let mut message = self.scanner.message(span, "GraphProto");
        while let Some(field) = message.next()? {
            match field.number {
                1 => push(&mut parts.nodes, &field)?,
                2 => parts.name = self.scanner.text(field.span()?, "the name of a graph")?,
                5 => push(&mut parts.initializers, &field)?,
                11 => push(&mut parts.inputs, &field)?,
                12 => push(&mut parts.outputs, &field)?,
                13 => push(&mut parts.declared, &field)?,
                14 => self.warn_quantisation(),
                15 => {
                    return Err(Error::unsupported(
                        "the graph has sparse initializers: store them dense (onnx.GraphProto.initializer) and export again",
                    )
                    .at_byte(field.at));
                }
                _ => {}
            }
        }
        Ok(parts)
    }

    fn graph(
        &self,
        parts: &Parts,
        parent: Option<&Scope<'_>>,
        opsets: &Opsets,
        block: u32,
        depth: u32,
        inputs_are_defaults: bool,
    ) -> Result<()> {
        let mut scope = Scope {
            parent,
            block,
            values: HashMap::new(),
            bound: HashMap::new(),
            opsets,
            attributes: parent.and_then(|parent| parent.attributes),
            declared: HashMap::new(),
            results: Default::default(),
            depth,
        };
        let mut constants = HashMap::new();
        for &span in &parts.initializers {
            let name = self.initializer_name(span)?;
            if constants.insert(name.clone(), span).is_some() {
                return Err(Error::data(format!(
                    "two initializers are named {}: export the model again",
                    quoted(&name)
                ))
                .at_byte(span.start));
            }
        }
        let (params, defaults) = self.inputs(&mut scope, parts, &constants)?;
        if inputs_are_defaults && defaults > 0 {
            self.out.warn(&format!(
                "{defaults} inputs have an initializer as their default: they are imported as constants, a request cannot set them"
            ));
        }
        for &span in &parts.initializers {
            let tensor = tensor::read(&self.scanner, &self.siblings, span, None)?;
            let name = tensor.name.clone();
            let number = self.constant(&scope, &name, tensor)?;
            scope.values.insert(name, Some(number));
        }
        drop(constants);
        let mut results = Vec::with_capacity(parts.outputs.len());
        for &span in parts.declared.iter().chain(&parts.outputs) {
            let declared = declared(&self.scanner, span)?;
            scope.declared.insert(declared.name.clone(), declared);
        }
        for &span in &parts.outputs {
            results.push((declared(&self.scanner, span)?.name, span.start));
        }
        if scope.is_main() {
            scope.results = results.iter().map(|(name, _)| name.clone()).collect();
        }
        self.declare_outputs(&mut scope, &parts.nodes)?;
        scope.declared = HashMap::new();
        self.emit_nodes(&scope, &parts.nodes)?;
        let mut numbers = Vec::with_capacity(results.len());
        for (name, at) in &results {
            numbers.push(scope.find(name).flatten().ok_or_else(|| {
                Error::data(format!(
                    "output {} is computed by nothing: the file is damaged; export it again",
                    quoted(name)
                ))
                .at_byte(*at)
            })?);
        }
        if numbers.is_empty() {
            return Err(Error::data("a graph without outputs computes nothing: export the model again")
                .at_byte(parts.nodes.first().map_or(0, |span| span.start)));
        }
        self.out.finish_block(block, &params, &numbers)
    }

    /// Declares the inputs that are no initializers; answers their numbers, and how many are.
    fn inputs(
        &self,
        scope: &mut Scope<'_>,
        parts: &Parts,
        constants: &HashMap<String, Span>,
    ) -> Result<(Vec<u32>, usize)> {
        let (mut params, mut defaults) = (Vec::with_capacity(parts.inputs.len()), 0);
        for &span in &parts.inputs {
            let input = declared(&self.scanner, span)?;
            let fault = |what: &str| Error::data(format!("input {} {what}", quoted(&input.name))).at_byte(input.at);
            if input.name.is_empty() {
                return Err(fault("has no name: export the model again"));
            }
            if constants.contains_key(&input.name) {
                // In a loop body the positions of the inputs carry meaning, so none may go.
                if !scope.is_main() {
                    return Err(fault("of an inner graph has an initializer: export the model again without it"));
                }
                defaults += 1;
                continue;
            }
            if scope.values.contains_key(&input.name) {
                return Err(fault("occurs twice: export the model again"));
            }
            let value = self.input(scope, &input)?;
            let number = self.value(&value)?;
            scope.values.insert(input.name.clone(), Some(number));
            params.push(number);
        }
        Ok((params, defaults))
    }

    fn input(&self, scope: &Scope<'_>, input: &Declared) -> Result<Value> {
        let name = self.unique(&input.name);
        if let Some(other) = input.other {
            return Err(Error::unsupported(format!(
                "input {} is {other}; tensors, sequences and optional values are read: export the model with such inputs",
                quoted(&input.name)
            ))
            .at_byte(input.at));
        }
        if !scope.is_main() {
            let value = Value::new(name, input.dtype, self.hinted_shape(input), Role::Intermediate);
            return Ok(Value { ext: input.ext(), ..value });
        }
        if input.dtype == 0 {
            return Err(Error::data(format!(
                "input {} has no element type: export the model again",
                quoted(&input.name)
            ))
            .at_byte(input.at));
        }
        let value = Value::new(name, input.dtype, self.interface_shape(input)?, Role::Input);
        Ok(Value { ext: input.ext(), ..value })
    }

    fn initializer_name(&self, span: Span) -> Result<String> {
        let mut name = String::new();
        let mut message = self.scanner.message(span, "TensorProto");
        while let Some(field) = message.next()? {
            if field.number == 8 {
                name = self.scanner.text(field.span()?, "the name of a tensor")?;
            }
        }
        if name.is_empty() {
            return Err(Error::data("an initializer has no name: export the model again").at_byte(span.start));
        }
        Ok(name)
    }
}

fn push(list: &mut Vec<Span>, field: &Field) -> Result<()> {
    if list.len() == PARTS_MAX {
        return Err(Error::limit(format!("a graph with more than {PARTS_MAX} parts of a kind")).at_byte(field.at));
    }
    list.push(field.span()?);
    Ok(())
}
