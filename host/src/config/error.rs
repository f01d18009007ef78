//! What can be wrong with plugins.toml.

use std::path::PathBuf;

/// Why plugins.toml was not taken. [`ConfigError::help`] says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not there, or not allowed.
    #[error("{path}: {source}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Not TOML, or a value of the wrong type.
    #[error("{path}:{line}: {message}", path = .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A key that does not exist.
    #[error("{path}:{line}: unknown key `{key}` in {section}", path = .path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The key.
        key: String,
        /// Where it stands.
        section: &'static str,
        /// The known key that looks most like it.
        nearest: Option<&'static str>,
        /// All that are known there.
        known: Vec<&'static str>,
    },
    /// A value outside of its range.
    #[error("{path}:{line}: `{key}` is {found}, which is not {range}", path = .path.display())]
    OutOfRange {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The key.
        key: &'static str,
        /// What stands there.
        found: String,
        /// What may stand there.
        range: String,
        /// What holds when the key is left out; empty when it cannot be.
        default: String,
    },
    /// Contradicts itself or something else in the file.
    #[error("{path}:{line}: {message}", path = .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
        /// What to do.
        help: String,
    },
}

impl ConfigError {
    /// What to do about it, in one line.
    pub fn help(&self) -> String {
        match self {
            Self::Unreadable { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                "name another file with --plugins FILE, or leave it out to use every plugin in ./plugins".into()
            }
            Self::Unreadable { path, .. } => {
                format!("make {} readable for the user that runs the host", path.display())
            }
            Self::Syntax { .. } => {
                "correct that line; strings stand in double quotes, and `[[plugin]]` opens one entry of a list".into()
            }
            Self::UnknownKey { nearest: Some(nearest), .. } => format!("did you mean `{nearest}`?"),
            Self::UnknownKey { known, .. } => format!("known there are {}", known.join(", ")),
            Self::OutOfRange { key, default, .. } if default.is_empty() => format!("correct `{key}`"),
            Self::OutOfRange { key, default, .. } => {
                format!("correct `{key}`, or remove it to get the default, {default}")
            }
            Self::Invalid { help, .. } => help.clone(),
        }
    }
}
