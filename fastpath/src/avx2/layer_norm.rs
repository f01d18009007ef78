//! `LayerNormalization` and `RMSNormalization` over the last axes:
//!
//! ```text
//! y = (x - mean x) / sqrt(mean (x - mean x)^2 + epsilon) * scale + bias        y = x / sqrt(mean x^2 + epsilon) * scale
//! ```
//!
//! Sums run in eight lanes, from front to back; the mean is taken off before differences are squared.

use super::lanes::{self, vectors};
use crate::Avx2;
use crate::avx2::Row;
use crate::registry::LATEST;
use crate::request::{Request, count};
use crate::settle::{alias, kernel, needs};
use std::arch::x86_64::*;
use std::cell::Cell;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel};

pub(crate) fn rows() -> Vec<Row> {
    let row = |operator, since| Row {
        operator,
        path: "avx2-lines",
        revisions: (since, LATEST),
        tolerance: Tolerance::Approximate(1e-5),
        prepare: layer_norm,
    };
    vec![row("LayerNormalization", 17), row("RMSNormalization", 23)]
}

fn layer_norm(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let (shape, scale) = (request.input(0)?, request.input(1)?);
    let axis = request.axis("axis", -1, shape.len())?;
    let has_bias = request.operand(2).is_some();
    let line = &shape[axis..];
    let fits = request.output()? == shape
        && scale == line
        && (!has_bias || request.input(2)? == line)
        && request.attributes().integer("stash_type").unwrap_or(1) == 1
        && request.operation().epilogue.is_empty();
    if !fits {
        return None;
    }
    let centred = request.operator() == "LayerNormalization";
    let epsilon = request.attributes().number("epsilon").unwrap_or(1e-5) as f32;
    let (lines, length) = (count(&shape[..axis]), count(line));
    let mut requirements = needs(lines as f64 * (15.0 + length as f64 * 0.3), lines);
    requirements.in_place = vec![alias(0)];
    Some(kernel(requirements, None, move |bindings| {
        let (x, scale) = (bindings.input::<f32>(0)?, bindings.input::<f32>(1)?);
        let bias = if has_bias { Some(bindings.input::<f32>(2)?) } else { None };
        let output = bindings.output::<f32>(0)?;
        Ok(Box::new(move |call: &Call| {
            let (from, to) = (call.read(&x).as_ptr(), call.write(&output).as_mut_ptr());
            let scale = call.read(&scale).as_ptr();
            let bias = bias.map_or(std::ptr::null(), |bias| call.read(&bias).as_ptr());
            for at in call.share(lines, 1) {
                let line = Line {
                    from: from.wrapping_add(at * length),
                    to: to.wrapping_add(at * length),
                    length,
                    scale,
                    bias,
                };
                let _proof: Avx2 = token;
                // SAFETY: the token proves AVX2 and FMA; both tensors have `lines` lines, and lie on each other or apart, as the bindings were
                // checked; scale and bias have the length of a line; shares are disjoint.
                unsafe { line.normalise(centred, epsilon) };
            }
            Ok(())
        }))
    }))
}

/// One line and its factors; no bias: null.
struct Line {
    from: *const f32,
    to: *mut f32,
    length: usize,
    scale: *const f32,
    bias: *const f32,
}

impl Line {
    /// # Safety
    /// The CPU has AVX2 and FMA; `length` floats are readable at `from`, `scale` and `bias` (unless null) and writable at `to`, which equals or does not
    /// overlap `from`.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn normalise(&self, centred: bool, epsilon: f32) {
        let count = self.length as f32;
        // SAFETY: the caller's promise is that of `total`.
        let mean = if centred { unsafe { self.total(|x| x) / count } } else { 0.0 };
        let mean = _mm256_set1_ps(mean);
        let square = |x: __m256| {
            let x = _mm256_sub_ps(x, mean);
            _mm256_mul_ps(x, x)
        };
        // SAFETY: as above.
        let variance = unsafe { self.total(square) } / count;
        let factor = _mm256_set1_ps(1.0 / (variance + epsilon).sqrt());
        let finish = |x: __m256, scale: __m256, bias: __m256| {
            _mm256_fmadd_ps(_mm256_mul_ps(_mm256_sub_ps(x, mean), factor), scale, bias)
        };
        let zero = _mm256_setzero_ps();
        // SAFETY: `vectors` names positions whose eight (or masked) elements lie below `length`.
        vectors(
            self.length,
            |at| unsafe {
                let bias = if self.bias.is_null() { zero } else { _mm256_loadu_ps(self.bias.add(at)) };
                let scale = _mm256_loadu_ps(self.scale.add(at));
                _mm256_storeu_ps(self.to.add(at), finish(_mm256_loadu_ps(self.from.add(at)), scale, bias));
            },
            |at, mask, count| unsafe {
                let bias = if self.bias.is_null() { zero } else { _mm256_maskload_ps(self.bias.add(at), mask) };
                let scale = _mm256_maskload_ps(self.scale.add(at), mask);
                let x = _mm256_maskload_ps(self.from.add(at), mask);
                lanes::store_first(self.to.add(at), finish(x, scale, bias), count);
            },
        );
    }

    /// The sum of `term` of all elements.
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA; `length` floats are readable at `from`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn total(&self, term: impl Fn(__m256) -> __m256) -> f32 {
        let sum = Cell::new(_mm256_setzero_ps());
        // SAFETY: `vectors` names positions whose eight (or masked) elements lie below `length`.
        vectors(
            self.length,
            |at| sum.set(_mm256_add_ps(sum.get(), term(unsafe { _mm256_loadu_ps(self.from.add(at)) }))),
            |at, mask, _| {
                // SAFETY: as above, under the mask.
                let terms = term(unsafe { _mm256_maskload_ps(self.from.add(at), mask) });
                sum.set(_mm256_add_ps(sum.get(), _mm256_and_ps(terms, _mm256_castsi256_ps(mask))));
            },
        );
        lanes::sum(sum.get())
    }
}
