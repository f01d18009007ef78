//! MatMul and Gemm on f32: against a constant packed once, between two tensors that both change, and one row times a matrix.

use crate::arguments::{Op, count, dims, shards_for};
use crate::epilogue::{BoundEpilogue, Epilogue};
use crate::gemm::{Blocks, Target, split, with_packed_columns, with_packed_rows};
use crate::panels::{
    Matrix, column_panel_floats, pack_all_columns, pack_all_rows, pack_columns, pack_rows, row_panel_floats,
};
use crate::tile::{COLUMNS, ROWS};
use crate::vector::{add, at_least, at_most, fma, load, load_part, load_splat, mul, splat, store, store_part};
use sunmao_plugin_sdk::abi::{PackedConstant, Requirements};
use sunmao_plugin_sdk::{Bindings, Call, Dispatch, Kernel, Reader, Result, Writer};

/// Sizes of a product of (stacks of) matrices.
#[derive(Clone, Debug)]
struct Sizes {
    rows: usize,
    columns: usize,
    k: usize,
    /// Matrices in the output.
    stack: usize,
    /// For each of them, where its operands start.
    offsets: Vec<[usize; 2]>,
    /// Strides of (row, k) in the first operand and of (k, column) in the second.
    a: [usize; 2],
    b: [usize; 2],
    /// Factor on the product.
    alpha: f32,
}

/// The fast kernel for a MatMul or Gemm operation, if there is one.
pub(crate) fn prepare(op: Op<'_>) -> Option<Box<dyn Kernel>> {
    let (a, b) = (op.f32_shape(0)?, op.f32_shape(1)?);
    let y = op.f32_output()?;
    let mut bias = None;
    let sizes = if op.name() == "Gemm" {
        let (left, right) = (op.integer("transA", 0) != 0, op.integer("transB", 0) != 0);
        let (rows, k) = if left { (a[1], a[0]) } else { (a[0], a[1]) };
        let columns = if right { b[0] } else { b[1] };
        if let Some(c) = op.own(2) {
            // A bias along the columns is what a tile can start from; other forms are rare.
            let vector = count(&dims(c)) == columns && dims(c).last() == Some(&columns);
            if !vector || c.dtype != crate::arguments::F32 || op.number("beta", 1.0) != 1.0 {
                return None;
            }
            bias = Some(2);
        }
        Sizes {
            rows,
            columns,
            k,
            stack: 1,
            offsets: vec![[0, 0]],
            a: if left { [1, rows] } else { [k, 1] },
            b: if right { [1, k] } else { [columns, 1] },
            alpha: op.number("alpha", 1.0),
        }
    } else {
        stacked(&a, &b, &y)?
    };
    if sizes.rows == 0 || sizes.columns == 0 || sizes.k == 0 || sizes.stack == 0 {
        return None;
    }
    let constant = op.input(1)?.constant && sizes.offsets.iter().all(|offsets| offsets[1] == 0);
    if sizes.alpha != 1.0 && !constant {
        return None;
    }
    // A tile starts from one thing: the bias of the columns or a tensor.
    let has_bias = bias.is_some() || op.0.epilogue.iter().any(|step| step.op == "bias");
    let epilogue = Epilogue::new(op, bias, !(has_bias || constant && sizes.rows == 1))?;
    if constant {
        return Some(Box::new(ConstantProduct::new(sizes, epilogue)));
    }
    Some(Box::new(FreeProduct::new(sizes, epilogue)))
}

/// The sizes of a MatMul by NumPy's rules; vectors are left to the portable kernel.
fn stacked(a: &[usize], b: &[usize], y: &[usize]) -> Option<Sizes> {
    if a.len() < 2 || b.len() < 2 {
        return None;
    }
    let (rows, k, columns) = (a[a.len() - 2], a[a.len() - 1], b[b.len() - 1]);
    let outer = &y[..y.len() - 2];
    let stack: usize = outer.iter().product();
    if b.len() == 2 || count(&b[..b.len() - 2]) == 1 {
        // One matrix on the right: all rows on the left are rows of one product.
        let rows = rows * stack;
        return Some(Sizes {
            rows,
            columns,
            k,
            stack: 1,
            offsets: vec![[0, 0]],
            a: [k, 1],
            b: [columns, 1],
            alpha: 1.0,
        });
    }
    if stack > 4096 {
        return None;
    }
    let offsets = (0..stack).map(|index| {
        let place = |shape: &[usize]| -> usize {
            let own = &shape[..shape.len() - 2];
            let (mut rest, mut factor, mut place) = (index, 1, 0);
            for (i, &dim) in outer.iter().enumerate().rev() {
                let coordinate = rest % dim;
                rest /= dim;
                let axis = (i + own.len()).checked_sub(outer.len());
                if let Some(length) = axis.map(|axis| own[axis]) {
                    place += if length == 1 { 0 } else { coordinate * factor };
                    factor *= length;
                }
            }
            place
        };
        [place(a) * rows * k, place(b) * k * columns]
    });
    Some(Sizes { rows, columns, k, stack, offsets: offsets.collect(), a: [k, 1], b: [columns, 1], alpha: 1.0 })
}

impl Sizes {
    fn left(&self, start: *const f32) -> Matrix {
        Matrix { start, row_stride: self.a[0], column_stride: self.a[1] }
    }

    fn right(&self, start: *const f32) -> Matrix {
        Matrix { start, row_stride: self.b[0], column_stride: self.b[1] }
    }

    fn nanoseconds(&self) -> u64 {
        let operations = 2.0 * (self.stack * self.k) as f64 * (self.rows * self.columns) as f64;
        // One row reads every weight once: memory sets the pace.
        let rate = if self.rows == 1 { 5.0 } else { 24.0 };
        (operations / rate) as u64 + 500
    }

    fn target<'a>(&self, call: &'a Call, epilogue: &'a BoundEpilogue, output: *mut f32) -> Target<'a> {
        Target {
            output,
            at: 0,
            stride: self.columns,
            rows: self.rows,
            columns: self.columns,
            row_bias: core::ptr::null(),
            column_bias: epilogue.bias(call),
            first: epilogue.first(call),
            epilogue,
            call,
        }
    }
}

/// The second operand is a constant.
struct ConstantProduct {
    sizes: Sizes,
    epilogue: Epilogue,
    blocks: Blocks,
}

impl ConstantProduct {
    fn new(sizes: Sizes, epilogue: Epilogue) -> Self {
        let tensors = sizes.rows * (sizes.k + sizes.columns);
        let floats = (tensors / 20).clamp(12 * 1024, 48 * 1024);
        let blocks = Blocks::new(sizes.k, sizes.rows, ROWS, floats);
        Self { sizes, epilogue, blocks }
    }
}

impl Kernel for ConstantProduct {
    fn requirements(&self) -> Requirements {
        let nanoseconds = self.sizes.nanoseconds();
        let s = &self.sizes;
        Requirements {
            workspace: if s.rows == 1 { 0 } else { (4 * self.blocks.floats()) as u32 },
            shards: shards_for(nanoseconds),
            packed: vec![PackedConstant {
                input: 1,
                bytes: (4 * column_panel_floats(s.columns, s.k)) as u32,
                align: 64,
                key: format!("columns4 {} {} {:?} {:08x}", s.k, s.columns, s.b, s.alpha.to_bits()),
            }],
            estimated_ns: nanoseconds,
            ..Requirements::simple()
        }
    }

    fn pack(&self, _: u32, source: Reader<'_, u8>, packed: Writer<'_, u8>) -> Result<()> {
        let (k, columns) = (self.sizes.k, self.sizes.columns);
        let panels = packed.as_mut_ptr().cast::<f32>();
        // SAFETY: the SDK checked that `source` holds the constant and `packed` the bytes that `requirements` asked for.
        unsafe {
            pack_all_columns(self.sizes.right(source.as_ptr().cast()), columns, k, panels);
            if self.sizes.alpha != 1.0 {
                for i in 0..column_panel_floats(columns, k) / 4 {
                    store(panels.add(4 * i), mul(load(panels.add(4 * i)), splat(self.sizes.alpha)));
                }
            }
        }
        Ok(())
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        let (sizes, blocks) = (self.sizes.clone(), self.blocks);
        let epilogue = self.epilogue.bind(bindings)?;
        let (a, b, y) = (bindings.input::<f32>(0)?, bindings.packed::<f32>(1)?, bindings.output::<f32>(0)?);
        Ok(Box::new(move |call: &Call| {
            let s = &sizes;
            let (left, panels) = (call.read(&a).as_ptr(), call.read(&b).as_ptr());
            let target = s.target(call, &epilogue, call.write(&y).as_mut_ptr());
            // SAFETY: `bind` checked every view against shapes that `prepare` checked against each other, and the workspace holds a packed block.
            unsafe {
                if s.rows == 1 {
                    let columns = call.share(s.columns, 4 * COLUMNS);
                    row_times_matrix(&target, s.k, s.left(left), panels, columns);
                    return Ok(());
                }
                let part = split(call, s.rows, s.columns, (0.0, 4.0 / s.columns as f32));
                let workspace = call.workspace::<f32>().as_mut_ptr();
                with_packed_columns(&target, blocks, s.k, panels, part, workspace, |from, depth, row, rows, to| {
                    for i in (0..rows).step_by(ROWS) {
                        pack_rows(s.left(left), row + i, ROWS.min(rows - i), from, depth, to.add(i * depth));
                    }
                });
            }
            Ok(())
        }))
    }
}

/// One row times packed columns, 16 columns at a time: four chains of sums.
///
/// # Safety
/// As for the blocked product.
#[inline(never)]
unsafe fn row_times_matrix(
    target: &Target<'_>,
    k: usize,
    row: Matrix,
    panels: *const f32,
    columns: core::ops::Range<usize>,
) {
    let (mut column, end) = (columns.start, columns.end.min(target.columns));
    // SAFETY: panel `column / 4` starts at `column * k`; a group that runs beyond the last panel repeats it and stores nothing for the copies.
    unsafe {
        while column < end {
            let last = (target.columns - 1) / COLUMNS;
            let panel = |i: usize| panels.add((column / COLUMNS + i).min(last) * COLUMNS * k);
            let (p0, p1, p2, p3) = (panel(0), panel(1), panel(2), panel(3));
            let mut acc = [splat(0.0); 4];
            let mut x = row.start;
            for p in 0..k {
                let value = load_splat(x);
                x = x.add(row.column_stride);
                acc[0] = fma(load(p0.add(p * 4)), value, acc[0]);
                acc[1] = fma(load(p1.add(p * 4)), value, acc[1]);
                acc[2] = fma(load(p2.add(p * 4)), value, acc[2]);
                acc[3] = fma(load(p3.add(p * 4)), value, acc[3]);
            }
            for (i, acc) in acc.iter().enumerate() {
                let at = column + i * COLUMNS;
                if at >= end {
                    break;
                }
                let left = (end - at).min(COLUMNS);
                let part = |from: *const f32| if left == COLUMNS { load(from) } else { load_part(from, left) };
                let mut v = *acc;
                if !target.column_bias.is_null() {
                    v = add(v, part(target.column_bias.add(at)));
                }
                if let Some((min, max)) = target.epilogue.range() {
                    v = at_most(at_least(v, splat(min)), splat(max));
                }
                if left == COLUMNS {
                    store(target.output.add(at), v);
                } else {
                    store_part(target.output.add(at), v, left);
                }
            }
            let len = (4 * COLUMNS).min(end - column);
            target.epilogue.finish(target.call, target.output.add(column), column, len);
            column += 4 * COLUMNS;
        }
    }
}

/// Both operands change.
struct FreeProduct {
    sizes: Sizes,
    epilogue: Epilogue,
    /// Rows packed at a time, whole in k.
    height: usize,
    blocks: Blocks,
}

impl FreeProduct {
    fn new(sizes: Sizes, epilogue: Epilogue) -> Self {
        let height = (64 * 1024 / sizes.k / ROWS * ROWS).clamp(ROWS, sizes.rows.next_multiple_of(ROWS));
        let blocks = Blocks::new(sizes.k, sizes.columns, COLUMNS, 24 * 1024);
        Self { sizes, epilogue, height, blocks }
    }
}

impl Kernel for FreeProduct {
    fn requirements(&self) -> Requirements {
        let nanoseconds = self.sizes.nanoseconds();
        Requirements {
            workspace: (4 * (row_panel_floats(self.height, self.sizes.k) + self.blocks.floats())) as u32,
            shards: shards_for(nanoseconds),
            estimated_ns: nanoseconds,
            ..Requirements::simple()
        }
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        let (sizes, blocks, height) = (self.sizes.clone(), self.blocks, self.height);
        let epilogue = self.epilogue.bind(bindings)?;
        let (a, b, y) = (bindings.input::<f32>(0)?, bindings.input::<f32>(1)?, bindings.output::<f32>(0)?);
        Ok(Box::new(move |call: &Call| {
            let s = &sizes;
            let (left, right) = (call.read(&a).as_ptr(), call.read(&b).as_ptr());
            let mut target = s.target(call, &epilogue, call.write(&y).as_mut_ptr());
            let panels = call.workspace::<f32>().as_mut_ptr();
            let workspace = panels.wrapping_add(row_panel_floats(height, s.k));
            // Work is cut into (matrix, block of rows); a shard takes a run of them.
            let rows = s.rows.next_multiple_of(ROWS);
            for unit in call.share(s.stack * (rows / ROWS), 1).step_by_block(rows / ROWS, height / ROWS) {
                let (index, first, panel_count) = unit;
                let (row, count) = (first * ROWS, (panel_count * ROWS).min(s.rows - first * ROWS));
                let [at, bt] = s.offsets[index];
                target.at = index * s.rows * s.columns;
                // SAFETY: `bind` checked every view against shapes that `prepare` checked against each other; the workspace holds `height` packed
                // rows and a block of columns. Row panels lie from `row` on, so that panel `row / 8` is where the product looks for it.
                unsafe {
                    let matrix = Matrix { start: s.left(left.add(at)).start.add(row * s.a[0]), ..s.left(left.add(at)) };
                    pack_all_rows(matrix, count, s.k, panels);
                    let shifted = panels.wrapping_sub(row * s.k);
                    let part = (row..row + count, 0..s.columns);
                    with_packed_rows(
                        &target,
                        blocks,
                        s.k,
                        shifted,
                        part,
                        workspace,
                        |from, depth, column, width, to| {
                            for j in (0..width).step_by(COLUMNS) {
                                let columns = COLUMNS.min(width - j);
                                pack_columns(
                                    s.right(right.add(bt)),
                                    column + j,
                                    columns,
                                    from,
                                    depth,
                                    to.add(j * depth),
                                );
                            }
                        },
                    );
                }
            }
            Ok(())
        }))
    }
}

/// Cuts a run of panels, counted through all matrices, into pieces that stay in one matrix and hold at most `most` panels.
trait StepByBlock {
    fn step_by_block(self, each: usize, most: usize) -> impl Iterator<Item = (usize, usize, usize)>;
}

impl StepByBlock for core::ops::Range<usize> {
    fn step_by_block(self, each: usize, most: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        let (mut at, end) = (self.start, self.end);
        core::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let (index, first) = (at / each, at % each);
            let len = most.min(each - first).min(end - at);
            at += len;
            Some((index, first, len))
        })
    }
}
