//! `cargo xtask COMMAND`: everything that a developer, CI or a newcomer runs on this project.
//!
//! One file for each command. `cargo xtask demo` and `cargo xtask test` do all that the others do when they need it, so nobody runs
//! `setup` by hand. Nothing here is part of the product: the server is `host`, and it never calls this crate.

mod bench;
mod build_plugins;
mod check;
mod componentise;
mod cross;
mod debian;
mod demo;
mod figures;
mod fresh;
mod http;
mod instructions;
mod models;
mod notes;
mod process;
mod setup;
mod test;
mod tidy;
mod wav;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Set-up, builds, demo, tests, models, figures", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes the wasm32 target work, by rustup or by Debian's packages (SUNMAO_WASM_TOOLCHAIN=rustup|debian forces one)
    Setup,
    /// Builds components: plugins/portable.wasm, simd128.wasm, npu-sim.wasm, import-onnx.wasm, or the named ones
    BuildPlugins {
        /// Names of components; without any, all plugins
        names: Vec<String>,
        /// Builds the components that only tests load, too (into target/guests)
        #[arg(long)]
        all: bool,
        /// Builds a plugin project outside of the workspace instead: its folder
        #[arg(long, value_name = "DIR", conflicts_with_all = ["names", "all"])]
        project: Option<PathBuf>,
        /// Where that one's component goes; without it, into the project's folder under the package's name
        #[arg(long, value_name = "FILE", requires = "project")]
        output: Option<PathBuf>,
    },
    /// Turns a core module that was linked against the plugin SDK into a component
    Componentise {
        /// The core module
        input: PathBuf,
        /// Where the component goes
        #[arg(short, long)]
        output: PathBuf,
    },
    /// Builds everything, serves the bundled model, sends a real request and prints the answer
    Demo {
        /// Keeps serving until Ctrl-C
        #[arg(long)]
        keep: bool,
    },
    /// Runs everything that CI runs
    Test {
        /// Only tests whose name contains this
        filter: Option<String>,
    },
    /// Runs the tests of the native kernels for aarch64 under qemu, which it installs; no part of CI (SUNMAO_CROSS_TOOLCHAIN=rustup|debian forces a compiler)
    Cross {
        /// Only tests whose name contains this
        filter: Option<String>,
    },
    /// Gets and makes the models that the figures are measured on (about 300 MB of downloads)
    Models {
        /// Makes models, inputs and expected outputs anew even where they exist
        #[arg(long)]
        fresh: bool,
    },
    /// Runs us and the peers side by side: arguments go to `sunmao-bench compare` (`cargo xtask bench -- --help` shows them)
    Bench {
        /// Names of models, --threads, --batches, --lanes, --rounds, --seconds
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measures the figures of an area afresh and prints `name  value  goal  ok|short` for each
    Figures {
        /// Which figures
        #[arg(value_enum)]
        area: figures::Area,
        /// Takes a sample of each; what has no smaller sample is measured whole
        #[arg(long)]
        quick: bool,
        /// Only figures whose name begins with this
        #[arg(long, default_value = "")]
        only: String,
        /// Writes counts of instructions down instead of comparing them
        #[arg(long)]
        write: bool,
    },
    /// Checks what the compiler does not: arrows between rooms, places of unsafe, frozen files, names, texts
    Tidy,
    /// Formatting, lints and tidy, without building components or running tests
    Check,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Setup => setup::wasm_toolchain().map(drop)?,
        Command::BuildPlugins { project: Some(project), output, .. } => {
            build_plugins::project(&project, output.as_deref())?;
        }
        Command::BuildPlugins { names, all, .. } => build_plugins::run(&names, all)?,
        Command::Componentise { input, output } => componentise::run(&input, &output)?,
        Command::Demo { keep } => demo::run(keep)?,
        Command::Test { filter } => test::run(filter.as_deref())?,
        Command::Cross { filter } => cross::run(filter.as_deref())?,
        Command::Models { fresh } => models::run(fresh).map(drop)?,
        Command::Bench { arguments } => return bench::run(&arguments),
        Command::Figures { area, quick, only, write } => return figures::run(area, quick, &only, write),
        Command::Tidy => tidy::run()?,
        Command::Check => check::run()?,
    }
    Ok(ExitCode::SUCCESS)
}
