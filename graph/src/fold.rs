//! Computes what is constant, once and for all.
//!
//! Small integer arithmetic follows from inference; everything else goes to an evaluator that the caller brings (the host runs the
//! portable kernels). Weights are read only when an operator on constants alone needs them.

use crate::error::GraphError;
use crate::infer::{Elem, Inference};
use crate::tensor::{Tensor, TensorType, elements, read_strings};
use crate::text::quoted;
use crate::{Content, DType, Graph, Node, Role, Value, Weight};
use std::sync::Arc;

/// Constants of at most this many bytes are held by the graph itself: kernels settle axes, shapes and bounds by them.
pub const SMALL_BYTES: u64 = 4096;
/// Results beyond this are not folded, unless they are smaller than what they are computed from.
pub const FOLDED_BYTES_MAX: u64 = 64 << 20;

/// Small constants that are brought into the graph, all together. A weight of one repeated element costs a file nothing.
const SMALL_TOTAL_MAX: u64 = 256 << 20;
/// Bytes that a graph may hold itself and still take on results that are larger than what they come from.
const HELD_BYTES_MAX: u64 = 1 << 30;

/// Runs one operator on constants.
pub trait Evaluator {
    /// The outputs, one for each entry of `outputs` that is there; none: it cannot run this operator, which is then left for run time.
    /// An error ends the preparation of the model.
    fn evaluate(
        &mut self,
        node: &Node,
        inputs: &[Option<Tensor>],
        outputs: &[Option<TensorType>],
    ) -> Option<Result<Vec<Tensor>, String>>;
}

/// Reads weights.
pub trait Weights {
    /// The weight's elements as little-endian, dense, row-major bytes, whatever its encoding.
    fn bytes(&self, value: &Value, weight: &Weight) -> Result<Arc<[u8]>, String>;

    /// The same, in place of what `into` held: for a caller that reads many and keeps none.
    fn bytes_into(&self, value: &Value, weight: &Weight, into: &mut Vec<u8>) -> Result<(), String> {
        into.clear();
        into.extend_from_slice(&self.bytes(value, weight)?);
        Ok(())
    }

    /// The same in pieces of `most` bytes, one behind the other, of which only the last may be shorter: for a caller that copies them. An error of
    /// `visit` ends it.
    fn pieces(&self, value: &Value, weight: &Weight, most: usize, visit: &mut Visit<'_>) -> Result<(), String> {
        self.bytes(value, weight)?.chunks(most).try_for_each(visit)
    }

    /// Nobody is expected to read it again soon.
    fn forget(&self, _: &Weight) {}
}

/// What is done with a piece of a weight.
pub type Visit<'a> = dyn FnMut(&[u8]) -> Result<(), String> + 'a;

/// Evaluates nothing: folding is then limited to shape arithmetic.
pub struct NoEvaluator;

impl Evaluator for NoEvaluator {
    fn evaluate(
        &mut self,
        _: &Node,
        _: &[Option<Tensor>],
        _: &[Option<TensorType>],
    ) -> Option<Result<Vec<Tensor>, String>> {
        None
    }
}

/// For graphs whose constants are all at hand.
pub struct NoWeights;

impl Weights for NoWeights {
    fn bytes(&self, _: &Value, _: &Weight) -> Result<Arc<[u8]>, String> {
        Err("there is no source to read it from".to_owned())
    }
}

/// A constant with its bytes; none when the value is not constant.
pub fn read_constant(value: &Value, weights: &dyn Weights) -> Result<Option<Tensor>, GraphError> {
    let Role::Constant(content) = &value.role else { return Ok(None) };
    let refuse = |why: String| GraphError::Weight { value: quoted(&value.name), why };
    let (Some(dtype), Some(shape)) = (value.dtype, value.concrete()) else {
        return Err(refuse("its type is not known".to_owned()));
    };
    let bytes = match content {
        Content::Bytes(bytes) => bytes.clone(),
        Content::Weight(weight) => weights.bytes(value, weight).map_err(refuse)?,
    };
    let expected = match dtype {
        DType::String => {
            let count = read_strings(&bytes).map(|list| list.len() as u64);
            (count == elements(&shape)).then_some(bytes.len() as u64)
        }
        _ => elements(&shape).and_then(|count| dtype.bytes(count)),
    };
    if expected != Some(bytes.len() as u64) {
        return Err(refuse(format!(
            "has {} bytes where {dtype}{shape:?} takes {}",
            bytes.len(),
            expected.unwrap_or_default()
        )));
    }
    Ok(Some(Tensor { dtype, shape, bytes }))
}

/// Brings constants of at most [`SMALL_BYTES`] into the graph.
pub fn load_small(graph: &mut Graph, weights: &dyn Weights) -> Result<(), GraphError> {
    let mut total = 0;
    for value in &mut graph.values {
        if !matches!(value.role, Role::Constant(Content::Weight(_))) || total > SMALL_TOTAL_MAX {
            continue;
        }
        let size = value.concrete().and_then(|shape| value.dtype?.bytes(elements(&shape)?));
        if size.is_some_and(|size| size <= SMALL_BYTES)
            && let Some(tensor) = read_constant(value, weights)?
        {
            total += tensor.bytes.len() as u64;
            value.role = Role::Constant(Content::Bytes(tensor.bytes));
        }
    }
    Ok(())
}

/// Turns computed values that do not depend on a request into constants; answers how many. Types must have been inferred.
pub(crate) fn fold(
    graph: &mut Graph,
    inference: &Inference,
    weights: &dyn Weights,
    evaluator: &mut dyn Evaluator,
) -> Result<usize, GraphError> {
    fold_where(may_fold, graph, inference, weights, evaluator)
}

/// The same for bytes and biases that are made real: at the end, when no operator is going to take them as they are stored.
pub(crate) fn fold_dequantised(
    graph: &mut Graph,
    inference: &Inference,
    weights: &dyn Weights,
    evaluator: &mut dyn Evaluator,
) -> Result<usize, GraphError> {
    fold_where(is_dequantised, graph, inference, weights, evaluator)
}

fn fold_where(
    may_fold: fn(&Graph, &Node) -> bool,
    graph: &mut Graph,
    inference: &Inference,
    weights: &dyn Weights,
    evaluator: &mut dyn Evaluator,
) -> Result<usize, GraphError> {
    let mut held: u64 = graph.values.iter().filter_map(Value::bytes).map(|bytes| bytes.len() as u64).sum();
    let mut folded = 0;
    let mut kept = Vec::with_capacity(graph.nodes.len());
    for node in std::mem::take(&mut graph.nodes) {
        match tensors_of(may_fold, graph, inference, weights, evaluator, &node, held)? {
            None => kept.push(node),
            Some(tensors) => {
                for (id, tensor) in node.outputs.iter().flatten().zip(tensors) {
                    held = held.saturating_add(tensor.bytes.len() as u64);
                    graph.values[id.index()].role = Role::Constant(Content::Bytes(tensor.bytes));
                    folded += 1;
                }
            }
        }
    }
    graph.nodes = kept;
    Ok(folded)
}

fn tensors_of(
    may_fold: fn(&Graph, &Node) -> bool,
    graph: &Graph,
    inference: &Inference,
    weights: &dyn Weights,
    evaluator: &mut dyn Evaluator,
    node: &Node,
    held: u64,
) -> Result<Option<Vec<Tensor>>, GraphError> {
    let kinds: Option<Vec<TensorType>> = node
        .outputs
        .iter()
        .flatten()
        .map(|id| {
            let value = graph.value(*id);
            Some(TensorType { dtype: value.dtype?, shape: value.concrete()? })
        })
        .collect();
    let Some(kinds) = kinds else { return Ok(None) };
    let followed: Option<Vec<Tensor>> =
        node.outputs.iter().flatten().zip(&kinds).map(|(id, kind)| tensor_of(kind, inference.elems(*id)?)).collect();
    if followed.is_some() {
        return Ok(followed);
    }
    if !may_fold(graph, node)
        || node.inputs.is_empty()
        || !node.inputs.iter().flatten().all(|id| graph.value(*id).is_constant())
    {
        return Ok(None);
    }
    let size = |kind: &TensorType| elements(&kind.shape).and_then(|count| kind.dtype.bytes(count));
    let bytes_of = |kinds: &[TensorType]| kinds.iter().try_fold(0u64, |sum, kind| sum.checked_add(size(kind)?));
    let read: Vec<TensorType> = node
        .inputs
        .iter()
        .flatten()
        .filter_map(|id| Some(TensorType { dtype: graph.value(*id).dtype?, shape: graph.value(*id).concrete()? }))
        .collect();
    match (bytes_of(&kinds), bytes_of(&read)) {
        (Some(made), _) if made <= FOLDED_BYTES_MAX && held <= HELD_BYTES_MAX => {}
        (Some(made), Some(read)) if made <= read => {}
        _ => return Ok(None),
    }
    let inputs: Vec<Option<Tensor>> = node
        .inputs
        .iter()
        .map(|input| match input {
            Some(id) => read_constant(graph.value(*id), weights),
            None => Ok(None),
        })
        .collect::<Result<_, _>>()?;
    let refuse = |why: String| GraphError::Evaluate { node: node.label(), op: node.op.clone(), why };
    let mut present = kinds.iter().cloned();
    let outputs: Vec<Option<TensorType>> =
        node.outputs.iter().map(|output| output.and_then(|_| present.next())).collect();
    let Some(result) = evaluator.evaluate(node, &inputs, &outputs) else { return Ok(None) };
    let tensors = result.map_err(refuse)?;
    if tensors.len() != kinds.len()
        || tensors
            .iter()
            .zip(&kinds)
            .any(|(tensor, kind)| tensor.kind() != *kind || Some(tensor.bytes.len() as u64) != size(kind))
    {
        return Err(refuse("the evaluator gave results of another type than inference".to_owned()));
    }
    Ok(Some(tensors))
}

/// Operators whose result is not the same each time, or that carry quantisation which a device wants to see.
fn may_fold(_: &Graph, node: &Node) -> bool {
    node.epilogue.is_empty()
        && node.blocks().next().is_none()
        && !matches!(
            node.op.as_str(),
            "RandomNormal"
                | "RandomNormalLike"
                | "RandomUniform"
                | "RandomUniformLike"
                | "Bernoulli"
                | "Multinomial"
                | "DequantizeLinear"
                | "sunmao.QMatMul"
        )
}

/// Types below a byte stay as they are stored: they would grow eight times and more.
fn is_dequantised(graph: &Graph, node: &Node) -> bool {
    let stored = node.input(0).and_then(|id| graph.value(id).dtype);
    node.op == "DequantizeLinear" && matches!(stored, Some(DType::U8 | DType::I8 | DType::I32))
}

fn tensor_of(kind: &TensorType, elems: &[Elem]) -> Option<Tensor> {
    let integers = || {
        elems
            .iter()
            .map(|elem| if let Elem::Int(value) = elem { Some(*value) } else { None })
            .collect::<Option<Vec<_>>>()
    };
    match kind.dtype {
        DType::I64 => Some(Tensor::from_i64(kind.shape.clone(), &integers()?)),
        DType::I32 | DType::Bool => {
            let numbers: Vec<f64> = integers()?.into_iter().map(|value| value as f64).collect();
            Tensor::from_numbers(kind.dtype, kind.shape.clone(), &numbers)
        }
        DType::F32 | DType::F64 => {
            let numbers: Option<Vec<f64>> =
                elems.iter().map(|elem| if let Elem::Float(value) = elem { Some(*value) } else { None }).collect();
            Tensor::from_numbers(kind.dtype, kind.shape.clone(), &numbers?)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
