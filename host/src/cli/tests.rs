//! The command line as it is parsed.

use super::arguments::{Arguments, Command, ConformanceCommand, PluginCommand, What};
use crate::config::FastPaths;
use clap::{CommandFactory, Parser};
use std::path::Path;

fn parsed(line: &str) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(line.split_whitespace())
}

#[test]
fn the_commands_are_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn the_articles_line_is_taken_as_it_stands() {
    let arguments = parsed("host serve --model-path model.onnx --port 8080 --workers 4 --chip-type TYPE_A").unwrap();
    let Command::Serve(serve) = arguments.command else { panic!("{arguments:?}") };
    assert_eq!(serve.model_path.as_deref(), Some(Path::new("model.onnx")));
    assert_eq!((serve.port, serve.workers, serve.common.chip_type.as_str()), (Some(8080), Some(4), "TYPE_A"));
    assert_eq!((serve.common.fast_paths, serve.common.strict, serve.common.threads), (FastPaths::Auto, false, None));
}

#[test]
fn all_commands_take_the_common_flags() {
    for command in [
        "serve",
        "infer m.onnx",
        "inspect m.onnx",
        "plugin list",
        "plugin verify p.wasm",
        "doctor",
        "conformance run",
        "conformance verify c.json",
        "package m.onnx -o m.sunmao",
    ] {
        let line = format!("host {command} --plugins p.toml --chip simd128 --threads 2 --fast-paths off --strict");
        let arguments = parsed(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let common = match arguments.command {
            Command::Serve(command) => command.common,
            Command::Infer(command) => command.common,
            Command::Inspect(command) => command.common,
            Command::Package(command) => command.common,
            Command::Plugin { command: PluginCommand::List(command) } => command.common,
            Command::Plugin { command: PluginCommand::Verify(command) } => command.common,
            Command::Doctor(command) => command.common,
            Command::Conformance { command: ConformanceCommand::Run(command) } => command.common,
            Command::Conformance { command: ConformanceCommand::Verify(command) } => command.run.common,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!((common.plugins.as_deref(), common.chip_type.as_str()), (Some(Path::new("p.toml")), "simd128"));
        assert_eq!((common.threads, common.fast_paths, common.strict), (Some(2), FastPaths::Off, true));
    }
}

#[test]
fn inputs_and_parts_are_lists() {
    let arguments = parsed("host infer m.onnx -i a=a.npy -i b=b.npy -o out.npz").unwrap();
    let Command::Infer(infer) = arguments.command else { panic!("{arguments:?}") };
    assert_eq!(infer.input, ["a=a.npy", "b=b.npy"]);
    let arguments = parsed("host inspect m.onnx --shape x=1x3 --what plan,memory --json").unwrap();
    let Command::Inspect(inspect) = arguments.command else { panic!("{arguments:?}") };
    assert_eq!((inspect.what, inspect.json), (vec![What::Plan, What::Memory], true));
}

#[test]
fn mistakes_exit_with_2_and_a_hint() {
    for (line, with) in [
        ("host serv", "serve"),
        ("host serve --prot 1", "--port"),
        ("host serve --port 70000", "70000"),
        ("host serve --threads 0", "1..=256"),
        ("host infer m --fast-paths maybe", "use `auto` or `off`"),
        ("host inspect m --what everything", "graph"),
    ] {
        let error = parsed(line).unwrap_err();
        assert!(error.use_stderr() && error.to_string().contains(with), "{line}: {error}");
    }
}

#[test]
fn every_flag_has_an_environment_twin() {
    fn check(command: &clap::Command) {
        for argument in command.get_arguments() {
            let id = argument.get_id().as_str();
            // What these commands work on has no meaning beyond one call.
            let about_a_thing = matches!(command.get_name(), "verify" | "sign" | "new" | "run");
            let exempt = matches!(id, "help" | "version") || (about_a_thing && argument.is_positional());
            assert!(
                exempt || argument.get_env().is_some_and(|env| env.to_string_lossy().starts_with("SUNMAO_")),
                "{} {id}",
                command.get_name()
            );
        }
        command.get_subcommands().for_each(check);
    }
    check(&Arguments::command());
}
