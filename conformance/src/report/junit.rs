//! JUnit's XML: what build servers read. A suite of cases is a test suite; a declined or waived case is a skipped one.

use super::Report;
use crate::{CaseResult, Verdict};
use std::fmt::Write;

pub(super) fn junit(report: &Report) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    let mut suites: Vec<&str> = report.cases.iter().map(|case| case.facts.suite.as_str()).collect();
    suites.dedup();
    for suite in suites {
        let cases: Vec<&CaseResult> = report.cases.iter().filter(|case| case.facts.suite == suite).collect();
        let count = |wanted: &dyn Fn(&CaseResult) -> bool| cases.iter().filter(|case| wanted(case)).count();
        let is_error = |case: &CaseResult| matches!(case.outcome.verdict, Verdict::Crash | Verdict::Timeout);
        let _ = writeln!(
            out,
            "<testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{:.3}\">",
            escape(suite),
            cases.len(),
            count(&|case| case.fails() && !is_error(case)),
            count(&|case| case.fails() && is_error(case)),
            count(&|case| case.outcome.verdict != Verdict::Pass && !case.fails()),
            cases.iter().map(|case| case.took_ms).sum::<f64>() / 1e3,
        );
        for case in cases {
            let operator = case.facts.operators.first().map_or("", String::as_str);
            let _ = write!(
                out,
                "<testcase classname=\"{}.{}\" name=\"{}\" time=\"{:.3}\"",
                escape(suite),
                escape(operator),
                escape(&case.facts.name),
                case.took_ms / 1e3
            );
            let reason = escape(case.waiver.as_deref().unwrap_or(&case.outcome.reason));
            match case.outcome.verdict {
                Verdict::Pass => out.push_str("/>\n"),
                _ if !case.fails() => {
                    let _ = writeln!(out, "><skipped message=\"{reason}\"/></testcase>");
                }
                verdict => {
                    let tag = if is_error(case) { "error" } else { "failure" };
                    let _ = writeln!(out, "><{tag} type=\"{verdict}\" message=\"{reason}\"/></testcase>");
                }
            }
        }
        out.push_str("</testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

/// For an attribute. Characters that XML does not have become a question mark.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\u{fffe}' | '\u{ffff}' => out.push('?'),
            character if character.is_control() => out.push('?'),
            character => out.push(character),
        }
    }
    out
}
