//! `MatMul` with batch broadcasting, `Gemm`, and `MatMulInteger` and `QLinearMatMul`, whose sums are exact.

use crate::arguments::Op;
use crate::element::{Stored, dispatch};
use crate::epilogue::{Epilogue, STEPS};
use crate::number::Number;
use crate::product::{Block, Left, Product, Right};
use crate::requantise::{Finish, Line, Scales, by_line};
use crate::strided::{Strided, broadcast_shape, broadcast_strides, count};
use crate::table::{LATEST, Row, same, signature};
use std::ops::Range;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Element, Kernel, Reader, Result};

const DTYPES: &[u16] = &[1, 11, 10, 16, 6, 7, 12, 13];

pub(crate) fn rows() -> Vec<Row> {
    let (mut integer, mut quantised) = (Vec::new(), Vec::new());
    for (a, b) in [(2, 2), (2, 3), (3, 2), (3, 3)] {
        integer.push(signature(&[a, b, a, b], &[6]));
        for (scale, y) in [(1, 2), (1, 3), (10, 2), (10, 3), (16, 2), (16, 3)] {
            quantised.push(signature(&[a, scale, a, b, scale, b, scale, y], &[y]));
        }
    }
    vec![
        Row::new("MatMul", (1, LATEST), same(2, 1, &[1]), Tolerance::Accumulate(1.0), matmul).epilogues(STEPS),
        Row::new("MatMul", (1, LATEST), same(2, 1, &DTYPES[1..]), Tolerance::Accumulate(1.0), matmul),
        Row::new("Gemm", (7, LATEST), same(3, 1, &[1]), Tolerance::Accumulate(1.0), gemm).epilogues(STEPS),
        Row::new("Gemm", (7, LATEST), same(3, 1, &DTYPES[1..]), Tolerance::Accumulate(1.0), gemm),
        Row::new("MatMulInteger", (10, LATEST), integer, Tolerance::Exact, matmul_integer),
        Row::new("QLinearMatMul", (10, LATEST), quantised, Tolerance::Exact, qlinear_matmul),
    ]
}

/// Two stacks of matrices and how they lie in memory.
#[derive(Clone, Copy)]
pub(crate) struct Matrices {
    pub(crate) product: Product,
    a_batches: Strided,
    a_row: usize,
    a_depth: usize,
    b_batches: Strided,
    b_depth: usize,
    b_column: usize,
    /// The last axis of the output runs along the rows, since the right side is a vector.
    along_rows: bool,
}

impl Matrices {
    /// Operands of those shapes: vectors are matrices of one row or column, leading axes broadcast.
    pub(crate) fn of(op: Op<'_>, mut a: Vec<usize>, mut b: Vec<usize>) -> Result<Self> {
        if a.is_empty() || b.is_empty() {
            return Err(op.invalid("an operand is a scalar"));
        }
        let (a_vector, b_vector) = (a.len() == 1, b.len() == 1);
        if a_vector {
            a.insert(0, 1);
        }
        if b_vector {
            b.push(1);
        }
        let (a_stack, b_stack) = (a[..a.len() - 2].to_vec(), b[..b.len() - 2].to_vec());
        let (rows, depth) = (a[a.len() - 2], a[a.len() - 1]);
        let columns = b[b.len() - 1];
        let mismatch = || op.invalid(format_args!("shapes {a:?} and {b:?} do not multiply"));
        if b[b.len() - 2] != depth {
            return Err(mismatch());
        }
        let stack = broadcast_shape(&[a_stack.clone(), b_stack.clone()]).ok_or_else(mismatch)?;
        let mut expected = stack.clone();
        if !a_vector {
            expected.push(rows);
        }
        if !b_vector {
            expected.push(columns);
        }
        op.expect_output(0, &expected)?;
        let batches = |from: &[usize], size: usize| -> Result<Strided> {
            let strides = broadcast_strides(from, &stack).ok_or_else(mismatch)?;
            let strides: Vec<_> = strides.iter().map(|stride| stride * size as isize).collect();
            Ok(Strided::new(&stack, &strides, 0))
        };
        let mut matrices = Self {
            product: Product { batches: count(&stack), rows, columns, depth },
            a_batches: batches(&a_stack, rows * depth)?,
            a_row: depth,
            a_depth: 1,
            b_batches: batches(&b_stack, depth * columns)?,
            b_depth: columns,
            b_column: 1,
            along_rows: b_vector,
        };
        // One right side for all: the matrices on the left are one tall one.
        if count(&b_stack) == 1 && count(&a_stack) == count(&stack) {
            matrices.product.rows *= matrices.product.batches;
            matrices.product.batches = 1;
            matrices.a_batches = Strided::new(&[], &[], 0);
            matrices.b_batches = Strided::new(&[], &[], 0);
        }
        Ok(matrices)
    }

    /// Multiplies this shard's part, with elements as `load_a` (with the row) and `load_b` (with the column) see them.
    pub(crate) fn run<A: Element, B: Element, V: Number>(
        &self,
        call: &Call,
        a: &Reader<'_, A>,
        b: &Reader<'_, B>,
        load_a: impl Fn(usize, A) -> V,
        load_b: impl Fn(usize, B) -> V,
        finish: impl Fn(usize, usize, usize, &mut [V]),
    ) {
        let depth = self.product.depth;
        let at_a = |batch: usize, row: usize| self.a_batches.offset(batch) + row * self.a_row;
        if self.product.is_narrow() {
            let left = |batch, row, k| load_a(row, a.get(at_a(batch, row) + k * self.a_depth));
            let right = |batch, depths: Range<usize>, columns: Range<usize>, into: &mut Block<V>| {
                let start = self.b_batches.offset(batch);
                let element = |k: usize, j: usize| load_b(j, b.get(start + k * self.b_depth + j * self.b_column));
                if self.b_depth == 1 {
                    for (j, column) in columns.enumerate() {
                        for (line, k) in into.iter_mut().zip(depths.clone()) {
                            line[j] = element(k, column);
                        }
                    }
                } else {
                    for (line, k) in into.iter_mut().zip(depths) {
                        for (value, column) in line.iter_mut().zip(columns.clone()) {
                            *value = element(k, column);
                        }
                    }
                }
            };
            self.product.run_narrow(call, left, right, finish);
            return;
        }
        let left = |batch, rows: Range<usize>, into: &Left<'_, V>| {
            for i in 0..Left::<V>::ROWS {
                if rows.start + i >= rows.end {
                    (0..depth).for_each(|k| into.set(i, k, V::ZERO));
                    continue;
                }
                let from = at_a(batch, rows.start + i);
                for k in 0..depth {
                    into.set(i, k, load_a(rows.start + i, a.get(from + k * self.a_depth)));
                }
            }
        };
        let right = |batch, columns: Range<usize>, into: &Right<'_, V>| {
            let from = self.b_batches.offset(batch) + columns.start * self.b_column;
            let element =
                |k: usize, j: usize| load_b(columns.start + j, b.get(from + k * self.b_depth + j * self.b_column));
            if self.b_depth == 1 {
                for j in 0..columns.len() {
                    (0..depth).for_each(|k| into.set(k, j, element(k, j)));
                }
            } else {
                for k in 0..depth {
                    (0..columns.len()).for_each(|j| into.set(k, j, element(k, j)));
                }
            }
        };
        self.product.run(call, left, right, finish);
    }
}

fn matmul(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let matrices = Matrices::of(op, op.shape(0)?, op.shape(1)?)?;
    dispatch!(op.input(0)?.dtype, [F32, F64, F16, BF16, I32, I64, U32, U64], S => {
        type E<S> = <S as Stored>::Element;
        type V<S> = <S as Stored>::Value;
        let last = op.output_shape(0)?.len().saturating_sub(1);
        // A product of two vectors is a scalar: no axis, so no bias.
        let epilogue = if op.0.epilogue.is_empty() && op.output_shape(0)?.is_empty() {
            None
        } else {
            Some(Epilogue::<S>::of(op, None, last)?)
        };
        crate::settle::kernel(matrices.product.requirements::<V<S>>(), move |bindings| {
            let (a, b) = (bindings.input::<E<S>>(0)?, bindings.input::<E<S>>(1)?);
            let output = bindings.output::<E<S>>(0)?;
            let epilogue = epilogue.as_ref().map(|epilogue| epilogue.bind(bindings)).transpose()?;
            Ok(Box::new(move |call: &Call| {
                let (a, b, out) = (call.read(&a), call.read(&b), call.write(&output));
                let Product { rows, columns, .. } = matrices.product;
                matrices.run(call, &a, &b, |_, e| S::load(e), |_, e| S::load(e), |batch, row, column, sums: &mut [V<S>]| {
                    let at = (batch * rows + row) * columns + column;
                    if let Some(epilogue) = &epilogue {
                        epilogue.apply(call, sums, at, if matrices.along_rows { row } else { column }, 1);
                    }
                    let to = out.part(at..at + sums.len());
                    for (i, &sum) in sums.iter().enumerate() {
                        to.set(i, S::store(sum));
                    }
                });
                Ok(())
            }))
        })
    })
}

fn gemm(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let (a, b) = (op.shape(0)?, op.shape(1)?);
    let (&[a0, a1], &[b0, b1]) = (a.as_slice(), b.as_slice()) else {
        return Err(op.invalid(format_args!("shapes {a:?} and {b:?} are not matrices")));
    };
    let (turn_a, turn_b) = (op.attributes().flag("transA"), op.attributes().flag("transB"));
    let (rows, depth) = if turn_a { (a1, a0) } else { (a0, a1) };
    let (inner, columns) = if turn_b { (b1, b0) } else { (b0, b1) };
    if inner != depth {
        return Err(op.invalid(format_args!("shapes {a:?} and {b:?} do not multiply")));
    }
    op.expect_output(0, &[rows, columns])?;
    let one = Strided::new(&[], &[], 0);
    let matrices = Matrices {
        product: Product { batches: 1, rows, columns, depth },
        a_batches: one,
        a_row: if turn_a { 1 } else { depth },
        a_depth: if turn_a { rows } else { 1 },
        b_batches: one,
        b_depth: if turn_b { 1 } else { columns },
        b_column: if turn_b { depth } else { 1 },
        along_rows: false,
    };
    let addend = match op.optional(2) {
        Some(operand) => {
            let shape = crate::arguments::dims(operand);
            let walk = Strided::broadcast(&shape, &[rows, columns]);
            Some(walk.ok_or_else(|| op.invalid(format_args!("C of shape {shape:?} does not broadcast")).at(2))?)
        }
        None => None,
    };
    let (alpha, beta) = (op.attributes().number("alpha").unwrap_or(1.0), op.attributes().number("beta").unwrap_or(1.0));
    dispatch!(op.input(0)?.dtype, [F32, F64, F16, BF16, I32, I64, U32, U64], S => {
        type E<S> = <S as Stored>::Element;
        type V<S> = <S as Stored>::Value;
        let (alpha, beta) = (V::<S>::from_f64(alpha), V::<S>::from_f64(beta));
        let epilogue = Epilogue::<S>::of(op, None, 1)?;
        crate::settle::kernel(matrices.product.requirements::<V<S>>(), move |bindings| {
            let (a, b) = (bindings.input::<E<S>>(0)?, bindings.input::<E<S>>(1)?);
            let c = match addend {
                Some(walk) => Some((walk, bindings.input::<E<S>>(2)?)),
                None => None,
            };
            let output = bindings.output::<E<S>>(0)?;
            let epilogue = epilogue.bind(bindings)?;
            Ok(Box::new(move |call: &Call| {
                let (a, b, out) = (call.read(&a), call.read(&b), call.write(&output));
                matrices.run(call, &a, &b, |_, e| S::load(e), |_, e| S::load(e), |_, row, column, sums: &mut [V<S>]| {
                    let at = row * columns + column;
                    if alpha != V::<S>::ONE {
                        sums.iter_mut().for_each(|sum| *sum = sum.mul(alpha));
                    }
                    if let Some((walk, c)) = &c {
                        let c = call.read(c);
                        walk.runs(at..at + sums.len(), |index, offset, stride, n| {
                            for (i, sum) in sums[index - at..][..n].iter_mut().enumerate() {
                                let term = S::load(c.get(offset + i * stride as usize));
                                *sum = sum.add(if beta == V::<S>::ONE { term } else { term.mul(beta) });
                            }
                        });
                    }
                    epilogue.apply(call, sums, at, column, 1);
                    let to = out.part(at..at + sums.len());
                    for (i, &sum) in sums.iter().enumerate() {
                        to.set(i, S::store(sum));
                    }
                });
                Ok(())
            }))
        })
    })
}

fn matmul_integer(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    integer_product(op, [0, 2, 1, 3], None)
}

fn qlinear_matmul(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    integer_product(op, [0, 2, 3, 5], Some([1, 4, 6]))
}

/// An exact product. `inputs` are the left side, its zero point, the right side and its zero point; `scales` as [`Scales::of`] takes them.
fn integer_product(op: Op<'_>, inputs: [usize; 4], scales: Option<[usize; 3]>) -> Result<Box<dyn Kernel>> {
    let [a, a_zero, b, b_zero] = inputs;
    let (a_shape, b_shape) = (op.shape(a)?, op.shape(b)?);
    let matrices = Matrices::of(op, a_shape.clone(), b_shape.clone())?;
    let a_rows = if a_shape.len() > 1 { a_shape[a_shape.len() - 2] } else { 1 };
    let b_columns = if b_shape.len() > 1 { b_shape[b_shape.len() - 1] } else { 1 };
    let (a_each, b_each) = (by_line(op, a_zero, a_rows, Line::Row)?, by_line(op, b_zero, b_columns, Line::Column)?);
    let scales = scales.map(|scales| Scales::of(op, scales, a_rows, b_columns)).transpose()?;
    let (a_byte, b_byte) = (Byte::of(op.input(a)?.dtype), Byte::of(op.input(b)?.dtype));
    crate::settle::kernel(matrices.product.requirements::<i32>(), move |bindings| {
        let zero = |index: usize| bindings.has_input(index).then(|| bindings.input_bits::<u8>(index)).transpose();
        let (zero_a, zero_b) = (zero(a_zero)?, zero(b_zero)?);
        let (a, b) = (bindings.input_bits::<u8>(a)?, bindings.input_bits::<u8>(b)?);
        let finish = Finish::bind(bindings, scales)?;
        Ok(Box::new(move |call: &Call| {
            let (a, b) = (call.read(&a), call.read(&b));
            let zero_a = zero_a.as_ref().map(|zero| call.read(zero));
            let zero_b = zero_b.as_ref().map(|zero| call.read(zero));
            let load_a = |row: usize, e: u8| {
                let at = if a_each { row % a_rows } else { 0 };
                a_byte.number(e) - zero_a.as_ref().map_or(0, |zero| a_byte.number(zero.get(at)))
            };
            let load_b = |column: usize, e: u8| {
                let at = if b_each { column } else { 0 };
                b_byte.number(e) - zero_b.as_ref().map_or(0, |zero| b_byte.number(zero.get(at)))
            };
            let Product { rows, columns, .. } = matrices.product;
            matrices.run(call, &a, &b, load_a, load_b, |batch, row, column, sums: &mut [i32]| {
                let at = (batch * rows + row) * columns + column;
                finish.store(call, at, row % a_rows, column, true, sums);
            });
            Ok(())
        }))
    })
}

/// A byte as a number, signed or not: one loop for both.
#[derive(Clone, Copy)]
pub(crate) struct Byte {
    flip: u8,
    offset: i32,
}

impl Byte {
    pub(crate) fn of(dtype: u16) -> Self {
        // Flipping the top bit of a signed byte adds 128 to it.
        if dtype == 3 { Self { flip: 0x80, offset: 128 } } else { Self { flip: 0, offset: 0 } }
    }

    #[inline(always)]
    pub(crate) fn number(self, byte: u8) -> i32 {
        i32::from(byte ^ self.flip) - self.offset
    }

    /// The byte nearest to a whole number.
    #[inline(always)]
    pub(crate) fn saturated(self, number: f64) -> u8 {
        (number + f64::from(self.offset)) as u8 ^ self.flip
    }
}
