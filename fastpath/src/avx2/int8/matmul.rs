//! `MatMulInteger` and `sunmao.MatMulIntegerToFloat` with a constant right side, which is widened when it is packed. The left side is widened and
//! packed a block of rows at a time.

use super::super::lanes::{self, LANES};
use super::super::steps::Steps;
use super::finish;
use super::micro::{self, COLUMNS, ROWS, Sums};
use super::pack::{self, Less};
use super::{Bytes, is_scale, scale_each};
use crate::Avx2;
use crate::epilogue::{Along, Epilogue, Step};
use crate::registry::{LATEST, Row};
use crate::request::{Request, count};
use crate::settle::{Packing, kernel, needs, packed};
use std::arch::x86_64::*;
use std::ops::Range;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Element, Kernel, Reader, Writer};

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

/// Words of a block of the left side, in the workspace.
const LEFT_WORDS: usize = 100 * 1024;
/// Columns between two sweeps of the steps: what they work on is still in the second-level cache.
const STRETCH: usize = 256;

/// A product of bytes whose right side is one constant matrix for all matrices on the left, which are one tall one.
#[derive(Clone, Copy)]
struct Product {
    rows: usize,
    columns: usize,
    depth: usize,
    a_flip: u8,
    b: Less,
}

impl Product {
    /// `zeros` are the inputs that hold the zero points.
    fn of(request: Request<'_>, zeros: [usize; 2], output: &[usize]) -> Option<Self> {
        let (a, b) = (Bytes::input(request, 0)?, Bytes::input(request, 1)?);
        let (&[ref stack @ .., rows, depth], &[ref ones @ .., inner, columns]) = (&a.shape[..], &b.shape[..]) else {
            return None;
        };
        let (batch, expected) = (count(stack), [stack, &[rows, columns]].concat());
        let fits = inner == depth
            && ones.len() <= stack.len()
            && count(ones) == 1
            && output == expected
            && request.operand(1)?.constant
            && (request.operand(zeros[0]).is_none() || a.has_zero(request, zeros[0]));
        let b_less = Less { flip: b.flip, zero: b.settled_zero(request, zeros[1])? };
        let product = Self { rows: batch * rows, columns, depth, a_flip: a.flip, b: b_less };
        // A tile of the left side must fit.
        (fits && product.pairs() * ROWS <= LEFT_WORDS).then_some(product)
    }

    fn pairs(&self) -> usize {
        self.depth.div_ceil(2)
    }

    /// Rows of a block of the left side, whole tiles.
    fn height(&self) -> usize {
        let most = (LEFT_WORDS / self.pairs().max(1) / ROWS * ROWS).max(ROWS);
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
        let (pairs, height) = (self.pairs(), self.height());
        let work = self.rows as f64 * self.columns as f64 * (pairs * 2) as f64;
        let units = self.rows.div_ceil(ROWS).max(self.columns.div_ceil(COLUMNS));
        let mut requirements = needs(work / 50.0 + extra, units);
        requirements.workspace = u32::try_from(height.checked_mul(pairs)?.checked_mul(4)?).ok()?;
        let key = format!("avx2-int8-right {}x{} {} {}", self.depth, self.columns, self.b.flip, self.b.zero);
        requirements.packed = vec![packed(1, pack::right_words(self.columns, pairs), key)?];
        let pack = move |source: Reader<'_, u8>, to: Writer<'_, u8>| {
            // SAFETY: the kernel checked that `source` holds the matrix and `to` has room for the packed one.
            unsafe { pack::right(source.as_ptr(), self.depth, self.columns, self.b, to.as_mut_ptr().cast()) };
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
        let (pairs, height) = (self.pairs(), self.height());
        let mut sums = Sums::ZERO;
        for first in rows.clone().step_by(height) {
            let end = rows.end.min(first + height);
            // SAFETY: the rows are the matrix's and at most a block.
            unsafe { pack::left_rows(a.add(first * self.depth), end - first, self.depth, less, left) };
            for stretch in columns.clone().step_by(STRETCH) {
                let stretch_end = columns.end.min(stretch + STRETCH);
                for panel in (stretch..stretch_end).step_by(COLUMNS) {
                    let wide = COLUMNS.min(stretch_end - panel);
                    let right = b.wrapping_add(panel * pairs);
                    for tile in (first..end).step_by(ROWS) {
                        let tall = ROWS.min(end - tile);
                        // SAFETY: both sides hold `pairs` words for each row of the tile and column of the panel; rows and columns are the results'.
                        unsafe {
                            micro::multiply(pairs, left.add((tile - first) * pairs), right, tall, wide, &mut sums);
                            for r in 0..tall {
                                let at = (tile + r) * self.columns + panel;
                                store.put(at, panel, finish::load(sums.0[r].as_ptr()), wide);
                            }
                        }
                    }
                }
                for row in first..end {
                    // SAFETY: the stretch of the row was stored just now.
                    unsafe { store.sweep(row * self.columns + stretch, row, stretch, stretch_end - stretch) };
                }
            }
        }
    }
}

/// What becomes of sums: bound to operands, then opened for a call.
trait Finish: Send + Sync {
    type Bound: Send + Sync + 'static;
    type Open: Store;
    fn bind(&self, bindings: &sunmao_plugin_sdk::Bindings<'_>) -> sunmao_plugin_sdk::Result<Self::Bound>;
    fn open(bound: &Self::Bound, call: &Call) -> Self::Open;
}

/// Stores results of one call.
trait Store {
    /// Stores the first `count` of sixteen sums from place `at` of the output on, which lie in columns from `column` on.
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA; the places are the output's and the caller's to write.
    unsafe fn put(&self, at: usize, column: usize, sums: [__m256i; 2], count: usize);

    /// What is done to a stretch of a row once it is stored.
    ///
    /// # Safety
    /// As for [`Store::put`].
    unsafe fn sweep(&self, at: usize, row: usize, column: usize, count: usize);
}

/// The sums themselves.
struct Plain;

struct OpenSums(*mut i32);

impl Finish for Plain {
    type Bound = sunmao_plugin_sdk::Output<i32>;
    type Open = OpenSums;

    fn bind(&self, bindings: &sunmao_plugin_sdk::Bindings<'_>) -> sunmao_plugin_sdk::Result<Self::Bound> {
        bindings.output(0)
    }

    fn open(bound: &Self::Bound, call: &Call) -> OpenSums {
        OpenSums(call.write(bound).as_mut_ptr())
    }
}

impl Store for OpenSums {
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn put(&self, at: usize, _: usize, sums: [__m256i; 2], count: usize) {
        let mut all = [0i32; COLUMNS];
        // SAFETY: `all` holds sixteen words, of which `count` go to places that are the output's.
        unsafe {
            _mm256_storeu_si256(all.as_mut_ptr().cast(), sums[0]);
            _mm256_storeu_si256(all.as_mut_ptr().add(LANES).cast(), sums[1]);
            std::ptr::copy_nonoverlapping(all.as_ptr(), self.0.add(at), count);
        }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn sweep(&self, _: usize, _: usize, _: usize, _: usize) {}
}

fn sums(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let [Some(output)] = request.operation().outputs.as_slice() else { return None };
    if output.dtype != i32::DTYPE || !request.operation().epilogue.is_empty() {
        return None;
    }
    let shape: Vec<usize> = output.shape.iter().map(|&d| d as usize).collect();
    Product::of(request, [2, 3], &shape)?.kernel(token, 2, 0.0, Plain)
}

/// Floats: sums times both scales, and then steps.
struct Scaled {
    each: bool,
    epilogue: Epilogue,
}

struct BoundScaled {
    each: bool,
    a_scale: sunmao_plugin_sdk::Input<f32>,
    b_scale: sunmao_plugin_sdk::Input<f32>,
    output: sunmao_plugin_sdk::Output<f32>,
    epilogue: crate::epilogue::BoundEpilogue,
}

struct OpenScaled {
    a_scale: f32,
    b_scale: *const f32,
    each: bool,
    results: *mut f32,
    steps: Steps,
}

impl Finish for Scaled {
    type Bound = BoundScaled;
    type Open = OpenScaled;

    fn bind(&self, bindings: &sunmao_plugin_sdk::Bindings<'_>) -> sunmao_plugin_sdk::Result<BoundScaled> {
        Ok(BoundScaled {
            each: self.each,
            a_scale: bindings.input(2)?,
            b_scale: bindings.input(3)?,
            output: bindings.output(0)?,
            epilogue: self.epilogue.bind(bindings)?,
        })
    }

    fn open(bound: &BoundScaled, call: &Call) -> OpenScaled {
        OpenScaled {
            a_scale: call.read(&bound.a_scale).get(0),
            b_scale: call.read(&bound.b_scale).as_ptr(),
            each: bound.each,
            results: call.write(&bound.output).as_mut_ptr(),
            steps: Steps::open(&bound.epilogue, call),
        }
    }
}

impl Store for OpenScaled {
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn put(&self, at: usize, column: usize, sums: [__m256i; 2], count: usize) {
        let a_scale = _mm256_set1_ps(self.a_scale);
        for half in 0..2 {
            let count = count.saturating_sub(half * LANES).min(LANES);
            if count == 0 {
                return;
            }
            // SAFETY: `count` columns from `column` on have a scale and a place in the output.
            unsafe {
                let b_scale = match self.each {
                    true => _mm256_maskload_ps(self.b_scale.add(column + half * LANES), lanes::first(count)),
                    false => _mm256_set1_ps(self.b_scale.read()),
                };
                let real = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[half]), _mm256_mul_ps(a_scale, b_scale));
                let to = self.results.add(at + half * LANES);
                match count {
                    LANES => _mm256_storeu_ps(to, real),
                    count => lanes::store_first(to, real, count),
                }
            }
        }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn sweep(&self, at: usize, row: usize, column: usize, count: usize) {
        if !self.steps.is_empty() {
            // SAFETY: the stretch is the caller's to write, and its operands have an element for each column or result.
            unsafe { self.steps.apply(self.results.add(at), count, row, column, at) };
        }
    }
}

fn scaled(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let output = request.output()?;
    let product = Product::of(request, [4, 5], &output)?;
    if !is_scale(request, 2) {
        return None;
    }
    let each = scale_each(request, 3, product.columns)?;
    let mut steps = Vec::new();
    if request.operand(6).is_some() {
        if request.input(6)? != [product.columns] {
            return None;
        }
        steps.push(Step::Add { addend: 6, along: Along::Columns, factor: 1.0 });
    }
    let epilogue = Epilogue::plan(request, steps, Along::Columns, product.columns)?;
    let cost = epilogue.cost(product.rows * product.columns);
    product.kernel(token, 4, cost, Scaled { each, epilogue })
}
