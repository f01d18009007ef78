//! What this machine can do at most: the roofs that figures of kernels are measured against.
//!
//! Both numbers are of the moment: on a machine that others use they go down, and so they are measured in the same run as what is compared with them.

use crate::Avx2;
use std::sync::Barrier;
use std::time::Instant;

/// Times that each probe is repeated; the best one counts.
const ROUNDS: usize = 7;

/// Elementary operations on f32 that `threads` threads do in a second, a multiplication and an addition each counted: independent fused multiply-adds on registers alone.
/// None: there are no fast paths for this instruction set, and so nothing to compare.
pub fn flops(threads: usize) -> Option<f64> {
    let token = Avx2::detect()?;
    #[cfg(target_arch = "x86_64")]
    {
        use crate::avx2::probe::{STEP_FLOPS, multiply};
        const STEPS: usize = 2_000_000;
        let seconds = best(threads, |_| {
            let _proof: Avx2 = token;
            // SAFETY: the token proves AVX2 and FMA.
            std::hint::black_box(unsafe { multiply(STEPS) });
        });
        Some((threads * STEPS * STEP_FLOPS) as f64 / seconds)
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (token, threads);
        None
    }
}

/// Bytes that `threads` threads read in a second from memory that no cache holds, each from a part of its own. `bytes`: how much in all; several times
/// the last cache. None: as for [`flops`].
pub fn read_bytes_per_second(threads: usize, bytes: usize) -> Option<f64> {
    let token = Avx2::detect()?;
    #[cfg(target_arch = "x86_64")]
    {
        use crate::avx2::probe::sum;
        let part = (bytes / threads.max(1) / 4).max(1);
        // Ones and not zeros: the kernel hands out zeros without taking a page for them.
        let memory: Vec<Vec<f32>> = (0..threads).map(|_| vec![1.0; part]).collect();
        let seconds = best(threads, |thread| {
            let _proof: Avx2 = token;
            // SAFETY: the token proves AVX2 and FMA.
            std::hint::black_box(unsafe { sum(&memory[thread]) });
        });
        Some((threads * part * 4) as f64 / seconds)
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (token, threads, bytes);
        None
    }
}

/// Seconds from the moment when all threads begin until the last one is done; the least of some rounds.
#[cfg(target_arch = "x86_64")]
fn best(threads: usize, work: impl Fn(usize) + Sync) -> f64 {
    let (work, barrier) = (&work, &Barrier::new(threads));
    let round = || {
        std::thread::scope(|scope| {
            let one = |thread| {
                move || {
                    barrier.wait();
                    let start = Instant::now();
                    work(thread);
                    (start, Instant::now())
                }
            };
            let running: Vec<_> = (0..threads).map(|thread| scope.spawn(one(thread))).collect();
            let spans: Vec<_> = running.into_iter().map(|thread| thread.join().expect("probes do not panic")).collect();
            let start = spans.iter().map(|span| span.0).min().expect("there is a thread");
            let end = spans.iter().map(|span| span.1).max().expect("there is a thread");
            (end - start).as_secs_f64()
        })
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roofs_are_of_this_century() {
        for threads in [1, 2] {
            let Some(flops) = flops(threads) else { return };
            assert!((1e9..1e13).contains(&flops), "{flops}");
            let read = read_bytes_per_second(threads, 16 << 20).expect("the same instruction set");
            assert!((1e8..1e13).contains(&read), "{read}");
        }
    }
}
