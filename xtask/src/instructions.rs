//! Instructions of each kernel under callgrind: a figure that is the same on a busy machine, and so tells a change of a percent.
//!
//! The counts that a change is compared with are in `fastpath/benches/instructions.txt`; they are of one compiler and one instruction set. A kernel that
//! became better on purpose gets its new count with `--write`.

use crate::{debian, process, workspace};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// How many more instructions than written down are let pass.
const MORE: f64 = 1.02;
/// The function of the bench that callgrind counts in.
const COUNTED: &str = "sunmao_counted";

/// Counts every case whose name begins with `only` and prints a line for each.
pub(crate) fn measure(only: &str, write: bool) -> Result<ExitCode> {
    if process::find("valgrind").is_none() {
        debian::update()?;
        debian::install(&["valgrind"])?;
    }
    let program = build()?;
    let names = process::output(Command::new(&program).arg("--list-cases"))?;
    let file = workspace::root().join("fastpath/benches/instructions.txt");
    let written = parse(&fs::read_to_string(&file).unwrap_or_default());
    let (mut counts, mut short, mut lines) = (written.clone(), 0, 0);
    for name in names.lines() {
        let line = format!("instructions.{name}");
        if !line.starts_with(only) && !only.starts_with(&line) {
            continue;
        }
        lines += 1;
        let count = match count(&program, name) {
            Ok(count) => count,
            Err(error) => {
                println!("{line}  not measured: {error:#}  -  short");
                short += 1;
                continue;
            }
        };
        counts.insert(name.to_owned(), count);
        match written.get(name) {
            Some(&before) => {
                let ratio = count as f64 / before as f64;
                let verdict = if ratio <= MORE { "ok" } else { "short" };
                println!("{line}  {count} ({ratio:.4}x of what is written down)  <= {MORE}x  {verdict}  cases=1");
                short += usize::from(ratio > MORE);
            }
            None => {
                println!("{line}  {count}  nothing is written down  short  cases=1");
                short += 1;
            }
        }
    }
    if write {
        let text: String = counts.iter().map(|(name, count)| format!("{name} {count}\n")).collect();
        workspace::write_if_changed(&file, text.as_bytes())?;
        eprintln!("{}", workspace::shown(&file));
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("{lines} figures, {short} short");
    Ok(if short == 0 && lines > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds the bench without running it; where it is.
fn build() -> Result<PathBuf> {
    let mut build = process::cargo();
    build.args(["bench", "--package", "sunmao-fastpath", "--bench", "kernels", "--no-run", "--message-format=json"]);
    let messages = process::output(build.args(process::lock_arguments()))?;
    let program = messages.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == "kernels").then(|| message["executable"].as_str().map(PathBuf::from))?
    });
    program.context("cargo did not say where it put the bench")
}

/// Instructions of one run.
fn count(program: &PathBuf, name: &str) -> Result<u64> {
    let mut run = Command::new("valgrind");
    run.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(format!("--toggle-collect={COUNTED}"));
    let output = run.arg(program).args(["--once", name]).output().context("cannot start valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{}", said.lines().last().unwrap_or("it failed and said nothing"));
    }
    collected(&said).with_context(|| format!("callgrind counted nothing: {said}"))
}

/// The number behind `Collected :`.
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().find_map(|line| line.split_once("Collected :"))?.1;
    line.trim().parse().ok().filter(|&count| count > 0)
}

fn parse(text: &str) -> BTreeMap<String, u64> {
    let pair = |line: &str| line.split_once(' ').and_then(|(name, count)| Some((name.to_owned(), count.parse().ok()?)));
    text.lines().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_in_what_callgrind_says() {
        let said = "==1== Events    : Ir\n==1== Collected : 12345\n==1== \n==1== I   refs:      12,345\n";
        assert_eq!(collected(said), Some(12345));
        assert_eq!(collected("==1== Collected : 0\n"), None);
    }

    #[test]
    fn what_is_written_down_is_read_again() {
        assert_eq!(parse("a 1\nb 22\n").into_iter().collect::<Vec<_>>(), [("a".into(), 1), ("b".into(), 22)]);
    }
}
