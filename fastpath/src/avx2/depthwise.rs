//! `Conv` with one input channel to a group: each output plane is its own, so there is no matrix to multiply by.

use super::bands::Bands;
use super::conv::Convolution;
use super::halving;
use super::math;
use super::narrow;
use super::square;
use super::steps;
use crate::Avx2;
use crate::avx2::Row;
use crate::registry::LATEST;
use crate::request::Request;
use crate::settle::{kernel, needs};
use crate::steps::Steps;
use std::arch::x86_64::*;
use std::ops::Range;
use std::sync::Arc;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel};

pub(crate) fn rows() -> Vec<Row> {
    vec![Row {
        operator: "Conv",
        path: "avx2-depthwise",
        revisions: (1, LATEST),
        tolerance: Tolerance::Accumulate(1.0),
        prepare: depthwise,
    }]
}

/// From this many output channels to a group on, the matrix product is better.
const OUTPUTS_MAX: usize = 4;

fn depthwise(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let conv = Convolution::of(request)?;
    if conv.inputs != 1 || conv.outputs >= OUTPUTS_MAX {
        return None;
    }
    let bands = Arc::new(Bands::of(conv.window)?);
    let epilogue = conv.epilogue(request)?;
    let channels = conv.groups * conv.outputs;
    let units = conv.images * channels * bands.count();
    let work = conv.results() as f64 * conv.window.taps() as f64 / 12.0;
    let mut requirements = needs(work + epilogue.cost(conv.results()), units);
    requirements.workspace = bands.workspace_bytes();
    Some(kernel(requirements, None, move |bindings| {
        let (x, w) = (bindings.input::<f32>(0)?, bindings.input::<f32>(1)?);
        let output = bindings.output::<f32>(0)?;
        let epilogue = epilogue.bind(bindings)?;
        let bands = bands.clone();
        Ok(Box::new(move |call: &Call| {
            let steps = Steps::open(&epilogue, call);
            let (x, w) = (call.read(&x).as_ptr(), call.read(&w).as_ptr());
            let (results, workspace) = (call.write(&output).as_mut_ptr(), call.workspace::<f32>().as_mut_ptr());
            for unit in call.share(units, 1) {
                let (plane, band) = (unit / bands.count(), unit % bands.count());
                let channel = plane % channels;
                let source = plane / channels * conv.groups + channel / conv.outputs;
                let band = Band {
                    bands: &bands,
                    number: band,
                    source: x.wrapping_add(source * conv.window.input_len()),
                    weights: w.wrapping_add(channel * conv.window.taps()),
                    results: results.wrapping_add(plane * conv.window.output_len()),
                    flat: plane * conv.window.output_len(),
                    channel,
                };
                let _proof: Avx2 = token;
                // SAFETY: the token proves AVX2 and FMA; `prepare` matched the operands' shapes with the window, and the bindings with the shapes; shards
                // have different bands; the workspace has the size that was asked for.
                unsafe { band.run(workspace, &steps) };
            }
            Ok(())
        }))
    }))
}

/// One band of one output plane.
struct Band<'a> {
    bands: &'a Bands,
    number: usize,
    source: *const f32,
    weights: *const f32,
    /// The start of the plane.
    results: *mut f32,
    flat: usize,
    channel: usize,
}

impl Band<'_> {
    /// # Safety
    /// The CPU has AVX2 and FMA; the source plane and the weights of the window are readable; the band's rows of the results are writable and nobody
    /// else's; the workspace is as [`Bands`] asks for.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn run(&self, workspace: *mut f32, steps: &Steps) {
        let rows = self.bands.rows(self.number);
        let place = rows.start * self.bands.window.wide.output;
        let len = rows.len() * self.bands.window.wide.output;
        let mut steps = *steps;
        let finish = steps.take_plain_finish();
        // SAFETY: the caller's promise; a bias and the operands of the steps have an element for each channel or result.
        unsafe {
            let results = self.results.add(place);
            let bias = if finish.row_bias.is_null() { 0.0 } else { finish.row_bias.add(self.channel).read() };
            let bias = _mm256_set1_ps(bias);
            let (low, high) = (_mm256_set1_ps(finish.low), _mm256_set1_ps(finish.high));
            let ends = Ends { bias, low, high };
            if narrow::fits(self.bands) {
                narrow::sweep(self.bands.window, self.source, self.weights, results, ends);
            } else if halving::fits(self.bands.window) {
                halving::sweep(self.bands.window, rows, self.source, self.weights, results, ends);
            } else {
                self.sweep_loaded(rows, workspace, results, ends);
            }
            steps::apply(&steps, results, len, self.channel, 0, self.flat + place);
        }
    }

    /// Computes rows from a copy of what they read, with columns sorted.
    ///
    /// # Safety
    /// As for [`Band::run`]; `results` is where the first of the rows goes.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn sweep_loaded(&self, rows: Range<usize>, workspace: *mut f32, results: *mut f32, ends: Ends) {
        // SAFETY: the caller's promise.
        unsafe {
            self.bands.load(self.source, rows.clone(), 0.0, workspace);
            let sides = [self.bands.window.high, self.bands.window.wide];
            let square = sides.iter().all(|axis| axis.kernel == sides[0].kernel && axis.dilation == 1);
            match (square, sides[0].kernel, sides[0].stride) {
                (true, 3, 1) => square::sweep::<3, 1>(self.bands, self.weights, workspace, rows.len(), results, ends),
                (true, 5, 1) => square::sweep::<5, 1>(self.bands, self.weights, workspace, rows.len(), results, ends),
                (true, 5, 2) => square::sweep::<5, 2>(self.bands, self.weights, workspace, rows.len(), results, ends),
                _ => self.bands.sweep(
                    workspace,
                    rows.len(),
                    results,
                    _mm256_setzero_ps(),
                    |sum, tap, x| _mm256_fmadd_ps(_mm256_set1_ps(self.weights.add(tap).read()), x, sum),
                    |sum, _, _| ends.apply(sum),
                ),
            }
        }
    }
}

/// What happens to a sum before it is stored.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    bias: __m256,
    low: __m256,
    high: __m256,
}

impl Ends {
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn apply(&self, sum: __m256) -> __m256 {
        math::limit(_mm256_add_ps(sum, self.bias), self.low, self.high)
    }
}
