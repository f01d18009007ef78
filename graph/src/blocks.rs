//! Passes on blocks: constants that they capture become their own, and a branch that is certain takes the place of its If.

use crate::edit::{fresh_name, new_node};
use crate::error::GraphError;
use crate::tensor::read_integers;
use crate::{Attribute, Graph, Node, Role, Value, ValueId};
use std::sync::Arc;

/// Does something to a graph and to all blocks in it, outermost first.
pub(crate) fn each_graph(
    graph: &mut Graph,
    change: &mut dyn FnMut(&mut Graph) -> Result<(), GraphError>,
) -> Result<(), GraphError> {
    change(graph)?;
    for block in graph.nodes.iter_mut().flat_map(Node::blocks_mut) {
        each_graph(block, change)?;
    }
    Ok(())
}

/// Captured values that are constants become constants of the blocks. Answers how many.
pub(crate) fn absorb(values: &[Value], node: &mut Node) -> usize {
    let own = node.own_inputs();
    let is_constant = |input: &Option<ValueId>| input.is_some_and(|id| values[id.index()].is_constant());
    let constant: Vec<bool> = node.inputs[own..].iter().map(is_constant).collect();
    let captured: Vec<Option<ValueId>> = node.inputs[own..].to_vec();
    for block in node.blocks_mut() {
        let params = block.inputs.len() - block.captured;
        for (at, outer) in captured.iter().enumerate().filter(|(at, _)| constant[*at]) {
            let Some(outer) = outer else { continue };
            let (inner, outer) = (block.inputs[params + at], &values[outer.index()]);
            let value = &mut block.values[inner.index()];
            (value.dtype, value.shape, value.role) = (outer.dtype, outer.shape.clone(), outer.role.clone());
        }
    }
    forget(node, &constant)
}

/// Captured values that no block needs are captured no more. Answers how many.
pub(crate) fn drop_unused(node: &mut Node) -> usize {
    let mut unused = vec![true; node.captured()];
    for (_, block) in node.blocks() {
        let mut used = vec![false; block.values.len()];
        let reads = block.nodes.iter().flat_map(|node| node.inputs.iter().flatten());
        reads.chain(&block.outputs).for_each(|id| used[id.index()] = true);
        let captured = &block.inputs[block.inputs.len() - block.captured..];
        for (unused, id) in unused.iter_mut().zip(captured) {
            *unused &= !used[id.index()];
        }
    }
    forget(node, &unused)
}

/// Takes captured values out of a node and out of its blocks' inputs.
fn forget(node: &mut Node, gone: &[bool]) -> usize {
    let count = gone.iter().filter(|gone| **gone).count();
    if count == 0 {
        return 0;
    }
    let own = node.own_inputs();
    for block in node.blocks_mut() {
        let params = block.inputs.len() - block.captured;
        let mut index = 0;
        block.inputs.retain(|id| {
            let goes = index >= params && gone[index - params];
            index += 1;
            // What stays a value of the block is no input of it any more.
            if goes && block.values[id.index()].role == Role::Input {
                block.values[id.index()].role = Role::Computed;
            }
            !goes
        });
        block.captured -= count;
    }
    let mut index = 0;
    node.inputs.retain(|_| {
        let goes = index >= own && gone[index - own];
        index += 1;
        !goes
    });
    count
}

/// Puts the branch that is taken in the place of each If whose condition is a constant. Answers how many.
pub(crate) fn choose_branches(graph: &mut Graph) -> Result<usize, GraphError> {
    let decided = |graph: &Graph, node: &Node| -> Option<Arc<Graph>> {
        if node.op != "If" {
            return None;
        }
        let condition = graph.value(node.input(0)?);
        let condition = read_integers(condition.dtype?, condition.bytes()?)?;
        let key = if *condition.first()? != 0 { "then_branch" } else { "else_branch" };
        match node.attributes.get(key) {
            Some(Attribute::Graph(block)) => Some(block.clone()),
            _ => None,
        }
    };
    if !graph.nodes.iter().any(|node| decided(graph, node).is_some()) {
        return Ok(0);
    }
    let mut chosen = 0;
    for node in std::mem::take(&mut graph.nodes) {
        match decided(graph, &node) {
            None => graph.nodes.push(node),
            Some(branch) => {
                splice(graph, &node, Arc::unwrap_or_clone(branch));
                chosen += 1;
            }
        }
    }
    Ok(chosen)
}

/// Puts the nodes of a block without parameters behind those of the graph; its results become the outputs of `node`.
fn splice(graph: &mut Graph, node: &Node, block: Graph) {
    let captured = &node.inputs[node.own_inputs()..];
    let mut numbers: Vec<Option<ValueId>> = vec![None; block.values.len()];
    for (inner, outer) in block.inputs.iter().zip(captured) {
        numbers[inner.index()] = *outer;
    }
    // A result takes the number of the output, where it is made in the block and for one output alone.
    let mut made = vec![false; block.values.len()];
    block.nodes.iter().flat_map(|node| node.outputs.iter().flatten()).for_each(|id| made[id.index()] = true);
    let mut copies = Vec::new();
    for (output, result) in node.outputs.iter().zip(&block.outputs) {
        let Some(output) = *output else { continue };
        let number = &mut numbers[result.index()];
        if made[result.index()] && number.is_none() {
            *number = Some(output);
        } else {
            copies.push((*result, output));
        }
    }
    for (index, value) in block.values.into_iter().enumerate() {
        if numbers[index].is_none() {
            let name = fresh_name(&value.name, graph.values.len());
            numbers[index] = Some(graph.add_value(Value { name, ..value }));
        }
    }
    let number = |id: ValueId| numbers[id.index()].expect("every value of the block got a number above");
    for mut inner in block.nodes {
        for id in inner.inputs.iter_mut().chain(&mut inner.outputs).flatten() {
            *id = number(*id);
        }
        for attribute in inner.attributes.values_mut() {
            if let Attribute::Value(id) = attribute {
                *id = number(*id);
            }
        }
        graph.nodes.push(inner);
    }
    for (result, output) in copies {
        graph.nodes.push(new_node(&node.name, "Identity", &[Some(number(result))], &[Some(output)], &[]));
    }
}

#[cfg(test)]
mod tests;
