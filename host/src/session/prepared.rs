//! A model that was imported and prepared, just now or at an earlier start.
//!
//! What is kept is the prepared graph with references to its weights. It is found by everything that it follows from: the files as they are now, the
//! importers, the chip, and the host's own code. A model whose files changed is another one.

use super::load::{Host, LoadError};
use super::tensor::TensorSpec;
use crate::device::Chip;
use crate::engine::{EngineError, Executor, PortableEvaluator};
use crate::import::{Derived, ImportOptions, Imported, Opened, Sibling, WeightSource, take_large};
use crate::memory::Memory;
use crate::store::{Kind, Shelf, kept_record};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use sunmao_graph::{Container, Content, Graph, GraphError, Role, Value, ValueId, optimise};

const KIND: Kind = Kind { ending: "model", magic: b"SUNMAOM1", what: "a prepared model" };

/// A model, prepared.
pub(super) struct Prepared {
    pub(super) graph: Graph,
    pub(super) weights: WeightSource,
    pub(super) inputs: Vec<TensorSpec>,
    pub(super) outputs: Vec<TensorSpec>,
    /// Where what follows from it is kept; none: nowhere.
    pub(super) shelf: Option<Shelf>,
}

/// What is kept of it.
struct Record {
    graph: Graph,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    /// Lengths of the large constants that preparing computed.
    derived: Vec<u64>,
    siblings: Vec<Sibling>,
    warnings: Vec<String>,
}

kept_record! {
    Record { graph, inputs, outputs, derived, siblings, warnings }
    TensorSpec { name, dtype, shape, ranked, container }
}

impl Prepared {
    /// The model of `path`: as it is kept, or imported and prepared.
    pub(super) fn load(path: &Path, host: &Host, chip: &Chip, memory: Memory) -> Result<Self, LoadError> {
        let opened = Opened::open(path)?;
        let identity = host.store.as_ref().and_then(|_| opened.identity());
        let shelf = host.store.as_ref().zip(identity).map(|(store, file)| store.shelf(identity_of(&file, host, chip)));
        if let Some(shelf) = &shelf
            && let Some(record) = shelf.load::<Record>(&KIND, &[])
        {
            if let Some(weights) = opened.imported_before(&record.siblings) {
                return Ok(Self::again(path, host, record, weights, shelf.clone()));
            }
            // Files beside the model are others now: what was kept under this name is of no use, and is replaced.
            return Self::new(path, host, Opened::open(path)?, Some(shelf.clone()), memory);
        }
        Self::new(path, host, opened, shelf, memory)
    }

    fn new(path: &Path, host: &Host, opened: Opened, shelf: Option<Shelf>, memory: Memory) -> Result<Self, LoadError> {
        let importers = host.registry.importers();
        let Imported { graph: raw, weights, warnings, .. } = opened.import(&importers, &ImportOptions::default())?;
        warn(path, &warnings);
        let engine = |error: EngineError| LoadError::Engine { path: path.to_path_buf(), error };
        let in_graph = |error| LoadError::Graph { path: path.to_path_buf(), error: Box::new(error) };
        Executor::check_memory(weight_bytes(&raw), memory.available()).map_err(engine)?;
        let declared: Vec<Value> = raw.outputs.iter().filter_map(|id| raw.values.get(id.index()).cloned()).collect();
        let mut graph = optimise::prepare(raw, &weights, &mut PortableEvaluator).map_err(in_graph)?;
        let inputs = specs(&graph, &graph.inputs, &[]).map_err(in_graph)?;
        let outputs = specs(&graph, &graph.outputs, &declared).map_err(in_graph)?;
        let large = take_large(&mut graph);
        let derived: Vec<u64> = large.iter().map(|bytes| bytes.len() as u64).collect();
        // Files that were changed meanwhile, or that cannot be known again, leave nothing behind.
        let siblings = weights.siblings();
        let shelf = shelf.filter(|_| siblings.is_some());
        let record = Record { graph, inputs, outputs, derived, siblings: siblings.unwrap_or_default(), warnings };
        if let Some(shelf) = &shelf {
            shelf.keep(&KIND, &[], &record);
        }
        let Record { graph, inputs, outputs, derived, .. } = record;
        let weights = with_derived(path, host, weights, &derived, Some(large));
        Ok(Self { graph, weights, inputs, outputs, shelf })
    }

    fn again(path: &Path, host: &Host, record: Record, weights: WeightSource, shelf: Shelf) -> Self {
        let Record { graph, inputs, outputs, derived, warnings, .. } = record;
        warn(path, &warnings);
        let weights = with_derived(path, host, weights, &derived, None);
        Self { graph, weights, inputs, outputs, shelf: Some(shelf) }
    }
}

/// Everything that a prepared model, its plans and its packed constants follow from, beside the host's own code.
fn identity_of(file: &[u8], host: &Host, chip: &Chip) -> Vec<u8> {
    let mut identity = (file.len() as u64).to_le_bytes().to_vec();
    identity.extend(file);
    let importers = host.registry.importers();
    for plugin in importers.iter().chain([&chip.plugin]) {
        identity.extend(plugin.digest().0);
        identity.extend(format!("{:?}", plugin.limits()).into_bytes());
    }
    identity.extend(sunmao_fastpath::Isa::detect().to_string().into_bytes());
    identity
}

/// Weights with the constants that preparing computed, and how they are computed again.
fn with_derived(
    path: &Path,
    host: &Host,
    weights: WeightSource,
    lengths: &[u64],
    held: Option<Vec<Arc<[u8]>>>,
) -> WeightSource {
    if lengths.is_empty() {
        return weights;
    }
    let import = weights.importer(path, host.registry.importers());
    let remake = move || {
        let Imported { graph: raw, weights, .. } = import()?;
        let prepared = optimise::prepare(raw, &weights, &mut PortableEvaluator);
        Ok(take_large(&mut prepared.map_err(|error| error.to_string())?))
    };
    weights.with_derived(Derived::new(lengths, held, Some(Box::new(remake))))
}

fn warn(path: &Path, warnings: &[String]) {
    for warning in warnings {
        tracing::warn!(model = %path.display(), "{warning}");
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
