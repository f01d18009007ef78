//! Measures the figures of `bench/README.md` afresh. The measuring is `sunmao-bench`'s work; this brings it what it needs and passes on
//! its lines, `name  value  goal  ok|short`, and its verdict.

use crate::{bench, build_plugins, fresh, instructions, models};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use std::ffi::OsString;
use std::process::{ExitCode, Stdio};

/// A set of figures.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Area {
    /// From a model file to an answer, by plugins alone.
    Spine,
    /// ONNX's node cases, profiles, promises, behaviour checks, mutants.
    Conformance,
    /// Speed, memory and loading beside the peers.
    Engine,
    /// Instructions of each native kernel, beside those written down.
    Instructions,
}

impl Area {
    fn name(self) -> &'static str {
        match self {
            Self::Spine => "spine",
            Self::Conformance => "conformance",
            Self::Engine => "engine",
            Self::Instructions => "instructions",
        }
    }
}

/// Runs the measurements; the exit code is 0 when no figure is short. Only figures whose name begins with `only`.
pub(crate) fn run(area: Area, quick: bool, only: &str, write: bool) -> Result<ExitCode> {
    if write && !matches!(area, Area::Instructions) {
        bail!("--write is for instructions: no other figure is stored");
    }
    let kept = match area {
        Area::Spine => fresh::measure(only)?,
        Area::Conformance | Area::Engine => true,
        Area::Instructions => return instructions::measure(only, write),
    };
    if only.starts_with("fresh") {
        return Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    build_plugins::run(&[], true)?;
    let needs = match area {
        Area::Spine => {
            let folder = models::run(false)?;
            bench::install_node_peers(&folder)?;
            vec![OsString::from("--models"), folder.into()]
        }
        Area::Engine => bench::peers(&[])?,
        Area::Instructions => Vec::new(),
        Area::Conformance => match models::python_with(&models::bench("peers/requirements.txt")) {
            Ok(python) => vec![OsString::from("--python"), python.into()],
            Err(error) => {
                eprintln!("the peers cannot be installed, so they are not measured: {error:#}");
                Vec::new()
            }
        },
    };

    let mut measure = bench::program()?;
    measure.arg(area.name());
    if quick {
        measure.arg("--quick");
    }
    measure.args(["--only", only]).args(needs);
    eprintln!("+ figures {}", area.name());
    let status = measure.stdin(Stdio::null()).status().context("cannot start the measurements")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(if kept { code } else { code.max(1) }))
}
