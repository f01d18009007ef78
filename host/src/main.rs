//! `host`: the command line of the Sunmao server. All of it is in the library.

fn main() -> std::process::ExitCode {
    sunmao_host::cli::main()
}
