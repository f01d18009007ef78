//! One operation as a graph of one node.

use std::collections::BTreeMap;
use sunmao_graph::{Attribute, Container, Content, DType, Dim, Epilogue, Graph, Node, Role, Value, ValueId};
use sunmao_plugin_sdk::abi;

/// The graph; constants have the bytes of `operands`, which has an entry for each input that is there. None: something in it has no form in a graph.
pub(super) fn graph(operation: &abi::Operation, operands: &[Vec<u8>]) -> Option<Graph> {
    let mut graph = Graph::default();
    let mut bytes = operands.iter();
    let mut inputs = Vec::new();
    for operand in &operation.inputs {
        inputs.push(match operand {
            None => None,
            Some(operand) => {
                let bytes = bytes.next()?;
                let role =
                    if operand.constant { Role::Constant(Content::Bytes(bytes[..].into())) } else { Role::Input };
                let id = value(&mut graph, operand, role)?;
                if !operand.constant {
                    graph.inputs.push(id);
                }
                Some(id)
            }
        });
    }
    let mut outputs = Vec::new();
    for operand in &operation.outputs {
        let id = operand.as_ref().map(|operand| value(&mut graph, operand, Role::Computed));
        outputs.push(match id {
            None => None,
            Some(id) => Some(id?),
        });
    }
    graph.outputs = outputs.iter().flatten().copied().collect();
    let step = |step: &abi::EpilogueStep| {
        let (op, input) = (step.op.clone(), step.input.map(|input| input as usize));
        Some(Epilogue { op, input, attributes: attributes(&step.attributes)? })
    };
    graph.nodes.push(Node {
        name: "measured".into(),
        op: operation.op.clone(),
        revision: operation.revision,
        attributes: attributes(&operation.attributes)?,
        inputs,
        outputs,
        epilogue: operation.epilogue.iter().map(step).collect::<Option<_>>()?,
    });
    Some(graph)
}

/// The bytes of what is no constant, in the order of the graph's inputs.
pub(super) fn inputs<'a>(operation: &abi::Operation, operands: &'a [Vec<u8>]) -> Vec<&'a [u8]> {
    let present = operation.inputs.iter().flatten().zip(operands);
    present.filter(|(operand, _)| !operand.constant).map(|(_, bytes)| bytes.as_slice()).collect()
}

fn value(graph: &mut Graph, operand: &abi::Operand, role: Role) -> Option<ValueId> {
    let name = format!("v{}", graph.values.len());
    let dtype = Some(DType::from_code(operand.dtype)?);
    let shape = Some(operand.shape.iter().map(|&length| Dim::Known(u64::from(length))).collect());
    Some(graph.add_value(Value { name, dtype, shape, container: Container::Tensor, role }))
}

/// None: one is a tensor or a block, which kernels do not take.
fn attributes(attributes: &[abi::Kv]) -> Option<BTreeMap<String, Attribute>> {
    let convert = |kv: &abi::Kv| {
        let value = match &kv.val {
            abi::Attribute::Integer(value) => Attribute::Integer(*value),
            abi::Attribute::Number(value) => Attribute::Number(*value),
            abi::Attribute::Text(value) => Attribute::Text(value.clone()),
            abi::Attribute::Integers(value) => Attribute::Integers(value.clone()),
            abi::Attribute::Numbers(value) => Attribute::Numbers(value.clone()),
            abi::Attribute::Texts(value) => Attribute::Texts(value.clone()),
            abi::Attribute::Bytes(value) => Attribute::Bytes(value.clone()),
            abi::Attribute::Value(_) | abi::Attribute::Block(_) => return None,
        };
        Some((kv.key.clone(), value))
    };
    attributes.iter().map(convert).collect()
}
