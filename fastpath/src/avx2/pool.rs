//! `MaxPool` (without indices) and `AveragePool` over one or two axes.

use super::bands::Bands;
use super::sliding::{Axis, Sliding};
use super::{math, reduce};
use crate::Avx2;
use crate::avx2::Row;
use crate::registry::LATEST;
use crate::request::Request;
use crate::settle::{kernel, needs};
use std::arch::x86_64::*;
use std::sync::Arc;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel};

pub(crate) fn rows() -> Vec<Row> {
    let row =
        |operator, tolerance| Row { operator, path: "avx2-pool", revisions: (1, LATEST), tolerance, prepare: pool };
    vec![row("MaxPool", Tolerance::Exact), row("AveragePool", Tolerance::Accumulate(1.0))]
}

/// How many elements the windows of an average have, as a product of rows and columns.
#[derive(Clone)]
struct Counts {
    rows: Box<[f32]>,
    /// Filled up with ones to whole vectors.
    columns: Box<[f32]>,
}

impl Counts {
    fn of(window: &Sliding, with_pads: bool) -> Self {
        let along = |axis: Axis| (0..axis.output).map(move |out| elements(&axis, out, with_pads) as f32);
        let padding = window.wide.output.next_multiple_of(super::lanes::LANES) - window.wide.output;
        Self {
            rows: along(window.high).collect(),
            columns: along(window.wide).chain(std::iter::repeat_n(1.0, padding)).collect(),
        }
    }
}

/// Elements of the window of output `out` along one axis: those of the input, or those of the padded input.
fn elements(axis: &Axis, out: usize, with_pads: bool) -> usize {
    let inside = |tap: usize| match with_pads {
        true => out * axis.stride + tap * axis.dilation < axis.input + axis.pad + axis.pad_end,
        false => axis.source(out, tap).is_some(),
    };
    (0..axis.kernel).filter(|&tap| inside(tap)).count()
}

fn pool(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let (x, y) = (request.input(0)?, request.output()?);
    let attributes = request.attributes();
    if x.len() < 3 || y.len() != x.len() || y[..2] != x[..2] || !request.operation().epilogue.is_empty() {
        return None;
    }
    let kernel_shape = attributes.integers("kernel_shape")?;
    let kernel_shape = kernel_shape.iter().map(|&k| usize::try_from(k).ok()).collect::<Option<Vec<_>>>()?;
    let window = Sliding::of(request, &x[2..], &y[2..], &kernel_shape)?;
    let whole = |axis: &Axis| axis.output == 1 && axis.kernel == axis.input && axis.extent() == axis.input;
    let is_padded = |axis: &Axis| axis.pad + axis.pad_end > 0;
    let is_mean = request.operator() == "AveragePool";
    if is_mean && [window.high, window.wide].iter().all(|axis| whole(axis) && !is_padded(axis)) {
        return Some(reduce::means(token, x[0] * x[1], window.input_len()));
    }
    let bands = Arc::new(Bands::of(window)?);
    let counts = is_mean.then(|| Counts::of(&window, attributes.flag("count_include_pad")));
    let counts = counts.map(Arc::new);
    let planes = x[0] * x[1];
    let units = planes * bands.count();
    let results = planes * window.output_len();
    // Loading bands is most of the work where windows hardly meet: of 113 us for 512 planes of 14x14, by 2x2, nearly 100.
    let stretches = planes * window.high.input * window.wide.stride;
    let copied = stretches as f64 * 5.0 + (planes * window.input_len()) as f64 * 0.15;
    let mut requirements = needs(copied + results as f64 * window.taps() as f64 / 12.0 + results as f64 / 4.0, units);
    requirements.workspace = bands.workspace_bytes();
    Some(kernel(requirements, None, move |bindings| {
        let (x, output) = (bindings.input::<f32>(0)?, bindings.output::<f32>(0)?);
        let (bands, counts) = (bands.clone(), counts.clone());
        Ok(Box::new(move |call: &Call| {
            let (x, results) = (call.read(&x).as_ptr(), call.write(&output).as_mut_ptr());
            let workspace = call.workspace::<f32>().as_mut_ptr();
            for unit in call.share(units, 1) {
                let (plane, band) = (unit / bands.count(), unit % bands.count());
                let source = x.wrapping_add(plane * window.input_len());
                let results = results.wrapping_add(plane * window.output_len());
                let _proof: Avx2 = token;
                // SAFETY: the token proves AVX2 and FMA; `prepare` matched the operands' shapes with the window, and the bindings with the shapes; shards
                // have different bands; the workspace has the size that was asked for.
                unsafe {
                    match &counts {
                        Some(counts) => average(&bands, band, source, results, counts, workspace),
                        None => maximum(&bands, band, source, results, workspace),
                    }
                }
            }
            Ok(())
        }))
    }))
}

/// # Safety
/// The CPU has AVX2 and FMA; the plane at `source` is readable, band `number` of that at `results` writable and nobody else's; the workspace is as
/// [`Bands`] asks for.
#[target_feature(enable = "avx2,fma")]
unsafe fn maximum(bands: &Bands, number: usize, source: *const f32, results: *mut f32, workspace: *mut f32) {
    let rows = bands.rows(number);
    let least = f32::NEG_INFINITY;
    // SAFETY: the caller's promise.
    unsafe {
        bands.load(source, rows.clone(), least, workspace);
        bands.sweep(
            workspace,
            rows.len(),
            results.add(rows.start * bands.window.wide.output),
            _mm256_set1_ps(least),
            |largest, _, x| math::larger(x, largest),
            |largest, _, _| largest,
        );
    }
}

/// # Safety
/// As for [`maximum`]; the counts are the window's.
#[target_feature(enable = "avx2,fma")]
unsafe fn average(
    bands: &Bands,
    number: usize,
    source: *const f32,
    results: *mut f32,
    counts: &Counts,
    workspace: *mut f32,
) {
    let rows = bands.rows(number);
    // SAFETY: the caller's promise; `columns` has whole vectors.
    unsafe {
        bands.load(source, rows.clone(), 0.0, workspace);
        bands.sweep(
            workspace,
            rows.len(),
            results.add(rows.start * bands.window.wide.output),
            _mm256_setzero_ps(),
            |sum, _, x| _mm256_add_ps(sum, x),
            |sum, row, column| {
                let count = _mm256_set1_ps(counts.rows[rows.start + row]);
                let columns = _mm256_loadu_ps(counts.columns.as_ptr().add(column));
                _mm256_div_ps(sum, _mm256_mul_ps(count, columns))
            },
        );
    }
}
