//! `Conv` as a matrix product: the weights of a group times the patches of an image, which are packed a block at a time. A pointwise convolution
//! reads the planes as they are.

use super::patches::Patches;
use super::product::{LeftForm, Product, RightForm};
use super::sliding::Sliding;
use crate::Avx2;
use crate::avx2::Row;
use crate::epilogue::{Along, Epilogue, Step};
use crate::product::{Addresses, Matrix};
use crate::registry::LATEST;
use crate::request::Request;
use crate::settle::{Packing, kernel, needs, packed};
use crate::steps::Steps;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Reader, Writer};

pub(crate) fn rows() -> Vec<Row> {
    vec![Row {
        operator: "Conv",
        path: "avx2-patches-gemm",
        revisions: (1, LATEST),
        tolerance: Tolerance::Accumulate(1.0),
        prepare: conv,
    }]
}

/// A convolution's shapes.
#[derive(Clone, Copy)]
pub(crate) struct Convolution {
    pub(crate) window: Sliding,
    pub(crate) images: usize,
    pub(crate) groups: usize,
    /// Channels of one group.
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

impl Convolution {
    pub(crate) fn of(request: Request<'_>) -> Option<Self> {
        Self::between(request, &request.input(0)?, &request.input(1)?, &request.output()?)
    }

    /// The convolution of `request` over operands of those shapes.
    pub(crate) fn between(request: Request<'_>, x: &[usize], w: &[usize], y: &[usize]) -> Option<Self> {
        if x.len() < 3 || w.len() != x.len() || y.len() != x.len() || y[..2] != [x[0], w[0]] {
            return None;
        }
        let groups = usize::try_from(request.attributes().integer("group").unwrap_or(1)).ok()?;
        let fits = groups > 0 && w[1].checked_mul(groups)? == x[1] && w[0].is_multiple_of(groups);
        if !fits {
            return None;
        }
        let window = Sliding::of(request, &x[2..], &y[2..], &w[2..])?;
        Some(Self { window, images: x[0], groups, inputs: w[1], outputs: w[0] / groups })
    }

    /// The operator's own bias and the steps behind it. Rows are output channels.
    pub(crate) fn epilogue(&self, request: Request<'_>) -> Option<Epilogue> {
        let channels = self.groups * self.outputs;
        let mut steps = Vec::new();
        if request.operand(2).is_some() {
            if request.input(2)? != [channels] {
                return None;
            }
            steps.push(Step::Add { addend: 2, along: Along::Rows, factor: 1.0 });
        }
        Epilogue::plan(request, steps, Along::Rows, channels)
    }

    /// The matrix product of one image and group. None for planes that are too large.
    fn product(&self, left_packed: bool) -> Option<Product> {
        let depth = self.inputs * self.window.taps();
        let right = if self.window.is_pointwise() {
            RightForm::Strided { step: self.window.input_len(), column: 1 }
        } else {
            RightForm::Patches(Patches::of(self.window)?)
        };
        let left = if left_packed { LeftForm::Packed } else { LeftForm::Strided { row: depth, step: 1 } };
        Some(Product::new(self.outputs, self.window.output_len(), depth, left, right))
    }

    /// Nanoseconds that this takes on one core as a matrix product, without its epilogue.
    pub(crate) fn product_cost(&self) -> f64 {
        let each = self.product(true).map_or(f64::INFINITY, |product| product.cost());
        (self.images * self.groups) as f64 * each
    }

    /// Elements of the output.
    pub(crate) fn results(&self) -> usize {
        self.images * self.groups * self.outputs * self.window.output_len()
    }
}

fn conv(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let conv = Convolution::of(request)?;
    let epilogue = conv.epilogue(request)?;
    let constant = request.operand(1)?.constant;
    let product = conv.product(constant)?;
    let depth = product.depth;
    let batches = conv.images * conv.groups;
    let mut requirements =
        needs(batches as f64 * product.cost() + epilogue.cost(conv.results()), product.units(batches));
    requirements.workspace = product.workspace_bytes();
    let plain = conv.outputs * depth;
    let mut packing = None;
    if constant {
        let key = format!("avx2-left f32 {}x{}x{depth}", conv.groups, conv.outputs);
        requirements.packed = vec![packed(1, conv.groups * product.left_floats(), key)?];
        let pack = move |source: Reader<'_, u8>, to: Writer<'_, u8>| {
            for group in 0..conv.groups {
                let start = source.as_ptr().cast::<f32>().wrapping_add(group * plain);
                let from = Matrix { start, row_step: depth, column_step: 1 };
                let to = to.as_mut_ptr().cast::<f32>().wrapping_add(group * product.left_floats());
                let _proof: Avx2 = token;
                // SAFETY: the token proves AVX2 and FMA. The kernel checked that `source` holds the weights of all groups and `to` as many packed ones.
                unsafe { product.pack_left(from, to) };
            }
        };
        packing = Some(Packing { source_bytes: conv.groups * plain * 4, pack: Box::new(pack) });
    }
    let weights_of_group = if constant { product.left_floats() } else { plain };
    Some(kernel(requirements, packing, move |bindings| {
        let x = bindings.input::<f32>(0)?;
        let w = if constant { bindings.packed::<f32>(1)? } else { bindings.input::<f32>(1)? };
        let output = bindings.output::<f32>(0)?;
        let epilogue = epilogue.bind(bindings)?;
        Ok(Box::new(move |call: &Call| {
            let steps = Steps::open(&epilogue, call);
            let (x, w) = (call.read(&x).as_ptr(), call.read(&w).as_ptr());
            let (results, workspace) = (call.write(&output).as_mut_ptr(), call.workspace::<f32>().as_mut_ptr());
            product.parts(call, batches, |batch, part| {
                let group = batch % conv.groups;
                let flat = batch * product.rows * product.columns;
                let at = Addresses {
                    left: w.wrapping_add(group * weights_of_group),
                    // The groups of an image follow each other, as their channels do.
                    right: x.wrapping_add(batch * conv.inputs * conv.window.input_len()),
                    results: results.wrapping_add(flat),
                    flat,
                    row: group * conv.outputs,
                    workspace,
                    steps: &steps,
                };
                let _proof: Avx2 = token;
                // SAFETY: the token proves AVX2 and FMA. `prepare` matched the shapes of the operands with the product, and the bindings with the
                // shapes; parts of shards are disjoint; the workspace has the size that was asked for.
                unsafe { product.run(at, part) };
            });
            Ok(())
        }))
    }))
}
