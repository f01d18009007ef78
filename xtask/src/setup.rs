//! Makes targets other than the machine's own work, by one of two ways; for `wasm32-unknown-unknown`, which everything needs, it remembers which one worked.
//!
//! 1. rustup adds the target to the toolchain that `rust-toolchain.toml` names.
//! 2. Where rustup is missing or cannot get it: Debian's own compiler, whose standard library is compiled here from Debian's sources.
//!
//! For wasm32 a way counts only after a probe was compiled with it: a program that needs the standard library, linked into a module.
//! `SUNMAO_WASM_TOOLCHAIN=rustup` or `=debian` allows one way only.

use crate::{debian, process, workspace};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The target of all components.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";
pub(crate) const FORCE: &str = "SUNMAO_WASM_TOOLCHAIN";
/// rustup downloads about 25 MB; where the network drops packets it would wait for ever.
const RUSTUP_LIMIT: Duration = Duration::from_secs(180);

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";

/// A set of Debian packages that together compile for wasm32, and the linker that they bring.
struct PackageSet {
    packages: &'static [&'static str],
    linker: &'static str,
}

/// Tried in this order; the first one whose packages Debian knows is used.
const PACKAGE_SETS: &[PackageSet] = &[
    PackageSet {
        packages: &["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "lld-19"],
        linker: "/usr/bin/wasm-ld-19",
    },
    PackageSet { packages: &["rustc", "cargo", "rust-src", "rust-llvm", "lld-19"], linker: "/usr/bin/wasm-ld-19" },
];

/// A way of compiling for another target than the machine's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// The rustup toolchain with the target added.
    Rustup,
    /// Debian's compiler, building the standard library from source.
    Debian,
}

impl Toolchain {
    pub(crate) const ALL: [Self; 2] = [Self::Rustup, Self::Debian];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rustup => "rustup",
            Self::Debian => "debian",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.name() == name)
    }

    /// Where its objects go: the two compilers must not share a folder.
    pub(crate) fn target_dir(self) -> PathBuf {
        workspace::target().join(match self {
            Self::Rustup => "wasm",
            Self::Debian => "wasm-debian",
        })
    }

    /// `cargo build --target wasm32-unknown-unknown`, with everything that this way needs. The caller adds package and profile.
    pub(crate) fn cargo_build(self) -> Command {
        let mut command = self.cargo("build", TARGET);
        if let (Self::Debian, Some(linker)) = (self, debian_linker()) {
            command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        command
    }

    /// `cargo WORD --target TARGET`, with what this way needs for any target.
    pub(crate) fn cargo(self, word: &str, target: &str) -> Command {
        let mut command = match self {
            Self::Rustup => process::cargo(),
            Self::Debian => {
                let mut command = Command::new(DEBIAN_CARGO);
                command.current_dir(workspace::root());
                // The standard library of a released compiler is built from source by the same unstable option that nightly has.
                command.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
                // What rustup's cargo exported when it started us belongs to another compiler.
                command.env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN").env_remove("RUSTDOC");
                command
            }
        };
        command.arg(word).args(["--target", target]);
        if self == Self::Debian {
            command.arg("-Zbuild-std=std,panic_abort");
            // Cargo compares `rust-version` with its own version, which Debian may patch.
            command.arg("--ignore-rust-version");
        }
        command
    }

    /// What this machine lacks for this way; none: it can be used without installing anything.
    pub(crate) fn lacks(self) -> Option<String> {
        match self {
            Self::Rustup if process::find("rustup").is_none() => Some("there is no rustup on PATH".into()),
            Self::Rustup if !rustup_library_is_there(TARGET) => Some(format!("rustup has not added {TARGET}")),
            Self::Debian if !debian_is_complete() => {
                Some(format!("Debian's packages {} are not installed", PACKAGE_SETS[0].packages.join(" ")))
            }
            _ => None,
        }
    }

    /// Names the compiler exactly, so that a new one is probed again.
    fn fingerprint(self) -> Result<String> {
        let mut rustc = match self {
            Self::Rustup => Command::new("rustc"),
            Self::Debian => Command::new(DEBIAN_RUSTC),
        };
        let version = process::output(rustc.current_dir(workspace::root()).arg("-vV"))?;
        Ok(format!("{}\n{version}\n", self.name()))
    }

    /// Makes this way compile for the target.
    pub(crate) fn install(self, target: &str) -> Result<()> {
        match self {
            Self::Rustup => install_by_rustup(target),
            Self::Debian => install_by_debian(),
        }
    }
}

/// The way that works on this machine; makes it work first if it has to.
pub(crate) fn wasm_toolchain() -> Result<Toolchain> {
    let candidates = candidates(FORCE)?;
    for &way in &candidates {
        if is_remembered(way)? {
            eprintln!("wasm32: the {} toolchain, as probed before", way.name());
            return Ok(way);
        }
    }
    let mut failures = Vec::new();
    for &way in &candidates {
        eprintln!("wasm32: trying the {} toolchain", way.name());
        let start = Instant::now();
        match way.install(TARGET).and_then(|()| probe(way)) {
            Ok(()) => {
                remember(way)?;
                eprintln!("wasm32: the {} toolchain works ({:.0} s)", way.name(), start.elapsed().as_secs_f64());
                return Ok(way);
            }
            Err(error) => {
                eprintln!("wasm32: the {} toolchain does not work here: {error:#}", way.name());
                failures.push(format!("{}: {error:#}", way.name()));
            }
        }
    }
    bail!(
        "no toolchain compiles for {TARGET}:\n  {}\nInstall the target by `rustup target add {TARGET}`, or on Debian the packages {}",
        failures.join("\n  "),
        PACKAGE_SETS[0].packages.join(" "),
    )
}

/// The ways that may be tried, in this order: all, unless the variable names one.
pub(crate) fn candidates(variable: &str) -> Result<Vec<Toolchain>> {
    match std::env::var(variable) {
        Ok(name) if !name.is_empty() => match Toolchain::parse(&name) {
            Some(way) => Ok(vec![way]),
            None => bail!("{variable}={name} is not known: use `rustup` or `debian`, or leave it out"),
        },
        _ => Ok(Toolchain::ALL.to_vec()),
    }
}

/// Makes `cargo fmt` and `cargo clippy` work. rust-toolchain.toml does not name them, so that rustup does not fetch them for a demo.
pub(crate) fn formatter_and_linter() -> Result<()> {
    let works = |tool: &str| process::output(process::cargo().args([tool, "--version"])).is_ok();
    if works("fmt") && works("clippy") {
        return Ok(());
    }
    if process::find("rustup").is_none() {
        bail!("cargo fmt and cargo clippy are missing, and there is no rustup on PATH that could add them");
    }
    let mut add = Command::new("rustup");
    process::run_within(
        add.current_dir(workspace::root()).args(["component", "add", "rustfmt", "clippy"]),
        RUSTUP_LIMIT,
    )
}

fn install_by_rustup(target: &str) -> Result<()> {
    if process::find("rustup").is_none() {
        bail!("there is no rustup on PATH");
    }
    let mut installed = Command::new("rustup");
    installed.current_dir(workspace::root()).args(["target", "list", "--installed"]);
    if process::output(&mut installed)?.lines().any(|line| line == target) {
        return Ok(());
    }
    let mut add = Command::new("rustup");
    process::run_within(add.current_dir(workspace::root()).args(["target", "add", target]), RUSTUP_LIMIT)
}

fn install_by_debian() -> Result<()> {
    if debian_is_complete() {
        return Ok(());
    }
    debian::update()?;
    let Some(set) = PACKAGE_SETS.iter().find(|set| set.packages.iter().all(|package| debian::knows(package))) else {
        let sets = PACKAGE_SETS.iter().map(|set| set.packages.join(" ")).collect::<Vec<_>>();
        bail!("Debian's package lists have none of these sets: {}", sets.join("; "));
    };
    debian::install(set.packages)?;
    if !debian_is_complete() {
        bail!(
            "the packages are installed, but {DEBIAN_RUSTC}, {DEBIAN_CARGO}, the library's sources or the linker is missing"
        );
    }
    Ok(())
}

fn debian_linker() -> Option<&'static str> {
    PACKAGE_SETS.iter().map(|set| set.linker).find(|linker| Path::new(linker).exists())
}

/// Compiler, builder, linker and the library's sources are all there.
fn debian_is_complete() -> bool {
    let sources = process::output(Command::new(DEBIAN_RUSTC).args(["--print", "sysroot"]))
        .is_ok_and(|sysroot| Path::new(&sysroot).join("lib/rustlib/src/rust/library/std/Cargo.toml").exists());
    sources && Path::new(DEBIAN_CARGO).exists() && debian_linker().is_some()
}

/// Compiles a program that needs the standard library, and looks at the result.
///
/// The probe is built by the plugins' profile into the plugins' folder: where the library is compiled from source, that is done here once.
fn probe(way: Toolchain) -> Result<()> {
    let folder = workspace::notes()?.join(format!("probe-{}", way.name()));
    workspace::make(&folder.join("src"))?;
    let manifest = workspace::root().join("Cargo.toml");
    let manifest = fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    let profiles = table(&manifest, "profile.release") + &table(&manifest, "profile.plugin");
    fs::write(folder.join("Cargo.toml"), format!("{PROBE_MANIFEST}{profiles}"))?;
    fs::write(folder.join("src/lib.rs"), PROBE_SOURCE)?;

    let mut build = way.cargo_build();
    build.current_dir(&folder).args(["--quiet", "--profile", "plugin", "--target-dir"]).arg(way.target_dir());
    build.env("RUSTFLAGS", "").env_remove("CARGO_ENCODED_RUSTFLAGS");
    process::run(&mut build)?;
    let module = way.target_dir().join(TARGET).join("plugin/sunmao_probe.wasm");
    let bytes = fs::read(&module).with_context(|| format!("the probe left no {}", module.display()))?;
    if !bytes.starts_with(b"\0asm") {
        bail!("the probe's result is no WebAssembly module");
    }
    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))
}

const PROBE_MANIFEST: &str = r#"[package]
name = "sunmao-probe"
edition = "2024"

[lib]
crate-type = ["cdylib"]

[workspace]

"#;

const PROBE_SOURCE: &str = r#"#[unsafe(no_mangle)]
pub extern "C" fn probe(n: usize) -> usize {
    vec![1usize; n].iter().sum()
}
"#;

/// The text of one table of a manifest, from its header to the next one.
fn table(manifest: &str, name: &str) -> String {
    let header = format!("[{name}]");
    let mut lines = manifest.lines().skip_while(|line| line.trim() != header);
    let first = lines.next().into_iter();
    first.chain(lines.take_while(|line| !line.starts_with('['))).flat_map(|line| [line, "\n"]).collect()
}

fn note(way: Toolchain) -> Result<PathBuf> {
    Ok(workspace::notes()?.join(format!("wasm-toolchain-{}", way.name())))
}

fn is_remembered(way: Toolchain) -> Result<bool> {
    let Ok(text) = fs::read_to_string(note(way)?) else { return Ok(false) };
    // A compiler that has gone answers no fingerprint, one that was replaced another.
    let there = match way {
        Toolchain::Rustup => rustup_library_is_there(TARGET),
        Toolchain::Debian => debian_is_complete(),
    };
    Ok(there && way.fingerprint().is_ok_and(|now| now == text))
}

fn rustup_library_is_there(target: &str) -> bool {
    let mut rustc = Command::new("rustc");
    rustc.current_dir(workspace::root()).args(["--print", "target-libdir", "--target", target]);
    process::output(&mut rustc).is_ok_and(|folder| Path::new(&folder).is_dir())
}

fn remember(way: Toolchain) -> Result<()> {
    workspace::write_if_changed(&note(way)?, way.fingerprint()?.as_bytes()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_ways_go_there_and_back() {
        for way in Toolchain::ALL {
            assert_eq!(Toolchain::parse(way.name()), Some(way));
        }
        assert_eq!(Toolchain::parse("Rustup"), None);
    }

    #[test]
    fn a_table_ends_where_the_next_one_starts() {
        let manifest = "[a]\nx = 1\n[b]\ny = 2\nz = 3\n[c]\n";
        assert_eq!(table(manifest, "b"), "[b]\ny = 2\nz = 3\n");
        assert_eq!(table(manifest, "d"), "");
    }

    #[test]
    fn the_two_ways_share_no_folder() {
        assert_ne!(Toolchain::Rustup.target_dir(), Toolchain::Debian.target_dir());
    }
}
