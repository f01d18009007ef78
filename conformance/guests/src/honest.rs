//! The work that the plugin does right: Relu, Add and Mul on f32.

use sunmao_plugin_sdk::abi::{Info, Operation, OperatorSupport, Requirements, Signature, Tolerance};
use sunmao_plugin_sdk::{Bindings, Call, Error, Input, Output, Result};

pub(crate) const F32: u16 = 1;
const RANK_MAX: usize = 8;

pub(crate) fn describe() -> Info {
    Info {
        id: "guest".into(),
        vendor: "Sunmao conformance".into(),
        name: name(),
        version: "0.1.0".into(),
        isa: "wasm-scalar".into(),
        vector_bits: 0,
        alignment: 64,
        max_shards: 64,
        deterministic: true,
        units: Vec::new(),
        ext: Vec::new(),
    }
}

#[cfg(not(feature = "wasi"))]
fn name() -> String {
    "Guest".into()
}

#[cfg(feature = "wasi")]
fn name() -> String {
    let before = crate::wasi::now();
    let variables = crate::wasi::get_environment().len();
    let clock = if crate::wasi::now() == before { "stands still" } else { "runs" };
    format!("wasi: {variables} variables, clock {clock}")
}

pub(crate) fn row(op: &str, oldest: u16, inputs: usize) -> OperatorSupport {
    OperatorSupport {
        op: op.into(),
        revision_min: oldest,
        revision_max: 24,
        signatures: vec![Signature { inputs: vec![F32; inputs], outputs: vec![F32] }],
        max_rank: RANK_MAX as u32,
        layouts: Vec::new(),
        limits: Vec::new(),
        epilogues: Vec::new(),
        in_place: Vec::new(),
        tolerance: Tolerance::Exact,
        ext: Vec::new(),
    }
}

pub(crate) fn operators() -> Vec<OperatorSupport> {
    vec![row("Relu", 6, 1), row("Add", 7, 2), row("Mul", 7, 2)]
}

pub(crate) fn requirements(work: &Work) -> Requirements {
    Requirements { shards: (work.elements / 16384).clamp(1, 64) as u32, ..Requirements::simple() }
}

/// One operation made ready.
#[derive(Clone, Copy)]
pub(crate) struct Work {
    combine: fn(f32, f32) -> f32,
    elements: usize,
    inputs: [Broadcast; 2],
    unary: bool,
}

/// Where the tensors of a dispatch are.
#[derive(Clone, Copy)]
pub(crate) struct Bound {
    work: Work,
    inputs: [Input<f32>; 2],
    output: Output<f32>,
}

#[derive(Clone, Copy)]
struct Broadcast {
    /// For each axis of the output, the last one first: its length, and the input's step along it.
    axes: [(usize, usize); RANK_MAX],
}

impl Broadcast {
    fn new(input: &[u32], output: &[u32]) -> Option<Self> {
        let mut axes = [(1, 0); RANK_MAX];
        let mut step = 1;
        for (axis, &length) in output.iter().rev().enumerate() {
            let own = input.iter().rev().nth(axis).copied().unwrap_or(1);
            if own != length && own != 1 {
                return None;
            }
            *axes.get_mut(axis)? = (length as usize, if own == 1 { 0 } else { step });
            step *= own as usize;
        }
        Some(Self { axes })
    }

    fn index(&self, mut element: usize) -> usize {
        self.axes.iter().fold(0, |index, &(length, step)| {
            let at = element % length;
            element /= length;
            index + at * step
        })
    }
}

impl Work {
    pub(crate) fn new(operation: &Operation) -> Result<Self> {
        let (combine, unary): (fn(f32, f32) -> f32, bool) = match operation.op.as_str() {
            "Relu" => (|x, _| if x < 0.0 { 0.0 } else { x }, true),
            "Add" => (|x, y| x + y, false),
            "Mul" => (|x, y| x * y, false),
            other => return Err(Error::unsupported(format!("no operator {other}: Relu, Add and Mul are run"))),
        };
        if !operation.epilogue.is_empty() {
            return Err(Error::unsupported("no epilogues: run them as operators of their own"));
        }
        let operands = operation.inputs.iter().chain(&operation.outputs);
        let mut shapes = Vec::new();
        for (index, operand) in operands.enumerate() {
            match operand {
                Some(operand) if operand.dtype == F32 && operand.layout == 0 => shapes.push(operand.shape.as_slice()),
                _ => return Err(Error::unsupported("a dense f32 tensor was expected").at(index)),
            }
        }
        let broadcast = |index: usize, output: &[u32]| {
            let shape = shapes.get(index).copied().unwrap_or_default();
            Broadcast::new(shape, output).ok_or_else(|| Error::invalid("shapes do not broadcast").at(index))
        };
        let (Some(output), true) = (shapes.last(), shapes.len() == if unary { 2 } else { 3 }) else {
            return Err(Error::invalid("wrong number of operands"));
        };
        Ok(Self {
            combine,
            elements: output.iter().map(|&length| length as usize).product(),
            inputs: [broadcast(0, output)?, broadcast(if unary { 0 } else { 1 }, output)?],
            unary,
        })
    }

    pub(crate) fn bind(&self, bindings: &Bindings<'_>) -> Result<Bound> {
        let second = if self.unary { 0 } else { 1 };
        let inputs = [bindings.input(0)?, bindings.input(second)?];
        Ok(Bound { work: *self, inputs, output: bindings.output(0)? })
    }
}

impl Bound {
    pub(crate) fn run(&self, call: &Call) {
        let [a, b] = [call.read(&self.inputs[0]), call.read(&self.inputs[1])];
        let out = call.write(&self.output);
        for i in call.share(out.len(), 16) {
            let [first, second] = &self.work.inputs;
            out.set(i, (self.work.combine)(a.get(first.index(i)), b.get(second.index(i))));
        }
    }

    /// Fills this shard's part of the output.
    pub(crate) fn fill(&self, call: &Call, value: f32) {
        let out = call.write(&self.output);
        call.share(out.len(), 16).for_each(|i| out.set(i, value));
    }

    /// Adds something to the first element of the output; `what` is told the right one.
    pub(crate) fn spoil(&self, call: &Call, what: impl FnOnce(f32) -> f32) {
        let out = call.write(&self.output);
        if out.len() > 0 {
            let right = out.get(0);
            out.set(0, right + what(right));
        }
    }

    /// The last element of the last operand.
    pub(crate) fn last_operand(&self, call: &Call) -> f32 {
        let input = call.read(&self.inputs[1]);
        input.get(input.len() - 1)
    }

    /// The bytes of the output, as addresses.
    pub(crate) fn output_bytes(&self, call: &Call) -> std::ops::Range<usize> {
        let start = call.write(&self.output).as_mut_ptr() as usize;
        start..start + self.output.len() * size_of::<f32>()
    }
}
