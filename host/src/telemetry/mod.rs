//! The log: structured events on stderr, as text for a person or as one JSON object a line. stdout is for data.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One line a person reads.
    Text,
    /// One JSON object a line.
    Json,
}

/// A level or filter that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("`{filter}` is no log level: {reason}")]
pub struct BadFilter {
    filter: String,
    reason: String,
}

/// Starts the log. `filter` is a level (`info`), or levels by room (`warn,sunmao_host::engine=debug`). A second call changes nothing.
pub fn start(format: LogFormat, filter: &str) -> Result<(), BadFilter> {
    let parsed = EnvFilter::builder()
        .parse(filter)
        .map_err(|error| BadFilter { filter: filter.to_owned(), reason: error.to_string() })?;
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt().with_env_filter(parsed).with_writer(std::io::stderr).with_ansi(colour);
    let _ = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_level_is_named() {
        let error = start(LogFormat::Text, "sunmao=loud").unwrap_err();
        assert!(error.to_string().contains("`sunmao=loud` is no log level"), "{error}");
    }
}
