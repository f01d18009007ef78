//! What becomes of the sums of an integer product: they are stored as they are, or as floats.

use super::super::lanes::{self, LANES};
use super::super::steps;
use crate::epilogue::{BoundEpilogue, Epilogue};
use crate::steps::Steps;
use std::arch::x86_64::*;
use sunmao_plugin_sdk::{Bindings, Call, Input, Output, Result};

/// What becomes of sums: bound to operands, then opened for a call.
pub(crate) trait Finish: Send + Sync {
    type Bound: Send + Sync + 'static;
    type Open: Store;
    fn bind(&self, bindings: &Bindings<'_>) -> Result<Self::Bound>;
    fn open(bound: &Self::Bound, call: &Call) -> Self::Open;
}

/// Stores results of one call.
pub(crate) trait Store {
    /// What sums of a panel of columns are multiplied by.
    type Factors;

    /// The factors of `count` columns, at most sixteen, from `column` on.
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA; the columns are the output's.
    unsafe fn factors(&self, column: usize, count: usize) -> Self::Factors;

    /// Stores the first `count` sums of a row from place `at` of the output on.
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA; the places are the output's and the caller's to write.
    unsafe fn put<const C: usize>(&self, at: usize, factors: &Self::Factors, sums: &[__m256i; C], count: usize);

    /// What is done to a stretch of a row once it is stored.
    ///
    /// # Safety
    /// As for [`Store::put`].
    unsafe fn sweep(&self, at: usize, row: usize, column: usize, count: usize);
}

/// The sums themselves.
pub(crate) struct Plain;

pub(crate) struct OpenSums(*mut i32);

impl Finish for Plain {
    type Bound = Output<i32>;
    type Open = OpenSums;

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Self::Bound> {
        bindings.output(0)
    }

    fn open(bound: &Self::Bound, call: &Call) -> OpenSums {
        OpenSums(call.write(bound).as_mut_ptr())
    }
}

impl Store for OpenSums {
    type Factors = ();

    unsafe fn factors(&self, _: usize, _: usize) {}

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn put<const C: usize>(&self, at: usize, (): &(), sums: &[__m256i; C], count: usize) {
        for (half, sums) in sums.iter().enumerate() {
            let count = count.saturating_sub(half * LANES).min(LANES);
            // SAFETY: `count` places from there on are the output's.
            unsafe { put(self.0.add(at + half * LANES).cast(), _mm256_castsi256_ps(*sums), count) };
        }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn sweep(&self, _: usize, _: usize, _: usize, _: usize) {}
}

/// Floats: sums times both scales, and then steps.
pub(crate) struct Scaled {
    /// Columns have a scale each.
    pub(crate) each: bool,
    pub(crate) epilogue: Epilogue,
}

pub(crate) struct BoundScaled {
    each: bool,
    a_scale: Input<f32>,
    b_scale: Input<f32>,
    output: Output<f32>,
    epilogue: BoundEpilogue,
}

pub(crate) struct OpenScaled {
    a_scale: f32,
    b_scale: *const f32,
    each: bool,
    results: *mut f32,
    steps: Steps,
}

impl Finish for Scaled {
    type Bound = BoundScaled;
    type Open = OpenScaled;

    fn bind(&self, bindings: &Bindings<'_>) -> Result<BoundScaled> {
        Ok(BoundScaled {
            each: self.each,
            a_scale: bindings.input(2)?,
            b_scale: bindings.input(3)?,
            output: bindings.output(0)?,
            epilogue: self.epilogue.bind(bindings)?,
        })
    }

    fn open(bound: &BoundScaled, call: &Call) -> OpenScaled {
        OpenScaled {
            a_scale: call.read(&bound.a_scale).get(0),
            b_scale: call.read(&bound.b_scale).as_ptr(),
            each: bound.each,
            results: call.write(&bound.output).as_mut_ptr(),
            steps: Steps::open(&bound.epilogue, call),
        }
    }
}

impl Store for OpenScaled {
    type Factors = [__m256; 2];

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn factors(&self, column: usize, count: usize) -> [__m256; 2] {
        let mut factors = [_mm256_set1_ps(self.a_scale); 2];
        for half in 0..2 {
            let count = count.saturating_sub(half * LANES).min(LANES);
            // SAFETY: `count` columns from there on have a scale, or all have one.
            let scales = unsafe {
                match self.each {
                    true => _mm256_maskload_ps(self.b_scale.wrapping_add(column + half * LANES), lanes::first(count)),
                    false => _mm256_set1_ps(self.b_scale.read()),
                }
            };
            factors[half] = _mm256_mul_ps(factors[half], scales);
        }
        factors
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn put<const C: usize>(&self, at: usize, factors: &[__m256; 2], sums: &[__m256i; C], count: usize) {
        for half in 0..C {
            let real = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[half]), factors[half]);
            let count = count.saturating_sub(half * LANES).min(LANES);
            // SAFETY: `count` places from there on are the output's.
            unsafe { put(self.results.add(at + half * LANES), real, count) };
        }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn sweep(&self, at: usize, row: usize, column: usize, count: usize) {
        if !self.steps.is_empty() {
            // SAFETY: the stretch is the caller's to write, and its operands have an element for each column or result.
            unsafe { steps::apply(&self.steps, self.results.add(at), count, row, column, at) };
        }
    }
}

/// Stores the first `count` lanes.
///
/// # Safety
/// The CPU has AVX2 and FMA; `count` words, at most eight, are writable at `to`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn put(to: *mut f32, words: __m256, count: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match count {
            LANES => _mm256_storeu_ps(to, words),
            count => lanes::store_first(to, words, count),
        }
    }
}
