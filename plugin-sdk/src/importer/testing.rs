//! Native stand-ins for the host, for the tests and fuzzers of importers.

use super::{Attribute, Bytes, Error, ErrorCode, Kv, Node, Result, Sink, Symbol, Value};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Files in memory: the model under its own name, its siblings beside it.
#[derive(Clone, Debug)]
pub struct MemorySource {
    files: Rc<BTreeMap<String, Rc<[u8]>>>,
    name: String,
    /// Names opened so far, by id; shared by every handle of one import.
    opened: Rc<RefCell<Vec<String>>>,
    id: u32,
}

impl MemorySource {
    /// A model file alone.
    pub fn new(name: &str, bytes: impl Into<Rc<[u8]>>) -> Self {
        Self::with_siblings(name, bytes, &[])
    }

    /// A model file and what lies beside it.
    pub fn with_siblings(name: &str, bytes: impl Into<Rc<[u8]>>, siblings: &[(&str, &[u8])]) -> Self {
        let mut files: BTreeMap<String, Rc<[u8]>> =
            siblings.iter().map(|(name, bytes)| ((*name).to_string(), Rc::from(*bytes))).collect();
        files.insert(name.into(), bytes.into());
        Self { files: Rc::new(files), name: name.into(), opened: Rc::new(RefCell::new(vec![name.into()])), id: 0 }
    }

    fn bytes(&self) -> &[u8] {
        &self.files[&self.name]
    }
}

impl Bytes for MemorySource {
    fn id(&self) -> u32 {
        self.id
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn size(&self) -> u64 {
        self.bytes().len() as u64
    }

    fn read(&self, offset: u64, length: u32) -> Result<Vec<u8>> {
        if length > super::MAX_READ_BYTES {
            return Err(Error::limit(format!("a read of {length} bytes")));
        }
        let bytes = self.bytes();
        let start = offset.min(bytes.len() as u64) as usize;
        let end = (start + length as usize).min(bytes.len());
        Ok(bytes[start..end].to_vec())
    }

    fn open(&self, relative: &str) -> Result<Self> {
        if !self.files.contains_key(relative) {
            return Err(Error::new(ErrorCode::NotFound, format!("no file `{relative}` beside the model")));
        }
        let mut opened = self.opened.borrow_mut();
        let id = opened.iter().position(|name| name == relative).unwrap_or_else(|| {
            opened.push(relative.into());
            opened.len() - 1
        });
        Ok(Self { name: relative.into(), id: id as u32, ..self.clone() })
    }
}

/// A closed block.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// Its nodes, in the order in which they came.
    pub nodes: Vec<Node>,
    /// Value numbers of its parameters.
    pub params: Vec<u32>,
    /// Value numbers of its results.
    pub results: Vec<u32>,
    /// Whether `finish_block` was called.
    pub finished: bool,
}

/// Everything that an import said, in order.
#[derive(Debug, Default)]
pub struct Recorded {
    /// Symbols by number.
    pub symbols: Vec<Symbol>,
    /// Values by number.
    pub values: Vec<Value>,
    /// Blocks by number; block 0 is the model.
    pub blocks: Vec<Block>,
    /// Facts.
    pub meta: Vec<Kv>,
    /// Warnings.
    pub warnings: Vec<String>,
}

impl Recorded {
    /// The value of that name.
    pub fn named(&self, name: &str) -> Option<(u32, &Value)> {
        let index = self.values.iter().position(|value| value.name == name)?;
        Some((index as u32, &self.values[index]))
    }

    /// The fact under that key.
    pub fn fact(&self, key: &str) -> Option<&Attribute> {
        self.meta.iter().rev().find(|kv| kv.key == key).map(|kv| &kv.val)
    }
}

/// A sink that keeps what it is given, and refuses numbers that do not exist, as the host does.
#[derive(Debug)]
pub struct Recorder(RefCell<Recorded>);

impl Default for Recorder {
    fn default() -> Self {
        Self(RefCell::new(Recorded { blocks: vec![Block::default()], ..Recorded::default() }))
    }
}

impl Recorder {
    /// What was recorded.
    pub fn into_inner(self) -> Recorded {
        self.0.into_inner()
    }
}

fn push<T>(list: &mut Vec<T>, item: T) -> u32 {
    list.push(item);
    list.len() as u32 - 1
}

impl Recorded {
    fn check_values(&self, numbers: impl Iterator<Item = u32>) -> Result<()> {
        for number in numbers {
            if number as usize >= self.values.len() {
                return Err(Error::invalid(format!("no value {number}")));
            }
        }
        Ok(())
    }

    fn open_block(&mut self, block: u32) -> Result<&mut Block> {
        match self.blocks.get_mut(block as usize) {
            Some(open) if !open.finished => Ok(open),
            _ => Err(Error::invalid(format!("no open block {block}"))),
        }
    }
}

impl Sink for Recorder {
    fn symbol(&self, symbol: &Symbol) -> Result<u32> {
        Ok(push(&mut self.0.borrow_mut().symbols, symbol.clone()))
    }

    fn value(&self, value: &Value) -> Result<u32> {
        let mut recorded = self.0.borrow_mut();
        let dims = value.shape.iter().flatten();
        for dim in dims {
            if let super::Dim::Symbolic(symbol) = dim
                && *symbol as usize >= recorded.symbols.len()
            {
                return Err(Error::invalid(format!("no symbol {symbol}")));
            }
        }
        if let Some(super::Content::Literal(bytes)) = &value.content
            && bytes.len() > super::MAX_LITERAL_BYTES
        {
            return Err(Error::limit(format!("a literal of {} bytes", bytes.len())));
        }
        Ok(push(&mut recorded.values, value.clone()))
    }

    fn block(&self) -> Result<u32> {
        Ok(push(&mut self.0.borrow_mut().blocks, Block::default()))
    }

    fn node(&self, block: u32, node: &Node) -> Result<()> {
        let mut recorded = self.0.borrow_mut();
        recorded.check_values(node.inputs.iter().chain(&node.outputs).copied().flatten())?;
        for attribute in &node.attributes {
            match attribute.val {
                Attribute::Value(number) => recorded.check_values(std::iter::once(number))?,
                Attribute::Block(number) if !recorded.blocks.get(number as usize).is_some_and(|b| b.finished) => {
                    return Err(Error::invalid(format!("no finished block {number}")));
                }
                _ => {}
            }
        }
        recorded.open_block(block)?.nodes.push(node.clone());
        Ok(())
    }

    fn finish_block(&self, block: u32, params: &[u32], results: &[u32]) -> Result<()> {
        let mut recorded = self.0.borrow_mut();
        recorded.check_values(params.iter().chain(results).copied())?;
        if block == 0 && recorded.blocks[1..].iter().any(|block| !block.finished) {
            return Err(Error::invalid("block 0 finished before the others"));
        }
        let open = recorded.open_block(block)?;
        open.params = params.to_vec();
        open.results = results.to_vec();
        open.finished = true;
        Ok(())
    }

    fn meta(&self, key: &str, value: Attribute) {
        self.0.borrow_mut().meta.push(Kv { key: key.into(), val: value });
    }

    fn warn(&self, message: &str) {
        self.0.borrow_mut().warnings.push(message.into());
    }
}
