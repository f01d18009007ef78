//! What can be written on the command line. Every flag has an environment twin.

use crate::config::FastPaths;
use crate::telemetry::LogFormat;
use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Runs AI models on any chip that has a plugin.
#[derive(Debug, Parser)]
#[command(name = "host", version, about, disable_help_subcommand = true)]
pub(super) struct Arguments {
    /// How much is logged: error, warn, info, debug, trace, or levels by room
    #[arg(long = "log-level", global = true, env = "SUNMAO_LOG", value_name = "LEVEL")]
    pub(super) log: Option<String>,
    /// How it is logged
    #[arg(long, global = true, env = "SUNMAO_LOG_FORMAT", default_value = "text")]
    pub(super) log_format: LogFormat,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve models over HTTP (Open Inference Protocol v2)
    Serve(Serve),
    /// Run a model once on tensors from files
    Infer(Infer),
    /// Measure who runs the operations of models fastest on this machine
    Tune(Tune),
    /// Show a model's graph, its plan, its memory, and what runs each node
    Inspect(Inspect),
    /// Put a model and the files that it refers to into a package
    Package(Package),
    /// Look at plugins
    Plugin {
        #[command(subcommand)]
        command: PluginCommand,
    },
    /// Run the conformance suite on a chip plugin, or check a certificate
    Conformance {
        #[command(subcommand)]
        command: ConformanceCommand,
    },
    /// Find out what is wrong with this machine, the configuration, the plugins and the models
    Doctor(Doctor),
}

#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// List the chips and importers that are loaded, and the files that were refused
    List(List),
    /// Write a plugin project that builds as it is
    New(New),
    /// Check one component, and print the line that pins it
    Verify(Verify),
    /// Make a pair of keys for signing plugins; prints the line for plugins.toml
    Keygen(Keygen),
    /// Sign a component: writes FILE.sig beside it
    Sign(Sign),
}

#[derive(Debug, Subcommand)]
pub(super) enum ConformanceCommand {
    /// Run cases and report what passes
    Run(ConformanceRun),
    /// Check a certificate, and whether it is about a plugin
    Verify(ConformanceVerify),
}

/// What all commands take.
#[derive(Clone, Debug, Args)]
pub(super) struct Common {
    /// Configuration file; without it ./plugins.toml, and without that every plugin in ./plugins
    #[arg(long, env = "SUNMAO_PLUGINS", value_name = "FILE")]
    pub(super) plugins: Option<PathBuf>,
    /// Chip to run on, by name or alias; `auto` takes the best
    #[arg(long, visible_alias = "chip", env = "SUNMAO_CHIP_TYPE", default_value = "auto", value_name = "TYPE")]
    pub(super) chip_type: String,
    /// Threads for all models together; without it as many as this process may use
    #[arg(long, env = "SUNMAO_THREADS", value_name = "N", value_parser = clap::value_parser!(u64).range(1..=256))]
    pub(super) threads: Option<u64>,
    /// Native kernels that may stand in for the chip's own: those named, or all but those with a - in front; `host doctor` lists them
    #[arg(long, env = "SUNMAO_FAST_PATHS", default_value = "auto", value_name = "off|auto|NAME,..|-NAME,..", allow_hyphen_values = true, value_parser = FastPaths::parse)]
    pub(super) fast_paths: FastPaths,
    /// File of `host tune`: choose by what was measured
    #[arg(long, env = "SUNMAO_TUNE", value_name = "FILE")]
    pub(super) tune: Option<PathBuf>,
    /// Refuse what the chip does not run, instead of running it on the host's own portable kernels
    #[arg(long, env = "SUNMAO_STRICT", value_parser = FalseyValueParser::new())]
    pub(super) strict: bool,
}

#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    pub(super) common: Common,
    /// A model file, a package NAME.sunmao, or a folder laid out as NAME/VERSION/model.onnx
    #[arg(long, env = "SUNMAO_MODEL_PATH", value_name = "FILE|PACKAGE|REPOSITORY")]
    pub(super) model_path: Option<PathBuf>,
    /// Address to listen on; overrides plugins.toml
    #[arg(long, env = "SUNMAO_HOST", value_name = "ADDRESS")]
    pub(super) host: Option<String>,
    /// Port to listen on, 0 for a free one; overrides plugins.toml
    #[arg(long, env = "SUNMAO_PORT")]
    pub(super) port: Option<u16>,
    /// Requests that shall find a thread at the same time; overrides plugins.toml
    #[arg(long, env = "SUNMAO_WORKERS", value_name = "N", value_parser = clap::value_parser!(u64).range(0..=256))]
    pub(super) workers: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct Infer {
    /// The model file or package
    #[arg(env = "SUNMAO_MODEL")]
    pub(super) model: PathBuf,
    /// NAME=FILE (.npy, .json, .npz or .npz:ARRAY) or NAME=FILE:TYPE:SHAPE for raw bytes, as in x=x.bin:f32:1x3x224x224. Without any, what the model takes is printed
    #[arg(short, long = "input", env = "SUNMAO_INPUT", value_name = "NAME=FILE")]
    pub(super) input: Vec<String>,
    /// Where outputs go: .npz, .json, .npy (one output), or a folder for raw bytes. Without it a summary is printed
    #[arg(short, long, env = "SUNMAO_OUTPUT", value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// Measure every dispatch, and print tables by operator and by node. With =FILE also write FILE.html, a timeline, and FILE.json for trace viewers
    #[arg(long, env = "SUNMAO_INFER_PROFILE", value_name = "FILE", require_equals = true)]
    pub(super) profile: Option<Option<PathBuf>>,
    /// How many runs a profile measures; figures are medians over them
    #[arg(long, env = "SUNMAO_REPEAT", default_value = "10", value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(super) repeat: u64,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// The model file or package
    #[arg(env = "SUNMAO_MODEL")]
    pub(super) model: PathBuf,
    /// Shape of an input, for models that leave it open: NAME=1x3x224x224
    #[arg(long, env = "SUNMAO_SHAPE", value_name = "NAME=SHAPE")]
    pub(super) shape: Vec<String>,
    /// What to show
    #[arg(long, env = "SUNMAO_WHAT", value_delimiter = ',', default_value = "graph,steps,plan,memory,devices")]
    pub(super) what: Vec<What>,
    /// As JSON
    #[arg(long, env = "SUNMAO_JSON", value_parser = FalseyValueParser::new())]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Tune {
    /// Model files or packages
    #[arg(required = true, env = "SUNMAO_MODEL")]
    pub(super) model: Vec<PathBuf>,
    /// Where the costs go; what a file knows already is kept
    #[arg(short, long, env = "SUNMAO_OUTPUT", value_name = "FILE")]
    pub(super) output: PathBuf,
    /// Shape of an input, for models that leave it open: NAME=1x3x224x224
    #[arg(long, env = "SUNMAO_SHAPE", value_name = "NAME=SHAPE")]
    pub(super) shape: Vec<String>,
    #[command(flatten)]
    pub(super) common: Common,
}

/// Parts of `inspect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum What {
    /// The operators, as optimised before shapes are known
    Graph,
    /// What is run one after the other: planned segments, operators of the host, branches and loops with their blocks
    Steps,
    /// The dispatches in order, with their offsets
    Plan,
    /// What a request occupies
    Memory,
    /// Which device runs which node, and why
    Devices,
}

#[derive(Debug, Args)]
pub(super) struct Package {
    /// The model file
    #[arg(env = "SUNMAO_MODEL")]
    pub(super) model: PathBuf,
    /// Where the package goes: a new folder NAME.sunmao. The chip of --chip-type is what it prefers
    #[arg(short, long, env = "SUNMAO_OUTPUT", value_name = "NAME.sunmao")]
    pub(super) output: PathBuf,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// As JSON
    #[arg(long, env = "SUNMAO_JSON", value_parser = FalseyValueParser::new())]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct New {
    /// Name of the chip: a-z, 0-9 and -, a letter first
    pub(super) name: String,
    /// Folder that the project's folder is made in
    #[arg(long, env = "SUNMAO_DIR", default_value = ".", value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// The folder `plugin-sdk` of a Sunmao checkout; without it, the one beside this program or above the working directory
    #[arg(long, env = "SUNMAO_SDK", value_name = "DIR")]
    pub(super) sdk: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The component
    pub(super) file: PathBuf,
    /// As JSON
    #[arg(long, env = "SUNMAO_JSON", value_parser = FalseyValueParser::new())]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Keygen {
    /// Where the secret key goes; an existing file is not written over
    #[arg(short, long, env = "SUNMAO_OUTPUT", value_name = "FILE")]
    pub(super) output: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Sign {
    /// The component
    pub(super) file: PathBuf,
    /// The secret key, as `keygen` wrote it
    #[arg(long, env = "SUNMAO_KEY", value_name = "FILE")]
    pub(super) key: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// A model file, package or repository to check as well, besides those of the configuration
    #[arg(long, env = "SUNMAO_MODEL_PATH", value_name = "FILE|PACKAGE|REPOSITORY")]
    pub(super) model_path: Option<PathBuf>,
    /// As JSON
    #[arg(long, env = "SUNMAO_JSON", value_parser = FalseyValueParser::new())]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Clone, Debug, Args)]
pub(super) struct ConformanceRun {
    /// A chip plugin to run alone, without any kernel of the host. Without it, the configured chip as it serves
    pub(super) plugin: Option<PathBuf>,
    /// Only what these profiles ask for, all of which must pass: abi, core-f32, half, quant, vision, llm, host-ops
    #[arg(long, env = "SUNMAO_PROFILE", value_name = "NAME", value_delimiter = ',')]
    pub(super) profile: Vec<String>,
    /// Only cases whose name fits, with * and ?
    #[arg(long, env = "SUNMAO_CASE", value_name = "GLOB", value_delimiter = ',')]
    pub(super) case: Vec<String>,
    /// Only cases of these suites
    #[arg(long, env = "SUNMAO_SUITE", value_name = "NAME", value_delimiter = ',')]
    pub(super) suite: Vec<String>,
    /// Draw the cases of `property` and `graphs` with another seed. Profiles and known gaps are about seed 1
    #[arg(long, env = "SUNMAO_SEED", value_name = "N", conflicts_with = "profile")]
    pub(super) seed: Option<u64>,
    /// Cases at the same time; without it as many as there are threads
    #[arg(long, env = "SUNMAO_JOBS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) jobs: Option<u16>,
    /// Time for one case
    #[arg(long, env = "SUNMAO_CASE_DEADLINE_MS", value_name = "MS", default_value = "60000", value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub(super) deadline_ms: u64,
    /// The plugin's known gaps (TOML); without it the project's own list, if it has one for this plugin
    #[arg(long, env = "SUNMAO_KNOWN", value_name = "FILE")]
    pub(super) known: Option<PathBuf>,
    /// Folder for report.json, report.html, junit.xml and, when profiles are met by a plugin alone, certificate.json
    #[arg(long, env = "SUNMAO_REPORT", value_name = "FOLDER")]
    pub(super) report: Option<PathBuf>,
    /// Folder of the hostile components that the profile abi loads; without it, where `cargo xtask build-plugins --all` leaves them
    #[arg(long, env = "SUNMAO_GUESTS", value_name = "FOLDER")]
    pub(super) guests: Option<PathBuf>,
    /// Measure how fast the plugin's operators are, too: a table, and a part of the report
    #[arg(long, env = "SUNMAO_CARD", value_parser = FalseyValueParser::new())]
    pub(super) card: bool,
    /// List the declined cases and why, too
    #[arg(long, env = "SUNMAO_DECLINED", value_parser = FalseyValueParser::new())]
    pub(super) declined: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct ConformanceVerify {
    /// The certificate
    pub(super) certificate: PathBuf,
    /// Run the cases again
    #[arg(long, env = "SUNMAO_RERUN", value_parser = FalseyValueParser::new())]
    pub(super) rerun: bool,
    #[command(flatten)]
    pub(super) run: ConformanceRun,
}
