//! Puts nodes in an order that runs, or finds that there is none.

use super::{GraphErrors, Problem};
use crate::Graph;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Sorts the nodes topologically; those that could run earlier keep their place. Every number must have been checked.
pub(super) fn sort(graph: &mut Graph, errors: &mut GraphErrors) {
    const NONE: u32 = u32::MAX;
    let mut producer = vec![NONE; graph.values.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        for output in node.outputs.iter().flatten() {
            producer[output.index()] = index as u32;
        }
    }
    let sources = |node: &crate::Node| -> Vec<usize> {
        node.inputs
            .iter()
            .flatten()
            .map(|id| producer[id.index()])
            .filter(|index| *index != NONE)
            .map(|index| index as usize)
            .collect()
    };
    if graph.nodes.iter().enumerate().all(|(index, node)| sources(node).iter().all(|source| *source < index)) {
        return;
    }
    // Consumers as one flat list: bounded by the number of edges.
    let mut waits = vec![0u32; graph.nodes.len()];
    let mut first = vec![0usize; graph.nodes.len() + 1];
    for (index, node) in graph.nodes.iter().enumerate() {
        for source in sources(node) {
            waits[index] += 1;
            first[source + 1] += 1;
        }
    }
    for index in 1..first.len() {
        first[index] += first[index - 1];
    }
    let mut fill = first.clone();
    let mut consumers = vec![0u32; first[graph.nodes.len()]];
    for (index, node) in graph.nodes.iter().enumerate() {
        for source in sources(node) {
            consumers[fill[source]] = index as u32;
            fill[source] += 1;
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        (0..waits.len()).filter(|index| waits[*index] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(waits.len());
    while let Some(Reverse(index)) = ready.pop() {
        order.push(index);
        for consumer in &consumers[first[index]..first[index + 1]] {
            let consumer = *consumer as usize;
            waits[consumer] -= 1;
            if waits[consumer] == 0 {
                ready.push(Reverse(consumer));
            }
        }
    }
    if order.len() < graph.nodes.len() {
        let stuck = waits.iter().position(|waits| *waits > 0).expect("fewer sorted than there are: one waits");
        let node = &graph.nodes[stuck];
        errors.push(Problem::Cycle {
            node: node.label(),
            op: crate::text::clipped(&node.op),
            count: graph.nodes.len() - order.len(),
        });
        return;
    }
    let mut nodes: Vec<Option<crate::Node>> = std::mem::take(&mut graph.nodes).into_iter().map(Some).collect();
    graph.nodes = order.into_iter().filter_map(|index| nodes[index].take()).collect();
}
