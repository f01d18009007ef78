//! A case bound to plain memory, as often as one likes.

use crate::cases::Case;
use sunmao_plugin_sdk::abi::View;
use sunmao_plugin_sdk::{Call, Dispatch, Reader, Writer, check_views};

/// Where tensors begin: whole cache lines.
const ALIGNMENT: usize = 64;

/// A cache line of the arena.
#[repr(align(64))]
#[derive(Clone, Copy)]
struct Line {
    _bytes: [u8; ALIGNMENT],
}

/// A kernel on operands of its own, for one thread.
pub(crate) struct Ready {
    dispatch: Box<dyn Dispatch>,
    /// Start of the arena, through which alone it is read and written.
    memory: *mut Line,
    _arena: Vec<Line>,
    workspace: (u32, u32),
    /// What it reads and writes at least once.
    pub(crate) bytes: u64,
}

impl Ready {
    /// Prepares, packs and binds. None: this machine has no fast path for it.
    pub(crate) fn new(case: &Case) -> Option<Self> {
        let operation = &case.operation;
        let kernel = sunmao_fastpath::prepare(operation)?.expect("a fast path that is registered prepares");
        let needs = kernel.requirements();
        let mut end = 0;
        let mut place = |bytes: usize| {
            let at = end;
            end = (at + bytes).next_multiple_of(ALIGNMENT) + ALIGNMENT;
            at
        };
        let (mut views, mut blocks, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut seed = 1u32;
        for (index, operand) in operation.inputs.iter().chain(&operation.outputs).enumerate() {
            let operand = operand.as_ref().expect("cases leave nothing out");
            let count: usize = operand.shape.iter().map(|&length| length as usize).product();
            let plain: Vec<u8> = match block(operand.dtype) {
                Some((elements, block)) => (0..count / elements)
                    .flat_map(|_| (0..block).map(|at| byte(&mut seed, at)).collect::<Vec<_>>())
                    .collect(),
                None => (0..count).flat_map(|_| number(&mut seed).to_le_bytes()).collect(),
            };
            let packed = needs.packed.iter().find(|packed| operand.constant && packed.input as usize == index);
            let (dtype, shape, block) = match packed {
                Some(form) => {
                    let mut packed = vec![0; form.bytes as usize];
                    kernel.pack(form.input, Reader::of(&plain), Writer::of(&mut packed)).expect("packs");
                    (2, vec![form.bytes], packed)
                }
                None => (operand.dtype, operand.shape.clone(), plain),
            };
            bytes += block.len() as u64;
            let at = place(block.len());
            views.push(View { offset: at as u32, slotted: true, dtype, shape, strides: Vec::new(), layout: 0 });
            blocks.push((at, block));
        }
        let space = place(needs.workspace as usize);
        let mut arena = vec![Line { _bytes: [0; ALIGNMENT] }; end.div_ceil(ALIGNMENT)];
        let memory = arena.as_mut_ptr();
        for (at, block) in &blocks {
            // SAFETY: `place` made room for the block inside the arena.
            unsafe { std::ptr::copy_nonoverlapping(block.as_ptr(), memory.cast::<u8>().add(*at), block.len()) };
        }
        let bindings = check_views(operation, &needs.packed, &needs.in_place, &views, 0..end as u64, ALIGNMENT as u32)
            .expect("the views are good");
        let dispatch = kernel.bind(&bindings).expect("binds");
        Some(Self { dispatch, memory, _arena: arena, workspace: (space as u32, needs.workspace), bytes })
    }

    /// Runs it once, as a whole.
    pub(crate) fn run(&self) {
        let (space, bytes) = self.workspace;
        // SAFETY: the views were checked against the arena, which lives as long as `self`; nobody else reads or writes it, and the workspace lies inside it, apart.
        let call = unsafe { Call::new(self.memory.cast(), 0, space, bytes, 0, 1) };
        self.dispatch.run(&call).expect("runs");
    }
}

/// Elements and bytes of a block of a format of weights.
fn block(dtype: u16) -> Option<(usize, usize)> {
    match dtype {
        0x100 => Some((32, 18)),
        0x101 => Some((256, 144)),
        0x103 => Some((256, 210)),
        0x104 => Some((32, 34)),
        _ => None,
    }
}

/// Byte `at` of a block: such that half floats, wherever the format has them, are small numbers.
fn byte(seed: &mut u32, at: usize) -> u8 {
    let any = (number(seed).to_bits() >> 8) as u8;
    if matches!(at, 1 | 3 | 209) { any & 0x83 | 0x10 } else { any }
}

/// Between -1 and 1, and always the same.
fn number(seed: &mut u32) -> f32 {
    *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    (*seed >> 8) as f32 / (1 << 23) as f32 - 1.0
}
