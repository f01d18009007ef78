//! `Transpose`, `Slice` and `Expand` of four-byte elements, as walks over the input.

use super::walk::Walk;
use crate::Avx2;
use crate::avx2::Row;
use crate::registry::LATEST;
use crate::request::{Request, count};
use crate::settle::{kernel, needs};
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel};

pub(crate) fn rows() -> Vec<Row> {
    let row = |operator, since, prepare| Row {
        operator,
        path: "avx2-moves",
        revisions: (since, LATEST),
        tolerance: Tolerance::Exact,
        prepare,
    };
    vec![row("Transpose", 1, transpose), row("Slice", 10, slice), row("Expand", 8, expand)]
}

/// Elements from one place of each axis to the next, where all lie together.
fn dense(shape: &[usize]) -> Vec<isize> {
    let mut step = 1;
    let mut steps: Vec<isize> = shape
        .iter()
        .rev()
        .map(|&length| {
            let here = step;
            step *= length as isize;
            here
        })
        .collect();
    steps.reverse();
    steps
}

/// The kernel of a walk over input 0.
fn walked(token: Avx2, request: Request<'_>, walk: Walk) -> Option<Box<dyn Kernel>> {
    if !request.operation().epilogue.is_empty() {
        return None;
    }
    let (units, granule) = walk.units();
    Some(kernel(needs(walk.cost(), units.div_ceil(granule)), None, move |bindings| {
        let (x, output) = (bindings.input_bits::<u32>(0)?, bindings.output_bits::<u32>(0)?);
        Ok(Box::new(move |call: &Call| {
            let (from, to) = (call.read(&x).as_ptr().cast(), call.write(&output).as_mut_ptr().cast());
            let _proof: Avx2 = token;
            // SAFETY: the token proves AVX2 and FMA. The walk was made for the shapes of the operands, and the bindings were checked against
            // them; the output may not overlap the input; shares are disjoint. The vectors only carry the bits of what they load.
            unsafe { walk.copy(from, to, call.share(units, granule)) };
            Ok(())
        }))
    }))
}

fn transpose(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let (shape, output) = (request.words(0)?, request.output_like(0)?);
    let rank = shape.len();
    let order: Vec<usize> = match request.attributes().integers("perm").filter(|perm| !perm.is_empty()) {
        Some(perm) => perm.iter().map(|&axis| usize::try_from(axis).ok()).collect::<Option<_>>()?,
        None => (0..rank).rev().collect(),
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..rank) || !order.iter().map(|&axis| shape[axis]).eq(output.iter().copied()) {
        return None;
    }
    let steps = dense(&shape);
    let steps: Vec<isize> = order.iter().map(|&axis| steps[axis]).collect();
    walked(token, request, Walk::new(&output, &steps, 0)?)
}

fn expand(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let (shape, output) = (request.words(0)?, request.output_like(0)?);
    let missing = output.len().checked_sub(shape.len())?;
    let mut steps = vec![0; output.len()];
    for (axis, (&length, step)) in shape.iter().zip(dense(&shape)).enumerate() {
        match output[missing + axis] {
            wanted if wanted == length => steps[missing + axis] = step,
            _ if length == 1 => {}
            _ => return None,
        }
    }
    // Axes of one element move nowhere, so that they merge with their neighbours.
    for (step, &length) in steps.iter_mut().zip(&output) {
        if length == 1 {
            *step = 0;
        }
    }
    walked(token, request, Walk::new(&output, &steps, 0)?)
}

fn slice(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let (shape, output) = (request.words(0)?, request.output_like(0)?);
    let (starts, ends) = (request.integers(1)?, request.integers(2)?);
    let optional = |index: usize, default: Vec<i64>| match request.operand(index) {
        Some(_) => request.integers(index),
        None => Some(default),
    };
    let axes = optional(3, (0..starts.len() as i64).collect())?;
    let jumps = optional(4, vec![1; starts.len()])?;
    if [ends.len(), axes.len(), jumps.len()] != [starts.len(); 3] || output.len() != shape.len() {
        return None;
    }
    let rank = shape.len() as i64;
    let mut steps = dense(&shape);
    let (mut lengths, mut first) = (shape.clone(), 0);
    let mut seen = vec![false; shape.len()];
    for (i, &axis) in axes.iter().enumerate() {
        let axis = (-rank..rank).contains(&axis).then(|| axis.rem_euclid(rank) as usize)?;
        if std::mem::replace(&mut seen[axis], true) {
            return None;
        }
        let (start, count) = range(shape[axis] as i64, starts[i], ends[i], jumps[i])?;
        if count > 0 {
            first += start * steps[axis] as usize;
        }
        lengths[axis] = count;
        // A step is used only where there is a second element, and then it is in range.
        steps[axis] = if count > 1 { steps[axis] * jumps[i] as isize } else { 0 };
    }
    if lengths != output {
        return None;
    }
    if count(&output) == 0 {
        first = 0;
    }
    walked(token, request, Walk::new(&output, &steps, first)?)
}

/// The first element and the number of elements of a slice of an axis; bounds behind the ends are the ends, as the specification has it.
fn range(length: i64, start: i64, end: i64, step: i64) -> Option<(usize, usize)> {
    let from_front = |at: i64| if at < 0 { at.saturating_add(length) } else { at };
    let (start, span) = match step {
        0 => return None,
        1.. => {
            let (start, end) = (from_front(start).clamp(0, length), from_front(end).clamp(0, length));
            (start, end - start)
        }
        _ => {
            let start = from_front(start).clamp(0.min(length - 1), length - 1);
            (start, start - from_front(end).clamp(-1, length - 1))
        }
    };
    let count = span.max(0).unsigned_abs().div_ceil(step.unsigned_abs());
    Some((start.max(0) as usize, count as usize))
}
