//! `memory.fill` and `memory.copy` in pieces. One such operation may cover gigabytes, and nothing can stop it half way, so a module that
//! uses one gets a function that does the same, 1 MiB at a time with a poll before each piece, and calls that instead.
//!
//! An operation that leaves the memory goes through whole, so it traps as it would have, with nothing written.

use super::{Error, Poller};
use wasm_encoder::{BlockType, Instruction, ValType};
use wasmparser::Operator;

const PIECE_BYTES: i32 = 1 << 20;
const PAGE_BYTES_LOG2: i64 = 16;

/// Which functions a module gets, and their numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Helpers {
    pub(super) fill: bool,
    pub(super) copy: bool,
    /// Number of the first added function.
    first: u32,
    /// Number of the added type.
    ty: u32,
}

impl Helpers {
    /// Settles the numbers: `functions` and `types` are those that the module has already.
    pub(super) fn number(&mut self, functions: u32, types: u32) {
        self.first = functions;
        self.ty = types;
    }

    pub(super) fn types(&self, types: &mut wasm_encoder::TypeSection) {
        if self.fill || self.copy {
            types.ty().function([ValType::I32; 3], []);
        }
    }

    pub(super) fn functions(&self, functions: &mut wasm_encoder::FunctionSection) {
        for _ in 0..u32::from(self.fill) + u32::from(self.copy) {
            functions.function(self.ty);
        }
    }

    /// The call that stands for a bulk operation.
    pub(super) fn replacement(&self, operator: &Operator<'_>) -> Option<Instruction<'static>> {
        match operator {
            Operator::MemoryFill { .. } => Some(Instruction::Call(self.first)),
            Operator::MemoryCopy { .. } => Some(Instruction::Call(self.first + u32::from(self.fill))),
            _ => None,
        }
    }

    /// Writes the functions, and answers how many polls they have. A module that uses the operations has exactly one memory of its
    /// own, number 0; `poll` is the number of the added one.
    pub(super) fn code(&self, code: &mut wasm_encoder::CodeSection, poll: u32) -> Result<u64, Error> {
        let mut polls = 0;
        for copies in [self.fill.then_some(false), self.copy.then_some(true)].into_iter().flatten() {
            let mut poller = Poller { memory: poll, count: 0 };
            code.function(&pieces(copies, &mut poller)?);
            polls += poller.count;
        }
        Ok(polls)
    }
}

const TO: u32 = 0;
const FROM: u32 = 1;
const LEFT: u32 = 2;
const PIECE: u32 = 3;

/// A function with the operands of the operation as parameters: destination, value or source, length.
fn pieces(copies: bool, poller: &mut Poller) -> Result<wasm_encoder::Function, Error> {
    use Instruction::*;
    let mut function = wasm_encoder::Function::new([(1, ValType::I32)]);
    let out = &mut function;
    let operation = if copies { MemoryCopy { src_mem: 0, dst_mem: 0 } } else { MemoryFill(0) };

    // One piece is enough, or the range leaves the memory.
    all(out, [LocalGet(LEFT), I32Const(PIECE_BYTES), I32LeU]);
    leaves_memory(out, TO);
    out.instruction(&I32Or);
    if copies {
        leaves_memory(out, FROM);
        out.instruction(&I32Or);
    }
    all(out, [If(BlockType::Empty), LocalGet(TO), LocalGet(FROM), LocalGet(LEFT)]);
    all(out, [operation.clone(), Return, End]);

    if copies {
        // The destination lies behind the source: pieces from the end, so that none is overwritten before it is copied.
        all(out, [LocalGet(FROM), LocalGet(TO), I32LtU, If(BlockType::Empty), Loop(BlockType::Empty)]);
        poller.poll(out)?;
        next_piece(out);
        for start in [TO, FROM] {
            all(out, [LocalGet(start), LocalGet(LEFT), I32Add, LocalGet(PIECE), I32Sub]);
        }
        all(out, [LocalGet(PIECE), operation.clone()]);
        all(out, [LocalGet(LEFT), LocalGet(PIECE), I32Sub, LocalTee(LEFT), BrIf(0), End, Return, End]);
    }

    out.instruction(&Loop(BlockType::Empty));
    poller.poll(out)?;
    next_piece(out);
    all(out, [LocalGet(TO), LocalGet(FROM), LocalGet(PIECE), operation]);
    all(out, [LocalGet(TO), LocalGet(PIECE), I32Add, LocalSet(TO)]);
    if copies {
        all(out, [LocalGet(FROM), LocalGet(PIECE), I32Add, LocalSet(FROM)]);
    }
    all(out, [LocalGet(LEFT), LocalGet(PIECE), I32Sub, LocalTee(LEFT), BrIf(0), End, End]);
    Ok(function)
}

/// Pushes whether `start + LEFT` lies beyond the memory's end.
fn leaves_memory(out: &mut wasm_encoder::Function, start: u32) {
    use Instruction::*;
    all(out, [LocalGet(start), I64ExtendI32U, LocalGet(LEFT), I64ExtendI32U, I64Add]);
    all(out, [MemorySize(0), I64ExtendI32U, I64Const(PAGE_BYTES_LOG2), I64Shl, I64GtU]);
}

/// Sets `PIECE` to the smaller of `LEFT` and the size of a piece.
fn next_piece(out: &mut wasm_encoder::Function) {
    use Instruction::*;
    all(out, [LocalGet(LEFT), I32Const(PIECE_BYTES), LocalGet(LEFT), I32Const(PIECE_BYTES), I32LtU]);
    all(out, [Select, LocalSet(PIECE)]);
}

fn all<const N: usize>(out: &mut wasm_encoder::Function, instructions: [Instruction<'_>; N]) {
    for instruction in &instructions {
        out.instruction(instruction);
    }
}
