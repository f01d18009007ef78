//! Element types and shapes of every value, and the elements of small tensors that shapes are computed with.
//!
//! Symbols survive where an operator keeps a length; what follows from symbols otherwise is `Dim::Unknown` until
//! `specialise` has put numbers in. Small tensors of integers and numbers are followed element by element (`numbers`), so that a Reshape
//! whose target comes from Shape, Gather and Concat resolves. All arithmetic is checked: lengths come from strangers.

mod containers;
mod control;
mod einsum;
mod elementwise;
mod host;
mod layout;
mod loss;
mod network;
pub(crate) mod numbers;
mod product;
mod reduce;
mod select;
mod spectral;
mod unfold;

use crate::tensor::{read_integers, read_numbers};
use crate::text::type_text;
use crate::validate::RANK_MAX;
use crate::{Attribute, Container, Content, DType, Dim, Graph, Node, Role, Symbol, SymbolId, Value, ValueId};

pub(crate) use einsum::{Equation, Label};
pub(crate) use elementwise::{broadcast, covers as is_elementwise};
pub(crate) use network::{PoolGeometry, Spatial, transpose_pads};

/// Longest axis that is accepted.
pub const AXIS_MAX: u64 = 1 << 40;
/// Most elements of one tensor, axes of length 0 counted as 1, so that strides cannot overflow either.
pub const ELEMENTS_MAX: u64 = 1 << 42;
/// Tensors up to this many elements are followed element by element.
const FOLLOWED_MAX: u64 = 1024;
/// Elements that are followed in one graph, all tensors together: 128 MiB.
const FOLLOWED_TOTAL_MAX: usize = 8 << 20;

/// A node whose operands do not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node {node} ({op}) {what}; its inputs are {operands}")]
pub struct InferError {
    /// Name of the node.
    pub node: String,
    /// Its operator.
    pub op: String,
    /// What contradicts what.
    pub what: String,
    /// Types of its inputs.
    pub operands: String,
}

/// One element of a tensor that is followed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Elem {
    /// An integer or a bool.
    Int(i64),
    /// A number of a floating-point tensor.
    Float(f64),
    /// The length of a symbol.
    Symbol(SymbolId),
    /// Anything.
    Unknown,
}

/// What is found out about one output.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fact {
    pub(crate) dtype: Option<DType>,
    pub(crate) shape: Option<Vec<Dim>>,
    pub(crate) container: Container,
    pub(crate) elems: Option<Vec<Elem>>,
}

impl Fact {
    fn new(dtype: Option<DType>, shape: Option<Vec<Dim>>) -> Self {
        Fact { dtype, shape, container: Container::Tensor, elems: None }
    }
}

/// What an operator's rule says: facts for its outputs (missing ones are unknown), or what is wrong.
type Facts = Result<Vec<Fact>, String>;

/// Finds the type and the shape of every value.
pub fn infer(graph: &mut Graph) -> Result<(), InferError> {
    run(graph).map(|_| ())
}

/// The same, and keeps what is known of elements.
pub(crate) fn run(graph: &mut Graph) -> Result<Inference, InferError> {
    let mut inference = Inference::new();
    let Graph { values, nodes, symbols, .. } = graph;
    for node in nodes.iter_mut() {
        control::infer_blocks(values, node)?;
        inference.node(values, symbols, node)?;
    }
    Ok(inference)
}

/// Elements of followed tensors, by value.
#[derive(Debug, Default)]
pub(crate) struct Inference {
    elems: Vec<Option<Box<[Elem]>>>,
    followed: usize,
}

impl Inference {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// What is known of a value's elements.
    pub(crate) fn elems(&self, id: ValueId) -> Option<&[Elem]> {
        self.elems.get(id.index())?.as_deref()
    }

    /// Infers one node's outputs from its inputs and writes them down.
    pub(crate) fn node(&mut self, values: &mut [Value], symbols: &[Symbol], node: &Node) -> Result<(), InferError> {
        for id in node.inputs.iter().flatten() {
            self.read_constant(values, *id);
        }
        for attribute in node.attributes.values() {
            if let Attribute::Value(id) = attribute {
                self.read_constant(values, *id);
            }
        }
        let scope = Scope { values, symbols, inference: self, node };
        let refuse =
            |what: String| InferError { node: node.label(), op: node.op.clone(), what, operands: scope.operands() };
        let facts = rule(&scope).map_err(refuse)?;
        for fact in &facts {
            check_shape(fact.shape.as_deref()).map_err(refuse)?;
        }
        let mut facts = facts.into_iter();
        for output in &node.outputs {
            let fact = facts.next().unwrap_or_default();
            let Some(id) = output else { continue };
            self.store(values, *id, fact);
        }
        Ok(())
    }

    fn store(&mut self, values: &mut [Value], id: ValueId, fact: Fact) {
        let value = &mut values[id.index()];
        let count = fact.shape.as_ref().and_then(|shape| count_of(shape));
        let elems = fact.elems.filter(|elems| count == Some(elems.len() as u64) && count <= Some(FOLLOWED_MAX));
        value.dtype = fact.dtype;
        value.shape = fact.shape;
        value.container = fact.container;
        self.put(id, elems);
    }

    fn put(&mut self, id: ValueId, elems: Option<Vec<Elem>>) {
        let elems = elems.filter(|elems| self.followed.saturating_add(elems.len()) <= FOLLOWED_TOTAL_MAX);
        self.followed += elems.as_ref().map_or(0, Vec::len);
        if self.elems.len() <= id.index() {
            if elems.is_none() {
                return;
            }
            self.elems.resize(id.index() + 1, None);
        }
        self.elems[id.index()] = elems.map(Vec::into_boxed_slice);
    }

    fn read_constant(&mut self, values: &[Value], id: ValueId) {
        let value = &values[id.index()];
        let Role::Constant(Content::Bytes(bytes)) = &value.role else { return };
        if bytes.len() as u64 > FOLLOWED_MAX * 8 || self.elems(id).is_some() || self.followed >= FOLLOWED_TOTAL_MAX {
            return;
        }
        let (Some(dtype), Some(count)) = (value.dtype, value.shape.as_ref().and_then(|shape| count_of(shape))) else {
            return;
        };
        if count > FOLLOWED_MAX {
            return;
        }
        let elems = match read_integers(dtype, bytes) {
            Some(integers) => integers.into_iter().map(Elem::Int).collect(),
            None => match read_numbers(dtype, bytes) {
                Some(numbers) => numbers.into_iter().map(Elem::Float).collect::<Vec<_>>(),
                None => return,
            },
        };
        if elems.len() as u64 == count {
            self.put(id, Some(elems));
        }
    }
}

/// Elements of a shape whose lengths are all known.
pub(crate) fn count_of(shape: &[Dim]) -> Option<u64> {
    shape.iter().try_fold(1u64, |product, dim| product.checked_mul(dim.known()?))
}

/// Refuses ranks, axes and tensors beyond the limits.
pub(crate) fn check_shape(shape: Option<&[Dim]>) -> Result<(), String> {
    let mut product = 1u64;
    if let Some(rank) = shape.map(<[Dim]>::len).filter(|rank| *rank > RANK_MAX) {
        return Err(format!("would make a tensor of rank {rank}, more than {RANK_MAX}"));
    }
    for length in shape.unwrap_or_default().iter().filter_map(|dim| dim.known()) {
        if length > AXIS_MAX {
            return Err(format!("would make an axis of length {length}, more than 2^40"));
        }
        product = product
            .checked_mul(length.max(1))
            .filter(|product| *product <= ELEMENTS_MAX)
            .ok_or("would make a tensor of more than 2^42 elements")?;
    }
    Ok(())
}

/// One node and what is known of its inputs.
pub(crate) struct Scope<'a> {
    values: &'a [Value],
    symbols: &'a [Symbol],
    inference: &'a Inference,
    node: &'a Node,
}

impl Scope<'_> {
    fn value(&self, index: usize) -> Option<&Value> {
        self.node.input(index).map(|id| &self.values[id.index()])
    }

    fn dtype(&self, index: usize) -> Option<DType> {
        self.value(index)?.dtype
    }

    fn shape(&self, index: usize) -> Option<&[Dim]> {
        self.value(index)?.shape.as_deref()
    }

    fn rank(&self, index: usize) -> Option<usize> {
        self.shape(index).map(<[Dim]>::len)
    }

    fn has(&self, index: usize) -> bool {
        index < self.node.own_inputs() && self.node.input(index).is_some()
    }

    fn elems(&self, index: usize) -> Option<&[Elem]> {
        self.inference.elems(self.node.input(index)?)
    }

    /// The elements of an integer input, when all of them are known.
    fn integers(&self, index: usize) -> Option<Vec<i64>> {
        self.elems(index)?
            .iter()
            .map(|elem| match elem {
                Elem::Int(value) => Some(*value),
                _ => None,
            })
            .collect()
    }

    /// The single element of an integer input, when it is known.
    fn integer(&self, index: usize) -> Option<i64> {
        match self.elems(index)? {
            [Elem::Int(value)] => Some(*value),
            _ => None,
        }
    }

    fn attribute(&self, key: &str, default: i64) -> i64 {
        self.node.integer(key).unwrap_or(default)
    }

    /// Refuses input ranks outside the bounds.
    fn want_rank(&self, index: usize, least: usize, most: usize) -> Result<(), String> {
        match self.rank(index) {
            Some(rank) if rank < least || rank > most => {
                let wanted = if least == most { format!("rank {least}") } else { format!("at least rank {least}") };
                Err(format!("needs {wanted} for input {index} and got rank {rank}"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses two inputs of different element types.
    fn same_dtype(&self, a: usize, b: usize) -> Result<(), String> {
        match (self.dtype(a), self.dtype(b)) {
            (Some(left), Some(right)) if left != right => {
                Err(format!("needs the same element type for inputs {a} and {b}, which are {left} and {right}"))
            }
            _ => Ok(()),
        }
    }

    fn operands(&self) -> String {
        let texts: Vec<String> = self.node.inputs[..self.node.own_inputs()]
            .iter()
            .take(16)
            .map(|input| match input {
                Some(id) => type_text(&self.values[id.index()], self.symbols),
                None => "none".to_owned(),
            })
            .collect();
        let more = if self.node.own_inputs() > 16 { ", ..." } else { "" };
        if texts.is_empty() { "none".to_owned() } else { format!("{}{more}", texts.join(", ")) }
    }
}

/// An axis attribute or input as an index; negative ones count from the end.
fn axis_index(axis: i64, rank: usize) -> Result<usize, String> {
    let rank_signed = i64::try_from(rank).map_err(|_| "has too many axes".to_owned())?;
    if axis < -rank_signed || axis >= rank_signed {
        return Err(format!("names axis {axis} of a tensor of rank {rank}"));
    }
    // In range: checked above.
    usize::try_from(if axis < 0 { axis + rank_signed } else { axis }).map_err(|_| "has a bad axis".to_owned())
}

/// A length given as a signed number.
fn length(value: i64, what: &str) -> Result<u64, String> {
    u64::try_from(value).map_err(|_| format!("has a negative {what} ({value})"))
}

/// The two lengths are one and the same axis: what is known of it, or that they differ.
fn unify(a: Dim, b: Dim) -> Result<Dim, (u64, u64)> {
    match (a, b) {
        (Dim::Known(x), Dim::Known(y)) if x == y => Ok(a),
        (Dim::Known(x), Dim::Known(y)) => Err((x, y)),
        (Dim::Known(_), _) => Ok(a),
        (_, Dim::Known(_)) => Ok(b),
        (Dim::Symbol(_), _) => Ok(a),
        _ => Ok(b),
    }
}

fn rule(scope: &Scope<'_>) -> Facts {
    let facts = match scope.node.op.as_str() {
        op if elementwise::covers(op) => elementwise::infer(scope),
        op if layout::covers(op) => layout::infer(scope),
        op if reduce::covers(op) => reduce::infer(scope),
        op if network::covers(op) => network::infer(scope),
        op if product::covers(op) => product::infer(scope),
        "Einsum" => einsum::infer(scope),
        op if spectral::covers(op) => spectral::infer(scope),
        op if unfold::covers(op) => unfold::infer(scope),
        op if select::covers(op) => select::infer(scope),
        op if loss::covers(op) => loss::infer(scope),
        op if host::covers(op) => host::infer(scope),
        op if control::covers(op) => control::infer(scope),
        // In the schema, but its shapes follow from data or nobody has needed them yet.
        _ => Ok(vec![]),
    }?;
    Ok(numbers::follow(scope, containers::follow(scope, facts)))
}

#[cfg(test)]
mod tests;
