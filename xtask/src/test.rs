//! Everything that CI runs: formatting, tidy, lints, components, and every crate's tests in release.
//!
//! Crates are tested in groups that cargo may build together; see `Group`. The last line counts all tests, and none at all is a failure.

use crate::setup::{self, FORCE, Toolchain};
use crate::{build_plugins, check, process, tidy, workspace};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Instant;

/// Tests that ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// Crates whose tests are built together.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    packages: Vec<String>,
    /// Of those, the ones with a library that may have examples in its documentation.
    libraries: Vec<String>,
    release: bool,
}

/// Runs all of it; with a filter, only the tests whose name contains it.
pub(crate) fn run(filter: Option<&str>) -> Result<()> {
    let start = Instant::now();
    if filter.is_none() {
        setup::formatter_and_linter()?;
        process::run(process::cargo().args(["fmt", "--all", "--check"]))?;
        tidy::run()?;
    }
    let groups = groups()?;
    build(&groups[0], filter)?;

    let mut total = Counts::default();
    let mut broken = Vec::new();
    for group in groups {
        let mut runs = vec![tests(&group, filter)];
        if filter.is_none() && !group.libraries.is_empty() {
            runs.insert(0, documentation(&group));
        }
        for mut run in runs {
            let relayed = process::relay(&mut run)?;
            let counts = count(&relayed.lines);
            total.add(counts);
            if !relayed.success && (counts.failed > 0 || filter.is_none()) {
                broken.push(group.packages.join(" "));
            }
        }
    }

    if filter.is_none()
        && let Err(error) = each_way()
    {
        broken.push(format!("{error:#}"));
    }

    println!("\n{:.0} s in all", start.elapsed().as_secs_f64());
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    if !broken.is_empty() {
        bail!("tests failed or did not build in: {}", broken.join("; "));
    }
    if total.failed > 0 || total.passed == 0 {
        bail!("{} tests failed, {} passed", total.failed, total.passed);
    }
    Ok(())
}

/// Builds all components, and beside them lints and builds the largest group of tests: a component is compiled on one core from beginning to end.
fn build(group: &Group, filter: Option<&str>) -> Result<()> {
    // Before both need it.
    setup::wasm_toolchain()?;
    thread::scope(|scope| {
        let components = scope.spawn(|| build_plugins::run(&[], true));
        if filter.is_none() {
            check::lints()?;
            let mut compile = process::cargo();
            compile.args(["test", "--no-run", "--quiet"]);
            select(&mut compile, group, &group.packages);
            process::run(&mut compile)?;
        }
        components.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Builds one plugin by each way of compiling for wasm32 that this machine has, and lets the host that was just tested load it.
fn each_way() -> Result<()> {
    for way in Toolchain::ALL {
        let name = way.name();
        if let Some(lacks) = way.lacks() {
            println!("wasm32 by {name}: skipped, {lacks}");
            continue;
        }
        let start = Instant::now();
        process::run(process::cargo().args(["xtask", "build-plugins", "minimal"]).env(FORCE, name))
            .with_context(|| format!("a plugin built by {name}"))?;
        let mut verify = Command::new(workspace::target().join("release/host"));
        verify.args(["plugin", "verify"]).arg(workspace::guests().join("minimal.wasm"));
        let said = process::output(verify.current_dir(workspace::root()))
            .with_context(|| format!("a plugin built by {name}"))?;
        if !said.starts_with("chip `minimal`") {
            bail!("a plugin built by {name} is something else: {said}");
        }
        println!("wasm32 by {name}: built and verified in {:.0} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

fn groups() -> Result<Vec<Group>> {
    let mut command = process::cargo();
    let text = process::output(command.args(["metadata", "--format-version", "1", "--no-deps"]))?;
    group(&serde_json::from_str(&text).context("cargo metadata printed no JSON")?, has_tests)
}

/// Whether a file of the package's sources has unit tests.
fn has_tests(manifest: &str) -> bool {
    let sources = Path::new(manifest).with_file_name("src");
    let Ok(entries) = fs::read_dir(sources) else { return false };
    entries.flatten().any(|entry| fs::read_to_string(entry.path()).is_ok_and(|text| text.contains("#[cfg(test)]")))
}

/// The server and what it links are built together. An importer is built alone, because it turns on another world of the SDK; xtask alone,
/// because it is built for the development profile anyway. A crate that is a component and nothing else is tested natively only if it has tests.
fn group(metadata: &Value, has_tests: impl Fn(&str) -> bool) -> Result<Vec<Group>> {
    let mut groups = vec![Group { packages: Vec::new(), libraries: Vec::new(), release: true }];
    for package in metadata["packages"].as_array().context("cargo metadata lists no packages")? {
        let name = package["name"].as_str().context("a package has no name")?.to_owned();
        let targets = package["targets"].as_array().context("a package has no targets")?;
        let kinds =
            || targets.iter().filter_map(|target| target["kind"].as_array()).flatten().filter_map(Value::as_str);
        let manifest = package["manifest_path"].as_str().unwrap_or_default();
        if kinds().all(|kind| kind == "cdylib" || kind == "custom-build") && !has_tests(manifest) {
            continue;
        }
        let library = kinds().any(|kind| kind == "lib" || kind == "rlib");
        let libraries = if library { vec![name.clone()] } else { Vec::new() };
        if name == "xtask" || name.starts_with("sunmao-import-") {
            groups.push(Group { release: name != "xtask", packages: vec![name], libraries });
        } else {
            groups[0].packages.push(name);
            groups[0].libraries.extend(libraries);
        }
    }
    Ok(groups)
}

fn tests(group: &Group, filter: Option<&str>) -> Command {
    let mut command = process::cargo();
    if process::find("cargo-nextest").is_some() {
        command.args(["nextest", "run", "--no-fail-fast", "--color=never", "--no-tests=pass"]);
        // A line for each failure, not for each test.
        command.args(["--status-level=fail", "--final-status-level=fail"]);
    } else {
        command.args(["test", "--no-fail-fast", "--lib", "--bins", "--tests", "--quiet"]);
    }
    select(&mut command, group, &group.packages);
    command.args(filter);
    command
}

fn documentation(group: &Group) -> Command {
    let mut command = process::cargo();
    command.args(["test", "--doc", "--no-fail-fast", "--quiet"]);
    select(&mut command, group, &group.libraries);
    command
}

fn select(command: &mut Command, group: &Group, packages: &[String]) {
    if group.release {
        command.arg("--release");
    }
    command.args(process::lock_arguments());
    for package in packages {
        command.args(["--package", package]);
    }
}

/// Adds up the closing lines of cargo test and of nextest.
pub(crate) fn count(lines: &[String]) -> Counts {
    let mut counts = Counts::default();
    for line in lines {
        // Nextest repeats what a failing test printed, which ends with such a line too: indented.
        let is_of_cargo = line.starts_with("test result:");
        let line = line.trim();
        let closing = is_of_cargo || (line.starts_with("Summary [") && line.contains("run:"));
        if !closing {
            continue;
        }
        // "... 7 tests run: 5 passed (1 slow), 1 failed, 1 timed out, 2 skipped", "... 5 passed; 1 failed; 2 ignored; ..."
        let words: Vec<&str> = line.split([' ', ',', ';', ':']).filter(|word| !word.is_empty()).collect();
        for two in words.windows(2) {
            let Ok(number) = two[0].parse::<u64>() else { continue };
            match two[1] {
                "passed" => counts.passed += number,
                "failed" | "timed" => counts.failed += number,
                "skipped" | "ignored" => counts.skipped += number,
                _ => {}
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check_count(line: &str, passed: u64, failed: u64, skipped: u64) {
        assert_eq!(count(&[line.to_owned()]), Counts { passed, failed, skipped });
    }

    #[test]
    fn both_runners_closing_lines_are_understood() {
        check_count(
            "test result: ok. 5 passed; 1 failed; 2 ignored; 0 measured; 9 filtered out; finished in 0.0s",
            5,
            1,
            2,
        );
        check_count("     Summary [   0.2s] 7 tests run: 5 passed (1 slow), 1 failed, 1 timed out, 2 skipped", 5, 2, 2);
        check_count("     Summary [   0.2s] 1 test run: 1 passed, 0 skipped", 1, 0, 0);
        check_count("3 passed by", 0, 0, 0);
        check_count("    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 61 filtered out", 0, 0, 0);
    }

    #[test]
    fn importers_and_xtask_are_built_alone_and_components_only_for_their_tests() {
        let package =
            |name: &str, kinds: &[&str]| json!({"name": name, "manifest_path": name, "targets": [{"kind": kinds}]});
        let metadata = json!({"packages": [
            package("sunmao-host", &["lib"]), package("sunmao-simd128", &["cdylib"]), package("minimal", &["cdylib"]),
            package("sunmao-import-onnx", &["rlib", "cdylib"]), package("xtask", &["bin"]), package("sunmao-portable", &["rlib", "cdylib"]),
        ]});
        let groups = group(&metadata, |manifest| manifest == "minimal").expect("groups");
        let names: Vec<_> = groups.iter().map(|group| group.packages.join(" ")).collect();
        assert_eq!(names, ["sunmao-host minimal sunmao-portable", "sunmao-import-onnx", "xtask"]);
        assert_eq!(groups.iter().map(|group| group.release).collect::<Vec<_>>(), [true, true, false]);
        assert!(groups[2].libraries.is_empty());
    }
}
