//! A node with the values that it works on: typed access, and errors for what does not fit.

use super::Value;
use super::limits::check_bytes;
use sunmao_graph::tensor::{elements, read_integers, read_numbers};
use sunmao_graph::{Attribute, DType, Node, Tensor};

/// The results, one for each output of the operator, or what is wrong.
pub(super) type Outcome = Result<Vec<Value>, String>;

/// One run of a node.
pub(super) struct Call<'a> {
    pub(super) node: &'a Node,
    inputs: &'a [Option<Value>],
}

impl<'a> Call<'a> {
    pub(super) fn new(node: &'a Node, inputs: &'a [Option<Value>]) -> Self {
        Call { node, inputs }
    }

    /// Input `index`, when it is given.
    pub(super) fn value(&self, index: usize) -> Option<&'a Value> {
        self.inputs.get(index)?.as_ref()
    }

    /// All inputs that are given, in order.
    pub(super) fn values(&self) -> impl Iterator<Item = &'a Value> {
        self.inputs.iter().flatten()
    }

    /// Input `index`, which must be a tensor.
    pub(super) fn tensor(&self, index: usize) -> Result<&'a Tensor, String> {
        self.optional_tensor(index)?.ok_or_else(|| format!("lacks input {index}; the model is damaged"))
    }

    /// Input `index`, which must be a tensor if it is given.
    pub(super) fn optional_tensor(&self, index: usize) -> Result<Option<&'a Tensor>, String> {
        match self.value(index) {
            None => Ok(None),
            Some(Value::Tensor(tensor)) => check_tensor(tensor).map(|()| Some(tensor)),
            Some(other) => Err(format!("needs a tensor as input {index} and got {}", kind(other))),
        }
    }

    /// Input `index`, which must be a sequence.
    pub(super) fn sequence(&self, index: usize) -> Result<&'a [Value], String> {
        match self.value(index) {
            Some(Value::Sequence(members)) => Ok(members),
            Some(other) => Err(format!("needs a sequence as input {index} and got {}", kind(other))),
            None => Err(format!("lacks input {index}; the model is damaged")),
        }
    }

    /// The elements of input `index`, a tensor of integers.
    pub(super) fn integers(&self, index: usize) -> Result<Vec<i64>, String> {
        let tensor = self.tensor(index)?;
        read_integers(tensor.dtype, &tensor.bytes)
            .ok_or_else(|| format!("needs integers as input {index} and got {}", tensor.dtype))
    }

    /// The single element of input `index`, an integer.
    pub(super) fn integer(&self, index: usize) -> Result<i64, String> {
        match self.integers(index)?.as_slice() {
            [single] => Ok(*single),
            more => Err(format!("needs one integer as input {index} and got {}", more.len())),
        }
    }

    /// The elements of input `index`, a tensor of floating-point numbers.
    pub(super) fn numbers(&self, index: usize) -> Result<Vec<f64>, String> {
        let tensor = self.tensor(index)?;
        read_numbers(tensor.dtype, &tensor.bytes)
            .ok_or_else(|| format!("needs floating-point numbers as input {index} and got {}", tensor.dtype))
    }

    /// The single element of input `index`, a floating-point number.
    pub(super) fn number(&self, index: usize) -> Result<f64, String> {
        match self.numbers(index)?.as_slice() {
            [single] => Ok(*single),
            more => Err(format!("needs one number as input {index} and got {}", more.len())),
        }
    }

    /// The attribute `axis` as an index into a shape of that rank; none when the node has no such attribute.
    pub(super) fn axis(&self, rank: usize) -> Result<Option<usize>, String> {
        self.node.integer("axis").map(|axis| axis_index(axis, rank)).transpose()
    }

    /// An integer attribute that the schema fills in.
    pub(super) fn attribute(&self, key: &str) -> Result<i64, String> {
        self.node.integer(key).ok_or_else(|| lacks(key))
    }

    /// A floating-point attribute that the schema fills in.
    pub(super) fn number_attribute(&self, key: &str) -> Result<f64, String> {
        self.node.number(key).ok_or_else(|| lacks(key))
    }

    /// A text attribute that the schema fills in.
    pub(super) fn text(&self, key: &str) -> Result<&'a str, String> {
        self.node.text(key).ok_or_else(|| lacks(key))
    }

    /// A list of numbers in an attribute, when it is given.
    pub(super) fn number_list(&self, key: &str) -> Option<&'a [f64]> {
        match self.node.attributes.get(key) {
            Some(Attribute::Numbers(list)) => Some(list),
            _ => None,
        }
    }

    /// A list of texts in an attribute, when it is given.
    pub(super) fn text_list(&self, key: &str) -> Option<&'a [String]> {
        match self.node.attributes.get(key) {
            Some(Attribute::Texts(list)) => Some(list),
            _ => None,
        }
    }

    /// The element type that an attribute names by its code; none when it is absent or 0.
    pub(super) fn dtype_attribute(&self, key: &str) -> Result<Option<DType>, String> {
        match self.node.integer(key) {
            None | Some(0) => Ok(None),
            Some(code) => u16::try_from(code)
                .ok()
                .and_then(DType::from_code)
                .map(Some)
                .ok_or_else(|| format!("names the unknown element type {code} in `{key}`; export the model anew")),
        }
    }
}

fn lacks(key: &str) -> String {
    format!("lacks the attribute `{key}`; the model is damaged")
}

/// An axis as an index; negative ones count from the end.
pub(super) fn axis_index(axis: i64, rank: usize) -> Result<usize, String> {
    place(axis, rank).ok_or_else(|| format!("names axis {axis} of a tensor of rank {rank}; give one of its axes"))
}

/// A place in a list of that length; negative ones count from the end.
pub(super) fn place(index: i64, length: usize) -> Option<usize> {
    let own = if index < 0 { index.checked_add(i64::try_from(length).ok()?)? } else { index };
    usize::try_from(own).ok().filter(|own| *own < length)
}

/// What a message calls a value.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Tensor(_) => "a tensor",
        Value::Sequence(_) => "a sequence",
        Value::Optional(_) => "an optional value",
    }
}

/// A single result.
pub(super) fn one(tensor: Tensor) -> Outcome {
    Ok(vec![Value::Tensor(tensor)])
}

/// A tensor of bools; `values` must be as many as `shape` has elements.
pub(super) fn bools(shape: Vec<u64>, values: impl Iterator<Item = bool>) -> Tensor {
    Tensor { dtype: DType::Bool, shape, bytes: values.map(u8::from).collect() }
}

/// Numbers rounded to an element type; the result must fit the limits, and the type must be a plain one.
pub(super) fn numbers_as(dtype: DType, shape: Vec<u64>, values: &[f64]) -> Result<Tensor, String> {
    check_bytes(dtype.bytes(values.len() as u64))?;
    Tensor::from_numbers(dtype, shape, values)
        .ok_or_else(|| format!("cannot make {dtype}; choose a plain number type such as f32"))
}

/// The bytes are as many as the shape says. Strings are checked when they are read.
fn check_tensor(tensor: &Tensor) -> Result<(), String> {
    let expected = elements(&tensor.shape).and_then(|count| tensor.dtype.bytes(count));
    if tensor.dtype == DType::String || expected == Some(tensor.bytes.len() as u64) {
        return Ok(());
    }
    Err(format!(
        "got {} bytes for {}{:?}; give as many as its shape has",
        tensor.bytes.len(),
        tensor.dtype,
        tensor.shape
    ))
}
