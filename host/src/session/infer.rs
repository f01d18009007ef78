//! The session itself: one request after another, several at a time.

use super::{InferError, Tensor, TensorSpec};
use crate::device::Chip;
use crate::engine::{EngineError, Samples, Trace};
use crate::host_ops::Value;
use crate::plan::{Plan, PlanError};
use crate::program::{Context, Division, InputKey, Limits, Machine, PlanFailure, Program, Segment, Signature};
use std::sync::Arc;
use sunmao_graph::tensor::read_strings;
use sunmao_graph::{Container, DType, Dim, Graph};

/// Values of a sequence that a request may bring.
const SEQUENCE_LENGTH_MAX: usize = 1 << 20;

/// A model that answers requests.
pub struct Session {
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    program: Program,
    machine: Machine,
    limits: Limits,
}

impl Session {
    pub(super) fn new(
        inputs: Vec<TensorSpec>,
        outputs: Vec<TensorSpec>,
        program: Program,
        machine: Machine,
        limits: Limits,
    ) -> Self {
        Self { inputs, outputs, program, machine, limits }
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
        self.program.graph()
    }

    /// The steps that the model is run in.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The planned parts of the program, by number.
    pub fn segments(&self) -> &[Segment] {
        self.machine.segments()
    }

    /// The chip that it runs on.
    pub fn chip(&self) -> &Chip {
        self.machine.chip()
    }

    /// Whether one plan runs the whole model, and input shapes decide it.
    pub fn is_static(&self) -> bool {
        let decided = |whole: usize| !self.machine.segments()[whole].bound.contains(&true);
        self.program.whole().is_some_and(decided)
    }

    /// The plan for inputs of these shapes (in the model's order), as `infer` would use it: for one part of them, where there are several.
    pub fn plan(&self, shapes: &[Vec<u64>]) -> Result<Plan, InferError> {
        match self.program.whole() {
            Some(whole) => {
                let signature = self.signature(shapes);
                let division = self.machine.division(whole, &signature);
                Ok(self.machine.plan(whole, division.as_ref().map_or(&signature, |division| &division.part))?)
            }
            None => Err(InferError::Rejected("the model runs in several steps, each with plans of its own".into())),
        }
    }

    /// In how many parts, each a run of its own, `infer` would compute a request of these shapes; 1: whole.
    pub fn parts(&self, shapes: &[Vec<u64>]) -> u64 {
        let division = self.program.whole().and_then(|whole| self.machine.division(whole, &self.signature(shapes)));
        division.map_or(1, |division| division.count)
    }

    /// Makes the plan for these shapes now, so that the first request finds it.
    pub(super) fn prepare_for(&self, shapes: &[Vec<u64>]) -> Result<(), PlanFailure> {
        match self.program.whole() {
            Some(whole) => self.machine.prepare(whole, &self.signature(shapes)),
            None => Ok(()),
        }
    }

    /// Looks for nodes that nobody runs, at the least lengths that the open axes may have. What else goes wrong there may be right at other lengths.
    pub(super) fn try_placement(&self) -> Result<(), EngineError> {
        let Some(whole) = self.program.whole().filter(|_| self.is_static()) else { return Ok(()) };
        match self.machine.plan(whole, &self.signature(&self.least_shapes())) {
            Err(PlanFailure::Engine(error @ EngineError::Plan(PlanError::Unplaced(_)))) => Err(error),
            Err(error) => {
                tracing::debug!(%error, "the model cannot be planned at its least shapes; the first request will tell");
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    /// The least that each axis of each input may be; 1 where nothing is said.
    fn least_shapes(&self) -> Vec<Vec<u64>> {
        let graph = self.graph();
        let least = |dim: &Dim| match dim {
            Dim::Known(length) => *length,
            Dim::Symbol(id) => {
                let symbol = &graph.symbols[id.index()];
                symbol.min.max(1).next_multiple_of(symbol.multiple_of.max(1))
            }
            Dim::Unknown => 1,
        };
        graph.inputs.iter().map(|id| graph.value(*id).shape.iter().flatten().map(least).collect()).collect()
    }

    /// Threads that one request may use; so many requests may be in flight.
    pub fn threads(&self) -> usize {
        self.machine.threads()
    }

    /// What the plan for these shapes is made for.
    fn signature(&self, shapes: &[Vec<u64>]) -> Signature {
        let key = |(spec, shape): (&TensorSpec, &Vec<u64>)| InputKey {
            dtype: spec.dtype,
            shape: shape.clone(),
            content: None,
        };
        self.inputs.iter().zip(shapes).map(key).collect()
    }

    /// The input shapes, where one plan runs the model and it fixes all but the length of the first axis, which is 1 then.
    pub fn shapes_when_known(&self) -> Option<Vec<Vec<u64>>> {
        if !self.is_static() {
            return None;
        }
        let axis = |(index, dim): (usize, &Option<u64>)| dim.or((index == 0).then_some(1));
        self.inputs.iter().map(|spec| spec.shape.iter().enumerate().map(axis).collect()).collect()
    }

    /// Runs one request. Blocks until it is done. Outputs in the order asked for; all of them, in the model's order, when `outputs` is empty.
    pub fn infer(
        &self,
        inputs: Vec<(String, Tensor)>,
        outputs: &[String],
    ) -> Result<Vec<(String, Tensor)>, InferError> {
        self.infer_with(inputs, outputs, None)
    }

    /// The same, and all outputs, with everything that takes time written to `trace`. Dispatches of the chip are calls of their own then.
    pub fn infer_traced(
        &self,
        inputs: Vec<(String, Tensor)>,
        trace: &Arc<Trace>,
    ) -> Result<Vec<(String, Tensor)>, InferError> {
        self.infer_with(inputs, &[], Some(trace))
    }

    fn infer_with(
        &self,
        inputs: Vec<(String, Tensor)>,
        outputs: &[String],
        trace: Option<&Arc<Trace>>,
    ) -> Result<Vec<(String, Tensor)>, InferError> {
        let wanted = self.output_indices(outputs)?;
        let inputs = self.tensors_in_order(inputs)?;
        let Some(whole) = self.program.whole() else { return self.infer_in_steps(inputs, wanted, trace) };
        let segment = &self.machine.segments()[whole];
        let tensors = || inputs.iter().map(|tensor| (tensor.dtype, &tensor.shape[..], &tensor.data[..]));
        let signature = segment.signature(tensors())?;
        let inputs: Arc<[Vec<u8>]> = inputs.into_iter().map(|tensor| tensor.data).collect();
        let division = self.machine.division(whole, &signature);
        if let Some(division) = &division
            && let Some(outputs) = self.infer_in_parts(whole, division, &inputs, &wanted, trace)?
        {
            return Ok(outputs);
        }
        let ready = self.machine.ready(whole, &signature)?;
        let grant = self.machine.acquire()?;
        let unbound = segment.unbound(inputs.iter().map(|bytes| &bytes[..]));
        let run = self.machine.run(&ready, &grant, &unbound, division.is_some(), trace)?;
        let output = |index: usize| {
            let port = &ready.plan().outputs[index];
            let tensor = Tensor { dtype: port.dtype, shape: port.shape.clone(), data: run.copy_out(index)? };
            Ok((self.outputs[index].name.clone(), tensor))
        };
        wanted.into_iter().map(output).collect()
    }

    /// none: a part failed, and the request is to be tried once more as a whole.
    fn infer_in_parts(
        &self,
        whole: usize,
        division: &Division,
        inputs: &Arc<[Vec<u8>]>,
        wanted: &[usize],
        trace: Option<&Arc<Trace>>,
    ) -> Result<Option<Vec<(String, Tensor)>>, InferError> {
        let ready = self.machine.ready(whole, &division.part)?;
        let grant = self.machine.acquire()?;
        let (apart, count) = (division.apart.clone(), division.count as usize);
        let samples = Samples { inputs: inputs.clone(), apart, count };
        let Some(mut results) = self.machine.run_parts(&ready, &grant, samples, trace)? else { return Ok(None) };
        let output = |(place, &index): (usize, &usize)| {
            let port = &ready.plan().outputs[index];
            let mut shape = port.shape.clone();
            shape[0] *= division.count;
            let is_wanted_again = wanted[place + 1..].contains(&index);
            let result = &mut results[index];
            let data = if is_wanted_again { result.clone() } else { std::mem::take(result) };
            (self.outputs[index].name.clone(), Tensor { dtype: port.dtype, shape, data })
        };
        Ok(Some(wanted.iter().enumerate().map(output).collect()))
    }

    fn infer_in_steps(
        &self,
        inputs: Vec<Tensor>,
        wanted: Vec<usize>,
        trace: Option<&Arc<Trace>>,
    ) -> Result<Vec<(String, Tensor)>, InferError> {
        let value = |tensor: Tensor| {
            let Tensor { dtype, shape, data } = tensor;
            Some(Value::Tensor(sunmao_graph::Tensor { dtype, shape, bytes: data.into() }))
        };
        let results = self.run_program(inputs.into_iter().map(value).collect(), trace)?;
        let output = |index: usize| {
            let name = self.outputs[index].name.clone();
            match &results[index] {
                Value::Tensor(tensor) => {
                    let (dtype, shape) = (tensor.dtype, tensor.shape.clone());
                    Ok((name, Tensor { dtype, shape, data: tensor.bytes.to_vec() }))
                }
                Value::Sequence(_) | Value::Optional(_) => {
                    let expected = self.outputs[index].container.name();
                    Err(InferError::WrongKind { name, expected, got: "only tensors can be asked for in this way" })
                }
            }
        };
        wanted.into_iter().map(output).collect()
    }

    /// Runs one request whose values may be sequences or optional ones; an optional input may be left out. All outputs, in the model's order.
    pub fn run_values(&self, inputs: Vec<(String, Value)>) -> Result<Vec<(String, Value)>, InferError> {
        let mut ordered = self.in_order(inputs)?;
        for (value, spec) in ordered.iter_mut().zip(&self.inputs) {
            match (&value, spec.container) {
                (Some(value), _) => check_value(spec, value)?,
                (None, Container::Optional | Container::OptionalSequence) => *value = Some(Value::Optional(None)),
                (None, _) => return Err(InferError::MissingInput { name: spec.name.clone() }),
            }
        }
        let names = self.outputs.iter().map(|spec| spec.name.clone());
        Ok(names.zip(self.run_program(ordered, None)?).collect())
    }

    fn run_program(&self, inputs: Vec<Option<Value>>, trace: Option<&Arc<Trace>>) -> Result<Vec<Value>, InferError> {
        let grant = self.machine.acquire()?;
        let mut context = Context::new(&self.machine, &grant, self.limits).traced(trace.cloned());
        Ok(self.program.run(&mut context, inputs)?)
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

    fn tensors_in_order(&self, inputs: Vec<(String, Tensor)>) -> Result<Vec<Tensor>, InferError> {
        let ordered = self.in_order(inputs)?;
        let check_one = |(tensor, spec): (Option<Tensor>, &TensorSpec)| {
            let name = || spec.name.clone();
            if spec.container != Container::Tensor {
                let got = "only tensors can be given in this way";
                return Err(InferError::WrongKind { name: name(), expected: spec.container.name(), got });
            }
            let tensor = tensor.ok_or_else(|| InferError::MissingInput { name: name() })?;
            check(spec, tensor.dtype, &tensor.shape, &tensor.data)?;
            Ok(tensor)
        };
        ordered.into_iter().zip(&self.inputs).map(check_one).collect()
    }

    /// One entry for each input of the model, none where nothing came.
    fn in_order<T>(&self, inputs: Vec<(String, T)>) -> Result<Vec<Option<T>>, InferError> {
        let mut ordered: Vec<Option<T>> = self.inputs.iter().map(|_| None).collect();
        for (name, value) in inputs {
            let Some(index) = self.inputs.iter().position(|spec| spec.name == name) else {
                let known = self.inputs.iter().map(|spec| spec.name.clone()).collect();
                return Err(InferError::UnknownInput { name, known });
            };
            if ordered[index].replace(value).is_some() {
                return Err(InferError::DuplicateInput { name });
            }
        }
        Ok(ordered)
    }
}

/// Whether a value is of the kind that the model takes under a name, element by element.
fn check_value(spec: &TensorSpec, value: &Value) -> Result<(), InferError> {
    use Container::{Optional, OptionalSequence, Sequence};
    let refuse = |got| Err(InferError::WrongKind { name: spec.name.clone(), expected: spec.container.name(), got });
    match (spec.container, value) {
        (Container::Tensor | Optional, Value::Tensor(tensor)) => {
            check(spec, tensor.dtype, &tensor.shape, &tensor.bytes)
        }
        (Sequence | OptionalSequence, Value::Sequence(list)) if list.len() > SEQUENCE_LENGTH_MAX => {
            refuse("a sequence of more than a million values came")
        }
        (Sequence | OptionalSequence, Value::Sequence(list)) => list.iter().try_for_each(|value| match value {
            Value::Tensor(tensor) => check(spec, tensor.dtype, &tensor.shape, &tensor.bytes),
            Value::Sequence(_) | Value::Optional(_) => refuse("a sequence of other things than tensors came"),
        }),
        (Optional | OptionalSequence, Value::Optional(None)) => Ok(()),
        (Optional | OptionalSequence, Value::Optional(Some(content))) if !matches!(**content, Value::Optional(_)) => {
            check_value(spec, content)
        }
        (_, Value::Tensor(_)) => refuse("a tensor came"),
        (_, Value::Sequence(_)) => refuse("a sequence came"),
        (_, Value::Optional(_)) => refuse("an optional value came"),
    }
}

fn check(spec: &TensorSpec, dtype: DType, shape: &[u64], bytes: &[u8]) -> Result<(), InferError> {
    let name = || spec.name.clone();
    if dtype != spec.dtype {
        return Err(InferError::WrongType { name: name(), expected: spec.dtype, got: dtype });
    }
    let fits = !spec.ranked
        || shape.len() == spec.shape.len()
            && shape.iter().zip(&spec.shape).all(|(got, want)| want.is_none_or(|want| want == *got));
    if !fits {
        let axes: Vec<String> =
            spec.shape.iter().map(|dim| dim.map_or_else(|| "any".into(), |n| n.to_string())).collect();
        let expected = format!("[{}]", axes.join(", "));
        return Err(InferError::WrongShape { name: name(), expected, got: shape.to_vec() });
    }
    let elements = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
    let expected = match dtype {
        DType::String => {
            let count = read_strings(bytes).map(|list| list.len() as u64);
            if count.is_some() && count == elements { bytes.len() as u64 } else { u64::MAX }
        }
        _ => elements.and_then(|elements| dtype.bytes(elements)).unwrap_or(u64::MAX),
    };
    if bytes.len() as u64 != expected {
        return Err(InferError::WrongLength { name: name(), expected, got: bytes.len() as u64 });
    }
    Ok(())
}
