//! The models being served: their names, versions and states. Models load in the background, one after another; a request finds what is ready.
//!
//! Where models come from on disk is `repository`; how one is made ready is the loader's work, which the command line gives.

mod repository;

pub use repository::{RepositoryError, Source, scan};

use crate::session::Model;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A model that answers requests.
pub struct Served {
    /// Name in the URL.
    pub name: String,
    /// Version in the URL.
    pub version: u64,
    /// What kind of model it is, as the protocol words it: `onnx_onnxv1`.
    pub platform: String,
    /// What computes.
    pub model: Box<dyn Model>,
}

/// Where a model stands.
#[derive(Clone)]
pub enum State {
    /// Waiting to be loaded, or being loaded.
    Loading,
    /// Answers requests.
    Ready(Arc<Served>),
    /// Could not be loaded: what is wrong and what to do about it.
    Unavailable(String),
}

/// Why there is no such model to ask.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// No model of that name.
    #[error("no model `{name}`; {}", match .known.as_slice() { [] => "none is served".to_owned(), known => format!("served are {}", known.join(", ")) })]
    UnknownModel {
        /// The name asked for, cut.
        name: String,
        /// Names that exist.
        known: Vec<String>,
    },
    /// No such version of it.
    #[error("model `{name}` has no version `{version}`; it has {}", .known.iter().map(u64::to_string).collect::<Vec<_>>().join(", "))]
    UnknownVersion {
        /// The model.
        name: String,
        /// The version asked for, cut.
        version: String,
        /// Versions that exist.
        known: Vec<u64>,
    },
    /// It will be there soon.
    #[error("model `{name}` is still loading")]
    Loading {
        /// The model.
        name: String,
    },
    /// It could not be loaded.
    #[error("model `{name}` could not be loaded: {reason}")]
    Unavailable {
        /// The model.
        name: String,
        /// Why.
        reason: String,
    },
}

/// Makes a model ready, or says why not and what to do about it.
pub type Loader<'a> = dyn Fn(&Source) -> Result<Box<dyn Model>, String> + Send + Sync + 'a;

/// All models of the process.
pub struct Catalog {
    models: Mutex<BTreeMap<String, BTreeMap<u64, State>>>,
}

impl Catalog {
    /// Takes note of the models, all of them to be loaded. Nothing is ready before [`Catalog::load_all`] is through.
    pub fn new(sources: &[Source]) -> Arc<Self> {
        let mut models = BTreeMap::<String, BTreeMap<u64, State>>::new();
        for source in sources {
            models.entry(source.name.clone()).or_default().insert(source.version, State::Loading);
        }
        Arc::new(Self { models: Mutex::new(models) })
    }

    /// Loads the models one after another (each uses all cores where it can), on the calling thread.
    pub fn load_all(&self, sources: &[Source], loader: &Loader<'_>) {
        for source in sources {
            self.load(source, loader);
        }
    }

    /// Tries those once more that could not be loaded: a plugin that was missing may have come. They stay unavailable until they are ready.
    pub fn load_unavailable(&self, sources: &[Source], loader: &Loader<'_>) {
        let unavailable = |source: &&Source| {
            let models = self.locked();
            let state = models.get(&source.name).and_then(|versions| versions.get(&source.version));
            matches!(state, Some(State::Unavailable(_)))
        };
        sources.iter().filter(unavailable).for_each(|source| self.load(source, loader));
    }

    fn load(&self, source: &Source, loader: &Loader<'_>) {
        let (name, version) = (&source.name, source.version);
        tracing::info!(model = %name, version, path = %source.path.display(), "loading");
        let start = Instant::now();
        let loaded = catch_unwind(AssertUnwindSafe(|| loader(source))).unwrap_or_else(|_| {
            Err("the host failed while loading it; please report this with the model file".to_owned())
        });
        let elapsed_ms = start.elapsed().as_millis() as u64;
        let state = match loaded {
            Ok(model) => {
                tracing::info!(model = %name, version, elapsed_ms, "ready");
                State::Ready(Arc::new(Served { name: name.clone(), version, platform: source.platform(), model }))
            }
            Err(reason) => {
                tracing::error!(model = %name, version, elapsed_ms, reason = %reason, "could not be loaded");
                State::Unavailable(reason)
            }
        };
        self.locked().entry(name.clone()).or_default().insert(version, state);
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<u64, State>>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every model and version with its state, sorted.
    pub fn list(&self) -> Vec<(String, u64, State)> {
        let models = self.locked();
        models
            .iter()
            .flat_map(|(name, versions)| {
                versions.iter().map(|(version, state)| (name.clone(), *version, state.clone()))
            })
            .collect()
    }

    /// The versions of a model, lowest first; empty when there is no such model.
    pub fn versions(&self, name: &str) -> Vec<u64> {
        self.locked().get(name).map(|versions| versions.keys().copied().collect()).unwrap_or_default()
    }

    /// The model of that name; without a version the highest that is ready.
    pub fn get(&self, name: &str, version: Option<&str>) -> Result<Arc<Served>, CatalogError> {
        let models = self.locked();
        let Some(versions) = models.get(name) else {
            return Err(CatalogError::UnknownModel {
                name: cut(name),
                known: models.keys().take(32).cloned().collect(),
            });
        };
        let state = match version {
            Some(version) => {
                let number = version.parse::<u64>().ok().filter(|number| number.to_string() == version);
                number.and_then(|number| versions.get(&number)).ok_or_else(|| CatalogError::UnknownVersion {
                    name: name.to_owned(),
                    version: cut(version),
                    known: versions.keys().copied().collect(),
                })?
            }
            None => {
                let ready = versions.values().rev().find(|state| matches!(state, State::Ready(_)));
                let loading = versions.values().rev().find(|state| matches!(state, State::Loading));
                ready
                    .or(loading)
                    .or_else(|| versions.values().next_back())
                    .expect("a model has a version: `new` gives it one")
            }
        };
        match state {
            State::Ready(served) => Ok(served.clone()),
            State::Loading => Err(CatalogError::Loading { name: name.to_owned() }),
            State::Unavailable(reason) => {
                Err(CatalogError::Unavailable { name: name.to_owned(), reason: reason.clone() })
            }
        }
    }

    /// Whether the first round of loading is over and something can be asked (or nothing was to be served at all).
    pub fn is_ready(&self) -> bool {
        let models = self.locked();
        let mut states = models.values().flat_map(BTreeMap::values);
        models.is_empty()
            || (!states.clone().any(|state| matches!(state, State::Loading))
                && states.any(|state| matches!(state, State::Ready(_))))
    }
}

/// A name from outside, fit for a message.
fn cut(name: &str) -> String {
    name.chars().take(128).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests;
