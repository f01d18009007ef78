//! `MaxPool` of bytes: the rows of a window are joined first, then the columns of that one row.

use super::super::sliding::Sliding;
use super::Bytes;
use crate::Avx2;
use crate::avx2::Row;
use crate::registry::LATEST;
use crate::request::{Request, count};
use crate::settle::{kernel, needs};
use std::arch::x86_64::*;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel};

pub(crate) fn rows() -> Vec<Row> {
    vec![Row {
        operator: "MaxPool",
        path: "avx2-int8-pool",
        revisions: (8, LATEST),
        tolerance: Tolerance::Exact,
        prepare: pool,
    }]
}

/// Bytes in a vector.
const BYTES: usize = 32;
/// Longest row with its padding.
const ROW_MAX: usize = 64 * 1024;

fn pool(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let (x, y) = (Bytes::input(request, 0)?, Bytes::output(request)?);
    if request.inputs() != 1 || x.flip != y.flip || x.shape.len() < 3 || y.shape.len() != x.shape.len() {
        return None;
    }
    let sides = request.attributes().integers("kernel_shape")?.iter().map(|&side| usize::try_from(side).ok());
    let kernel_shape = sides.collect::<Option<Vec<_>>>()?;
    let window = Sliding::of(request, &x.shape[2..], &y.shape[2..], &kernel_shape)?;
    let planes = count(&x.shape[..2]);
    if x.shape[..2] != y.shape[..2] || !request.operation().epilogue.is_empty() {
        return None;
    }
    let Sliding { high, wide } = window;
    // The last window reads this far; behind it lie vectors that are read whole.
    let padded = ((wide.output.max(1) - 1) * wide.stride + wide.extent()).max(wide.input + wide.pad);
    let row = (padded + 2 * BYTES).next_multiple_of(BYTES);
    if row > ROW_MAX {
        return None;
    }
    let units = planes * high.output;
    let cost = units as f64 * (padded * (high.kernel + wide.kernel)) as f64 / 20.0;
    let mut requirements = needs(cost, units);
    requirements.workspace = (2 * row) as u32;
    let flip = x.flip;
    Some(kernel(requirements, None, move |bindings| {
        let (x, y) = (bindings.input_bits::<u8>(0)?, bindings.output_bits::<u8>(0)?);
        Ok(Box::new(move |call: &Call| {
            let (x, y) = (call.read(&x).as_ptr(), call.write(&y).as_mut_ptr());
            let workspace = call.workspace::<u8>().as_mut_ptr();
            for unit in call.share(units, 1) {
                let (plane, out) = (unit / high.output, unit % high.output);
                let plane = x.wrapping_add(plane * window.input_len());
                let _proof: Avx2 = token;
                // SAFETY: the token proves AVX2 and FMA; `prepare` matched the shapes with the window, and the bindings with the shapes; shards have
                // different rows; the workspace holds two rows.
                unsafe { pool_row(&window, plane, out, flip, row, workspace, y.add(unit * wide.output)) };
            }
            Ok(())
        }))
    }))
}

/// Computes output row `out` of a plane. What is signed is made unsigned, and padding is the smallest byte.
///
/// # Safety
/// The CPU has AVX2 and FMA; the plane is readable; the output row is writable; twice `row` bytes are writable at `workspace`, and nobody else's.
#[target_feature(enable = "avx2,fma")]
unsafe fn pool_row(
    window: &Sliding,
    plane: *const u8,
    out: usize,
    flip: u8,
    row: usize,
    workspace: *mut u8,
    to: *mut u8,
) {
    let Sliding { high, wide } = *window;
    let flips = _mm256_set1_epi8(flip as i8);
    let joined = workspace.wrapping_add(row);
    // SAFETY: the first row of the workspace has room for the padding, the input's row and a vector behind it; rows of the plane are read where
    // `source` found them inside; reads of the joined row end two vectors behind the last window at most.
    unsafe {
        workspace.write_bytes(0, row);
        for tap in 0..high.kernel {
            let Some(source) = high.source(out, tap).map(|source| plane.add(source * wide.input)) else { continue };
            let into = workspace.add(wide.pad);
            let mut at = 0;
            while at + BYTES <= wide.input {
                let x = _mm256_xor_si256(_mm256_loadu_si256(source.add(at).cast()), flips);
                let before = _mm256_loadu_si256(into.add(at).cast());
                _mm256_storeu_si256(into.add(at).cast(), _mm256_max_epu8(before, x));
                at += BYTES;
            }
            while at < wide.input {
                into.add(at).write(into.add(at).read().max(source.add(at).read() ^ flip));
                at += 1;
            }
        }
        let last = (wide.output.max(1) - 1) * wide.stride;
        let mut at = 0;
        while at <= last {
            let mut most = _mm256_loadu_si256(workspace.add(at).cast());
            for tap in 1..wide.kernel {
                let ahead = at + tap * wide.dilation;
                most = _mm256_max_epu8(most, _mm256_loadu_si256(workspace.add(ahead).cast()));
            }
            _mm256_storeu_si256(joined.add(at).cast(), _mm256_xor_si256(most, flips));
            at += BYTES;
        }
        match wide.stride {
            1 => std::ptr::copy_nonoverlapping(joined, to, wide.output),
            stride => {
                for column in 0..wide.output {
                    to.add(column).write(joined.add(column * stride).read());
                }
            }
        }
    }
}
