//! The tests of the native kernels for another architecture than this machine's: built by a cross compiler, run by an emulator.
//!
//! An emulator tells whether results are right, and nothing about speed. Only `sunmao-fastpath` is built: the host, and with it wasmtime, is not. No part
//! of CI, because it installs packages that nothing else needs.

use crate::setup::{self, Toolchain};
use crate::test::{self, Counts};
use crate::{debian, process, workspace};
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

const TARGET: &str = "aarch64-unknown-linux-gnu";
const FORCE: &str = "SUNMAO_CROSS_TOOLCHAIN";
const EMULATOR: &str = "qemu-aarch64";
const LINKER: &str = "aarch64-linux-gnu-gcc";
/// Libraries of the target, and its loader.
const LIBRARIES: &str = "/usr/aarch64-linux-gnu";
const PACKAGES: &[&str] = &["qemu-user", "gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"];

/// A processor that the emulator plays.
struct Processor {
    name: &'static str,
    about: &'static str,
    /// The tests that run on it; without, all of them.
    filter: Option<&'static str>,
}

const PROCESSORS: &[Processor] = &[
    Processor { name: "max", about: "everything that qemu knows, dotprod too", filter: None },
    // What needs the instructions has nothing to run there: the registry must say so.
    Processor { name: "cortex-a72", about: "NEON without dotprod", filter: Some("registry") },
];

/// Sets up what is missing, builds the tests, runs them, and counts.
pub(crate) fn run(filter: Option<&str>) -> Result<()> {
    if cfg!(target_arch = "aarch64") {
        bail!("this machine is an aarch64 itself: run `cargo test --release -p sunmao-fastpath`");
    }
    emulator_and_linker()?;
    let way = toolchain()?;
    let start = Instant::now();
    let mut build = tests(way);
    process::run(build.args(["--no-run", "--quiet"]))?;
    eprintln!("cross: built for {TARGET} in {:.0} s", start.elapsed().as_secs_f64());

    let (mut total, mut broken) = (Counts::default(), false);
    // Somebody who asks for some tests wants them where they test most.
    for processor in PROCESSORS.iter().filter(|processor| filter.is_none() || processor.filter.is_none()) {
        eprintln!("cross: {EMULATOR} -cpu {} ({})", processor.name, processor.about);
        let mut run = tests(way);
        let runner = format!("{EMULATOR} -cpu {} -L {LIBRARIES}", processor.name);
        run.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", runner).arg("--no-fail-fast");
        run.args(filter.or(processor.filter));
        let relayed = process::relay(&mut run)?;
        total.add(test::count(&relayed.lines));
        broken |= !relayed.success;
    }
    println!("\n{TARGET} under {EMULATOR}, which says that results are right, and nothing about speed:");
    println!("{} passed, {} failed, {} ignored", total.passed, total.failed, total.skipped);
    if broken || total.failed > 0 || total.passed == 0 {
        bail!("{} tests failed, {} passed", total.failed, total.passed);
    }
    Ok(())
}

/// The tests of the one package that has code for the target; its benches and examples are nobody's business here.
fn tests(way: Toolchain) -> Command {
    let mut command = way.cargo("test", TARGET);
    command.args(["--package", "sunmao-fastpath", "--release", "--lib", "--tests"]).args(process::lock_arguments());
    command.arg("--target-dir").arg(target_dir(way));
    command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", LINKER);
    command
}

/// Where objects go: the two compilers must not share a folder.
fn target_dir(way: Toolchain) -> PathBuf {
    workspace::target().join(match way {
        Toolchain::Rustup => "cross",
        Toolchain::Debian => "cross-debian",
    })
}

/// A compiler for the target: rustup's, or Debian's where rustup cannot add the target.
fn toolchain() -> Result<Toolchain> {
    let mut failures = Vec::new();
    for way in setup::candidates(FORCE)? {
        match way.install(TARGET) {
            Ok(()) => {
                eprintln!("cross: the {} toolchain for {TARGET}", way.name());
                if way == Toolchain::Debian {
                    eprintln!("cross: the standard library is compiled from source first, once");
                }
                return Ok(way);
            }
            Err(error) => {
                eprintln!("cross: the {} toolchain does not work here: {error:#}", way.name());
                failures.push(format!("{}: {error:#}", way.name()));
            }
        }
    }
    bail!("no toolchain compiles for {TARGET}:\n  {}", failures.join("\n  "))
}

fn emulator_and_linker() -> Result<()> {
    if is_complete() {
        eprintln!("cross: {EMULATOR} and {LINKER} are there");
        return Ok(());
    }
    eprintln!("cross: installing Debian's packages {}", PACKAGES.join(" "));
    debian::update()?;
    if let Some(missing) = PACKAGES.iter().find(|package| !debian::knows(package)) {
        bail!(
            "Debian's package lists have no {missing}; needed are {EMULATOR}, {LINKER} and the target's libraries in {LIBRARIES}"
        );
    }
    debian::install(PACKAGES)?;
    if !is_complete() {
        bail!("the packages are installed, but {EMULATOR}, {LINKER} or {LIBRARIES} is missing");
    }
    Ok(())
}

fn is_complete() -> bool {
    process::find(EMULATOR).is_some() && process::find(LINKER).is_some() && Path::new(LIBRARIES).join("lib").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_another_compiler_or_target_lie_elsewhere() {
        let folders = Toolchain::ALL.map(target_dir);
        assert_ne!(folders[0], folders[1]);
        for way in Toolchain::ALL {
            assert!(!folders.contains(&way.target_dir()) && !folders.contains(&workspace::target()));
        }
    }
}
