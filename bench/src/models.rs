//! The models and cases that `cargo xtask models` prepared.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use sunmao_host::formats::read_npz;
use sunmao_host::session::Tensor;

/// The folder, and what its `index.json` lists.
pub(crate) struct Index {
    folder: PathBuf,
    pub(crate) models: Vec<Model>,
}

/// `index.json`.
#[derive(Deserialize)]
struct Listing {
    models: Vec<Model>,
}

/// One model.
#[derive(Deserialize)]
pub(crate) struct Model {
    pub(crate) name: String,
    file: String,
    pub(crate) cases: Vec<Files>,
}

/// The files of one case.
#[derive(Deserialize)]
pub(crate) struct Files {
    pub(crate) name: String,
    inputs: PathBuf,
    expected: PathBuf,
}

/// Named tensors.
pub(crate) type Tensors = Vec<(String, Tensor)>;

/// Inputs and what ONNX Runtime answers to them.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) inputs: Tensors,
    pub(crate) expected: Tensors,
}

impl Index {
    /// Reads `index.json` of `folder`.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("index.json");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("{}: run `cargo xtask models` first", path.display()))?;
        let listing: Listing = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        Ok(Self { folder: folder.to_path_buf(), models: listing.models })
    }

    /// The model's file.
    pub(crate) fn file(&self, model: &Model) -> PathBuf {
        self.folder.join(&model.file)
    }

    /// The model of that name.
    pub(crate) fn model(&self, name: &str) -> Result<&Model> {
        self.models.iter().find(|model| model.name == name).with_context(|| format!("no model {name} in index.json"))
    }

    /// Loads one case.
    pub(crate) fn case(&self, files: &Files) -> Result<Case> {
        let read = |path: &Path| -> Result<Tensors> {
            let path = self.folder.join(path);
            let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
            read_npz(&bytes).with_context(|| path.display().to_string())
        };
        Ok(Case { name: files.name.clone(), inputs: read(&files.inputs)?, expected: read(&files.expected)? })
    }

    /// Where the inputs of a case are, for a peer that reads them itself.
    pub(crate) fn inputs_file(&self, files: &Files) -> PathBuf {
        self.folder.join(&files.inputs)
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}
