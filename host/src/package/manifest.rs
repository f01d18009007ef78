//! The manifest: what is in a package, bound by digests.

use super::{PackageError, hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;

const MAGIC: &str = "sunmao-package";
/// The version that is written, and the only one that is read. Keys that an older host may pass over keep the version.
const VERSION: u64 = 1;
/// Largest manifest that is read.
const MAX_BYTES: u64 = 4 << 20;
const MAX_FILES: usize = 1024;

/// What a package says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Name of the model.
    pub name: String,
    /// Format of the model file, by the importer's id.
    pub format: String,
    /// The model file below `model/`.
    pub model: String,
    /// Chip that it was made for; used where the user names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chip: Option<String>,
    /// Every file below `model/`.
    #[serde(rename = "file")]
    pub files: Vec<Entry>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Relative to `model/`, with `/` between its parts.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, 64 hexadecimal digits.
    pub sha256: String,
}

impl Manifest {
    /// The whole file: header and body.
    pub(super) fn text(&self) -> String {
        let body = toml::to_string(self).expect("names, numbers and lists of tables can be written as TOML");
        format!("{MAGIC} {VERSION} {}\n{body}", hex(&Sha256::digest(&body)))
    }

    pub(super) fn read(path: &Path, folder: &Path) -> Result<Self, PackageError> {
        let no_package = |what: String| PackageError::NoPackage { folder: folder.to_path_buf(), what };
        let file = File::open(path).map_err(|error| no_package(format!("{}: {error}", path.display())))?;
        let mut text = String::new();
        let read = file.take(MAX_BYTES + 1).read_to_string(&mut text);
        read.map_err(|error| no_package(format!("{}: {error}", path.display())))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(no_package(format!("the manifest has more than {MAX_BYTES} bytes")));
        }
        Self::parse(&text, folder)
    }

    pub(super) fn parse(text: &str, folder: &Path) -> Result<Self, PackageError> {
        let folder = folder.to_path_buf();
        let (header, body) = text.split_once('\n').unwrap_or((text, ""));
        let words: Vec<&str> = header.split(' ').collect();
        let (version, sha256) = match words.as_slice() {
            [MAGIC, version, sha256] => (version.parse::<u64>().ok(), *sha256),
            _ => (None, ""),
        };
        let Some(version) = version else {
            let what = format!("its manifest does not begin with `{MAGIC} VERSION SHA256`");
            return Err(PackageError::NoPackage { folder, what });
        };
        if version != VERSION {
            return Err(PackageError::Newer { folder, version, known: VERSION });
        }
        let damaged = |what: String| PackageError::Damaged { folder: folder.clone(), what };
        if hex(&Sha256::digest(body)) != sha256 {
            return Err(damaged("the manifest does not have the digest that its first line gives".into()));
        }
        let manifest: Self =
            toml::from_str(body).map_err(|error| damaged(format!("its manifest: {}", error.message())))?;
        if manifest.files.len() > MAX_FILES {
            return Err(damaged(format!("its manifest names more than {MAX_FILES} files")));
        }
        if let Some(entry) = manifest.files.iter().find(|entry| !is_plain(&entry.path)) {
            return Err(damaged(format!(
                "`{}` in its manifest is not a plain relative name",
                entry.path.escape_debug()
            )));
        }
        if !manifest.files.iter().any(|entry| entry.path == manifest.model) {
            return Err(damaged(format!("its model file `{}` is not among its files", manifest.model.escape_debug())));
        }
        if !crate::config::is_name(&manifest.name, 128) {
            return Err(damaged(format!("`{}` is no name for a model", manifest.name.escape_debug())));
        }
        Ok(manifest)
    }
}

/// A name that stays inside the folder, whatever the file system.
pub(super) fn is_plain(path: &str) -> bool {
    path.len() <= 1024 && !path.contains(['\\', '\0']) && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}
