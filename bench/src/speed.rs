//! Speed of the `simd128` plugin alone: against onnxruntime-web's wasm backend on the same machine, and of two instances against one.

use crate::contest::{Contest, Entrant, Length, Means, Runtime, hold};
use crate::figure::{Goal, Report, geometric_mean, median};
use crate::models::{Index, Model};
use crate::rig::{Paths, Rig, seconds};
use crate::sheet;
use anyhow::{Context, Result};

/// Two instances on one operator against one, on resnet50, in alternating rounds.
pub(crate) fn scaling(report: &mut Report<'_>, rig: &Rig, index: &Index, quick: bool) -> Result<()> {
    let model = index.model("resnet50")?;
    let case = index.case(model.cases.first().context("resnet50 has no case")?)?;
    let one = rig.session("simd128", 1, &index.file(model), Paths::Plugin)?;
    let two = rig.session("simd128", 2, &index.file(model), Paths::Plugin)?;
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
pub(crate) fn measure(report: &mut Report<'_>, means: &Means, index: &Index, quick: bool) -> Result<()> {
    let mut ratios = [Vec::new(), Vec::new()];
    let sample = if quick { 3 } else { usize::MAX };
    let wanted: Vec<&Model> =
        index.models.iter().filter(|model| report.wants(&format!("speed.{}", model.name))).take(sample).collect();
    for model in wanted {
        match ratio(means, index, model, quick) {
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

/// The peer at one thread over us at one, and the better of the peer's thread counts over us at two.
fn ratio(means: &Means, index: &Index, model: &Model, quick: bool) -> Result<[f64; 2]> {
    let files = model.cases.first().context("the model has no case")?;
    let entrants = against_the_web();
    let contest = hold(means, index, model, files, &entrants, Length::of(quick))?;
    eprint!("{}", sheet::text(&contest));
    better_of_the_web(&contest)
}

/// The plugin alone and onnxruntime-web, with one and two threads.
pub(crate) fn against_the_web() -> Vec<Entrant> {
    let pair = |threads| [Runtime::Plugin, Runtime::OrtWeb].map(|runtime| Entrant { runtime, threads });
    [1, 2].into_iter().flat_map(pair).collect()
}

/// Ratios to onnxruntime-web at one thread, and of ours with two to the better of its thread counts.
pub(crate) fn better_of_the_web(contest: &Contest) -> Result<[f64; 2]> {
    let ours = [contest.ms(Runtime::Plugin, 1)?, contest.ms(Runtime::Plugin, 2)?];
    let (one, two) = (contest.ms(Runtime::OrtWeb, 1)?, contest.ms(Runtime::OrtWeb, 2)?);
    Ok([one / ours[0], one.min(two) / ours[1]])
}
