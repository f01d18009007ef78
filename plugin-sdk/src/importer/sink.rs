//! Where an importer puts the graph.

use super::{Attribute, Builder, Content, Dim, Kv, Node, Result, Role, Symbol, Value, Weight};

/// The graph being built: [`Builder`] inside a component, [`super::testing::Recorder`] in a native test. Numbers count up from 0 for each
/// kind; block 0 exists from the start and is the model itself.
pub trait Sink {
    /// Declares a length that a request decides.
    fn symbol(&self, symbol: &Symbol) -> Result<u32>;
    /// Declares a tensor.
    fn value(&self, value: &Value) -> Result<u32>;
    /// Opens a further block, for a branch or a loop body.
    fn block(&self) -> Result<u32>;
    /// Appends a node to a block; the order does not matter.
    fn node(&self, block: u32, node: &Node) -> Result<()>;
    /// Closes a block and names its parameters and results. Block 0 last.
    fn finish_block(&self, block: u32, params: &[u32], results: &[u32]) -> Result<()>;
    /// A fact about the model.
    fn meta(&self, key: &str, value: Attribute);
    /// Something that was imported other than the file says.
    fn warn(&self, message: &str);
}

impl Sink for Builder {
    fn symbol(&self, symbol: &Symbol) -> Result<u32> {
        Builder::symbol(self, symbol)
    }

    fn value(&self, value: &Value) -> Result<u32> {
        Builder::value(self, value)
    }

    fn block(&self) -> Result<u32> {
        Builder::block(self)
    }

    fn node(&self, block: u32, node: &Node) -> Result<()> {
        Builder::node(self, block, node)
    }

    fn finish_block(&self, block: u32, params: &[u32], results: &[u32]) -> Result<()> {
        Builder::finish_block(self, block, params, results)
    }

    fn meta(&self, key: &str, value: Attribute) {
        Builder::meta(self, &Kv { key: key.into(), val: value });
    }

    fn warn(&self, message: &str) {
        Builder::warn(self, message);
    }
}

impl Symbol {
    /// A length of which nothing is known but its name.
    pub fn free(name: impl Into<String>) -> Self {
        Self { name: name.into(), min: 0, max: u64::MAX, multiple_of: 1, ext: Vec::new() }
    }
}

impl Value {
    /// A tensor without content.
    pub fn new(name: impl Into<String>, dtype: u16, shape: Option<Vec<Dim>>, role: Role) -> Self {
        Self { name: name.into(), dtype, shape, role, content: None, quantisation: None, state: None, ext: Vec::new() }
    }

    /// A tensor that is the same in every request.
    pub fn constant(name: impl Into<String>, dtype: u16, dims: &[u64], content: Content) -> Self {
        let shape = dims.iter().map(|&dim| Dim::Known(dim)).collect();
        Self { content: Some(content), ..Self::new(name, dtype, Some(shape), Role::Constant) }
    }
}

impl Weight {
    /// A dense range of a source.
    pub fn range(source: u32, offset: u64, length: u64, encoding: &str) -> Self {
        Self { source, offset, length, encoding: encoding.into(), strides: Vec::new(), ext: Vec::new() }
    }
}
