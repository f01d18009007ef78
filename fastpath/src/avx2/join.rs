//! `Concat` of four-byte elements: each input is a run in every row of the output, and there is a row for each place in front of the axis.

use crate::Avx2;
use crate::avx2::Row;
use crate::registry::LATEST;
use crate::request::{Request, count};
use crate::settle::{kernel, needs};
use std::ops::Range;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Input, Kernel, Result};

pub(crate) fn rows() -> Vec<Row> {
    vec![Row {
        operator: "Concat",
        path: "avx2-join",
        revisions: (4, LATEST),
        tolerance: Tolerance::Exact,
        prepare: concat,
    }]
}

/// Shards of a single row end at multiples of this, a cache line.
const GRANULE: usize = 16;
/// Elements of the output between two turns of all inputs: they stay in the first-level cache.
const STRETCH: usize = 4096;
/// Runs of at most this many elements are moved one by one: a call would take longer.
const SHORT: usize = 8;

/// One input in a row of the output.
struct Run {
    start: usize,
    length: usize,
}

fn concat(_: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let output = request.output_like(0)?;
    let axis = request.axis("axis", 0, output.len())?;
    let inner = count(&output[axis + 1..]);
    let mut runs = Vec::new();
    let mut width = 0;
    for index in 0..request.inputs() {
        let shape = request.words(index)?;
        let same_type = request.operand(index)?.dtype == request.operand(0)?.dtype;
        let agrees = shape.len() == output.len() && (0..shape.len()).all(|i| i == axis || shape[i] == output[i]);
        if !same_type || !agrees {
            return None;
        }
        let length = shape[axis] * inner;
        runs.push(Run { start: width, length });
        width += length;
    }
    if width != output[axis] * inner || !request.operation().epilogue.is_empty() {
        return None;
    }
    let rows = count(&output[..axis]);
    let cost = (rows * width) as f64 * 0.25 + (rows * runs.len()) as f64 * 2.0;
    let units = if rows == 1 { width.div_ceil(GRANULE) } else { rows };
    Some(kernel(needs(cost, units), None, move |bindings| {
        let inputs = (0..runs.len()).map(|index| bindings.input_bits::<u32>(index)).collect::<Result<Vec<_>>>()?;
        let output = bindings.output_bits::<u32>(0)?;
        let parts: Box<[(usize, usize, Input<u32>)]> =
            runs.iter().zip(inputs).map(|(run, input)| (run.start, run.length, input)).collect();
        Ok(Box::new(move |call: &Call| {
            let to = call.write(&output).as_mut_ptr();
            let (rows, columns) =
                if rows == 1 { (0..1, call.share(width, GRANULE)) } else { (call.share(rows, 1), 0..width) };
            for block in rows.clone().step_by((STRETCH / width.max(1)).max(1)) {
                let block = block..rows.end.min(block + (STRETCH / width.max(1)).max(1));
                for &(start, length, ref input) in &parts {
                    let from = call.read(input).as_ptr();
                    let cut = columns.start.clamp(start, start + length)..columns.end.clamp(start, start + length);
                    // SAFETY: row `r` of the output has `width` elements, of which `length` from `start` on are row `r` of the input, as `prepare` matched
                    // the shapes and the bindings were checked; the output may not overlap an input; shares are disjoint.
                    unsafe { copy(from, to, block.clone(), (width, length), start, cut) };
                }
            }
            Ok(())
        }))
    }))
}

/// Copies what `cut` leaves of a run in each of some rows.
///
/// # Safety
/// Rows of `widths.0` elements are writable at `to` and rows of `widths.1` readable at `from`; `cut` lies in the run, which begins at `start`.
unsafe fn copy(
    from: *const u32,
    to: *mut u32,
    rows: Range<usize>,
    widths: (usize, usize),
    start: usize,
    cut: Range<usize>,
) {
    for row in rows {
        // SAFETY: the caller's promise.
        unsafe {
            let from = from.add(row * widths.1 + cut.start - start);
            let to = to.add(row * widths.0 + cut.start);
            if cut.len() <= SHORT {
                for i in 0..cut.len() {
                    to.add(i).write(from.add(i).read());
                }
            } else {
                to.copy_from_nonoverlapping(from, cut.len());
            }
        }
    }
}
