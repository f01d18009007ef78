//! `MatMulInteger` and `sunmao.MatMulIntegerToFloat` against a constant right side.

use super::tile::{COLUMNS, ROWS, Sums, tile};
use super::{Form, Less, flip_of, rows};
use crate::arguments::{F32, Op, count, dims, shards_for};
use crate::epilogue::{BoundEpilogue, Epilogue};
use crate::gemm::split;
use crate::vector::{LANES, add, at_least, at_most, load, load_part, mul, splat, store, store_part, v128};
use core::arch::wasm32::*;
use sunmao_plugin_sdk::abi::{PackedConstant, Requirements};
use sunmao_plugin_sdk::{Bindings, Call, Dispatch, Input, Kernel, Output, Reader, Result, Writer};

/// Words of a block of rows in the workspace.
const BLOCK_WORDS: usize = 32 * 1024;
/// Columns between two sweeps of the steps behind the tiles.
const STRETCH: usize = 64;
/// Words of the packed constant in front of the sums of its columns; the first one says which form it has.
const HEADER: usize = 16;

#[derive(Clone, Copy)]
struct Shape {
    rows: usize,
    columns: usize,
    depth: usize,
    a_flip: u8,
    b: Less,
    /// Rows of a block, whole panels.
    height: usize,
}

/// What becomes of the sums.
#[derive(Clone)]
enum Finish {
    Sums,
    /// Times the scales of inputs 2 and 3, of which the latter has one for each column or one for all.
    Scaled {
        each: bool,
        epilogue: Epilogue,
    },
}

struct Product {
    shape: Shape,
    /// Input of the left side's zero point.
    zero: Option<usize>,
    finish: Finish,
}

/// The fast kernel for an integer product, if there is one.
pub(crate) fn prepare(op: Op<'_>) -> Option<Box<dyn Kernel>> {
    let scaled = op.name() == "sunmao.MatMulIntegerToFloat";
    let (left, right) = (op.input(0)?, op.input(1)?);
    let (a, b) = (dims(left), dims(right));
    let (&[.., depth], &[ref ones @ .., _, columns]) = (&a[..], &b[..]) else { return None };
    if a.len() < 2 || count(ones) != 1 || ones.len() > a.len() - 2 || !right.constant || depth == 0 {
        return None;
    }
    let single = |index: usize| op.own(index).is_none_or(|operand| count(&dims(operand)) == 1);
    let [a_zero, b_zero] = if scaled { [4, 5] } else { [2, 3] };
    // The weights' zero point is taken off when they are packed, so it must be one that is known now.
    let b_flip = flip_of(right.dtype)?;
    let zero = match op.own(b_zero) {
        None => b_flip,
        Some(operand) => {
            let (&first, rest) = operand.literal.as_deref()?.split_first()?;
            rest.iter().all(|&other| other == first).then_some(first ^ b_flip)?
        }
    };
    let finish = if scaled {
        let each = match count(&dims(op.own(3)?)) {
            1 => false,
            n => (n == columns).then_some(true)?,
        };
        Finish::Scaled { each, epilogue: Epilogue::new(op, op.own(6).map(|_| 6), false)? }
    } else {
        Finish::Sums
    };
    let types = !scaled || [2, 3].iter().all(|&index| op.own(index).is_some_and(|scale| scale.dtype == F32));
    if !single(a_zero) || !types {
        return None;
    }
    let rows = count(&a) / depth;
    let most = (BLOCK_WORDS / Form::Wide.words(depth) / ROWS * ROWS).max(ROWS);
    let shape = Shape {
        rows,
        columns,
        depth,
        a_flip: flip_of(left.dtype)?,
        b: Less { flip: b_flip, zero },
        height: most.min(rows.next_multiple_of(ROWS)).max(ROWS),
    };
    Some(Box::new(Product { shape, zero: op.own(a_zero).map(|_| a_zero), finish }))
}

impl Shape {
    /// Columns, whole panels.
    fn padded(&self) -> usize {
        self.columns.next_multiple_of(COLUMNS)
    }

    /// Words in front of the panels of the packed constant.
    fn panels_at(&self) -> usize {
        (HEADER + self.padded()).next_multiple_of(HEADER)
    }

    fn packed_words(&self) -> usize {
        self.panels_at() + self.padded() * Form::Wide.words(self.depth)
    }
}

impl Kernel for Product {
    fn requirements(&self) -> Requirements {
        let Shape { rows, columns, depth, b, height, .. } = self.shape;
        let nanoseconds = (2.0 * rows as f64 * columns as f64 * depth as f64 / 45.0) as u64 + 500;
        Requirements {
            workspace: (4 * (height * Form::Wide.words(depth) + height)) as u32,
            shards: shards_for(nanoseconds),
            packed: vec![PackedConstant {
                input: 1,
                bytes: (4 * self.shape.packed_words()) as u32,
                align: 64,
                key: format!("int8-columns4 {depth} {columns} {} {}", b.flip, b.zero),
            }],
            estimated_ns: nanoseconds,
            ..Requirements::simple()
        }
    }

    fn pack(&self, _: u32, source: Reader<'_, u8>, packed: Writer<'_, u8>) -> Result<()> {
        let Shape { columns, depth, b, .. } = self.shape;
        let number = |k: usize, column: usize| b.number(source.get(k * columns + column));
        let fits = source.iter().all(|byte| (-64..64).contains(&b.number(byte)));
        let form = if fits { Form::Narrow } else { Form::Wide };
        let set = |word: usize, value: i32| {
            for (i, byte) in value.to_le_bytes().into_iter().enumerate() {
                packed.set(4 * word + i, byte);
            }
        };
        set(0, i32::from(fits));
        let words = form.words(depth);
        for column in 0..columns {
            set(HEADER + column, (0..depth).map(|k| i32::from(number(k, column))).sum());
            let panel = self.shape.panels_at() + column / COLUMNS * COLUMNS * words + column % COLUMNS;
            for word in 0..words {
                let value = match form {
                    Form::Wide => {
                        let half = |k: usize| if k < depth { number(k, column) } else { 0 };
                        i32::from(half(2 * word) as u16) | i32::from(half(2 * word + 1)) << 16
                    }
                    Form::Narrow => {
                        let byte = |k: usize| if k < depth { (number(k, column) + 64) as u8 } else { 0 };
                        i32::from_le_bytes(core::array::from_fn(|i| byte(4 * word + i)))
                    }
                };
                set(panel + word * COLUMNS, value);
            }
        }
        Ok(())
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        let shape = self.shape;
        let (a, b) = (bindings.input_bits::<u8>(0)?, bindings.packed::<i32>(1)?);
        let zero = self.zero.map(|index| bindings.input_bits::<u8>(index)).transpose()?;
        let bound = match &self.finish {
            Finish::Sums => BoundFinish::Sums(bindings.output::<i32>(0)?),
            Finish::Scaled { each, epilogue } => BoundFinish::Scaled {
                scales: [bindings.input::<f32>(2)?, bindings.input::<f32>(3)?],
                each: *each,
                output: bindings.output::<f32>(0)?,
                epilogue: epilogue.bind(bindings)?,
            },
        };
        Ok(Box::new(move |call: &Call| {
            let zero = zero.as_ref().map_or(0, |zero| call.read(zero).get(0)) ^ shape.a_flip;
            let run = Run {
                shape,
                call,
                less: Less { flip: shape.a_flip, zero },
                a: call.read(&a).as_ptr(),
                b: call.read(&b).as_ptr(),
                left: call.workspace::<i32>().as_mut_ptr(),
                bound: &bound,
            };
            // SAFETY: `bind` checked every view against shapes that `prepare` checked against each other; the workspace holds a block of rows.
            unsafe { run.all() };
            Ok(())
        }))
    }
}

/// The same, bound.
enum BoundFinish {
    Sums(Output<i32>),
    Scaled { scales: [Input<f32>; 2], each: bool, output: Output<f32>, epilogue: BoundEpilogue },
}

/// One call.
struct Run<'a> {
    shape: Shape,
    call: &'a Call,
    less: Less,
    a: *const u8,
    b: *const i32,
    left: *mut i32,
    bound: &'a BoundFinish,
}

impl Run<'_> {
    /// Computes this shard's part.
    ///
    /// # Safety
    /// The operands, the packed constant and the workspace are as [`Product`] asked for them.
    unsafe fn all(&self) {
        let Shape { rows, columns, depth, height, .. } = self.shape;
        // SAFETY: the packed constant begins with its form.
        let form = if unsafe { self.b.read() } != 0 { Form::Narrow } else { Form::Wide };
        let words = form.words(depth);
        let sums_at = height * Form::Wide.words(depth);
        let part = split(self.call, rows, columns, (0.0, 8.0 / columns as f32));
        let mut sums: Sums = [0; ROWS * COLUMNS];
        for first in part.0.clone().step_by(height) {
            let last = part.0.end.min(rows).min(first + height);
            // SAFETY: rows `first..last` are the left side's, and at most a block; panels and sums of columns lie in the packed constant; rows and columns
            // are the results'.
            unsafe {
                let row_sums = self.left.add(sums_at);
                let from = self.a.add(first * depth);
                rows::pack(form, from, last - first, depth, self.less, self.left, row_sums);
                for stretch in part.1.clone().step_by(STRETCH) {
                    let end = part.1.end.min(columns).min(stretch + STRETCH);
                    for column in (stretch..end).step_by(COLUMNS) {
                        let panel = self.b.add(self.shape.panels_at() + column * words);
                        for row in (first..last).step_by(ROWS) {
                            tile(form, words, self.left.add((row - first) * words), panel, &mut sums);
                            for i in 0..ROWS.min(last - row) {
                                let mut v = v128_load(sums.as_ptr().add(i * COLUMNS).cast());
                                if form == Form::Narrow {
                                    v = self.corrected(v, row_sums.add(row - first + i).read(), column);
                                }
                                self.store(v, row + i, column, COLUMNS.min(end - column));
                            }
                        }
                    }
                    self.finish(first..last, stretch..end);
                }
            }
        }
    }

    /// With x for a byte of the left side, z for its zero point and w for a weight, the tile summed (x - 128)(w + 64); wanted is (x - z) w. The
    /// difference is 64 times the sum of x - 128, and 128 - z times that of w.
    ///
    /// # Safety
    /// `column` is one of the padded columns.
    #[inline(always)]
    unsafe fn corrected(&self, sums: v128, row_sum: i32, column: usize) -> v128 {
        // SAFETY: the sums of the columns stand behind the header, padded to whole panels.
        let column_sums = unsafe { v128_load(self.b.add(HEADER + column).cast()) };
        let columns = i32x4_mul(column_sums, i32x4_splat(128 - i32::from(self.less.zero)));
        i32x4_add(i32x4_sub(sums, i32x4_splat(row_sum << 6)), columns)
    }

    /// Stores `len` sums of a row.
    ///
    /// # Safety
    /// Row and columns are the results'.
    #[inline(always)]
    unsafe fn store(&self, sums: v128, row: usize, column: usize, len: usize) {
        let at = row * self.shape.columns + column;
        // SAFETY: the caller's promise; scales and biases have an element for each column.
        unsafe {
            match self.bound {
                BoundFinish::Sums(output) => {
                    // Words are moved as they are, whatever they mean.
                    put(self.call.write(output).as_mut_ptr().add(at).cast(), sums, len);
                }
                BoundFinish::Scaled { scales, each, output, epilogue } => {
                    let part = |from: *const f32| if len == LANES { load(from) } else { load_part(from, len) };
                    let a_scale = splat(self.call.read(&scales[0]).get(0));
                    let b_scales = self.call.read(&scales[1]).as_ptr();
                    let b_scale = if *each { part(b_scales.add(column)) } else { splat(b_scales.read()) };
                    let mut v = mul(f32x4_convert_i32x4(sums), mul(a_scale, b_scale));
                    let bias = epilogue.bias(self.call);
                    if !bias.is_null() {
                        v = add(v, part(bias.add(column)));
                    }
                    if let Some((min, max)) = epilogue.range() {
                        v = at_most(at_least(v, splat(min)), splat(max));
                    }
                    put(self.call.write(output).as_mut_ptr().add(at), v, len);
                }
            }
        }
    }

    /// Runs the steps behind the tiles on a stretch of columns.
    ///
    /// # Safety
    /// Rows and columns are the results'.
    unsafe fn finish(&self, rows: core::ops::Range<usize>, columns: core::ops::Range<usize>) {
        let BoundFinish::Scaled { output, epilogue, .. } = self.bound else { return };
        if epilogue.has_rest() {
            for row in rows {
                let at = row * self.shape.columns + columns.start;
                // SAFETY: the caller's promise.
                unsafe {
                    let to = self.call.write(output).as_mut_ptr().add(at);
                    epilogue.finish(self.call, to, at, columns.len());
                }
            }
        }
    }
}

/// # Safety
/// `len` elements, at most four, are writable at `to`.
#[inline(always)]
unsafe fn put(to: *mut f32, value: v128, len: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if len == LANES {
            store(to, value);
        } else {
            store_part(to, value, len);
        }
    }
}
