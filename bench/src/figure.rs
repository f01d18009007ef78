//! The lines that are printed, and the verdict.

use anyhow::Result;
use std::process::ExitCode;

/// Which side of the goal is good.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// The value is to be at most this.
    AtMost(f64),
    /// The value is to be at least this.
    AtLeast(f64),
}

impl Goal {
    fn met(self, value: f64) -> bool {
        match self {
            Goal::AtMost(limit) => value <= limit,
            Goal::AtLeast(limit) => value >= limit,
        }
    }
}

/// Prints figures as they come and remembers whether all were good.
pub(crate) struct Report<'a> {
    only: &'a str,
    lines: usize,
    short: usize,
}

impl<'a> Report<'a> {
    /// Prints only names that begin with `only`.
    pub(crate) fn new(only: &'a str) -> Self {
        Self { only, lines: 0, short: 0 }
    }

    /// Runs a group of figures whose names begin with `name`. A group that cannot be measured is short, and says why.
    pub(crate) fn section(&mut self, name: &str, measure: impl FnOnce(&mut Self) -> Result<()>) {
        if !self.only.starts_with(name) && !name.starts_with(self.only) {
            return;
        }
        if let Err(error) = measure(self) {
            println!("{name}  not measured: {error:#}  -  short");
            self.lines += 1;
            self.short += 1;
        }
    }

    /// Whether a figure of that name is wanted: measuring costs time.
    pub(crate) fn wants(&self, name: &str) -> bool {
        name.starts_with(self.only) || self.only.starts_with(name)
    }

    /// One figure, measured over `cases` cases.
    pub(crate) fn line(&mut self, name: &str, value: f64, unit: &str, goal: Goal, cases: usize) {
        let (sign, limit) = match goal {
            Goal::AtMost(limit) => ("<=", limit),
            Goal::AtLeast(limit) => (">=", limit),
        };
        // A value that is no number, or one over no cases, is never good.
        let met = value.is_finite() && cases > 0 && goal.met(value);
        println!("{name}  {}{unit}  {sign} {}{unit}  {}  cases={cases}", short(value), short(limit), verdict(met));
        self.lines += 1;
        self.short += usize::from(!met);
    }

    /// A figure that could not be measured.
    pub(crate) fn missing(&mut self, name: &str, why: &str) {
        println!("{name}  not measured: {why}  -  short");
        self.lines += 1;
        self.short += 1;
    }

    /// The count, and the exit code.
    pub(crate) fn finish(self) -> ExitCode {
        eprintln!("{} figures, {} short", self.lines, self.short);
        if self.short == 0 && self.lines > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn verdict(met: bool) -> &'static str {
    if met { "ok" } else { "short" }
}

fn short(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 || (0.01..1e6).contains(&magnitude) {
        format!("{value:.4}").trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{value:.2e}")
    }
}

/// The median of measurements.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The geometric mean.
pub(crate) fn geometric_mean(values: &[f64]) -> f64 {
    (values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp()
}
