//! Makes a package.

use super::manifest::is_plain;
use super::{CHUNK_BYTES, Entry, MANIFEST, MODEL, Manifest, Package, PackageError, hex};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

/// What goes into a package.
#[derive(Clone, Debug)]
pub struct Contents<'a> {
    /// The model file.
    pub model: &'a Path,
    /// Files beside it that it refers to, by their relative names.
    pub siblings: &'a [String],
    /// Format of the model file, by the importer's id.
    pub format: &'a str,
    /// Chip that it is made for.
    pub chip: Option<&'a str>,
}

/// Copies the files into a new folder `target` and writes the manifest. Nobody sees half of it: the folder gets its name when it is complete.
pub fn write(target: &Path, contents: &Contents<'_>) -> Result<Package, PackageError> {
    if fs::symlink_metadata(target).is_ok() {
        return Err(PackageError::Exists { path: target.to_path_buf() });
    }
    let stem = target.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if !Package::is_named(target) || !crate::config::is_name(stem, 128) {
        let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Err(PackageError::Name { name });
    }
    let unfinished = target.with_file_name(format!(".{stem}.{}.unfinished", std::process::id()));
    let made = fill(&unfinished, stem, contents).and_then(|()| {
        fs::rename(&unfinished, target).map_err(|source| PackageError::Io { path: target.to_path_buf(), source })
    });
    if made.is_err() {
        // What is left of it helps nobody; that it stays does no harm.
        let _ = fs::remove_dir_all(&unfinished);
    }
    made.and_then(|()| Package::open(target))
}

fn fill(folder: &Path, name: &str, contents: &Contents<'_>) -> Result<(), PackageError> {
    let beside = contents.model.parent().unwrap_or(Path::new(""));
    let model = contents.model.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut files = vec![copy(contents.model, folder, &model)?];
    for sibling in contents.siblings {
        files.push(copy(&beside.join(sibling), folder, sibling)?);
    }
    let chip = contents.chip.map(str::to_owned);
    let manifest = Manifest { name: name.to_owned(), format: contents.format.to_owned(), model, chip, files };
    let path = folder.join(MANIFEST);
    fs::write(&path, manifest.text()).map_err(|source| PackageError::Io { path, source })
}

fn copy(from: &Path, folder: &Path, name: &str) -> Result<Entry, PackageError> {
    if !is_plain(name) {
        return Err(PackageError::Name { name: name.to_owned() });
    }
    let to = folder.join(MODEL).join(name);
    let at = |path: &Path| {
        let path = path.to_path_buf();
        move |source: io::Error| PackageError::Io { path, source }
    };
    fs::create_dir_all(to.parent().unwrap_or(folder)).map_err(at(&to))?;
    let mut source = File::open(from).map_err(at(from))?;
    let mut target = File::create_new(&to).map_err(at(&to))?;
    let (mut hasher, mut bytes, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK_BYTES]);
    loop {
        let read = source.read(&mut chunk).map_err(at(from))?;
        if read == 0 {
            break;
        }
        hasher.update(&chunk[..read]);
        target.write_all(&chunk[..read]).map_err(at(&to))?;
        bytes += read as u64;
    }
    target.sync_all().map_err(at(&to))?;
    Ok(Entry { path: name.to_owned(), bytes, sha256: hex(&hasher.finalize()) })
}
