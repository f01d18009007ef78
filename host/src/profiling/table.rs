//! The profile as text.

use super::{OperatorRow, Profile, Row, rate};
use std::fmt::{self, Write};

/// Longest operator with what is fused behind it that is printed whole.
const OPERATOR_WIDTH: usize = 34;

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.time();
        let (least, most) =
            (self.runs.iter().min().copied().unwrap_or(0), self.runs.iter().max().copied().unwrap_or(0));
        let setting = &self.setting;
        writeln!(
            f,
            "{} on chip {}, {} threads, {}: {} runs, median {} ms (least {}, most {})",
            setting.model,
            setting.chip,
            setting.threads,
            setting.isa,
            self.runs.len(),
            millis(total),
            millis(least),
            millis(most)
        )?;
        let inside: u64 = self.rows.iter().map(|row| row.time).fold(0, u64::saturating_add);
        let rest = total.saturating_sub(inside);
        writeln!(
            f,
            "outside of what is listed: {} ms ({}); a thread waits for the others for {} ms ({})",
            millis(rest),
            share(rest, total),
            millis(self.waiting),
            share(self.waiting, total)
        )?;
        writeln!(
            f,
            "\nby operator\n  {:OPERATOR_WIDTH$}  {:9}  {:22} {:>6} {:>10} {:>6} {:>9} {:>8} {:>8}",
            "operator", "device", "fast path", "count", "ms", "share", "MB", "GFLOP/s", "GB/s"
        )?;
        for row in &self.operators {
            operator(f, row, total)?;
        }
        writeln!(
            f,
            "\nby node, slowest first\n  {:>10} {:>6} {:9}  {:22} {:>6} {:>9} {:>8} {:>8}  operator, output, node",
            "us", "share", "device", "fast path", "shards", "MB", "GFLOP/s", "GB/s"
        )?;
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.time));
        rows.into_iter().try_for_each(|row| node(f, row, total))
    }
}

fn operator(f: &mut fmt::Formatter<'_>, row: &OperatorRow, total: u64) -> fmt::Result {
    writeln!(
        f,
        "  {:OPERATOR_WIDTH$}  {:9}  {:22} {:>6} {:>10} {:>6} {:>9} {:>8} {:>8}",
        row.op,
        row.device,
        row.path.as_deref().unwrap_or("-"),
        row.count,
        millis(row.time),
        share(row.time, total),
        mega(row.bytes),
        shown(rate(row.flops, row.time)),
        shown(rate(row.bytes, row.time))
    )
}

fn node(f: &mut fmt::Formatter<'_>, row: &Row, total: u64) -> fmt::Result {
    let mut shape = String::new();
    for (index, length) in row.shape.iter().enumerate() {
        let _ = write!(shape, "{}{length}", if index > 0 { "x" } else { "" });
    }
    let times = if row.count > 1 { format!(" ({} times)", row.count) } else { String::new() };
    writeln!(
        f,
        "  {:>10.1} {:>6} {:9}  {:22} {:>6} {:>9} {:>8} {:>8}  {} {} {}{times}",
        row.time as f64 / 1e3,
        share(row.time, total),
        row.device,
        row.path.as_deref().unwrap_or("-"),
        row.shards,
        mega(row.bytes),
        shown(rate(row.flops, row.time)),
        shown(rate(row.bytes, row.time)),
        row.op,
        if shape.is_empty() { "-" } else { &shape },
        row.node
    )
}

fn millis(nanos: u64) -> String {
    format!("{:.3}", nanos as f64 / 1e6)
}

fn mega(bytes: u64) -> String {
    format!("{:.3}", bytes as f64 / 1e6)
}

fn share(part: u64, whole: u64) -> String {
    format!("{:.1}%", 100.0 * part as f64 / whole.max(1) as f64)
}

fn shown(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".into(), |rate| format!("{rate:.2}"))
}
