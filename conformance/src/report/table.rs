//! The table that ends a run on a terminal.

use super::{Counts, Report};
use crate::Verdict;
use std::fmt::Write;

pub(super) fn table(report: &Report) -> String {
    let mut out = format!("{:<12}{:>8}", "opset", "cases");
    for verdict in Verdict::ALL {
        let _ = write!(out, "{verdict:>16}");
    }
    out.push('\n');
    let mut row = |name: &str, counts: &Counts| {
        let _ = write!(out, "{name:<12}{:>8}", counts.cases);
        for verdict in Verdict::ALL {
            let _ = write!(out, "{:>16}", counts.with(verdict));
        }
        out.push('\n');
    };
    report.bands.iter().for_each(|band| row(&band.name, &band.counts));
    let with_opset: usize = report.bands.iter().map(|band| band.counts.cases).sum();
    if with_opset < report.counts.cases {
        let other = report.cases.iter().filter(|case| case.facts.opset.is_none());
        row("no model", &Counts::of(other));
    }
    row("all", &report.counts);
    let counts = &report.counts;
    if counts.waived > 0 {
        let _ = writeln!(out, "{} of these are known gaps", counts.waived);
    }
    if counts.not_as_peers > 0 {
        let _ = writeln!(
            out,
            "{} of the passes hold by the operator's own tolerance or promise alone, not by relative 1e-3",
            counts.not_as_peers
        );
    }
    for profile in &report.profiles {
        let met = if profile.met { "met" } else { "not met" };
        let _ = writeln!(out, "profile {}: {} of {} pass, {met}", profile.name, profile.passed, profile.cases);
    }
    out
}
