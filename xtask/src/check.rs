//! The quick look before a commit: formatting, lints, tidy. Nothing is linked and no test runs.

use crate::setup::{self, Toolchain};
use crate::{build_plugins, process, tidy};
use anyhow::Result;
use std::process::Command;

/// Runs all three; the first that fails ends it.
pub(crate) fn run() -> Result<()> {
    setup::formatter_and_linter()?;
    let mut format = process::cargo();
    process::run(format.args(["fmt", "--all", "--check"]))?;
    tidy::run()?;
    lints()
}

/// Clippy over everything, in the profiles that the tests use, so that dependencies are checked once.
///
/// An importer is looked at alone, because it turns on another world of the SDK, and crates that compile for wasm32 only are looked at there.
pub(crate) fn lints() -> Result<()> {
    let mut native = clippy();
    native.args(["--all-targets", "--release", "--workspace"]);
    for package in ["sunmao-import-onnx", "xtask"].iter().chain(WASM_ONLY) {
        native.args(["--exclude", package]);
    }
    process::run(native.args(DENY))?;
    process::run(clippy().args(["--all-targets", "--release", "--package", "sunmao-import-onnx"]).args(DENY))?;
    process::run(clippy().args(["--all-targets", "--package", "xtask"]).args(DENY))?;

    let toolchain = setup::wasm_toolchain()?;
    if toolchain != Toolchain::Rustup {
        eprintln!("clippy does not look at {}: Debian's compiler comes without it", WASM_ONLY.join(" and "));
        return Ok(());
    }
    let mut wasm = clippy();
    wasm.args(["--target", setup::TARGET, "--target-dir"]).arg(toolchain.target_dir());
    for package in WASM_ONLY {
        wasm.args(["--package", package]);
    }
    process::run(wasm.args(DENY).env("RUSTFLAGS", build_plugins::SIMD.join(" ")))
}

const WASM_ONLY: &[&str] = &["sunmao-simd128", "sunmao-guests"];
const DENY: [&str; 2] = ["--", "-Dwarnings"];

fn clippy() -> Command {
    let mut command = process::cargo();
    command.args(["clippy", "--quiet"]).args(process::lock_arguments());
    command
}
