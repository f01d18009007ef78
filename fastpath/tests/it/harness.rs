//! Cases, and what runs them: an arena whose gaps hold NaNs that nobody may read into a result or write over.

use crate::edges;
use sunmao_plugin_sdk::abi::{Attribute, EpilogueStep, Kv, Operand, Operation, View};
use sunmao_plugin_sdk::{Call, Kernel, Reader, Writer, check_views};

/// A small generator of repeatable numbers.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// What fills the operands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fill {
    /// Small whole numbers: their sums are exact in any order.
    Whole,
    /// Between minus and plus this.
    Real(f32),
}

impl Fill {
    pub(crate) fn values(self, random: &mut Random, count: usize) -> Vec<f32> {
        let one = |random: &mut Random| match self {
            Self::Whole => random.below(9) as f32 - 4.0,
            Self::Real(size) => ((random.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * size,
        };
        (0..count).map(|_| one(random)).collect()
    }
}

/// An operation on floats and the data of its inputs.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) operation: Operation,
    pub(crate) data: Vec<Vec<f32>>,
}

/// Codes of element types.
pub(crate) const BOOL: u16 = 9;
const I64: u16 = 7;

/// Elements and bytes of a block of a format of weights.
pub(crate) fn block(dtype: u16) -> Option<(usize, usize)> {
    match dtype {
        0x100 => Some((32, 18)),
        0x101 => Some((256, 144)),
        0x102 => Some((256, 176)),
        0x103 => Some((256, 210)),
        0x104 => Some((32, 34)),
        _ => None,
    }
}

pub(crate) fn operand(shape: &[usize]) -> Operand {
    Operand {
        dtype: 1,
        shape: shape.iter().map(|&d| d as u32).collect(),
        layout: 0,
        constant: false,
        literal: None,
        quantisation: None,
        extents: Vec::new(),
        ext: Vec::new(),
    }
}

pub(crate) fn count(shape: &[usize]) -> usize {
    shape.iter().product()
}

impl Case {
    pub(crate) fn new(op: &str, revision: u16, output: &[usize]) -> Self {
        let operation = Operation {
            op: op.into(),
            revision,
            attributes: Vec::new(),
            inputs: Vec::new(),
            outputs: vec![Some(operand(output))],
            epilogue: Vec::new(),
            ext: Vec::new(),
        };
        Self { operation, data: Vec::new() }
    }

    pub(crate) fn integer(mut self, key: &str, value: i64) -> Self {
        self.operation.attributes.push(Kv { key: key.into(), val: Attribute::Integer(value) });
        self
    }

    pub(crate) fn number(mut self, key: &str, value: f64) -> Self {
        self.operation.attributes.push(Kv { key: key.into(), val: Attribute::Number(value) });
        self
    }

    pub(crate) fn text(mut self, key: &str, value: &str) -> Self {
        self.operation.attributes.push(Kv { key: key.into(), val: Attribute::Text(value.into()) });
        self
    }

    pub(crate) fn integers(mut self, key: &str, values: &[usize]) -> Self {
        let values = values.iter().map(|&v| v as i64).collect();
        self.operation.attributes.push(Kv { key: key.into(), val: Attribute::Integers(values) });
        self
    }

    pub(crate) fn input(mut self, shape: &[usize], data: Vec<f32>) -> Self {
        assert_eq!(count(shape), data.len());
        self.operation.inputs.push(Some(operand(shape)));
        self.data.push(data);
        self
    }

    pub(crate) fn constant(self, shape: &[usize], data: Vec<f32>) -> Self {
        let mut case = self.input(shape, data);
        let data = case.data.last().expect("just pushed");
        let bytes: Vec<u8> = data.iter().flat_map(|v| v.to_le_bytes()).collect();
        let operand = case.operation.inputs.last_mut().and_then(Option::as_mut).expect("just pushed");
        operand.constant = true;
        operand.literal = (bytes.len() <= 4096).then_some(bytes);
        case
    }

    /// Booleans, one a byte: the data holds four of them in each float's bits.
    pub(crate) fn booleans(mut self, shape: &[usize], data: &[bool]) -> Self {
        assert_eq!(count(shape), data.len());
        self.operation.inputs.push(Some(Operand { dtype: BOOL, ..operand(shape) }));
        let word = |flags: &[bool]| {
            let mut bytes = [0; 4];
            bytes.iter_mut().zip(flags).for_each(|(byte, &flag)| *byte = flag.into());
            f32::from_le_bytes(bytes)
        };
        self.data.push(data.chunks(4).map(word).collect());
        self
    }

    /// A small constant of whole numbers, which a kernel settles in `prepare`: it has its place in the arena, and nobody reads it there.
    pub(crate) fn numbers(mut self, data: &[i64]) -> Self {
        let literal = data.iter().flat_map(|v| v.to_le_bytes()).collect();
        let operand = Operand { dtype: I64, constant: true, literal: Some(literal), ..operand(&[data.len()]) };
        self.operation.inputs.push(Some(operand));
        let halves = |&v: &i64| [f32::from_bits(v as u32), f32::from_bits((v >> 32) as u32)];
        self.data.push(data.iter().flat_map(halves).collect());
        self
    }

    pub(crate) fn left_out(mut self) -> Self {
        self.operation.inputs.push(None);
        self.data.push(Vec::new());
        self
    }

    pub(crate) fn step(mut self, op: &str, attributes: &[(&str, f64)]) -> Self {
        let attributes =
            attributes.iter().map(|&(key, val)| Kv { key: key.into(), val: Attribute::Number(val) }).collect();
        self.operation.epilogue.push(EpilogueStep { op: op.into(), input: None, attributes });
        self
    }

    pub(crate) fn step_with(self, op: &str, shape: &[usize], data: Vec<f32>) -> Self {
        let mut case = self.input(shape, data);
        let input = case.operation.inputs.len() as u32 - 1;
        case.operation.epilogue.push(EpilogueStep { op: op.into(), input: Some(input), attributes: Vec::new() });
        case
    }

    pub(crate) fn output_shape(&self) -> Vec<usize> {
        let output = self.operation.outputs.iter().flatten().next().expect("cases have an output");
        output.shape.iter().map(|&d| d as usize).collect()
    }

    /// The fast path; none: this machine lacks the instructions of all that there are for the operator, so there is nothing to test.
    #[track_caller]
    pub(crate) fn fast(&self) -> Option<Box<dyn Kernel>> {
        runs_here(&self.operation.op).then(|| prepared(&self.operation).expect("a fast path takes the case"))
    }

    pub(crate) fn portable(&self) -> Box<dyn Kernel> {
        sunmao_portable::prepare(&self.operation).expect("the twin prepares")
    }

    /// Runs a kernel on the case in so many shards, with output 0 on the bytes of input `on` if given.
    #[track_caller]
    pub(crate) fn run(&self, kernel: &dyn Kernel, shards: u32, on: Option<usize>) -> Vec<f32> {
        const ALIGNMENT: usize = 64;
        const GUARD: f32 = f32::NAN;
        let needs = kernel.requirements();
        // All in floats; guards of one alignment stand between.
        let gap = ALIGNMENT / 4;
        let mut end = gap;
        let mut place = |floats: usize| {
            let at = end;
            end = (at + floats).next_multiple_of(gap) + gap;
            at
        };
        let mut views = Vec::new();
        let mut blocks: Vec<(usize, Vec<f32>)> = Vec::new();
        for (index, operand) in self.operation.inputs.iter().enumerate() {
            let Some(operand) = operand else { continue };
            let data = &self.data[index];
            let (dtype, shape, floats) = match needs.packed.iter().find(|packed| packed.input as usize == index) {
                Some(constant) => {
                    assert!(operand.constant, "only constants are packed");
                    let bytes = &self.bytes()[index];
                    let mut packed = vec![0u8; constant.bytes as usize];
                    kernel.pack(index as u32, Reader::of(bytes), Writer::of(&mut packed)).expect("packs");
                    let floats = packed.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
                    (2, vec![constant.bytes], floats)
                }
                None => (operand.dtype, operand.shape.clone(), data.clone()),
            };
            let at = place(floats.len());
            views.push((at, dtype, shape));
            blocks.push((at, floats));
        }
        let results = count(&self.output_shape());
        let output = match on {
            Some(input) => {
                assert!(needs.in_place.iter().any(|alias| alias.output == 0 && alias.input as usize == input));
                views[input].0
            }
            None => place(results),
        };
        views.push((output, 1, self.output_shape().iter().map(|&d| d as u32).collect()));
        let stride = (needs.workspace as usize / 4).next_multiple_of(gap) + gap;
        let workspace = place(stride * shards as usize);
        // Whole cache lines, so that the arena's start is aligned as a mapping's is.
        #[repr(align(64))]
        #[derive(Clone, Copy)]
        struct Line {
            _floats: [f32; 16],
        }
        let mut arena = vec![Line { _floats: [GUARD; 16] }; end.div_ceil(16) + 1];
        let memory: *mut f32 = arena.as_mut_ptr().cast();
        for (at, floats) in &blocks {
            // SAFETY: `place` made room for the block inside the arena.
            unsafe { std::ptr::copy_nonoverlapping(floats.as_ptr(), memory.add(*at), floats.len()) };
        }
        let view = |(at, dtype, shape): &(usize, u16, Vec<u32>)| View {
            offset: (at * 4) as u32,
            slotted: true,
            dtype: *dtype,
            shape: shape.clone(),
            strides: Vec::new(),
            layout: 0,
        };
        let views: Vec<View> = views.iter().map(view).collect();
        let bindings =
            check_views(&self.operation, &needs.packed, &needs.in_place, &views, 0..(end * 4) as u64, ALIGNMENT as u32)
                .expect("the views are good");
        let dispatch = kernel.bind(&bindings).expect("binds");
        // The last shard first: no shard may rely on another.
        for shard in (0..shards).rev() {
            let space = (workspace + stride * shard as usize) * 4;
            // SAFETY: the views were checked against the arena, which outlives the call; workspaces lie inside it, apart.
            let call = unsafe { Call::new(memory.cast(), 0, space as u32, needs.workspace, shard, shards) };
            dispatch.run(&call).expect("runs");
        }
        let read = |at: usize| {
            // SAFETY: all places asked for are below `end`.
            unsafe { memory.add(at).read() }
        };
        let mut inside = vec![false; end];
        let mut cover = |at: usize, len: usize| inside[at..at + len].fill(true);
        blocks.iter().for_each(|(at, floats)| cover(*at, floats.len()));
        cover(output, results);
        (0..shards as usize).for_each(|shard| cover(workspace + stride * shard, needs.workspace as usize / 4));
        let broken = (0..end).find(|&at| !inside[at] && read(at).to_bits() != GUARD.to_bits());
        assert!(broken.is_none(), "wrote beyond a tensor at {broken:?}: {:?}", self.operation);
        for (at, floats) in &blocks {
            let kept = *at == output || floats.iter().enumerate().all(|(i, v)| read(at + i).to_bits() == v.to_bits());
            assert!(kept, "an input was written: {:?}", self.operation);
        }
        (0..results).map(|i| read(output + i)).collect()
    }

    /// The bytes of each input.
    fn bytes(&self) -> Vec<Vec<u8>> {
        let mut inputs = self.operation.inputs.iter();
        let bytes = |data: &Vec<f32>| {
            let mut bytes: Vec<u8> = data.iter().flat_map(|v| v.to_le_bytes()).collect();
            if let Some(operand) = inputs.next().and_then(Option::as_ref) {
                // Without what fills up the last word.
                let elements = operand.shape.iter().product::<u32>() as usize;
                bytes.truncate(match (operand.dtype, block(operand.dtype)) {
                    (_, Some((per_block, block))) => elements / per_block * block,
                    (BOOL, None) => elements,
                    _ => bytes.len(),
                });
            }
            bytes
        };
        self.data.iter().map(bytes).collect()
    }

    /// As [`Case::run`], with every tensor at the end of readable memory.
    #[track_caller]
    fn run_at_edges(&self, kernel: &dyn Kernel, shards: u32) -> Vec<f32> {
        let results = count(&self.output_shape());
        let found = edges::run(&self.operation, &self.bytes(), &[results * 4], kernel, shards);
        found.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    }

    /// The fast path must take the case, give the same bits in 1, 2, 3 and 7 shards and in place, and lie within `tolerance` of the twin: a fraction of
    /// the twin's largest magnitude, 0 for equal numbers.
    #[track_caller]
    pub(crate) fn check(&self, tolerance: f32) {
        let Some(fast) = self.fast() else { return };
        assert!(fast.requirements().workspace <= 2 * 1024 * 1024);
        let found = self.run(&*fast, 1, None);
        for shards in [2, 3, 7] {
            assert_bits(&found, &self.run(&*fast, shards, None), shards, self);
        }
        for alias in fast.requirements().in_place {
            assert_bits(&found, &self.run(&*fast, 2, Some(alias.input as usize)), 2, self);
        }
        for shards in [1, 3] {
            assert_bits(&found, &self.run_at_edges(&*fast, shards), shards, self);
        }
        let wanted = self.run(&*self.portable(), 1, None);
        assert_near(&found, &wanted, tolerance, self);
    }

    /// The fast path must leave the case to others.
    #[track_caller]
    pub(crate) fn check_declined(&self) {
        if runs_here(&self.operation.op) {
            assert!(prepared(&self.operation).is_none(), "taken: {:?}", self.operation);
        }
    }
}

/// The operation as a native kernel, if one takes it.
pub(crate) fn prepared(operation: &Operation) -> Option<Box<dyn Kernel>> {
    sunmao_fastpath::prepare(operation).map(|kernel| kernel.expect("a fast path that is registered prepares"))
}

/// Whether this machine has a fast path for the operator. Where it lacks the instructions there is nothing to test. Where there is none for this architecture
/// the test says so by `ignore`: one that compares nothing must not count among those that passed.
#[track_caller]
pub(crate) fn runs_here(operator: &str) -> bool {
    let entries = sunmao_fastpath::registered();
    let mut rows = entries.iter().filter(|entry| entry.operator == operator).peekable();
    assert!(
        rows.peek().is_some(),
        "this architecture has no fast path for {operator}: its tests are to be ignored here"
    );
    let runs = rows.any(|entry| entry.available);
    if !runs {
        eprintln!("nothing tested: {} has no fast path for {operator}", sunmao_fastpath::Isa::detect());
    }
    runs
}

#[track_caller]
fn assert_bits(a: &[f32], b: &[f32], shards: u32, case: &Case) {
    let differ = a.iter().zip(b).position(|(a, b)| a.to_bits() != b.to_bits() && !(a.is_nan() && b.is_nan()));
    assert!(
        differ.is_none(),
        "{shards} shards, other places or in place give other bits at {differ:?}: {:?}",
        case.operation
    );
}

#[track_caller]
fn assert_near(found: &[f32], wanted: &[f32], tolerance: f32, case: &Case) {
    assert_eq!(found.len(), wanted.len());
    let largest = wanted.iter().filter(|v| v.is_finite()).fold(0f32, |m, v| m.max(v.abs()));
    for (i, (&found, &wanted)) in found.iter().zip(wanted).enumerate() {
        let near =
            found == wanted || (found.is_nan() && wanted.is_nan()) || (found - wanted).abs() <= tolerance * largest;
        assert!(near, "element {i} is {found}, the twin has {wanted} (largest {largest}): {:?}", case.operation);
    }
}
