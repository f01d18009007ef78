//! One runtime in a process of its own: how it is started, and how it is asked.
//!
//! All of them, ours too, speak as `bench/peers/runtime.py` says: facts on a line of JSON once the model is loaded and has run, then the times of
//! a burst for every number of seconds on stdin.

use super::Means;
use crate::models::{Index, Tensors};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::str::FromStr;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use sunmao_host::formats::read_npz;

/// Time for a runtime to load a model and to run it once.
const LOADING: Duration = Duration::from_secs(300);
/// Time for a burst, beyond what was asked for: slow models run at least three times.
const LONGEST_BURST: Duration = Duration::from_secs(300);

/// What can run a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Runtime {
    /// Ours, with native kernels where there are any.
    Sunmao,
    /// Ours, the `simd128` plugin alone.
    Plugin,
    Ort,
    OpenVino,
    OrtWeb,
    Tract,
    Rten,
}

const NAMES: [(Runtime, &str); 7] = [
    (Runtime::Sunmao, "sunmao"),
    (Runtime::Plugin, "sunmao-plugin"),
    (Runtime::Ort, "onnxruntime"),
    (Runtime::OpenVino, "openvino"),
    (Runtime::OrtWeb, "onnxruntime-web"),
    (Runtime::Tract, "tract"),
    (Runtime::Rten, "rten"),
];

impl Runtime {
    /// Whether it is this project's.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Sunmao | Self::Plugin)
    }

    pub(crate) fn name(self) -> &'static str {
        NAMES.iter().find(|(runtime, _)| *runtime == self).map_or("?", |(_, name)| name)
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Runtime {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let known = || NAMES.map(|(_, name)| name).join(", ");
        let found = NAMES.iter().find(|(_, known)| *known == name).map(|(runtime, _)| *runtime);
        found.with_context(|| format!("no runtime is named `{name}`: there are {}", known()))
    }
}

/// What a runtime says once it has a model.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Facts {
    /// Name and version.
    pub(crate) runtime: String,
    pub(crate) load_ms: f64,
    pub(crate) first_ms: f64,
    /// Resident before the model was loaded.
    pub(crate) idle_bytes: u64,
    /// Resident at most until the first answer.
    pub(crate) peak_bytes: u64,
    /// Constants as kernels want them, and activations; ours alone.
    #[serde(default)]
    pub(crate) planned_bytes: Option<u64>,
}

/// What it answers to a number of seconds.
#[derive(Deserialize)]
struct Burst {
    times_ms: Vec<f64>,
}

/// A model and the inputs that it is run on.
#[derive(Clone)]
pub(crate) struct Task {
    pub(crate) model: PathBuf,
    pub(crate) inputs: PathBuf,
}

/// A running process that holds a model.
pub(crate) struct Runner {
    runtime: Runtime,
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    complaints: PathBuf,
    pub(crate) facts: Facts,
    pub(crate) outputs: Tensors,
}

impl Runner {
    /// Starts a process, and waits until it has loaded the model and run it once. `flags` are for our own alone.
    pub(crate) fn start(means: &Means, runtime: Runtime, threads: usize, task: &Task, flags: &[&str]) -> Result<Self> {
        fs::create_dir_all(&means.scratch).with_context(|| means.scratch.display().to_string())?;
        let name = format!("{}-{runtime}-{threads}", std::process::id());
        let outputs = means.scratch.join(format!("{name}.npz"));
        let complaints = means.scratch.join(format!("{name}.txt"));
        let mut command = means.command(runtime)?;
        command.arg("--model").arg(&task.model).arg("--inputs").arg(&task.inputs).arg("--outputs").arg(&outputs);
        command.args(["--threads", &threads.to_string()]).args(flags);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(fs::File::create(&complaints)?);
        let mut child = command.spawn().with_context(|| format!("cannot start {runtime}"))?;
        let (sender, lines) = channel();
        let stdout = child.stdout.take().expect("stdout is piped");
        std::thread::spawn(move || {
            // Libraries print what they like: only lines of JSON are answers.
            for line in BufReader::new(stdout).lines().map_while(Result::ok).filter(|line| line.starts_with('{')) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let stdin = child.stdin.take().expect("stdin is piped");
        let facts = Facts {
            runtime: String::new(),
            load_ms: 0.0,
            first_ms: 0.0,
            idle_bytes: 0,
            peak_bytes: 0,
            planned_bytes: None,
        };
        let mut runner = Self { runtime, child, stdin, lines, complaints, facts, outputs: Vec::new() };
        runner.facts = runner.answer(LOADING)?;
        let bytes = fs::read(&outputs).with_context(|| format!("{runtime} wrote no outputs"))?;
        runner.outputs = read_npz(&bytes)?;
        fs::remove_file(&outputs).ok();
        Ok(runner)
    }

    /// Milliseconds of each run of a burst.
    pub(crate) fn burst(&mut self, seconds: f64) -> Result<Vec<f64>> {
        writeln!(self.stdin, "{seconds}").with_context(|| format!("{} has ended", self.runtime))?;
        let burst: Burst = self.answer(LONGEST_BURST)?;
        if burst.times_ms.is_empty() {
            bail!("{} ran nothing", self.runtime);
        }
        Ok(burst.times_ms)
    }

    fn answer<T: for<'a> Deserialize<'a>>(&mut self, within: Duration) -> Result<T> {
        let Ok(line) = self.lines.recv_timeout(within) else {
            let said = fs::read_to_string(&self.complaints).unwrap_or_default();
            let last = said.trim().lines().last().unwrap_or("it said nothing").to_owned();
            bail!("{} gave no answer: {last}", self.runtime);
        };
        let value: serde_json::Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        if let Some(error) = value["error"].as_str() {
            bail!("{}: {error}", self.runtime);
        }
        serde_json::from_value(value).with_context(|| format!("{} answered {line}", self.runtime))
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        fs::remove_file(&self.complaints).ok();
    }
}

impl Means {
    /// The program of a runtime, with what it needs before the task.
    fn command(&self, runtime: Runtime) -> Result<Command> {
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
        Ok(match runtime {
            Runtime::Sunmao | Runtime::Plugin => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("--plugins").arg(&self.plugins).arg("own");
                command.arg("--scratch").arg(&self.scratch);
                if runtime == Runtime::Plugin {
                    command.arg("--plugin-only");
                }
                command
            }
            Runtime::Ort | Runtime::OpenVino => {
                let python =
                    self.python.as_ref().context("there is no Python with the peers: run `cargo xtask bench`")?;
                let mut command = Command::new(python);
                command.arg(peers.join("runtime.py")).arg(runtime.name());
                command
            }
            Runtime::OrtWeb => {
                let mut command = Command::new("node");
                command.arg(peers.join("ortweb.mjs")).arg("--peers").arg(&self.node_peers);
                command
            }
            Runtime::Tract | Runtime::Rten => {
                if !self.rust_peers.exists() {
                    bail!("{} is not built: run `cargo xtask bench --lanes {runtime}`", self.rust_peers.display());
                }
                let mut command = Command::new(&self.rust_peers);
                command.arg(runtime.name());
                command
            }
        })
    }
}

impl Task {
    /// The files of a case.
    pub(crate) fn new(index: &Index, model: &crate::models::Model, case: &crate::models::Files) -> Self {
        Self { model: index.file(model), inputs: index.inputs_file(case) }
    }
}
