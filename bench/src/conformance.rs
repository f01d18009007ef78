//! The figures of the conformance suite: how many of ONNX's node cases pass, how other runtimes do, what chips promise and keep.
//!
//! Each group has a function of its own. Whatever does not pass is told by name on stderr, with its reason.

use crate::figure::{Goal, Report};
use crate::opinion;
use crate::rig::Rig;
use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;
use sunmao_conformance::report::{Counts, Report as Run};
use sunmao_conformance::{Lists, Profile, Store, Verdict};
use sunmao_host::conformance::behaviour::Behaviour;
use sunmao_host::conformance::kernels::strength::strength;
use sunmao_host::conformance::{RunOptions, Selection, Target, examine, onnx};

/// A sample takes every so-manyth case.
const SAMPLE: usize = 12;
/// Goals over all 1884 cases.
const PASS_GOAL: usize = 1840;
const CORE_GOAL: usize = 1200;
const BEHAVIOUR_GOAL: f64 = 60.0;
/// All suites on one plugin.
const MINUTES_GOAL: f64 = 10.0;
/// Growth of the process over all checks, in per cent.
const GROWTH_GOAL: f64 = 5.0;
const MUTANTS_GOAL: f64 = 200.0;
const CAUGHT_GOAL: f64 = 99.0;
/// Drawn cases for each operator that mutants are asked.
const CASES: u64 = 48;
const QUICK_CASES: u64 = 24;
/// The seed of those cases.
const SEED: u64 = 1;
/// The chip that is chosen when nobody names one.
const DEFAULT_CHIP: &str = "simd128";

/// What the measurements need.
pub(crate) struct Means<'a> {
    pub(crate) rig: &'a Rig,
    /// A Python that has the peers; none: they could not be installed.
    pub(crate) python: Option<PathBuf>,
    /// The script and the store of cases.
    pub(crate) script: PathBuf,
    pub(crate) store: PathBuf,
    /// A sample of each figure.
    pub(crate) quick: bool,
}

/// Measures all of them.
pub(crate) fn measure(report: &mut Report<'_>, means: &Means<'_>) {
    report.section("onnx.node", |report| onnx_nodes(report, means));
    report.section("core-f32", |report| core_alone(report, means));
    report.section("claims", |report| claims(report, means));
    report.section("behaviour", |report| behaviour(report, means));
    report.section("property", |report| mutants(report, means));
    report.section("opinion", |report| opinion::measure(report, means));
}

/// ONNX's cases through importer, default chip and fast paths, by opset band beside the peers.
fn onnx_nodes(report: &mut Report<'_>, means: &Means<'_>) -> Result<()> {
    let run = examined(&means.rig.target(DEFAULT_CHIP)?, &sampled(means, Selection::default()))?;
    tell(&run);
    let counts = run.counts;
    let failed = counts.wrong + counts.broken_promise + counts.timeout + counts.crash;
    report.line("onnx.node.pass", counts.pass as f64, "", Goal::AtLeast(share(PASS_GOAL, counts.cases)), counts.cases);
    report.line("onnx.node.wrong", counts.wrong as f64, "", Goal::AtMost(0.0), counts.cases);
    report.line("onnx.node.failed", (failed - counts.wrong) as f64, "", Goal::AtMost(0.0), counts.cases);
    let expected = if means.quick {
        Store::onnx_nodes().cases().len().div_ceil(SAMPLE)
    } else {
        Store::onnx_nodes().cases().len()
    };
    report.line("onnx.node.skipped", expected as f64 - counts.cases as f64, "", Goal::AtMost(0.0), counts.cases);
    eprintln!(
        "{} passes hold by an operator's own tolerance or promise alone; peers are measured without those",
        counts.not_as_peers
    );
    let peers = peers(means)?;
    for band in &run.bands {
        let name = format!("onnx.node.pass[{}]", band.name);
        let best = peers.iter().filter_map(|peer| peer.bands.get(&band.name)).map(|counts| counts.pass).max();
        match best {
            Some(best) => {
                report.line(&name, band.counts.pass as f64, "", Goal::AtLeast(best as f64), band.counts.cases)
            }
            None => report.missing(&name, "no peer could be installed to compare with"),
        }
    }
    for peer in &peers {
        let sum = |of: fn(&PeerCounts) -> usize| peer.bands.values().map(of).sum::<usize>();
        let (pass, wrong, error) = (sum(|counts| counts.pass), sum(|counts| counts.wrong), sum(|counts| counts.error));
        let bands: Vec<String> =
            peer.bands.iter().map(|(name, counts)| format!("{name} {} of {}", counts.pass, counts.cases)).collect();
        eprintln!("peer {}: {pass} pass, {wrong} wrong, {error} refused or failed; {}", peer.peer, bands.join(", "));
        let name = format!("onnx.node.pass-{}", peer.peer);
        report.line(&name, counts.pass as f64, "", Goal::AtLeast(pass as f64), counts.cases);
    }
    Ok(())
}

/// The profile core-f32 on the default chip alone.
fn core_alone(report: &mut Report<'_>, means: &Means<'_>) -> Result<()> {
    let profile = Profile::named("core-f32").context("there is no profile core-f32")?;
    let selection = Selection { profiles: vec![profile], ..Selection::default() };
    let run = examined(&means.rig.target(DEFAULT_CHIP)?.alone(), &sampled(means, selection))?;
    tell(&run);
    let goal =
        if means.quick { (CORE_GOAL * run.counts.cases / profile.names().count()) as f64 } else { CORE_GOAL as f64 };
    report.line("core-f32.simd128-alone.pass", run.counts.pass as f64, "", Goal::AtLeast(goal), run.counts.cases);
    Ok(())
}

/// Of what each chip claims, in all suites, how much passes: a promise is kept or it is not made.
fn claims(report: &mut Report<'_>, means: &Means<'_>) -> Result<()> {
    for chip in means.rig.chips() {
        let selection = if means.quick { sampled(means, Selection::default()) } else { Selection::default() };
        let run = examined(&means.rig.target(&chip)?.alone(), &selection)?;
        let Counts { cases, pass, declined, .. } = run.counts;
        let claimed = cases - declined;
        run.cases.iter().filter(|case| case.outcome.verdict.is_failure()).for_each(|case| {
            eprintln!("{chip}: {}  {}  {}", case.outcome.verdict, case.facts.name, case.outcome.reason);
        });
        let name = format!("claims.{chip}.kept");
        report.line(&name, 100.0 * pass as f64 / claimed.max(1) as f64, " %", Goal::AtLeast(100.0), claimed);
        if chip == DEFAULT_CHIP {
            report.line("claims.minutes", run.seconds / 60.0, " min", Goal::AtMost(MINUTES_GOAL), cases);
        }
    }
    Ok(())
}

/// Behaviour checks C-01 to C-60: how many are contained, and whether the process gives back what it took.
fn behaviour(report: &mut Report<'_>, means: &Means<'_>) -> Result<()> {
    let target = means.rig.target(DEFAULT_CHIP)?;
    let contained = Behaviour::default().contain_all(&target).map_err(|what| anyhow!(what))?;
    contained.escaped().iter().for_each(|(id, seen)| eprintln!("{id}: {seen}"));
    let checks = contained.checks();
    report.line("behaviour.contained", contained.contained() as f64, "", Goal::AtLeast(BEHAVIOUR_GOAL), checks);
    report.line("behaviour.memory.growth", 100.0 * contained.growth(), " %", Goal::AtMost(GROWTH_GOAL), checks);
    Ok(())
}

/// Mutants of the kernels that the property cases catch: 99 % of at least 200.
fn mutants(report: &mut Report<'_>, means: &Means<'_>) -> Result<()> {
    let plugin = means.rig.guest("mutants")?;
    let jobs = std::thread::available_parallelism().map_or(1, NonZero::get);
    let per_operator = if means.quick { QUICK_CASES } else { CASES };
    let strength = strength(&plugin, SEED, per_operator, jobs);
    if !strength.broken.is_empty() {
        bail!("these cases fail without any fault: {}", strength.broken.join(", "));
    }
    strength.survivors.iter().for_each(|name| eprintln!("survivor: {name}"));
    let share = 100.0 * strength.caught as f64 / strength.mutants.max(1) as f64;
    report.line("property.mutants", strength.mutants as f64, "", Goal::AtLeast(MUTANTS_GOAL), 1);
    report.line("property.mutants.caught", share, " %", Goal::AtLeast(CAUGHT_GOAL), strength.mutants);
    Ok(())
}

fn examined(target: &Target, selection: &Selection) -> Result<Run> {
    // Nothing is excused here.
    let lists = Lists::default();
    Ok(examine(target, selection, &lists, RunOptions { jobs: jobs() }, &mut |_| ())?)
}

fn jobs() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// Every case of the selection, or every so-manyth of ONNX's.
fn sampled(means: &Means<'_>, selection: Selection) -> Selection {
    let names = Store::onnx_nodes().cases().step_by(if means.quick { SAMPLE } else { 1 });
    let patterns = names.map(|case| case.name().to_owned()).collect();
    Selection { patterns, suites: vec![onnx::NAME.to_owned()], ..selection }
}

/// The part of a goal over all cases that a sample of `cases` must reach.
fn share(goal: usize, cases: usize) -> f64 {
    (goal * cases / Store::onnx_nodes().cases().len()) as f64
}

fn tell(run: &Run) {
    for case in run.cases.iter().filter(|case| case.outcome.verdict != Verdict::Pass) {
        let reason: Vec<&str> = case.outcome.reason.split_whitespace().collect();
        eprintln!("{}  {}  {}", case.outcome.verdict, case.facts.name, reason.join(" "));
    }
}

/// What a peer's run printed.
#[derive(Deserialize)]
struct Peer {
    peer: String,
    bands: BTreeMap<String, PeerCounts>,
}

#[derive(Deserialize)]
struct PeerCounts {
    cases: usize,
    pass: usize,
    wrong: usize,
    error: usize,
}

fn peers(means: &Means<'_>) -> Result<Vec<Peer>> {
    let Some(python) = &means.python else { return Ok(Vec::new()) };
    ["onnxruntime", "tract"]
        .iter()
        .map(|peer| measure_peer(python, &means.script, &means.store, peer, means.quick))
        .collect()
}

fn measure_peer(python: &Path, script: &Path, store: &Path, peer: &str, quick: bool) -> Result<Peer> {
    let mut command = Command::new(python);
    command.arg(script).arg(store).arg(peer).args(["--every", &(if quick { SAMPLE } else { 1 }).to_string()]);
    let output = command.output().with_context(|| format!("cannot start {}", python.display()))?;
    if !output.status.success() {
        bail!("{peer} could not be measured: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).with_context(|| format!("the run of {peer} printed no counts"))
}
