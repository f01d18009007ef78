//! Lays the operands of one operation out in a buffer, in the layouts asked for, packs, binds, runs every shard, and reads the output back.

use crate::blocked::{BLOCK, BLOCKED};
use crate::{ALIGNMENT, NpuSim};
use sunmao_plugin_sdk::abi::{Attribute, EpilogueStep, Kv, Operand, Operation, View};
use sunmao_plugin_sdk::{Call, Chip, Kernel, Reader, Result, Writer, check_views};

/// A dense tensor.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor {
    dtype: u16,
    shape: Vec<usize>,
    pub(super) bytes: Vec<u8>,
}

impl Tensor {
    pub(super) fn u8(shape: &[usize], values: &[u8]) -> Self {
        Self::new(2, shape, values.to_vec())
    }

    pub(super) fn i32(shape: &[usize], values: &[i32]) -> Self {
        Self::new(6, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    pub(super) fn f32(shape: &[usize], values: &[f32]) -> Self {
        Self::new(1, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn new(dtype: u16, shape: &[usize], bytes: Vec<u8>) -> Self {
        Self { dtype, shape: shape.to_vec(), bytes }
    }

    /// The same bytes as i8.
    pub(super) fn signed(self) -> Self {
        Self { dtype: 3, ..self }
    }

    pub(super) fn to_f32(&self) -> Vec<f32> {
        self.bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four bytes"))).collect()
    }

    fn element_bytes(&self) -> usize {
        if matches!(self.dtype, 2 | 3) { 1 } else { 4 }
    }

    /// Where each element of the plain order lies in blocks of channels.
    fn places(&self) -> Vec<usize> {
        let &[batches, channels, ref spatial @ ..] = self.shape.as_slice() else { panic!("N and C are missing") };
        let plane: usize = spatial.iter().product();
        let mut places = vec![0; batches * channels * plane];
        let mut next = 0;
        for batch in 0..batches {
            for first in (0..channels).step_by(BLOCK) {
                for at in 0..plane {
                    for channel in first..channels.min(first + BLOCK) {
                        places[(batch * channels + channel) * plane + at] = next;
                        next += 1;
                    }
                }
            }
        }
        places
    }

    /// The bytes in another order: into blocks, or out of them.
    fn moved(&self, bytes: &[u8], into: bool) -> Vec<u8> {
        let size = self.element_bytes();
        let mut moved = vec![0; bytes.len()];
        for (plain, place) in self.places().into_iter().enumerate() {
            let (from, to) = if into { (plain, place) } else { (place, plain) };
            moved[to * size..][..size].copy_from_slice(&bytes[from * size..][..size]);
        }
        moved
    }
}

/// An operation, its inputs, and a tensor that looks as its output will.
#[derive(Clone)]
pub(super) struct Case {
    operation: Operation,
    tensors: Vec<Tensor>,
}

impl Case {
    pub(super) fn new(op: &str, revision: u16) -> Self {
        let operation = Operation {
            op: op.into(),
            revision,
            attributes: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            epilogue: Vec::new(),
            ext: Vec::new(),
        };
        Self { operation, tensors: Vec::new() }
    }

    pub(super) fn integer(mut self, key: &str, value: i64) -> Self {
        self.operation.attributes.push(Kv { key: key.into(), val: Attribute::Integer(value) });
        self
    }

    pub(super) fn integers(mut self, key: &str, values: &[i64]) -> Self {
        self.operation.attributes.push(Kv { key: key.into(), val: Attribute::Integers(values.to_vec()) });
        self
    }

    pub(super) fn step(mut self, op: &str, numbers: &[(&str, f64)]) -> Self {
        let attributes = numbers.iter().map(|&(key, n)| Kv { key: key.into(), val: Attribute::Number(n) }).collect();
        self.operation.epilogue.push(EpilogueStep { op: op.into(), input: None, attributes });
        self
    }

    fn operand(tensor: &Tensor, constant: bool) -> Option<Operand> {
        Some(Operand {
            dtype: tensor.dtype,
            shape: tensor.shape.iter().map(|&length| length as u32).collect(),
            layout: 0,
            constant,
            literal: None,
            quantisation: None,
            extents: Vec::new(),
            ext: Vec::new(),
        })
    }

    pub(super) fn input(self, tensor: Tensor) -> Self {
        self.weights(tensor, false)
    }

    /// An input that may be packed.
    pub(super) fn weights(mut self, tensor: Tensor, constant: bool) -> Self {
        self.operation.inputs.push(Self::operand(&tensor, constant));
        self.tensors.push(tensor);
        self
    }

    pub(super) fn output(mut self, like: &Tensor) -> Self {
        self.operation.outputs = vec![Self::operand(like, false)];
        self.tensors.push(Tensor { bytes: vec![0xA5; like.bytes.len()], ..like.clone() });
        self
    }

    /// The operation with those operands in those layouts.
    fn laid_out(&self, layouts: &[(usize, u16)]) -> Operation {
        let mut operation = self.operation.clone();
        let inputs = operation.inputs.len();
        for &(at, layout) in layouts {
            let operand = if at < inputs { &mut operation.inputs[at] } else { &mut operation.outputs[at - inputs] };
            operand.as_mut().expect("tests leave no operand out").layout = layout;
        }
        operation
    }

    pub(super) fn prepare(&self, layouts: &[(usize, u16)]) -> Result<Box<dyn Kernel>> {
        NpuSim::prepare(&self.laid_out(layouts))
    }

    /// Runs it, and answers the output in the plain layout.
    #[track_caller]
    pub(super) fn run(&self, layouts: &[(usize, u16)], shards: u32) -> Tensor {
        let operation = self.laid_out(layouts);
        let kernel = NpuSim::prepare(&operation).expect("a row covers it");
        let needs = kernel.requirements();
        let blocked = |at: usize| layouts.contains(&(at, BLOCKED));
        let align = ALIGNMENT as usize;
        let (mut arena, mut views) = (Vec::<u8>::new(), Vec::new());
        for (at, tensor) in self.tensors.iter().enumerate() {
            let operand = operation.inputs.iter().chain(&operation.outputs).flatten().nth(at).expect("is there");
            let packed = needs.packed.iter().find(|form| form.input as usize == at);
            let content = match packed {
                Some(form) => {
                    let mut content = vec![0; form.bytes as usize];
                    kernel.pack(form.input, Reader::of(&tensor.bytes), Writer::of(&mut content)).expect("packs");
                    content
                }
                None if blocked(at) => tensor.moved(&tensor.bytes, true),
                None => tensor.bytes.clone(),
            };
            arena.resize(arena.len().next_multiple_of(align), 0xA5);
            views.push(View {
                offset: arena.len() as u32,
                slotted: true,
                dtype: if packed.is_some() { 2 } else { operand.dtype },
                shape: packed.map_or_else(|| operand.shape.clone(), |form| vec![form.bytes]),
                strides: Vec::new(),
                layout: operand.layout,
            });
            arena.extend(content);
        }
        let end = arena.len();
        let workspace = end.next_multiple_of(align);
        let stride = (needs.workspace as usize).next_multiple_of(align);
        arena.resize(workspace + stride * shards as usize, 0xA5);
        let range = 0..arena.len() as u64;
        let bindings =
            check_views(&operation, &needs.packed, &needs.in_place, &views, range, ALIGNMENT).expect("sound");
        let dispatch = kernel.bind(&bindings).expect("binds");
        let before = arena.clone();
        for shard in 0..shards {
            let own = (workspace + stride * shard as usize) as u32;
            // SAFETY: the views were checked against `arena`, which lives on and which nothing else uses; so does the workspace behind them.
            let call = unsafe { Call::new(arena.as_mut_ptr(), 0, own, needs.workspace, shard, shards) };
            dispatch.run(&call).expect("runs");
        }
        let output = self.tensors.last().expect("there is an output");
        let at = views.last().expect("there is an output").offset as usize;
        assert_eq!(arena[..at], before[..at], "what is not the output stays");
        let bytes = arena[at..at + output.bytes.len()].to_vec();
        let bytes = if blocked(self.tensors.len() - 1) { output.moved(&bytes, false) } else { bytes };
        Tensor { bytes, ..output.clone() }
    }
}
