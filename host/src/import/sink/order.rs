//! Puts nodes into an order that runs: an importer may give them in any.

use std::collections::VecDeque;
use sunmao_graph::{Graph, Node};

/// Sorts; nodes that are in order already stay as they are. The error is the name of a node on a cycle.
pub(super) fn sort(graph: &mut Graph) -> Result<(), String> {
    let count = graph.nodes.len();
    let mut maker = vec![None; graph.values.len()];
    for (number, node) in graph.nodes.iter().enumerate() {
        for output in node.outputs.iter().flatten() {
            maker[output.index()] = Some(number);
        }
    }
    let before =
        |node: &Node| -> Vec<usize> { node.inputs.iter().flatten().filter_map(|input| maker[input.index()]).collect() };
    let in_order = |(number, node): (usize, &Node)| before(node).iter().all(|&maker| maker < number);
    if graph.nodes.iter().enumerate().all(in_order) {
        return Ok(());
    }

    let mut waits = vec![0usize; count];
    let mut then = vec![Vec::new(); count];
    for (number, node) in graph.nodes.iter().enumerate() {
        for maker in before(node) {
            waits[number] += 1;
            then[maker].push(number);
        }
    }
    let mut ready: VecDeque<usize> = (0..count).filter(|&number| waits[number] == 0).collect();
    let mut order = Vec::with_capacity(count);
    while let Some(number) = ready.pop_front() {
        order.push(number);
        for &next in &then[number] {
            waits[next] -= 1;
            if waits[next] == 0 {
                ready.push_back(next);
            }
        }
    }
    if let Some(stuck) = waits.iter().position(|&waits| waits > 0) {
        return Err(graph.nodes[stuck].name.clone());
    }
    let mut nodes: Vec<_> = std::mem::take(&mut graph.nodes).into_iter().map(Some).collect();
    graph.nodes = order.into_iter().filter_map(|number| nodes[number].take()).collect();
    Ok(())
}
