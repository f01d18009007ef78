//! Operators that run blocks: If, Loop, Scan, SequenceMap. Each block is a program of its own.

mod branch;
mod map;
mod repeat;
mod scan;
mod slices;

use super::run::Context;
use super::{Program, RunError};
use crate::host_ops::{HostOpError, Value};
use sunmao_graph::tensor::read_integers;
use sunmao_graph::{DType, Node, Tensor};

/// An operator with its blocks made ready.
#[derive(Debug)]
pub(super) struct Control {
    /// The operator: its operands, and behind them what its blocks capture.
    pub(super) node: Node,
    /// Its blocks by attribute.
    pub(super) bodies: Vec<(String, Program)>,
}

/// Why the operator itself gave no result; the node is named by whoever hears it.
enum Fault {
    Refused(String),
    Inside(RunError),
}

impl From<RunError> for Fault {
    fn from(error: RunError) -> Self {
        Fault::Inside(error)
    }
}

impl From<String> for Fault {
    fn from(what: String) -> Self {
        Fault::Refused(what)
    }
}

/// The operands of a running operator.
struct Operands {
    /// The operator's own.
    own: Vec<Option<Value>>,
    /// What its blocks capture.
    captured: Vec<Option<Value>>,
}

impl Control {
    /// Runs the operator; one value for each of its outputs, and perhaps more.
    pub(super) fn run(
        &self,
        context: &mut Context<'_>,
        mut inputs: Vec<Option<Value>>,
    ) -> Result<Vec<Value>, RunError> {
        let captured = inputs.split_off(self.node.own_inputs());
        let operands = Operands { own: inputs, captured };
        let results = context.inside(|context| match self.node.op.as_str() {
            "If" => branch::run(self, context, operands),
            "Loop" => repeat::run(self, context, operands),
            "Scan" => scan::run(self, context, operands),
            "sunmao.BatchScan" => scan::run_batch(self, context, operands),
            "SequenceMap" => map::run(self, context, operands),
            _ => Err(Fault::Refused("has blocks, and this host does not know what to do with them".to_owned())),
        });
        results.map_err(|fault| match fault {
            Fault::Inside(error) => error,
            Fault::Refused(what) => HostOpError { node: self.node.label(), op: self.node.op.clone(), what }.into(),
        })
    }

    fn body(&self, key: &str) -> Result<&Program, Fault> {
        let body = self.bodies.iter().find(|(name, _)| name == key);
        body.map(|(_, program)| program).ok_or_else(|| Fault::Refused(format!("has no block `{key}`")))
    }
}

impl Operands {
    fn take(&mut self, index: usize) -> Result<Value, Fault> {
        let value = self.own.get_mut(index).and_then(Option::take);
        value.ok_or_else(|| Fault::Refused(format!("got no input {index}")))
    }
}

fn tensor(value: Value) -> Result<Tensor, Fault> {
    match value {
        Value::Tensor(tensor) => Ok(tensor),
        Value::Sequence(_) => Err(Fault::Refused("got a sequence where it takes a tensor".to_owned())),
        Value::Optional(_) => Err(Fault::Refused("got an optional value where it takes a tensor".to_owned())),
    }
}

/// The one element of a tensor of integers or bools.
fn single(value: Value, what: &str) -> Result<i64, Fault> {
    let tensor = tensor(value)?;
    match read_integers(tensor.dtype, &tensor.bytes).as_deref() {
        Some([single]) => Ok(*single),
        _ => Err(Fault::Refused(format!(
            "takes one integer or bool as its {what} and got {}{:?}",
            tensor.dtype, tensor.shape
        ))),
    }
}

/// One integer or bool of the rank that parameter `index` of a block has: some models declare a vector of one.
fn parameter(body: &Program, index: usize, dtype: DType, number: i64) -> Value {
    let declared = body.graph.inputs.get(index).and_then(|id| body.graph.value(*id).concrete());
    let shape = declared.filter(|shape| shape.iter().all(|length| *length == 1)).unwrap_or_default();
    let bytes = if dtype == DType::Bool { [u8::from(number != 0)][..].into() } else { number.to_le_bytes()[..].into() };
    Value::Tensor(Tensor { dtype, shape, bytes })
}
