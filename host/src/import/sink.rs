//! Builds the raw graph from what an importer says, and checks every item as it comes.
//!
//! Checked here: numbers refer to what exists, values are made once, weights lie inside their files, counts and lengths have bounds. Whether
//! operators, types and shapes make sense is `sunmao_graph::validate`'s question.

mod blocks;
mod order;
mod values;

use super::grants::Files;
use crate::plugin::importer::{self as plain, Attribute, ImportSink, Kv, Rejection};
use blocks::{Block, State};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use sunmao_graph::{self as ir, Graph, ValueId};
use sunmao_plugin_sdk::ErrorCode;

const NODES_MAX: usize = 1 << 20;
const BLOCKS_MAX: usize = 1 << 16;
const OPERANDS_MAX: usize = 1 << 16;
const ATTRIBUTES_MAX: usize = 256;
const NAME_MAX_BYTES: usize = 4096;
const WARNINGS_MAX: usize = 1000;
const FACTS_MAX: usize = 4096;
/// All attributes, literals and facts of a model together.
const TEXT_MAX_BYTES: usize = 256 << 20;

type Answer<T> = Result<T, Rejection>;

/// The first thing that the host said no to: the importer may hide it behind words of its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Refused(Arc<Mutex<Option<Rejection>>>);

impl Refused {
    pub(super) fn take(&self) -> Option<Rejection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self, rejection: &Rejection) {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| rejection.clone());
    }
}

/// How a value comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Given,
    /// Nobody has made it yet.
    Open,
    /// By a node of that block, or a parameter of it.
    Made(u32),
}

/// A graph being built.
#[derive(Debug)]
pub(super) struct GraphSink {
    files: Arc<Mutex<Files>>,
    refused: Refused,
    graph: Graph,
    /// One for each value.
    origins: Vec<Origin>,
    names: HashSet<String>,
    symbol_names: HashSet<String>,
    /// Branches and loop bodies: block 1 and up.
    blocks: Vec<Block>,
    /// Nodes of all blocks.
    nodes: usize,
    finished: bool,
    text_bytes: usize,
    warnings: Vec<String>,
    dropped_warnings: usize,
}

fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Answer<T> {
    Err(Rejection::new(code, message))
}

fn invalid<T>(message: impl Into<String>) -> Answer<T> {
    refuse(ErrorCode::InvalidArgument, message)
}

fn too_many<T>(what: &str, most: usize) -> Answer<T> {
    refuse(ErrorCode::LimitExceeded, format!("a model of more than {most} {what} is not taken"))
}

/// A name from a file, for a message.
fn shown(name: &str) -> String {
    let mut out: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
    if out.len() < name.len() {
        out.push('…');
    }
    format!("`{out}`")
}

impl GraphSink {
    pub(super) fn new(files: Arc<Mutex<Files>>) -> (Self, Refused) {
        let refused = Refused::default();
        let sink = Self {
            files,
            refused: refused.clone(),
            graph: Graph::default(),
            origins: Vec::new(),
            names: HashSet::new(),
            symbol_names: HashSet::new(),
            blocks: Vec::new(),
            nodes: 0,
            finished: false,
            text_bytes: 0,
            warnings: Vec::new(),
            dropped_warnings: 0,
        };
        (sink, refused)
    }

    /// The graph and the warnings, once the importer is through.
    pub(super) fn finish(mut self) -> Answer<(Graph, Vec<String>)> {
        if !self.finished {
            return refuse(ErrorCode::InvalidData, "the importer did not finish the model");
        }
        self.name_the_rest();
        if self.dropped_warnings > 0 {
            self.warnings.push(format!("{} further warnings", self.dropped_warnings));
        }
        Ok((self.graph, self.warnings))
    }

    /// Gives names to values and symbols that have none, unlike all others.
    fn name_the_rest(&mut self) {
        for (number, value) in self.graph.values.iter_mut().enumerate() {
            if value.name.is_empty() {
                value.name = unlike(&self.names, format!("%{number}"));
            }
        }
        for (number, symbol) in self.graph.symbols.iter_mut().enumerate() {
            if symbol.name.is_empty() {
                symbol.name = unlike(&self.symbol_names, format!("d{number}"));
            }
        }
    }

    /// Notes a no, so that the user reads it.
    fn noted<T>(&self, answer: Answer<T>) -> Answer<T> {
        answer.inspect_err(|rejection| self.refused.note(rejection))
    }

    fn building(&self) -> Answer<()> {
        if self.finished { invalid("the model is finished") } else { Ok(()) }
    }

    fn keep_text(&mut self, bytes: usize) -> Answer<()> {
        self.text_bytes = self.text_bytes.saturating_add(bytes);
        if self.text_bytes > TEXT_MAX_BYTES {
            return too_many("bytes of attributes and facts", TEXT_MAX_BYTES);
        }
        Ok(())
    }

    fn add_node(&mut self, block: u32, node: plain::Node) -> Answer<()> {
        self.building()?;
        let what = format!("node {} ({})", shown(&node.name), shown(&node.op));
        self.check_open(block)?;
        if self.nodes >= NODES_MAX {
            return too_many("nodes", NODES_MAX);
        }
        self.nodes += 1;
        if node.op.is_empty() || node.op.len() > NAME_MAX_BYTES || node.name.len() > NAME_MAX_BYTES {
            return invalid(format!("{what}: names of 1 to {NAME_MAX_BYTES} bytes"));
        }
        if node.inputs.len() > OPERANDS_MAX || node.outputs.len() > OPERANDS_MAX {
            return too_many("operands of one node", OPERANDS_MAX);
        }
        self.keep_text(node.name.len() + node.op.len() + 8 * (node.inputs.len() + node.outputs.len()))?;
        let (branches, plain): (Vec<Kv>, Vec<Kv>) =
            node.attributes.into_iter().partition(|kv| matches!(kv.val, Attribute::Block(_)));
        let mut attributes = self.attributes(&what, plain)?;
        let mut inputs =
            node.inputs.into_iter().map(|input| self.existing(&what, input)).collect::<Answer<Vec<_>>>()?;
        inputs.extend(self.take_blocks(&what, block, node.opset, branches, &mut attributes)?.into_iter().map(Some));
        let outputs =
            node.outputs.into_iter().map(|output| self.existing(&what, output)).collect::<Answer<Vec<_>>>()?;
        for output in outputs.iter().flatten() {
            let origin = &mut self.origins[output.index()];
            if *origin != Origin::Open {
                return invalid(format!("{what} makes value {}, which is made or given elsewhere", output.0));
            }
            *origin = Origin::Made(block);
        }
        let node = ir::Node {
            name: node.name,
            op: node.op,
            revision: node.opset,
            attributes,
            inputs,
            outputs,
            epilogue: Vec::new(),
        };
        match block.checked_sub(1) {
            None => self.graph.nodes.push(node),
            Some(index) => self.blocks[index as usize].nodes.push(node),
        }
        Ok(())
    }

    fn existing(&self, what: &str, value: Option<u32>) -> Answer<Option<ValueId>> {
        match value {
            Some(number) if number as usize >= self.graph.values.len() => {
                invalid(format!("{what}: there is no value {number}"))
            }
            other => Ok(other.map(ValueId)),
        }
    }

    fn attributes(&mut self, what: &str, list: Vec<Kv>) -> Answer<BTreeMap<String, ir::Attribute>> {
        if list.len() > ATTRIBUTES_MAX {
            return too_many("attributes of one node", ATTRIBUTES_MAX);
        }
        let mut attributes = BTreeMap::new();
        for kv in list {
            self.keep_text(kv.key.len() + size_of_attribute(&kv.val))?;
            let value = match kv.val {
                Attribute::Integer(value) => ir::Attribute::Integer(value),
                Attribute::Number(value) => ir::Attribute::Number(value),
                Attribute::Text(value) => ir::Attribute::Text(value),
                Attribute::Integers(value) => ir::Attribute::Integers(value),
                Attribute::Numbers(value) => ir::Attribute::Numbers(value),
                Attribute::Texts(value) => ir::Attribute::Texts(value),
                Attribute::Bytes(value) => ir::Attribute::Bytes(value),
                Attribute::Value(number) => {
                    let id = self.existing(what, Some(number))?.unwrap_or(ValueId(number));
                    if !self.graph.value(id).is_constant() {
                        return invalid(format!("{what}: attribute {} is no constant", shown(&kv.key)));
                    }
                    ir::Attribute::Value(id)
                }
                Attribute::Block(_) => return invalid(format!("{what}: a block among plain attributes")),
            };
            let key = shown(&kv.key);
            if attributes.insert(kv.key, value).is_some() {
                return invalid(format!("{what}: attribute {key} occurs twice"));
            }
        }
        Ok(attributes)
    }

    fn end_block(&mut self, block: u32, params: &[u32], results: &[u32]) -> Answer<()> {
        self.building()?;
        self.check_open(block)?;
        if block != 0 {
            return self.end_inner(block, params, results);
        }
        if self.blocks.iter().any(|block| block.state == State::Open) {
            return invalid("block 0 is finished before the others");
        }
        let mut inputs = Vec::with_capacity(params.len());
        for &number in params {
            let id = self.existing("the model's inputs", Some(number))?.unwrap_or(ValueId(number));
            let name = shown(&self.graph.value(id).name);
            if self.graph.value(id).role != ir::Role::Input || inputs.contains(&id) {
                return invalid(format!("{name} is no input, or is named twice among them"));
            }
            inputs.push(id);
        }
        let declared = self.graph.values.iter().filter(|value| value.role == ir::Role::Input).count();
        if declared != inputs.len() {
            return invalid(format!("{declared} values are inputs, and {} of them are named", inputs.len()));
        }
        let mut outputs = Vec::with_capacity(results.len());
        for &number in results {
            let id = self.existing("the model's outputs", Some(number))?.unwrap_or(ValueId(number));
            outputs.push(id);
        }
        if outputs.is_empty() || outputs.len() > OPERANDS_MAX {
            return refuse(ErrorCode::InvalidData, "a model has 1 to 65536 outputs");
        }
        let used = self.graph.nodes.iter().flat_map(|node| node.inputs.iter().flatten()).chain(&outputs);
        for id in used {
            let what = || format!("value {} is used", shown(&self.graph.value(*id).name));
            match self.origins[id.index()] {
                Origin::Given | Origin::Made(0) => {}
                Origin::Open => return refuse(ErrorCode::InvalidData, format!("{}, and no node makes it", what())),
                Origin::Made(_) => {
                    let why = format!("{} outside of the branch or loop body that makes it", what());
                    return refuse(ErrorCode::InvalidData, why);
                }
            }
        }
        order::sort(&mut self.graph).map_err(|node| {
            Rejection::new(ErrorCode::InvalidData, format!("node {} depends on itself", shown(&node)))
        })?;
        (self.graph.inputs, self.graph.outputs) = (inputs, outputs);
        self.finished = true;
        Ok(())
    }

    fn add_fact(&mut self, fact: Kv) -> Answer<()> {
        let size = fact.key.len() + size_of_attribute(&fact.val);
        if fact.key.is_empty() || fact.key.len() > NAME_MAX_BYTES || size > 16 << 20 {
            return invalid("a fact without a key, or of more than 16 MiB");
        }
        if self.graph.meta.len() >= FACTS_MAX && !self.graph.meta.contains_key(&fact.key) {
            return too_many("facts", FACTS_MAX);
        }
        self.keep_text(size)?;
        let text = match fact.val {
            Attribute::Text(text) => text,
            Attribute::Integer(value) => value.to_string(),
            Attribute::Number(value) => value.to_string(),
            Attribute::Integers(list) => serde_json::Value::from(list).to_string(),
            Attribute::Numbers(list) => serde_json::Value::from(list).to_string(),
            Attribute::Texts(list) => serde_json::Value::from(list).to_string(),
            Attribute::Bytes(_) | Attribute::Value(_) | Attribute::Block(_) => {
                return invalid(format!("fact {} is no text, number or list of them", shown(&fact.key)));
            }
        };
        self.graph.meta.insert(fact.key, text);
        Ok(())
    }
}

fn size_of_attribute(value: &Attribute) -> usize {
    match value {
        Attribute::Text(text) => text.len(),
        Attribute::Bytes(bytes) => bytes.len(),
        Attribute::Integers(list) => 8 * list.len(),
        Attribute::Numbers(list) => 8 * list.len(),
        Attribute::Texts(list) => list.iter().map(|text| text.len() + 24).sum(),
        Attribute::Integer(_) | Attribute::Number(_) | Attribute::Value(_) | Attribute::Block(_) => 8,
    }
}

fn unlike(taken: &HashSet<String>, mut name: String) -> String {
    while taken.contains(&name) {
        name.push('_');
    }
    name
}

impl ImportSink for GraphSink {
    fn symbol(&mut self, symbol: plain::Symbol) -> Answer<u32> {
        let answer = self.add_symbol(symbol);
        self.noted(answer)
    }

    fn value(&mut self, value: plain::Value) -> Answer<u32> {
        let answer = self.add_value(value);
        self.noted(answer)
    }

    fn block(&mut self) -> Answer<u32> {
        if self.finished || self.blocks.len() >= BLOCKS_MAX {
            return self.noted(too_many("blocks", BLOCKS_MAX));
        }
        self.blocks.push(Block::default());
        Ok(self.blocks.len() as u32)
    }

    fn node(&mut self, block: u32, node: plain::Node) -> Answer<()> {
        let answer = self.add_node(block, node);
        self.noted(answer)
    }

    fn finish_block(&mut self, block: u32, params: &[u32], results: &[u32]) -> Answer<()> {
        let answer = self.end_block(block, params, results);
        self.noted(answer)
    }

    fn meta(&mut self, fact: Kv) {
        if let Err(rejection) = self.add_fact(fact) {
            self.warn(format!("a fact about the model was left out: {rejection}"));
        }
    }

    fn warn(&mut self, message: String) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(message);
        } else {
            self.dropped_warnings += 1;
        }
    }
}

#[cfg(test)]
mod tests;
