//! Our own side of a contest: a process that holds one model, as `runner` asks it.

use crate::rig::{Paths, Rig};
use anyhow::{Context, Result};
use serde_json::json;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use sunmao_host::formats::{read_npz, write_npz};
use sunmao_host::memory::{give_back, pss_bytes};
use sunmao_host::session::{Session, Tensor};

/// The least and the most runs of a burst, as the peers count them.
const LEAST_RUNS: usize = 2;
const MOST_RUNS: usize = 5000;
/// How often memory is looked at while a model is loaded.
const GLANCE: Duration = Duration::from_millis(2);

/// Runs one model whenever stdin names a number of seconds.
#[derive(clap::Args)]
pub(crate) struct Own {
    /// The model file.
    #[arg(long)]
    model: PathBuf,
    /// Its inputs.
    #[arg(long)]
    inputs: PathBuf,
    /// Where the first outputs go.
    #[arg(long)]
    outputs: PathBuf,
    /// Threads of a request.
    #[arg(long)]
    threads: usize,
    /// The plugin alone: no native kernels.
    #[arg(long)]
    plugin_only: bool,
    /// Watches memory while the model is loaded, which makes loading slower.
    #[arg(long)]
    watch_memory: bool,
    /// Where compiled plugins are kept.
    #[arg(long)]
    scratch: PathBuf,
    /// Where prepared models are kept; without it, nowhere.
    #[arg(long)]
    store: Option<PathBuf>,
}

impl Own {
    /// Loads, answers, and ends with stdin.
    pub(crate) fn serve(&self, plugins: &Path) -> Result<()> {
        let rig = Rig::cached(plugins, &self.scratch.join("compiled"))?;
        let rig = match &self.store {
            Some(folder) => rig.keeping(folder)?,
            None => rig,
        };
        let bytes = std::fs::read(&self.inputs).with_context(|| self.inputs.display().to_string())?;
        let inputs = read_npz(&bytes)?;
        drop(bytes);
        let paths = if self.plugin_only { Paths::Plugin } else { Paths::Native };
        // What compiling plugins has left to the allocator, if it was the first time, is not the idle process's.
        give_back();
        let idle = pss_bytes()?;
        let watch = self.watch_memory.then(Watch::start);
        let start = Instant::now();
        let session = rig.session("simd128", self.threads, &self.model, paths)?;
        let load_ms = start.elapsed().as_secs_f64() * 1e3;
        let given = inputs.clone();
        let start = Instant::now();
        let outputs = session.infer(given, &[])?;
        let first_ms = start.elapsed().as_secs_f64() * 1e3;
        let peak = watch.map_or_else(|| Ok(pss_bytes()?), Watch::finish)?;
        std::fs::write(&self.outputs, write_npz(&outputs)?).with_context(|| self.outputs.display().to_string())?;
        drop(outputs);
        let facts = json!({
            "runtime": format!("sunmao {} ({})", env!("CARGO_PKG_VERSION"), paths.name()),
            "load_ms": load_ms,
            "first_ms": first_ms,
            "idle_bytes": idle,
            "peak_bytes": peak,
            "planned_bytes": planned(&session, &inputs),
        });
        println!("{facts}");
        for line in std::io::stdin().lock().lines() {
            let line = line?;
            let time = Duration::from_secs_f64(line.trim().parse().with_context(|| format!("`{line}` is no time"))?);
            println!("{}", json!({ "times_ms": burst(&session, &inputs, time)? }));
        }
        Ok(())
    }
}

/// Packed constants and the slot of the plan for these inputs; none where the model runs in several steps.
fn planned(session: &Session, inputs: &[(String, Tensor)]) -> Option<u64> {
    let shape = |name: &str| inputs.iter().find(|(given, _)| given == name).map(|(_, tensor)| tensor.shape.clone());
    let shapes: Option<Vec<Vec<u64>>> = session.inputs().iter().map(|spec| shape(&spec.name)).collect();
    let memory = session.plan(&shapes?).ok()?.memory;
    Some(memory.constants + memory.slot)
}

/// Milliseconds of each run; the first one does not count.
fn burst(session: &Session, inputs: &[(String, Tensor)], time: Duration) -> Result<Vec<f64>> {
    session.infer(inputs.to_vec(), &[])?;
    let (mut taken, start) = (Vec::new(), Instant::now());
    while taken.len() < LEAST_RUNS || start.elapsed() < time && taken.len() < MOST_RUNS {
        // Peers take their inputs by reference, so the copy is not part of what is measured.
        let given = inputs.to_vec();
        let before = Instant::now();
        let outputs = session.infer(given, &[])?;
        taken.push(before.elapsed().as_secs_f64() * 1e3);
        drop(outputs);
    }
    Ok(taken)
}

/// Looks at this process's memory again and again.
struct Watch {
    over: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Result<u64>>,
}

impl Watch {
    fn start() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let seen = over.clone();
        let thread = std::thread::spawn(move || {
            let mut most = 0;
            loop {
                // Read before the last look, so that the end is seen too.
                let last = seen.load(Ordering::Acquire);
                most = most.max(pss_bytes()?);
                if last {
                    return Ok(most);
                }
                std::thread::sleep(GLANCE);
            }
        });
        Self { over, thread }
    }

    fn finish(self) -> Result<u64> {
        self.over.store(true, Ordering::Release);
        self.thread.join().map_err(|_| anyhow::anyhow!("the watch of memory panicked"))?
    }
}
