//! From a model file to a session.

use super::{Session, TensorSpec};
use crate::device::{Registry, UnknownChip};
use crate::engine::{EngineError, Executor, PortableEvaluator};
use crate::import::{ImportError, ImportOptions, import};
use crate::memory::Memory;
use crate::program::{Machine, MachineOptions, PlanFailure};
use crate::scheduler::Team;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use sunmao_graph::{Container, Content, Graph, GraphError, Role, Value, ValueId, optimise};

/// What all sessions of a process share.
#[derive(Clone)]
pub struct Host {
    /// Chips and importers.
    pub registry: Arc<Registry>,
    /// Threads.
    pub team: Arc<Team>,
}

/// How a model is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of the chip; `auto`: the best there is.
    pub chip: String,
    /// Threads that one request may use, at most the team's.
    pub threads: usize,
    /// Whether native fast paths may be chosen.
    pub fast_paths: bool,
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
        let chip = host.registry.chip(&options.chip)?;
        let imported = import(&host.registry.importers(), path, &ImportOptions::default())?;
        for warning in &imported.warnings {
            tracing::warn!(model = %path.display(), "{warning}");
        }
        let error = |error| LoadError::Engine { path: path.to_path_buf(), error };
        Executor::check_memory(weight_bytes(&imported.graph), memory.available()).map_err(error)?;
        let in_graph = |error| LoadError::Graph { path: path.to_path_buf(), error: Box::new(error) };
        let raw = &imported.graph;
        let declared: Vec<Value> = raw.outputs.iter().filter_map(|id| raw.values.get(id.index()).cloned()).collect();
        let graph = optimise::prepare(imported.graph, &imported.weights, &mut PortableEvaluator).map_err(in_graph)?;
        let inputs = specs(&graph, &graph.inputs, &[]).map_err(in_graph)?;
        let outputs = specs(&graph, &graph.outputs, &declared).map_err(in_graph)?;
        let Options { threads, fast_paths, strict, .. } = options;
        let options = MachineOptions { threads, fast_paths, strict, memory };
        let (machine, program) =
            Machine::new(graph, imported.weights, chip, host.team.clone(), options).map_err(in_graph)?;
        let session = Session::new(inputs, outputs, program, machine);
        match session.shapes_when_known() {
            Some(shapes) => session.prepare_for(&shapes).map_err(|failed| match failed {
                PlanFailure::Engine(engine) | PlanFailure::Failed { error: engine, .. } => error(engine),
                PlanFailure::Graph(graph) => in_graph(graph),
            })?,
            None => session.try_placement().map_err(error)?,
        }
        Ok(session)
    }
}

/// Bytes of all weights as kernels read them, each once.
fn weight_bytes(graph: &Graph) -> u64 {
    let mut counted = HashSet::new();
    let bytes = graph.values.iter().filter_map(|value| {
        let Role::Constant(Content::Weight(weight)) = &value.role else { return None };
        let elements = value.concrete()?.iter().try_fold(1u64, |n, &d| n.checked_mul(d))?;
        counted.insert(weight).then(|| value.dtype?.bytes(elements)).flatten()
    });
    bytes.fold(0, u64::saturating_add)
}

/// What inference found out, and what the file declares where it found nothing: what the host runs may have any type.
fn specs(graph: &Graph, values: &[ValueId], declared: &[Value]) -> Result<Vec<TensorSpec>, GraphError> {
    let spec = |(index, &id): (usize, &ValueId)| {
        let (found, declared) = (graph.value(id), declared.get(index));
        let name = found.name.clone();
        let Some(dtype) = found.dtype.or(declared.and_then(|value| value.dtype)) else {
            return Err(GraphError::Untyped { value: name });
        };
        let container = match found.container {
            Container::Tensor if found.dtype.is_none() => declared.map_or(Container::Tensor, |value| value.container),
            found => found,
        };
        let shape = found.shape.as_ref().or(declared.and_then(|value| value.shape.as_ref()));
        let lengths = shape.into_iter().flatten().map(|dim| dim.known()).collect();
        Ok(TensorSpec { name, dtype, shape: lengths, ranked: shape.is_some(), container })
    };
    values.iter().enumerate().map(spec).collect()
}
