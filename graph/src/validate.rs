//! Checks a graph that a stranger handed over, sorts it, and brings every node to its operator's frozen revision.
//!
//! Nothing about the graph is believed: numbers may dangle, lengths may overflow, nodes may form rings. What passes has unique names,
//! one producer for each value, an order that runs, every schema attribute filled in, and revisions that `schema` froze. Declared types
//! of computed values are dropped, for inference finds them. Whether operands fit each other is `infer`'s question.

mod blocks;
mod nodes;
mod order;
mod values;

use crate::schema::{OPSET_MAX, OPSET_MIN};
use crate::{Graph, upgrade};

/// Most nodes of a graph.
pub const NODES_MAX: usize = 1_000_000;
/// Most values of a graph.
pub const VALUES_MAX: usize = 4_000_000;
/// Most symbols of a graph.
pub const SYMBOLS_MAX: usize = 65_536;
/// Most axes of a tensor.
pub const RANK_MAX: usize = 64;
/// Most inputs of a node.
pub const INPUTS_MAX: usize = 65_536;
/// Most outputs of a node.
pub const OUTPUTS_MAX: usize = 4_096;
/// Most attributes of a node.
pub const ATTRIBUTES_MAX: usize = 64;
/// Most blocks inside one another.
pub const NESTING_MAX: usize = 16;
/// Longest name, bytes.
pub const NAME_BYTES_MAX: usize = 4_096;
/// Problems that are listed one by one; more are counted.
const LISTED_MAX: usize = 100;

/// One thing that is wrong with a graph, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum Problem {
    #[error("the graph has {count} {what}, more than {limit}; split the model")]
    TooMany { what: &'static str, count: usize, limit: usize },
    #[error("the graph has no outputs; export the model with at least one")]
    NoOutputs,
    #[error("symbol {symbol} {what}; {remedy}")]
    Symbol { symbol: String, what: String, remedy: &'static str },
    #[error("value {value} {what}; {remedy}")]
    Value { value: String, what: String, remedy: &'static str },
    #[error("node {node} ({op}) {what}; {remedy}")]
    Node { node: String, op: String, what: String, remedy: &'static str },
    #[error(
        "node {node} ({op}) depends on its own result, {count} nodes are in or behind such rings; the file is damaged"
    )]
    Cycle { node: String, op: String, count: usize },
    #[error(
        "{count} nodes say opset {opset}, which is not read (only {OPSET_MIN} to {OPSET_MAX}); convert the model with onnx.version_converter"
    )]
    Opset { opset: u16, count: usize },
    #[error("operator {op} {why}, {count} nodes use it ({nodes}); {remedy}")]
    Operator { op: String, why: String, count: usize, nodes: String, remedy: &'static str },
}

/// Everything that is wrong with a graph.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("the model is not valid:{}", list(problems, *omitted))]
pub struct GraphErrors {
    /// In the order in which they were found, at most 100.
    pub problems: Vec<Problem>,
    /// How many more there were.
    pub omitted: usize,
}

fn list(problems: &[Problem], omitted: usize) -> String {
    let mut text: String = problems.iter().map(|problem| format!("\n  {problem}")).collect();
    if omitted > 0 {
        text.push_str(&format!("\n  and {omitted} more"));
    }
    text
}

impl GraphErrors {
    pub(crate) fn push(&mut self, problem: Problem) {
        if self.problems.len() < LISTED_MAX {
            self.problems.push(problem);
        } else {
            self.omitted += 1;
        }
    }

    fn limit(&mut self, what: &'static str, count: usize, limit: usize) {
        if count > limit {
            self.push(Problem::TooMany { what, count, limit });
        }
    }

    fn settle(&mut self) -> Result<(), Self> {
        if self.problems.is_empty() { Ok(()) } else { Err(std::mem::take(self)) }
    }
}

/// Checks a raw graph, whose nodes carry opset numbers as `revision`, and answers the canonical one.
pub fn validate(graph: Graph) -> Result<Graph, GraphErrors> {
    validate_at(graph, 0)
}

/// The same for a graph inside `depth` others.
fn validate_at(mut graph: Graph, depth: usize) -> Result<Graph, GraphErrors> {
    let mut errors = GraphErrors::default();
    errors.limit("blocks inside one another", depth, NESTING_MAX);
    errors.limit("nodes", graph.nodes.len(), NODES_MAX);
    errors.limit("values", graph.values.len(), VALUES_MAX);
    errors.limit("symbols", graph.symbols.len(), SYMBOLS_MAX);
    errors.limit("inputs", graph.inputs.len(), INPUTS_MAX);
    errors.limit("outputs", graph.outputs.len(), INPUTS_MAX);
    errors.settle()?;
    values::check(&mut graph, depth > 0, &mut errors);
    nodes::check_edges(&graph, &mut errors);
    // What follows indexes by the numbers that were just checked.
    errors.settle()?;
    nodes::name_unnamed(&mut graph);
    order::sort(&mut graph, &mut errors);
    nodes::check_operators(&graph, &mut errors);
    errors.settle()?;
    upgrade::upgrade(&mut graph, &mut errors);
    errors.settle()?;
    blocks::check(&graph, &mut errors);
    errors.settle()?;
    for block in graph.nodes.iter_mut().flat_map(crate::Node::blocks_mut) {
        *block = validate_at(std::mem::take(block), depth + 1)?;
    }
    Ok(graph)
}

pub(crate) use nodes::{complete, problem};

#[cfg(test)]
mod tests;
