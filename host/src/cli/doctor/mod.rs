//! `host doctor`: looks at the machine, the native kernels, the configuration, the plugins, the models and the cache, and says for each thing that is wrong what to do.

mod cache;
mod config;
mod fast_paths;
mod machine;
mod models;
mod plugins;

use super::arguments;
use super::failure::Failure;
use super::print;
use serde_json::json;
use std::process::ExitCode;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Grade {
    /// As it should be.
    Fine,
    /// Works, but could be better.
    Note,
    /// Something will fail.
    Wrong,
}

impl Grade {
    fn word(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Note => "note",
            Self::Wrong => "wrong",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    grade: Grade,
    area: &'static str,
    /// What was found.
    text: String,
    /// What to do; empty where nothing is to be done.
    remedy: String,
}

/// Everything found so far.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, grade: Grade, area: &'static str, text: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Finding { grade, area, text: text.into(), remedy: remedy.into() });
    }

    fn fine(&mut self, area: &'static str, text: impl Into<String>) {
        self.add(Grade::Fine, area, text, "");
    }

    fn note(&mut self, area: &'static str, text: impl Into<String>, remedy: impl Into<String>) {
        self.add(Grade::Note, area, text, remedy);
    }

    fn wrong(&mut self, area: &'static str, text: impl Into<String>, remedy: impl Into<String>) {
        self.add(Grade::Wrong, area, text, remedy);
    }

    fn failed(&mut self, area: &'static str, failure: &Failure) {
        debug_assert!(!failure.help().is_empty(), "{failure}");
        self.wrong(area, failure.message().split_whitespace().collect::<Vec<_>>().join(" "), failure.help());
    }

    fn count(&self, grade: Grade) -> usize {
        self.0.iter().filter(|finding| finding.grade == grade).count()
    }
}

/// Looks at everything; exit code 1 when anything is wrong.
pub(super) fn doctor(arguments: &arguments::Doctor) -> Result<ExitCode, Failure> {
    let mut findings = Findings::default();
    machine::check(&mut findings, super::assemble::threads(&arguments.common));
    fast_paths::check(&mut findings);
    if let Some(config) = config::check(&mut findings, &arguments.common) {
        cache::check(&mut findings, &config.cache_dir);
        if let Some(assembled) = plugins::check(&mut findings, config, &arguments.common) {
            models::check(&mut findings, &assembled, arguments);
        }
    }
    print(&if arguments.json { as_json(&findings) } else { as_text(&findings) })?;
    Ok(if findings.count(Grade::Wrong) > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn as_text(findings: &Findings) -> String {
    let mut out = String::new();
    for finding in &findings.0 {
        out.push_str(&format!("{:5}  {:9}  {}\n", finding.grade.word(), finding.area, finding.text));
        if !finding.remedy.is_empty() {
            out.push_str(&format!("{:18}help: {}\n", "", finding.remedy));
        }
    }
    let (wrong, notes) = (findings.count(Grade::Wrong), findings.count(Grade::Note));
    out.push_str(&format!("\n{} checks: {wrong} wrong, {notes} to note\n", findings.0.len()));
    out
}

fn as_json(findings: &Findings) -> String {
    let all: Vec<_> = findings
        .0
        .iter()
        .map(|finding| json!({ "grade": finding.grade.word(), "area": finding.area, "text": finding.text, "remedy": finding.remedy }))
        .collect();
    format!(
        "{:#}\n",
        json!({ "findings": all, "wrong": findings.count(Grade::Wrong), "notes": findings.count(Grade::Note) })
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_comes_with_its_remedy() {
        let mut findings = Findings::default();
        findings.fine("machine", "2 threads");
        findings.wrong("config", "port 8000 is taken", "choose another");
        assert_eq!(
            as_text(&findings),
            "ok     machine    2 threads\nwrong  config     port 8000 is taken\n                  help: choose another\n\n2 checks: 1 wrong, 0 to note\n"
        );
        assert!(as_json(&findings).contains("\"wrong\": 1"));
    }

    #[test]
    fn this_machine_can_be_looked_at() {
        let mut findings = Findings::default();
        machine::check(&mut findings, 2);
        assert!(findings.0.len() >= 7, "{findings:?}");
        for finding in &findings.0 {
            assert_eq!(finding.remedy.is_empty(), finding.grade == Grade::Fine, "{finding:?}");
        }
    }
}
