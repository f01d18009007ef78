//! Runs a program: one step after the other, each value kept as long as somebody needs it.

use super::{Machine, Program, RunError, Step};
use crate::host_ops::{self, Value};
use crate::scheduler::Grant;
use sunmao_graph::{Node, Tensor, ValueId};

impl Program {
    /// Runs the program on the threads of `grant`. `inputs` has a value for each of the graph's inputs, in order, none where it is left out; the
    /// answer has one for each output.
    pub fn run(
        &self,
        machine: &Machine,
        grant: &Grant<'_>,
        inputs: Vec<Option<Value>>,
    ) -> Result<Vec<Value>, RunError> {
        let mut values = Values { program: self, slots: vec![None; self.graph.values.len()] };
        for (id, value) in self.graph.inputs.iter().zip(inputs) {
            values.slots[id.index()] = value;
        }
        for (id, value) in &self.constants {
            values.slots[id.index()] = Some(value.clone());
        }
        for (step, released) in self.steps.iter().zip(&self.releases) {
            match step {
                Step::Segment { number, inputs, outputs } => {
                    values.run_segment(machine, grant, *number, inputs, outputs)?;
                }
                Step::Host { node, .. } => values.run_host(node)?,
            }
            for id in released {
                values.slots[id.index()] = None;
            }
        }
        self.graph.outputs.iter().map(|id| values.get(*id).cloned()).collect()
    }
}

/// The values of a running program.
struct Values<'a> {
    program: &'a Program,
    slots: Vec<Option<Value>>,
}

impl Values<'_> {
    fn get(&self, id: ValueId) -> Result<&Value, RunError> {
        self.slots[id.index()].as_ref().ok_or_else(|| self.kind_error(id, "a value", "left out"))
    }

    fn tensor(&self, id: ValueId) -> Result<&Tensor, RunError> {
        let refuse = |got| Err(self.kind_error(id, "a tensor", got));
        match self.get(id)? {
            Value::Tensor(tensor) => Ok(tensor),
            Value::Sequence(_) => refuse("a sequence"),
            Value::Optional(_) => refuse("an optional value"),
        }
    }

    fn kind_error(&self, id: ValueId, wanted: &'static str, got: &'static str) -> RunError {
        RunError::Kind { value: self.program.graph.value(id).name.clone(), wanted, got }
    }

    fn run_segment(
        &mut self,
        machine: &Machine,
        grant: &Grant<'_>,
        number: usize,
        inputs: &[ValueId],
        outputs: &[ValueId],
    ) -> Result<(), RunError> {
        let segment = &machine.segments()[number];
        let inputs = inputs.iter().map(|id| self.tensor(*id)).collect::<Result<Vec<_>, _>>()?;
        let signature =
            segment.signature(inputs.iter().map(|tensor| (tensor.dtype, &tensor.shape[..], &*tensor.bytes)))?;
        let ready = machine.ready(number, &signature)?;
        let run = machine.run(&ready, grant, &segment.unbound(inputs.iter().map(|tensor| &*tensor.bytes)))?;
        for (index, (id, port)) in outputs.iter().zip(&ready.plan().outputs).enumerate() {
            let bytes = run.copy_out(index)?.into();
            let tensor = Tensor { dtype: port.dtype, shape: port.shape.clone(), bytes };
            self.slots[id.index()] = Some(Value::Tensor(tensor));
        }
        Ok(())
    }

    fn run_host(&mut self, node: &Node) -> Result<(), RunError> {
        let inputs: Vec<Option<Value>> =
            node.inputs.iter().map(|input| input.and_then(|id| self.slots[id.index()].clone())).collect();
        let results = host_ops::evaluate(node, &inputs)?;
        for (id, value) in node.outputs.iter().zip(results) {
            if let Some(id) = id {
                self.slots[id.index()] = value;
            }
        }
        Ok(())
    }
}
