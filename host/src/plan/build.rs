//! Makes the plan: asks who runs each node, then lays memory out.

use super::layouts::{self, Step};
use super::lifetimes::{Lifetimes, Piece, is_view};
use super::offsets::{assign, lower_bound};
use super::work::work;
use super::{Argument, Constant, Dispatch, Form, MemoryUse, Plan, PlanError, Port, Schedule};
use crate::device::{DeviceError, Place, Placed, Placer, operation, plausible, value_bytes};
use std::collections::HashMap;
use sunmao_graph::{Graph, Node, Role, ValueId, Weights};
use sunmao_plugin_sdk::abi;

/// What a plan depends on beside graph and devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes; every offset is a multiple of it. A power of two.
    pub alignment: u32,
    /// Threads of a team.
    pub threads: u32,
}

/// More than this does not fit beside weights in a 32-bit memory.
const MAX_SLOT_BYTES: u64 = 3 << 30;

/// Plans `graph`, whose shapes are concrete and whose nodes are in an order that runs.
pub fn build(
    graph: Graph,
    weights: &dyn Weights,
    placer: &mut dyn Placer,
    options: Options,
) -> Result<Plan, PlanError> {
    let mut builder = Builder {
        lifetimes: Lifetimes::new(&graph),
        graph: &graph,
        options,
        constants: Vec::new(),
        constant_index: HashMap::new(),
        dispatches: Vec::new(),
        pending: Vec::new(),
        tensors: 0,
        staging: 0,
    };
    for &input in &graph.inputs {
        let bytes = value_bytes(&graph, input)?;
        builder.tensors += bytes;
        builder.lifetimes.place(input, bytes, 0);
    }
    let mut refused = Vec::new();
    let mut steps = Vec::new();
    for node in graph.nodes.iter().filter(|node| !is_view(node)) {
        let operation = operation(&graph, node, weights)?;
        match placer.place(&node.name, &operation) {
            Ok(placed) => steps.push(Step { node, operation, placed }),
            Err(error @ DeviceError::Unsupported { .. }) => refused.push(error.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    if !refused.is_empty() {
        return Err(PlanError::Unplaced(refused));
    }
    layouts::grant(&graph, &mut steps, placer)?;
    for Step { node, operation, placed } in steps {
        builder.add(node, operation, placed)?;
    }
    let Builder { lifetimes, mut constants, mut dispatches, pending, tensors, staging, .. } = builder;
    let (offsets, slot) = assign(lifetimes.items(), u64::from(options.alignment));
    if slot > MAX_SLOT_BYTES {
        return Err(PlanError::ArenaTooLarge { needed: slot, limit: MAX_SLOT_BYTES });
    }
    for (dispatch, pending) in dispatches.iter_mut().zip(pending) {
        dispatch.arguments = pending.arguments.iter().map(|argument| argument.resolve(&offsets)).collect();
        dispatch.workspace = pending.workspace.map_or(0, |piece| offsets[piece.0]);
    }
    let is_plain = |constant: &Constant, value: ValueId| constant.value == value && constant.form == Form::Plain;
    // An output that is a constant is copied from its plain form, which no dispatch may have asked for.
    for &output in &graph.outputs {
        let root = lifetimes.root(output);
        if graph.value(root).is_constant() && !constants.iter().any(|constant| is_plain(constant, root)) {
            let bytes = value_bytes(&graph, root)?;
            constants.push(Constant { value: root, form: Form::Plain, bytes, align: options.alignment });
        }
    }
    let port = |value: ValueId| -> Result<Port, PlanError> {
        let root = lifetimes.root(value);
        let at = match lifetimes.piece(root) {
            Some(piece) => Argument::Slot(offsets[piece.0]),
            None => {
                let at = constants.iter().position(|constant| is_plain(constant, root));
                Argument::Constant(
                    at.ok_or_else(|| DeviceError::NotConcrete { value: graph.value(value).name.clone() })?,
                )
            }
        };
        let bytes = value_bytes(&graph, value)?;
        let tensor = graph.value(value);
        let unknown = || DeviceError::NotConcrete { value: tensor.name.clone() };
        Ok(Port {
            name: tensor.name.clone(),
            dtype: tensor.dtype.ok_or_else(unknown)?,
            shape: tensor.concrete().ok_or_else(unknown)?,
            bytes,
            at,
        })
    };
    let inputs = graph.inputs.iter().map(|&value| port(value)).collect::<Result<_, _>>()?;
    let outputs = graph.outputs.iter().map(|&value| port(value)).collect::<Result<_, _>>()?;
    let align = u64::from(options.alignment);
    let memory = MemoryUse {
        slot,
        live: lower_bound(lifetimes.items()),
        tensors,
        constants: constants.iter().map(|constant| constant.bytes.next_multiple_of(align)).sum(),
        staging,
    };
    let alone = Schedule::new(&dispatches, 1);
    let shared = Schedule::new(&dispatches, options.threads);
    let tuned_by = placer.costs();
    Ok(Plan {
        alignment: options.alignment,
        dispatches,
        constants,
        inputs,
        outputs,
        memory,
        alone,
        shared,
        tuned_by,
        graph,
    })
}

struct Builder<'a> {
    graph: &'a Graph,
    options: Options,
    lifetimes: Lifetimes,
    constants: Vec<Constant>,
    constant_index: HashMap<(ValueId, Option<(Place, String)>), usize>,
    dispatches: Vec<Dispatch>,
    pending: Vec<Pending>,
    tensors: u64,
    staging: u64,
}

/// Arguments of a dispatch before offsets are known.
struct Pending {
    arguments: Vec<Spot>,
    workspace: Option<Piece>,
}

enum Spot {
    Constant(usize),
    Piece(Piece),
}

impl Spot {
    fn resolve(&self, offsets: &[u64]) -> Argument {
        match self {
            Spot::Constant(index) => Argument::Constant(*index),
            Spot::Piece(piece) => Argument::Slot(offsets[piece.0]),
        }
    }
}

impl Builder<'_> {
    fn add(&mut self, node: &Node, operation: abi::Operation, placed: Placed) -> Result<(), PlanError> {
        let position = self.dispatches.len() as u32 + 1;
        let requirements = placed.requirements;
        plausible(&operation, &requirements).map_err(|what| PlanError::Requirements {
            op: operation.op.clone(),
            node: node.name.clone(),
            what,
        })?;
        let mut arguments = Vec::with_capacity(node.inputs.len() + node.outputs.len());
        for (index, &input) in node.inputs.iter().enumerate() {
            let Some(input) = input else { continue };
            let root = self.lifetimes.root(input);
            if let Role::Constant(_) = self.graph.value(root).role {
                let packed = requirements.packed.iter().find(|packed| packed.input as usize == index);
                arguments.push(Spot::Constant(self.constant(root, node, placed.place, packed)?));
            } else {
                let piece = self
                    .lifetimes
                    .piece(root)
                    .ok_or_else(|| DeviceError::NotConcrete { value: self.graph.value(root).name.clone() })?;
                arguments.push(Spot::Piece(piece));
            }
        }
        for (index, &output) in node.outputs.iter().enumerate() {
            let Some(output) = output else { continue };
            let bytes = value_bytes(self.graph, output)?;
            self.tensors += bytes;
            let reused = requirements.in_place.iter().filter(|alias| alias.output as usize == index).any(|alias| {
                let Some(input) = node.input(alias.input as usize) else { return false };
                let layout = |operand: &Option<abi::Operand>| operand.as_ref().map(|operand| operand.layout);
                if layout(&operation.inputs[alias.input as usize]) != layout(&operation.outputs[index]) {
                    return false;
                }
                // An input that stands twice among the operands would be overwritten while it is still read.
                let root = self.lifetimes.root(input);
                let uses = node.inputs.iter().flatten().filter(|&&i| self.lifetimes.root(i) == root).count();
                uses == 1 && self.lifetimes.reuse(output, input, bytes, position)
            });
            if !reused {
                self.lifetimes.place(output, bytes, position);
            }
            if let Some(piece) = self.lifetimes.piece(output) {
                arguments.push(Spot::Piece(piece));
            }
        }
        let shards = requirements.shards.min(self.options.threads).max(1);
        let stride = u64::from(requirements.workspace).next_multiple_of(u64::from(self.options.alignment));
        let workspace = (requirements.workspace > 0)
            .then(|| self.lifetimes.scratch(stride * u64::from(shards), position, position));
        let work = work(&operation);
        self.pending.push(Pending { arguments, workspace });
        self.dispatches.push(Dispatch {
            node: node.name.clone(),
            place: placed.place,
            reason: placed.reason,
            operation,
            arguments: Vec::new(),
            packed: requirements.packed,
            in_place: requirements.in_place,
            shards,
            work,
            workspace: 0,
            workspace_bytes: requirements.workspace,
        });
        Ok(())
    }

    /// The number of a constant in the form that the dispatch wants.
    fn constant(
        &mut self,
        value: ValueId,
        node: &Node,
        place: Place,
        packed: Option<&abi::PackedConstant>,
    ) -> Result<usize, PlanError> {
        let plain = value_bytes(self.graph, value)?;
        let id = packed.map(|packed| (place, format!("{} {}", node.op, packed.key)));
        if let Some(&index) = self.constant_index.get(&(value, id.clone())) {
            return Ok(index);
        }
        let (form, bytes) = match (packed, &id) {
            (Some(packed), Some((place, key))) => {
                self.staging = self.staging.max(plain + u64::from(packed.bytes));
                let dispatch = self.dispatches.len();
                (
                    Form::Packed { place: *place, key: key.clone(), dispatch, input: packed.input },
                    u64::from(packed.bytes),
                )
            }
            _ => (Form::Plain, plain),
        };
        let align = packed.map_or(1, |packed| packed.align).max(self.options.alignment);
        self.constants.push(Constant { value, form, bytes, align });
        self.constant_index.insert((value, id), self.constants.len() - 1);
        Ok(self.constants.len() - 1)
    }
}
