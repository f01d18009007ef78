//! Which requests of many samples are computed in parts of one sample each.
//!
//! Where a model treats its samples apart, each sample can be a request of its own: its activations stay in the caches, where those of a whole batch
//! would not; each thread of a team runs parts by itself, without waiting for others behind each operator; and the arena need not grow with the batch. In
//! exchange every part reads the weights again, so that a model with more weights than activations is computed whole.

use super::plans::Signature;
use super::{InputKey, Segment};
use crate::plan::{Argument, Plan};
use sunmao_graph::{Dim, Role};

/// A part that reads and writes fewer bytes is not worth a run of its own, which takes a few microseconds.
const PART_BYTES_MIN: u64 = 64 << 10;
/// A request of more samples is computed whole.
const SAMPLES_MAX: u64 = 4096;

/// How a request is computed in parts.
pub(crate) struct Division {
    /// What the plan of a part is made for.
    pub(crate) part: Signature,
    /// How many there are; at least 2.
    pub(crate) count: u64,
    /// For each input of the plan, whether a part has a piece of it; otherwise each has the whole.
    pub(crate) apart: Vec<bool>,
}

/// The number of samples of a request, as a guess: the first axis of the first input where the model leaves that axis open. none: there are no two
/// samples, or too many, or shapes depend on what the request says.
pub(super) fn samples(segment: &Segment, signature: &Signature) -> Option<u64> {
    if segment.bound.contains(&true) {
        return None;
    }
    let inputs = segment.graph.inputs.iter().zip(signature);
    let mut open = inputs.filter(|(id, _)| {
        let shape = segment.graph.value(**id).shape.as_ref();
        shape.is_none_or(|shape| shape.first().is_some_and(|dim| !matches!(dim, Dim::Known(_))))
    });
    open.find_map(|(_, key)| key.shape.first().copied()).filter(|samples| (2..=SAMPLES_MAX).contains(samples))
}

/// Whether a plan for one sample is worth a run of its own, and reads and writes at least as many bytes of activations as there are of weights, as its
/// kernels read them: about what parts save against what they cost, could the caches hold neither those of a whole batch nor the weights.
///
/// Measured with eight samples on two threads, 32 MiB of last cache: 0.67 to 0.92 of the time of the whole batch where it holds (squeezenet, minilm,
/// mobilenetv2), 1.05 to 1.4 where it does not (inception_v2, resnet50).
pub(super) fn is_worth_it(plan: &Plan) -> bool {
    let graph = &plan.graph;
    let activations: u64 = graph
        .nodes
        .iter()
        .flat_map(|node| node.inputs.iter().chain(&node.outputs).flatten())
        .map(|id| graph.value(*id))
        .filter(|value| !matches!(value.role, Role::Constant(_)))
        .filter_map(|value| value.dtype?.bytes(value.concrete()?.iter().product()))
        .sum();
    // Of a table that rows are looked up in, hardly anything is read.
    let readers = plan.dispatches.iter().filter(|dispatch| dispatch.operation.op != "Gather");
    let mut is_read = vec![false; plan.constants.len()];
    for argument in readers.flat_map(|dispatch| &dispatch.arguments) {
        if let Argument::Constant(index) = argument {
            is_read[*index] = true;
        }
    }
    let weights: u64 =
        plan.constants.iter().zip(is_read).filter(|(_, read)| *read).map(|(constant, _)| constant.bytes).sum();
    activations >= weights.max(PART_BYTES_MIN)
}

/// What the plan of one sample is made for, where the request has `samples`.
pub(super) fn part(signature: &Signature, samples: u64) -> Signature {
    let shrink = |key: &InputKey| {
        let mut key = key.clone();
        if let Some(first) = key.shape.first_mut().filter(|first| **first == samples) {
            *first = 1;
        }
        key
    };
    signature.iter().map(shrink).collect()
}
