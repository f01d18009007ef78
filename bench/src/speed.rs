//! Speed of the `simd128` plugin alone: against onnxruntime-web's wasm backend on the same machine, and of two instances against one.

use crate::accuracy::deviation;
use crate::figure::{Goal, Report, geometric_mean, median};
use crate::models::{Index, Model};
use crate::rig::{Rig, repeat, seconds};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Deviation beyond which a speed does not count.
const LIMIT: f64 = 1e-4;

/// Two instances on one operator against one, on resnet50, in alternating rounds.
pub(crate) fn scaling(report: &mut Report<'_>, rig: &Rig, index: &Index, quick: bool) -> Result<()> {
    let model = index.model("resnet50")?;
    let case = index.case(model.cases.first().context("resnet50 has no case")?)?;
    let one = rig.session("simd128", 1, &index.file(model))?;
    let two = rig.session("simd128", 2, &index.file(model))?;
    let (a, b) = (one.infer(case.inputs.clone(), &[])?, two.infer(case.inputs.clone(), &[])?);
    report.line("scaling.resnet50.same-bits", f64::from(a == b), "", Goal::AtLeast(1.0), 1);
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..if quick { 4 } else { 12 } {
        for (times, session) in times.iter_mut().zip([&one, &two]) {
            times.push(seconds(|| session.infer(case.inputs.clone(), &[])));
        }
    }
    let rounds = times[0].len();
    let [one, two] = times.map(median);
    report.line("scaling.resnet50.t2", one / two, "x", Goal::AtLeast(1.85), rounds);
    Ok(())
}

/// Ratio of the peer's time to ours for each model and thread count, and their geometric means.
pub(crate) fn measure(report: &mut Report<'_>, rig: &Rig, index: &Index, quick: bool) -> Result<()> {
    let mut ratios = [Vec::new(), Vec::new()];
    let sample = if quick { 3 } else { usize::MAX };
    let wanted: Vec<&Model> =
        index.models.iter().filter(|model| report.wants(&format!("speed.{}", model.name))).take(sample).collect();
    for model in wanted {
        match ratio(rig, index, model, quick) {
            Ok(pair) => {
                for (threads, (ratio, all)) in pair.into_iter().zip(&mut ratios).enumerate() {
                    let name = format!("speed.{}.ortweb.t{}", model.name, threads + 1);
                    report.line(&name, ratio, "x", Goal::AtLeast(1.0), 1);
                    all.push(ratio);
                }
            }
            Err(error) => report.missing(&format!("speed.{}.ortweb", model.name), &format!("{error:#}")),
        }
    }
    let [one, two] = ratios;
    report.line("speed.geomean.ortweb.t1", geometric_mean(&one), "x", Goal::AtLeast(1.3), one.len());
    report.line("speed.geomean.ortweb.t2", geometric_mean(&two), "x", Goal::AtLeast(1.6), two.len());
    Ok(())
}

/// The peer at one thread over us at one, and the better of the peer's thread counts over us at two. Rounds alternate.
fn ratio(rig: &Rig, index: &Index, model: &Model, quick: bool) -> Result<[f64; 2]> {
    let name = model.cases.first().context("the model has no case")?;
    let case = index.case(name)?;
    let file = index.file(model);
    let inputs = index.inputs_file(name);
    let mut ours = [Vec::new(), Vec::new()];
    let mut peer = [Vec::new(), Vec::new()];
    let time = Duration::from_millis(if quick { 300 } else { 1200 });
    let sessions = [rig.session("simd128", 1, &file)?, rig.session("simd128", 2, &file)?];
    for session in &sessions {
        let off = deviation(&session.infer(case.inputs.clone(), &[])?, &case.expected)?;
        if off > LIMIT {
            bail!("outputs deviate by {off:.1e}: its speed does not count");
        }
    }
    for _ in 0..if quick { 1 } else { 3 } {
        for threads in 0..2 {
            peer[threads].push(ortweb(index.folder(), &file, &inputs, threads + 1, time)?);
            let session = &sessions[threads];
            let mut failed = None;
            ours[threads]
                .push(repeat(time, 5, || failed = session.infer(case.inputs.clone(), &[]).err().or(failed.take())));
            if let Some(error) = failed {
                return Err(error.into());
            }
        }
    }
    let ([our_one, our_two], [peer_one, peer_two]) = (ours.map(median), peer.map(median));
    eprintln!(
        "  {}: ours {:.2} / {:.2} ms, onnxruntime-web {:.2} / {:.2} ms",
        model.name,
        our_one * 1e3,
        our_two * 1e3,
        peer_one * 1e3,
        peer_two * 1e3
    );
    Ok([peer_one / our_one, peer_one.min(peer_two) / our_two])
}

/// Median seconds of onnxruntime-web.
fn ortweb(models: &Path, model: &Path, inputs: &Path, threads: usize, time: Duration) -> Result<f64> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/ortweb.mjs");
    let output = Command::new("node")
        .arg(script)
        .arg("--peers")
        .arg(models.join(".peers"))
        .arg("--model")
        .arg(model)
        .arg("--inputs")
        .arg(inputs)
        .args(["--threads", &threads.to_string(), "--seconds", &time.as_secs_f64().to_string()])
        .output()
        .context("node: install Node 20 or later")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().rev().find(|line| line.starts_with('{'));
    let value: serde_json::Value = serde_json::from_str(line.unwrap_or("{}"))?;
    let milliseconds = value["median_ms"].as_f64();
    milliseconds.map(|ms| ms / 1e3).with_context(|| {
        format!("onnxruntime-web answered nothing: {text} {}", String::from_utf8_lossy(&output.stderr))
    })
}
