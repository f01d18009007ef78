//! One operation with the bytes of its operands.

use super::{Answer, Tensor, dtype};
use std::fmt;
use sunmao_plugin_sdk::Attributes;
use sunmao_plugin_sdk::abi::{self, Attribute, EpilogueStep, Kv};

/// Constants up to this size come with their bytes.
const LITERAL_BYTES: usize = 4096;

/// What the oracle does not know about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown(pub String);

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the oracle does not know {}", self.0)
    }
}

impl std::error::Error for Unknown {}

/// An operand: a tensor, and whether a kernel may take it for a constant.
#[derive(Clone, Debug, PartialEq)]
pub struct Operand {
    /// The bytes.
    pub tensor: Tensor,
    /// Whether the bytes are the same in every run.
    pub constant: bool,
}

/// One operation and its inputs.
#[derive(Clone, Debug)]
pub struct Question {
    /// The operator's name, as the ABI spells it.
    pub op: String,
    /// Its revision.
    pub revision: u16,
    /// Every attribute of the schema.
    pub attributes: Vec<Kv>,
    /// The operator's inputs, then those of the epilogue.
    pub inputs: Vec<Option<Operand>>,
    /// Element types of the outputs.
    pub outputs: Vec<u16>,
    /// Steps on the first output.
    pub epilogue: Vec<EpilogueStep>,
}

impl Question {
    /// An operation without inputs, attributes or outputs yet.
    pub fn new(op: &str, revision: u16) -> Self {
        Self {
            op: op.to_owned(),
            revision,
            attributes: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            epilogue: Vec::new(),
        }
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with(mut self, key: &str, val: Attribute) -> Self {
        self.attributes.push(Kv { key: key.to_owned(), val });
        self
    }

    /// Adds an integer attribute.
    #[must_use]
    pub fn integer(self, key: &str, value: i64) -> Self {
        self.with(key, Attribute::Integer(value))
    }

    /// Adds a list of integers.
    #[must_use]
    pub fn integers(self, key: &str, values: &[i64]) -> Self {
        self.with(key, Attribute::Integers(values.to_vec()))
    }

    /// Adds a number, rounded to what an ONNX FLOAT holds.
    #[must_use]
    pub fn number(self, key: &str, value: f64) -> Self {
        self.with(key, Attribute::Number(f64::from(value as f32)))
    }

    /// Adds a text.
    #[must_use]
    pub fn text(self, key: &str, value: &str) -> Self {
        self.with(key, Attribute::Text(value.to_owned()))
    }

    /// Adds an input that changes between runs.
    #[must_use]
    pub fn input(mut self, tensor: Tensor) -> Self {
        self.inputs.push(Some(Operand { tensor, constant: false }));
        self
    }

    /// Adds an input that is constant if `constant`.
    #[must_use]
    pub fn operand(mut self, tensor: Tensor, constant: bool) -> Self {
        self.inputs.push(Some(Operand { tensor, constant }));
        self
    }

    /// Leaves an optional input out.
    #[must_use]
    pub fn without(mut self) -> Self {
        self.inputs.push(None);
        self
    }

    /// Adds an output of that element type.
    #[must_use]
    pub fn output(mut self, dtype: u16) -> Self {
        self.outputs.push(dtype);
        self
    }

    /// The operation in the ABI's words. `answers` gives the shapes of the outputs.
    pub fn operation(&self, answers: &[Answer]) -> abi::Operation {
        let operand = |dtype, shape: &[usize], constant, literal| abi::Operand {
            dtype,
            shape: shape.iter().map(|&dim| u32::try_from(dim).expect("cases are small")).collect(),
            layout: 0,
            constant,
            literal,
            quantisation: None,
            extents: Vec::new(),
            ext: Vec::new(),
        };
        let input = |given: &Operand| {
            let tensor = &given.tensor;
            let blocks = tensor.dtype >= dtype::Q4_0;
            let literal =
                (given.constant && !blocks && tensor.bytes.len() <= LITERAL_BYTES).then(|| tensor.bytes.clone());
            operand(tensor.dtype, &tensor.shape, given.constant, literal)
        };
        abi::Operation {
            op: self.op.clone(),
            revision: self.revision,
            attributes: self.attributes.clone(),
            inputs: self.inputs.iter().map(|given| given.as_ref().map(input)).collect(),
            outputs: answers.iter().map(|answer| Some(operand(answer.dtype, &answer.shape, false, None))).collect(),
            epilogue: self.epilogue.clone(),
            ext: vec![Kv { key: "node".into(), val: Attribute::Text("case".into()) }],
        }
    }

    /// The same with every operand that the operator does not need to know beforehand given at run time.
    /// `kept` are the inputs that stay constants.
    #[must_use]
    pub fn unfolded(&self, kept: &[usize]) -> Self {
        let mut question = self.clone();
        for (index, operand) in question.inputs.iter_mut().enumerate() {
            if let Some(operand) = operand {
                operand.constant &= kept.contains(&index);
            }
        }
        question
    }

    pub(crate) fn attributes(&self) -> Attributes<'_> {
        Attributes(&self.attributes)
    }

    /// Number of inputs that are the operator's own.
    pub(crate) fn own(&self) -> usize {
        self.inputs.len() - self.epilogue.iter().filter(|step| step.input.is_some()).count()
    }

    /// The operator's own input `index`; none where it was left out.
    pub(crate) fn optional(&self, index: usize) -> Option<&Tensor> {
        if index >= self.own() {
            return None;
        }
        self.inputs[index].as_ref().map(|operand| &operand.tensor)
    }

    pub(crate) fn tensor(&self, index: usize) -> Result<&Tensor, Unknown> {
        self.optional(index).ok_or_else(|| Unknown(format!("{} without input {index}", self.op)))
    }

    /// The integers of an optional input.
    pub(crate) fn list(&self, index: usize) -> Option<Vec<i64>> {
        self.optional(index).map(|tensor| tensor.wholes().iter().map(|&n| n as i64).collect())
    }

    /// An axis attribute, counted from the front.
    pub(crate) fn axis(&self, key: &str, default: i64, rank: usize) -> usize {
        from_front(self.attributes().integer(key).unwrap_or(default), rank)
    }

    pub(crate) fn real(&self, key: &str, default: f64) -> f64 {
        self.attributes().number(key).unwrap_or(default)
    }

    pub(crate) fn whole(&self, key: &str, default: i64) -> i64 {
        self.attributes().integer(key).unwrap_or(default)
    }
}

/// An axis that may count from the back.
pub(crate) fn from_front(axis: i64, rank: usize) -> usize {
    if axis < 0 { (axis + rank as i64) as usize } else { axis as usize }
}
