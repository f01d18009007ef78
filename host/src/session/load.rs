//! From a model file to a session.

use super::Session;
use super::prepared::Prepared;
use crate::config::FastPaths;
use crate::device::{Costs, Registry, UnknownChip};
use crate::engine::EngineError;
use crate::import::ImportError;
use crate::memory::{Memory, give_back};
use crate::program::{Limits, Machine, MachineOptions, PlanFailure};
use crate::scheduler::Team;
use crate::store::Store;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use sunmao_graph::GraphError;

/// What all sessions of a process share.
#[derive(Clone)]
pub struct Host {
    /// Chips and importers.
    pub registry: Arc<Registry>,
    /// Threads.
    pub team: Arc<Team>,
    /// What is kept of models between two starts; none: nothing is.
    pub store: Option<Arc<Store>>,
    /// What one request may do in models with loops.
    pub limits: Limits,
    /// What operations cost on this machine; none: nobody measured it.
    pub costs: Option<Arc<Costs>>,
}

impl Host {
    /// A host with the usual limits, without measured costs, that keeps nothing of its models.
    pub fn new(registry: Arc<Registry>, team: Arc<Team>) -> Self {
        Self { registry, team, store: None, limits: Limits::default(), costs: None }
    }

    /// The same with a store.
    pub fn keeping(self, store: Option<Arc<Store>>) -> Self {
        Self { store, ..self }
    }
}

/// How a model is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of the chip; `auto`: the best there is.
    pub chip: String,
    /// Threads that one request may use, at most the team's.
    pub threads: usize,
    /// Which native fast paths may be chosen.
    pub fast_paths: FastPaths,
    /// No host fallback.
    pub strict: bool,
}

/// Why a model is not served.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no such chip.
    #[error(transparent)]
    Chip(#[from] UnknownChip),
    /// The file could not be imported.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The graph is not one that can be run.
    #[error("{}: {error}", path.display())]
    Graph {
        /// The model file.
        path: PathBuf,
        /// What is wrong with it.
        error: Box<GraphError>,
    },
    /// It could not be planned or placed.
    #[error("{}: {error}", path.display())]
    Engine {
        /// The model file.
        path: PathBuf,
        /// What is wrong.
        error: EngineError,
    },
}

impl Session {
    /// Imports, checks and optimises the model of `path`; plans it too where its shapes are known, and sees that every node can be placed where they are not.
    pub fn load(path: &Path, host: &Host, options: Options) -> Result<Self, LoadError> {
        Self::load_within(path, host, options, Memory::System)
    }

    /// The same, with so much memory to count with.
    pub fn load_within(path: &Path, host: &Host, options: Options, memory: Memory) -> Result<Self, LoadError> {
        let start = Instant::now();
        let chip = host.registry.chip(&options.chip)?;
        let Prepared { graph, weights, inputs, outputs, shelf } = Prepared::load(path, host, &chip, memory)?;
        let prepared_us = start.elapsed().as_micros() as u64;
        let error = |error| LoadError::Engine { path: path.to_path_buf(), error };
        let in_graph = |error| LoadError::Graph { path: path.to_path_buf(), error: Box::new(error) };
        let Options { threads, fast_paths, strict, .. } = options;
        let options = MachineOptions { threads, fast_paths, costs: host.costs.clone(), strict, memory };
        let (machine, program) =
            Machine::new(graph, weights, chip, host.team.clone(), shelf, options).map_err(in_graph)?;
        let session = Session::new(inputs, outputs, program, machine, host.limits);
        match session.shapes_when_known() {
            Some(shapes) => session.prepare_for(&shapes).map_err(|failed| match failed {
                PlanFailure::Engine(engine) | PlanFailure::Failed { error: engine, .. } => error(engine),
                PlanFailure::Graph(graph) => in_graph(graph),
            })?,
            None => session.try_placement().map_err(error)?,
        }
        give_back();
        let ready_us = start.elapsed().as_micros() as u64;
        tracing::debug!(model = %path.display(), prepared_us, ready_us, store = ?host.store.as_ref().map(|store| store.counts()), "loaded");
        Ok(session)
    }
}
