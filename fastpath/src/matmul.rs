//! `MatMul` and `Gemm`: what the shapes mean as products, where each finds its operands, and the packing of a constant right side.

use crate::epilogue::{Along, Epilogue, Step};
use crate::product::{Addresses, Matrix, Product};
use crate::registry::{LATEST, Row};
use crate::request::{Request, count};
use crate::settle::{Packing, kernel, needs, packed};
use crate::steps::Steps;
use std::sync::Arc;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Reader, Writer};

pub(crate) fn rows<P: Product>(path: &'static str) -> Vec<Row<P::Token>> {
    let row = |operator, revisions, prepare| Row {
        operator,
        path,
        revisions,
        tolerance: Tolerance::Accumulate(1.0),
        prepare,
    };
    vec![row("MatMul", (1, LATEST), matmul::<P>), row("Gemm", (7, LATEST), gemm::<P>)]
}

/// Products of one shape, and where the matrices of each begin.
struct Matrices<P> {
    product: P,
    layout: Layout,
    /// Of each product: floats in front of its left matrix, and number of its right matrix.
    batches: Arc<[(usize, usize)]>,
    /// How many right matrices there are.
    right_count: usize,
    /// The right side is a constant that is packed.
    right_is_packed: bool,
}

/// More products than this are somebody else's work: their table would outgrow what it describes.
const MAX_BATCHES: usize = 1 << 16;

/// How the matrices lie in the operands, before any packing.
#[derive(Clone, Copy)]
struct Layout {
    rows: usize,
    columns: usize,
    depth: usize,
    /// Floats from row to row and from column to column.
    left: (usize, usize),
    right: (usize, usize),
}

impl<P: Product> Matrices<P> {
    fn new(layout: Layout, batches: Vec<(usize, usize)>, right_count: usize, right_is_constant: bool) -> Self {
        let Layout { rows, columns, depth, left, right } = layout;
        Self {
            product: P::new(rows, columns, depth, left, (!right_is_constant).then_some(right)),
            layout,
            batches: batches.into(),
            right_count,
            right_is_packed: right_is_constant,
        }
    }

    /// Floats of one right matrix as it lies in the operand, packed or not.
    fn right_floats(&self) -> usize {
        if self.right_is_packed { self.product.right_floats() } else { self.layout.depth * self.layout.columns }
    }

    fn kernel(self, token: P::Token, epilogue: Epilogue) -> Option<Box<dyn Kernel>> {
        let product = self.product;
        let Layout { rows, columns, depth, right, .. } = self.layout;
        let results = self.batches.len() * rows * columns;
        let cost = self.batches.len() as f64 * product.cost() + epilogue.cost(results);
        let mut requirements = needs(cost, product.cut().units(self.batches.len()));
        requirements.workspace = product.workspace_bytes();
        let packing = if self.right_is_packed {
            let (plain, count) = (depth * columns, self.right_count);
            let (step, column) = right;
            let key = format!("{}-right f32 {count}x{depth}x{columns} {step} {column}", P::FORM);
            requirements.packed = vec![packed(1, count * product.right_floats(), key)?];
            let pack = move |source: Reader<'_, u8>, to: Writer<'_, u8>| {
                for number in 0..count {
                    let start = source.as_ptr().cast::<f32>().wrapping_add(number * plain);
                    let from = Matrix { start, row_step: step, column_step: column };
                    let to = to.as_mut_ptr().cast::<f32>().wrapping_add(number * product.right_floats());
                    let _proof: P::Token = token;
                    // SAFETY: the token proves the instruction set. The kernel checked that `source` holds `count` matrices and `to` as many packed ones.
                    unsafe { product.pack_right(from, to) };
                }
            };
            Some(Packing { source_bytes: count * plain * 4, pack: Box::new(pack) })
        } else {
            None
        };
        let right_floats = self.right_floats();
        let batches = self.batches;
        let right_is_packed = self.right_is_packed;
        Some(kernel(requirements, packing, move |bindings| {
            let left = bindings.input::<f32>(0)?;
            let right = if right_is_packed { bindings.packed::<f32>(1)? } else { bindings.input::<f32>(1)? };
            let output = bindings.output::<f32>(0)?;
            let epilogue = epilogue.bind(bindings)?;
            let batches = batches.clone();
            Ok(Box::new(move |call: &Call| {
                let steps = Steps::open(&epilogue, call);
                let (left, right) = (call.read(&left).as_ptr(), call.read(&right).as_ptr());
                let (results, workspace) = (call.write(&output).as_mut_ptr(), call.workspace::<f32>().as_mut_ptr());
                product.cut().parts(call, batches.len(), |batch, part| {
                    let (left_at, right_number) = batches[batch];
                    let flat = batch * rows * columns;
                    let at = Addresses {
                        left: left.wrapping_add(left_at),
                        right: right.wrapping_add(right_number * right_floats),
                        results: results.wrapping_add(flat),
                        flat,
                        row: 0,
                        workspace,
                        steps: &steps,
                    };
                    let _proof: P::Token = token;
                    // SAFETY: the token proves the instruction set. `prepare` matched the shapes of the operands with the product and the table of batches, and
                    // the bindings with the shapes; parts of shards are disjoint; the workspace has the size that was asked for.
                    unsafe { product.run(at, part) };
                });
                Ok(())
            }))
        }))
    }
}

fn matmul<P: Product>(token: P::Token, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    if request.inputs() != 2 {
        return None;
    }
    let (a, b, output) = (request.input(0)?, request.input(1)?, request.output()?);
    // Vectors become matrices of one row or column.
    let (a_is_vector, b_is_vector) = (a.len() == 1, b.len() == 1);
    let a = if a_is_vector { vec![1, a[0]] } else { a };
    let b = if b_is_vector { vec![b[0], 1] } else { b };
    let (&[ref a_batch @ .., rows, depth], &[ref b_batch @ .., inner, columns]) = (a.as_slice(), b.as_slice()) else {
        return None;
    };
    let rank = a_batch.len().max(b_batch.len());
    let mut shape = Vec::new();
    for axis in 0..rank {
        let (a, b) = (length(a_batch, axis, rank), length(b_batch, axis, rank));
        shape.push(match (a, b) {
            (a, b) if a == b => a,
            (1, b) => b,
            (a, 1) => a,
            _ => return None,
        });
    }
    let mut expected = shape.clone();
    expected.extend((!a_is_vector).then_some(rows));
    expected.extend((!b_is_vector).then_some(columns));
    if inner != depth || output != expected || (b_is_vector && !request.operation().epilogue.is_empty()) {
        return None;
    }
    let total = count(&shape);
    let mut layout = Layout { rows, columns, depth, left: (depth, 1), right: (columns, 1) };
    let batches = if count(b_batch) == 1 && total == count(a_batch) {
        // One right matrix for all: the left ones are one tall matrix.
        layout.rows *= total;
        vec![(0, 0)]
    } else {
        if total > MAX_BATCHES {
            return None;
        }
        let number = |batch, lengths| position(&shape, batch, lengths);
        (0..total).map(|batch| (number(batch, a_batch) * rows * depth, number(batch, b_batch))).collect()
    };
    let constant = request.operand(1)?.constant;
    let epilogue = Epilogue::plan(request, Vec::new(), Along::Columns, columns)?;
    Matrices::<P>::new(layout, batches, count(b_batch), constant).kernel(token, epilogue)
}

/// Length of axis `axis` of `rank` of a shape that may have fewer.
fn length(lengths: &[usize], axis: usize, rank: usize) -> usize {
    (axis + lengths.len()).checked_sub(rank).map_or(1, |axis| lengths[axis])
}

/// Number of the matrix that product `batch` of `shape` takes from an operand of batch axes `lengths`.
fn position(shape: &[usize], batch: usize, lengths: &[usize]) -> usize {
    let (mut rest, mut step, mut number) = (batch, 1, 0);
    for axis in (0..shape.len()).rev() {
        let length = length(lengths, axis, shape.len());
        if length > 1 {
            number += rest % shape[axis] * step;
        }
        rest /= shape[axis];
        step *= length;
    }
    number
}

fn gemm<P: Product>(token: P::Token, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let (a, b) = (request.input(0)?, request.input(1)?);
    let (&[a0, a1], &[b0, b1]) = (a.as_slice(), b.as_slice()) else { return None };
    let attributes = request.attributes();
    let (turn_a, turn_b) = (attributes.flag("transA"), attributes.flag("transB"));
    let (rows, depth) = if turn_a { (a1, a0) } else { (a0, a1) };
    let (inner, columns) = if turn_b { (b1, b0) } else { (b0, b1) };
    if inner != depth || request.output()? != [rows, columns] {
        return None;
    }
    let mut steps = Vec::new();
    let alpha = attributes.number("alpha").unwrap_or(1.0) as f32;
    if alpha != 1.0 {
        steps.push(Step::Scale(alpha));
    }
    if request.operand(2).is_some() {
        let along = match request.input(2)?.as_slice() {
            shape if count(shape) == 1 && shape.len() <= 2 => Along::Nothing,
            &[n] | &[1, n] if n == columns => Along::Columns,
            &[m, 1] if m == rows => Along::Rows,
            &[m, n] if m == rows && n == columns => Along::Everything,
            _ => return None,
        };
        let factor = attributes.number("beta").unwrap_or(1.0) as f32;
        steps.push(Step::Add { addend: 2, along, factor });
    }
    let layout = Layout {
        rows,
        columns,
        depth,
        left: if turn_a { (1, rows) } else { (depth, 1) },
        right: if turn_b { (1, depth) } else { (columns, 1) },
    };
    let epilogue = Epilogue::plan(request, steps, Along::Columns, columns)?;
    Matrices::<P>::new(layout, vec![(0, 0)], 1, request.operand(1)?.constant).kernel(token, epilogue)
}
