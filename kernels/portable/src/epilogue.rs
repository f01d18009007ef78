//! What Conv, ConvTranspose, Gemm and MatMul do to a stretch of results before they store it: bias, a second tensor, activations.

use crate::activation::{Map, activation};
use crate::arguments::{Op, dims};
use crate::element::Stored;
use crate::number::Number;
use std::sync::Arc;
use sunmao_plugin_sdk::{Attributes, Bindings, Call, Input, Result};

/// The steps that these kernels take.
pub(crate) const STEPS: &[&str] = &[
    "bias",
    "add",
    "Relu",
    "Clip",
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "Tanh",
    "Gelu",
    "LeakyRelu",
    "Elu",
    "Swish",
    "Affine",
];

enum Step<V> {
    /// Adds a vector along one axis of the output; the number is that of the input.
    Bias(usize),
    /// Adds a tensor of the output's shape.
    Add(usize),
    Function(Map<V>),
}

/// The steps of one operation, in order.
pub(crate) struct Epilogue<S: Stored> {
    steps: Arc<[Step<S::Value>]>,
}

/// The same with the operands of a dispatch.
pub(crate) struct BoundEpilogue<S: Stored> {
    steps: Arc<[Step<S::Value>]>,
    operands: Box<[Option<Input<S::Element>>]>,
}

impl<S: Stored> Epilogue<S> {
    /// `own_bias` is the operator's own bias input, added before all steps. `axis` is the axis of the output that a bias runs along.
    pub(crate) fn of(op: Op<'_>, own_bias: Option<usize>, axis: usize) -> Result<Self> {
        let shape = op.output_shape(0)?;
        let mut steps = Vec::new();
        if let Some(index) = own_bias {
            op.expect_input(index, &shape[axis..=axis])?;
            steps.push(Step::Bias(index));
        }
        for step in &op.0.epilogue {
            let attributes = Attributes(&step.attributes);
            let operand = || {
                let index =
                    step.input.ok_or_else(|| op.invalid(format_args!("step `{}` needs an operand", step.op)))?;
                let operand = op.0.inputs.get(index as usize).and_then(Option::as_ref);
                let operand =
                    operand.ok_or_else(|| op.invalid("the operand of a step is missing").at(index as usize))?;
                if operand.dtype != S::DTYPE {
                    return Err(op.unsupported("a step with an operand of another element type").at(index as usize));
                }
                Ok((index as usize, dims(operand)))
            };
            steps.push(match step.op.as_str() {
                "bias" => {
                    let (index, given) = operand()?;
                    if given != shape[axis..=axis] {
                        return Err(op.invalid(format_args!("a bias of shape {given:?} for {shape:?}")).at(index));
                    }
                    Step::Bias(index)
                }
                "add" => {
                    let (index, given) = operand()?;
                    if given != shape {
                        return Err(op.invalid(format_args!("a sum of shapes {shape:?} and {given:?}")).at(index));
                    }
                    Step::Add(index)
                }
                name => {
                    let function = STEPS.contains(&name).then(|| activation(name, attributes)).flatten();
                    Step::Function(function.ok_or_else(|| op.unsupported(format_args!("epilogue step `{name}`")))?)
                }
            });
        }
        Ok(Self { steps: steps.into() })
    }

    pub(crate) fn bind(&self, bindings: &Bindings<'_>) -> Result<BoundEpilogue<S>> {
        let operand = |step: &Step<S::Value>| match step {
            Step::Bias(index) | Step::Add(index) => bindings.input::<S::Element>(*index).map(Some),
            Step::Function(_) => Ok(None),
        };
        let operands = self.steps.iter().map(operand).collect::<Result<_>>()?;
        Ok(BoundEpilogue { steps: self.steps.clone(), operands })
    }
}

impl<S: Stored> BoundEpilogue<S> {
    /// Applies the steps to neighbouring results. The first one is element `at` of the output; its bias is element `bias`, and that of the next
    /// one lies `bias_step` (0 or 1) behind.
    pub(crate) fn apply(&self, call: &Call, values: &mut [S::Value], at: usize, bias: usize, bias_step: usize) {
        for (step, operand) in self.steps.iter().zip(&self.operands) {
            match (step, operand) {
                (Step::Function(function), _) => function.apply(values),
                (Step::Bias(_), Some(operand)) if bias_step == 0 => {
                    let bias = S::load(call.read(operand).get(bias));
                    for value in values.iter_mut() {
                        *value = value.add(bias);
                    }
                }
                (_, Some(operand)) => {
                    let start = if matches!(step, Step::Add(_)) { at } else { bias };
                    let addends = call.read(operand).part(start..start + values.len());
                    for (value, addend) in values.iter_mut().zip(addends.iter()) {
                        *value = value.add(S::load(addend));
                    }
                }
                (_, None) => unreachable!("bind gave every step its operand"),
            }
        }
    }
}
