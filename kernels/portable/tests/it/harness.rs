//! Runs one operation as the host would: lays its operands out in a buffer, binds, runs every shard, and reads the outputs back.

use sunmao_plugin_sdk::abi::{Attribute, EpilogueStep, Kv, Operand, Operation, View};
use sunmao_plugin_sdk::{Call, Result, check_views};

/// Bytes between operands that nothing may write to.
const GAP: usize = 64;
const POISON: u8 = 0xA5;
/// Where the request's slot begins, behind what was bound.
const BASE: usize = 128;

/// A dense tensor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensor {
    pub(crate) dtype: u16,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

macro_rules! values {
    ($($make:ident, $read:ident, $t:ty = $code:literal;)*) => { impl Tensor { $(
        #[allow(dead_code)]
        pub(crate) fn $make(shape: &[usize], values: &[$t]) -> Self {
            assert_eq!(shape.iter().product::<usize>(), values.len());
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            Self { dtype: $code, shape: shape.to_vec(), bytes }
        }
        #[allow(dead_code)]
        pub(crate) fn $read(&self) -> Vec<$t> {
            assert_eq!(self.dtype, $code);
            let size = size_of::<$t>();
            self.bytes.chunks_exact(size).map(|b| <$t>::from_le_bytes(b.try_into().unwrap())).collect()
        }
    )* } };
}
values! {
    f32, to_f32, f32 = 1;
    u8, to_u8, u8 = 2;
    i8, to_i8, i8 = 3;
    i32, to_i32, i32 = 6;
    i64, to_i64, i64 = 7;
    f64, to_f64, f64 = 11;
}

impl Tensor {
    /// Booleans.
    pub(crate) fn bool(shape: &[usize], values: &[bool]) -> Self {
        let bytes: Vec<u8> = values.iter().map(|&value| value.into()).collect();
        Self { dtype: 9, shape: shape.to_vec(), bytes }
    }
}

/// An operation, its inputs, and what its outputs look like.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) operation: Operation,
    pub(crate) inputs: Vec<Option<Tensor>>,
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
        Self { operation, inputs: Vec::new() }
    }

    pub(crate) fn attribute(mut self, key: &str, val: Attribute) -> Self {
        self.operation.attributes.push(Kv { key: key.into(), val });
        self
    }

    pub(crate) fn integer(self, key: &str, value: i64) -> Self {
        self.attribute(key, Attribute::Integer(value))
    }

    pub(crate) fn number(self, key: &str, value: f64) -> Self {
        self.attribute(key, Attribute::Number(value))
    }

    pub(crate) fn text(self, key: &str, value: &str) -> Self {
        self.attribute(key, Attribute::Text(value.into()))
    }

    pub(crate) fn integers(self, key: &str, value: &[i64]) -> Self {
        self.attribute(key, Attribute::Integers(value.to_vec()))
    }

    /// An input that differs from run to run.
    pub(crate) fn input(mut self, tensor: Tensor) -> Self {
        self.operation.inputs.push(Some(operand(tensor.dtype, &tensor.shape)));
        self.inputs.push(Some(tensor));
        self
    }

    /// A constant; a small one comes with its literal.
    pub(crate) fn constant(mut self, tensor: Tensor) -> Self {
        let mut operand = operand(tensor.dtype, &tensor.shape);
        operand.constant = true;
        // Blocks never come with one.
        operand.literal = (tensor.bytes.len() <= 4096 && tensor.dtype < 0x100).then(|| tensor.bytes.clone());
        self.operation.inputs.push(Some(operand));
        self.inputs.push(Some(tensor));
        self
    }

    pub(crate) fn absent(mut self) -> Self {
        self.operation.inputs.push(None);
        self.inputs.push(None);
        self
    }

    pub(crate) fn output(mut self, dtype: u16, shape: &[usize]) -> Self {
        self.operation.outputs.push(Some(operand(dtype, shape)));
        self
    }

    pub(crate) fn step(mut self, op: &str, input: Option<u32>, attributes: &[(&str, f64)]) -> Self {
        let attributes = attributes.iter().map(|&(key, value)| Kv { key: key.into(), val: Attribute::Number(value) });
        self.operation.epilogue.push(EpilogueStep { op: op.into(), input, attributes: attributes.collect() });
        self
    }

    /// The outputs, once as one shard and once as three; both must have the same bits. Those left out are missing.
    #[track_caller]
    pub(crate) fn run(&self) -> Vec<Tensor> {
        self.try_run().expect("the operation runs")
    }

    pub(crate) fn try_run(&self) -> Result<Vec<Tensor>> {
        let whole = self.run_shards(1, false)?;
        for shards in [2, 3, 7] {
            let parts = self.run_shards(shards, false)?;
            assert!(whole.iter().zip(&parts).all(|(a, b)| a.bytes == b.bytes), "{shards} shards give other bits");
        }
        let in_place = self.run_shards(2, true)?;
        assert!(whole.iter().zip(&in_place).all(|(a, b)| a.bytes == b.bytes), "in place gives other bits");
        Ok(whole)
    }

    fn run_shards(&self, shards: u32, in_place: bool) -> Result<Vec<Tensor>> {
        let kernel = sunmao_portable::prepare(&self.operation)?;
        let needs = kernel.requirements();
        assert!(needs.shards >= 1 && needs.shards <= sunmao_portable::MAX_SHARDS);
        let mut end = GAP;
        let mut place = |bytes: usize| {
            let at = end.next_multiple_of(64);
            end = at + bytes + GAP;
            at
        };
        let alias = needs.in_place.first().filter(|_| in_place);
        let mut views = Vec::new();
        let mut input_places = Vec::new();
        for (operand, tensor) in self.operation.inputs.iter().zip(&self.inputs) {
            let at = tensor.as_ref().map(|tensor| place(tensor.bytes.len()));
            views.extend(operand.as_ref().zip(at).map(|(operand, at)| view(operand, at)));
            input_places.push(at);
        }
        let mut outputs = Vec::new();
        for (index, operand) in self.operation.outputs.iter().enumerate() {
            let Some(operand) = operand else { continue };
            let shape: Vec<_> = operand.shape.iter().map(|&dim| dim as usize).collect();
            let bytes = dense_bytes(operand.dtype, &shape);
            let shared = alias.filter(|alias| alias.output as usize == index);
            let at = match shared {
                Some(alias) => input_places[alias.input as usize].expect("an alias of an input that is there"),
                None => place(bytes),
            };
            views.push(view(operand, at));
            outputs.push((operand.dtype, shape, at, bytes, shared.is_some()));
        }
        let stride = needs.workspace.next_multiple_of(64);
        let workspace = place(stride as usize * shards as usize);
        let bytes = end + BASE;
        let mut memory = vec![u64::from_le_bytes([POISON; 8]); bytes.div_ceil(8)];
        let start: *mut u8 = memory.as_mut_ptr().cast();
        let mut untouched = vec![true; bytes];
        for (tensor, at) in self.inputs.iter().zip(&input_places) {
            let (Some(tensor), Some(at)) = (tensor, at) else { continue };
            // SAFETY: `place` reserved these bytes, `BASE` behind the start, and the buffer holds `bytes` bytes.
            unsafe { start.add(BASE + at).copy_from_nonoverlapping(tensor.bytes.as_ptr(), tensor.bytes.len()) };
        }
        for &(_, _, at, bytes, _) in &outputs {
            untouched[BASE + at..BASE + at + bytes].fill(false);
        }
        untouched[BASE + workspace..][..stride as usize * shards as usize].fill(false);
        // SAFETY: nothing else uses the buffer now.
        let before = unsafe { std::slice::from_raw_parts(start, bytes) }.to_vec();

        let bindings = check_views(
            &self.operation,
            &needs.packed,
            &needs.in_place,
            &views,
            0..(bytes - BASE) as u64,
            sunmao_portable::ALIGNMENT,
        )?;
        let dispatch = kernel.bind(&bindings)?;
        for shard in 0..shards {
            let workspace = BASE as u32 + workspace as u32 + shard * stride;
            // SAFETY: the views were checked against the buffer, and the workspace lies in it.
            let call = unsafe { Call::new(start, BASE as u32, workspace, needs.workspace, shard, shards) };
            dispatch.run(&call)?;
        }
        // SAFETY: the calls are over.
        let after = unsafe { std::slice::from_raw_parts(start, bytes) };
        for at in 0..bytes {
            assert!(!untouched[at] || before[at] == after[at], "byte {at} was written to");
        }
        let read =
            |(dtype, shape, at, bytes, _)| Tensor { dtype, shape, bytes: after[BASE + at..BASE + at + bytes].to_vec() };
        Ok(outputs.into_iter().map(read).collect())
    }
}

pub(crate) fn operand(dtype: u16, shape: &[usize]) -> Operand {
    Operand {
        dtype,
        shape: shape.iter().map(|&dim| dim as u32).collect(),
        layout: 0,
        constant: false,
        literal: None,
        quantisation: None,
        extents: Vec::new(),
        ext: Vec::new(),
    }
}

fn view(operand: &Operand, at: usize) -> View {
    View {
        offset: at as u32,
        slotted: true,
        dtype: operand.dtype,
        shape: operand.shape.clone(),
        strides: Vec::new(),
        layout: 0,
    }
}

/// Bytes of a dense tensor.
pub(crate) fn dense_bytes(dtype: u16, shape: &[usize]) -> usize {
    let bits = match dtype {
        1 | 6 | 12 => 32,
        7 | 11 | 13 | 14 => 64,
        15 => 128,
        4 | 5 | 10 | 16 => 16,
        21..=23 => 4,
        25 | 26 => 2,
        _ => 8,
    };
    (shape.iter().product::<usize>() * bits).div_ceil(8)
}
