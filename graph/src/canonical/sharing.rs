//! Common subexpressions, dead nodes, and values that nobody uses any more.

use crate::{Attribute, Content, DType, Dim, Graph, Node, Role, Value, ValueId};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Constants up to this many bytes are compared by content.
const COMPARED_BYTES_MAX: usize = 64 << 10;

/// Lets equal nodes, and equal small constants, be one. Answers how many were merged.
pub fn share_common(graph: &mut Graph) -> usize {
    let mut alias: Vec<ValueId> = (0..graph.values.len() as u32).map(ValueId).collect();
    share_constants(graph, &mut alias);
    let mut merged = 0;
    let mut is_output = vec![false; graph.values.len()];
    for id in &graph.outputs {
        is_output[id.index()] = true;
    }
    // By hash; equal hashes are compared in full.
    let mut seen: HashMap<u64, Vec<usize>> = HashMap::with_capacity(graph.nodes.len());
    let mut kept: Vec<Node> = Vec::with_capacity(graph.nodes.len());
    for mut node in std::mem::take(&mut graph.nodes) {
        for input in node.inputs.iter_mut().flatten() {
            *input = alias[input.index()];
        }
        for attribute in node.attributes.values_mut() {
            if let Attribute::Value(id) = attribute {
                *id = alias[id.index()];
            }
        }
        // Results that go out keep their own node, random ones are never the same.
        let own = node.outputs.iter().flatten().any(|id| is_output[id.index()])
            || node.blocks().next().is_some()
            || node.op.starts_with("Random")
            || node.op == "Bernoulli"
            || node.op == "Dropout"
            || node.op == "Multinomial";
        let hash = hash_of(&node);
        let twin = seen.get(&hash).and_then(|twins| twins.iter().copied().find(|twin| equal(&kept[*twin], &node)));
        match twin {
            Some(twin) if !own => {
                for (mine, theirs) in node.outputs.iter().flatten().zip(kept[twin].outputs.iter().flatten()) {
                    alias[mine.index()] = *theirs;
                }
                merged += 1;
            }
            _ => {
                seen.entry(hash).or_default().push(kept.len());
                kept.push(node);
            }
        }
    }
    graph.nodes = kept;
    merged
}

/// Only the nodes that read them are changed, so merged constants are no reason for another round and are not counted.
fn share_constants(graph: &Graph, alias: &mut [ValueId]) {
    type Key<'a> = (Option<DType>, &'a Option<Vec<Dim>>, &'a Content);
    struct Hashed<'a>(Key<'a>);
    impl Hash for Hashed<'_> {
        fn hash<H: Hasher>(&self, state: &mut H) {
            let (dtype, shape, content) = &self.0;
            dtype.hash(state);
            shape.hash(state);
            match content {
                Content::Weight(weight) => weight.hash(state),
                Content::Bytes(bytes) => bytes.hash(state),
            }
        }
    }
    impl PartialEq for Hashed<'_> {
        fn eq(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }
    impl Eq for Hashed<'_> {}

    let mut seen = HashMap::new();
    for (index, value) in graph.values.iter().enumerate() {
        let Role::Constant(content) = &value.role else { continue };
        if matches!(content, Content::Bytes(bytes) if bytes.len() > COMPARED_BYTES_MAX) {
            continue;
        }
        match seen.entry(Hashed((value.dtype, &value.shape, content))) {
            Entry::Vacant(place) => {
                place.insert(ValueId(index as u32));
            }
            // A constant that goes out under its own name stays; whoever else reads it may read the first one.
            Entry::Occupied(first) => {
                alias[index] = *first.get();
            }
        }
    }
}

fn hash_of(node: &Node) -> u64 {
    let mut state = DefaultHasher::new();
    (&node.op, node.revision, &node.inputs, node.outputs.len(), node.attributes.len()).hash(&mut state);
    for (key, attribute) in &node.attributes {
        key.hash(&mut state);
        match attribute {
            Attribute::Integer(value) => value.hash(&mut state),
            Attribute::Integers(values) => values.hash(&mut state),
            Attribute::Number(value) => value.to_bits().hash(&mut state),
            Attribute::Numbers(values) => values.iter().for_each(|value| value.to_bits().hash(&mut state)),
            Attribute::Text(value) => value.hash(&mut state),
            Attribute::Texts(values) => values.hash(&mut state),
            Attribute::Bytes(bytes) => bytes.hash(&mut state),
            Attribute::Value(id) => id.hash(&mut state),
            // Nodes with blocks are not shared.
            Attribute::Graph(_) => {}
        }
    }
    state.finish()
}

fn equal(a: &Node, b: &Node) -> bool {
    // An output left out by one and read of the other cannot stand for it.
    let same_outputs =
        a.outputs.len() == b.outputs.len() && a.outputs.iter().zip(&b.outputs).all(|(a, b)| a.is_some() == b.is_some());
    same_outputs
        && a.op == b.op
        && a.revision == b.revision
        && a.inputs == b.inputs
        && a.attributes == b.attributes
        && a.epilogue == b.epilogue
}

/// Drops nodes whose results nobody reads; answers how many.
pub fn remove_dead(graph: &mut Graph) -> usize {
    let mut live = vec![false; graph.values.len()];
    for id in &graph.outputs {
        live[id.index()] = true;
    }
    let mut keep = vec![false; graph.nodes.len()];
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        if node.outputs.iter().flatten().any(|id| live[id.index()]) {
            keep[index] = true;
            for id in node.inputs.iter().flatten() {
                live[id.index()] = true;
            }
        }
    }
    let before = graph.nodes.len();
    let mut keep = keep.into_iter();
    graph.nodes.retain(|_| keep.next().unwrap_or(true));
    before - graph.nodes.len()
}

/// Drops values that nothing refers to and numbers the others anew, in their order.
pub fn compact(graph: &mut Graph) {
    let mut used = vec![false; graph.values.len()];
    let mut mark = |id: &ValueId| used[id.index()] = true;
    graph.inputs.iter().chain(&graph.outputs).for_each(&mut mark);
    for node in &graph.nodes {
        node.inputs.iter().chain(&node.outputs).flatten().for_each(&mut mark);
        for attribute in node.attributes.values() {
            if let Attribute::Value(id) = attribute {
                mark(id);
            }
        }
    }
    let mut number = vec![ValueId(u32::MAX); graph.values.len()];
    let mut values: Vec<Value> = Vec::with_capacity(graph.values.len());
    for (index, value) in std::mem::take(&mut graph.values).into_iter().enumerate() {
        if used[index] {
            number[index] = ValueId(values.len() as u32);
            values.push(value);
        }
    }
    graph.values = values;
    let renumber = |id: &mut ValueId| *id = number[id.index()];
    graph.inputs.iter_mut().chain(&mut graph.outputs).for_each(renumber);
    for node in &mut graph.nodes {
        node.inputs.iter_mut().chain(&mut node.outputs).flatten().for_each(renumber);
        for attribute in node.attributes.values_mut() {
            if let Attribute::Value(id) = attribute {
                renumber(id);
            }
        }
    }
}
