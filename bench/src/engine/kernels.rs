//! Matrix products on their own, against what the machine can do at most: that is measured in the same run.
//!
//! A kernel runs as one dispatch of a plan on operands that lie in the arena, and its result is compared with the portable kernel's before its time counts.

use super::Setting;
use super::weights::Draw;
use crate::accuracy::deviation;
use crate::figure::{Goal, Report};
use crate::models::Tensors;
use crate::rig::{Bench, On, Sketch, repeat};
use anyhow::{Context, Result, bail};
use std::time::Duration;
use sunmao_fastpath::machine;
use sunmao_graph::{DType, Graph};
use sunmao_host::session::Tensor;

const THREADS: [usize; 2] = [1, 2];
/// The square product: length of each side.
const SIDE: usize = 1024;
/// The matrix of a product with a vector: length of each side, and how many bytes of them are gone through before the first is read again.
const VECTOR: usize = 4096;
const WORKING_SET: u64 = 512 << 20;
/// Goals: shares of the peak and of the bandwidth, and operations a second.
const GEMM_NATIVE: f64 = 0.9;
const GEMM_PLUGIN: f64 = 0.29;
const INT8: [(u32, f64); 2] = [(7, 60.0), (8, 44.0)];
const GEMV_NATIVE: f64 = 0.85;
const GEMV_PLUGIN: f64 = 0.55;
/// Deviation from the portable kernel beyond which a speed does not count; products of integers are equal to the bit.
const LIMIT: f64 = 1e-4;

/// A product, its input, and its output's type and shape.
struct Product {
    graph: Box<dyn Fn() -> Graph>,
    input: Vec<u8>,
    output: (DType, Vec<u64>),
}

/// Who runs it: the name in lines, and whether native kernels may.
const RUNNERS: [(&str, bool); 2] = [("native", true), ("plugin", false)];

/// The products, and the two roofs.
pub(super) fn measure(report: &mut Report<'_>, setting: &Setting<'_>) {
    report.section("gemm", |report| gemm(report, setting));
    report.section("gemv", |report| gemv(report, setting));
}

fn gemm(report: &mut Report<'_>, setting: &Setting<'_>) -> Result<()> {
    if report.wants("gemm.f32") {
        let product = square(DType::F32, None);
        let expected = portable(&product)?;
        for (runner, native) in RUNNERS {
            for threads in THREADS {
                let peak = machine::flops(threads).context("the peak of this instruction set is not measured")?;
                eprintln!("peak with {threads} thread(s): {:.1} GFLOP/s", peak / 1e9);
                let goal = if native { GEMM_NATIVE } else { GEMM_PLUGIN };
                let share = seconds(setting, &product, &expected, native, threads).map(|s| operations() / s / peak);
                put(report, &format!("gemm.f32.{runner}.t{threads}"), share, "", goal);
            }
        }
    }
    for (bits, goal) in INT8 {
        let name = format!("gemm.int8.plugin.{bits}bit");
        if !report.wants(&name) {
            continue;
        }
        let product = square(DType::U8, Some(bits));
        let expected = portable(&product)?;
        let speed = seconds(setting, &product, &expected, false, 1).map(|s| operations() / s / 1e9);
        let exact = f64::from(speed.is_ok());
        put(report, &name, speed, " GOP/s", goal);
        report.line(&format!("{name}.exact"), exact, "", Goal::AtLeast(1.0), 1);
    }
    Ok(())
}

fn gemv(report: &mut Report<'_>, setting: &Setting<'_>) -> Result<()> {
    for (format, label) in [(DType::Q8_0, "q8_0"), (DType::Q4K, "q4_k")] {
        let name = format!("gemv.{label}");
        if !report.wants(&name) {
            continue;
        }
        let (product, bytes) = chain(format)?;
        let expected = portable(&product)?;
        for (runner, native) in RUNNERS {
            for threads in THREADS {
                let line = format!("{name}.{runner}.t{threads}");
                let read = machine::read_bytes_per_second(threads, WORKING_SET as usize);
                let read = read.context("the bandwidth of this machine is not measured")?;
                eprintln!("bandwidth with {threads} thread(s): {:.1} GB/s", read / 1e9);
                let goal = if native { GEMV_NATIVE } else { GEMV_PLUGIN };
                let share = seconds(setting, &product, &expected, native, threads).map(|s| bytes as f64 / s / read);
                put(report, &line, share, "", goal);
            }
        }
    }
    Ok(())
}

fn put(report: &mut Report<'_>, name: &str, value: Result<f64>, unit: &str, goal: f64) {
    match value {
        Ok(value) => report.line(name, value, unit, Goal::AtLeast(goal), 1),
        Err(error) => report.missing(name, &format!("{error:#}")),
    }
}

/// Multiplications and additions of the square product.
fn operations() -> f64 {
    2.0 * (SIDE * SIDE * SIDE) as f64
}

/// A square product with a constant: of floats, or of unsigned bytes and signed ones of so many bits.
fn square(dtype: DType, bits: Option<u32>) -> Product {
    let shape = [SIDE as u64, SIDE as u64];
    let mut draw = Draw::new(1);
    let count = SIDE * SIDE;
    let (input, weights) = match bits {
        None => (draw.floats(count), draw.floats(count)),
        Some(_) => (draw.bytes(count, None), draw.bytes(count, bits)),
    };
    let (op, revision, of_weights, of_output) = match dtype {
        DType::F32 => ("MatMul", 13, DType::F32, DType::F32),
        _ => ("MatMulInteger", 10, DType::I8, DType::I32),
    };
    let weights: std::sync::Arc<[u8]> = weights.into();
    let graph = move || {
        let mut sketch = Sketch::new();
        let x = sketch.input(dtype, &shape);
        let w = sketch.constant(of_weights, &shape, weights.clone());
        let y = sketch.node(op, revision, &[x, w], (of_output, &shape));
        sketch.finish(y)
    };
    Product { graph: Box::new(graph), input, output: (of_output, shape.to_vec()) }
}

/// A vector through so many matrices of blocks that none is in a cache when its turn comes again; and how many bytes they have.
fn chain(format: DType) -> Result<(Product, u64)> {
    let shape = [VECTOR as u64, VECTOR as u64];
    let mut draw = Draw::new(2);
    let input = draw.floats(VECTOR);
    let weights = draw.blocks(format, VECTOR, VECTOR).context("there are no such blocks")?;
    let each = weights.len() as u64;
    let count = WORKING_SET.div_ceil(each);
    let graph = move || {
        let mut sketch = Sketch::new();
        let vector = [1, VECTOR as u64];
        let mut y = sketch.input(DType::F32, &vector);
        for _ in 0..count {
            // Each in a place of its own, though all are alike.
            let w = sketch.constant(format, &shape, weights.clone());
            y = sketch.node("sunmao.QMatMul", 1, &[y, w], (DType::F32, &vector));
        }
        sketch.finish(y)
    };
    Ok((Product { graph: Box::new(graph), input, output: (DType::F32, vec![1, VECTOR as u64]) }, count * each))
}

/// What the portable kernel answers.
fn portable(product: &Product) -> Result<Tensors> {
    answer(&Bench::new((product.graph)(), On::Portable, 1, |_| ())?, product)
}

fn answer(bench: &Bench, product: &Product) -> Result<Tensors> {
    let data = bench.run_on(&[&product.input])?.copy_out(0)?;
    let (dtype, shape) = product.output.clone();
    Ok(vec![("product".to_owned(), Tensor { dtype, shape, data })])
}

/// Seconds that a product takes once its result is right.
fn seconds(setting: &Setting<'_>, product: &Product, expected: &Tensors, native: bool, threads: usize) -> Result<f64> {
    let plugin = setting.rig.chip("simd128")?;
    let on = if native { On::FastPaths } else { On::Plugin(&plugin) };
    let bench = Bench::new((product.graph)(), on, threads, |_| ())?;
    if native && !bench.is_fast() {
        bail!("no such fast path");
    }
    let off = deviation(&answer(&bench, product)?, expected)?;
    if off > LIMIT {
        bail!("the result deviates by {off:.1e}: its speed does not count");
    }
    let time = Duration::from_millis(if setting.quick { 500 } else { 2000 });
    let mut failed = None;
    let seconds = repeat(time, 3, || failed = bench.run().err().or(failed.take()));
    failed.map_or(Ok(seconds), Err)
}
