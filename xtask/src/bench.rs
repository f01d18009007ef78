//! Lets us and the peers run side by side. The measuring is `sunmao-bench`'s work; this brings it the models, the peers and the plugins.

use crate::{build_plugins, debian, models, process, workspace};
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// Peers that are built here and not taken from a package.
const RUST_PEERS: [&str; 2] = ["tract", "rten"];
/// Where `sunmao-bench` finds their program, below the target folder.
const RUST_TARGET: &str = "peers";

/// Prepares everything and passes the arguments on to `sunmao-bench compare`.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    build_plugins::run(&[], false)?;
    let needs = peers(arguments)?;
    let mut compare = program()?;
    compare.arg("compare").args(arguments).args(needs);
    let status = compare.stdin(Stdio::null()).status().context("cannot start the comparison")?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// `sunmao-bench`, built, to be called in the workspace's root. A child must not find a lock of cargo's on its way, so cargo does not run it.
pub(crate) fn program() -> Result<Command> {
    let mut build = process::cargo();
    build
        .args(["build", "--release", "--package", "sunmao-bench", "--package", "sunmao-host"])
        .args(process::lock_arguments());
    process::run(&mut build)?;
    let mut program = Command::new(workspace::target().join("release/sunmao-bench"));
    program.arg("--target").arg(workspace::target()).current_dir(workspace::root());
    Ok(program)
}

/// Models and peers, and how `sunmao-bench` is told of them. The Rust peers are built only where the arguments name one: that takes minutes.
pub(crate) fn peers(arguments: &[String]) -> Result<Vec<OsString>> {
    let folder = models::run(false)?;
    install_node_peers(&folder)?;
    let python = models::python_with(&models::bench("peers/requirements.txt"))?;
    if arguments.iter().any(|argument| RUST_PEERS.iter().any(|peer| argument.contains(peer))) {
        build_rust_peers()?;
    }
    Ok(vec!["--models".into(), folder.into(), "--python".into(), python.into()])
}

/// Builds the program of `bench/peers/rust`, a workspace of its own, with the instructions of this machine, as its users would.
fn build_rust_peers() -> Result<()> {
    let mut build = process::cargo();
    build
        .args(["build", "--release", "--manifest-path"])
        .arg(models::bench("peers/rust/Cargo.toml"))
        .arg("--target-dir")
        .arg(workspace::target().join(RUST_TARGET))
        .env("RUSTFLAGS", "-C target-cpu=native")
        .args(process::lock_arguments());
    process::run(&mut build)
}

/// Installs the peers of `bench/peers/package.json` into `.peers` of the models' folder, once.
pub(crate) fn install_node_peers(models: &Path) -> Result<()> {
    let folder = models.join(".peers");
    let manifest = models::bench("peers/package.json");
    let wanted = fs::read(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    let installed = folder.join("installed.json");
    if fs::read(&installed).is_ok_and(|text| text == wanted) {
        return Ok(());
    }
    if process::find("node").is_none() || process::find("npm").is_none() {
        debian::update()?;
        debian::install(&["nodejs", "npm"])?;
    }
    workspace::make(&folder)?;
    workspace::write_if_changed(&folder.join("package.json"), &wanted)?;
    let mut npm = Command::new("npm");
    npm.current_dir(&folder).args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"]);
    process::run(&mut npm)?;
    workspace::write_if_changed(&installed, &wanted).map(drop)
}
