//! The command line: reads what the user wants, puts the rooms together, prints. Data goes to stdout, everything else to stderr.
//!
//! Exit codes: 0 done, 1 failed, 2 the command line itself is wrong.

mod arguments;
mod assemble;
mod conformance;
mod doctor;
mod failure;
mod files;
mod infer;
mod inspect;
mod install;
mod new;
mod package;
mod plugins;
mod profile;
mod progress;
mod remedy;
mod serve;
mod signing;
mod tune;

use arguments::{Arguments, Command, ConformanceCommand, PluginCommand};
use clap::Parser;
use failure::Failure;
use std::process::ExitCode;

/// Reads the process's arguments and does what they say.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // --help and --version come here too: they go to stdout and are no failure.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match run(arguments) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.code())
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let usual = if matches!(arguments.command, Command::Serve(_)) { "info" } else { "warn" };
    crate::telemetry::start(arguments.log_format, arguments.log.as_deref().unwrap_or(usual)).map_err(|error| {
        Failure::usage(
            error.to_string(),
            "use error, warn, info, debug or trace, or pairs such as warn,sunmao_host::engine=debug",
        )
    })?;
    match arguments.command {
        Command::Serve(arguments) => serve::serve(arguments),
        Command::Infer(arguments) => infer::infer(&arguments),
        Command::Tune(arguments) => tune::tune(&arguments),
        Command::Inspect(arguments) => inspect::inspect(&arguments),
        Command::Package(arguments) => package::package(&arguments),
        Command::Plugin { command: PluginCommand::List(arguments) } => plugins::list(&arguments),
        Command::Plugin { command: PluginCommand::New(arguments) } => new::new(&arguments),
        Command::Plugin { command: PluginCommand::Verify(arguments) } => plugins::verify(&arguments),
        Command::Conformance { command: ConformanceCommand::Run(arguments) } => conformance::run(&arguments),
        Command::Conformance { command: ConformanceCommand::Verify(arguments) } => conformance::verify(&arguments),
        Command::Plugin { command: PluginCommand::Keygen(arguments) } => signing::keygen(&arguments),
        Command::Plugin { command: PluginCommand::Sign(arguments) } => signing::sign(&arguments),
        Command::Doctor(arguments) => doctor::doctor(&arguments),
    }
}

/// Prints to stdout; a reader that went away (`| head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("stdout: {error}"), "check where the output goes"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
