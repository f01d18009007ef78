//! `host conformance run` and `host conformance verify`.

use super::arguments::{ConformanceRun, ConformanceVerify};
use super::assemble::{Assembled, options, threads};
use super::failure::Failure;
use super::print;
use super::progress::during;
use crate::config::FastPaths;
use crate::conformance::{
    Event, RunError, RunOptions, Selection, Target, compare_fast_paths, examine, performance_card, profile_cases,
};
use crate::device::{Chip, Registry};
use crate::plugin::{Digest, Kind};
use crate::session::Host;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use sunmao_conformance::report::{CardLine, Certificate, CertificateError, FastPathDifference, Report};
use sunmao_conformance::{CaseResult, Lists, Profile, Verdict};

/// Id of the plugin that rates are compared with.
const PORTABLE: &str = "portable";
/// Where progress has no terminal, a line now and then.
const LINE_EVERY: Duration = Duration::from_secs(30);
/// A progress line on a terminal, this often.
const SHOW_EVERY: Duration = Duration::from_millis(100);

/// Runs cases, prints a summary, writes reports. Fails when anything is wrong.
pub(super) fn run(arguments: &ConformanceRun) -> Result<ExitCode, Failure> {
    let profiles = profiles(&arguments.profile)?;
    let assembled = Assembled::once(&arguments.common)?;
    let target = target(arguments, &assembled)?;
    let selection =
        Selection { profiles, patterns: arguments.case.clone(), suites: arguments.suite.clone(), seed: arguments.seed };
    let lists = lists(arguments.known.as_deref(), &target)?;
    let run = RunOptions { jobs: arguments.jobs.map_or_else(|| threads(&arguments.common), usize::from) };
    let mut progress = Progress::new();
    let mut report = examine(&target, &selection, &lists, run, &mut |event| progress.show(event)).map_err(failed)?;
    progress.clear();
    print(&summary(&report, arguments.declined))?;
    if arguments.card {
        let portable = assembled.host.registry.chips().into_iter().find(|chip| chip.plugin.id() == PORTABLE);
        report.card = during("measuring", || performance_card(&target, portable.as_ref().map(|chip| &chip.plugin)));
        print(&card_table(&report.card))?;
    }
    if let Some(folder) = &arguments.report {
        let alone = arguments.plugin.is_some() && !report.profiles.is_empty();
        let fast_paths = if alone {
            let mut progress = Progress::new();
            let compared = compare_fast_paths(&report, &target, run, &mut |event| progress.show(event));
            progress.clear();
            Some(compared.map_err(failed)?)
        } else {
            None
        };
        write_reports(folder, &report, fast_paths)?;
    }
    Ok(ExitCode::from(u8::from(!report.is_good())))
}

/// Checks a certificate, against a plugin if one is given; with `--rerun` by running its cases again.
pub(super) fn verify(arguments: &ConformanceVerify) -> Result<ExitCode, Failure> {
    let path = &arguments.certificate;
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("{}: {error}", path.display()), "check the path of the certificate"))?;
    let refused = |error: CertificateError| {
        Failure::new(error.to_string(), "ask the vendor for a certificate of this plugin and this host")
            .at(path.display())
    };
    let certificate = Certificate::read(&text, profile_cases).map_err(refused)?;
    if let Some(plugin) = &arguments.run.plugin {
        let bytes = std::fs::read(plugin)
            .map_err(|error| Failure::new(format!("{}: {error}", plugin.display()), "check the path of the plugin"))?;
        certificate.check_plugin(&Digest::of(&bytes).to_string()).map_err(refused)?;
    }
    let names: Vec<&str> = certificate.profiles.iter().map(|profile| profile.name.as_str()).collect();
    let mut out = String::new();
    let subject = &certificate.subject;
    let _ = writeln!(out, "{} {} by {}, sha256 {}", subject.plugin, subject.version, subject.vendor, subject.sha256);
    let _ = writeln!(out, "ABI {}, host {} on {}", subject.abi, certificate.host.version, certificate.host.machine);
    for profile in &certificate.profiles {
        let _ = writeln!(out, "profile {}: {} of {} cases pass", profile.name, profile.passed, profile.cases);
    }
    let checked = if arguments.run.plugin.is_some() { "the plugin's file and the lists" } else { "the lists" };
    let _ = writeln!(out, "good: unchanged, and about {checked} that are here");
    print(&out)?;
    if !arguments.rerun {
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.run.plugin.is_none() {
        return Err(Failure::usage(
            "--rerun needs the plugin",
            "write host conformance verify CERTIFICATE PLUGIN.wasm --rerun",
        ));
    }
    let again =
        ConformanceRun { profile: names.iter().map(|name| (*name).to_owned()).collect(), ..arguments.run.clone() };
    run(&again)
}

fn failed(error: RunError) -> Failure {
    Failure::new(error.to_string(), "")
}

fn profiles(names: &[String]) -> Result<Vec<Profile>, Failure> {
    let known = || Profile::all().iter().map(|profile| profile.name);
    let named = |name: &String| {
        Profile::named(name).ok_or_else(|| {
            let help = match crate::config::nearest(name, known()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("profiles are {}", known().collect::<Vec<_>>().join(", ")),
            };
            Failure::usage(format!("no profile `{name}`"), help)
        })
    };
    names.iter().map(named).collect()
}

fn lists(path: Option<&Path>, target: &Target) -> Result<Lists, Failure> {
    let Some(path) = path else { return Ok(Lists::built_in(&target.chip.plugin.id())) };
    let help = "docs/conformance.md says what it holds";
    let text =
        std::fs::read_to_string(path).map_err(|error| Failure::new(format!("{}: {error}", path.display()), help))?;
    Lists::parse(&text).map_err(|error| Failure::new(error.to_string(), help).at(path.display()))
}

/// The chip of that file with nobody's help; without a file the configured chip as it serves.
fn target(arguments: &ConformanceRun, assembled: &Assembled) -> Result<Target, Failure> {
    let runtime = assembled.installer.runtime.clone();
    let session = options(&arguments.common);
    let mut target = match &arguments.plugin {
        None => {
            let chip = assembled.host.registry.chip(&session.chip)?;
            let host = assembled.host.clone();
            Target {
                strict: session.strict,
                fast_paths: session.fast_paths != FastPaths::Off,
                ..Target::whole_host(runtime, host, chip)
            }
        }
        Some(path) => {
            let plugin = assembled.installer.load(path).map_err(|failure| failure.at(path.display()))?;
            let Kind::Chip(facts) = plugin.kind() else {
                return Err(Failure::new(format!("{} is an importer", path.display()), "name a chip plugin"));
            };
            let registry = Arc::new(Registry::default());
            assembled.host.registry.importers().into_iter().for_each(|importer| registry.add(importer));
            registry.add_chip(Chip::new(facts.info.id.clone(), Vec::new(), FastPaths::Auto, plugin.clone()));
            let chip = registry.chip(&facts.info.id)?;
            let host = Host { limits: assembled.host.limits, ..Host::new(registry, assembled.host.team.clone()) };
            Target::whole_host(runtime, host, chip).alone()
        }
    };
    if target.host.registry.importers().is_empty() {
        let help = "name one in plugins.toml or put it into the plugins folder; `cargo xtask build-plugins` builds the project's own";
        return Err(Failure::new("no importer is loaded, so the models of the cases cannot be read", help));
    }
    target.threads = arguments.common.threads.map_or(1, |_| session.threads);
    target.deadline = Duration::from_millis(arguments.deadline_ms);
    target.guests = arguments.guests.clone();
    Ok(target)
}

/// What failed and why, then the table.
fn summary(report: &Report, declined: bool) -> String {
    let mut out = String::new();
    let told = |case: &&CaseResult| match case.outcome.verdict {
        Verdict::Pass => false,
        Verdict::Declined => declined || !report.profiles.is_empty(),
        _ => true,
    };
    for case in report.cases.iter().filter(told) {
        let reason = case.outcome.reason.split_whitespace().collect::<Vec<_>>().join(" ");
        let _ = write!(out, "{:<16}{}  {reason}", case.outcome.verdict, case.facts.name);
        let _ = match &case.waiver {
            Some(waiver) => writeln!(out, "  (known: {waiver})"),
            None => writeln!(out),
        };
    }
    for entry in &report.stale {
        let _ = writeln!(out, "stale entry {entry}");
    }
    if !out.is_empty() {
        out.push('\n');
    }
    let how = match (report.settings.strict, report.settings.fast_paths) {
        (true, _) => "alone",
        (false, true) => "with the host's portable kernels and fast paths",
        (false, false) => "with the host's portable kernels",
    };
    let _ = writeln!(out, "{} {how}, {:.1} s", report.subject.plugin, report.seconds);
    out + &report.table()
}

/// Rates on one thread, and their ratios.
fn card_table(card: &[CardLine]) -> String {
    let mut out =
        format!("\n{:<28}{:<8}{:>18}{:>14}{:>14}\n", "operator", "type", "rate", "of portable", "of fast path");
    for line in card {
        let ratio = |ratio: Option<f64>| ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2} x"));
        let (rate, portable, fast) = (line.rate, ratio(line.against_portable), ratio(line.against_fast_path));
        let rate = format!("{rate:.2} {}", line.unit);
        let _ = writeln!(out, "{:<28}{:<8}{rate:>18}{portable:>14}{fast:>14}  {}", line.op, line.dtype, line.sizes);
    }
    out
}

fn write_reports(folder: &Path, report: &Report, fast_paths: Option<FastPathDifference>) -> Result<(), Failure> {
    let failed =
        |error: std::io::Error| Failure::new(format!("{}: {error}", folder.display()), "check where --report points");
    std::fs::create_dir_all(folder).map_err(failed)?;
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(failed)?;
        eprintln!("{}", path.display());
        Ok(())
    };
    let json = report.json();
    write("report.json", &json)?;
    write("report.html", &report.html())?;
    write("junit.xml", &report.junit())?;
    match (fast_paths, report.is_good()) {
        (Some(difference), true) => write("certificate.json", &Certificate::of(report, &json, Some(difference)).json()),
        (Some(_), false) => {
            eprintln!("no certificate: not everything that the profiles ask for passes");
            Ok(())
        }
        // Whole-host runs and runs without a profile certify nothing.
        (None, _) => Ok(()),
    }
}

/// A line on stderr that tells how far the run is.
struct Progress {
    terminal: bool,
    start: Instant,
    last: Instant,
    failures: usize,
    declined: usize,
}

impl Progress {
    fn new() -> Self {
        let now = Instant::now();
        Self { terminal: std::io::stderr().is_terminal(), start: now, last: now, failures: 0, declined: 0 }
    }

    fn show(&mut self, event: Event<'_>) {
        let verdict = event.result.outcome.verdict;
        self.failures += usize::from(verdict.is_failure());
        self.declined += usize::from(verdict == Verdict::Declined);
        let pause = if self.terminal { SHOW_EVERY } else { LINE_EVERY };
        if self.last.elapsed() < pause {
            return;
        }
        self.last = Instant::now();
        let (done, total, name) = (event.done, event.total, &event.result.facts.name);
        let (failures, declined, seconds) = (self.failures, self.declined, self.start.elapsed().as_secs());
        let line = format!("{done} of {total} cases, {failures} failed, {declined} declined, {seconds} s");
        let mut stderr = std::io::stderr();
        let _ = if self.terminal { write!(stderr, "\r\x1b[2K{line}  {name}") } else { writeln!(stderr, "{line}") };
    }

    fn clear(&self) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }
}
