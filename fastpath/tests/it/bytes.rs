//! Cases whose operands have any element type, as bytes, and what runs them: an arena with guards around every tensor.

use crate::edges;
use crate::harness::{Random, count, prepared, runs_here};
use sunmao_plugin_sdk::abi::{Attribute, EpilogueStep, Kv, Operand, Operation, View};
use sunmao_plugin_sdk::{Call, Kernel, Reader, Writer, check_views};

pub(crate) const F32: u16 = 1;
pub(crate) const U8: u16 = 2;
pub(crate) const I8: u16 = 3;
pub(crate) const I32: u16 = 6;

fn width(dtype: u16) -> usize {
    if matches!(dtype, F32 | I32) { 4 } else { 1 }
}

/// Bytes of every value.
pub(crate) fn any_bytes(random: &mut Random, count: usize) -> Vec<u8> {
    (0..count).map(|_| (random.next() >> 32) as u8).collect()
}

pub(crate) fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub(crate) fn integers(values: &[i32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// An operation and the data of its inputs.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    operation: Operation,
    data: Vec<Vec<u8>>,
}

/// Bytes of an operand.
fn size(operand: &Operand) -> usize {
    operand.shape.iter().product::<u32>() as usize * width(operand.dtype)
}

fn operand(dtype: u16, shape: &[usize]) -> Operand {
    Operand { dtype, ..crate::harness::operand(shape) }
}

impl Case {
    pub(crate) fn new(op: &str, revision: u16) -> Self {
        let operation = Operation {
            op: op.into(),
            revision,
            attributes: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            epilogue: Vec::new(),
            ext: Vec::new(),
        };
        Self { operation, data: Vec::new() }
    }

    pub(crate) fn attribute(mut self, key: &str, val: Attribute) -> Self {
        self.operation.attributes.push(Kv { key: key.into(), val });
        self
    }

    pub(crate) fn integers(self, key: &str, values: &[usize]) -> Self {
        self.attribute(key, Attribute::Integers(values.iter().map(|&value| value as i64).collect()))
    }

    pub(crate) fn input(mut self, dtype: u16, shape: &[usize], data: Vec<u8>) -> Self {
        assert_eq!(count(shape) * width(dtype), data.len());
        self.operation.inputs.push(Some(operand(dtype, shape)));
        self.data.push(data);
        self
    }

    pub(crate) fn constant(self, dtype: u16, shape: &[usize], data: Vec<u8>) -> Self {
        let mut case = self.input(dtype, shape, data);
        let data = case.data.last().expect("just pushed");
        let literal = (data.len() <= 4096).then(|| data.clone());
        let operand = case.operation.inputs.last_mut().and_then(Option::as_mut).expect("just pushed");
        (operand.constant, operand.literal) = (true, literal);
        case
    }

    /// A constant of one float.
    pub(crate) fn scale(self, value: f32) -> Self {
        self.constant(F32, &[], floats(&[value]))
    }

    /// A constant of one byte.
    pub(crate) fn zero(self, dtype: u16, value: u8) -> Self {
        self.constant(dtype, &[], vec![value])
    }

    pub(crate) fn output(mut self, dtype: u16, shape: &[usize]) -> Self {
        self.operation.outputs.push(Some(operand(dtype, shape)));
        self
    }

    pub(crate) fn step(mut self, op: &str) -> Self {
        self.operation.epilogue.push(EpilogueStep { op: op.into(), input: None, attributes: Vec::new() });
        self
    }

    /// Runs a kernel in so many shards, with output 0 on the bytes of input `on` if given: the outputs, one behind the other.
    #[track_caller]
    fn run(&self, kernel: &dyn Kernel, shards: u32, on: Option<usize>) -> Vec<u8> {
        const ALIGNMENT: usize = 64;
        const GUARD: u8 = 0xA5;
        let needs = kernel.requirements();
        let mut end = ALIGNMENT;
        let mut place = |bytes: usize| {
            let at = end;
            end = (at + bytes).next_multiple_of(ALIGNMENT) + ALIGNMENT;
            at
        };
        let mut views = Vec::new();
        let mut blocks: Vec<(usize, Vec<u8>)> = Vec::new();
        for (index, operand) in self.operation.inputs.iter().enumerate() {
            let Some(operand) = operand else { continue };
            let data = &self.data[index];
            let (dtype, shape, bytes) = match needs.packed.iter().find(|packed| packed.input as usize == index) {
                Some(constant) => {
                    assert!(operand.constant, "only constants are packed");
                    let mut packed = vec![0u8; constant.bytes as usize];
                    kernel.pack(index as u32, Reader::of(data), Writer::of(&mut packed)).expect("packs");
                    (U8, vec![constant.bytes], packed)
                }
                None => (operand.dtype, operand.shape.clone(), data.clone()),
            };
            let at = place(bytes.len());
            views.push((at, dtype, shape));
            blocks.push((at, bytes));
        }
        let mut results = Vec::new();
        for (index, output) in self.operation.outputs.iter().flatten().enumerate() {
            let bytes = size(output);
            let at = match on {
                Some(input) if index == 0 => views[input].0,
                _ => place(bytes),
            };
            views.push((at, output.dtype, output.shape.clone()));
            results.push((at, bytes));
        }
        let stride = (needs.workspace as usize).next_multiple_of(ALIGNMENT) + ALIGNMENT;
        let workspace = place(stride * shards as usize);
        #[repr(align(64))]
        #[derive(Clone, Copy)]
        struct Line {
            _bytes: [u8; 64],
        }
        let mut arena = vec![Line { _bytes: [GUARD; 64] }; end.div_ceil(64) + 1];
        let memory: *mut u8 = arena.as_mut_ptr().cast();
        for (at, bytes) in &blocks {
            // SAFETY: `place` made room for the block inside the arena.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), memory.add(*at), bytes.len()) };
        }
        let view = |(at, dtype, shape): &(usize, u16, Vec<u32>)| View {
            offset: *at as u32,
            slotted: true,
            dtype: *dtype,
            shape: shape.clone(),
            strides: Vec::new(),
            layout: 0,
        };
        let views: Vec<View> = views.iter().map(view).collect();
        let bindings =
            check_views(&self.operation, &needs.packed, &needs.in_place, &views, 0..end as u64, ALIGNMENT as u32)
                .expect("the views are good");
        let dispatch = kernel.bind(&bindings).expect("binds");
        // The last shard first: no shard may rely on another.
        for shard in (0..shards).rev() {
            let space = workspace + stride * shard as usize;
            // SAFETY: the views were checked against the arena, which outlives the call; workspaces lie inside it, apart.
            let call = unsafe { Call::new(memory, 0, space as u32, needs.workspace, shard, shards) };
            dispatch.run(&call).expect("runs");
        }
        // SAFETY: the arena has `end` bytes, and no kernel runs any more.
        let after = unsafe { std::slice::from_raw_parts(memory, end) };
        let mut inside = vec![false; end];
        let mut cover = |at: usize, len: usize| inside[at..at + len].fill(true);
        blocks.iter().for_each(|(at, bytes)| cover(*at, bytes.len()));
        results.iter().for_each(|(at, bytes)| cover(*at, *bytes));
        (0..shards as usize).for_each(|shard| cover(workspace + stride * shard, needs.workspace as usize));
        let broken = (0..end).find(|&at| !inside[at] && after[at] != GUARD);
        assert!(broken.is_none(), "wrote beyond a tensor at {broken:?}: {:?}", self.operation);
        for (at, bytes) in &blocks {
            let kept = results.iter().any(|(result, _)| result == at) || after[*at..*at + bytes.len()] == bytes[..];
            assert!(kept, "an input was written: {:?}", self.operation);
        }
        results.iter().flat_map(|(at, bytes)| after[*at..*at + *bytes].to_vec()).collect()
    }

    /// The fast path `path` must take the case and give the twin's bits, in 1, 2, 3 and 7 shards and in place.
    #[track_caller]
    pub(crate) fn check(&self) {
        if !runs_here(&self.operation.op) {
            return;
        }
        let fast = prepared(&self.operation).expect("a fast path takes the case");
        let portable = sunmao_portable::prepare(&self.operation).expect("the twin prepares");
        let wanted = self.run(&*portable, 1, None);
        for shards in [1, 2, 3, 7] {
            let found = self.run(&*fast, shards, None);
            let differ = (0..wanted.len()).find(|&i| found[i] != wanted[i]);
            assert!(differ.is_none(), "byte {differ:?} of {} differs in {shards} shards: {self:?}", wanted.len());
        }
        let sizes: Vec<usize> = self.operation.outputs.iter().flatten().map(size).collect();
        let at_edges = edges::run(&self.operation, &self.data, &sizes, &*fast, 3);
        assert!(at_edges == wanted, "other bytes at the edges of memory: {:?}", self.operation);
        for alias in fast.requirements().in_place {
            assert!(self.run(&*fast, 2, Some(alias.input as usize)) == wanted, "in place: {:?}", self.operation);
        }
    }

    /// The fast path must leave the case to others.
    #[track_caller]
    pub(crate) fn check_declined(&self) {
        if runs_here(&self.operation.op) {
            assert!(prepared(&self.operation).is_none(), "taken: {:?}", self.operation);
        }
    }
}
