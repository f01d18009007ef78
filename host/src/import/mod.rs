//! Reads a model file through an importer plugin, into a raw graph and the places of its weights.
//!
//! The file is hostile and so is the importer. The importer runs in a sandbox and sees numbered ranges of the model's own files (`grants`); what it
//! builds is checked as it comes (`sink`). Weights stay where they are until somebody asks for their bytes (`weights`). Whether the graph makes
//! sense is `sunmao_graph::validate`'s question.

mod decode;
mod derived;
mod error;
mod grants;
mod inflate;
mod opened;
mod sink;
mod stamp;
mod weights;

pub(crate) use derived::{Derived, take_large};
pub use error::ImportError;
pub(crate) use opened::{Opened, Sibling};
pub use weights::WeightSource;

use crate::plugin::importer::{self, Kv};
use crate::plugin::{Plugin, PluginError};
use grants::{Files, Grants};
use sink::GraphSink;
use std::path::Path;
use std::sync::Arc;
use sunmao_graph::Graph;

/// A probe sees that many bytes from the start and from the end.
const PREFIX_BYTES: u64 = 64 << 10;
const SUFFIX_BYTES: u64 = 4 << 10;

/// How a model is imported.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// The format, when the user knows better than the probes.
    pub format: Option<String>,
    /// Handed to the importer, which refuses those that it does not know.
    pub values: Vec<Kv>,
}

/// A model as its file has it.
#[derive(Debug)]
pub struct Imported {
    /// Raw: a node's `revision` is the opset number that it was written for.
    pub graph: Graph,
    /// Reads the weights that the graph refers to.
    pub weights: WeightSource,
    /// What was imported other than the file says.
    pub warnings: Vec<String>,
    /// Which format it was.
    pub format: String,
    /// Files beside the model file that it refers to, by their relative names.
    pub siblings: Vec<String>,
}

/// Imports the model at `path` by whichever of `importers` is surest of it.
pub fn import(importers: &[Arc<Plugin>], path: &Path, options: &ImportOptions) -> Result<Imported, ImportError> {
    import_files(importers, path, Files::open(path)?, options)
}

fn import_files(
    importers: &[Arc<Plugin>],
    path: &Path,
    mut files: Files,
    options: &ImportOptions,
) -> Result<Imported, ImportError> {
    let (plugin, format) = choose(importers, path, &mut files, options)?;
    let files = Arc::new(std::sync::Mutex::new(files));
    let (sink, refused) = GraphSink::new(files.clone());
    let done = importer::import(plugin, Grants::new(files.clone()), sink, &options.values);
    let rejected = |rejection| ImportError::Rejected { path: path.to_path_buf(), importer: plugin.id(), rejection };
    let sink = match (done, refused.take()) {
        // What the host itself said no to is told in the host's words, whatever the importer made of it.
        (_, Some(rejection)) => return Err(rejected(rejection)),
        (Err(source), None) => {
            return Err(ImportError::Importer { path: path.to_path_buf(), importer: plugin.id(), source });
        }
        (Ok((_, sink)), None) => sink,
    };
    let (graph, warnings) = sink.finish().map_err(rejected)?;
    let mut files = grants::lock(&files);
    let siblings = files.opened_siblings();
    Ok(Imported { graph, weights: WeightSource::new(files.take_sources()), warnings, format, siblings })
}

/// Asks all importers; the surest wins, of equals the one that names the file's extension, then the first.
fn choose<'a>(
    importers: &'a [Arc<Plugin>],
    path: &Path,
    files: &mut Files,
    options: &ImportOptions,
) -> Result<(&'a Plugin, String), ImportError> {
    let known = || {
        let mut ids: Vec<_> =
            importers.iter().flat_map(|plugin| plugin.formats()).map(|format| format.id.clone()).collect();
        ids.sort();
        ids.dedup();
        ids
    };
    if let Some(wanted) = &options.format {
        let has = |plugin: &&Arc<Plugin>| plugin.formats().iter().any(|format| format.id == *wanted);
        return match importers.iter().find(has) {
            Some(plugin) => Ok((plugin, wanted.clone())),
            None => Err(ImportError::NoSuchFormat { wanted: wanted.clone(), known: known() }),
        };
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let size = files.size(0);
    let unreadable = |source| ImportError::Unreadable { path: path.to_owned(), source };
    let prefix = files.read(0, 0, PREFIX_BYTES.min(size)).map_err(unreadable)?;
    let suffix = files.read(0, size - SUFFIX_BYTES.min(size), SUFFIX_BYTES.min(size)).map_err(unreadable)?;

    let mut best: Option<((u8, bool), &Plugin, String)> = None;
    for plugin in importers {
        let sure = match importer::probe(plugin, &name, size, &prefix, &suffix) {
            Ok(sure) => sure,
            Err(PluginError::Misuse { .. }) => continue,
            Err(error) => {
                tracing::warn!(plugin = plugin.id(), %error, "an importer failed to look at a file");
                continue;
            }
        };
        let by_name = plugin.formats().iter().find(|format| {
            format
                .extensions
                .iter()
                .any(|ending| name.strip_suffix(ending.as_str()).is_some_and(|rest| rest.ends_with('.')))
        });
        let rank = (sure, by_name.is_some());
        if sure > 0 && best.as_ref().is_none_or(|(other, ..)| rank > *other) {
            let format = by_name.or(plugin.formats().first()).map_or_else(|| plugin.id(), |format| format.id.clone());
            best = Some((rank, plugin, format));
        }
    }
    match best {
        Some((_, plugin, format)) => Ok((plugin, format)),
        None => Err(ImportError::UnknownFormat { path: path.to_owned(), known: known() }),
    }
}

#[cfg(test)]
mod tests;
