//! Plain types of the builder interface, and what stands behind it in the host.

use std::any::Any;
use sunmao_plugin_sdk::ErrorCode;

/// Attributes and facts: the plain types of the ABI.
pub use sunmao_plugin_sdk::abi::{Attribute, Kv, Quantisation};

/// A format that an importer reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// `onnx`, `gguf`, ...
    pub id: String,
    /// For a person.
    pub name: String,
    /// Versions that are read, for a person.
    pub versions: String,
    /// Without the dot, lower case.
    pub extensions: Vec<String>,
}

/// A no from the host to an importer, or from an importer to the host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// The kind of error.
    pub code: ErrorCode,
    /// One line for a person.
    pub message: String,
}

impl Rejection {
    /// A no with its reason.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// A dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dim {
    /// A number.
    Known(u64),
    /// The number of a symbol.
    Symbolic(u32),
}

/// A length that a request decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Symbol {
    /// Empty: the host makes one up.
    pub name: String,
    /// Smallest length.
    pub min: u64,
    /// Largest; `u64::MAX`: no bound known.
    pub max: u64,
    /// At least 1.
    pub multiple_of: u64,
    /// Further facts.
    pub ext: Vec<Kv>,
}

/// Where the bytes of a weight are.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// Id of a source.
    pub source: u32,
    /// First byte.
    pub offset: u64,
    /// Bytes as stored.
    pub length: u64,
    /// `raw-le`, ...
    pub encoding: String,
    /// In elements; empty: dense.
    pub strides: Vec<u64>,
    /// Further facts.
    pub ext: Vec<Kv>,
}

/// What a value is initialised with.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A range of a source.
    Weight(Weight),
    /// Bytes.
    Literal(Vec<u8>),
}

/// What lasts from one run of a session to its next.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionState {
    /// `kv`, `ring`, `plain`.
    pub kind: String,
    /// The axis that grows.
    pub axis: Option<u32>,
    /// Largest length of that axis; 0: the host decides.
    pub capacity: u64,
    /// The value that holds the new state.
    pub next: Option<u32>,
}

/// What a value is to the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Comes with a request.
    Input,
    /// Goes to whoever asked.
    Output,
    /// The same in every request.
    Constant,
    /// Lasts from run to run.
    State,
    /// Computed.
    Intermediate,
}

/// A tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Unique in the model, or empty.
    pub name: String,
    /// Element type by its code; 0: unknown.
    pub dtype: u16,
    /// none: rank unknown.
    pub shape: Option<Vec<Dim>>,
    /// What it is.
    pub role: Role,
    /// For constants, and for states that do not start at zero.
    pub content: Option<Content>,
    /// Scale and zero point.
    pub quantisation: Option<Quantisation>,
    /// For states.
    pub state: Option<SessionState>,
    /// Further facts.
    pub ext: Vec<Kv>,
}

/// One operator.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// As in the source.
    pub name: String,
    /// Operator.
    pub op: String,
    /// Opset that it was written for.
    pub opset: u16,
    /// Attributes that the source has.
    pub attributes: Vec<Kv>,
    /// Value numbers.
    pub inputs: Vec<Option<u32>>,
    /// Value numbers.
    pub outputs: Vec<Option<u32>>,
    /// Further facts.
    pub ext: Vec<Kv>,
}

/// The files of a model, by number. 0 is the model file.
pub trait ImportSources: Any + Send {
    /// Name without directory.
    fn name(&self, source: u32) -> String;
    /// Bytes.
    fn size(&self, source: u32) -> u64;
    /// Bytes from `offset` on: as many as asked for, fewer at the end.
    fn read(&mut self, source: u32, offset: u64, length: u32) -> Result<Vec<u8>, Rejection>;
    /// Another file of the model.
    fn open(&mut self, source: u32, relative: &str) -> Result<u32, Rejection>;
    /// What `open` would accept.
    fn siblings(&mut self, source: u32) -> Vec<String>;
    /// Unpacks a range into a new source.
    fn inflate(&mut self, source: u32, offset: u64, length: u64, method: &str, unpacked: u64)
    -> Result<u32, Rejection>;
}

/// Where the graph goes. Every item is judged as it comes.
pub trait ImportSink: Any + Send {
    /// A new symbol.
    fn symbol(&mut self, symbol: Symbol) -> Result<u32, Rejection>;
    /// A new value.
    fn value(&mut self, value: Value) -> Result<u32, Rejection>;
    /// A new block.
    fn block(&mut self) -> Result<u32, Rejection>;
    /// A node of a block.
    fn node(&mut self, block: u32, node: Node) -> Result<(), Rejection>;
    /// The end of a block.
    fn finish_block(&mut self, block: u32, params: &[u32], results: &[u32]) -> Result<(), Rejection>;
    /// A fact about the model.
    fn meta(&mut self, fact: Kv);
    /// Something that was imported other than the file says.
    fn warn(&mut self, message: String);
}
