//! A node of a concrete graph as the operation that kernels are asked to prepare.

use super::DeviceError;
use std::collections::BTreeMap;
use sunmao_graph::{Attribute, Content, Graph, Node, Role, ValueId, Weights};
use sunmao_plugin_sdk::abi;

/// Constants up to this size come with their bytes, so that a kernel can settle axes, pads and bounds in `prepare`.
const LITERAL_BYTES: u64 = 4096;

/// Bytes of a value whose shape and type are known.
pub fn value_bytes(graph: &Graph, id: ValueId) -> Result<u64, DeviceError> {
    let value = graph.value(id);
    let shape = value.concrete().ok_or_else(|| DeviceError::NotConcrete { value: value.name.clone() })?;
    let dtype = value.dtype.ok_or_else(|| DeviceError::NotConcrete { value: value.name.clone() })?;
    let elements = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
    elements.and_then(|elements| dtype.bytes(elements)).ok_or_else(|| DeviceError::TooLarge {
        value: value.name.clone(),
        shape,
        limit: u64::from(u32::MAX),
    })
}

/// The operation that `node` is, at the shapes of `graph`.
pub fn operation(graph: &Graph, node: &Node, weights: &dyn Weights) -> Result<abi::Operation, DeviceError> {
    let operands = |ids: &[Option<ValueId>]| -> Result<Vec<Option<abi::Operand>>, DeviceError> {
        ids.iter().map(|id| id.map(|id| operand(graph, id, weights)).transpose()).collect()
    };
    let epilogue = node.epilogue.iter().map(|step| {
        Ok(abi::EpilogueStep {
            op: step.op.clone(),
            input: step.input.map(|input| input as u32),
            attributes: attributes(&step.attributes)?,
        })
    });
    Ok(abi::Operation {
        op: node.op.clone(),
        revision: node.revision,
        attributes: attributes(&node.attributes)?,
        inputs: operands(&node.inputs)?,
        outputs: operands(&node.outputs)?,
        epilogue: epilogue.collect::<Result<_, DeviceError>>()?,
        ext: vec![abi::Kv { key: "node".into(), val: abi::Attribute::Text(node.name.clone()) }],
    })
}

fn operand(graph: &Graph, id: ValueId, weights: &dyn Weights) -> Result<abi::Operand, DeviceError> {
    let value = graph.value(id);
    let bytes = value_bytes(graph, id)?;
    let too_large = || DeviceError::TooLarge {
        value: value.name.clone(),
        shape: value.concrete().unwrap_or_default(),
        limit: u64::from(u32::MAX),
    };
    if bytes > u64::from(u32::MAX) {
        return Err(too_large());
    }
    let shape = value.concrete().unwrap_or_default();
    let literal = match &value.role {
        _ if value.dtype.is_some_and(|dtype| dtype.block().is_some()) => None,
        Role::Constant(Content::Bytes(bytes)) if bytes.len() as u64 <= LITERAL_BYTES => Some(bytes.to_vec()),
        Role::Constant(Content::Weight(weight)) if bytes <= LITERAL_BYTES => {
            let failed = |reason| DeviceError::Constant { value: value.name.clone(), reason };
            Some(weights.bytes(value, weight).map_err(failed)?.to_vec())
        }
        _ => None,
    };
    Ok(abi::Operand {
        dtype: value.dtype.map_or(0, |dtype| dtype.code()),
        shape: shape.iter().map(|&d| u32::try_from(d)).collect::<Result<_, _>>().map_err(|_| too_large())?,
        layout: 0,
        constant: value.is_constant(),
        literal,
        quantisation: None,
        extents: Vec::new(),
        ext: Vec::new(),
    })
}

pub(crate) fn attributes(attributes: &BTreeMap<String, Attribute>) -> Result<Vec<abi::Kv>, DeviceError> {
    let convert = |(key, attribute): (&String, &Attribute)| {
        let val = match attribute {
            Attribute::Integer(value) => abi::Attribute::Integer(*value),
            Attribute::Number(value) => abi::Attribute::Number(*value),
            Attribute::Text(value) => abi::Attribute::Text(value.clone()),
            Attribute::Integers(value) => abi::Attribute::Integers(value.clone()),
            Attribute::Numbers(value) => abi::Attribute::Numbers(value.clone()),
            Attribute::Texts(value) => abi::Attribute::Texts(value.clone()),
            Attribute::Bytes(value) => abi::Attribute::Bytes(value.clone()),
            Attribute::Value(_) | Attribute::Graph(_) => return Err(DeviceError::TensorAttribute { key: key.clone() }),
        };
        Ok(abi::Kv { key: key.clone(), val })
    };
    attributes.iter().map(convert).collect()
}
