//! `sunmao.QMatMul` with constant weights in the formats Q8_0 and Q4_K: rows of floats times block-quantised weights, `[.., k]` by `[n, k]`.
//!
//! The weights come from memory, which sets the pace as long as there are few rows, and floats made of them would take longer to make than they take to
//! arrive. So each row is written as whole numbers (`row`), and their products with the numbers of the weights are summed exactly (`bytes` for Q8_0,
//! `halves` for Q4_K). Other formats are the portable kernel's.
//!
//! Weights are packed into *strips* of eight columns, two vectors of dwords, from the first block to the last. A block of a strip has the half floats of
//! its columns, then, dword by dword, everything else as the format has it. Columns that fill up the last strip are zeros.

mod bytes;
mod halves;
mod row;

use crate::arguments::{F32, Op, count, dims, shards_for};
use crate::vector::{LANES, add, load, load_part, store, store_part, v128};
use core::arch::wasm32::*;
use row::{GROUP, Group, Row};
use sunmao_plugin_sdk::abi::{PackedConstant, Requirements};
use sunmao_plugin_sdk::{Bindings, Call, Dispatch, Kernel, Reader, Result, Writer};

/// Columns of a strip.
const STRIP: usize = 2 * LANES;
/// Rows whose whole numbers are kept at a time: weights are read once for so many.
const ROWS: usize = 4;
/// Bytes of workspace that they may take.
const SPACE_MAX: usize = 2 << 20;

/// A format of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Q8_0,
    Q4K,
}

impl Format {
    fn of(dtype: u16) -> Option<Self> {
        match dtype {
            0x104 => Some(Self::Q8_0),
            0x101 => Some(Self::Q4K),
            _ => None,
        }
    }

    /// Weights of a block.
    fn elements(self) -> usize {
        match self {
            Self::Q8_0 => GROUP,
            Self::Q4K => 8 * GROUP,
        }
    }

    /// Half floats that a block begins with, and dwords behind them.
    fn parts(self) -> (usize, usize) {
        match self {
            Self::Q8_0 => (1, 8),
            Self::Q4K => (2, 35),
        }
    }

    /// Bytes of a block of one column.
    fn bytes(self) -> usize {
        let (halves, dwords) = self.parts();
        2 * halves + 4 * dwords
    }
}

/// A product at fixed shapes.
#[derive(Clone, Copy)]
struct Product {
    format: Format,
    rows: usize,
    columns: usize,
    depth: usize,
    has_bias: bool,
}

/// The fast kernel, if there is one.
pub(crate) fn prepare(op: Op<'_>) -> Option<Box<dyn Kernel>> {
    let (x, weights) = (op.f32_shape(0)?, op.own(1).filter(|weights| weights.constant)?);
    let (&[columns, depth], Some(format)) = (&dims(weights)[..], Format::of(weights.dtype)) else { return None };
    let bias = op.own(2);
    if bias.is_some_and(|bias| bias.dtype != F32) || !op.0.epilogue.is_empty() || depth == 0 {
        return None;
    }
    let rows = count(&x) / depth;
    let product = Product { format, rows, columns, depth, has_bias: bias.is_some() };
    (product.space() <= SPACE_MAX && product.packed_bytes() <= u32::MAX as usize).then(|| Box::new(product) as _)
}

impl Product {
    fn blocks(&self) -> usize {
        self.depth / self.format.elements()
    }

    fn strips(&self) -> usize {
        self.columns.div_ceil(STRIP)
    }

    fn strip_bytes(&self) -> usize {
        STRIP * self.blocks() * self.format.bytes()
    }

    fn packed_bytes(&self) -> usize {
        self.strips() * self.strip_bytes()
    }

    /// Bytes of workspace.
    fn space(&self) -> usize {
        self.rows.min(ROWS) * self.depth / GROUP * size_of::<Group>()
    }
}

impl Kernel for Product {
    fn requirements(&self) -> Requirements {
        // Bytes at the speed of memory, numbers at that of multiplying.
        let bytes = self.packed_bytes() as f64 / 12.0;
        let numbers = self.rows as f64 * self.columns as f64 * self.depth as f64 / 16.0;
        let nanoseconds = bytes.max(numbers) as u64 + 500;
        Requirements {
            workspace: self.space() as u32,
            shards: shards_for(nanoseconds),
            packed: vec![PackedConstant {
                input: 1,
                bytes: self.packed_bytes() as u32,
                align: 64,
                key: format!("strips8 {:?} {} {}", self.format, self.columns, self.depth),
            }],
            estimated_ns: nanoseconds,
            ..Requirements::simple()
        }
    }

    fn pack(&self, _: u32, source: Reader<'_, u8>, packed: Writer<'_, u8>) -> Result<()> {
        let ((halves, dwords), bytes) = (self.format.parts(), self.format.bytes());
        let column_bytes = self.blocks() * bytes;
        for (column, block) in (0..self.columns).flat_map(|column| (0..self.blocks()).map(move |block| (column, block)))
        {
            let lane = column % STRIP;
            // SAFETY: the SDK checked that `source` holds the constant and `packed` the bytes that `requirements` asked for. A block of a strip
            // begins at the bytes of the strips and blocks before it, and has eight halves and dwords for each one of the format.
            unsafe {
                let from = source.as_ptr().add(column * column_bytes + block * bytes);
                let to = packed.as_mut_ptr().add((column - lane) * column_bytes + block * STRIP * bytes);
                for half in 0..halves {
                    let value = from.cast::<u16>().add(half).read_unaligned();
                    to.cast::<u16>().add(half * STRIP + lane).write_unaligned(value);
                }
                let (from, to) = (from.add(2 * halves).cast::<u32>(), to.add(2 * halves * STRIP).cast::<u32>());
                for dword in 0..dwords {
                    to.add(dword * STRIP + lane).write_unaligned(from.add(dword).read_unaligned());
                }
            }
        }
        Ok(())
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        let product = *self;
        let (x, weights, y) = (bindings.input::<f32>(0)?, bindings.packed::<u8>(1)?, bindings.output::<f32>(0)?);
        let bias = if product.has_bias { Some(bindings.input::<f32>(2)?) } else { None };
        Ok(Box::new(move |call: &Call| {
            let sheet = Sheet {
                product,
                x: call.read(&x).as_ptr(),
                weights: call.read(&weights).as_ptr(),
                bias: bias.as_ref().map_or(core::ptr::null(), |bias| call.read(bias).as_ptr()),
                y: call.write(&y).as_mut_ptr(),
            };
            let space = call.workspace::<u8>().as_mut_ptr().cast();
            let strips = call.share(product.strips(), 1);
            for first in (0..product.rows).step_by(ROWS) {
                // SAFETY: `bind` checked every view against shapes that `prepare` checked against each other, and the workspace has room for the rows.
                unsafe { sheet.run(first..product.rows.min(first + ROWS), strips.clone(), space) };
            }
            Ok(())
        }))
    }
}

/// The operands of a call.
struct Sheet {
    product: Product,
    x: *const f32,
    weights: *const u8,
    /// Null: none.
    bias: *const f32,
    y: *mut f32,
}

impl Sheet {
    /// Some rows times the columns of some strips.
    ///
    /// # Safety
    /// The operands are readable and writable as the product says; the groups of the rows have room at `space`.
    unsafe fn run(&self, rows: core::ops::Range<usize>, strips: core::ops::Range<usize>, space: *mut Group) {
        let Product { format, depth, .. } = self.product;
        let groups = depth / GROUP;
        let row = |number: usize| Row {
            x: self.x.wrapping_add(number * depth),
            groups: space.wrapping_add((number - rows.start) * groups),
        };
        // SAFETY: the rows and strips are the product's.
        unsafe {
            for number in rows.clone() {
                match format {
                    Format::Q8_0 => row(number).write::<2>(depth),
                    Format::Q4K => row(number).write::<3>(depth),
                }
            }
            for strip in strips {
                let weights = self.weights.add(strip * self.product.strip_bytes());
                for number in rows.clone() {
                    let mut sums = self.sums(weights, row(number), false);
                    // Floats say which of the numbers it is that is not finite.
                    if !(is_finite(sums[0]) && is_finite(sums[1])) {
                        sums = self.sums(weights, row(number), true);
                    }
                    self.store(number, strip, sums);
                }
            }
        }
    }

    /// # Safety
    /// As for [`Sheet::run`], with the strip at `weights`.
    unsafe fn sums(&self, weights: *const u8, row: Row, as_floats: bool) -> [v128; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            match self.product.format {
                Format::Q8_0 => bytes::strip(weights, self.product.blocks(), row, as_floats),
                Format::Q4K => halves::strip(weights, self.product.blocks(), row, as_floats),
            }
        }
    }

    /// # Safety
    /// As for [`Sheet::run`].
    unsafe fn store(&self, row: usize, strip: usize, sums: [v128; 2]) {
        for (half, mut sum) in sums.into_iter().enumerate() {
            let column = strip * STRIP + half * LANES;
            let Some(left) = self.product.columns.checked_sub(column).filter(|&left| left > 0) else { return };
            // SAFETY: `left` columns from `column` on are the product's.
            unsafe {
                let to = self.y.add(row * self.product.columns + column);
                if left >= LANES {
                    if !self.bias.is_null() {
                        sum = add(sum, load(self.bias.add(column)));
                    }
                    store(to, sum);
                } else {
                    if !self.bias.is_null() {
                        sum = add(sum, load_part(self.bias.add(column), left));
                    }
                    store_part(to, sum, left);
                }
            }
        }
    }
}

fn is_finite(v: v128) -> bool {
    let difference = f32x4_sub(v, v);
    i32x4_all_true(f32x4_eq(difference, difference))
}

/// Four half floats as floats: their bits are those of floats that are too small by a power of two, but for the infinite ones and NaNs.
///
/// # Safety
/// Eight bytes are readable at `from`.
#[inline(always)]
unsafe fn half_floats(from: *const u8) -> v128 {
    // SAFETY: the caller's promise.
    let bits = unsafe { u32x4_load_extend_u16x4(from.cast()) };
    let top = i32x4_splat(0x7C00);
    let size = i32x4_shl(v128_and(bits, i32x4_splat(0x7FFF)), 13);
    let scaled = f32x4_mul(size, f32x4_splat(f32::from_bits((127 + 112) << 23)));
    let endless = v128_and(i32x4_eq(v128_and(bits, top), top), i32x4_splat(0x7F80_0000));
    v128_or(v128_or(scaled, endless), i32x4_shl(v128_and(bits, i32x4_splat(0x8000)), 16))
}
