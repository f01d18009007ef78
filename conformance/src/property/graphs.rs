//! Small graphs, for what must hold of a whole model: however it is cut up, on however many threads, at whatever batch.

use super::draw::Draw;

/// A node of a drawn graph. Operands are places in the list of all values: inputs first, then the result of each node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrawnNode {
    /// The operator.
    pub op: &'static str,
    /// Its revision.
    pub revision: u16,
    /// Its operands.
    pub operands: Vec<usize>,
    /// For the operators that have one, the axis.
    pub axis: Option<i64>,
}

/// A graph on f32 tensors of shape [batch, rows, width], all alike but for square weights [width, width].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrawnGraph {
    /// Length of the second axis.
    pub rows: usize,
    /// Length of the last axis.
    pub width: usize,
    /// Number of inputs of shape [batch, rows, width].
    pub inputs: usize,
    /// The nodes in an order that runs; the last one's result is the output.
    pub nodes: Vec<DrawnNode>,
    /// Number of square weights; they stand behind the inputs in the list of values.
    pub weights: usize,
}

/// Graph `number` of a seed: three to eight nodes.
pub fn drawn_graph(seed: u64, number: u64) -> DrawnGraph {
    let mut draw = Draw::new("graph", seed, number);
    let inputs = draw.between(1, 2) as usize;
    let weights = 2;
    let first = inputs + weights;
    let mut nodes: Vec<DrawnNode> = Vec::new();
    let count = draw.between(3, 8) as usize;
    for at in 0..count {
        // The newest result, or any before it: then the graph has branches.
        let results = inputs + nodes.len();
        let value = |place: usize| if place < inputs { place } else { place - inputs + first };
        let newest = value(results - 1);
        let any = value(draw.below(results));
        let (op, revision, operands, axis) = match draw.below(7) {
            0 => ("Relu", 14, vec![newest], None),
            1 => ("Sigmoid", 13, vec![newest], None),
            2 => ("Add", 14, vec![newest, any], None),
            3 => ("Mul", 14, vec![newest, any], None),
            4 => ("Softmax", 13, vec![newest], Some(-1)),
            5 => ("Tanh", 13, vec![any], None),
            _ => ("MatMul", 13, vec![newest, inputs + at % weights], None),
        };
        nodes.push(DrawnNode { op, revision, operands, axis });
    }
    let size = |draw: &mut Draw| draw.pick(&[1usize, 3, 7, 16, 33]);
    DrawnGraph { rows: size(&mut draw), width: size(&mut draw), inputs, nodes, weights }
}
