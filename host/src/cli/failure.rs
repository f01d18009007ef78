//! What a user sees when a command fails: one line what and where, one line what to do.

use super::remedy;
use crate::catalog::RepositoryError;
use crate::config::ConfigError;
use crate::device::UnknownChip;
use crate::formats::FormatError;
use crate::package::PackageError;
use crate::plugin::PluginError;
use crate::session::{InferError, LoadError};
use std::fmt;

/// A failed command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    message: String,
    /// Empty: the message says it already.
    help: String,
    code: u8,
}

impl Failure {
    pub(super) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into(), code: 1 }
    }

    /// The command line is wrong.
    pub(super) fn usage(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { code: 2, ..Self::new(message, help) }
    }

    /// The process's exit code.
    pub(super) fn code(&self) -> u8 {
        self.code
    }

    /// With what it happened to in front.
    pub(super) fn at(self, place: impl fmt::Display) -> Self {
        Self { message: format!("{place}: {}", self.message), ..self }
    }

    /// What is wrong.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// What to do, when it is not in the message.
    pub(super) fn help(&self) -> &str {
        &self.help
    }

    /// Both in one line, for the log.
    pub(super) fn one_line(&self) -> String {
        let message = self.message.split_whitespace().collect::<Vec<_>>().join(" ");
        if self.help.is_empty() { message } else { format!("{message}; {}", self.help) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        if self.help.is_empty() { Ok(()) } else { write!(f, "\nhelp: {}", self.help) }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(error.to_string(), error.help())
    }
}

impl From<RepositoryError> for Failure {
    fn from(error: RepositoryError) -> Self {
        Self::new(error.to_string(), error.help())
    }
}

impl From<PackageError> for Failure {
    fn from(error: PackageError) -> Self {
        Self::new(error.to_string(), error.help())
    }
}

impl From<FormatError> for Failure {
    fn from(error: FormatError) -> Self {
        Self::new(error.to_string(), "")
    }
}

impl From<PluginError> for Failure {
    fn from(error: PluginError) -> Self {
        let help = remedy::of_plugin(&error);
        match error {
            PluginError::Refused { reason, .. } => Self::new(reason, help),
            error => Self::new(error.to_string(), help),
        }
    }
}

impl From<UnknownChip> for Failure {
    fn from(error: UnknownChip) -> Self {
        let help = match crate::config::nearest(&error.wanted, error.known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "name one of them with --chip-type, or drop its plugin into the plugins folder; `host plugin list` shows what was refused and why".into(),
        };
        Self::new(error.to_string(), help)
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        let help = match &error {
            LoadError::Import(inner) => remedy::of_import(inner),
            LoadError::Graph { error, .. } => remedy::of_graph(error),
            LoadError::Engine { error, .. } => remedy::of_engine(error),
            LoadError::Chip(_) => String::new(),
        };
        match error {
            LoadError::Chip(error) => error.into(),
            error => Self::new(error.to_string(), help),
        }
    }
}

impl From<InferError> for Failure {
    fn from(error: InferError) -> Self {
        let help = match &error {
            InferError::WrongType { expected, .. } => {
                format!("convert it, in Python with .astype(numpy.{})", numpy(*expected))
            }
            InferError::UnknownInput { .. } | InferError::MissingInput { .. } => {
                "`host infer MODEL` without -i prints what the model takes".into()
            }
            InferError::WrongShape { .. } => {
                "bring the data into that shape; `host inspect MODEL` shows where it comes from".into()
            }
            InferError::OutOfMemory(error)
            | InferError::SetAside(error)
            | InferError::Internal(error)
            | InferError::Failed { error, .. } => remedy::of_engine(error),
            InferError::Busy(_) => "try again later, or raise `queue` in [server]".into(),
            InferError::DuplicateInput { .. }
            | InferError::WrongLength { .. }
            | InferError::WrongKind { .. }
            | InferError::UnknownOutput { .. }
            | InferError::Rejected(_) => "`host inspect MODEL` shows what the model takes, and what runs it".into(),
        };
        Self::new(error.to_string(), help)
    }
}

fn numpy(dtype: sunmao_graph::DType) -> String {
    let name = dtype.name();
    match name.strip_prefix(['f', 'i', 'u']).filter(|bits| bits.bytes().all(|byte| byte.is_ascii_digit())) {
        Some(bits) => {
            let kind = match name.as_bytes()[0] {
                b'f' => "float",
                b'i' => "int",
                _ => "uint",
            };
            format!("{kind}{bits}")
        }
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_and_a_remedy() {
        let failure = Failure::new("plugins.toml:3: bad", "do better");
        assert_eq!(failure.to_string(), "error: plugins.toml:3: bad\nhelp: do better");
        assert_eq!(Failure::new("a\n  b", "").one_line(), "a b");
    }

    #[test]
    fn element_types_have_numpys_names() {
        use sunmao_graph::DType;
        assert_eq!([DType::F32, DType::I64, DType::U8, DType::Bool].map(numpy), ["float32", "int64", "uint8", "bool"]);
    }
}
