//! A program as text, for `host inspect`.

use super::{Program, Step};
use std::fmt;

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |ids: &[sunmao_graph::ValueId]| {
            let names: Vec<&str> = ids.iter().map(|id| self.graph.value(*id).name.as_str()).collect();
            names.join(", ")
        };
        for (index, step) in self.steps.iter().enumerate() {
            match step {
                Step::Segment { number, inputs, outputs } => {
                    writeln!(f, "{index:4}  segment {number}: {} -> {}", names(inputs), names(outputs))?;
                }
                Step::Host { node, reason } => {
                    writeln!(f, "{index:4}  host {} {}: {reason}", node.op, node.label())?;
                }
            }
        }
        Ok(())
    }
}
