//! The chip `{name}`: Relu, Add and Mul on f32. Everything else of a model runs on the host.
//!
//! Three places make an operator: a row in `operators`, an arm in `prepare`, and the code that runs. The contract in full is `kernel.wit` of
//! the plugin SDK; its comments say what every function may and must do.

use sunmao_plugin_sdk::abi::{Info, Operand, Operation, OperatorSupport, Requirements, Signature, Tolerance};
use sunmao_plugin_sdk::{Bindings, Call, Chip, Dispatch, Error, Kernel, Result, export_chip};

#[cfg(test)]
mod tests;

/// Element type, by the code that ONNX gives it.
const F32: u16 = 1;
const RANK_MAX: usize = 8;

struct MyChip;

impl Chip for MyChip {
    fn describe() -> Info {
        Info {
            id: "{name}".into(),
            vendor: "your name".into(),
            name: "{name}".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            isa: "wasm-scalar".into(),
            vector_bits: 0,
            alignment: 64,
            max_shards: 64,
            deterministic: true,
            units: Vec::new(),
            ext: Vec::new(),
        }
    }

    /// Every row is a promise: `prepare` accepts what it covers.
    fn operators() -> Vec<OperatorSupport> {
        let row = |op: &str, oldest, inputs| OperatorSupport {
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
        };
        vec![
            row("Relu", 6, 1),
            row("Add", 7, 2),
            row("Mul", 7, 2),
        ]
    }

    /// One operation at concrete shapes: choose the code here, once, not in every run.
    fn prepare(operation: &Operation) -> Result<Box<dyn Kernel>> {
        let combine: fn(f32, f32) -> f32 = match (operation.op.as_str(), operation.inputs.len()) {
            ("Relu", 1) => |x, _| if x < 0.0 { 0.0 } else { x }, // NaN stays NaN
            ("Add", 2) => |x, y| x + y,
            ("Mul", 2) => |x, y| x * y,
            (other, _) => return Err(Error::unsupported(format!("this chip has no operator {other}"))),
        };
        if !operation.epilogue.is_empty() {
            return Err(Error::unsupported("no epilogues: run them as operators of their own"));
        }
        let [output] = operation.outputs.as_slice() else { return Err(Error::invalid("one output was expected")) };
        let shape = &tensor(output, operation.inputs.len())?.shape;
        let inputs = operation.inputs.iter().enumerate();
        let inputs: Result<Vec<_>> = inputs.map(|(i, x)| Broadcast::new(&tensor(x, i)?.shape, shape, i)).collect();
        let elements = shape.iter().map(|&length| length as usize).product();
        Ok(Box::new(Elementwise { combine, elements, inputs: inputs? }))
    }
}

/// The operand at `index`, when it is there and dense f32.
fn tensor(operand: &Option<Operand>, index: usize) -> Result<&Operand> {
    match operand {
        Some(x) if x.dtype == F32 && x.layout == 0 && x.shape.len() <= RANK_MAX => Ok(x),
        _ => Err(Error::unsupported("a dense f32 tensor of at most 8 axes was expected").at(index)),
    }
}

struct Elementwise {
    combine: fn(f32, f32) -> f32,
    elements: usize,
    inputs: Vec<Broadcast>,
}

impl Kernel for Elementwise {
    fn requirements(&self) -> Requirements {
        // A shard should have some 20 microseconds of work, or handing it out costs more than it saves.
        Requirements { shards: (self.elements / 16384).clamp(1, 64) as u32, ..Requirements::simple() }
    }

    /// A dispatch: where the tensors are, and the closure that does one shard. It allocates nothing.
    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        // Relu has one input: its first is also its last.
        let last = self.inputs.len() - 1;
        let (x, y, out) = (bindings.input::<f32>(0)?, bindings.input::<f32>(last)?, bindings.output::<f32>(0)?);
        let (combine, at_x, at_y) = (self.combine, self.inputs[0], self.inputs[last]);
        Ok(Box::new(move |call: &Call| {
            let (x, y, out) = (call.read(&x), call.read(&y), call.write(&out));
            for i in call.share(out.len(), 16) {
                out.set(i, combine(x.get(at_x.index(i)), y.get(at_y.index(i))));
            }
            Ok(())
        }))
    }
}

/// Which element of an input belongs to an element of the output: axes of length 1 repeat, missing axes in front do too.
#[derive(Clone, Copy)]
struct Broadcast {
    dense: bool,
    /// For each axis of the output, the last one first: its length, and the input's step along it.
    axes: [(usize, usize); RANK_MAX],
}

impl Broadcast {
    fn new(input: &[u32], output: &[u32], index: usize) -> Result<Self> {
        let mut axes = [(1, 0); RANK_MAX];
        let mut step = 1;
        for (axis, &length) in output.iter().rev().enumerate() {
            let own = input.iter().rev().nth(axis).copied().unwrap_or(1);
            if input.len() > output.len() || (own != length && own != 1) {
                return Err(Error::invalid(format!("shape {input:?} does not broadcast to {output:?}")).at(index));
            }
            axes[axis] = (length as usize, if own == 1 { 0 } else { step });
            step *= own as usize;
        }
        Ok(Self { dense: input == output, axes })
    }

    fn index(&self, mut element: usize) -> usize {
        if self.dense {
            return element;
        }
        let mut index = 0;
        for (length, step) in self.axes {
            index += element % length * step;
            element /= length;
        }
        index
    }
}

export_chip!(MyChip);
