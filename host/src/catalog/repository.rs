//! Finds models on disk: one file, or a folder laid out as Triton's model repository, `<name>/[config.pbtxt]/<version>/model.onnx`.

use crate::config::is_name;
use crate::package::{Package, PackageError};
use std::path::{Path, PathBuf};

/// Models that one repository may hold.
const MAX_MODELS: usize = 4096;

/// A model to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Name in the URL.
    pub name: String,
    /// Version in the URL.
    pub version: u64,
    /// The model file.
    pub path: PathBuf,
    /// Chip that shall run it; none: the default of the process.
    pub chip: Option<String>,
    /// Threads for one request; none: the default of the process.
    pub threads: Option<usize>,
}

impl Source {
    /// The protocol's word for the kind of model.
    pub fn platform(&self) -> String {
        match extension(&self.path).as_deref() {
            Some("onnx") => "onnx_onnxv1".to_owned(),
            Some("sunmao") => "sunmao_package".to_owned(),
            Some(other) => format!("sunmao_{other}"),
            None => "sunmao_unknown".to_owned(),
        }
    }
}

fn extension(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_lowercase())
}

/// Why a path is nothing that can be served.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// Not there, or not readable.
    #[error("{path}: {source}", path = .path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A package that is none.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// There, but not of a form that can be served.
    #[error("{path}: {problem}", path = .path.display())]
    Unusable {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What to do.
        help: String,
    },
}

impl RepositoryError {
    /// What to do about it, in one line.
    pub fn help(&self) -> String {
        match self {
            Self::Unreadable { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                "check the path; it is taken relative to the working directory".into()
            }
            Self::Unreadable { .. } => "make it readable for the user that runs the host".into(),
            Self::Package(error) => error.help().into(),
            Self::Unusable { help, .. } => help.clone(),
        }
    }
}

/// The models of a file or a repository, and notes about what was passed over.
pub fn scan(path: &Path) -> Result<(Vec<Source>, Vec<String>), RepositoryError> {
    let unusable = |problem: &str, help: &str| RepositoryError::Unusable {
        path: path.to_path_buf(),
        problem: problem.into(),
        help: help.into(),
    };
    let facts =
        std::fs::metadata(path).map_err(|source| RepositoryError::Unreadable { path: path.to_path_buf(), source })?;
    if Package::is_named(path) {
        return Ok((vec![package(path)?], Vec::new()));
    }
    if facts.is_dir() {
        return repository(path);
    }
    if !facts.is_file() {
        return Err(unusable(
            "neither a file nor a folder",
            "name a model file, or a folder laid out as NAME/1/model.onnx",
        ));
    }
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let name = model_name(stem);
    if name.is_empty() {
        return Err(unusable(
            "the file's name gives no model name",
            "rename it, with letters, digits, `-`, `_` and `.`",
        ));
    }
    let notes = if name == stem {
        Vec::new()
    } else {
        vec![format!("{} is served as `{name}`: a model name has letters, digits, `-`, `_` and `.`", path.display())]
    };
    Ok((vec![Source { name, version: 1, path: path.to_path_buf(), chip: None, threads: None }], notes))
}

/// A package goes by the name in its manifest. Its files are checked when it is loaded.
fn package(path: &Path) -> Result<Source, RepositoryError> {
    let name = Package::open(path)?.manifest().name.clone();
    Ok(Source { name, version: 1, path: path.to_path_buf(), chip: None, threads: None })
}

/// A file's stem as a name: whatever a name cannot have becomes `_`.
fn model_name(stem: &str) -> String {
    let name: String = stem
        .chars()
        .take(128)
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' })
        .collect();
    if is_name(&name, 128) { name } else { String::new() }
}

fn repository(path: &Path) -> Result<(Vec<Source>, Vec<String>), RepositoryError> {
    let (mut sources, mut notes) = (Vec::new(), Vec::new());
    for folder in entries(path)? {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if name.starts_with('.') || !folder.is_dir() {
            continue;
        }
        if Package::is_named(&folder) {
            match package(&folder) {
                Ok(source) => sources.push(source),
                Err(error) => notes.push(format!("{error}; {}", error.help())),
            }
            continue;
        }
        if !is_name(&name, 128) {
            notes.push(format!(
                "{} is passed over: a model name has letters, digits, `-`, `_` and `.`, at most 128",
                folder.display()
            ));
            continue;
        }
        let inside = entries(&folder)?;
        if inside.iter().any(|file| file.file_name().is_some_and(|name| name == "config.pbtxt")) {
            notes.push(format!(
                "{}: config.pbtxt is not read; what it would say is taken from the model itself",
                folder.display()
            ));
        }
        // Triton's rule: a version is a positive number that does not begin with 0; the highest one is served.
        let versions = inside.iter().filter(|folder| folder.is_dir()).filter_map(|folder| {
            let text = folder.file_name()?.to_str()?;
            let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
            Some((text.parse::<u64>().ok().filter(|_| digits)?, folder))
        });
        let Some((version, folder)) = versions.max_by_key(|(version, _)| *version) else {
            notes.push(format!(
                "{} is passed over: it has no version folder such as {}/1",
                folder.display(),
                folder.display()
            ));
            continue;
        };
        match model_file(folder)? {
            Ok(path) => sources.push(Source { name, version, path, chip: None, threads: None }),
            Err(note) => notes.push(note),
        }
        if sources.len() > MAX_MODELS {
            return Err(RepositoryError::Unusable {
                path: path.to_path_buf(),
                problem: format!("more than {MAX_MODELS} models"),
                help: "split the repository".into(),
            });
        }
    }
    if sources.is_empty() {
        let why = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) };
        return Err(RepositoryError::Unusable {
            path: path.to_path_buf(),
            problem: format!("no model in this folder{why}"),
            help: "lay it out as NAME/1/model.onnx, or give --model-path the model file itself".into(),
        });
    }
    Ok((sources, notes))
}

/// `model.onnx`, another `model.*`, or the only file there is.
fn model_file(folder: &Path) -> Result<Result<PathBuf, String>, RepositoryError> {
    let files: Vec<_> = entries(folder)?
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b".")))
        .collect();
    let named =
        |wanted: &str| files.iter().find(|path| path.file_name().is_some_and(|name| name == wanted) && path.is_file());
    let by_stem: Vec<_> =
        files.iter().filter(|path| path.is_file() && path.file_stem().is_some_and(|stem| stem == "model")).collect();
    let found = match (named("model.onnx"), by_stem.as_slice(), files.as_slice()) {
        (Some(file), _, _) => file,
        (None, [file], _) => file,
        (None, _, [file]) if file.is_file() => file,
        _ => return Ok(Err(format!("{} is passed over: it has no file named model.onnx", folder.display()))),
    };
    Ok(Ok(found.clone()))
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, RepositoryError> {
    let unreadable = |source| RepositoryError::Unreadable { path: folder.to_path_buf(), source };
    let mut paths = std::fs::read_dir(folder)
        .map_err(unreadable)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    paths.sort();
    Ok(paths)
}
