//! A model of a case as a file, because importers read files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Part of the name of the folder that they lie in.
pub(super) const FOLDER: &str = "sunmao-conformance-";

/// A file that lives as long as this.
pub(super) struct ModelFile(PathBuf);

impl ModelFile {
    /// Writes one.
    pub(super) fn new(name: &str, bytes: &[u8]) -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // One folder each, so that a model finds no siblings.
        let folder = std::env::temp_dir().join(format!("{FOLDER}{}-{number}", std::process::id()));
        std::fs::create_dir(&folder)?;
        let file = Self(folder.join(format!("{name}.onnx")));
        std::fs::write(&file.0, bytes)?;
        Ok(file)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ModelFile {
    fn drop(&mut self) {
        if let Some(folder) = self.0.parent() {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}
