//! Loops that do nothing but keep one part of the processor busy.

use super::lanes::{self, LANES};
use crate::Avx2;
use crate::machine::Probes;
use std::arch::x86_64::*;

/// Sums at work at the same time: more than latency times throughput of a fused multiply-add on any processor with AVX2.
const CHAINS: usize = 12;
/// Vectors that [`sum`] adds up at the same time.
const STREAMS: usize = 8;

impl Probes for Avx2 {
    const STEP_FLOPS: usize = CHAINS * LANES * 2;

    fn multiply(self, steps: usize) -> f32 {
        // SAFETY: the token proves AVX2 and FMA.
        unsafe { multiply(steps) }
    }

    fn sum(self, numbers: &[f32]) -> f32 {
        // SAFETY: the token proves AVX2 and FMA.
        unsafe { sum(numbers) }
    }
}

/// `steps` fused multiply-adds on each of the chains.
#[target_feature(enable = "avx2,fma")]
fn multiply(steps: usize) -> f32 {
    let (factor, more) = (_mm256_set1_ps(0.999_999), _mm256_set1_ps(1e-7));
    let mut chains = [_mm256_set1_ps(1.0); CHAINS];
    for _ in 0..steps {
        for at in 0..CHAINS {
            chains[at] = _mm256_fmadd_ps(chains[at], factor, more);
        }
    }
    chains.into_iter().map(|chain| lanes::sum(chain)).sum()
}

/// The sum of all numbers, to have read them; what is left over at the end of the last block is not.
#[target_feature(enable = "avx2,fma")]
fn sum(numbers: &[f32]) -> f32 {
    let mut sums = [_mm256_setzero_ps(); STREAMS];
    for block in numbers.chunks_exact(STREAMS * LANES) {
        for (sum, vector) in sums.iter_mut().zip(block.chunks_exact(LANES)) {
            // SAFETY: a chunk has as many floats as a vector.
            *sum = _mm256_add_ps(*sum, unsafe { _mm256_loadu_ps(vector.as_ptr()) });
        }
    }
    sums.into_iter().map(|sum| lanes::sum(sum)).sum()
}
