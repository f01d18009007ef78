//! Tensors in a layout of the chip's own: those whose producer and whose readers are all the chip's and all wish for the same one.
//!
//! Nothing converts. A tensor that anybody else touches (a native kernel, a request, a view) lies row-major, and a kernel that stands at such a
//! border is prepared with one layout on one side and another on the other.

use super::lifetimes::is_view;
use crate::device::{DeviceError, Place, Placed, Placer};
use std::collections::HashMap;
use sunmao_graph::{Graph, Node, Role, ValueId};
use sunmao_plugin_sdk::abi;

/// Rounds after which a chip that keeps refusing what it wished for gets no wish at all.
const ROUNDS_MAX: usize = 4;

/// A node, as an operation, and who runs it.
pub(super) struct Step<'g> {
    pub(super) node: &'g Node,
    pub(super) operation: abi::Operation,
    pub(super) placed: Placed,
}

/// Has the chip prepare its operations again with the layouts that it wished for, where everybody agrees.
pub(super) fn grant(graph: &Graph, steps: &mut [Step<'_>], placer: &mut dyn Placer) -> Result<(), DeviceError> {
    let mut granted = agreed(graph, steps);
    for _ in 0..ROUNDS_MAX {
        let mut again = Vec::new();
        let mut refused = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let Some(operation) = laid_out(step, &granted) else { continue };
            match placer.place(&step.node.name, &operation) {
                Ok(placed) if placed.place == Place::Chip => again.push((index, operation, placed)),
                Ok(_) | Err(DeviceError::Unsupported { .. }) => refused.push(index),
                Err(error) => return Err(error),
            }
        }
        if refused.is_empty() {
            for (index, operation, placed) in again {
                steps[index].operation = operation;
                steps[index].placed = placed;
            }
            return Ok(());
        }
        for index in refused {
            let node = steps[index].node;
            for value in node.inputs.iter().chain(&node.outputs).flatten() {
                granted.remove(value);
            }
        }
    }
    Ok(())
}

/// The values of which all who touch them wish for one layout.
fn agreed(graph: &Graph, steps: &[Step<'_>]) -> HashMap<ValueId, u16> {
    let mut wishes = HashMap::new();
    for step in steps {
        for (index, &value) in step.node.outputs.iter().enumerate() {
            let Some(value) = value.filter(|&value| matches!(graph.value(value).role, Role::Computed)) else {
                continue;
            };
            if let Some(layout) = step.wish(step.node.inputs.len() + index) {
                wishes.insert(value, layout);
            }
        }
    }
    for step in steps {
        for (index, &value) in step.node.inputs.iter().enumerate() {
            let Some(value) = value else { continue };
            if wishes.get(&value).is_some_and(|&layout| step.wish(index) != Some(layout)) {
                wishes.remove(&value);
            }
        }
    }
    let shown = graph.nodes.iter().filter(|node| is_view(node)).flat_map(|node| node.inputs.iter().flatten());
    for value in graph.outputs.iter().chain(shown) {
        wishes.remove(value);
    }
    wishes
}

impl Step<'_> {
    /// The layout that the chip would rather have for an operand, inputs counted first.
    fn wish(&self, operand: usize) -> Option<u16> {
        let choices = self.placed.requirements.layouts.iter().filter(|_| self.placed.place == Place::Chip);
        choices.filter(|choice| choice.layout != 0).find(|choice| choice.operand as usize == operand).map(|c| c.layout)
    }
}

/// The operation with the granted layouts; none where it has none.
fn laid_out(step: &Step<'_>, granted: &HashMap<ValueId, u16>) -> Option<abi::Operation> {
    let layout = |value: &Option<ValueId>| value.and_then(|value| granted.get(&value)).copied();
    if !step.node.inputs.iter().chain(&step.node.outputs).any(|value| layout(value).is_some()) {
        return None;
    }
    let mut operation = step.operation.clone();
    let inputs = operation.inputs.iter_mut().zip(&step.node.inputs);
    for (operand, value) in inputs.chain(operation.outputs.iter_mut().zip(&step.node.outputs)) {
        if let (Some(operand), Some(layout)) = (operand, layout(value)) {
            operand.layout = layout;
        }
    }
    Some(operation)
}
