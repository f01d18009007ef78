//! What a kernel does to its results before it is done with them: scale, bias, a second tensor, activations. Planned in `prepare`, bound to
//! operands in `bind`.

use crate::activation::Activation;
use crate::request::Request;
use sunmao_plugin_sdk::{Attributes, Bindings, Input, Result};

/// Most steps that one kernel takes; more are declined.
pub(crate) const MAX_STEPS: usize = 8;

/// How the elements of an addend belong to the results, which are seen as matrices of rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Along {
    /// One element for everything.
    Nothing,
    /// One for each row.
    Rows,
    /// One for each column.
    Columns,
    /// One for each result.
    Everything,
}

/// One step. `A` names the operand: the number of an input once planned, the input once bound.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<A> {
    Scale(f32),
    Add { addend: A, along: Along, factor: f32 },
    Map(Activation),
}

/// The steps of an operation, in order.
#[derive(Clone, Debug)]
pub(crate) struct Epilogue(Vec<Step<usize>>);

/// The same with the operands of a dispatch.
#[derive(Clone, Debug)]
pub(crate) struct BoundEpilogue(Box<[Step<Input<f32>>]>);

impl Epilogue {
    /// `first` are steps of the operator itself (its bias). A step `bias` runs along `bias`, and has `bias_len` elements.
    pub(crate) fn plan(request: Request<'_>, first: Vec<Step<usize>>, bias: Along, bias_len: usize) -> Option<Self> {
        let mut steps = first;
        for step in &request.operation().epilogue {
            let operand = || Some((step.input? as usize, request.step_input(step.input? as usize)?));
            steps.push(match step.op.as_str() {
                "bias" => {
                    let (addend, shape) = operand()?;
                    if shape != [bias_len] {
                        return None;
                    }
                    Step::Add { addend, along: bias, factor: 1.0 }
                }
                "add" => {
                    let (addend, shape) = operand()?;
                    if shape != request.output()? {
                        return None;
                    }
                    Step::Add { addend, along: Along::Everything, factor: 1.0 }
                }
                name => Step::Map(Activation::named(name, Attributes(&step.attributes))?),
            });
        }
        (steps.len() <= MAX_STEPS).then_some(Self(steps))
    }

    /// Nanoseconds for `elements` results.
    pub(crate) fn cost(&self, elements: usize) -> f64 {
        let per_thousand = |step: &Step<usize>| match step {
            Step::Map(activation) => activation.cost(),
            Step::Scale(_) | Step::Add { .. } => 60.0,
        };
        self.0.iter().map(per_thousand).sum::<f64>() * elements as f64 / 1000.0
    }

    pub(crate) fn bind(&self, bindings: &Bindings<'_>) -> Result<BoundEpilogue> {
        let bind = |step: &Step<usize>| {
            Ok(match *step {
                Step::Scale(factor) => Step::Scale(factor),
                Step::Add { addend, along, factor } => {
                    Step::Add { addend: bindings.input::<f32>(addend)?, along, factor }
                }
                Step::Map(activation) => Step::Map(activation),
            })
        };
        Ok(BoundEpilogue(self.0.iter().map(bind).collect::<Result<_>>()?))
    }
}

impl BoundEpilogue {
    pub(crate) fn steps(&self) -> &[Step<Input<f32>>] {
        &self.0
    }
}
