//! Loop: a body that runs a number of times, or as long as a condition holds. What it carries may change its shape from run to run.

use super::slices::stack;
use super::{Context, Control, Fault, Operands, parameter, single, tensor};
use crate::host_ops::Value;
use crate::program::Program;
use sunmao_graph::{DType, Tensor};

pub(super) fn run(control: &Control, context: &mut Context<'_>, mut operands: Operands) -> Result<Vec<Value>, Fault> {
    let body = control.body("body")?;
    let trips = single(operands.take(0)?, "trip count")?;
    let mut holds = single(operands.take(1)?, "condition")? != 0;
    let count = operands.own.len() - 2;
    let mut carried = (2..2 + count).map(|index| operands.take(index)).collect::<Result<Vec<_>, _>>()?;
    let mut collected = Collected::new(body, 1 + count);
    let mut trip = 0;
    while holds && trip < trips {
        context.count_iteration()?;
        let mut inputs = Vec::with_capacity(2 + count + operands.captured.len());
        inputs.push(Some(parameter(body, 0, DType::I64, trip)));
        inputs.push(Some(parameter(body, 1, DType::Bool, 1)));
        inputs.extend(carried.drain(..).map(Some));
        inputs.extend(operands.captured.iter().cloned());
        let mut results = body.run(context, inputs)?.into_iter();
        holds = single(results.next().ok_or_else(|| "has a body without a condition".to_owned())?, "condition")? != 0;
        carried.extend(results.by_ref().take(count));
        collected.push(context, results)?;
        trip += 1;
    }
    carried.extend(collected.finish(|_| (0, false))?);
    Ok(carried)
}

/// What a body gives in every run, to be joined at the end.
pub(super) struct Collected {
    /// For each result: the types of its elements and lengths of its axes where no run tells, and what the runs gave.
    results: Vec<(Option<DType>, Vec<u64>, Vec<Tensor>)>,
}

impl Collected {
    /// For the results of `body` from number `first` on.
    pub(super) fn new(body: &Program, first: usize) -> Self {
        let empty = |id: &sunmao_graph::ValueId| {
            let value = body.graph().value(*id);
            let lengths = value.shape.iter().flatten().map(|dim| dim.known().unwrap_or(0)).collect();
            (value.dtype, lengths, Vec::new())
        };
        Self { results: body.graph().outputs.iter().skip(first).map(empty).collect() }
    }

    /// Adds the results of one run.
    pub(super) fn push(
        &mut self,
        context: &mut Context<'_>,
        results: impl Iterator<Item = Value>,
    ) -> Result<(), Fault> {
        for ((_, _, tensors), value) in self.results.iter_mut().zip(results) {
            let tensor = tensor(value)?;
            context.count_bytes(tensor.bytes.len())?;
            tensors.push(tensor);
        }
        Ok(())
    }

    /// Joins the runs; `place` answers for each result the axis along which it grows, and whether the last run comes first.
    pub(super) fn finish(self, place: impl Fn(usize) -> (i64, bool)) -> Result<Vec<Value>, Fault> {
        let mut joined_results = Vec::with_capacity(self.results.len());
        for (index, (dtype, lengths, mut tensors)) in self.results.into_iter().enumerate() {
            let (axis, backwards) = place(index);
            if backwards {
                tensors.reverse();
            }
            let joined = match (tensors.is_empty(), dtype) {
                (false, _) => stack(&tensors, axis)?,
                (true, Some(dtype)) => stack_of_none(dtype, lengths, axis)?,
                (true, None) => {
                    return Err("ran no iteration, and the type of its results is not known".to_owned().into());
                }
            };
            joined_results.push(Value::Tensor(joined));
        }
        Ok(joined_results)
    }
}

fn stack_of_none(dtype: DType, mut shape: Vec<u64>, axis: i64) -> Result<Tensor, Fault> {
    let axis = super::slices::axis_of(axis, shape.len() + 1)?;
    shape.insert(axis, 0);
    Ok(Tensor { dtype, shape, bytes: [][..].into() })
}
