//! What an import keeps while it runs: the names of values, scope by scope, the symbols, the opsets, and the bounds on all of them.

use crate::node::Function;
use crate::scan::{Scanner, quoted};
use crate::shape::{Axis, Declared};
use crate::tensor::{Data, Siblings, Tensor};
use crate::{OPSET_MAX, OPSET_MIN};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use sunmao_plugin_sdk::importer::{
    Attribute, Bytes, Content, Dim, Error, MAX_LITERAL_BYTES, Node, Result, Role, Sink, Symbol, Value,
};

/// Nodes visited in one import, those of inlined functions counted at each call.
pub(crate) const NODES_MAX: u32 = 1 << 20;
/// Values declared in one import.
const VALUES_MAX: u32 = 1 << 22;
/// Symbols declared in one import.
const SYMBOLS_MAX: usize = 1 << 16;
/// Graphs within graphs, functions within functions.
pub(crate) const DEPTH_MAX: u32 = 32;

/// The ABI's code for strings.
const STRING: u16 = 8;

/// Framed strings in pieces of a literal each, with how many strings each has. A string that is longer is a piece of its own.
fn frames(bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let (mut pieces, mut start, mut at, mut count) = (Vec::new(), 0, 0, 0);
    while let Some(length) = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
        let next = at + 4 + u32::from_le_bytes(*length) as usize;
        if next - start > MAX_LITERAL_BYTES && count > 0 {
            pieces.push((count, &bytes[start..at]));
            (start, count) = (at, 0);
        }
        (at, count) = (next, count + 1);
    }
    pieces.push((count, &bytes[start..]));
    pieces
}

/// One import from begin to end.
pub(crate) struct Import<'s, B, S> {
    pub scanner: Scanner<'s, B>,
    pub out: &'s S,
    pub siblings: Siblings<B>,
    pub functions: HashMap<FunctionKey, Function>,
    symbols: RefCell<HashMap<String, u32>>,
    /// Digests of the names given to the host so far. A collision only makes a name longer.
    names: RefCell<HashSet<u64>>,
    nodes: Cell<u32>,
    nodes_max: u32,
    values: Cell<u32>,
    quantisation_warned: Cell<bool>,
}

/// Domain, name and overload of a function.
pub(crate) type FunctionKey = (String, String, String);

/// Versions of the operator sets that a model or function imports, by domain ("" is ONNX's own).
#[derive(Clone, Debug, Default)]
pub(crate) struct Opsets(pub HashMap<String, u16>);

/// "ai.onnx" is another name of the default domain.
pub(crate) fn domain(name: String) -> String {
    if name == "ai.onnx" { String::new() } else { name }
}

impl Opsets {
    /// Takes note of one import, refusing versions of the default domain that are not read.
    pub(crate) fn insert(&mut self, name: String, version: u64, at: u64) -> Result<()> {
        let name = domain(name);
        if name.is_empty() && !(OPSET_MIN..=OPSET_MAX).contains(&version) {
            let remedy = if version < OPSET_MIN {
                "convert it with onnx.version_converter.convert_version(model, 13)"
            } else {
                "export it for an older opset, or install a newer importer"
            };
            return Err(Error::unsupported(format!(
                "the model is written for ONNX opset {version}, this importer reads {OPSET_MIN} to {OPSET_MAX}: {remedy}"
            ))
            .at_byte(at));
        }
        let version = u16::try_from(version).map_err(|_| {
            Error::data(format!("version {version} of operator set {}: the file is damaged", quoted(&name))).at_byte(at)
        })?;
        self.0.insert(name, version);
        Ok(())
    }

    /// The version of a domain; an error that names the node's domain when it is not imported.
    pub(crate) fn version(&self, name: &str) -> Result<u16> {
        self.0.get(name).copied().ok_or_else(|| {
            let shown = if name.is_empty() { "ai.onnx" } else { name };
            Error::data(format!(
                "the model does not say which version of operator set {} it uses: export it again",
                quoted(shown)
            ))
        })
    }
}

/// The names that are visible at one place: a graph's, behind them those of the graphs around it.
pub(crate) struct Scope<'p> {
    pub parent: Option<&'p Scope<'p>>,
    /// The block that nodes go to.
    pub block: u32,
    /// Values by name; none: an optional input of a function that the call left out.
    pub values: HashMap<String, Option<u32>>,
    /// Results of a function, which the call has declared.
    pub bound: HashMap<String, u32>,
    pub opsets: &'p Opsets,
    /// Attributes that the call of a function gave, for those nodes that refer to them.
    pub attributes: Option<&'p HashMap<String, Attribute>>,
    /// What the file says about values that are computed.
    pub declared: HashMap<String, Declared>,
    /// Names of the model's results; empty but in the outermost graph.
    pub results: HashSet<String>,
    pub depth: u32,
}

impl Scope<'_> {
    /// The value of that name. The outer none: no such name; the inner: left out.
    pub(crate) fn find(&self, name: &str) -> Option<Option<u32>> {
        let mut scope = Some(self);
        while let Some(here) = scope {
            if let Some(value) = here.values.get(name) {
                return Some(*value);
            }
            scope = here.parent;
        }
        None
    }

    /// Whether this is the model's own graph, and not a branch, a loop body or a function.
    pub(crate) fn is_main(&self) -> bool {
        self.block == 0 && self.depth == 0
    }
}

impl<'s, B: Bytes, S: Sink> Import<'s, B, S> {
    pub(crate) fn new(source: &'s B, out: &'s S, nodes_max: u32) -> Self {
        Self {
            scanner: Scanner::new(source),
            out,
            siblings: Siblings::new(),
            functions: HashMap::new(),
            symbols: RefCell::default(),
            names: RefCell::default(),
            nodes: Cell::new(0),
            nodes_max,
            values: Cell::new(0),
            quantisation_warned: Cell::new(false),
        }
    }

    /// Counts one node more.
    pub(crate) fn count_node(&self, at: u64) -> Result<()> {
        self.nodes.set(self.nodes.get() + 1);
        if self.nodes.get() > self.nodes_max {
            return Err(Error::limit(format!(
                "the model has more than {} nodes, those of functions counted at each call: simplify it",
                self.nodes_max
            ))
            .at_byte(at));
        }
        Ok(())
    }

    /// Refuses graphs and functions that are nested too deep.
    pub(crate) fn check_depth(&self, depth: u32, at: u64) -> Result<()> {
        if depth <= DEPTH_MAX {
            return Ok(());
        }
        Err(Error::limit(format!("graphs or functions are nested deeper than {DEPTH_MAX}: simplify the model"))
            .at_byte(at))
    }

    pub(crate) fn warn_quantisation(&self) {
        if !self.quantisation_warned.replace(true) {
            self.out.warn(
                "quantization_annotation is ignored: only QuantizeLinear and DequantizeLinear nodes are computed",
            );
        }
    }

    /// `name`, or a longer one when it was given out before. Values of different graphs may share a name in a file, and not at the host.
    pub(crate) fn unique(&self, name: &str) -> String {
        let mut names = self.names.borrow_mut();
        let digest = |name: &str| {
            let mut hasher = DefaultHasher::new();
            name.hash(&mut hasher);
            hasher.finish()
        };
        let mut candidate = name.to_string();
        let mut number = 1u32;
        while candidate.is_empty() || !names.insert(digest(&candidate)) {
            // The count of names so far is a good first guess, so that 100 000 equal names do not cost 10^10 tries.
            number = number.wrapping_add(1);
            let guess = if number < 8 { number as usize } else { names.len() + number as usize };
            candidate = format!("{name}#{guess}");
        }
        candidate
    }

    /// Declares a value at the host.
    pub(crate) fn value(&self, value: &Value) -> Result<u32> {
        self.values.set(self.values.get() + 1);
        if self.values.get() > VALUES_MAX {
            return Err(Error::limit(format!("the model has more than {VALUES_MAX} values")));
        }
        self.out.value(value)
    }

    /// The symbol of that name, declared on first use.
    fn symbol(&self, name: &str) -> Result<u32> {
        if let Some(&symbol) = self.symbols.borrow().get(name) {
            return Ok(symbol);
        }
        let mut symbols = self.symbols.borrow_mut();
        if symbols.len() == SYMBOLS_MAX {
            return Err(Error::limit(format!("the model has more than {SYMBOLS_MAX} named dimensions")));
        }
        let number = self.out.symbol(&Symbol::free(name))?;
        symbols.insert(name.into(), number);
        Ok(number)
    }

    /// A symbol for an axis that the file leaves without a name.
    fn fresh_symbol(&self, value: &str, axis: usize) -> Result<u32> {
        let mut name = format!("{value}_dim{axis}");
        while self.symbols.borrow().contains_key(&name) {
            name.push('_');
        }
        self.symbol(&name)
    }

    /// The shape of a model input or output: what is not a number becomes a symbol.
    pub(crate) fn interface_shape(&self, declared: &Declared) -> Result<Option<Vec<Dim>>> {
        let Some(axes) = &declared.axes else { return Ok(None) };
        let dims = axes.iter().enumerate().map(|(index, axis)| match axis {
            Axis::Known(length) => Ok(Dim::Known(*length)),
            Axis::Named(name) => Ok(Dim::Symbolic(self.symbol(name)?)),
            Axis::Unnamed => Ok(Dim::Symbolic(self.fresh_symbol(&declared.name, index)?)),
        });
        dims.collect::<Result<Vec<Dim>>>().map(Some)
    }

    /// The shape of a value inside the model, when it is given in numbers and symbols of the model's inputs. A name that no input has
    /// says nothing, and inference finds the shape anyway.
    pub(crate) fn hinted_shape(&self, declared: &Declared) -> Option<Vec<Dim>> {
        let symbols = self.symbols.borrow();
        let dims = declared.axes.as_ref()?.iter().map(|axis| match axis {
            Axis::Known(length) => Some(Dim::Known(*length)),
            Axis::Named(name) => symbols.get(name).map(|&symbol| Dim::Symbolic(symbol)),
            Axis::Unnamed => None,
        });
        dims.collect()
    }

    /// Declares a constant. One that is no single range of the file becomes literals and a `Concat` in `scope`'s block.
    pub(crate) fn constant(&self, scope: &Scope<'_>, name: &str, tensor: Tensor) -> Result<u32> {
        match tensor.data {
            Data::Content(content) => {
                self.value(&Value::constant(self.unique(name), tensor.dtype, &tensor.dims, content))
            }
            Data::Pieces(bytes) => self.pieces(scope, name, tensor.dtype, &tensor.dims, &bytes),
        }
    }

    fn pieces(&self, scope: &Scope<'_>, name: &str, dtype: u16, dims: &[u64], bytes: &[u8]) -> Result<u32> {
        let pieces: Vec<(u64, &[u8])> = if dtype == STRING {
            frames(bytes)
        } else {
            let bits = crate::tensor::bits(dtype);
            if bits < 8 {
                return Err(Error::unsupported(format!(
                    "tensor {} of elements under a byte is written element by element: load and save the model with the onnx package",
                    quoted(name)
                )));
            }
            bytes.chunks(MAX_LITERAL_BYTES).map(|piece| (piece.len() as u64 * 8 / bits, piece)).collect()
        };
        if let Some((_, long)) = pieces.iter().find(|(_, piece)| piece.len() > MAX_LITERAL_BYTES) {
            return Err(Error::limit(format!(
                "tensor {} has a string of {} bytes in an attribute, {MAX_LITERAL_BYTES} at most: store it as an initializer",
                quoted(name),
                long.len()
            )));
        }
        let opset = scope.opsets.version("")?;
        let part = |index: usize, dtype, dims: &[u64], bytes: &[u8]| {
            let name = self.unique(&format!("{name}/part{index}"));
            self.value(&Value::constant(name, dtype, dims, Content::Literal(bytes.to_vec())))
        };
        let total = pieces.iter().map(|(count, _)| count).sum();
        let parts = pieces.len();
        let mut inputs = Vec::with_capacity(parts);
        for (index, (count, piece)) in pieces.into_iter().enumerate() {
            inputs.push(Some(part(index, dtype, &[count], piece)?));
        }
        let whole = |name: String, dims: &[u64]| {
            let shape = dims.iter().map(|&dim| Dim::Known(dim)).collect();
            self.value(&Value::new(name, dtype, Some(shape), Role::Intermediate))
        };
        let flat = dims.len() == 1;
        let joined = whole(self.unique(&if flat { name.to_string() } else { format!("{name}/flat") }), &[total])?;
        let node = |op: &str, attributes, inputs, output| Node {
            name: name.into(),
            op: op.into(),
            opset,
            attributes,
            inputs,
            outputs: vec![Some(output)],
            ext: Vec::new(),
        };
        let axis = vec![crate::attribute::kv("axis", Attribute::Integer(0))];
        self.out.node(scope.block, &node("Concat", axis, inputs, joined))?;
        if flat {
            return Ok(joined);
        }
        let target: Vec<u8> = dims.iter().flat_map(|&dim| dim.to_le_bytes()).collect();
        let target = part(parts, 7, &[dims.len() as u64], &target)?;
        let shaped = whole(self.unique(name), dims)?;
        self.out.node(scope.block, &node("Reshape", Vec::new(), vec![Some(joined), Some(target)], shaped))?;
        Ok(shaped)
    }
}
