//! Takes a chip out of service for a while when it fails too often in a short time.
//!
//! A failure is a trap, a missed deadline, or an answer that the ABI rules out. Requests that come while the chip is out run without it; with
//! `--strict` nothing else may run them, so there they go on to it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// That many failures ...
pub const FAILURES: usize = 3;
/// ... within that time take it out ...
pub const WINDOW: Duration = Duration::from_secs(60);
/// ... for that time; then it is tried again, with a clean sheet.
pub const REST: Duration = Duration::from_secs(60);

/// The failures of one chip.
#[derive(Debug, Default)]
pub struct Breaker {
    recent: Mutex<Recent>,
    failures: AtomicU64,
    openings: AtomicU64,
    broken_promises: AtomicU64,
}

#[derive(Debug, Default)]
struct Recent {
    /// At most [`FAILURES`], the oldest first.
    failures: VecDeque<Instant>,
    out_until: Option<Instant>,
}

impl Breaker {
    /// Notes a failure at `now`. Answers whether it was the one that takes the chip out.
    pub fn fail(&self, now: Instant) -> bool {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.out_until.is_some_and(|until| now < until) {
            return false;
        }
        recent.failures.retain(|&at| now.saturating_duration_since(at) < WINDOW);
        recent.failures.push_back(now);
        if recent.failures.len() < FAILURES {
            return false;
        }
        *recent = Recent { failures: VecDeque::new(), out_until: Some(now + REST) };
        self.openings.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Whether the chip is out of service at `now`.
    pub fn is_open(&self, now: Instant) -> bool {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.out_until.is_some_and(|until| now < until)
    }

    /// Notes that `prepare` refused what the table covers.
    pub fn break_promise(&self) {
        self.broken_promises.fetch_add(1, Ordering::Relaxed);
    }

    /// Failures since the chip was loaded.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// How often it was taken out.
    pub fn openings(&self) -> u64 {
        self.openings.load(Ordering::Relaxed)
    }

    /// Operations that its table covers and that it refused nevertheless.
    pub fn broken_promises(&self) -> u64 {
        self.broken_promises.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_minute_take_a_chip_out_for_a_minute() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!breaker.fail(at(0)) && !breaker.fail(at(30)) && !breaker.is_open(at(30)));
        assert!(breaker.fail(at(59)) && breaker.is_open(at(60)));
        assert!(!breaker.fail(at(100)), "it is out already");
        assert!(breaker.is_open(at(118)) && !breaker.is_open(at(119)));
        assert!(!breaker.fail(at(120)) && !breaker.is_open(at(120)), "the sheet is clean");
        assert_eq!((breaker.failures(), breaker.openings()), (5, 1));
    }

    #[test]
    fn failures_far_apart_are_forgiven() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        for minute in 0..10 {
            assert!(!breaker.fail(start + Duration::from_secs(31 * minute)));
        }
    }
}
