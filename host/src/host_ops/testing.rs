//! Nodes and values for the tests of this room.

use super::elements::{string_tensor, texts};
use super::{HostOpError, Value, evaluate};
use sunmao_graph::tensor::{read_integers, read_numbers};
use sunmao_graph::{Attribute, DType, Node, Tensor, ValueId, schema};

/// A node `n` with those attributes and the schema's defaults; an operator of no schema gets none.
pub(super) fn node(op: &str, attributes: &[(&str, Attribute)], outputs: usize) -> Node {
    let mut all: std::collections::BTreeMap<String, Attribute> =
        attributes.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let known = schema::find(op).expect("a known operator");
    for attribute in known.attributes {
        if let Some(default) = attribute.filled() {
            all.entry(attribute.name.to_owned()).or_insert(default);
        }
    }
    Node {
        name: "n".to_owned(),
        op: op.to_owned(),
        revision: known.canonical,
        attributes: all,
        inputs: vec![],
        outputs: (0..outputs).map(|index| Some(ValueId(index as u32))).collect(),
        epilogue: vec![],
    }
}

/// All results of an operator.
#[track_caller]
pub(super) fn run(op: &str, attributes: &[(&str, Attribute)], inputs: &[Value], outputs: usize) -> Vec<Value> {
    let results = try_run(op, attributes, inputs, outputs).expect("the operator runs");
    results.into_iter().map(|result| result.expect("no output is left out")).collect()
}

/// The single result of an operator, a tensor.
#[track_caller]
pub(super) fn run_one(op: &str, attributes: &[(&str, Attribute)], inputs: &[Value]) -> Tensor {
    tensor(run(op, attributes, inputs, 1).remove(0))
}

/// What an operator answers.
pub(super) fn try_run(
    op: &str,
    attributes: &[(&str, Attribute)],
    inputs: &[Value],
    outputs: usize,
) -> Result<Vec<Option<Value>>, HostOpError> {
    let inputs: Vec<Option<Value>> = inputs.iter().cloned().map(Some).collect();
    evaluate(&node(op, attributes, outputs), &inputs)
}

/// What an operator refuses with, without the node's name.
#[track_caller]
pub(super) fn refusal(op: &str, attributes: &[(&str, Attribute)], inputs: &[Value]) -> String {
    try_run(op, attributes, inputs, 1).expect_err("the operator refuses").what
}

pub(super) fn floats(shape: &[u64], values: &[f32]) -> Value {
    Value::Tensor(Tensor::from_f32(shape.to_vec(), values))
}

pub(super) fn integers(shape: &[u64], values: &[i64]) -> Value {
    Value::Tensor(Tensor::from_i64(shape.to_vec(), values))
}

pub(super) fn typed(dtype: DType, shape: &[u64], values: &[f64]) -> Value {
    Value::Tensor(Tensor::from_numbers(dtype, shape.to_vec(), values).expect("a plain type"))
}

pub(super) fn strings(shape: &[u64], values: &[&str]) -> Value {
    Value::Tensor(string_tensor(shape.to_vec(), values).expect("small"))
}

#[track_caller]
pub(super) fn tensor(value: Value) -> Tensor {
    match value {
        Value::Tensor(tensor) => tensor,
        other => panic!("not a tensor: {other:?}"),
    }
}

/// Shape and elements of a tensor of integers or bools.
#[track_caller]
pub(super) fn as_integers(tensor: &Tensor) -> (Vec<u64>, Vec<i64>) {
    (tensor.shape.clone(), read_integers(tensor.dtype, &tensor.bytes).expect("integers"))
}

/// Shape and elements of a tensor of floating-point numbers.
#[track_caller]
pub(super) fn as_numbers(tensor: &Tensor) -> (Vec<u64>, Vec<f64>) {
    (tensor.shape.clone(), read_numbers(tensor.dtype, &tensor.bytes).expect("numbers"))
}

/// Shape and elements of a tensor of strings.
#[track_caller]
pub(super) fn as_texts(tensor: &Tensor) -> (Vec<u64>, Vec<&str>) {
    (tensor.shape.clone(), texts(tensor).expect("strings"))
}
