//! Rewrites a graph in one pass from front to back: rules look at a node and at what was placed before it.
//!
//! A rule answers the nodes that take the place of the one it was shown. It may take an earlier node out, change it, and give it back among
//! them: that node then stands at the later place, where all of its operands have been made. So the order always runs, without sorting.

use crate::error::GraphError;
use crate::fold::{Weights, read_constant};
use crate::schema;
use crate::tensor::{Tensor, read_integers, read_numbers};
use crate::validate::complete;
use crate::{Attribute, Content, DType, Dim, Graph, Node, Role, Value, ValueId};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The nodes in place of the one that was shown; none: leave it.
pub(crate) type Rewrite = Result<Option<Vec<Node>>, GraphError>;

/// A named rewrite and the operators that it looks at.
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    pub(crate) ops: &'static [&'static str],
    pub(crate) apply: fn(&mut Editor<'_>, &Node) -> Rewrite,
}

/// Rules by operator, in the order in which they are tried.
pub(crate) struct Rules(HashMap<&'static str, Vec<&'static Rule>>);

impl Rules {
    pub(crate) fn new(rules: impl IntoIterator<Item = &'static Rule>) -> Self {
        let mut by_op = HashMap::<_, Vec<_>>::new();
        for rule in rules {
            for op in rule.ops {
                by_op.entry(*op).or_default().push(rule);
            }
        }
        Rules(by_op)
    }
}

const NONE: u32 = u32::MAX;

/// A small constant by its content.
type SmallConstant = (DType, Vec<u64>, Arc<[u8]>);

/// A graph while rules are applied to it.
pub(crate) struct Editor<'a> {
    graph: &'a mut Graph,
    weights: &'a dyn Weights,
    placed: Vec<Option<Node>>,
    /// By value: its place in `placed`.
    producer: Vec<u32>,
    /// By value: how often it is read, by nodes and as an output.
    uses: Vec<u32>,
    /// By value: the value that stands for it now.
    alias: Vec<ValueId>,
    is_output: Vec<bool>,
    /// Scalars and small vectors made in this pass, so that equal ones are one.
    made: HashMap<SmallConstant, ValueId>,
    /// Bytes of new constants that this pass may still write.
    budget: u64,
}

/// What new constants of one pass may take: twice the files that weights lie in, and something for small models. A file in which many
/// nodes share one weight cannot make many of it.
fn budget_of(graph: &Graph) -> u64 {
    let mut ends = HashMap::<u32, u64>::new();
    for value in &graph.values {
        let (source, end) = match &value.role {
            Role::Constant(Content::Weight(weight)) => (weight.source, weight.offset.saturating_add(weight.length)),
            _ => continue,
        };
        let known = ends.entry(source).or_default();
        *known = end.max(*known);
    }
    ends.values().fold(256 << 20, |sum: u64, end| sum.saturating_add(end.saturating_mul(2)))
}

/// Applies the rules once to every node and answers how many times one fired. Nodes whose results nobody reads are dropped.
pub(crate) fn apply(graph: &mut Graph, weights: &dyn Weights, rules: &Rules) -> Result<usize, GraphError> {
    let nodes = std::mem::take(&mut graph.nodes);
    let count = graph.values.len();
    let mut editor = Editor {
        placed: Vec::with_capacity(nodes.len()),
        producer: vec![NONE; count],
        uses: vec![0; count],
        alias: (0..count as u32).map(ValueId).collect(),
        is_output: vec![false; count],
        made: HashMap::new(),
        budget: budget_of(graph),
        graph,
        weights,
    };
    for id in editor.graph.outputs.clone() {
        editor.is_output[id.index()] = true;
        editor.uses[id.index()] += 1;
    }
    for node in &nodes {
        editor.count(node);
    }
    let mut fired = 0;
    for mut node in nodes {
        for input in node.inputs.iter_mut().flatten() {
            *input = editor.resolve(*input);
        }
        if node.outputs.iter().flatten().all(|id| editor.uses(*id) == 0) {
            editor.release(&node);
            continue;
        }
        let mut rewritten = None;
        for rule in rules.0.get(node.op.as_str()).into_iter().flatten() {
            rewritten = (rule.apply)(&mut editor, &node)?;
            if rewritten.is_some() {
                break;
            }
        }
        match rewritten {
            None => editor.place(node),
            Some(nodes) => {
                fired += 1;
                editor.release(&node);
                for node in nodes {
                    editor.count(&node);
                    editor.place(node);
                }
            }
        }
    }
    let placed = std::mem::take(&mut editor.placed);
    let mut nodes = Vec::with_capacity(placed.len());
    for mut node in placed.into_iter().flatten() {
        for input in node.inputs.iter_mut().flatten() {
            *input = editor.resolve(*input);
        }
        nodes.push(node);
    }
    graph.nodes = nodes;
    Ok(fired)
}

impl Editor<'_> {
    fn count(&mut self, node: &Node) {
        for id in node.inputs.iter().flatten() {
            let id = self.resolve(*id);
            self.uses[id.index()] += 1;
        }
    }

    fn release(&mut self, node: &Node) {
        for id in node.inputs.iter().flatten() {
            let id = self.resolve(*id);
            self.uses[id.index()] -= 1;
        }
    }

    fn place(&mut self, node: Node) {
        for id in node.outputs.iter().flatten() {
            self.producer[id.index()] = self.placed.len() as u32;
        }
        self.placed.push(Some(node));
    }

    pub(crate) fn resolve(&self, id: ValueId) -> ValueId {
        let mut id = id;
        while self.alias[id.index()] != id {
            id = self.alias[id.index()];
        }
        id
    }

    pub(crate) fn value(&self, id: ValueId) -> &Value {
        self.graph.value(id)
    }

    pub(crate) fn dtype(&self, id: ValueId) -> Option<DType> {
        self.value(id).dtype
    }

    pub(crate) fn shape(&self, id: ValueId) -> Option<&[Dim]> {
        self.value(id).shape.as_deref()
    }

    pub(crate) fn concrete(&self, id: ValueId) -> Option<Vec<u64>> {
        self.value(id).concrete()
    }

    /// Both shapes are known as far as they can be, and equal.
    pub(crate) fn same_shape(&self, a: ValueId, b: ValueId) -> bool {
        match (self.shape(a), self.shape(b)) {
            (Some(a), Some(b)) => a == b && !a.contains(&Dim::Unknown),
            _ => false,
        }
    }

    pub(crate) fn uses(&self, id: ValueId) -> u32 {
        self.uses[id.index()]
    }

    /// Read once, and not by the model's caller: its producer may be changed.
    pub(crate) fn is_private(&self, id: ValueId) -> bool {
        self.uses(id) == 1 && !self.is_output[id.index()]
    }

    /// The node that makes a value, when it has been placed.
    pub(crate) fn producer(&self, id: ValueId) -> Option<&Node> {
        let place = self.producer[self.resolve(id).index()];
        self.placed.get(place as usize)?.as_ref()
    }

    /// Where the producer of a value stands; what nobody has made yet, and inputs, come first.
    pub(crate) fn place_of(&self, id: ValueId) -> u32 {
        self.producer[self.resolve(id).index()].wrapping_add(1)
    }

    /// An input of a placed node, by what stands for it now.
    pub(crate) fn input_of(&self, node: &Node, index: usize) -> Option<ValueId> {
        node.input(index).map(|id| self.resolve(id))
    }

    /// Takes the producer of a value out, to be given back in another form.
    pub(crate) fn take_producer(&mut self, id: ValueId) -> Option<Node> {
        let place = self.producer[self.resolve(id).index()];
        let mut node = self.placed.get_mut(place as usize)?.take()?;
        for input in node.inputs.iter_mut().flatten() {
            *input = self.resolve(*input);
        }
        self.release(&node);
        for output in node.outputs.iter().flatten() {
            self.producer[output.index()] = NONE;
        }
        Some(node)
    }

    /// Lets `new` stand for `old`, an output of the node that is shown. False when the model's caller must see both.
    pub(crate) fn replace(&mut self, old: ValueId, new: ValueId) -> bool {
        let (from, to) = if !self.is_output[old.index()] {
            (old, new)
        } else {
            // The name of an output stays: the producer of `new` makes it from now on.
            let place = self.producer[new.index()] as usize;
            let Some(Some(node)) = self.placed.get_mut(place).filter(|_| !self.is_output[new.index()]) else {
                return false;
            };
            for output in node.outputs.iter_mut().filter(|output| **output == Some(new)) {
                *output = Some(old);
            }
            self.producer[old.index()] = place as u32;
            self.producer[new.index()] = NONE;
            (new, old)
        };
        self.alias[from.index()] = to;
        self.uses[to.index()] += self.uses[from.index()];
        self.uses[from.index()] = 0;
        true
    }

    fn add(&mut self, value: Value) -> ValueId {
        let id = self.graph.add_value(value);
        self.producer.push(NONE);
        self.uses.push(0);
        self.alias.push(id);
        self.is_output.push(false);
        id
    }

    /// A value that a new node will make; inference finds its type.
    pub(crate) fn computed(&mut self, like: ValueId) -> ValueId {
        let name = fresh_name(&self.value(like).name, self.graph.values.len());
        self.add(Value::computed(name))
    }

    /// The same with the type of a value that is known.
    pub(crate) fn computed_as(&mut self, like: ValueId, kind: ValueId) -> ValueId {
        let id = self.computed(like);
        let (dtype, shape) = (self.value(kind).dtype, self.value(kind).shape.clone());
        let value = &mut self.graph.values[id.index()];
        (value.dtype, value.shape) = (dtype, shape);
        id
    }

    /// A new constant. Equal small ones made in one pass are one.
    pub(crate) fn constant(&mut self, tensor: Tensor, like: ValueId) -> ValueId {
        let key = (tensor.bytes.len() <= 256).then(|| (tensor.dtype, tensor.shape.clone(), tensor.bytes.clone()));
        if let Some(id) = key.as_ref().and_then(|key| self.made.get(key)) {
            return *id;
        }
        self.budget = self.budget.saturating_sub(tensor.bytes.len() as u64);
        let name = fresh_name(&self.value(like).name, self.graph.values.len());
        let id = self.add(tensor.into_value(name));
        if let Some(key) = key {
            self.made.insert(key, id);
        }
        id
    }

    /// Whether a large constant may still be written in this pass.
    pub(crate) fn affords(&self, elements: u64) -> bool {
        elements.saturating_mul(8) <= self.budget
    }

    /// The same constant with another shape of as many elements; shares the content.
    pub(crate) fn reshaped_constant(&mut self, id: ValueId, shape: &[u64]) -> ValueId {
        let mut value = self.value(id).clone();
        let shape: Vec<Dim> = shape.iter().map(|length| Dim::Known(*length)).collect();
        if value.shape.as_ref() == Some(&shape) {
            return id;
        }
        value.name = fresh_name(&value.name, self.graph.values.len());
        value.shape = Some(shape);
        self.add(value)
    }

    /// A constant with its bytes, read from its source when need be.
    pub(crate) fn tensor(&self, id: ValueId) -> Result<Option<Tensor>, GraphError> {
        read_constant(self.value(id), self.weights)
    }

    /// The elements of a constant of floats.
    pub(crate) fn numbers(&self, id: ValueId) -> Result<Option<Vec<f64>>, GraphError> {
        Ok(self.tensor(id)?.and_then(|tensor| read_numbers(tensor.dtype, &tensor.bytes)))
    }

    /// The elements of a constant of integers.
    pub(crate) fn integers(&self, id: ValueId) -> Result<Option<Vec<i64>>, GraphError> {
        Ok(self.tensor(id)?.and_then(|tensor| read_integers(tensor.dtype, &tensor.bytes)))
    }

    /// The one element of a constant of floats with one element. Larger constants are not read.
    pub(crate) fn scalar(&self, id: ValueId) -> Result<Option<f64>, GraphError> {
        let value = self.value(id);
        let single =
            value.is_constant() && value.concrete().is_some_and(|shape| shape.iter().all(|length| *length == 1));
        Ok(if single { self.numbers(id)?.and_then(|numbers| numbers.first().copied()) } else { None })
    }

    /// The same for a constant of any plain type.
    pub(crate) fn single_number(&self, id: ValueId) -> Result<Option<f64>, GraphError> {
        match self.scalar(id)? {
            Some(number) => Ok(Some(number)),
            None if self.concrete(id).is_some_and(|shape| shape.iter().all(|length| *length == 1)) => {
                Ok(self.integers(id)?.and_then(|list| list.first().map(|value| *value as f64)))
            }
            None => Ok(None),
        }
    }

    /// Both have the same number of axes: broadcasting with a single element did not add any.
    pub(crate) fn same_rank(&self, a: ValueId, b: ValueId) -> bool {
        self.shape(a).is_some() && self.shape(a).map(<[Dim]>::len) == self.shape(b).map(<[Dim]>::len)
    }

    /// A node of the operator's frozen form with its defaults filled in.
    pub(crate) fn node(
        &self,
        like: &Node,
        op: &str,
        inputs: &[Option<ValueId>],
        outputs: &[Option<ValueId>],
        attributes: &[(&str, Attribute)],
    ) -> Node {
        new_node(&like.name, op, inputs, outputs, attributes)
    }
}

/// A node of the operator's frozen form with its defaults filled in.
pub(crate) fn new_node(
    name: &str,
    op: &str,
    inputs: &[Option<ValueId>],
    outputs: &[Option<ValueId>],
    attributes: &[(&str, Attribute)],
) -> Node {
    let schema = schema::find(op).expect("rewrites name operators of the tables");
    let attributes: BTreeMap<_, _> = attributes.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let mut node = Node {
        name: name.to_owned(),
        op: op.to_owned(),
        revision: schema.canonical,
        attributes,
        inputs: inputs.to_vec(),
        outputs: outputs.to_vec(),
        epilogue: vec![],
    };
    if let Err(problem) = complete(&mut node, schema) {
        unreachable!("a rewrite made a node that its own schema refuses: {problem}");
    }
    node
}

/// Nodes that together take the place of one.
pub(crate) struct Sketch<'e, 'a> {
    pub(crate) editor: &'e mut Editor<'a>,
    like: &'e Node,
    output: ValueId,
    nodes: Vec<Node>,
}

impl<'e, 'a> Sketch<'e, 'a> {
    /// Starts the replacement of a node with one output that is read.
    pub(crate) fn new(editor: &'e mut Editor<'a>, like: &'e Node) -> Option<Self> {
        let output = like.output(0)?;
        Some(Sketch { editor, like, output, nodes: vec![] })
    }

    /// Adds a node and answers its result.
    pub(crate) fn op(&mut self, op: &str, inputs: &[ValueId], attributes: &[(&str, Attribute)]) -> ValueId {
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        self.op_with_gaps(op, &inputs, attributes)
    }

    /// The same where optional inputs may be left out.
    pub(crate) fn op_with_gaps(
        &mut self,
        op: &str,
        inputs: &[Option<ValueId>],
        attributes: &[(&str, Attribute)],
    ) -> ValueId {
        let made = self.editor.computed(self.output);
        self.nodes.push(new_node(&self.like.name, op, inputs, &[Some(made)], attributes));
        made
    }

    /// Adds the last node, which makes the output, and answers all.
    pub(crate) fn finish(mut self, op: &str, inputs: &[ValueId], attributes: &[(&str, Attribute)]) -> Rewrite {
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        self.nodes.push(new_node(&self.like.name, op, &inputs, &[Some(self.output)], attributes));
        Ok(Some(self.nodes))
    }

    /// A scalar of that type.
    pub(crate) fn scalar(&mut self, dtype: DType, value: f64) -> Option<ValueId> {
        let tensor = Tensor::from_numbers(dtype, vec![], &[value])?;
        Some(self.editor.constant(tensor, self.output))
    }

    /// A vector of i64.
    pub(crate) fn vector(&mut self, values: &[i64]) -> ValueId {
        self.editor.constant(Tensor::vector(values), self.output)
    }
}

/// A name that no other value of the graph has, as long as the source's own names do not end in `~` and a number.
/// Names of computed values and constants are for people; everything else goes by number.
pub(crate) fn fresh_name(base: &str, index: usize) -> String {
    let stem = match base.rsplit_once('~') {
        Some((stem, digits)) if !stem.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => stem,
        _ => base,
    };
    // Names stay within the bound that validate sets.
    let mut end = stem.len().min(crate::validate::NAME_BYTES_MAX);
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}~{index}", &stem[..end])
}
