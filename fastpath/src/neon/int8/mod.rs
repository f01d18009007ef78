//! `MatMulInteger` and `sunmao.MatMulIntegerToFloat` with a constant right side, by products of bytes by fours: sums are exact, and wrap at 32 bits as the
//! portable kernels' do.
//!
//! `sdot` multiplies signed bytes. An unsigned byte with its top bit flipped is a signed one that is 128 smaller, and so is its zero point: the difference
//! of the two, which is what is asked for, stays. With `a`, `b` signed and `x`, `y` their zero points, the sum of `(a - x) (b - y)` over a depth of `k` is
//! that of `a b`, less `y` times that of `a`, less `x` times that of `b`, and `k x y`.

mod dot;
mod pack;

use crate::Dotprod;
use crate::bytes::{self, Less};
use crate::epilogue::{BoundEpilogue, Epilogue};
use crate::neon::steps;
use crate::registry::{LATEST, Row};
use crate::request::Request;
use crate::settle::{Packing, kernel, needs, packed};
use crate::steps::Steps;
use dot::{COLUMNS, ROWS, VECTORS};
use std::arch::aarch64::*;
use std::ops::Range;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Bindings, Call, Input, Kernel, Output, Reader, Result, Writer};

/// Bytes along the depth that one instruction multiplies.
const QUAD: usize = 4;
/// Floats, or sums, in a vector.
const LANES: usize = 4;
/// Words of a block of the left side, in the workspace: half of a second-level cache of 512 KiB.
const LEFT_WORDS: usize = 64 * 1024;
/// Most rows of one.
const BLOCK_ROWS: usize = 128;

pub(super) fn rows() -> Vec<Row<Dotprod>> {
    let row = |operator, revisions, tolerance, prepare| Row {
        operator,
        path: "neon-int8-gemm",
        revisions,
        tolerance,
        prepare,
    };
    vec![
        row("MatMulInteger", (10, LATEST), Tolerance::Exact, sums),
        row("sunmao.MatMulIntegerToFloat", (1, LATEST), Tolerance::Accumulate(1.0), scaled),
    ]
}

fn sums(token: Dotprod, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    Product::of(bytes::sums(request)?)?.kernel(token, bytes::SUMS_ZEROS[0], 0.0, Finish::Sums)
}

fn scaled(token: Dotprod, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let (product, each, epilogue) = bytes::scaled(request)?;
    let cost = epilogue.cost(product.rows * product.columns);
    Product::of(product)?.kernel(token, bytes::SCALED_ZEROS[0], cost, Finish::Scaled { each, epilogue })
}

/// The byte that is multiplied in place of one that `flip` makes unsigned.
fn signed(byte: u8, flip: u8) -> i8 {
    (byte ^ flip ^ 0x80) as i8
}

/// A product of bytes, by tiles.
#[derive(Clone, Copy)]
struct Product {
    rows: usize,
    columns: usize,
    depth: usize,
    a_flip: u8,
    b: Less,
}

impl Product {
    /// None: a tile of the left side does not fit.
    fn of(bytes::Product { rows, columns, depth, a_flip, b }: bytes::Product) -> Option<Self> {
        let product = Self { rows, columns, depth, a_flip, b };
        (pack::left_words(ROWS, product.quads()) <= LEFT_WORDS).then_some(product)
    }

    fn quads(&self) -> usize {
        self.depth.div_ceil(QUAD)
    }

    /// Rows of a block of the left side, whole tiles.
    fn height(&self) -> usize {
        let most = LEFT_WORDS / pack::left_words(ROWS, self.quads()) * ROWS;
        most.min(BLOCK_ROWS).min(self.rows.next_multiple_of(ROWS)).max(ROWS)
    }

    /// Rows and columns of this shard's share.
    fn part(&self, call: &Call) -> (Range<usize>, Range<usize>) {
        match self.rows.div_ceil(ROWS) >= self.columns.div_ceil(COLUMNS) {
            true => (call.share(self.rows, ROWS), 0..self.columns),
            false => (0..self.rows, call.share(self.columns, COLUMNS)),
        }
    }

    /// The kernel; `zero` is the input that holds the left side's zero point.
    fn kernel(self, token: Dotprod, zero: usize, extra: f64, finish: Finish) -> Option<Box<dyn Kernel>> {
        let quads = self.quads();
        let work = self.rows as f64 * self.columns as f64 * (quads * QUAD) as f64;
        let units = self.rows.div_ceil(ROWS).max(self.columns.div_ceil(COLUMNS));
        // An estimate and no measurement: 32 multiplications and additions a nanosecond.
        let mut requirements = needs(work / 32.0 + extra, units);
        requirements.workspace = (pack::left_words(self.height(), quads) * 4) as u32;
        let key = format!("neon-int8-columns {}x{} {} {}", self.depth, self.columns, self.b.flip, self.b.zero);
        requirements.packed = vec![packed(1, pack::right_words(self.columns, quads)?, key)?];
        let pack = move |source: Reader<'_, u8>, to: Writer<'_, u8>| {
            let byte = |k: usize, column: usize| signed(source.get(k * self.columns + column), self.b.flip);
            // SAFETY: the kernel checked that `to` has room for the packed matrix.
            unsafe { pack::right(self.depth, self.columns, to.as_mut_ptr().cast(), byte) };
        };
        let packing = Packing { source_bytes: self.depth * self.columns, pack: Box::new(pack) };
        Some(kernel(requirements, Some(packing), move |bindings| {
            let (a, b) = (bindings.input_bits::<u8>(0)?, bindings.packed::<i32>(1)?);
            let zero = if bindings.has_input(zero) { Some(bindings.input_bits::<u8>(zero)?) } else { None };
            let bound = finish.bind(bindings)?;
            Ok(Box::new(move |call: &Call| {
                let a_zero = signed(zero.as_ref().map_or(0, |zero| call.read(zero).get(0)), self.a_flip);
                let (rows, columns) = self.part(call);
                let run = Run {
                    product: self,
                    a: call.read(&a).as_ptr(),
                    a_zero: i32::from(a_zero),
                    b: call.read(&b).as_ptr(),
                    left: call.workspace::<i32>().as_mut_ptr(),
                    store: bound.open(call),
                };
                let _proof: Dotprod = token;
                // SAFETY: the token proves NEON and its products of bytes. `bytes::Product` matched the shapes of the operands, and the bindings with
                // the shapes; parts of shards are disjoint; the workspace has the size that was asked for.
                unsafe { run.part(rows, columns) };
                Ok(())
            }))
        }))
    }
}

/// One call.
struct Run {
    product: Product,
    a: *const u8,
    a_zero: i32,
    b: *const i32,
    left: *mut i32,
    store: Store,
}

impl Run {
    /// # Safety
    /// The CPU has NEON and its products of bytes; the left matrix and the packed right one are readable; `left` has room for a block; rows and columns
    /// begin at whole tiles and panels; the results are writable, and that part nobody else's.
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn part(&self, rows: Range<usize>, columns: Range<usize>) {
        let Product { depth, a_flip, .. } = self.product;
        let (quads, height) = (self.product.quads(), self.product.height());
        for first in rows.clone().step_by(height) {
            let block = first..rows.end.min(first + height);
            // SAFETY: the rows are the matrix's and at most a block; each panel begins at a whole one.
            unsafe {
                pack::left(self.a.add(first * depth), block.len(), depth, a_flip, self.left);
                for column in columns.clone().step_by(COLUMNS) {
                    let panel = self.b.add(column / COLUMNS * pack::panel_words(quads));
                    self.panel(block.clone(), panel, column);
                }
                self.store.sweep(block, columns.clone(), self.product.columns);
            }
        }
    }

    /// Multiplies a block with a panel.
    ///
    /// # Safety
    /// As for [`Run::part`]; `left` holds the rows' block, and `panel` is that of `column`.
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn panel(&self, rows: Range<usize>, panel: *const i32, column: usize) {
        let quads = self.product.quads();
        let count = COLUMNS.min(self.product.columns - column);
        let b_zero = i32::from((self.product.b.zero ^ 0x80) as i8);
        // SAFETY: the panel is packed, and its columns are the output's; `left` holds the tiles before each.
        unsafe {
            let start = self.start(panel, b_zero);
            let factors = self.store.factors(column, count);
            for row in rows.clone().step_by(ROWS) {
                let tile = self.left.cast_const().add(pack::left_words(row - rows.start, quads));
                let valid = ROWS.min(rows.end - row);
                let mut sums = [[vdupq_n_s32(0); VECTORS]; ROWS];
                dot::multiply(quads, valid, tile, panel, count, &mut sums);
                for r in 0..valid {
                    // Behind the quads of the tile: the sum of the row.
                    let less = vdupq_n_s32(tile.add(quads * ROWS + r).read().wrapping_mul(b_zero));
                    let at = (row + r) * self.product.columns + column;
                    for v in 0..count.div_ceil(LANES) {
                        let sum = vsubq_s32(vaddq_s32(sums[r][v], start[v]), less);
                        self.store.put(at + v * LANES, sum, factors[v], LANES.min(count - v * LANES));
                    }
                }
            }
        }
    }

    /// What is added to the sums of a panel's columns for the left side's zero point.
    ///
    /// # Safety
    /// The CPU has NEON; a packed panel is readable.
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn start(&self, panel: *const i32, b_zero: i32) -> [int32x4_t; VECTORS] {
        let both = vdupq_n_s32((self.product.depth as i32).wrapping_mul(self.a_zero).wrapping_mul(b_zero));
        let mut start = [both; VECTORS];
        for v in 0..VECTORS {
            // SAFETY: behind its quads the panel holds a sum for each column.
            let sums = unsafe { vld1q_s32(panel.add(self.product.quads() * COLUMNS + v * LANES)) };
            start[v] = vmlsq_s32(both, sums, vdupq_n_s32(self.a_zero));
        }
        start
    }
}

/// What becomes of sums: they are stored as they are, or as floats, times both scales, and then steps.
enum Finish {
    Sums,
    Scaled {
        /// Columns have a scale each.
        each: bool,
        epilogue: Epilogue,
    },
}

enum BoundFinish {
    Sums(Output<i32>),
    Scaled { each: bool, a_scale: Input<f32>, b_scale: Input<f32>, output: Output<f32>, epilogue: BoundEpilogue },
}

impl Finish {
    fn bind(&self, bindings: &Bindings<'_>) -> Result<BoundFinish> {
        Ok(match self {
            Self::Sums => BoundFinish::Sums(bindings.output(0)?),
            Self::Scaled { each, epilogue } => BoundFinish::Scaled {
                each: *each,
                a_scale: bindings.input(2)?,
                b_scale: bindings.input(3)?,
                output: bindings.output(0)?,
                epilogue: epilogue.bind(bindings)?,
            },
        })
    }
}

impl BoundFinish {
    fn open(&self, call: &Call) -> Store {
        match self {
            Self::Sums(output) => Store::Sums(call.write(output).as_mut_ptr()),
            Self::Scaled { each, a_scale, b_scale, output, epilogue } => Store::Scaled {
                each: *each,
                a_scale: call.read(a_scale).get(0),
                b_scale: call.read(b_scale).as_ptr(),
                results: call.write(output).as_mut_ptr(),
                steps: Steps::open(epilogue, call),
            },
        }
    }
}

/// Stores results of one call.
enum Store {
    Sums(*mut i32),
    Scaled { each: bool, a_scale: f32, b_scale: *const f32, results: *mut f32, steps: Steps },
}

impl Store {
    /// What the sums of `count` columns from `column` on are multiplied by.
    ///
    /// # Safety
    /// The CPU has NEON; the columns are the output's.
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn factors(&self, column: usize, count: usize) -> [float32x4_t; VECTORS] {
        let mut factors = [vdupq_n_f32(1.0); VECTORS];
        if let Self::Scaled { each, a_scale, b_scale, .. } = *self {
            let mut all = [a_scale; COLUMNS];
            for c in 0..count {
                // SAFETY: each column has a scale, or all have one.
                all[c] = a_scale * unsafe { b_scale.add(if each { column + c } else { 0 }).read() };
            }
            for v in 0..VECTORS {
                // SAFETY: vector `v` lies inside the array.
                factors[v] = unsafe { vld1q_f32(all.as_ptr().add(v * LANES)) };
            }
        }
        factors
    }

    /// Stores the first `count` sums of a vector from place `at` of the output on.
    ///
    /// # Safety
    /// The CPU has NEON; the places are the output's and the caller's to write.
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn put(&self, at: usize, sums: int32x4_t, factors: float32x4_t, count: usize) {
        let (to, words) = match *self {
            Self::Sums(results) => (results.cast::<f32>(), vreinterpretq_f32_s32(sums)),
            Self::Scaled { results, .. } => (results, vmulq_f32(vcvtq_f32_s32(sums), factors)),
        };
        // SAFETY: `count` places from there on are the output's.
        unsafe {
            match count {
                LANES => vst1q_f32(to.add(at), words),
                count => crate::neon::lanes::store_first(to.add(at), words, count),
            }
        }
    }

    /// What is done to rows and columns once they are stored, in an output of `width` columns.
    ///
    /// # Safety
    /// As for [`Store::put`].
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn sweep(&self, rows: Range<usize>, columns: Range<usize>, width: usize) {
        let Self::Scaled { results, steps, .. } = self else { return };
        if steps.is_empty() {
            return;
        }
        for row in rows {
            let at = row * width + columns.start;
            // SAFETY: the stretch is the caller's to write, and its operands have an element for each column or result.
            unsafe { steps::apply(steps, results.add(at), columns.len(), row, columns.start, at) };
        }
    }
}
