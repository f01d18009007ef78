//! What can be wrong with a package.

use std::path::PathBuf;

/// Why a package was not made, or not taken. [`PackageError::help`] says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A file of it cannot be read or written.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A folder of that ending without a manifest, or with something else in its place.
    #[error("{folder} is no model package: {what}", folder = .folder.display())]
    NoPackage {
        /// The folder.
        folder: PathBuf,
        /// What is missing.
        what: String,
    },
    /// Made by a later version.
    #[error("{folder} has version {version} of the package format; this host reads version {known}", folder = .folder.display())]
    Newer {
        /// The folder.
        folder: PathBuf,
        /// Its version.
        version: u64,
        /// The one that is known.
        known: u64,
    },
    /// What is in it is not what the manifest says, or the manifest itself was changed.
    #[error("package {folder} is damaged: {what}", folder = .folder.display())]
    Damaged {
        /// The folder.
        folder: PathBuf,
        /// What differs.
        what: String,
    },
    /// There is something of that name already.
    #[error("{path} is there already", path = .path.display())]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// It would have no good name.
    #[error("`{name}` cannot be the name of a package")]
    Name {
        /// The name.
        name: String,
    },
}

impl PackageError {
    /// What to do about it, in one line.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                "check the path; it is taken relative to the working directory"
            }
            Self::Io { .. } => "check that the file may be read, and that the folder may be written to",
            Self::NoPackage { .. } => "make one with `host package MODEL -o NAME.sunmao`",
            Self::Newer { .. } => "update the host, or make the package again with `host package` of this version",
            Self::Damaged { .. } => "copy it again from where it came from, or make it again with `host package`",
            Self::Exists { .. } => "remove it, or give -o another name",
            Self::Name { .. } => "name it NAME.sunmao, with letters, digits, `-`, `_` and `.`",
        }
    }
}
