//! Loops that do nothing but keep one part of the processor busy.

use super::lanes::{self, LANES};
use crate::Neon;
use crate::machine::Probes;
use std::arch::aarch64::*;

/// Sums at work at the same time: latency times throughput of a fused multiply-add, with room for processors of four pipes.
const CHAINS: usize = 24;
/// Vectors that [`sum`] adds up at the same time.
const STREAMS: usize = 8;

impl Probes for Neon {
    const STEP_FLOPS: usize = CHAINS * LANES * 2;

    fn multiply(self, steps: usize) -> f32 {
        // SAFETY: the token proves NEON.
        unsafe { multiply(steps) }
    }

    fn sum(self, numbers: &[f32]) -> f32 {
        // SAFETY: the token proves NEON.
        unsafe { sum(numbers) }
    }
}

#[target_feature(enable = "neon")]
fn multiply(steps: usize) -> f32 {
    let (factor, more) = (vdupq_n_f32(0.999_999), vdupq_n_f32(1e-7));
    let mut chains = [vdupq_n_f32(1.0); CHAINS];
    for _ in 0..steps {
        for at in 0..CHAINS {
            chains[at] = vfmaq_f32(chains[at], factor, more);
        }
    }
    chains.into_iter().map(|chain| lanes::sum(chain)).sum()
}

#[target_feature(enable = "neon")]
fn sum(numbers: &[f32]) -> f32 {
    let mut sums = [vdupq_n_f32(0.0); STREAMS];
    for block in numbers.chunks_exact(STREAMS * LANES) {
        for (sum, vector) in sums.iter_mut().zip(block.chunks_exact(LANES)) {
            // SAFETY: a chunk has as many floats as a vector.
            *sum = vaddq_f32(*sum, unsafe { vld1q_f32(vector.as_ptr()) });
        }
    }
    sums.into_iter().map(|sum| lanes::sum(sum)).sum()
}
