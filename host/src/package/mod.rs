//! Model packages: a folder `NAME.sunmao` that holds a model's files and a manifest of what they must be.
//!
//! ```text
//! NAME.sunmao/
//!   MANIFEST     `sunmao-package VERSION SHA256`, the digest being that of all lines below; then TOML
//!   model/       the model file, and the files that it refers to, under their relative names
//! ```
//!
//! A package is checked as a whole before anything of it is used: digests, sizes, no file missing, none that the manifest does not name. What a
//! model is, `import` finds out from the file itself.

mod error;
mod manifest;
mod write;

pub use error::PackageError;
pub use manifest::{Entry, Manifest};
pub use write::{Contents, write};

use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The ending of a package's name.
pub const ENDING: &str = "sunmao";
const MANIFEST: &str = "MANIFEST";
const MODEL: &str = "model";
/// What files are read in.
const CHUNK_BYTES: usize = 1 << 20;
/// Folders below `model/`.
const DEPTH_MAX: usize = 16;

/// A package whose manifest was read.
#[derive(Clone, Debug)]
pub struct Package {
    folder: PathBuf,
    manifest: Manifest,
}

impl Package {
    /// Whether that names a package: by its ending alone.
    pub fn is_named(path: &Path) -> bool {
        path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(ENDING))
    }

    /// Reads and checks the manifest; the files are left for [`Package::verify`].
    pub fn open(folder: &Path) -> Result<Self, PackageError> {
        let manifest = Manifest::read(&folder.join(MANIFEST), folder)?;
        Ok(Self { folder: folder.to_path_buf(), manifest })
    }

    /// What it says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The model file.
    pub fn model_path(&self) -> PathBuf {
        self.folder.join(MODEL).join(&self.manifest.model)
    }

    /// Reads every file and compares it with the manifest.
    pub fn verify(&self) -> Result<(), PackageError> {
        let damaged = |what: String| PackageError::Damaged { folder: self.folder.clone(), what };
        let model = self.folder.join(MODEL);
        for entry in &self.manifest.files {
            let path = model.join(&entry.path);
            let facts =
                fs::symlink_metadata(&path).map_err(|error| damaged(format!("file `{}`: {error}", entry.path)))?;
            if !facts.is_file() {
                return Err(damaged(format!("`{}` is not a file of its own", entry.path)));
            }
            let (bytes, sha256) = digest(&path).map_err(|error| damaged(format!("file `{}`: {error}", entry.path)))?;
            if bytes != entry.bytes {
                return Err(damaged(format!(
                    "file `{}` has {bytes} bytes, the manifest says {}",
                    entry.path, entry.bytes
                )));
            }
            if sha256 != entry.sha256 {
                return Err(damaged(format!(
                    "file `{}` has the sha256 {sha256}, the manifest says {}",
                    entry.path, entry.sha256
                )));
            }
        }
        let named: BTreeSet<&str> = self.manifest.files.iter().map(|entry| entry.path.as_str()).collect();
        match stranger(&model, "", &named, DEPTH_MAX).map_err(|error| damaged(error.to_string()))? {
            Some(name) => Err(damaged(format!("file `{name}` is not in the manifest"))),
            None => Ok(()),
        }
    }
}

/// Length and SHA-256 of a file, the latter in hexadecimal.
fn digest(path: &Path) -> std::io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let (mut hasher, mut total, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK_BYTES]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok((total, hex(&hasher.finalize()))),
            read => {
                hasher.update(&chunk[..read]);
                total += read as u64;
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file below `folder` that is not `named`.
fn stranger(folder: &Path, prefix: &str, named: &BTreeSet<&str>, depth: usize) -> std::io::Result<Option<String>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() && depth > 0 {
            let inside = stranger(&entry.path(), &format!("{name}/"), named, depth - 1)?;
            if inside.is_some() {
                return Ok(inside);
            }
        } else if !named.contains(name.as_str()) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
