//! The session itself: one request after another, several at a time.

use super::load::Options;
use super::plans::{PlanFailure, Plans, Signature};
use super::{Tensor, TensorSpec};
use crate::device::Chip;
use crate::engine::{EngineError, Run};
use crate::import::WeightSource;
use crate::plan::Plan;
use crate::scheduler::{Busy, Team, Work};
use std::sync::Arc;
use sunmao_graph::{DType, Graph};

/// A model that answers requests.
pub struct Session {
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    plans: Plans,
    team: Arc<Team>,
    threads: usize,
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    /// A tensor that the model does not take.
    #[error("no input `{name}`: the model takes {}", .known.join(", "))]
    UnknownInput {
        /// The name given.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// A tensor given twice.
    #[error("input `{name}` is given twice")]
    DuplicateInput {
        /// The name.
        name: String,
    },
    /// A tensor that the model needs.
    #[error("input `{name}` is missing")]
    MissingInput {
        /// The name.
        name: String,
    },
    /// A tensor of another element type.
    #[error("input `{name}` is {got}, the model takes {expected}")]
    WrongType {
        /// The name.
        name: String,
        /// What the model takes.
        expected: DType,
        /// What came.
        got: DType,
    },
    /// A tensor of another shape, or shapes that contradict each other.
    #[error("input `{name}` has shape {got:?}, the model takes {expected}")]
    WrongShape {
        /// The name.
        name: String,
        /// What the model takes.
        expected: String,
        /// What came.
        got: Vec<u64>,
    },
    /// Bytes that do not fit shape and type.
    #[error("input `{name}` has {got} bytes of data where its shape takes {expected}")]
    WrongLength {
        /// The name.
        name: String,
        /// Bytes that the shape takes.
        expected: u64,
        /// Bytes that came.
        got: u64,
    },
    /// An output that the model does not give.
    #[error("no output `{name}`: the model gives {}", .known.join(", "))]
    UnknownOutput {
        /// The name given.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// The queue is full.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// Not enough memory for a request of this size.
    #[error("{0}")]
    OutOfMemory(EngineError),
    /// The model cannot be run at these shapes, or this data cannot be computed with.
    #[error("{0}")]
    Rejected(String),
    /// The host itself failed: mapping, or a native kernel. Not the request's fault.
    #[error("{0}")]
    Internal(EngineError),
    /// The device failed twice.
    #[error("chip `{chip}` failed twice on this request: {error}")]
    Failed {
        /// The chip.
        chip: String,
        /// The second failure.
        error: EngineError,
    },
}

impl From<EngineError> for InferError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::OutOfMemory { .. } | EngineError::TooLarge { .. } => InferError::OutOfMemory(error),
            EngineError::Memory(_) | EngineError::NativePanic { .. } | EngineError::Aborted => {
                InferError::Internal(error)
            }
            other => InferError::Rejected(other.to_string()),
        }
    }
}

impl From<PlanFailure> for InferError {
    fn from(failure: PlanFailure) -> Self {
        match failure.into_engine() {
            Ok(error) => error.into(),
            Err(error) => InferError::Rejected(error.to_string()),
        }
    }
}

impl Session {
    pub(super) fn new(
        graph: Graph,
        weights: WeightSource,
        inputs: Vec<TensorSpec>,
        outputs: Vec<TensorSpec>,
        chip: Arc<Chip>,
        team: Arc<Team>,
        options: Options,
    ) -> Self {
        let threads = options.threads.clamp(1, team.threads());
        let options = Options { threads, ..options };
        Self { inputs, outputs, plans: Plans::new(graph, weights, chip, options), team, threads }
    }

    /// What a request brings.
    pub fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    /// What it gets.
    pub fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    /// The graph as optimised before shapes are known.
    pub fn graph(&self) -> &Graph {
        &self.plans.graph
    }

    /// The chip that it runs on.
    pub fn chip(&self) -> &Chip {
        &self.plans.chip
    }

    /// The plan for inputs of these shapes (in the model's order), as `infer` would use it.
    pub fn plan(&self, shapes: &[Vec<u64>]) -> Result<Plan, InferError> {
        Ok(self.plans.plan(&shapes.to_vec())?)
    }

    /// Makes the plan for these shapes now, so that the first request finds it.
    pub(super) fn prepare_for(&self, shapes: &[Vec<u64>]) -> Result<(), PlanFailure> {
        self.plans.get(&shapes.to_vec()).map(|_| ())
    }

    /// The input shapes, where the model fixes all but the length of the first axis, which is 1 then.
    pub fn shapes_when_known(&self) -> Option<Vec<Vec<u64>>> {
        let axis = |(index, dim): (usize, &Option<u64>)| dim.or((index == 0).then_some(1));
        self.inputs.iter().map(|spec| spec.shape.iter().enumerate().map(axis).collect()).collect()
    }

    /// Runs one request. Blocks until it is done. Outputs in the order asked for; all of them, in the model's order, when `outputs` is empty.
    pub fn infer(
        &self,
        inputs: Vec<(String, Tensor)>,
        outputs: &[String],
    ) -> Result<Vec<(String, Tensor)>, InferError> {
        let wanted = self.output_indices(outputs)?;
        let inputs = self.in_order(inputs)?;
        let shapes: Signature = inputs.iter().map(|tensor| tensor.shape.clone()).collect();
        let mut ready = self.plans.get(&shapes)?;
        let grant = self.team.acquire(self.threads.min(ready.executor.threads()))?;
        let bytes: Vec<&[u8]> = inputs.iter().map(|tensor| &*tensor.data).collect();
        let mut second = false;
        loop {
            // The slot of the leader: nobody else leads with the same member at the same time.
            let members: Vec<usize> = grant.members().to_vec();
            let slot = members[0];
            let run = Arc::new(Run::new(ready.executor.clone(), ready.loaded.clone(), slot, members));
            run.copy_in(&bytes)?;
            let part = run.clone();
            let work: Work = Arc::new(move |thread| part.take_part(thread));
            grant.run(&work);
            match run.outcome() {
                Ok(()) => return wanted.into_iter().map(|index| self.output(&ready, &run, index)).collect(),
                Err(error) if error.worth_a_retry() && !second => {
                    tracing::warn!(chip = %self.chip().name, %error, "a request failed; trying once more on a fresh instance");
                    self.count(&error);
                    second = true;
                    // The same plan, or one without the chip if that failure took it out of service.
                    ready = self.plans.get(&shapes)?;
                }
                Err(error) if error.worth_a_retry() => {
                    self.count(&error);
                    self.chip().mark();
                    tracing::error!(chip = %self.chip().name, %error, "a request failed twice; the chip is marked");
                    return Err(InferError::Failed { chip: self.chip().name.clone(), error });
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn count(&self, error: &EngineError) {
        if let EngineError::Plugin(error) = error {
            self.chip().fail(error);
        }
    }

    fn output(&self, ready: &super::plans::Ready, run: &Run, index: usize) -> Result<(String, Tensor), InferError> {
        let port = &ready.loaded.plan.outputs[index];
        let tensor = Tensor { dtype: port.dtype, shape: port.shape.clone(), data: run.copy_out(index)? };
        Ok((self.outputs[index].name.clone(), tensor))
    }

    fn output_indices(&self, outputs: &[String]) -> Result<Vec<usize>, InferError> {
        if outputs.is_empty() {
            return Ok((0..self.outputs.len()).collect());
        }
        let index = |name: &String| {
            self.outputs.iter().position(|spec| spec.name == *name).ok_or_else(|| InferError::UnknownOutput {
                name: name.clone(),
                known: self.outputs.iter().map(|spec| spec.name.clone()).collect(),
            })
        };
        outputs.iter().map(index).collect()
    }

    fn in_order(&self, inputs: Vec<(String, Tensor)>) -> Result<Vec<Tensor>, InferError> {
        let mut ordered: Vec<Option<Tensor>> = self.inputs.iter().map(|_| None).collect();
        for (name, tensor) in inputs {
            let Some(index) = self.inputs.iter().position(|spec| spec.name == name) else {
                let known = self.inputs.iter().map(|spec| spec.name.clone()).collect();
                return Err(InferError::UnknownInput { name, known });
            };
            check(&self.inputs[index], &tensor)?;
            if ordered[index].replace(tensor).is_some() {
                return Err(InferError::DuplicateInput { name });
            }
        }
        let missing = |(tensor, spec): (Option<Tensor>, &TensorSpec)| {
            tensor.ok_or_else(|| InferError::MissingInput { name: spec.name.clone() })
        };
        ordered.into_iter().zip(&self.inputs).map(missing).collect()
    }
}

fn check(spec: &TensorSpec, tensor: &Tensor) -> Result<(), InferError> {
    let name = || spec.name.clone();
    if tensor.dtype != spec.dtype {
        return Err(InferError::WrongType { name: name(), expected: spec.dtype, got: tensor.dtype });
    }
    let fits = tensor.shape.len() == spec.shape.len()
        && tensor.shape.iter().zip(&spec.shape).all(|(got, want)| want.is_none_or(|want| want == *got));
    if !fits {
        let axes: Vec<String> =
            spec.shape.iter().map(|dim| dim.map_or_else(|| "any".into(), |n| n.to_string())).collect();
        let expected = format!("[{}]", axes.join(", "));
        return Err(InferError::WrongShape { name: name(), expected, got: tensor.shape.clone() });
    }
    let elements = tensor.shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
    let expected = elements.and_then(|elements| tensor.dtype.bytes(elements)).unwrap_or(u64::MAX);
    if tensor.data.len() as u64 != expected {
        return Err(InferError::WrongLength { name: name(), expected, got: tensor.data.len() as u64 });
    }
    Ok(())
}
