//! A barrier for a few threads that can be given up: a shard that fails never leaves the others waiting.

use super::EngineError;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Spins before a waiting thread offers its core to others.
const SPINS: u32 = 20_000;

/// One word a thread, each on a cache line of its own: unpadded words double the cost.
#[repr(align(128))]
#[derive(Default)]
struct Padded(AtomicU32);

/// A barrier for a fixed number of threads.
pub(super) struct Barrier {
    arrived: Vec<Padded>,
    aborted: AtomicBool,
}

impl Barrier {
    pub(super) fn new(threads: usize) -> Self {
        Self { arrived: (0..threads).map(|_| Padded::default()).collect(), aborted: AtomicBool::new(false) }
    }

    /// Waits until every thread has come `round` times. Rounds count from 1.
    pub(super) fn wait(&self, thread: usize, round: u32) -> Result<(), EngineError> {
        self.arrived[thread].0.store(round, Ordering::Release);
        for other in &self.arrived {
            let mut spins = 0;
            while other.0.load(Ordering::Acquire) < round {
                if self.aborted.load(Ordering::Relaxed) {
                    return Err(EngineError::Aborted);
                }
                spins += 1;
                if spins < SPINS {
                    std::hint::spin_loop();
                } else {
                    std::thread::yield_now();
                }
            }
        }
        Ok(())
    }

    /// Sends everybody home.
    pub(super) fn abort(&self) {
        self.aborted.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn threads_meet_every_round() {
        let barrier = Arc::new(Barrier::new(3));
        let counter = Arc::new(AtomicU32::new(0));
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let (barrier, counter) = (barrier.clone(), counter.clone());
                scope.spawn(move || {
                    for round in 1..=100 {
                        counter.fetch_add(1, Ordering::Relaxed);
                        barrier.wait(thread, round * 2 - 1).expect("nobody aborts");
                        assert_eq!(counter.load(Ordering::Relaxed), 3 * round);
                        barrier.wait(thread, round * 2).expect("nobody aborts");
                    }
                });
            }
        });
    }

    #[test]
    fn an_abort_releases_those_who_wait() {
        let barrier = Barrier::new(2);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| barrier.wait(0, 1));
            barrier.abort();
            assert!(matches!(waiting.join().expect("no panic"), Err(EngineError::Aborted)));
        });
    }
}
