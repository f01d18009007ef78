//! What it costs to load a plugin and to make an instance, how soon a runaway one is stopped, and what the polls cost that stop it.

use crate::figure::{Goal, Report, median};
use crate::rig::{Bench, On, Rig, Sketch, seconds};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use sunmao_graph::DType;
use sunmao_host::plugin::{ChipInstance, Limits, LoadOptions, Plugin, PluginError, Runtime, RuntimeOptions};
use sunmao_plugin_sdk::abi;

/// What a runaway loop is given.
const DEADLINE: Duration = Duration::from_millis(20);

/// A folder that is gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("sunmao-bench-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left in the temporary folder does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The plugin figures.
pub(crate) fn measure(report: &mut Report<'_>, rig: &Rig, quick: bool) -> Result<()> {
    for name in ["simd128", "portable", "import-onnx"] {
        load(report, &rig.plugin_file(name), name, if quick { 2 } else { 7 })?;
    }
    let plugin = rig.chip("simd128")?;
    let rounds = if quick { 20 } else { 200 };
    let times = (0..rounds).map(|_| seconds(|| ChipInstance::new(&plugin)) * 1e3).collect();
    report.line("plugin.instance.simd128", median(times), " ms", Goal::AtMost(1.0), rounds);
    for (name, mode) in [("plugin.stop.loop", "01"), ("plugin.stop.loop-over-memory", "02")] {
        stop(report, rig, name, mode, if quick { 5 } else { 30 })?;
    }
    stop_of_machine(if quick { 5 } else { 60 });
    polls(report, rig, if quick { 6 } else { 30 })
}

/// Compilation, and a load from the cache by a process that has just started.
fn load(report: &mut Report<'_>, path: &Path, name: &str, rounds: usize) -> Result<()> {
    let scratch = Scratch::new(name)?;
    let options = || RuntimeOptions { cache_dir: Some(scratch.0.join("cache")), ..RuntimeOptions::default() };
    let runtime = Runtime::new(options())?;
    let mut failed = None;
    let mut timed = |runtime: &Arc<Runtime>| {
        seconds(|| {
            if let Err(error) = runtime.load(path, &LoadOptions::default()) {
                failed = Some(error);
            }
        })
    };
    let cold = timed(&runtime);
    let mut warm = Vec::new();
    for _ in 0..rounds {
        warm.push(timed(&Runtime::new(options())?) * 1e3);
    }
    if let Some(error) = failed {
        return Err(error).with_context(|| path.display().to_string());
    }
    report.line(&format!("plugin.cold.{name}"), cold, " s", Goal::AtMost(3.0), 1);
    report.line(&format!("plugin.warm.{name}"), median(warm), " ms", Goal::AtMost(20.0), rounds);
    Ok(())
}

/// Patches the marker of the test plugin and loads it.
fn guest(rig: &Rig, mode: &str, limits: Limits) -> Result<Arc<Plugin>> {
    const MARKER: &[u8] = b"SUNMAO-GUEST-MODE:";
    let file = rig.guest_file("guest");
    let mut bytes = std::fs::read(&file).with_context(|| file.display().to_string())?;
    let at = bytes.windows(MARKER.len()).position(|part| part == MARKER).context("the guest has no marker")?;
    bytes[at + MARKER.len()..][..2].copy_from_slice(mode.as_bytes());
    let scratch = Scratch::new("guest")?;
    let path = scratch.0.join(format!("guest-{mode}.wasm"));
    std::fs::write(&path, bytes)?;
    Ok(rig.runtime.load(&path, &LoadOptions { limits, ..LoadOptions::default() })?)
}

/// The worst time by which a loop outlives its deadline.
fn stop(report: &mut Report<'_>, rig: &Rig, name: &str, mode: &str, rounds: usize) -> Result<()> {
    let plugin = guest(rig, mode, Limits { deadline: DEADLINE, ..Limits::default() })?;
    let mut late = Vec::new();
    for _ in 0..rounds {
        let mut instance = ChipInstance::new(&plugin)?;
        instance.reserve(1 << 20)?;
        let operand = || {
            Some(abi::Operand {
                dtype: 1,
                shape: vec![64],
                layout: 0,
                constant: false,
                literal: None,
                quantisation: None,
                extents: Vec::new(),
                ext: Vec::new(),
            })
        };
        let operation = abi::Operation {
            op: "Relu".into(),
            revision: 14,
            attributes: Vec::new(),
            inputs: vec![operand()],
            outputs: vec![operand()],
            epilogue: Vec::new(),
            ext: Vec::new(),
        };
        let kernel = instance.prepare(&operation)?;
        let view = |offset| abi::View { offset, slotted: true, dtype: 1, shape: vec![64], strides: vec![], layout: 0 };
        let dispatch = instance.bind(kernel, &[view(0), view(4096)], 0)?;
        let mut outcome = Ok(());
        let taken = seconds(|| outcome = instance.run(dispatch, 1, 0, 1, 0));
        if !matches!(outcome, Err(PluginError::Deadline { .. })) {
            bail!("the loop ended with {outcome:?}");
        }
        late.push((taken - DEADLINE.as_secs_f64()) * 1e3);
    }
    let (worst, middle) = worst_and_median(late);
    report.line(&format!("{name}.worst"), worst, " ms", Goal::AtMost(1.0), rounds);
    report.line(&format!("{name}.median"), middle, " ms", Goal::AtMost(1.0), rounds);
    Ok(())
}

fn worst_and_median(late: Vec<f64>) -> (f64, f64) {
    (late.iter().fold(0f64, |worst, &late| worst.max(late)), median(late))
}

/// What the machine itself adds, for the reader of a late stop: a native loop that another thread ends by a flag at the same deadline, which it
/// waits for awake, so that neither a sleeper's waking nor anything of ours is in it.
fn stop_of_machine(rounds: usize) {
    let late = (0..rounds)
        .map(|_| {
            let (passed, deadline) = (AtomicBool::new(false), Instant::now() + DEADLINE);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while Instant::now() < deadline {
                        std::hint::spin_loop();
                    }
                    passed.store(true, Ordering::Relaxed);
                });
                while !passed.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
            deadline.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    let (worst, middle) = worst_and_median(late);
    eprintln!(
        "plugin.stop: a native loop, stopped by a native thread, outlives its deadline by {worst:.3} ms at worst and {middle:.3} ms in the median of {rounds}"
    );
}

/// A GEMM with and without polls, in alternating rounds.
fn polls(report: &mut Report<'_>, rig: &Rig, rounds: usize) -> Result<()> {
    let gemm = |safepoints: bool| -> Result<Bench> {
        let plugin =
            rig.runtime.load(&rig.plugin_file("simd128"), &LoadOptions { safepoints, ..LoadOptions::default() })?;
        let mut sketch = Sketch::new();
        let square = [512, 512];
        let (a, b) = (sketch.input(DType::F32, &square), sketch.input(DType::F32, &square));
        let product = sketch.node("MatMul", 13, &[a, b], (DType::F32, &square));
        Bench::new(sketch.finish(product), On::Plugin(&plugin), 1, |_| ())
    };
    let (with, without) = (gemm(true)?, gemm(false)?);
    let mut ratios = Vec::new();
    let mut failed = None;
    let mut run = |bench: &Bench| {
        seconds(|| {
            for _ in 0..4 {
                failed = bench.run().err().or(failed.take());
            }
        })
    };
    for round in 0..rounds + 2 {
        let (a, b) = if round % 2 == 0 {
            (run(&with), run(&without))
        } else {
            let b = run(&without);
            (run(&with), b)
        };
        if round >= 2 {
            ratios.push((a / b - 1.0) * 100.0);
        }
    }
    match failed {
        Some(error) => Err(error),
        None => {
            report.line("plugin.polls.gemm", median(ratios), " %", Goal::AtMost(3.0), rounds);
            Ok(())
        }
    }
}
