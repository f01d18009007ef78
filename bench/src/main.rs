//! Measures the figures that the project promises, and prints one line for each: name, value, goal, `ok` or `short`.
//!
//! Nothing here prints a stored number. `cargo xtask figures AREA` builds what is needed and calls this program.

mod accuracy;
mod compare;
mod conformance;
mod contest;
mod engine;
mod figure;
mod isolation;
mod memory;
mod models;
mod opinion;
mod overhead;
mod plot;
mod rig;
mod sheet;
mod speed;

use anyhow::Result;
use clap::{Parser, Subcommand};
use contest::Means;
use figure::Report;
use models::Index;
use rig::Rig;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Measures figures, and compares runtimes.
#[derive(Parser)]
#[command(name = "sunmao-bench", disable_help_subcommand = true)]
struct Arguments {
    /// The folder that `cargo xtask models` filled.
    #[arg(long, global = true, default_value = "models")]
    models: PathBuf,
    /// The folder of the built plugins.
    #[arg(long, global = true, default_value = "plugins")]
    plugins: PathBuf,
    /// Cargo's target folder: built test plugins, peers and results are in it.
    #[arg(long, global = true, default_value = "target")]
    target: PathBuf,
    /// A Python that has the peers of `bench/peers/requirements.txt`; without it, that of the models' folder.
    #[arg(long, global = true)]
    python: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// From a model file to an answer, by plugins alone
    Spine(Which),
    /// ONNX's node cases, profiles, promises, behaviour checks, mutants
    Conformance(Which),
    /// Speed, memory and loading beside the peers
    Engine(Which),
    /// Runtimes side by side
    Compare(compare::Compare),
    /// Holds one model and runs it when told to: our side of a contest
    #[command(hide = true)]
    Own(contest::Own),
}

/// Which figures.
#[derive(clap::Args)]
struct Which {
    /// A sample of each figure.
    #[arg(long)]
    quick: bool,
    /// Only figures whose name begins with this.
    #[arg(long, default_value = "")]
    only: String,
}

impl Arguments {
    fn means(&self) -> Means {
        let usual = self.models.join(".venv/bin/python");
        Means {
            plugins: self.plugins.clone(),
            python: self.python.clone().or_else(|| usual.exists().then_some(usual)),
            node_peers: self.models.join(".peers"),
            rust_peers: self.target.join("peers/release/sunmao-peers"),
            scratch: self.target.join("bench"),
        }
    }

    fn rig(&self) -> Result<Rig> {
        Rig::new(&self.plugins, &self.target.join("guests"))
    }
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    match &arguments.command {
        Command::Spine(which) => spine(&arguments, which),
        Command::Conformance(which) => conformance(&arguments, which),
        Command::Engine(which) => engine(&arguments, which),
        Command::Compare(compare) => {
            let means = arguments.means();
            compare.run(&means, &Index::read(&arguments.models, "engine.json")?, &means.scratch)
        }
        Command::Own(own) => own.serve(&arguments.plugins).map(|()| ExitCode::SUCCESS),
    }
}

fn spine(arguments: &Arguments, which: &Which) -> Result<ExitCode> {
    let models = Index::read(&arguments.models, "index.json")?;
    let (rig, means, quick) = (arguments.rig()?, arguments.means(), which.quick);
    if let Some(threads) = memory::is_child() {
        memory::child(&rig, &models, threads)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut report = Report::new(&which.only);
    report.section("plugin", |report| isolation::measure(report, &rig, quick));
    report.section("overhead", |report| overhead::measure(report, &rig, quick));
    report.section("memory", |report| memory::measure(report, &rig, &models, quick));
    report.section("scaling", |report| speed::scaling(report, &rig, &models, quick));
    report.section("accuracy", |report| accuracy::measure(report, &rig, &models, quick));
    report.section("speed", |report| speed::measure(report, &means, &models, quick));
    Ok(report.finish())
}

fn conformance(arguments: &Arguments, which: &Which) -> Result<ExitCode> {
    let means = conformance::Means {
        rig: &arguments.rig()?,
        python: arguments.python.clone(),
        script: Path::new("bench/peers/onnx_nodes.py").to_path_buf(),
        store: Path::new("conformance/cases/onnx-node.bin").to_path_buf(),
        quick: which.quick,
    };
    let mut report = Report::new(&which.only);
    conformance::measure(&mut report, &means);
    Ok(report.finish())
}

fn engine(arguments: &Arguments, which: &Which) -> Result<ExitCode> {
    let index = Index::read(&arguments.models, "engine.json")?;
    let (rig, means, quick) = (arguments.rig()?, arguments.means(), which.quick);
    let mut report = Report::new(&which.only);
    engine::measure(&mut report, &engine::Setting { means: &means, rig: &rig, index: &index, quick });
    Ok(report.finish())
}
