//! `Pad` of four-byte elements by a constant, the edge or a mirror image.
//!
//! Axes behind the last one that is padded are part of its elements, so a row is a piece in front, a piece of the input as it lies, and a piece behind.

use crate::Avx2;
use crate::avx2::Row;
use crate::registry::LATEST;
use crate::request::{Request, count};
use crate::settle::{kernel, needs};
use std::sync::Arc;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel};

pub(crate) fn rows() -> Vec<Row> {
    vec![Row { operator: "Pad", path: "avx2-pad", revisions: (11, LATEST), tolerance: Tolerance::Exact, prepare: pad }]
}

/// More places of the output along all axes than this are not worth a table.
const PLACES_MAX: usize = 1 << 20;

/// One axis of the output: for each place its place in the input, or none for the constant.
struct Axis {
    sources: Vec<Option<u32>>,
    /// Elements of the input from one place to the next.
    step: usize,
}

struct Plan {
    /// All axes in front of the last one that is padded.
    outer: Vec<Axis>,
    /// That axis.
    inner: Axis,
    /// Places of it in front of the input's own, and how many those are.
    front: usize,
    straight: usize,
}

fn pad(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let (shape, output) = (request.words(0)?, request.output_like(0)?);
    let pads = request.integers(1)?;
    let axes = match request.operand(3) {
        Some(_) => request.integers(3)?,
        None => (0..shape.len() as i64).collect(),
    };
    let value = match request.operand(2) {
        Some(value) if value.dtype == request.operand(0)?.dtype && value.shape.iter().all(|&length| length == 1) => {
            true
        }
        Some(_) => return None,
        None => false,
    };
    if pads.len() != 2 * axes.len() || output.len() != shape.len() || !request.operation().epilogue.is_empty() {
        return None;
    }
    let rank = shape.len() as i64;
    let mut bounds = vec![(0i64, 0i64); shape.len()];
    for (i, &axis) in axes.iter().enumerate() {
        let axis = (-rank..rank).contains(&axis).then(|| axis.rem_euclid(rank) as usize)?;
        if bounds[axis] != (0, 0) {
            return None;
        }
        bounds[axis] = (pads[i], pads[axes.len() + i]);
    }
    let plan = Arc::new(Plan::of(&shape, &output, &bounds, request.attributes().text("mode"))?);
    let rows = count(&output[..plan.outer.len()]);
    let cost = count(&output) as f64 * 0.25 + rows as f64 * 6.0;
    Some(kernel(needs(cost, rows), None, move |bindings| {
        let (x, to) = (bindings.input_bits::<u32>(0)?, bindings.output_bits::<u32>(0)?);
        let value = if value { Some(bindings.input_bits::<u32>(2)?) } else { None };
        let plan = plan.clone();
        Ok(Box::new(move |call: &Call| {
            let value = value.as_ref().map_or(0, |value| call.read(value).get(0));
            let (from, to) = (call.read(&x).as_ptr(), call.write(&to).as_mut_ptr());
            for row in call.share(rows, 1) {
                let _proof: Avx2 = token;
                // SAFETY: the places of the plan lie in the input and the output, as `Plan::of` made them for their shapes, and the bindings were
                // checked against those; the output may not overlap the input; shares are disjoint.
                unsafe { plan.row(from, to, row, value) };
            }
            Ok(())
        }))
    }))
}

impl Plan {
    fn of(shape: &[usize], output: &[usize], bounds: &[(i64, i64)], mode: &str) -> Option<Self> {
        let last = bounds.iter().rposition(|bounds| *bounds != (0, 0))?;
        if output[..=last].iter().sum::<usize>() > PLACES_MAX || shape[last + 1..] != output[last + 1..] {
            return None;
        }
        let mut step: usize = shape.iter().product();
        let mut all = Vec::new();
        for axis in 0..=last {
            if shape[axis] == 0 {
                return None;
            }
            step /= shape[axis];
            let sources = sources(shape[axis], output[axis], bounds[axis], mode)?;
            all.push(Axis { sources, step });
        }
        let inner = all.pop()?;
        let front = bounds[last].0.clamp(0, output[last] as i64) as usize;
        // What is cut off in front and behind is not there.
        let kept = shape[last] as i64 + bounds[last].0.min(0) + bounds[last].1.min(0);
        Some(Self { outer: all, inner, front, straight: kept.max(0) as usize })
    }

    /// # Safety
    /// `from` and `to` are the tensors of the plan, which do not overlap, and nobody else writes the row.
    unsafe fn row(&self, from: *const u32, to: *mut u32, row: usize, value: u32) {
        let block = self.inner.step;
        let places = self.inner.sources.len();
        let to = to.wrapping_add(row * places * block);
        let (mut rest, mut start) = (row, Some(0));
        for axis in self.outer.iter().rev() {
            let source = axis.sources[rest % axis.sources.len()];
            rest /= axis.sources.len();
            start = start.and_then(|start| Some(start + source? as usize * axis.step));
        }
        // SAFETY: each place of the row is a block of the output, and each source a block of the input.
        unsafe {
            let Some(start) = start else {
                for i in 0..places * block {
                    to.add(i).write(value);
                }
                return;
            };
            let straight = self.front..self.front + self.straight;
            for place in (0..straight.start).chain(straight.end..places) {
                let to = to.add(place * block);
                match self.inner.sources[place] {
                    None => (0..block).for_each(|i| to.add(i).write(value)),
                    Some(source) => to.copy_from_nonoverlapping(from.add(start + source as usize * block), block),
                }
            }
            if let Some(Some(source)) = self.inner.sources.get(straight.start).filter(|_| !straight.is_empty()) {
                let source = from.add(start + *source as usize * block);
                to.add(straight.start * block).copy_from_nonoverlapping(source, straight.len() * block);
            }
        }
    }
}

/// The place in the input of each place of an axis that has `length` elements there and `longer` in the output.
fn sources(length: usize, longer: usize, (begin, end): (i64, i64), mode: &str) -> Option<Vec<Option<u32>>> {
    let last = length as i64 - 1;
    if (last + 1).checked_add(begin)?.checked_add(end)? != longer as i64 {
        return None;
    }
    let source = |place: i64| {
        let at = place - begin;
        Some(match mode {
            "" | "constant" => (0..=last).contains(&at).then_some(at),
            "edge" => Some(at.clamp(0, last)),
            "reflect" if last == 0 => Some(0),
            "reflect" => {
                let turn = at.rem_euclid(2 * last);
                Some(turn.min(2 * last - turn))
            }
            _ => return None,
        })
    };
    (0..longer as i64).map(|place| Some(source(place)?.map(|at| at as u32))).collect()
}
