//! The graph itself: values, nodes, symbols. Plain data; the modules beside this one give it meaning.

use crate::DType;
use std::collections::BTreeMap;
use std::sync::Arc;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);
        impl $name {
            /// Its place in the graph's list.
            pub fn index(self) -> usize { self.0 as usize }
        }
    )* };
}
ids! {
    /// Number of a value in [`Graph::values`].
    ValueId;
    /// Number of a node in [`Graph::nodes`].
    NodeId;
    /// Number of a symbol in [`Graph::symbols`].
    SymbolId;
}

/// One axis of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// A number.
    Known(u64),
    /// A length that a request decides.
    Symbol(SymbolId),
    /// Follows from symbols in a way that is not written down; known once they are.
    Unknown,
}

impl Dim {
    /// The number, when it is known.
    pub fn known(self) -> Option<u64> {
        match self {
            Dim::Known(n) => Some(n),
            _ => None,
        }
    }
}

/// A length that a request decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Unique in the graph.
    pub name: String,
    /// Smallest length.
    pub min: u64,
    /// Largest length; `u64::MAX`: no bound known.
    pub max: u64,
    /// The length is a multiple of this; at least 1.
    pub multiple_of: u64,
}

/// Where the bytes of a weight are, in the files that were imported.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Weight {
    /// Number of the source (0: the model file).
    pub source: u32,
    /// First byte.
    pub offset: u64,
    /// Bytes as stored.
    pub length: u64,
    /// `raw-le`, `varint`, `bits`, ... as the ABI names them.
    pub encoding: String,
}

/// The bytes of a constant: here, or in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A range of a source, read when it is needed.
    Weight(Weight),
    /// Little-endian, dense, row-major.
    Bytes(Arc<[u8]>),
}

/// What a value is to the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Comes with each request.
    Input,
    /// The same in every request.
    Constant(Content),
    /// Computed by a node. Model outputs are those that [`Graph::outputs`] lists.
    Computed,
}

/// What tensors are packed into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Container {
    /// Nothing: the value is a tensor.
    #[default]
    Tensor,
    /// Tensors of one element type, in order.
    Sequence,
    /// A tensor, or nothing.
    Optional,
    /// A sequence, or nothing.
    OptionalSequence,
}

impl Container {
    /// Its name in the ABI's `container` key and in texts.
    pub fn name(self) -> &'static str {
        match self {
            Container::Tensor => "tensor",
            Container::Sequence => "sequence",
            Container::Optional => "optional",
            Container::OptionalSequence => "optional-sequence",
        }
    }

    /// The container of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Tensor, Self::Sequence, Self::Optional, Self::OptionalSequence].into_iter().find(|c| c.name() == name)
    }
}

/// A tensor, or a container of tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// As in the source; unique and not empty.
    pub name: String,
    /// Element type; none until inference has found it.
    pub dtype: Option<DType>,
    /// none: not even the rank is known. Of a container: that of its tensors.
    pub shape: Option<Vec<Dim>>,
    /// What the tensors are packed into.
    pub container: Container,
    /// What it is.
    pub role: Role,
}

impl Value {
    /// A tensor that a node will make, of a type that inference finds.
    pub fn computed(name: String) -> Self {
        Value { name, dtype: None, shape: None, container: Container::Tensor, role: Role::Computed }
    }

    /// The shape as numbers, when all of them are known.
    pub fn concrete(&self) -> Option<Vec<u64>> {
        self.shape.as_ref()?.iter().map(|dim| dim.known()).collect()
    }

    /// The bytes, when it is a constant that the graph itself holds.
    pub fn bytes(&self) -> Option<&Arc<[u8]>> {
        match &self.role {
            Role::Constant(Content::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// Whether it is a constant.
    pub fn is_constant(&self) -> bool {
        matches!(self.role, Role::Constant(_))
    }
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// ONNX INT.
    Integer(i64),
    /// ONNX FLOAT.
    Number(f64),
    /// ONNX STRING.
    Text(String),
    /// ONNX INTS.
    Integers(Vec<i64>),
    /// ONNX FLOATS.
    Numbers(Vec<f64>),
    /// ONNX STRINGS.
    Texts(Vec<String>),
    /// Opaque bytes.
    Bytes(Vec<u8>),
    /// ONNX TENSOR: a constant value of the same graph.
    Value(ValueId),
}

/// A step on a node's result before it is stored; steps apply in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Epilogue {
    /// `bias`: add along the channel axis; `add`: add a tensor of the output's shape; else the name of an activation operator.
    pub op: String,
    /// Index into the node's `inputs` of the second operand; none for an activation.
    pub input: Option<usize>,
    /// Attributes of the activation, defaults filled in.
    pub attributes: BTreeMap<String, Attribute>,
}

/// One operator.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// As in the source; for messages. May be empty.
    pub name: String,
    /// ONNX name; other domains in front, with a dot.
    pub op: String,
    /// ONNX `since_version` of the operator (not an opset number) once validated; the opset number of the source before.
    pub revision: u16,
    /// Every attribute of the schema once validated, defaults filled in.
    pub attributes: BTreeMap<String, Attribute>,
    /// none: optional and left out. An epilogue's operands stand behind the operator's own.
    pub inputs: Vec<Option<ValueId>>,
    /// none: optional and left out.
    pub outputs: Vec<Option<ValueId>>,
    /// Steps that [`crate::fuse`] hung on the result.
    pub epilogue: Vec<Epilogue>,
}

impl Node {
    /// What messages call it: its name, or its first output's number when it has none.
    pub fn label(&self) -> String {
        if !self.name.is_empty() {
            return crate::text::quoted(&self.name);
        }
        match self.outputs.iter().flatten().next() {
            Some(output) => format!("(unnamed, makes value {})", output.0),
            None => "(unnamed)".to_owned(),
        }
    }

    /// How many of `inputs` are the operator's own; an epilogue's operands stand behind them.
    pub fn own_inputs(&self) -> usize {
        self.epilogue.iter().filter_map(|step| step.input).min().unwrap_or(self.inputs.len()).min(self.inputs.len())
    }

    /// Input `index` when it is there.
    pub fn input(&self, index: usize) -> Option<ValueId> {
        self.inputs.get(index).copied().flatten()
    }

    /// Output `index` when it is there.
    pub fn output(&self, index: usize) -> Option<ValueId> {
        self.outputs.get(index).copied().flatten()
    }

    /// An integer attribute.
    pub fn integer(&self, key: &str) -> Option<i64> {
        match self.attributes.get(key) {
            Some(Attribute::Integer(value)) => Some(*value),
            _ => None,
        }
    }

    /// A floating-point attribute.
    pub fn number(&self, key: &str) -> Option<f64> {
        match self.attributes.get(key) {
            Some(Attribute::Number(value)) => Some(*value),
            _ => None,
        }
    }

    /// A text attribute.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.attributes.get(key) {
            Some(Attribute::Text(value)) => Some(value),
            _ => None,
        }
    }

    /// A list of integers.
    pub fn integers(&self, key: &str) -> Option<&[i64]> {
        match self.attributes.get(key) {
            Some(Attribute::Integers(value)) => Some(value),
            _ => None,
        }
    }
}

/// A model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// Lengths that a request decides.
    pub symbols: Vec<Symbol>,
    /// All tensors; some may be unused after a pass.
    pub values: Vec<Value>,
    /// Operators, in an order that runs.
    pub nodes: Vec<Node>,
    /// What a request brings.
    pub inputs: Vec<ValueId>,
    /// What a request gets, in order.
    pub outputs: Vec<ValueId>,
    /// Facts about the model: producer, licence, labels, ...
    pub meta: BTreeMap<String, String>,
}

impl Graph {
    /// The value of that number.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// Adds a value and answers its number.
    pub fn add_value(&mut self, value: Value) -> ValueId {
        let id = ValueId(u32::try_from(self.values.len()).expect("fewer than 2^32 values: checked on import"));
        self.values.push(value);
        id
    }
}
