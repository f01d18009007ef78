//! `Softmax` along the last axis.

use super::lanes::{self, vectors};
use super::map::each;
use super::math::exp;
use crate::Avx2;
use crate::registry::{LATEST, Row};
use crate::request::{Request, count};
use crate::settle::{alias, kernel, needs};
use std::arch::x86_64::*;
use std::cell::Cell;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel};

pub(crate) fn rows() -> Vec<Row> {
    vec![Row {
        operator: "Softmax",
        path: "avx2-lines",
        revisions: (13, LATEST),
        tolerance: Tolerance::Approximate(1e-6),
        prepare: softmax,
    }]
}

fn softmax(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let shape = request.input(0)?;
    let axis = request.axis("axis", -1, shape.len())?;
    if request.output()? != shape || count(&shape[axis + 1..]) != 1 || !request.operation().epilogue.is_empty() {
        return None;
    }
    let (lines, length) = (count(&shape[..axis]), shape[axis]);
    let mut requirements = needs(lines as f64 * (10.0 + length as f64 * 0.7), lines);
    requirements.in_place = vec![alias(0)];
    Some(kernel(requirements, None, move |bindings| {
        let (x, output) = (bindings.input::<f32>(0)?, bindings.output::<f32>(0)?);
        Ok(Box::new(move |call: &Call| {
            let (from, to) = (call.read(&x).as_ptr(), call.write(&output).as_mut_ptr());
            for at in call.share(lines, 1) {
                let _proof: Avx2 = token;
                // SAFETY: the token proves AVX2 and FMA; both tensors have `lines` lines, and lie on each other or apart, as the bindings were
                // checked; shares are disjoint.
                unsafe { line(from.add(at * length), to.add(at * length), length) };
            }
            Ok(())
        }))
    }))
}

/// # Safety
/// The CPU has AVX2 and FMA; `len` floats are readable at `from` and writable at `to`; the two are equal or do not overlap.
#[target_feature(enable = "avx2,fma")]
unsafe fn line(from: *const f32, to: *mut f32, len: usize) {
    let least = _mm256_set1_ps(f32::NEG_INFINITY);
    let largest = Cell::new(least);
    // SAFETY: `vectors` names positions whose eight (or masked) elements lie below `len`.
    vectors(
        len,
        |at| largest.set(_mm256_max_ps(largest.get(), unsafe { _mm256_loadu_ps(from.add(at)) })),
        |at, mask, _| {
            // SAFETY: as above, under the mask.
            let x = unsafe { _mm256_maskload_ps(from.add(at), mask) };
            largest.set(_mm256_max_ps(largest.get(), _mm256_blendv_ps(least, x, _mm256_castsi256_ps(mask))));
        },
    );
    let largest = _mm256_set1_ps(lanes::largest(largest.get()));
    let sum = Cell::new(_mm256_setzero_ps());
    // SAFETY: as above; each element is read before its place is written.
    vectors(
        len,
        |at| unsafe {
            let power = exp(_mm256_sub_ps(_mm256_loadu_ps(from.add(at)), largest));
            _mm256_storeu_ps(to.add(at), power);
            sum.set(_mm256_add_ps(sum.get(), power));
        },
        |at, mask, count| unsafe {
            let power = exp(_mm256_sub_ps(_mm256_maskload_ps(from.add(at), mask), largest));
            lanes::store_first(to.add(at), power, count);
            sum.set(_mm256_add_ps(sum.get(), _mm256_and_ps(power, _mm256_castsi256_ps(mask))));
        },
    );
    let sum = _mm256_set1_ps(lanes::sum(sum.get()));
    // SAFETY: the caller's promise.
    unsafe { each(to, to, len, |power| _mm256_div_ps(power, sum)) };
}
