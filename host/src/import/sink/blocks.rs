//! Branches and loop bodies: each becomes a graph of its own, which the node that owns it holds as an attribute.
//!
//! An importer numbers the values of all blocks together, and a block may use what the blocks around it make. Those values become inputs of
//! the block's graph behind its parameters, and inputs of the node behind its own. Constants are copied instead: their bytes are shared.

use super::{Answer, GraphSink, OPERANDS_MAX, Origin, invalid, order, refuse, shown, too_many};
use crate::plugin::importer::{Attribute, Kv, Rejection};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use sunmao_graph::{self as ir, Dim, Graph, Role, Value, ValueId};
use sunmao_plugin_sdk::ErrorCode;

/// Blocks inside one another.
const DEPTH_MAX: u32 = 16;

/// A block under construction; values are those of the whole model.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) nodes: Vec<ir::Node>,
    params: Vec<ValueId>,
    results: Vec<ValueId>,
    pub(super) state: State,
    /// Blocks inside it, one inside the other.
    depth: u32,
}

/// How far a block has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Open,
    Finished,
    /// A node has it.
    Owned,
}

impl GraphSink {
    pub(super) fn check_open(&self, block: u32) -> Answer<()> {
        match block.checked_sub(1).map(|index| self.blocks.get(index as usize)) {
            None => Ok(()),
            Some(Some(Block { state: State::Open, .. })) => Ok(()),
            Some(Some(_)) => invalid(format!("block {block} is finished")),
            Some(None) => invalid(format!("there is no block {block}")),
        }
    }

    /// The end of a block other than the model itself.
    pub(super) fn end_inner(&mut self, block: u32, params: &[u32], results: &[u32]) -> Answer<()> {
        if params.len() > OPERANDS_MAX || results.len() > OPERANDS_MAX {
            return too_many("operands of one block", OPERANDS_MAX);
        }
        let what = format!("block {block}");
        let numbers = |list: &[u32]| -> Answer<Vec<ValueId>> {
            let ids = list.iter().map(|&number| self.existing(&what, Some(number)));
            Ok(ids.collect::<Answer<Vec<_>>>()?.into_iter().flatten().collect())
        };
        let (params, results) = (numbers(params)?, numbers(results)?);
        for id in &params {
            let origin = &mut self.origins[id.index()];
            if *origin != Origin::Open {
                return invalid(format!("{what}: parameter {} is made or given elsewhere", id.0));
            }
            *origin = Origin::Made(block);
        }
        let index = block as usize - 1;
        let own = &mut self.blocks[index];
        (own.params, own.results, own.state) = (params, results, State::Finished);
        Ok(())
    }

    /// Puts finished blocks into the attributes of the node in `around` that owns them. Answers the values that they capture.
    pub(super) fn take_blocks(
        &mut self,
        what: &str,
        around: u32,
        opset: u16,
        branches: Vec<Kv>,
        attributes: &mut BTreeMap<String, ir::Attribute>,
    ) -> Answer<Vec<ValueId>> {
        let mut taken = Vec::with_capacity(branches.len());
        for kv in branches {
            let Attribute::Block(number) = kv.val else { return invalid(format!("{what}: no block")) };
            let block = (number as usize).checked_sub(1).and_then(|index| self.blocks.get_mut(index));
            let Some(block) = block.filter(|block| block.state == State::Finished) else {
                let why = format!("{what}: attribute {} is no finished block that nobody owns", shown(&kv.key));
                return invalid(why);
            };
            let depth = block.depth + 1;
            taken.push((kv.key, std::mem::replace(block, Block { state: State::Owned, ..Block::default() })));
            if depth > DEPTH_MAX {
                return too_many("branches and loops inside one another", DEPTH_MAX as usize);
            }
            if let Some(index) = (around as usize).checked_sub(1) {
                let outer = &mut self.blocks[index];
                outer.depth = outer.depth.max(depth);
            }
        }
        let captured = self.captured(&taken);
        if captured.len() > OPERANDS_MAX {
            return too_many("values that one node captures", OPERANDS_MAX);
        }
        for (key, block) in taken {
            let graph = self.inner_graph(block, &captured, opset)?;
            if attributes.insert(key.clone(), ir::Attribute::Graph(Arc::new(graph))).is_some() {
                return invalid(format!("{what}: attribute {} occurs twice", shown(&key)));
            }
        }
        Ok(captured)
    }

    /// What the blocks use and do not make, in the order of first use.
    fn captured(&self, blocks: &[(String, Block)]) -> Vec<ValueId> {
        let (mut captured, mut seen) = (Vec::new(), HashSet::new());
        for (_, block) in blocks {
            let made = block.nodes.iter().flat_map(|node| node.outputs.iter().flatten());
            let own: HashSet<ValueId> = made.chain(&block.params).copied().collect();
            let used = block.nodes.iter().flat_map(|node| node.inputs.iter().flatten()).chain(&block.results);
            for id in used {
                if !own.contains(id) && !self.graph.value(*id).is_constant() && seen.insert(*id) {
                    captured.push(*id);
                }
            }
        }
        captured
    }

    fn inner_graph(&mut self, block: Block, captured: &[ValueId], opset: u16) -> Answer<Graph> {
        let mut inner = Inner { values: &self.graph.values, graph: Graph::default(), numbers: HashMap::new() };
        for id in block.params.iter().chain(captured) {
            let number = inner.number(*id, true);
            if inner.graph.inputs.contains(&number) && block.params.contains(id) {
                return invalid(format!("parameter {} of a block is named twice", id.0));
            }
            inner.graph.inputs.push(number);
        }
        inner.graph.captured = captured.len();
        for mut node in block.nodes {
            for id in node.inputs.iter_mut().chain(&mut node.outputs).flatten() {
                *id = inner.number(*id, false);
            }
            for attribute in node.attributes.values_mut() {
                if let ir::Attribute::Value(id) = attribute {
                    *id = inner.number(*id, false);
                }
            }
            inner.graph.nodes.push(node);
        }
        for id in block.results {
            let number = inner.number(id, false);
            let result = if inner.graph.outputs.contains(&number) { inner.copied(number, opset) } else { number };
            inner.graph.outputs.push(result);
        }
        let mut graph = inner.graph;
        order::sort(&mut graph).map_err(|node| {
            Rejection::new(ErrorCode::InvalidData, format!("node {} depends on itself", shown(&node)))
        })?;
        if graph.outputs.is_empty() {
            return refuse(ErrorCode::InvalidData, "a branch or a loop body without results computes nothing");
        }
        Ok(graph)
    }
}

/// The graph of a block while values get their numbers in it.
struct Inner<'a> {
    values: &'a [Value],
    graph: Graph,
    numbers: HashMap<ValueId, ValueId>,
}

impl Inner<'_> {
    fn number(&mut self, id: ValueId, is_input: bool) -> ValueId {
        if let Some(number) = self.numbers.get(&id) {
            return *number;
        }
        let mut value = self.values[id.index()].clone();
        if value.name.is_empty() {
            value.name = format!("%{}", id.0);
        }
        if !value.is_constant() {
            value.role = if is_input { Role::Input } else { Role::Computed };
            // Symbols are the model's: what the graph around knows of a length comes in when shapes are inferred.
            let known = |dim: &mut Dim| *dim = dim.known().map_or(Dim::Unknown, Dim::Known);
            value.shape.iter_mut().flatten().for_each(known);
        }
        let number = self.graph.add_value(value);
        self.numbers.insert(id, number);
        number
    }

    /// Another value of the same content: results of a block are different values.
    fn copied(&mut self, from: ValueId, opset: u16) -> ValueId {
        let name = format!("{}%{}", self.graph.value(from).name, self.graph.values.len());
        let copy = self.graph.add_value(Value::computed(name));
        self.graph.nodes.push(ir::Node {
            name: String::new(),
            op: "Identity".into(),
            revision: opset,
            attributes: BTreeMap::new(),
            inputs: vec![Some(from)],
            outputs: vec![Some(copy)],
            epilogue: Vec::new(),
        });
        copy
    }
}
