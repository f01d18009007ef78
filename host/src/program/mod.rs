//! A model as a list of steps: *segments*, which are planned and run by the engine, *host steps*, which are operators that stay with the host, and
//! *control steps*, which run blocks: branches and loop bodies, each a program of its own.
//!
//! A model whose shapes all follow from those of its inputs is a program of one segment. Where a shape depends on what an operator computed,
//! the program is cut: the value is there before the next segment is planned. Small inputs whose content decides a shape are bound: they are
//! part of what a plan is made for. Who runs the nodes of a segment is `plan`'s and `device`'s question; what a host operator computes is `host_ops`'.

mod control;
mod division;
mod error;
mod limits;
mod machine;
mod partition;
mod plans;
mod run;
mod segment;
mod text;

#[cfg(test)]
mod tests;

pub(crate) use division::Division;
pub use error::{PlanFailure, RunError};
pub use limits::Limits;
pub use machine::{Machine, MachineOptions};
pub use plans::{InputKey, Signature};
pub use run::Context;
pub use segment::Segment;

use crate::host_ops::Value;
use control::Control;
use std::sync::Arc;
use sunmao_graph::{Graph, Node, ValueId};

/// A graph, made ready to be run step by step.
#[derive(Debug)]
pub struct Program {
    /// The prepared graph; steps name its values.
    graph: Arc<Graph>,
    steps: Vec<Step>,
    /// Constants that host steps read or that the program gives, by value.
    constants: Vec<(ValueId, Value)>,
    /// For each step, the values that nobody needs after it.
    releases: Vec<Vec<ValueId>>,
}

/// One step. Values are numbered as in the program's graph.
#[derive(Debug)]
enum Step {
    /// A planned part of the graph.
    Segment {
        /// Its number among the segments of the machine.
        number: usize,
        /// In the order of the segment's inputs.
        inputs: Vec<ValueId>,
        /// In the order of the segment's outputs.
        outputs: Vec<ValueId>,
    },
    /// An operator that the host runs.
    Host {
        /// The operator and its operands.
        node: Node,
        /// Why it is not in a segment; for a person.
        reason: &'static str,
    },
    /// An operator that runs blocks.
    Control(Control),
}

impl Step {
    /// The operator of a step that is a single one.
    fn node(&self) -> Option<&Node> {
        match self {
            Step::Segment { .. } => None,
            Step::Host { node, .. } => Some(node),
            Step::Control(control) => Some(&control.node),
        }
    }
}

impl Program {
    /// The graph as optimised before shapes are known.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The number of the segment that is the whole program, when there is one that takes and gives what the program does.
    pub fn whole(&self) -> Option<usize> {
        match &self.steps[..] {
            [Step::Segment { number, inputs, outputs }]
                if *inputs == self.graph.inputs && *outputs == self.graph.outputs =>
            {
                Some(*number)
            }
            _ => None,
        }
    }
}
