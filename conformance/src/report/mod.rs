//! What is told of a run: `report.json`, a page to look at, JUnit for build servers, and the certificate.

mod certificate;
mod junit;
mod page;
mod table;

pub use certificate::{Certificate, CertificateError, FastPathDifference};

use crate::{CaseResult, Profile, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Schema of `report.json`. A field that goes or changes its meaning makes the next one; new fields do not.
pub const SCHEMA: &str = "sunmao-conformance-report/1";

/// A run and its results. The JSON form is this structure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// What ran the cases.
    pub host: HostFacts,
    /// What was under test.
    pub subject: Subject,
    /// How it was run.
    pub settings: Settings,
    /// Wall time in seconds.
    pub seconds: f64,
    /// Cases by verdict.
    pub counts: Counts,
    /// The same for each band of opsets.
    pub bands: Vec<Band>,
    /// Whether each profile asked for is met.
    pub profiles: Vec<ProfileResult>,
    /// What is wrong with the list of known gaps.
    pub stale: Vec<String>,
    /// Every case.
    pub cases: Vec<CaseResult>,
    /// How fast the plugin's operators are; empty: not measured.
    #[serde(default)]
    pub card: Vec<CardLine>,
    /// Inputs and expected outputs of cases for a person, by suite and name (`onnx-node/test_abs`).
    #[serde(default)]
    pub shown: BTreeMap<String, Vec<String>>,
}

/// One operator of the performance card, on one thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CardLine {
    /// The operator.
    pub op: String,
    /// Short name of the element type.
    pub dtype: String,
    /// Sizes, for a person.
    pub sizes: String,
    /// What the rate counts: `Gop/s` or `GB/s`.
    pub unit: String,
    /// The median rate.
    pub rate: f64,
    /// The rate over that of the portable plugin; none where that one does not run it or is not there.
    pub against_portable: Option<f64>,
    /// The rate over that of the host's fast path; none where there is none.
    pub against_fast_path: Option<f64>,
}

/// What ran the cases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Version of the host.
    pub version: String,
    /// Instruction set and operating system.
    pub machine: String,
}

/// What was under test.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Id of the plugin.
    pub plugin: String,
    /// Its full name.
    pub name: String,
    /// Who made it.
    pub vendor: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its file.
    pub sha256: String,
    /// Version of the ABI that it was run with.
    pub abi: String,
}

/// How the cases were run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The plugin alone: no kernel of the host helps.
    pub strict: bool,
    /// Native fast paths could stand in.
    pub fast_paths: bool,
    /// Cases at a time.
    pub jobs: usize,
    /// Threads of each.
    pub threads: usize,
    /// Time for each, in milliseconds.
    pub deadline_ms: u64,
    /// Patterns that selected cases; empty: all.
    pub patterns: Vec<String>,
}

/// Cases by verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Counts {
    /// All of them.
    pub cases: usize,
    /// Right.
    pub pass: usize,
    /// Compared and not right.
    pub wrong: usize,
    /// Said beforehand that it cannot.
    pub declined: usize,
    /// Said yes and failed.
    pub broken_promise: usize,
    /// No answer in time.
    pub timeout: usize,
    /// Trap or panic.
    pub crash: usize,
    /// Of the failures, those that a list of known gaps explains.
    pub waived: usize,
    /// Of the passes, those that hold by an operator's own tolerance or by what a random operator promises, and not by the rule that other
    /// runtimes are measured with.
    pub not_as_peers: usize,
}

/// Cases of some opsets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Band {
    /// `<=13`, `23-26`.
    pub name: String,
    /// Cases by verdict.
    pub counts: Counts,
}

/// What came of a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileResult {
    /// The profile.
    pub name: String,
    /// Cases that must pass.
    pub cases: usize,
    /// Of those, the ones that did.
    pub passed: usize,
    /// SHA-256 of the list of their names.
    pub list_sha256: String,
    /// All passed.
    pub met: bool,
}

/// Bands of opsets: the last one that belongs to each, and its name.
const BANDS: [(u16, &str); 5] = [(13, "<=13"), (18, "14-18"), (22, "19-22"), (26, "23-26"), (u16::MAX, "27-28")];

impl Report {
    /// Sums up a run.
    pub fn new(
        host: HostFacts,
        subject: Subject,
        settings: Settings,
        profiles: &[Profile],
        cases: Vec<CaseResult>,
    ) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            host,
            subject,
            settings,
            seconds: 0.0,
            counts: Counts::of(&cases),
            bands: bands(&cases),
            profiles: profiles.iter().map(|profile| ProfileResult::of(profile, &cases)).collect(),
            stale: Vec::new(),
            cases,
            card: Vec::new(),
            shown: BTreeMap::new(),
        }
    }

    /// Whether nothing is wrong: no failure that is not known, no stale entry, every profile met.
    pub fn is_good(&self) -> bool {
        self.counts.cases > 0
            && !self.cases.iter().any(CaseResult::fails)
            && self.stale.is_empty()
            && self.profiles.iter().all(|profile| profile.met)
    }

    /// `report.json`.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers, texts and lists have a JSON form")
    }

    /// `report.html`, one file.
    pub fn html(&self) -> String {
        page::page(self)
    }

    /// `junit.xml`.
    pub fn junit(&self) -> String {
        junit::junit(self)
    }

    /// The counts by verdict and band, for a terminal.
    pub fn table(&self) -> String {
        table::table(self)
    }
}

impl Counts {
    /// Counts cases.
    pub fn of<'a>(cases: impl IntoIterator<Item = &'a CaseResult>) -> Self {
        let mut counts = Self::default();
        for case in cases {
            counts.cases += 1;
            *counts.slot(case.outcome.verdict) += 1;
            counts.waived += usize::from(case.waiver.is_some());
            let passes = case.outcome.verdict == Verdict::Pass;
            counts.not_as_peers += usize::from(passes && case.outcome.comparison.as_peers == Some(false));
        }
        counts
    }

    /// Cases of that verdict.
    pub fn with(&self, verdict: Verdict) -> usize {
        *self.clone().slot(verdict)
    }

    fn slot(&mut self, verdict: Verdict) -> &mut usize {
        match verdict {
            Verdict::Pass => &mut self.pass,
            Verdict::Wrong => &mut self.wrong,
            Verdict::Declined => &mut self.declined,
            Verdict::BrokenPromise => &mut self.broken_promise,
            Verdict::Timeout => &mut self.timeout,
            Verdict::Crash => &mut self.crash,
        }
    }
}

fn bands(cases: &[CaseResult]) -> Vec<Band> {
    let band = |opset: u16| BANDS.iter().position(|(last, _)| opset <= *last).expect("the last band has no end");
    let of = |index: usize| cases.iter().filter(move |case| case.facts.opset.is_some_and(|opset| band(opset) == index));
    let bands = BANDS.iter().enumerate();
    bands
        .map(|(index, (_, name))| Band { name: (*name).to_owned(), counts: Counts::of(of(index)) })
        .filter(|band| band.counts.cases > 0)
        .collect()
}

impl ProfileResult {
    fn of(profile: &Profile, cases: &[CaseResult]) -> Self {
        let asked: Vec<&CaseResult> = cases.iter().filter(|case| profile.asks_for(&case.facts)).collect();
        let passed = asked.iter().filter(|case| case.outcome.verdict == Verdict::Pass).count();
        let expected = profile.names().count();
        // A list that was not run whole certifies nothing; the profile without a list is what its suite has.
        let whole = !asked.is_empty() && (expected == 0 || asked.len() == expected);
        // A known gap excuses a run, never a profile: else a list of `*` would certify anything.
        let met = whole && passed == asked.len();
        let list_sha256 = Profile::digest(asked.iter().map(|case| case.facts.name.as_str()));
        Self { name: profile.name.to_owned(), cases: asked.len(), passed, list_sha256, met }
    }
}

#[cfg(test)]
pub(crate) mod tests;
