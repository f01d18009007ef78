//! Runs one model on tract or rten, and times it whenever it is told to.
//!
//!     sunmao-peers tract|rten --model FILE --inputs CASE.inputs.npz --outputs FILE.npz --threads N
//!
//! What comes in and goes out is as `bench/peers/runtime.py` says.

mod arrays;
mod rten;
mod tract;

use anyhow::{Context, Result, bail};
use arrays::Array;
use serde_json::json;
use std::collections::HashMap;
use std::io::BufRead;
use std::time::Instant;

const LEAST_RUNS: usize = 2;
const MOST_RUNS: usize = 5000;

/// A model with its inputs, ready to run.
trait Loaded {
    /// Runs once; the outputs by name.
    fn run(&self) -> Result<Vec<(String, Array)>>;
}

struct Arguments {
    runtime: String,
    model: String,
    inputs: String,
    outputs: String,
    threads: usize,
}

impl Arguments {
    fn read() -> Result<Self> {
        let mut words = std::env::args().skip(1);
        let runtime = words.next().context("which runtime: tract or rten?")?;
        let mut named = HashMap::new();
        while let Some(name) = words.next() {
            let value = words.next().with_context(|| format!("{name} has no value"))?;
            named.insert(name, value);
        }
        let mut take = |name: &str| named.remove(name).with_context(|| format!("{name} is missing"));
        let (model, inputs, outputs) = (take("--model")?, take("--inputs")?, take("--outputs")?);
        Ok(Self { runtime, model, inputs, outputs, threads: take("--threads")?.parse()? })
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::read()?;
    let inputs = arrays::read(&arguments.inputs)?;
    // The mark of the most so far is set back to what is there now.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let idle = resident("VmRSS")?;
    let start = Instant::now();
    let loaded = match load(&arguments, &inputs) {
        Ok(loaded) => loaded,
        Err(error) => return refuse(&error),
    };
    let load_ms = milliseconds(start);
    let start = Instant::now();
    let outputs = match loaded.run() {
        Ok(outputs) => outputs,
        Err(error) => return refuse(&error),
    };
    let first_ms = milliseconds(start);
    let peak = resident("VmHWM")?;
    arrays::write(&arguments.outputs, &outputs)?;
    let version = match &arguments.runtime[..] {
        "tract" => "tract 0.23.9",
        _ => "rten 0.27.0",
    };
    let facts =
        json!({ "runtime": version, "load_ms": load_ms, "first_ms": first_ms, "idle_bytes": idle, "peak_bytes": peak });
    println!("{facts}");
    for line in std::io::stdin().lock().lines() {
        let times = times(&*loaded, line?.trim().parse()?)?;
        println!("{}", json!({ "times_ms": times }));
    }
    Ok(())
}

fn load(arguments: &Arguments, inputs: &[(String, Array)]) -> Result<Box<dyn Loaded>> {
    match &arguments.runtime[..] {
        "tract" => tract::load(&arguments.model, inputs, arguments.threads),
        "rten" => rten::load(&arguments.model, inputs, arguments.threads),
        other => bail!("no runtime is named {other}"),
    }
}

/// An answer too: the runtime does not take the model.
fn refuse(error: &anyhow::Error) -> Result<()> {
    let text: String = format!("{error:#}").chars().take(400).collect();
    println!("{}", json!({ "error": text }));
    Ok(())
}

fn times(loaded: &dyn Loaded, seconds: f64) -> Result<Vec<f64>> {
    loaded.run()?;
    let (mut taken, start) = (Vec::new(), Instant::now());
    while taken.len() < LEAST_RUNS || start.elapsed().as_secs_f64() < seconds && taken.len() < MOST_RUNS {
        let before = Instant::now();
        let outputs = loaded.run()?;
        taken.push(milliseconds(before));
        drop(outputs);
    }
    Ok(taken)
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

fn resident(field: &str) -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find(|line| line.starts_with(field)).with_context(|| format!("no {field}"))?;
    let number = line.split_whitespace().nth(1).with_context(|| format!("no {field}"))?;
    Ok(number.parse::<u64>()? * 1024)
}
