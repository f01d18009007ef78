//! `MatMulInteger` and `sunmao.MatMulIntegerToFloat` with a constant right side. The left side is packed a block of rows at a time.

use super::columns;
use super::micro::{COLUMNS, ROWS};
use super::outcome::{Finish, Plain, Scaled, Store};
use super::pack::Less;
use super::quads::QUAD;
use crate::Avx2;
use crate::avx2::Row;
use crate::bytes;
use crate::registry::LATEST;
use crate::request::Request;
use crate::settle::{Packing, kernel, needs, packed};
use std::arch::x86_64::__m256i;
use std::ops::Range;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Reader, Writer};

pub(crate) fn rows() -> Vec<Row> {
    let row = |operator, revisions, tolerance, prepare| Row {
        operator,
        path: "avx2-int8-gemm",
        revisions,
        tolerance,
        prepare,
    };
    vec![
        row("MatMulInteger", (10, LATEST), Tolerance::Exact, sums),
        row("sunmao.MatMulIntegerToFloat", (1, LATEST), Tolerance::Accumulate(1.0), scaled),
    ]
}

/// Words of a block of the left side, in the workspace: most of a second-level cache of 512 KiB.
const LEFT_WORDS: usize = 96 * 1024;
/// Columns between two sweeps of the steps: what they work on is still in the second-level cache.
const STRETCH: usize = 256;

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
        (columns::left_words(ROWS, product.quads()) <= LEFT_WORDS).then_some(product)
    }

    fn quads(&self) -> usize {
        self.depth.div_ceil(QUAD)
    }

    /// Rows of a block of the left side, whole tiles.
    fn height(&self) -> usize {
        let most = (LEFT_WORDS / columns::left_words(ROWS, self.quads()).max(1) * ROWS).max(ROWS);
        most.min(self.rows.next_multiple_of(ROWS)).max(ROWS)
    }

    fn by_rows(&self) -> bool {
        self.rows.div_ceil(ROWS) >= self.columns.div_ceil(COLUMNS)
    }

    /// Rows and columns of this shard's share.
    fn part(&self, call: &Call) -> (Range<usize>, Range<usize>) {
        match self.by_rows() {
            true => (call.share(self.rows, ROWS), 0..self.columns),
            false => (0..self.rows, call.share(self.columns, COLUMNS)),
        }
    }

    /// The kernel; `finish` makes what stores results in a call, from its bindings.
    fn kernel<F: Finish + 'static>(self, token: Avx2, zero: usize, extra: f64, finish: F) -> Option<Box<dyn Kernel>> {
        let (quads, height) = (self.quads(), self.height());
        let work = self.rows as f64 * self.columns as f64 * (quads * QUAD) as f64;
        let units = self.rows.div_ceil(ROWS).max(self.columns.div_ceil(COLUMNS));
        let mut requirements = needs(work / 75.0 + extra, units);
        requirements.workspace = u32::try_from(columns::left_words(height, quads).checked_mul(4)?).ok()?;
        let key = format!("avx2-int8-columns {}x{} {} {}", self.depth, self.columns, self.b.flip, self.b.zero);
        requirements.packed = vec![packed(1, columns::right_words(self.columns, quads)?, key)?];
        let pack = move |source: Reader<'_, u8>, to: Writer<'_, u8>| {
            let number = |row: usize, column: usize| self.b.number(source.get(row * self.columns + column));
            // SAFETY: the kernel checked that `to` has room for the packed matrix.
            unsafe { columns::pack_right(self.depth, self.columns, to.as_mut_ptr().cast(), number) };
        };
        let packing = Packing { source_bytes: self.depth * self.columns, pack: Box::new(pack) };
        Some(kernel(requirements, Some(packing), move |bindings| {
            let (a, b) = (bindings.input_bits::<u8>(0)?, bindings.packed::<i32>(1)?);
            let zero = if bindings.has_input(zero) { Some(bindings.input_bits::<u8>(zero)?) } else { None };
            let bound = finish.bind(bindings)?;
            Ok(Box::new(move |call: &Call| {
                let less = Less {
                    flip: self.a_flip,
                    zero: zero.as_ref().map_or(0, |zero| call.read(zero).get(0)) ^ self.a_flip,
                };
                let store = F::open(&bound, call);
                let (a, b) = (call.read(&a).as_ptr(), call.read(&b).as_ptr());
                let left = call.workspace::<i32>().as_mut_ptr();
                let (rows, columns) = self.part(call);
                let _proof: Avx2 = token;
                // SAFETY: the token proves AVX2 and FMA. `of` matched the shapes of the operands with the product, and the bindings with the shapes;
                // parts of shards are disjoint; the workspace has the size that was asked for.
                unsafe { self.run(a, less, b, left, rows, columns, &store) };
                Ok(())
            }))
        }))
    }

    /// # Safety
    /// The CPU has AVX2 and FMA; the left matrix and the packed right one are readable; `left` has room for a block; rows and columns begin at whole
    /// tiles and panels; the results are writable, and that part nobody else's.
    #[target_feature(enable = "avx2,fma")]
    #[allow(clippy::too_many_arguments, reason = "each is an operand of the one inner loop")]
    unsafe fn run<S: Store>(
        &self,
        a: *const u8,
        less: Less,
        b: *const i32,
        left: *mut i32,
        rows: Range<usize>,
        columns: Range<usize>,
        store: &S,
    ) {
        for first in rows.clone().step_by(self.height()) {
            let block = first..rows.end.min(first + self.height());
            // SAFETY: the rows are the matrix's and at most a block.
            unsafe { columns::pack_left(a.add(first * self.depth), block.len(), self.depth, less.flip, left) };
            for stretch in columns.clone().step_by(STRETCH) {
                let end = columns.end.min(stretch + STRETCH);
                for column in (stretch..end).step_by(COLUMNS) {
                    // SAFETY: the block was packed just now; rows and columns are the results'.
                    unsafe {
                        let panel = columns::panel(b, column / COLUMNS);
                        match end - column {
                            9.. => self.panel::<S, 2>(left, less.zero, panel, block.clone(), column, store),
                            _ => self.panel::<S, 1>(left, less.zero, panel, block.clone(), column, store),
                        }
                    }
                }
                for row in block.clone() {
                    // SAFETY: the stretch of the row was stored just now.
                    unsafe { store.sweep(row * self.columns + stretch, row, stretch, end - stretch) };
                }
            }
        }
    }

    /// Multiplies a block with a panel, of which `C` vectors hold columns.
    ///
    /// # Safety
    /// As for [`Product::run`]; `left` holds the rows' block, and `panel` is that of `column`.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn panel<S: Store, const C: usize>(
        &self,
        left: *const i32,
        zero: u8,
        panel: *const i32,
        rows: Range<usize>,
        column: usize,
        store: &S,
    ) {
        let count = COLUMNS.min(self.columns - column);
        // SAFETY: the panel is packed, and its columns are the output's; `left` holds the tiles before each.
        unsafe {
            let (start, factors) = (columns::start(panel, zero), store.factors(column, count));
            for row in rows.clone().step_by(ROWS) {
                let tile = left.add(columns::left_words(row - rows.start, self.quads()));
                let at = row * self.columns + column;
                match rows.end - row {
                    1 => self.tile::<S, 1, C>(tile, panel, start, store, &factors, at, count),
                    2 => self.tile::<S, 2, C>(tile, panel, start, store, &factors, at, count),
                    3 => self.tile::<S, 3, C>(tile, panel, start, store, &factors, at, count),
                    4 => self.tile::<S, 4, C>(tile, panel, start, store, &factors, at, count),
                    5 => self.tile::<S, 5, C>(tile, panel, start, store, &factors, at, count),
                    _ => self.tile::<S, 6, C>(tile, panel, start, store, &factors, at, count),
                }
            }
        }
    }

    /// Multiplies `R` rows with a panel, and stores the results from place `at` on.
    ///
    /// # Safety
    /// As for [`Product::panel`].
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    #[allow(clippy::too_many_arguments, reason = "each is an operand of the one inner loop")]
    unsafe fn tile<S: Store, const R: usize, const C: usize>(
        &self,
        tile: *const i32,
        panel: *const i32,
        start: [__m256i; 2],
        store: &S,
        factors: &S::Factors,
        at: usize,
        count: usize,
    ) {
        // SAFETY: tile and panel are packed; `R` rows of `count` results are the caller's to write.
        unsafe {
            let sums = columns::multiply::<R, C>(self.quads(), tile, panel, start);
            for r in 0..R {
                store.put(at + r * self.columns, factors, &sums[r], count);
            }
        }
    }
}

fn sums(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    Product::of(bytes::sums(request)?)?.kernel(token, bytes::SUMS_ZEROS[0], 0.0, Plain)
}

fn scaled(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let (product, each, epilogue) = bytes::scaled(request)?;
    let cost = epilogue.cost(product.rows * product.columns);
    Product::of(product)?.kernel(token, bytes::SCALED_ZEROS[0], cost, Scaled { each, epilogue })
}
