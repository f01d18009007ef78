//! How soon a model is ready, and what it takes in memory, beside ONNX Runtime: every number from a process of its own.

use super::Setting;
use crate::contest::{Facts, Runner, Runtime, Task};
use crate::figure::{Goal, Report, median};
use crate::models::{Kind, Model};
use anyhow::{Context, Result};

/// Processes of each runtime, in turns.
const ROUNDS: usize = 3;
/// Goals: of the time until a model is ready over ONNX Runtime's session creation, the first time and once everything is cached.
const FIRST: f64 = 0.6;
const WARM: f64 = 0.15;
/// Goals: of memory taken over what the plan needs, and over what ONNX Runtime takes.
const OVER_PLAN: f64 = 1.3;
const OVER_PEER: f64 = 1.0;

/// Four lines a model.
pub(crate) fn measure(report: &mut Report<'_>, setting: &Setting<'_>) {
    let models = [Kind::F32, Kind::Int8].into_iter().flat_map(|kind| setting.models(kind));
    for model in models {
        let name = |what: &str| format!("{what}.{}", model.name);
        let (first, warm) = (name("ready") + ".first", name("ready") + ".warm");
        if report.wants(&first) || report.wants(&warm) {
            match ready(setting, model) {
                Ok([first_ratio, warm_ratio]) => {
                    report.line(&first, first_ratio, "x", Goal::AtMost(FIRST), ROUNDS);
                    report.line(&warm, warm_ratio, "x", Goal::AtMost(WARM), ROUNDS);
                }
                Err(error) => [first, warm].iter().for_each(|name| report.missing(name, &format!("{error:#}"))),
            }
        }
        let (own, peer) = (name("memory") + ".plan", name("memory") + ".onnxruntime");
        if report.wants(&own) || report.wants(&peer) {
            match memory(setting, model) {
                Ok([over_plan, over_peer]) => {
                    report.line(&own, over_plan, "x", Goal::AtMost(OVER_PLAN), 1);
                    report.line(&peer, over_peer, "x", Goal::AtMost(OVER_PEER), 1);
                }
                Err(error) => [own, peer].iter().for_each(|name| report.missing(name, &format!("{error:#}"))),
            }
        }
    }
}

/// Starts a runtime with the first case of a model.
fn start(setting: &Setting<'_>, model: &Model, runtime: Runtime, flags: &[&str]) -> Result<Runner> {
    let files = model.cases.first().context("the model has no case")?;
    Runner::start(setting.means, runtime, 1, &Task::new(setting.index, model, files), flags)
}

/// Our time until the model is ready over the peer's session creation: the first time, and again.
///
/// Ready means that the next request takes no longer than any other: shapes that come with a request are planned and packed for with the first one, so
/// what the first one took beyond a usual one counts. The peer's first run does not.
fn ready(setting: &Setting<'_>, model: &Model) -> Result<[f64; 2]> {
    let (mut first, mut warm, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        // The first time begins with nothing and pays for what is kept; the second finds it.
        let store = setting.means.scratch.join(format!("store-{}", std::process::id()));
        std::fs::remove_dir_all(&store).ok();
        let folder = store.display().to_string();
        for times in [&mut first, &mut warm] {
            let mut ours = start(setting, model, Runtime::Sunmao, &["--store", &folder])?;
            let usual = median(ours.burst(0.0)?);
            times.push(ours.facts.load_ms + (ours.facts.first_ms - usual).max(0.0));
        }
        std::fs::remove_dir_all(&store).ok();
        theirs.push(start(setting, model, Runtime::Ort, &[])?.facts.load_ms);
    }
    let (first, warm, theirs) = (median(first), median(warm), median(theirs));
    eprintln!("{} ready: {first:.1} ms, again {warm:.1} ms, onnxruntime {theirs:.1} ms", model.name);
    Ok([first / theirs, warm / theirs])
}

/// What a process grew by until the first answer, at most.
fn growth(facts: &Facts) -> f64 {
    facts.peak_bytes.saturating_sub(facts.idle_bytes) as f64
}

/// Our growth over what the plan needs, and over the peer's.
fn memory(setting: &Setting<'_>, model: &Model) -> Result<[f64; 2]> {
    let ours = start(setting, model, Runtime::Sunmao, &["--watch-memory"])?.facts.clone();
    let theirs = start(setting, model, Runtime::Ort, &[])?.facts.clone();
    let planned = ours.planned_bytes.context("the model runs in several steps, each with a plan of its own")? as f64;
    let (own, peer) = (growth(&ours), growth(&theirs));
    eprintln!("{} memory: {own:.3e} bytes, planned {planned:.3e}, onnxruntime {peer:.3e}", model.name);
    Ok([own / planned, own / peer])
}
