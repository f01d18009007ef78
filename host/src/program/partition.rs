//! Cuts a graph into steps.
//!
//! Every node has a stage: planned nodes have even ones, and all nodes of one even stage are a segment; what the host runs has odd ones. A
//! node's stage is the earliest at which its operands are there. A planned node whose shapes are decided by a value that only running an
//! earlier node tells goes to a later stage than that node.

use super::segment::{Segment, extract};
use super::{Program, Step};
use crate::host_ops::{self, Value};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};
use sunmao_graph::deciding::{Provenance, deciding_values, is_small_source, provenance};
use sunmao_graph::fold::read_constant;
use sunmao_graph::{Container, DType, Graph, GraphError, Node, ValueId, Weights};

/// Nodes that are visited to trace one value; behind that many it is cut.
const TRACED_MAX: usize = 4096;

/// Operators that have kernels everywhere.
static KERNELS: LazyLock<HashSet<String>> =
    LazyLock::new(|| sunmao_portable::operators().into_iter().map(|row| row.op).collect());

/// Makes the program of a prepared graph; its segments are put behind those in `segments`.
pub(super) fn partition(
    graph: Graph,
    weights: &dyn Weights,
    segments: &mut Vec<Segment>,
) -> Result<Program, GraphError> {
    let stages = Stages::of(&graph);
    if stages.is_one_segment(&graph) {
        let graph = Arc::new(graph);
        let bound = graph.inputs.iter().map(|id| stages.bound.contains(&(0, *id))).collect();
        segments.push(Segment { graph: graph.clone(), bound });
        let step =
            Step::Segment { number: segments.len() - 1, inputs: graph.inputs.clone(), outputs: graph.outputs.clone() };
        return Ok(Program { graph, steps: vec![step], constants: Vec::new(), releases: vec![Vec::new()] });
    }
    let mut steps = Vec::new();
    let last = stages.of_node.iter().map(|stage| stage.number).max().unwrap_or(0);
    let mut by_stage: Vec<Vec<usize>> = vec![Vec::new(); last as usize + 1];
    for (index, stage) in stages.of_node.iter().enumerate() {
        by_stage[stage.number as usize].push(index);
    }
    let leaving = stages.leaving(&graph);
    for (stage, nodes) in by_stage.into_iter().enumerate().filter(|(_, nodes)| !nodes.is_empty()) {
        if stage % 2 == 1 {
            steps.extend(
                nodes
                    .into_iter()
                    .map(|index| Step::Host { node: graph.nodes[index].clone(), reason: stages.of_node[index].reason }),
            );
            continue;
        }
        let bound = stages.bound.iter().filter(|(at, _)| *at as usize == stage).map(|(_, id)| *id).collect();
        let nodes = nodes.into_iter().map(|index| graph.nodes[index].clone()).collect();
        let part = extract(&graph, nodes, &leaving, &bound);
        segments.push(part.segment);
        steps.push(Step::Segment { number: segments.len() - 1, inputs: part.inputs, outputs: part.outputs });
    }
    let constants = constants(&graph, &steps, weights)?;
    let releases = releases(&graph, &steps);
    Ok(Program { graph: Arc::new(graph), steps, constants, releases })
}

/// When a node runs, and why the host does where it does.
#[derive(Clone, Copy)]
struct Stage {
    number: u32,
    reason: &'static str,
}

struct Stages {
    of_node: Vec<Stage>,
    /// By value: the node that makes it.
    producer: HashMap<ValueId, usize>,
    /// Values whose content must be known before a stage is planned.
    bound: HashSet<(u32, ValueId)>,
    /// By value and the stage of its producer: where its content comes from. none: only running tells.
    sources: HashMap<ValueId, Option<Vec<ValueId>>>,
}

impl Stages {
    fn of(graph: &Graph) -> Self {
        let mut stages = Stages {
            of_node: Vec::with_capacity(graph.nodes.len()),
            producer: HashMap::new(),
            bound: HashSet::new(),
            sources: HashMap::new(),
        };
        for (index, node) in graph.nodes.iter().enumerate() {
            let reason = host_reason(graph, node);
            let after = |id: &ValueId| stages.stage_of(*id).map_or(0, |stage| stage + u32::from(stage % 2 == 1));
            let planned = node.inputs.iter().flatten().map(after).max().unwrap_or(0);
            let number = match reason {
                Some(_) => {
                    let after = |id: &ValueId| stages.stage_of(*id).map_or(1, |stage| stage | 1);
                    node.inputs.iter().flatten().map(after).max().unwrap_or(1)
                }
                None => stages.settle(graph, node, planned),
            };
            stages.of_node.push(Stage { number, reason: reason.unwrap_or_default() });
            stages.producer.extend(node.outputs.iter().flatten().map(|id| (*id, index)));
        }
        stages
    }

    /// The stage at which a value is made; none: it is there from the start.
    fn stage_of(&self, id: ValueId) -> Option<u32> {
        self.producer.get(&id).map(|index| self.of_node[*index].number)
    }

    /// The earliest stage from `stage` on at which what decides the node's shapes is known before, and notes what must be bound there.
    fn settle(&mut self, graph: &Graph, node: &Node, mut stage: u32) -> u32 {
        let deciding: Vec<ValueId> = deciding_values(node, &graph.values).collect();
        for id in &deciding {
            if self.stage_of(*id) == Some(stage) && self.trace(graph, *id, stage).is_none() {
                stage += 2;
            }
        }
        for id in deciding {
            if self.stage_of(id) != Some(stage) {
                self.bound.insert((stage, id));
            } else if let Some(sources) = self.trace(graph, id, stage) {
                self.bound.extend(sources.into_iter().map(|source| (stage, source)));
            }
        }
        stage
    }

    /// The values from outside of the segment that the content of `id`, made in it, follows from; none: it does not follow from small ones.
    fn trace(&mut self, graph: &Graph, id: ValueId, stage: u32) -> Option<Vec<ValueId>> {
        if let Some(known) = self.sources.get(&id) {
            return known.clone();
        }
        let found = self.walk(graph, id, stage);
        self.sources.insert(id, found.clone());
        found
    }

    fn walk(&self, graph: &Graph, id: ValueId, stage: u32) -> Option<Vec<ValueId>> {
        let (mut sources, mut runs) = (Vec::new(), false);
        let (mut open, mut seen) = (vec![id], HashSet::from([id]));
        while let Some(id) = open.pop() {
            let value = graph.value(id);
            if value.is_constant() {
                continue;
            }
            let Some(&index) = self.producer.get(&id).filter(|index| self.of_node[**index].number == stage) else {
                if !is_small_source(value) {
                    return None;
                }
                sources.push(id);
                continue;
            };
            let node = &graph.nodes[index];
            match provenance(node) {
                Provenance::Shapes => continue,
                Provenance::Elements => {}
                Provenance::Run => runs = true,
            }
            open.extend(node.inputs.iter().flatten().filter(|input| seen.insert(**input)));
            if seen.len() > TRACED_MAX {
                return None;
            }
        }
        // Arithmetic on constants and shapes alone folds, whatever its operators are.
        (sources.is_empty() || !runs).then_some(sources)
    }

    /// Whether everything is in stage 0 and the graph takes and gives tensors of numbers that nodes make or the request brings.
    fn is_one_segment(&self, graph: &Graph) -> bool {
        self.of_node.iter().all(|stage| stage.number == 0)
            && graph.inputs.iter().chain(&graph.outputs).all(|id| is_plain(graph, *id))
    }

    /// Values that another stage, or the program's caller, needs.
    fn leaving(&self, graph: &Graph) -> HashSet<ValueId> {
        let mut leaving: HashSet<ValueId> = graph.outputs.iter().copied().collect();
        for (node, stage) in graph.nodes.iter().zip(&self.of_node) {
            let strangers = node.inputs.iter().flatten().filter(|id| self.stage_of(**id) != Some(stage.number));
            leaving.extend(strangers);
        }
        leaving
    }
}

/// A tensor of elements that kernels take.
fn is_plain(graph: &Graph, id: ValueId) -> bool {
    let value = graph.value(id);
    value.container == Container::Tensor && value.dtype != Some(DType::String)
}

/// Why the host runs a node; none: kernels do.
fn host_reason(graph: &Graph, node: &Node) -> Option<&'static str> {
    let operands = || node.inputs.iter().chain(&node.outputs).flatten();
    if operands().any(|id| graph.value(*id).container != Container::Tensor) {
        return Some("it works on sequences or optional values");
    }
    if operands().any(|id| graph.value(*id).dtype == Some(DType::String)) {
        return Some("it works on strings");
    }
    (host_ops::covers(&node.op) && !KERNELS.contains(&node.op)).then_some("no kernel can know its results' shapes")
}

/// The constants that the steps, and whoever asked, read by themselves.
fn constants(graph: &Graph, steps: &[Step], weights: &dyn Weights) -> Result<Vec<(ValueId, Value)>, GraphError> {
    let mut wanted: Vec<ValueId> = graph.outputs.clone();
    for step in steps {
        if let Step::Host { node, .. } = step {
            wanted.extend(node.inputs.iter().flatten());
        }
    }
    wanted.sort_unstable();
    wanted.dedup();
    let mut constants = Vec::new();
    for id in wanted {
        if let Some(tensor) = read_constant(graph.value(id), weights)? {
            constants.push((id, Value::Tensor(tensor)));
        }
    }
    Ok(constants)
}

/// For each step, the values that it is the last to read.
fn releases(graph: &Graph, steps: &[Step]) -> Vec<Vec<ValueId>> {
    let mut kept: HashSet<ValueId> = graph.outputs.iter().copied().collect();
    let mut releases = vec![Vec::new(); steps.len()];
    for (step, released) in steps.iter().zip(&mut releases).rev() {
        let (read, made): (Vec<ValueId>, Vec<ValueId>) = match step {
            Step::Segment { inputs, outputs, .. } => (inputs.clone(), outputs.clone()),
            Step::Host { node, .. } => {
                (node.inputs.iter().flatten().copied().collect(), node.outputs.iter().flatten().copied().collect())
            }
        };
        // What nobody reads is dropped by the step that makes it.
        released.extend(read.into_iter().chain(made).filter(|id| kept.insert(*id)));
    }
    releases
}
