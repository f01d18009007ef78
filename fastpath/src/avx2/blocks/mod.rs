//! `sunmao.QMatMul`: rows of floats times constant block-quantised weights, `[.., k]` by `[n, k]`.
//!
//! Few rows wait for the weights to arrive from memory: they are read once, in one stream, and multiplied in registers (`few`; one row of some formats
//! in whole numbers, `fixed`). For many rows they are decoded into panels of an ordinary product.

mod few;
mod fixed;
mod layout;
mod numbers;
mod panels;

use super::lanes::{self, LANES};
use super::product::{LeftForm, Product, RightForm};
use super::steps;
use crate::Avx2;
use crate::avx2::Row;
use crate::epilogue::{Along, BoundEpilogue, Epilogue, Step};
use crate::product::Addresses;
use crate::registry::LATEST;
use crate::request::{Request, count};
use crate::settle::{Packing, WORKSPACE_FLOATS, kernel, needs, packed};
use crate::steps::Steps;
use layout::{Format, GROUP};
pub(super) use panels::Panels;
use std::arch::x86_64::*;
use sunmao_plugin_sdk::abi::{PackedConstant, Tolerance};
use sunmao_plugin_sdk::{Bindings, Call, Dispatch, Input, Kernel, Output, Reader, Result, Writer};

pub(crate) fn rows() -> Vec<Row> {
    vec![Row {
        operator: "sunmao.QMatMul",
        path: "avx2-blocks",
        revisions: (1, LATEST),
        tolerance: Tolerance::Accumulate(1.0),
        prepare: block_matmul,
    }]
}

/// With more rows than this, the weights are decoded into panels.
const ROWS_FEW: usize = 12;

/// Shapes and format of a product.
#[derive(Clone, Copy)]
struct Plan {
    format: Format,
    rows: usize,
    columns: usize,
    depth: usize,
}

impl Plan {
    fn of(request: Request<'_>) -> Option<Self> {
        let (x, weights) = (request.input(0)?, request.operand(1).filter(|weights| weights.constant)?);
        let (Some((&depth, stack)), &[columns, inner]) = (x.split_last(), &weights.shape[..]) else { return None };
        let (format, columns) = (Format::of(weights.dtype)?, columns as usize);
        let fits = inner as usize == depth && depth.is_multiple_of(GROUP * format.groups());
        let plan = Self { format, rows: count(stack), columns, depth };
        (fits && request.output()? == [stack, &[columns]].concat()).then_some(plan)
    }

    fn blocks(&self) -> usize {
        self.depth / (GROUP * self.format.groups())
    }

    fn strips(&self) -> usize {
        self.columns.div_ceil(LANES)
    }

    /// Bytes of a strip.
    fn strip_bytes(&self) -> usize {
        LANES * self.blocks() * self.format.bytes()
    }

    /// Whether the row is multiplied in whole numbers.
    fn is_fixed(&self) -> bool {
        self.rows == 1 && self.format == Format::Q4K && fixed::bytes(self.depth) <= 4 * WORKSPACE_FLOATS
    }

    fn packed(&self) -> Option<(PackedConstant, Packing)> {
        let Self { format, columns, depth, .. } = *self;
        let blocks = self.blocks();
        let key = format!("avx2-blocks {format:?} {columns}x{depth}");
        // Strips are whole vectors.
        let constant = packed(1, self.strips() * self.strip_bytes() / 4, key)?;
        let pack = move |source: Reader<'_, u8>, to: Writer<'_, u8>| {
            // SAFETY: the kernel checked that `source` holds the matrix and `to` has room for its strips, which start as zeros.
            unsafe { layout::pack(format, columns, blocks, source.as_ptr(), to.as_mut_ptr()) };
        };
        Some((constant, Packing { source_bytes: columns * blocks * format.bytes(), pack: Box::new(pack) }))
    }
}

fn block_matmul(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let plan = Plan::of(request)?;
    let mut steps = Vec::new();
    if request.operand(2).is_some() {
        if request.input(2)? != [plan.columns] {
            return None;
        }
        steps.push(Step::Add { addend: 2, along: Along::Columns, factor: 1.0 });
    }
    let epilogue = Epilogue::plan(request, steps, Along::Columns, plan.columns)?;
    let extra = epilogue.cost(plan.rows * plan.columns);
    let (constant, packing) = plan.packed()?;
    if plan.rows > ROWS_FEW {
        let left = LeftForm::Strided { row: plan.depth, step: 1 };
        let panels = Panels::new(plan.format, plan.strips(), plan.strip_bytes());
        let product = Product::new(plan.rows, plan.columns, plan.depth, left, RightForm::Blocks(panels));
        let mut requirements = needs(product.cost() + extra, product.units(1));
        requirements.workspace = product.workspace_bytes();
        requirements.packed = vec![constant];
        return Some(kernel(requirements, [packing], move |bindings| {
            let operands = Operands::of(bindings, &epilogue)?;
            Ok(Box::new(move |call: &Call| {
                operands.multiply_many(token, product, call);
                Ok(())
            }) as Box<dyn Dispatch>)
        }));
    }
    // Bytes at the speed of memory, or numbers at that of decoding and multiplying.
    let bytes = (plan.strips() * plan.strip_bytes()) as f64;
    let numbers = (plan.columns * plan.depth) as f64;
    let cost = (bytes / 16.0).max(numbers * (2 + plan.rows) as f64 / 60.0);
    let mut requirements = needs(cost + extra, plan.strips());
    requirements.workspace = if plan.is_fixed() { fixed::bytes(plan.depth) as u32 } else { 0 };
    requirements.packed = vec![constant];
    Some(kernel(requirements, [packing], move |bindings| {
        let operands = Operands::of(bindings, &epilogue)?;
        Ok(Box::new(move |call: &Call| {
            operands.multiply_few(token, plan, call);
            Ok(())
        }) as Box<dyn Dispatch>)
    }))
}

/// What a dispatch works on.
struct Operands {
    x: Input<f32>,
    weights: Input<u8>,
    y: Output<f32>,
    epilogue: BoundEpilogue,
}

impl Operands {
    fn of(bindings: &Bindings<'_>, epilogue: &Epilogue) -> Result<Self> {
        Ok(Self {
            x: bindings.input(0)?,
            weights: bindings.packed(1)?,
            y: bindings.output(0)?,
            epilogue: epilogue.bind(bindings)?,
        })
    }

    fn multiply_many(&self, token: Avx2, product: Product, call: &Call) {
        let steps = Steps::open(&self.epilogue, call);
        let at = Addresses {
            left: call.read(&self.x).as_ptr(),
            right: call.read(&self.weights).as_ptr().cast(),
            results: call.write(&self.y).as_mut_ptr(),
            flat: 0,
            row: 0,
            workspace: call.workspace::<f32>().as_mut_ptr(),
            steps: &steps,
        };
        product.parts(call, 1, |_, part| {
            let _proof: Avx2 = token;
            // SAFETY: the token proves AVX2, FMA and F16C. `Plan::of` matched the shapes of the operands with the product, and the bindings with the
            // shapes; parts of shards are disjoint; the workspace has the size that was asked for.
            unsafe { product.run(at, part) };
        });
    }

    fn multiply_few(&self, token: Avx2, plan: Plan, call: &Call) {
        let share = call.share(plan.strips(), 1);
        let sheet = Sheet {
            plan,
            x: call.read(&self.x).as_ptr(),
            weights: call.read(&self.weights).as_ptr(),
            y: call.write(&self.y).as_mut_ptr(),
            steps: Steps::open(&self.epilogue, call),
        };
        let fixed = call.workspace::<u8>().as_mut_ptr();
        let _proof: Avx2 = token;
        // SAFETY: the token proves AVX2, FMA and F16C. `Plan::of` matched the shapes of the operands with the plan, and the bindings with the
        // shapes; shares of shards are disjoint; the workspace has the size that was asked for.
        unsafe {
            match plan.format {
                _ if plan.is_fixed() => sheet.fixed(share, fixed),
                Format::Q4_0 => sheet.few::<numbers::Q4_0>(share),
                Format::Q4K => sheet.few::<numbers::Q4K>(share),
                Format::Q5K => sheet.few::<numbers::Q5K>(share),
                Format::Q6K => sheet.few::<numbers::Q6K>(share),
                Format::Q8_0 => sheet.few::<numbers::Q8_0>(share),
            }
        }
    }
}

/// The operands of a call for few rows.
struct Sheet {
    plan: Plan,
    x: *const f32,
    weights: *const u8,
    y: *mut f32,
    steps: Steps,
}

impl Sheet {
    fn strip(&self, number: usize) -> *const u8 {
        self.weights.wrapping_add(number * self.plan.strip_bytes())
    }

    /// Stores and finishes the results of a strip in a row.
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA; strip and row are the plan's, and the results are writable and nobody else's.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn store(&self, row: usize, strip: usize, results: __m256) {
        let column = strip * LANES;
        let (flat, valid) = (row * self.plan.columns + column, LANES.min(self.plan.columns - column));
        // SAFETY: `valid` results from `flat` on are the caller's to write, and the steps have operands for each.
        unsafe {
            let to = self.y.add(flat);
            match valid {
                LANES => _mm256_storeu_ps(to, results),
                _ => lanes::store_first(to, results, valid),
            }
            if !self.steps.is_empty() {
                steps::apply(&self.steps, to, valid, row, column, flat);
            }
        }
    }
}
