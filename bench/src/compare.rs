//! `compare`: runtimes side by side on the models of `engine.json`, as a table, JSON, Markdown and a plot.

use crate::contest::{Contest, Entrant, Length, Means, Runtime, hold};
use crate::models::Index;
use crate::{plot, sheet};
use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

/// What is compared.
#[derive(clap::Args)]
pub(crate) struct Compare {
    /// Names of models; without any, all of them.
    names: Vec<String>,
    /// Thread counts.
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    threads: Vec<usize>,
    /// Batches, of those that a model has.
    #[arg(long, value_delimiter = ',', default_value = "1,8")]
    batches: Vec<usize>,
    /// Who runs: sunmao, sunmao-plugin, onnxruntime, openvino, onnxruntime-web, tract, rten.
    #[arg(long, value_delimiter = ',', default_value = "sunmao,onnxruntime,openvino")]
    lanes: Vec<Runtime>,
    /// Turns of each.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each turn.
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
}

/// Everything that a run found.
#[derive(Serialize)]
pub(crate) struct Results {
    /// Processor and instruction set.
    pub(crate) machine: String,
    /// As it was called.
    pub(crate) command: String,
    pub(crate) contests: Vec<Contest>,
}

impl Compare {
    /// Runs all contests and writes what they found into `folder`. Fails when one of ours has no time.
    pub(crate) fn run(&self, means: &Means, index: &Index, folder: &Path) -> Result<ExitCode> {
        if let Some(unknown) = self.names.iter().find(|name| index.model(name).is_err()) {
            let known: Vec<&str> = index.models.iter().map(|model| &model.name[..]).collect();
            bail!("no model is named `{unknown}`: there are {}", known.join(", "));
        }
        let entrants: Vec<Entrant> = self
            .threads
            .iter()
            .flat_map(|&threads| self.lanes.iter().map(move |&runtime| Entrant { runtime, threads }))
            .collect();
        let length = Length { rounds: self.rounds, seconds: self.seconds };
        let mut results = Results { machine: machine(), command: command(), contests: Vec::new() };
        println!("{}", results.machine);
        for model in &index.models {
            if !self.names.is_empty() && !self.names.contains(&model.name) {
                continue;
            }
            for files in model.cases.iter().filter(|files| self.batches.contains(&files.batch)) {
                let contest = hold(means, index, model, files, &entrants, length)?;
                print!("{}", sheet::text(&contest));
                results.contests.push(contest);
            }
        }
        if results.contests.is_empty() {
            bail!("no model has a case of these batches");
        }
        print!("{}", sheet::means(&results.contests));
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| path.display().to_string())?;
            eprintln!("{}", path.display());
            Ok::<(), anyhow::Error>(())
        };
        write("results.json", serde_json::to_string_pretty(&results)? + "\n")?;
        write("results.md", sheet::markdown(&results))?;
        write("results.svg", plot::svg(&results.contests))?;
        let ours =
            results.contests.iter().flat_map(|contest| &contest.lanes).filter(|lane| lane.entrant.runtime.is_ours());
        let failed = ours.filter(|lane| lane.error.is_some()).count();
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// What the processor calls itself, and how busy it is: on a machine where others run, two threads say little.
fn machine() -> String {
    let about = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = about.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("?");
    let name = name.unwrap_or("unknown processor");
    format!("{name}, {cores} threads, {}, load average {load} before", sunmao_fastpath::Isa::detect())
}

/// The command line, without the folders of this machine.
fn command() -> String {
    let words = std::env::args().skip(1);
    let shown =
        words.map(|word| Path::new(&word).file_name().map_or(word.clone(), |name| name.to_string_lossy().into()));
    std::iter::once("sunmao-bench".to_owned()).chain(shown).collect::<Vec<_>>().join(" ")
}
