//! Measures the figures that the project promises, and prints one line for each: name, value, goal, `ok` or `short`.
//!
//! Nothing here prints a stored number. `cargo xtask figures AREA` builds what is needed and calls this program.

mod accuracy;
mod conformance;
mod figure;
mod isolation;
mod memory;
mod models;
mod opinion;
mod overhead;
mod rig;
mod speed;

use anyhow::Result;
use clap::Parser;
use figure::Report;
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures figures.
#[derive(Parser)]
struct Arguments {
    /// Which figures: `spine`, `conformance`.
    #[arg(value_parser = ["spine", "conformance"])]
    area: String,
    /// A sample of each figure.
    #[arg(long)]
    quick: bool,
    /// Only figures whose name begins with this.
    #[arg(long, default_value = "")]
    only: String,
    /// The folder that `cargo xtask models` filled.
    #[arg(long, default_value = "models")]
    models: PathBuf,
    /// The folder of the built plugins.
    #[arg(long, default_value = "plugins")]
    plugins: PathBuf,
    /// The folder of the built test plugins.
    #[arg(long, default_value = "target/guests")]
    guests: PathBuf,
    /// A Python that has the peers of `bench/peers/requirements.txt`; without it they are not measured.
    #[arg(long)]
    python: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let rig = rig::Rig::new(&arguments.plugins, &arguments.guests)?;
    if arguments.area == "conformance" {
        let means = conformance::Means {
            rig: &rig,
            python: arguments.python,
            script: PathBuf::from("bench/peers/onnx_nodes.py"),
            store: PathBuf::from("conformance/cases/onnx-node.bin"),
            quick: arguments.quick,
        };
        let mut report = Report::new(&arguments.only);
        conformance::measure(&mut report, &means);
        return Ok(report.finish());
    }
    let models = models::Index::read(&arguments.models)?;
    if let Some(threads) = memory::is_child() {
        memory::child(&rig, &models, threads)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut report = Report::new(&arguments.only);
    report.section("plugin", |report| isolation::measure(report, &rig, arguments.quick));
    report.section("overhead", |report| overhead::measure(report, &rig, arguments.quick));
    report.section("memory", |report| memory::measure(report, &rig, &models, arguments.quick));
    report.section("scaling", |report| speed::scaling(report, &rig, &models, arguments.quick));
    report.section("accuracy", |report| accuracy::measure(report, &rig, &models, arguments.quick));
    report.section("speed", |report| speed::measure(report, &rig, &models, arguments.quick));
    Ok(report.finish())
}
