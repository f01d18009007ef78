//! Operations that a plugin is likely to run, and a bed to run one on: operands apart from each other, with canaries between them.

use super::{Lab, Trouble};
use crate::device::covers;
use crate::memory::{Region, Sharing};
use crate::plugin::{ChipInstance, Plugin, PluginError};
use std::sync::Arc;
use sunmao_plugin_sdk::abi::{Attribute, Kv, Operand, Operation, View};

/// Fills what nobody may write.
const CANARY: u8 = 0x5C;
/// Bytes between operands.
const GAP: usize = 4096;
/// The arena of a bed.
const ARENA: usize = 1 << 20;

/// One operation with the bytes of its inputs.
#[derive(Clone)]
pub(super) struct Probe {
    pub(super) operation: Operation,
    pub(super) inputs: Vec<Vec<u8>>,
    pub(super) output_bytes: usize,
    /// Each row of the result depends on the same row of the first input alone.
    pub(super) by_rows: bool,
}

/// What a run left.
pub(super) struct Ran {
    pub(super) output: Vec<u8>,
    /// Places outside of the output and the workspace that were written to.
    pub(super) strays: Vec<usize>,
}

const F32: u16 = 1;

impl Probe {
    /// `op` on f32 tensors; numbers are small, so that no function leaves its domain.
    fn floats(op: &str, revision: u16, shapes: &[&[u32]], output: &[u32], attributes: &[(&str, Attribute)]) -> Self {
        let numbers = |(seed, shape): (usize, &&[u32])| {
            let count = shape.iter().product::<u32>() as usize;
            (0..count).flat_map(|i| (((i * 7 + seed * 3) % 31) as f32 / 16.0 + 0.25).to_le_bytes()).collect()
        };
        let operand = |shape: &[u32]| Operand {
            dtype: F32,
            shape: shape.to_vec(),
            layout: 0,
            constant: false,
            literal: None,
            quantisation: None,
            extents: Vec::new(),
            ext: Vec::new(),
        };
        let operation = Operation {
            op: op.into(),
            revision,
            attributes: attributes.iter().map(|(key, val)| Kv { key: (*key).into(), val: val.clone() }).collect(),
            inputs: shapes.iter().map(|shape| Some(operand(shape))).collect(),
            outputs: vec![Some(operand(output))],
            epilogue: Vec::new(),
            ext: Vec::new(),
        };
        let inputs = shapes.iter().enumerate().map(numbers).collect();
        Self { operation, inputs, output_bytes: output.iter().product::<u32>() as usize * 4, by_rows: true }
    }

    /// All that the checks know.
    fn all() -> Vec<Self> {
        const ROWS: &[u32] = &[6, 40];
        let mut probes: Vec<Self> =
            [("Relu", 14), ("Neg", 13), ("Abs", 13), ("Exp", 13), ("Sqrt", 13), ("Sigmoid", 13), ("Tanh", 13)]
                .into_iter()
                .map(|(op, revision)| Self::floats(op, revision, &[ROWS], ROWS, &[]))
                .collect();
        probes.extend(["Add", "Sub", "Mul", "Div"].map(|op| Self::floats(op, 14, &[ROWS, ROWS], ROWS, &[])));
        probes.push(Self::floats("MatMul", 13, &[ROWS, &[40, 24]], &[6, 24], &[]));
        probes.push(Self::floats("Softmax", 13, &[ROWS], ROWS, &[("axis", Attribute::Integer(-1))]));
        let window = [
            ("auto_pad", Attribute::Text("NOTSET".into())),
            ("ceil_mode", Attribute::Integer(0)),
            ("dilations", Attribute::Integers(vec![1, 1])),
            ("kernel_shape", Attribute::Integers(vec![2, 2])),
            ("pads", Attribute::Integers(vec![0; 4])),
            ("storage_order", Attribute::Integer(0)),
            ("strides", Attribute::Integers(vec![1, 1])),
        ];
        probes.push(Self { by_rows: false, ..Self::floats("MaxPool", 12, &[&[1, 3, 8, 8]], &[1, 3, 7, 7], &window) });
        probes
    }

    /// x + x, which every guest runs.
    pub(super) fn sum() -> Self {
        Self::floats("Add", 14, &[&[6, 40], &[6, 40]], &[6, 40], &[])
    }

    /// Those that a plugin's table covers. None at all is a plugin that these checks cannot judge.
    pub(super) fn of(plugin: &Plugin) -> Result<Vec<Self>, Trouble> {
        let table = plugin.chip().map_or(&[][..], |facts| &facts.operators);
        let covered: Vec<Self> =
            Self::all().into_iter().filter(|probe| covers(table, &probe.operation).is_ok()).collect();
        let none =
            || Trouble::NotHere("the plugin covers none of the operators that the behaviour checks ask for".into());
        if covered.is_empty() { Err(none()) } else { Ok(covered) }
    }

    pub(super) fn op(&self) -> &str {
        &self.operation.op
    }
}

/// An instance and an arena that the host sees as well.
pub(super) struct Bed {
    pub(super) instance: ChipInstance,
    region: Region,
    max_shards: u32,
    alignment: usize,
}

impl Bed {
    pub(super) fn new(plugin: &Arc<Plugin>) -> Result<Self, PluginError> {
        let mut instance = ChipInstance::new(plugin)?;
        instance.reserve(ARENA as u64)?;
        let region = Region::anonymous("sunmao-bed", ARENA as u64)?;
        instance.map(0, &region, 0, ARENA as u64, Sharing::Shared)?;
        let facts = plugin.chip().map(|facts| (facts.info.max_shards, facts.info.alignment as usize));
        let (max_shards, alignment) = facts.unwrap_or((1, 64));
        Ok(Self { instance, region, max_shards, alignment })
    }

    /// Runs a probe with the output filled with `poison` before, as `shards` shards, or as many as the chip has.
    pub(super) fn run(&mut self, probe: &Probe, poison: u8, shards: u32) -> Result<Ran, PluginError> {
        let at = self.places(probe);
        self.run_at(probe, &at, poison, shards)
    }

    /// Runs one dispatch of a probe again and again.
    pub(super) fn repeat(&mut self, probe: &Probe, times: usize) -> Result<(), PluginError> {
        let kernel = self.instance.prepare(&probe.operation)?;
        let needs = self.instance.requirements(kernel)?;
        let workspace = if needs.workspace == 0 { 0 } else { ARENA as u32 / 2 };
        let number = self.instance.bind(kernel, &views(probe, &self.places(probe)), workspace)?;
        let runs = (0..times).try_for_each(|_| self.instance.run(number, 1, 0, 1, 0));
        self.instance.drop_kernel(kernel);
        runs
    }

    /// The same as [`Bed::run`] with the output on the bytes of the first input, whether that was granted or not.
    pub(super) fn run_in_place(&mut self, probe: &Probe) -> Result<Ran, PluginError> {
        let mut at = self.places(probe);
        *at.last_mut().expect("there is an output") = at[0];
        self.run_at(probe, &at, CANARY, 1)
    }

    /// Where operands lie: inputs, then the output.
    fn places(&self, probe: &Probe) -> Vec<usize> {
        let sizes = probe.inputs.iter().map(Vec::len).chain([probe.output_bytes]);
        let mut next = GAP;
        sizes
            .map(|bytes| {
                let at = next.next_multiple_of(self.alignment.max(GAP));
                next = at + bytes + GAP;
                at
            })
            .collect()
    }

    fn run_at(&mut self, probe: &Probe, at: &[usize], poison: u8, shards: u32) -> Result<Ran, PluginError> {
        let kernel = self.instance.prepare(&probe.operation)?;
        let ran = self.instance.requirements(kernel).and_then(|needs| {
            let shards = shards.min(self.max_shards);
            let to = at[at.len() - 1];
            let stride = (needs.workspace as usize).next_multiple_of(self.alignment);
            let workspace = (ARENA / 2).next_multiple_of(self.alignment.max(GAP));
            let mut before = vec![CANARY; ARENA];
            before[to..to + probe.output_bytes].fill(poison);
            for (bytes, &from) in probe.inputs.iter().zip(at) {
                before[from..from + bytes.len()].copy_from_slice(bytes);
            }
            self.region.write_at(0, &before)?;
            let scratch_at = if needs.workspace == 0 { 0 } else { workspace as u32 };
            let number = self.instance.bind(kernel, &views(probe, at), scratch_at)?;
            for shard in 0..shards {
                self.instance.run(number, 1, shard, shards, 0)?;
            }
            let mut after = vec![0; ARENA];
            self.region.read_at(0, &mut after)?;
            let free = |place: &usize| {
                let output = to..to + probe.output_bytes;
                let scratch = workspace..workspace + stride * shards as usize;
                !output.contains(place) && !scratch.contains(place)
            };
            let strays = (0..ARENA).filter(|&place| after[place] != before[place]).filter(free).collect();
            Ok(Ran { output: after[to..to + probe.output_bytes].to_vec(), strays })
        });
        self.instance.drop_kernel(kernel);
        ran
    }
}

/// Views of a probe's operands at those places.
fn views(probe: &Probe, at: &[usize]) -> Vec<View> {
    let operands = probe.operation.inputs.iter().chain(&probe.operation.outputs).flatten();
    let view = |(operand, &offset): (&Operand, &usize)| View {
        offset: offset as u32,
        slotted: true,
        dtype: operand.dtype,
        shape: operand.shape.clone(),
        strides: Vec::new(),
        layout: 0,
    };
    operands.zip(at).map(view).collect()
}

impl Lab {
    /// A bed with the chip guest in a mode.
    pub(super) fn guest_bed(&self, mode: u8) -> Result<Bed, Trouble> {
        Ok(Bed::new(&self.guest(mode)??)?)
    }
}
