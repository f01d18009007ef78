//! `MatMulInteger` and `QLinearMatMul` on the matrix units: 16 columns at a time, sums in 32 bits, exact; stacks of matrices broadcast.

use crate::blocked::BLOCK;
use crate::cost::Work;
use crate::operation::{Byte, Op, elements, lengths};
use crate::requantise::{Requantise, element};
use sunmao_plugin_sdk::abi::{PackedConstant, Requirements};
use sunmao_plugin_sdk::{Bindings, Call, Dispatch, Input, Kernel, Output, Reader, Result, Writer};

/// Most axes in front of the matrices.
const STACK_AXES: usize = 6;

/// [..., rows, depth] times [..., depth, columns].
#[derive(Clone, Copy)]
struct Shape {
    rows: usize,
    depth: usize,
    columns: usize,
    /// For each axis in front, the last one first: its length, and by how many matrices each side moves on along it.
    stack: [(usize, usize, usize); STACK_AXES],
    stacked: usize,
}

struct MatMul {
    shape: Shape,
    quantised: bool,
    /// The right side comes in blocks of columns.
    packed: bool,
    types: [u16; 3],
    requirements: Requirements,
}

impl Shape {
    fn of(op: Op<'_>, mut a: Vec<usize>, mut b: Vec<usize>, outputs: usize) -> Result<Self> {
        // A vector is a row on the left and a column on the right.
        if a.len() == 1 {
            a.insert(0, 1);
        }
        if b.len() == 1 {
            b.push(1);
        }
        let mismatch = || op.invalid(format_args!("matrices of {a:?} and {b:?}"));
        let ([front @ .., rows, depth], [b_front @ .., b_depth, columns]) = (a.as_slice(), b.as_slice()) else {
            return Err(mismatch());
        };
        let axes = front.len().max(b_front.len());
        if depth != b_depth || axes > STACK_AXES {
            return Err(mismatch());
        }
        let (mut stack, mut stacked, mut steps) = ([(1, 0, 0); STACK_AXES], 1, (1, 1));
        for (axis, entry) in stack.iter_mut().enumerate().take(axes) {
            let length = |side: &[usize]| side.iter().rev().nth(axis).copied().unwrap_or(1);
            let (left, right) = (length(front), length(b_front));
            let longest = if left == 1 { right } else { left };
            if (left != longest && left != 1) || (right != longest && right != 1) {
                return Err(mismatch());
            }
            *entry = (longest, if left == 1 { 0 } else { steps.0 }, if right == 1 { 0 } else { steps.1 });
            stacked *= longest;
            steps = (steps.0 * left, steps.1 * right);
        }
        if stacked * rows * columns != outputs {
            return Err(mismatch());
        }
        Ok(Self { rows: *rows, depth: *depth, columns: *columns, stack, stacked })
    }

    /// Which matrix of either side belongs to matrix `number` of the result.
    fn matrices(&self, mut number: usize) -> (usize, usize) {
        self.stack.iter().fold((0, 0), |(a, b), &(length, left, right)| {
            let at = number % length;
            number /= length;
            (a + at * left, b + at * right)
        })
    }
}

pub(crate) fn prepare(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let quantised = op.0.op == "QLinearMatMul";
    let right = if quantised { 3 } else { 1 };
    let (a, b, y) = (op.input(0)?, op.input(right)?, op.output()?);
    let shape = Shape::of(op, lengths(a), lengths(b), elements(y))?;
    let packed = b.constant && elements(b) > 0;
    let sums = (elements(y) as u64).saturating_mul(shape.depth as u64);
    let work = Work { bytes: op.bytes(), macs: sums, vector: elements(y) as u64 };
    let mut requirements = work.requirements(shape.stacked * shape.rows);
    if packed {
        let key = format!("blocks of {BLOCK} columns");
        requirements.packed.push(PackedConstant { input: right as u32, bytes: elements(b) as u32, align: 64, key });
    }
    // One for the tensor, one for each row (or column) of a matrix, or one for each of every matrix.
    let each = |index: usize, side: usize, length: usize| match op.optional(index).map(elements) {
        None | Some(1) => Ok(()),
        Some(given) if given == length || given * shape.depth == side => Ok(()),
        Some(given) => Err(op.invalid(format_args!("{given} scales or zero points for {length}")).at(index)),
    };
    let (a_zero, b_zero) = if quantised { (2, 5) } else { (2, 3) };
    each(a_zero, elements(a), shape.rows)?;
    each(b_zero, elements(b), shape.columns)?;
    if quantised {
        each(1, elements(a), shape.rows)?;
        each(4, elements(b), shape.columns)?;
        if [6, 7].into_iter().any(|index| op.optional(index).is_some_and(|operand| elements(operand) != 1)) {
            return Err(op.unsupported("one scale and one zero point for the result were expected"));
        }
    }
    Ok(Box::new(MatMul { shape, quantised, packed, types: [a.dtype, b.dtype, y.dtype], requirements }))
}

impl Kernel for MatMul {
    fn requirements(&self) -> Requirements {
        self.requirements.clone()
    }

    /// Each [depth, columns] becomes blocks of columns, depth, column in the block.
    fn pack(&self, _input: u32, source: Reader<'_, u8>, packed: Writer<'_, u8>) -> Result<()> {
        let (depth, columns) = (self.shape.depth, self.shape.columns);
        for matrix in (0..source.len()).step_by((depth * columns).max(1)) {
            for column in 0..columns {
                let first = column / BLOCK * BLOCK;
                let lanes = BLOCK.min(columns - first);
                for step in 0..depth {
                    let to = matrix + first * depth + step * lanes + column - first;
                    packed.set(to, source.get(matrix + step * columns + column));
                }
            }
        }
        Ok(())
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        let (right, zeros) = if self.quantised { (3, [2, 5]) } else { (1, [2, 3]) };
        let zero = |index: usize| bindings.has_input(index).then(|| bindings.input_bits::<u8>(index)).transpose();
        let bound = Bound {
            shape: self.shape,
            packed: self.packed,
            bytes: [Byte::of(self.types[0]), Byte::of(self.types[1])],
            a: bindings.input_bits(0)?,
            b: if self.packed { bindings.packed(right)? } else { bindings.input_bits(right)? },
            a_zero: zero(zeros[0])?,
            b_zero: zero(zeros[1])?,
        };
        if !self.quantised {
            let y: Output<i32> = bindings.output(0)?;
            return Ok(Box::new(move |call: &Call| {
                let y = call.write(&y);
                bound.run(call, |at, sum, _, _| y.set(at, sum));
                Ok(())
            }));
        }
        let y: Output<u8> = bindings.output_bits(0)?;
        let requantise = Requantise::bind(bindings, [1, 4, 6, 7], self.types[2])?;
        let (rows, columns) = (bindings.input::<f32>(1)?.len(), bindings.input::<f32>(4)?.len());
        let shape = self.shape;
        Ok(Box::new(move |call: &Call| {
            let (y, requantiser) = (call.write(&y), requantise.open(call));
            bound.run(call, |at, sum, row, column| {
                let (row, column) = (which(rows, shape.rows, row), which(columns, shape.columns, column));
                y.set(at, requantiser.byte(sum, row, column));
            });
            Ok(())
        }))
    }
}

/// Which of `count` scales belongs to a row (or column) that is number `index` among those of all matrices of its side.
fn which(count: usize, length: usize, index: usize) -> usize {
    element(count, if count == length { index % length } else { index })
}

/// The operands that both operators read.
struct Bound {
    shape: Shape,
    packed: bool,
    bytes: [Byte; 2],
    a: Input<u8>,
    b: Input<u8>,
    a_zero: Option<Input<u8>>,
    b_zero: Option<Input<u8>>,
}

impl Bound {
    /// Does this shard's rows; `store` takes the place in the output, the sum, and the numbers of row and column among those of their sides.
    fn run(&self, call: &Call, store: impl Fn(usize, i32, usize, usize)) {
        let (shape, [a_byte, b_byte]) = (&self.shape, self.bytes);
        let (a, b) = (call.read(&self.a), call.read(&self.b));
        let [a_zeros, b_zeros] = [&self.a_zero, &self.b_zero].map(|zero| zero.as_ref().map(|zero| call.read(zero)));
        let zero = |zeros: &Option<Reader<'_, u8>>, byte: Byte, length: usize, index: usize| {
            zeros.as_ref().map_or(0, |zeros| byte.number(zeros.get(which(zeros.len(), length, index))))
        };
        for task in call.share(shape.stacked * shape.rows, 1) {
            let (left, right) = shape.matrices(task / shape.rows.max(1));
            let row = left * shape.rows + task % shape.rows.max(1);
            let a_zero = zero(&a_zeros, a_byte, shape.rows, row);
            for first in (0..shape.columns).step_by(BLOCK) {
                let lanes = BLOCK.min(shape.columns - first);
                let mut zeros = [0; BLOCK];
                for (lane, number) in zeros.iter_mut().enumerate().take(lanes) {
                    *number = zero(&b_zeros, b_byte, shape.columns, right * shape.columns + first + lane);
                }
                let matrix = right * shape.depth * shape.columns;
                let (start, apart) =
                    if self.packed { (matrix + first * shape.depth, lanes) } else { (matrix + first, shape.columns) };
                let mut sums = [0i32; BLOCK];
                for step in 0..shape.depth {
                    let factor = a_byte.number(a.get(row * shape.depth + step)) - a_zero;
                    for lane in 0..lanes {
                        let product = factor * (b_byte.number(b.get(start + step * apart + lane)) - zeros[lane]);
                        sums[lane] = sums[lane].wrapping_add(product);
                    }
                }
                for (lane, &sum) in sums.iter().enumerate().take(lanes) {
                    store(task * shape.columns + first + lane, sum, row, right * shape.columns + first + lane);
                }
            }
        }
    }
}
