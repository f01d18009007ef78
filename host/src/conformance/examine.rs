//! A whole examination: the cases that are asked for, run, held against the list of known gaps, and summed up.

use super::kernels::card;
use super::{Event, RunError, RunOptions, Target, USUAL_SEED, run, suites};
use crate::config::FastPaths;
use crate::plugin::{ABI_VERSION, Kind, Plugin};
use std::sync::Arc;
use std::time::Instant;
use sunmao_conformance::report::{CardLine, FastPathDifference, HostFacts, Report, Settings, Subject};
use sunmao_conformance::{CaseFacts, CaseResult, Lists, Profile, glob};

/// Which cases.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only cases that one of these asks for; empty: all.
    pub profiles: Vec<Profile>,
    /// Only cases whose name fits one of these; empty: all.
    pub patterns: Vec<String>,
    /// Only cases of these suites; empty: all.
    pub suites: Vec<String>,
    /// Seed of the drawn cases; none: the usual one.
    pub seed: Option<u64>,
}

impl Selection {
    /// Whether a case is asked for.
    pub fn wants(&self, case: &CaseFacts) -> bool {
        (self.profiles.is_empty() || self.profiles.iter().any(|profile| profile.asks_for(case)))
            && (self.patterns.is_empty() || self.patterns.iter().any(|pattern| glob::matches(pattern, &case.name)))
            && (self.suites.is_empty() || self.suites.contains(&case.suite))
    }

    /// Whether it is everything.
    fn is_whole(&self) -> bool {
        self.profiles.is_empty() && self.patterns.is_empty() && self.suites.is_empty() && self.seed.is_none()
    }
}

/// Runs what is asked for on `target` and sums it up. `lists`: the known gaps of the plugin.
pub fn examine(
    target: &Target,
    selection: &Selection,
    lists: &Lists,
    options: RunOptions,
    watch: &mut dyn FnMut(Event<'_>),
) -> Result<Report, RunError> {
    let start = Instant::now();
    let suites = suites(selection.seed.unwrap_or(USUAL_SEED));
    let about_the_host =
        |case: &CaseFacts| suites.iter().any(|suite| suite.name() == case.suite && suite.is_about_the_host());
    // A chip alone says nothing of the host, so checks of the host are run for it only where they are asked for.
    let named = !selection.profiles.is_empty() || !selection.suites.is_empty();
    let wanted = |case: &CaseFacts| selection.wants(case) && (named || !target.strict || !about_the_host(case));
    let mut cases = run(&suites, &wanted, target, options, watch)?;
    let stale = lists.apply(&mut cases, selection.is_whole());
    let shown = |case: &CaseResult| {
        let suite = suites.iter().find(|suite| suite.name() == case.facts.suite)?;
        let lines = suite.show(&case.facts);
        (!lines.is_empty()).then(|| (format!("{}/{}", case.facts.suite, case.facts.name), lines))
    };
    let shown = cases.iter().filter_map(shown).collect();
    let mut report =
        Report::new(host_facts(), subject(target), settings(target, selection, options), &selection.profiles, cases);
    (report.stale, report.shown, report.seconds) = (stale, shown, start.elapsed().as_secs_f64());
    Ok(report)
}

/// Runs the cases of `report` once more with everything that the host can help with, and tells whose verdict that changes.
pub fn compare_fast_paths(
    report: &Report,
    target: &Target,
    options: RunOptions,
    watch: &mut dyn FnMut(Event<'_>),
) -> Result<FastPathDifference, RunError> {
    let before = |facts: &CaseFacts| report.cases.iter().find(|case| case.facts == *facts);
    let helped = Target { fast_paths: true, strict: false, ..target.clone() };
    let after = run(&suites(USUAL_SEED), &|case| before(case).is_some(), &helped, options, watch)?;
    let differing = after.iter().filter_map(|after| {
        let (off, on) = (before(&after.facts)?.outcome.verdict, after.outcome.verdict);
        (off != on).then(|| format!("{}: {off} -> {on}", after.facts.name))
    });
    Ok(FastPathDifference { cases: after.len(), differing: differing.collect() })
}

/// How fast the operators of the target's plugin are, beside the portable plugin, if there is one, and the host's fast paths.
pub fn performance_card(target: &Target, portable: Option<&Arc<Plugin>>) -> Vec<CardLine> {
    let line = |line: card::Line| CardLine {
        op: line.op,
        dtype: line.dtype,
        sizes: line.sizes,
        unit: line.unit.name().to_owned(),
        rate: line.rate,
        against_portable: line.against_portable.filter(|_| portable.is_some()),
        against_fast_path: line.against_fast_path,
    };
    // Without one the plugin is compared with itself, and that is left out above.
    card::card(&target.chip.plugin, portable.unwrap_or(&target.chip.plugin)).into_iter().map(line).collect()
}

/// The cases of a profile on this host: its list, or all of its suite.
pub fn profile_cases(profile: &Profile) -> Vec<String> {
    let cases = suites(USUAL_SEED).into_iter().flat_map(|suite| suite.cases());
    cases.filter(|case| profile.asks_for(case)).map(|case| case.name).collect()
}

fn host_facts() -> HostFacts {
    HostFacts {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        machine: format!("{} {}", std::env::consts::ARCH, std::env::consts::OS),
    }
}

fn subject(target: &Target) -> Subject {
    let plugin = &target.chip.plugin;
    let Kind::Chip(facts) = plugin.kind() else { unreachable!("the registry keeps importers apart from chips") };
    Subject {
        plugin: facts.info.id.clone(),
        name: facts.info.name.clone(),
        vendor: facts.info.vendor.clone(),
        version: facts.info.version.clone(),
        sha256: plugin.digest().to_string(),
        abi: ABI_VERSION.to_owned(),
    }
}

fn settings(target: &Target, selection: &Selection, options: RunOptions) -> Settings {
    Settings {
        strict: target.strict,
        fast_paths: target.fast_paths && target.chip.fast_paths != FastPaths::Off,
        jobs: options.jobs,
        threads: target.threads,
        deadline_ms: target.deadline.as_millis() as u64,
        patterns: selection.patterns.clone(),
    }
}
