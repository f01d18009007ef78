//! What this machine can do at most: the roofs that figures of kernels are measured against.
//!
//! Both numbers are of the moment: on a machine that others use they go down, and so they are measured in the same run as what is compared with them.

use crate::Isa;
use crate::isa::Token;
use std::sync::Barrier;
use std::time::Instant;

/// Times that each probe is repeated; the best one counts.
const ROUNDS: usize = 7;

/// Loops that keep one part of the processor busy, of an instruction set.
pub(crate) trait Probes: Token {
    /// Operations of one step of [`Probes::multiply`].
    const STEP_FLOPS: usize;

    /// `steps` fused multiply-adds on each of enough chains.
    fn multiply(self, steps: usize) -> f32;

    /// The sum of all numbers, to have read them; what is left over at the end of the last block is not.
    fn sum(self, numbers: &[f32]) -> f32;
}

/// Elementary operations on f32 that `threads` threads do in a second, a multiplication and an addition each counted: independent fused multiply-adds on registers alone.
/// None: there are no fast paths for this instruction set, and so nothing to compare.
pub fn flops(threads: usize) -> Option<f64> {
    match Isa::detect() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(token) => Some(flops_by(token, threads)),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon(token) => Some(flops_by(token, threads)),
        _ => {
            let _ = threads;
            None
        }
    }
}

fn flops_by<P: Probes>(token: P, threads: usize) -> f64 {
    const STEPS: usize = 2_000_000;
    let seconds = best(threads, |_| {
        std::hint::black_box(token.multiply(STEPS));
    });
    (threads * STEPS * P::STEP_FLOPS) as f64 / seconds
}

/// Bytes that `threads` threads read in a second from memory that no cache holds, each from a part of its own. `bytes`: how much in all; several times
/// the last cache. None: as for [`flops`].
pub fn read_bytes_per_second(threads: usize, bytes: usize) -> Option<f64> {
    match Isa::detect() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(token) => Some(bytes_by(token, threads, bytes)),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon(token) => Some(bytes_by(token, threads, bytes)),
        _ => {
            let _ = (threads, bytes);
            None
        }
    }
}

fn bytes_by(token: impl Probes, threads: usize, bytes: usize) -> f64 {
    let part = (bytes / threads.max(1) / 4).max(1);
    // Ones and not zeros: the kernel hands out zeros without taking a page for them.
    let memory: Vec<Vec<f32>> = (0..threads).map(|_| vec![1.0; part]).collect();
    let seconds = best(threads, |thread| {
        std::hint::black_box(token.sum(&memory[thread]));
    });
    (threads * part * 4) as f64 / seconds
}

/// Seconds from the moment when all threads begin until the last one is done; the least of some rounds.
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
    #[cfg_attr(target_arch = "aarch64", ignore = "measures the machine, and so far there was an emulator only")]
    fn the_roofs_are_of_this_century() {
        for threads in [1, 2] {
            let Some(flops) = flops(threads) else { return };
            assert!((1e9..1e13).contains(&flops), "{flops}");
            let read = read_bytes_per_second(threads, 16 << 20).expect("the same instruction set");
            assert!((1e8..1e13).contains(&read), "{read}");
        }
    }
}
