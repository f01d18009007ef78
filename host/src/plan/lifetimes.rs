//! Which tensors share bytes, and from when to when each piece of memory is needed.
//!
//! Time is counted in positions: 0 is the copy of the inputs, i + 1 is dispatch i, one more is the copy of the outputs.

use super::offsets::Item;
use std::collections::HashMap;
use sunmao_graph::{Graph, Node, ValueId};

/// A piece of memory that one or more values occupy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Piece(pub usize);

/// Where values live while the plan is being made.
pub(super) struct Lifetimes {
    items: Vec<Item>,
    of_value: HashMap<ValueId, Piece>,
    /// The value whose bytes a view shows; chains are followed at insertion.
    roots: HashMap<ValueId, ValueId>,
    /// Last position that reads a root value.
    last_use: HashMap<ValueId, u32>,
}

/// Whether the node only looks at its input's bytes with another shape.
pub(super) fn is_view(node: &Node) -> bool {
    matches!(node.op.as_str(), "Reshape" | "Identity" | "BitCast" | "Flatten" | "Squeeze" | "Unsqueeze")
        && node.epilogue.is_empty()
}

impl Lifetimes {
    /// Finds views and last uses in a graph whose nodes are in order of execution.
    pub(super) fn new(graph: &Graph) -> Self {
        let mut this =
            Self { items: Vec::new(), of_value: HashMap::new(), roots: HashMap::new(), last_use: HashMap::new() };
        let mut position = 0;
        for node in &graph.nodes {
            if is_view(node) {
                if let (Some(input), Some(output)) = (node.input(0), node.output(0)) {
                    let root = this.root(input);
                    this.roots.insert(output, root);
                }
                continue;
            }
            position += 1;
            for &input in node.inputs.iter().flatten() {
                let root = this.root(input);
                this.last_use.insert(root, position);
            }
        }
        for &output in &graph.outputs {
            let root = this.root(output);
            this.last_use.insert(root, position + 1);
        }
        this
    }

    /// The value whose bytes `value` shows.
    pub(super) fn root(&self, value: ValueId) -> ValueId {
        self.roots.get(&value).copied().unwrap_or(value)
    }

    /// Gives `value` memory of its own from `position` to its last use.
    pub(super) fn place(&mut self, value: ValueId, bytes: u64, position: u32) -> Piece {
        let last = self.last_use.get(&value).copied().unwrap_or(position).max(position);
        let piece = self.scratch(bytes, position, last);
        self.of_value.insert(value, piece);
        piece
    }

    /// Memory from `first` to `last` that belongs to no value.
    pub(super) fn scratch(&mut self, bytes: u64, first: u32, last: u32) -> Piece {
        self.items.push(Item { bytes, first, last });
        Piece(self.items.len() - 1)
    }

    /// Lets `output` take over the memory of `input`, when nobody needs `input` after `position` and the sizes are equal.
    pub(super) fn reuse(&mut self, output: ValueId, input: ValueId, bytes: u64, position: u32) -> bool {
        let root = self.root(input);
        let Some(&piece) = self.of_value.get(&root) else { return false };
        let item = &mut self.items[piece.0];
        if item.last != position || item.bytes != bytes {
            return false;
        }
        item.last = self.last_use.get(&output).copied().unwrap_or(position).max(position);
        self.of_value.insert(output, piece);
        true
    }

    /// The memory of a value that has some.
    pub(super) fn piece(&self, value: ValueId) -> Option<Piece> {
        self.of_value.get(&self.root(value)).copied()
    }

    /// All pieces, to be laid out.
    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }
}
