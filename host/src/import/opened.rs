//! A model whose files are open: what they are known by, and the ways to get a model from them.

use super::grants::{Files, ModelFiles};
use super::{ImportError, ImportOptions, Imported, WeightSource, import_files};
use crate::plugin::Plugin;
use crate::store::kept_record;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// A model file, open; nothing of it was read yet.
pub(crate) struct Opened {
    path: PathBuf,
    files: Files,
    when: SystemTime,
}

/// A file beside the model, and what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sibling {
    name: String,
    identity: Vec<u8>,
}

kept_record! { Sibling { name, identity } }

impl Opened {
    /// Opens a model file.
    pub(crate) fn open(path: &Path) -> Result<Self, ImportError> {
        let when = SystemTime::now();
        Ok(Self { path: path.to_path_buf(), files: Files::open(path)?, when })
    }

    /// Tells the file, with its content as it is now, from every other; none: it was changed so lately that this cannot be told.
    pub(crate) fn identity(&self) -> Option<Vec<u8>> {
        use std::os::unix::ffi::OsStrExt;
        let content = self.files.source(0)?.stamp.as_ref()?.identity(self.when)?;
        let path = self.path.canonicalize().ok()?;
        Some([&content[..], path.as_os_str().as_bytes()].concat())
    }

    /// Has one of `importers` read it.
    pub(crate) fn import(self, importers: &[Arc<Plugin>], options: &ImportOptions) -> Result<Imported, ImportError> {
        import_files(importers, &self.path, self.files, options)
    }

    /// The weights of a model that was imported before, when the files beside it were these; none: they are others now.
    pub(crate) fn imported_before(mut self, siblings: &[Sibling]) -> Option<WeightSource> {
        for sibling in siblings {
            let number = self.files.open_sibling(&sibling.name).ok()?;
            let identity = self.files.source(number)?.stamp.as_ref()?.identity(self.when)?;
            if identity != sibling.identity {
                return None;
            }
        }
        Some(WeightSource::new(self.files.take_sources()))
    }
}

impl WeightSource {
    /// The files beside the model, in the order in which weights number them; none: some cannot be known again, or were changed meanwhile.
    pub(crate) fn siblings(&self) -> Option<Vec<Sibling>> {
        let now = SystemTime::now();
        let sibling = |source: &super::grants::Source| {
            source.check_unchanged().ok()?;
            let identity = source.stamp.as_ref()?.identity(now)?;
            Some(Sibling { name: source.name.clone(), identity })
        };
        let all: Option<Vec<Sibling>> = self.files.sources.iter().map(sibling).collect();
        all.map(|mut all| all.drain(1.min(all.len())..).collect())
    }

    /// How the same files are imported again.
    pub(crate) fn importer(
        &self,
        path: &Path,
        importers: Vec<Arc<Plugin>>,
    ) -> impl Fn() -> Result<Imported, String> + Send + Sync + use<> {
        let (files, path): (Arc<ModelFiles>, PathBuf) = (self.files.clone(), path.to_path_buf());
        move || {
            let again = files.again().map_err(|error| error.to_string())?;
            let imported = import_files(&importers, &path, again, &ImportOptions::default());
            let imported = imported.map_err(|error| error.to_string())?;
            let sources = &imported.weights.files.sources;
            sources.iter().try_for_each(|source| source.check_unchanged()).map_err(|error| error.to_string())?;
            Ok(imported)
        }
    }
}
