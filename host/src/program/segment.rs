//! A planned part of a program, as a graph of its own.

use super::RunError;
use super::plans::{InputKey, Signature};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use sunmao_graph::deciding::CONTENT_BYTES_MAX;
use sunmao_graph::{Attribute, DType, Graph, Node, Role, ValueId};

/// A part of a program that the engine runs as one plan.
#[derive(Debug)]
pub struct Segment {
    /// Its nodes; inputs are what earlier steps made and what the request brought.
    pub graph: Arc<Graph>,
    /// For each input: whether its content decides shapes.
    pub bound: Vec<bool>,
}

impl Segment {
    /// What a plan is made for: type and shape of each input, in order, and the content of those that decide shapes.
    pub fn signature<'a>(
        &self,
        inputs: impl Iterator<Item = (DType, &'a [u64], &'a [u8])>,
    ) -> Result<Signature, RunError> {
        let mut signature = Signature::with_capacity(self.bound.len());
        for ((dtype, shape, bytes), (&bound, &id)) in inputs.zip(self.bound.iter().zip(&self.graph.inputs)) {
            if bound && bytes.len() as u64 > CONTENT_BYTES_MAX {
                let value = self.graph.value(id).name.clone();
                return Err(RunError::Content { value, got: bytes.len(), most: CONTENT_BYTES_MAX });
            }
            signature.push(InputKey { dtype, shape: shape.to_vec(), content: bound.then(|| bytes.into()) });
        }
        Ok(signature)
    }

    /// The bytes that the plan takes: bound inputs are part of the plan.
    pub fn unbound<'a>(&self, inputs: impl Iterator<Item = &'a [u8]>) -> Vec<&'a [u8]> {
        inputs.zip(&self.bound).filter(|(_, bound)| !**bound).map(|(bytes, _)| bytes).collect()
    }
}

/// What a segment takes from `graph` and gives back, besides the segment itself.
pub(super) struct Extract {
    pub(super) segment: Segment,
    pub(super) inputs: Vec<ValueId>,
    pub(super) outputs: Vec<ValueId>,
}

/// Copies `nodes` into a graph of their own. `leaving`: values that others need; `binds`: whether a value's content decides shapes.
pub(super) fn extract(
    graph: &Graph,
    nodes: Vec<Node>,
    leaving: &HashSet<ValueId>,
    binds: impl Fn(ValueId) -> bool,
) -> Extract {
    let made: HashSet<ValueId> = nodes.iter().flat_map(|node| node.outputs.iter().flatten().copied()).collect();
    let mut copy = Copy {
        from: graph,
        part: Graph { symbols: graph.symbols.clone(), ..Graph::default() },
        numbers: HashMap::new(),
        made,
        inputs: Vec::new(),
    };
    let mut outputs = Vec::new();
    for mut node in nodes {
        for id in node.inputs.iter_mut().flatten() {
            *id = copy.value(*id);
        }
        for attribute in node.attributes.values_mut() {
            if let Attribute::Value(id) = attribute {
                *id = copy.value(*id);
            }
        }
        for id in node.outputs.iter_mut().flatten() {
            let number = copy.value(*id);
            if leaving.contains(id) {
                outputs.push(*id);
                copy.part.outputs.push(number);
            }
            *id = number;
        }
        copy.part.nodes.push(node);
    }
    let Copy { part, inputs, .. } = copy;
    let bound = inputs.iter().map(|id| binds(*id)).collect();
    Extract { segment: Segment { graph: Arc::new(part), bound }, inputs, outputs }
}

struct Copy<'a> {
    from: &'a Graph,
    part: Graph,
    numbers: HashMap<ValueId, ValueId>,
    made: HashSet<ValueId>,
    inputs: Vec<ValueId>,
}

impl Copy<'_> {
    /// The number of a value in the part; what the part does not make becomes an input of it.
    fn value(&mut self, id: ValueId) -> ValueId {
        if let Some(number) = self.numbers.get(&id) {
            return *number;
        }
        let mut value = self.from.value(id).clone();
        let is_input = !value.is_constant() && !self.made.contains(&id);
        if is_input {
            value.role = Role::Input;
        }
        let number = self.part.add_value(value);
        if is_input {
            self.inputs.push(id);
            self.part.inputs.push(number);
        }
        self.numbers.insert(id, number);
        number
    }
}
