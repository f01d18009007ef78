//! The plan as a person reads it.

use super::{Argument, Plan};
use std::fmt;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, dispatch) in self.dispatches.iter().enumerate() {
            let operation = &dispatch.operation;
            write!(f, "{index:4} {:9} {}", dispatch.place.to_string(), operation.op)?;
            for step in &operation.epilogue {
                write!(f, "+{}", step.op)?;
            }
            for output in operation.outputs.iter().flatten() {
                write!(f, " {:?}", output.shape)?;
                if output.layout != 0 {
                    write!(f, " in layout {:#x}", output.layout)?;
                }
            }
            write!(f, " @")?;
            for argument in &dispatch.arguments {
                match argument {
                    Argument::Constant(index) => write!(f, " c{index}")?,
                    Argument::Slot(offset) => write!(f, " {offset:#x}")?,
                }
            }
            if dispatch.workspace_bytes > 0 {
                write!(f, " workspace {:#x}+{}x{}", dispatch.workspace, dispatch.workspace_bytes, dispatch.shards)?;
            }
            if dispatch.shards > 1 {
                write!(f, " shards {}", dispatch.shards)?;
            }
            write!(f, "  # {}", dispatch.node)?;
            if !dispatch.reason.is_empty() {
                write!(f, " ({})", dispatch.reason)?;
            }
            writeln!(f)?;
        }
        if let Some(costs) = &self.tuned_by {
            writeln!(f, "devices chosen by measured costs, sha256 {costs}")?;
        }
        let memory = &self.memory;
        writeln!(
            f,
            "memory: slot {} bytes; largest live set {} ({:.3}x); all tensors {} ({:.2}x); constants {}",
            memory.slot,
            memory.live,
            memory.slot as f64 / memory.live.max(1) as f64,
            memory.tensors,
            memory.tensors as f64 / memory.slot.max(1) as f64,
            memory.constants
        )?;
        writeln!(
            f,
            "schedule: {} dispatches; one thread: {} steps; team: {} phases",
            self.dispatches.len(),
            self.alone.steps.len(),
            self.shared.phases.len()
        )
    }
}
