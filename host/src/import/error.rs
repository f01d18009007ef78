//! Why a model was not imported.

use crate::plugin::{PluginError, importer::Rejection};
use std::path::PathBuf;

/// Why a model was not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file could not be read.
    #[error("cannot read model {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not a regular file.
    #[error("model {} is not a file: name the model's own file", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// No importer takes it.
    #[error("no importer knows the format of {}; formats that are known: {}", path.display(), known_formats(known))]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// Formats of the importers that were asked.
        known: Vec<String>,
    },
    /// The user named a format that no importer has.
    #[error("no importer reads the format `{wanted}`; formats that are known: {}", known_formats(known))]
    NoSuchFormat {
        /// What was named.
        wanted: String,
        /// Formats that there are.
        known: Vec<String>,
    },
    /// The importer refused the file, or failed.
    #[error("{}: importer `{importer}`: {source}", path.display())]
    Importer {
        /// The file.
        path: PathBuf,
        /// Which importer.
        importer: String,
        /// Why.
        source: PluginError,
    },
    /// The importer reads the file, and the host does not take what it read.
    #[error("{}: importer `{importer}`: {rejection}", path.display())]
    Rejected {
        /// The file.
        path: PathBuf,
        /// Which importer.
        importer: String,
        /// What the host does not take.
        rejection: Rejection,
    },
}

fn known_formats(known: &[String]) -> String {
    if known.is_empty() { "none: no importer plugin is loaded".into() } else { known.join(", ") }
}
