//! Speed beside ONNX Runtime and OpenVINO: f32, int8 and small models, and two threads over one.

use super::Setting;
use crate::contest::{Contest, Entrant, Length, Runtime, hold};
use crate::figure::{Goal, Report, geometric_mean};
use crate::models::{Files, Kind, Model};
use crate::sheet;
use anyhow::Result;

const PEERS: [Runtime; 2] = [Runtime::Ort, Runtime::OpenVino];
const THREADS: [usize; 2] = [1, 2];
/// No f32 model may be slower than this beside either peer, and the geometric means beside each are to reach that.
const NONE_BELOW: f64 = 0.95;
const MEANS: [(Runtime, f64); 2] = [(Runtime::Ort, 1.2), (Runtime::OpenVino, 1.15)];
/// int8 beside either peer: resnet50, and the others.
const INT8_RESNET: f64 = 1.0;
const INT8: f64 = 1.2;
/// Small models beside either peer, and which f32 model is one of them too.
const SMALL: f64 = 1.5;
const ALSO_SMALL: &str = "ppocrv5_cls";
/// Two threads over one, for models that take longer than this.
const SCALING: f64 = 1.75;
const SCALES_ABOVE_MS: f64 = 1.0;

/// Every contest is held once, and all figures that it is good for are taken from it.
pub(crate) fn measure(report: &mut Report<'_>, setting: &Setting<'_>) {
    let mut held: Vec<Contest> = Vec::new();
    let scaling = report.wants("scaling");
    for model in setting.models(Kind::F32) {
        for files in cases(setting, model) {
            let name = format!("f32.{}.b{}", model.name, files.batch);
            let is_small = model.name == ALSO_SMALL && files.batch == 1 && report.wants("small.ppocrv5_cls");
            let wanted = report.wants(&name) || report.wants("f32.geomean") || scaling || is_small;
            if let Some(contest) = contest(report, setting, model, files, wanted, &name) {
                if report.wants(&name) {
                    against_both(report, &contest, &name, NONE_BELOW);
                }
                if is_small {
                    against_both(report, &contest, &format!("small.{}.b1", model.name), SMALL);
                }
                held.push(contest);
            }
        }
    }
    means(report, &held);
    for model in setting.models(Kind::Int8) {
        for files in cases(setting, model) {
            let name = format!("int8.{}.b{}", model.name, files.batch);
            let wanted = report.wants(&name) || scaling;
            if let Some(contest) = contest(report, setting, model, files, wanted, &name) {
                if report.wants(&name) {
                    let goal = if model.name.starts_with("resnet50") { INT8_RESNET } else { INT8 };
                    against_both(report, &contest, &name, goal);
                    against_f32(report, setting, &held, model, &contest, &name);
                }
                held.push(contest);
            }
        }
    }
    if report.wants("int8.exact") {
        exact(report, setting);
    }
    for model in setting.models(Kind::Small) {
        for files in &model.cases {
            let name = format!("small.{}.{}", model.name, files.name);
            if let Some(contest) = contest(report, setting, model, files, report.wants(&name), &name) {
                against_both(report, &contest, &name, SMALL);
            }
        }
    }
    if scaling {
        two_over_one(report, &held);
    }
}

/// The cases of a model; a sample is the first.
fn cases<'a>(setting: &Setting<'_>, model: &'a Model) -> &'a [Files] {
    let count = if setting.quick { 1 } else { model.cases.len() };
    &model.cases[..count.min(model.cases.len())]
}

/// Holds it if it is wanted; when it cannot be held, its figures are missing.
fn contest(
    report: &mut Report<'_>,
    setting: &Setting<'_>,
    model: &Model,
    files: &Files,
    wanted: bool,
    name: &str,
) -> Option<Contest> {
    let entrants: Vec<Entrant> = THREADS
        .iter()
        .flat_map(|&threads| [Runtime::Sunmao, PEERS[0], PEERS[1]].map(|runtime| Entrant { runtime, threads }))
        .collect();
    if !wanted {
        return None;
    }
    match hold(setting.means, setting.index, model, files, &entrants, Length::of(setting.quick)) {
        Ok(contest) => {
            eprint!("{}", sheet::text(&contest));
            Some(contest)
        }
        Err(error) => {
            report.missing(name, &format!("{error:#}"));
            None
        }
    }
}

/// A line for each number of threads and peer.
fn against_both(report: &mut Report<'_>, contest: &Contest, name: &str, goal: f64) {
    for threads in THREADS {
        for peer in PEERS {
            let line = format!("{name}.t{threads}.{peer}");
            let ours = Entrant { runtime: Runtime::Sunmao, threads };
            put(report, &line, contest.ratio(ours, Entrant { runtime: peer, threads }), goal);
        }
    }
}

fn put(report: &mut Report<'_>, name: &str, ratio: Result<f64>, goal: f64) {
    match ratio {
        Ok(ratio) => report.line(name, ratio, "x", Goal::AtLeast(goal), 1),
        Err(error) => report.missing(name, &format!("{error:#}")),
    }
}

/// Geometric means over the f32 models, for each peer, number of threads and batch.
fn means(report: &mut Report<'_>, held: &[Contest]) {
    for batch in [1, 8] {
        let of_batch = || held.iter().filter(|contest| contest.batch == batch);
        if of_batch().next().is_none() {
            continue;
        }
        for threads in THREADS {
            for (peer, goal) in MEANS {
                let name = format!("f32.geomean.b{batch}.t{threads}.{peer}");
                if !report.wants(&name) {
                    continue;
                }
                let ours = Entrant { runtime: Runtime::Sunmao, threads };
                let theirs = Entrant { runtime: peer, threads };
                // A model without a time of ours is in no mean, so one that is missing must not make it better.
                let ratios: Vec<f64> = of_batch().filter_map(|contest| contest.ratio(ours, theirs).ok()).collect();
                match of_batch().count() - ratios.len() {
                    0 => report.line(&name, geometric_mean(&ratios), "x", Goal::AtLeast(goal), ratios.len()),
                    missing => {
                        let so_far = geometric_mean(&ratios);
                        report.missing(&name, &format!("{missing} models have no ratio; {so_far:.3}x over the others"));
                    }
                }
            }
        }
    }
}

/// Integers at their worst: how far the answers are from exact ones, natively and in the plugin.
fn exact(report: &mut Report<'_>, setting: &Setting<'_>) {
    let ours = [Runtime::Sunmao, Runtime::Plugin];
    let entrants: Vec<Entrant> = ours.map(|runtime| Entrant { runtime, threads: 1 }).to_vec();
    let length = Length { rounds: 0, seconds: 0.0 };
    for model in setting.models(Kind::Exact) {
        for files in &model.cases {
            let contest = hold(setting.means, setting.index, model, files, &entrants, length);
            for runtime in ours {
                let name = format!("int8.exact.{}.{runtime}", model.name.trim_start_matches("exact_"));
                let lane = contest.as_ref().ok().and_then(|contest| contest.lane(runtime, 1));
                match (lane.and_then(|lane| lane.verdict), &contest) {
                    (Some(verdict), _) => report.line(&name, verdict.off, "", Goal::AtMost(verdict.allowed), 1),
                    (None, Err(error)) => report.missing(&name, &format!("{error:#}")),
                    (None, Ok(_)) => {
                        let why = lane.and_then(|lane| lane.error.clone()).unwrap_or_default();
                        report.missing(&name, &why);
                    }
                }
            }
        }
    }
}

/// The int8 variant over the same model in f32, both ours.
fn against_f32(
    report: &mut Report<'_>,
    setting: &Setting<'_>,
    held: &[Contest],
    model: &Model,
    contest: &Contest,
    name: &str,
) {
    let original = model.f32.as_deref().unwrap_or_default();
    let found = held.iter().find(|other| other.model == original && other.batch == contest.batch);
    let fresh = || -> Result<Contest> {
        let model = setting.index.model(original)?;
        let files = model.cases.iter().find(|files| files.batch == contest.batch);
        let entrants = THREADS.map(|threads| Entrant { runtime: Runtime::Sunmao, threads });
        let files = files.ok_or_else(|| anyhow::anyhow!("{original} has no such batch"))?;
        hold(setting.means, setting.index, model, files, &entrants, Length::of(setting.quick))
    };
    let f32 = found.cloned().map_or_else(fresh, Ok);
    for threads in THREADS {
        let ratio = f32.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"));
        let ratio = ratio.and_then(|f32| Ok(f32.ms(Runtime::Sunmao, threads)? / contest.ms(Runtime::Sunmao, threads)?));
        put(report, &format!("{name}.t{threads}.f32"), ratio, 1.0);
    }
}

/// Our two threads over our one: no model is to be slower, and the geometric mean is to reach the goal.
fn two_over_one(report: &mut Report<'_>, held: &[Contest]) {
    let mut ratios = Vec::new();
    let mut missing = 0;
    for contest in held {
        let name = format!("scaling.{}.b{}", contest.model, contest.batch);
        let times = contest.ms(Runtime::Sunmao, 1).and_then(|one| Ok((one, contest.ms(Runtime::Sunmao, 2)?)));
        match times {
            Ok((one, _)) if one <= SCALES_ABOVE_MS => {}
            Ok((one, two)) => {
                report.line(&name, one / two, "x", Goal::AtLeast(1.0), 1);
                ratios.push(one / two);
            }
            Err(error) => {
                missing += 1;
                report.missing(&name, &format!("{error:#}"));
            }
        }
    }
    let mean = geometric_mean(&ratios);
    match missing {
        0 => report.line("scaling.geomean", mean, "x", Goal::AtLeast(SCALING), ratios.len()),
        _ => report.missing("scaling.geomean", &format!("{missing} models have no ratio; {mean:.3}x over the others")),
    }
}
