//! The models and cases that `cargo xtask models` prepared.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use sunmao_host::formats::read_npz;
use sunmao_host::session::Tensor;

/// The folder, and what one of its lists has.
pub(crate) struct Index {
    folder: PathBuf,
    pub(crate) models: Vec<Model>,
}

/// `index.json` or `engine.json`.
#[derive(Deserialize)]
struct Listing {
    models: Vec<Model>,
}

/// One model.
#[derive(Deserialize)]
pub(crate) struct Model {
    pub(crate) name: String,
    file: String,
    #[serde(default)]
    pub(crate) kind: Kind,
    /// The model that this one is the int8 variant of.
    #[serde(default)]
    pub(crate) f32: Option<String>,
    pub(crate) cases: Vec<Files>,
}

/// Which figures a model belongs to.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    #[default]
    F32,
    Int8,
    Small,
    /// One operator on integers, at its worst.
    Exact,
}

/// The files of one case.
#[derive(Deserialize)]
pub(crate) struct Files {
    pub(crate) name: String,
    #[serde(default = "one")]
    pub(crate) batch: usize,
    inputs: PathBuf,
    expected: PathBuf,
    #[serde(default)]
    noise: Option<PathBuf>,
}

/// What f32 rounding moves in the answer of a quantised model.
#[derive(Deserialize)]
struct Noise {
    rms: f64,
}

fn one() -> usize {
    1
}

/// Named tensors.
pub(crate) type Tensors = Vec<(String, Tensor)>;

/// Inputs and what is expected for them.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) inputs: Tensors,
    pub(crate) expected: Tensors,
    /// Of a quantised model: how far its answer is from itself when f32 rounds otherwise, root mean square relative to root mean square.
    pub(crate) noise: Option<f64>,
}

impl Index {
    /// Reads `list` of `folder`: `index.json` or `engine.json`.
    pub(crate) fn read(folder: &Path, list: &str) -> Result<Self> {
        let path = folder.join(list);
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
        self.models.iter().find(|model| model.name == name).with_context(|| format!("no model {name} in the list"))
    }

    /// Loads one case.
    pub(crate) fn case(&self, files: &Files) -> Result<Case> {
        let read = |path: &Path| -> Result<Tensors> {
            let path = self.folder.join(path);
            let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
            read_npz(&bytes).with_context(|| path.display().to_string())
        };
        let noise = files.noise.as_ref().map(|path| -> Result<f64> {
            let path = self.folder.join(path);
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let noise: Noise = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
            Ok(noise.rms)
        });
        let (inputs, expected) = (read(&files.inputs)?, read(&files.expected)?);
        Ok(Case { name: files.name.clone(), inputs, expected, noise: noise.transpose()? })
    }

    /// Where the inputs of a case are, for a peer that reads them itself.
    pub(crate) fn inputs_file(&self, files: &Files) -> PathBuf {
        self.folder.join(&files.inputs)
    }
}
