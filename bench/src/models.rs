//! The models and cases that `cargo xtask models` prepared.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use sunmao_host::formats::read_npz;
use sunmao_host::session::Tensor;

/// What `index.json` lists.
pub(crate) struct Index {
    folder: PathBuf,
    pub(crate) models: Vec<Model>,
}

/// One model.
#[derive(Deserialize)]
pub(crate) struct Model {
    pub(crate) name: String,
    file: String,
    pub(crate) cases: Vec<String>,
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
        let models = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        Ok(Self { folder: folder.to_path_buf(), models })
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
    pub(crate) fn case(&self, model: &Model, name: &str) -> Result<Case> {
        let path = |kind: &str| self.folder.join("cases").join(&model.name).join(format!("{name}.{kind}.npz"));
        let read = |path: PathBuf| -> Result<Tensors> {
            let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
            read_npz(&bytes).with_context(|| path.display().to_string())
        };
        Ok(Case { name: name.to_owned(), inputs: read(path("inputs"))?, expected: read(path("expected"))? })
    }

    /// Where the inputs of a case are, for a peer that reads them itself.
    pub(crate) fn inputs_file(&self, model: &Model, case: &str) -> PathBuf {
        self.folder.join("cases").join(&model.name).join(format!("{case}.inputs.npz"))
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}
