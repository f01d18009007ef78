//! Deadlines. One thread for each runtime watches every instance that is inside a call, and stops those that stay too long.
//!
//! A call arms its instance's [`Watch`] by one atomic store of its deadline and disarms it by one atomic swap, so nobody is woken and no
//! cache line is shared between instances. In exchange the thread must look often enough to see a deadline before it passes: it sleeps until the earliest
//! armed deadline, or for the shortest limit of any instance (1 to 50 ms) when that is sooner. A call armed just after a look is seen by the
//! next, which comes at the latest when its deadline does. With no instance at all the thread sleeps until one comes. A sleeper wakes late, by
//! more than a tenth of a millisecond on a virtual machine, so the last stretch before a deadline that is still armed is spent awake.
//!
//! At a deadline the thread claims the call (the swap of the caller then finds the claim), protects the instance's poll pages, and the next
//! poll traps. A claimed instance is dead, even when the call came back before it reached a poll.

use crate::memory::Reservation;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use wasmtime::Engine;

/// No call is running.
const IDLE: u64 = 0;
/// The deadline has passed and the instance was stopped.
const EXPIRED: u64 = u64::MAX;

const LOOK_MIN: Duration = Duration::from_millis(1);
const LOOK_MAX: Duration = Duration::from_millis(50);
/// A deadline this close is waited for awake. Few calls come so near to theirs, so this costs a processor next to nothing.
const AWAKE: Duration = Duration::from_micros(200);

/// One instance, as the watchdog sees it.
#[derive(Debug)]
pub(super) struct Watch {
    /// Nanoseconds since `start` until which the running call may stay; `IDLE`, or `EXPIRED`.
    deadline: AtomicU64,
    start: Instant,
    poll_pages: Mutex<Vec<Arc<Reservation>>>,
}

impl Watch {
    /// Starts the clock for a call. Nanoseconds of 500 years fit.
    #[inline]
    pub(super) fn arm(&self, limit: Duration) {
        let until = self.start.elapsed().saturating_add(limit).as_nanos();
        let until = u64::try_from(until).unwrap_or(EXPIRED - 1).clamp(IDLE + 1, EXPIRED - 1);
        // Whoever claims the deadline touches nothing that was written before, so the order of this store does not matter.
        self.deadline.store(until, Ordering::Relaxed);
    }

    /// Ends the call; false when its deadline had passed before.
    #[inline]
    #[must_use]
    pub(super) fn disarm(&self) -> bool {
        // A swap, because the claim and the end of the call may come at the same time, and one of them must win.
        let in_time = self.deadline.swap(IDLE, Ordering::Relaxed) != EXPIRED;
        if !in_time {
            self.deadline.store(EXPIRED, Ordering::Relaxed);
        }
        in_time
    }

    /// Whether the running call, or one before it, passed its deadline.
    pub(super) fn expired(&self) -> bool {
        self.deadline.load(Ordering::Relaxed) == EXPIRED
    }

    pub(super) fn add_poll_page(&self, page: Arc<Reservation>) {
        lock(&self.poll_pages).push(page);
    }

    /// Stops the instance if its deadline has passed; answers the deadline if it is still to come.
    fn look(&self, now: u64, engine: &Engine) -> Option<u64> {
        let deadline = self.deadline.load(Ordering::Relaxed);
        if deadline == IDLE || deadline == EXPIRED {
            return None;
        }
        if deadline > now {
            return Some(deadline);
        }
        // Fails when the call came back, or another one began: its deadline is a later one.
        if self.deadline.compare_exchange(deadline, EXPIRED, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            for page in lock(&self.poll_pages).iter() {
                if let Err(error) = page.protect(0, super::instrument::POLL_BYTES, false) {
                    tracing::error!(%error, "a plugin that passed its deadline cannot be stopped");
                }
            }
            // Where polls cannot be, every instance checks at the next epoch whether it is meant.
            engine.increment_epoch();
        }
        None
    }
}

/// The thread that watches.
#[derive(Debug)]
pub(super) struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    start: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    watched: Vec<(Weak<Watch>, Duration)>,
    stopping: bool,
}

impl Watchdog {
    pub(super) fn new(engine: Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { start: Instant::now(), state: Mutex::default(), changed: Condvar::new() });
        let for_thread = shared.clone();
        let thread = std::thread::Builder::new().name("watchdog".into()).stack_size(256 << 10).spawn(move || {
            // Ahead of the threads that it may have to stop, where the host may ask for that (as root, or with CAP_SYS_NICE): on a
            // busy machine the thread would otherwise wait its turn behind them. Linux applies this to the calling thread alone.
            let _ = rustix::process::setpriority_process(None, -20);
            for_thread.watch(&engine);
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Watches a new instance whose calls have at least `shortest` each.
    pub(super) fn watch(&self, shortest: Duration) -> Arc<Watch> {
        let watch =
            Arc::new(Watch { deadline: AtomicU64::new(IDLE), start: self.shared.start, poll_pages: Mutex::default() });
        lock(&self.shared.state).watched.push((Arc::downgrade(&watch), shortest));
        self.shared.changed.notify_one();
        watch
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        lock(&self.shared.state).stopping = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // The thread ends at once; that it panicked would have been logged by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn watch(&self, engine: &Engine) {
        let mut state = lock(&self.state);
        while !state.stopping {
            let now = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(EXPIRED - 1);
            let (mut period, mut next) = (LOOK_MAX, None::<u64>);
            state.watched.retain(|(watch, shortest)| {
                let Some(watch) = watch.upgrade() else { return false };
                period = period.min(*shortest);
                if let Some(deadline) = watch.look(now, engine) {
                    next = Some(next.map_or(deadline, |next| next.min(deadline)));
                }
                true
            });
            state = if state.watched.is_empty() {
                self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                let until = next.map_or(Duration::MAX, |next| Duration::from_nanos(next - now));
                let sleep = until.saturating_sub(AWAKE).min(period.max(LOOK_MIN));
                if sleep.is_zero() {
                    // Without the lock: an instance may be made meanwhile.
                    drop(state);
                    std::hint::spin_loop();
                    lock(&self.state)
                } else {
                    self.changed.wait_timeout(state, sleep).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// Locks; the state is valid after any panic, since each step of it is.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
