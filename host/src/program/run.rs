//! Runs a program: one step after the other, each value kept as long as somebody needs it.

use super::{Limits, Machine, Program, RunError, Step};
use crate::engine::Trace;
use crate::host_ops::{self, Value};
use crate::scheduler::Grant;
use std::sync::Arc;
use std::time::Instant;
use sunmao_graph::{Node, Tensor, ValueId};

/// What a request runs on, and what it has used of what it may.
pub struct Context<'a> {
    machine: &'a Machine,
    grant: &'a Grant<'a>,
    limits: Limits,
    begun: Instant,
    steps: u64,
    iterations: u64,
    collected_bytes: u64,
    depth: u64,
    trace: Option<Arc<Trace>>,
}

impl<'a> Context<'a> {
    /// A request that begins now on the threads of `grant`.
    pub fn new(machine: &'a Machine, grant: &'a Grant<'a>, limits: Limits) -> Self {
        Self {
            machine,
            grant,
            limits,
            begun: Instant::now(),
            steps: 0,
            iterations: 0,
            collected_bytes: 0,
            depth: 0,
            trace: None,
        }
    }

    /// The same, with everything written to `trace`, where there is one.
    pub fn traced(self, trace: Option<Arc<Trace>>) -> Self {
        Self { trace, ..self }
    }

    /// Counts a step, before it is run.
    fn count_step(&mut self) -> Result<(), RunError> {
        self.steps += 1;
        if self.steps > self.limits.steps {
            let what = format!("takes {} steps for one request", self.steps);
            return Err(RunError::Limit {
                what,
                most: self.limits.steps,
                remedy: "let its loops end earlier, or raise `steps` of [loops]",
            });
        }
        let seconds = self.begun.elapsed().as_secs();
        if seconds > self.limits.seconds {
            let what = format!("has run its loops for {seconds} seconds for one request");
            return Err(RunError::Limit {
                what,
                most: self.limits.seconds,
                remedy: "let its loops end earlier, or raise `seconds` of [loops]",
            });
        }
        Ok(())
    }

    /// Does `work` one block deeper.
    pub(super) fn inside<T, E: From<RunError>>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.depth += 1;
        if self.depth > self.limits.nesting {
            let what = format!("has {} blocks inside one another", self.depth);
            let remedy = "export it with flatter branches and loops, or raise `nesting` of [loops]";
            return Err(RunError::Limit { what, most: self.limits.nesting, remedy }.into());
        }
        let result = work(self);
        self.depth -= 1;
        result
    }

    /// Counts one more run of a loop's body, before it is run.
    pub(super) fn count_iteration(&mut self) -> Result<(), RunError> {
        self.iterations += 1;
        if self.iterations > self.limits.iterations {
            let what = format!("runs {} iterations for one request", self.iterations);
            return Err(RunError::Limit {
                what,
                most: self.limits.iterations,
                remedy: "let its loops end earlier, or raise `iterations` of [loops]",
            });
        }
        self.count_step()
    }

    /// Counts what a loop keeps of one run until its end.
    pub(super) fn count_bytes(&mut self, bytes: usize) -> Result<(), RunError> {
        self.collected_bytes = self.collected_bytes.saturating_add(bytes as u64);
        if self.collected_bytes > self.limits.collected_bytes {
            let what = format!("collects {} bytes in its loops for one request", self.collected_bytes);
            let remedy = "let its loops give smaller results, or raise `collected_mib` of [loops]";
            return Err(RunError::Limit { what, most: self.limits.collected_bytes, remedy });
        }
        Ok(())
    }
}

impl Program {
    /// Runs the program. `inputs` has a value for each of the graph's inputs, in order, none where it is left out; the answer has one for each
    /// output.
    pub fn run(&self, context: &mut Context<'_>, inputs: Vec<Option<Value>>) -> Result<Vec<Value>, RunError> {
        let mut values = Values { program: self, slots: vec![None; self.graph.values.len()] };
        for (id, value) in self.graph.inputs.iter().zip(inputs) {
            values.slots[id.index()] = value;
        }
        for (id, value) in &self.constants {
            values.slots[id.index()] = Some(value.clone());
        }
        for (step, released) in self.steps.iter().zip(&self.releases) {
            context.count_step()?;
            match step {
                Step::Segment { number, inputs, outputs } => {
                    values.run_segment(context, *number, inputs, outputs)?;
                }
                Step::Host { node, .. } => {
                    let start = context.trace.as_ref().map(|trace| trace.now());
                    let results = host_ops::evaluate(node, &values.operands(node))?;
                    values.keep(node, results);
                    if let (Some(trace), Some(start)) = (&context.trace, start) {
                        trace.note_host(node, start);
                    }
                }
                Step::Control(control) => {
                    let inputs = values.operands(&control.node);
                    // What ends here need not be held while the blocks run.
                    released.iter().for_each(|id| values.slots[id.index()] = None);
                    let results = control.run(context, inputs)?;
                    values.keep(&control.node, results.into_iter().map(Some));
                }
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

    fn operands(&self, node: &Node) -> Vec<Option<Value>> {
        node.inputs.iter().map(|input| input.and_then(|id| self.slots[id.index()].clone())).collect()
    }

    fn keep(&mut self, node: &Node, results: impl IntoIterator<Item = Option<Value>>) {
        for (id, value) in node.outputs.iter().zip(results) {
            if let Some(id) = id {
                self.slots[id.index()] = value;
            }
        }
    }

    fn run_segment(
        &mut self,
        context: &Context<'_>,
        number: usize,
        inputs: &[ValueId],
        outputs: &[ValueId],
    ) -> Result<(), RunError> {
        let machine = context.machine;
        let segment = &machine.segments()[number];
        let inputs = inputs.iter().map(|id| self.tensor(*id)).collect::<Result<Vec<_>, _>>()?;
        let signature =
            segment.signature(inputs.iter().map(|tensor| (tensor.dtype, &tensor.shape[..], &*tensor.bytes)))?;
        let ready = machine.ready(number, &signature)?;
        let unbound = segment.unbound(inputs.iter().map(|tensor| &*tensor.bytes));
        let run = machine.run(&ready, context.grant, &unbound, false, context.trace.as_ref())?;
        for (index, (id, port)) in outputs.iter().zip(&ready.plan().outputs).enumerate() {
            let bytes = run.copy_out(index)?.into();
            let tensor = Tensor { dtype: port.dtype, shape: port.shape.clone(), bytes };
            self.slots[id.index()] = Some(Value::Tensor(tensor));
        }
        Ok(())
    }
}
