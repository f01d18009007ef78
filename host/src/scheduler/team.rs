//! The team: permits, and the worker threads that stand behind all permits but the caller's own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What threads of a grant do, the caller's being 0; called at most once on each with its number. One that has not begun when the caller is through is
/// not called at all, so the caller's call must see to it that everything is done.
pub type Work = Arc<dyn Fn(usize) + Send + Sync>;

/// Spins of an idle worker before it sleeps: some tens of microseconds, the gap between two requests of a busy client.
const IDLE_SPINS: u32 = 4_000;
/// Spins of a caller before it yields while workers finish.
const JOIN_SPINS: u32 = 10_000;

/// Too many requests wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{waiting} requests wait already, the most that are allowed")]
pub struct Busy {
    /// How many wait.
    pub waiting: usize,
}

/// The threads of this process that run models.
pub struct Team {
    state: Mutex<State>,
    freed: Condvar,
    workers: Vec<Arc<Worker>>,
    max_waiting: usize,
    refused: AtomicU64,
}

struct State {
    free: Vec<bool>,
    waiting: usize,
}

/// A thread that waits for work from whoever holds its permit.
#[derive(Default)]
struct Worker {
    posted: AtomicBool,
    work: Mutex<Option<(Work, usize)>>,
    wake: Condvar,
    finished: AtomicU64,
    retired: AtomicBool,
}

/// Permission to use some of the threads, until dropped.
pub struct Grant<'a> {
    team: &'a Team,
    members: Vec<usize>,
}

impl Team {
    /// A team of `threads` (at least 1), with room for `max_waiting` requests that wait for their turn.
    pub fn new(threads: usize, max_waiting: usize) -> Arc<Self> {
        Self::with(threads, max_waiting, |name, worker| {
            std::thread::Builder::new().name(name).spawn(move || worker.serve()).map(drop)
        })
    }

    /// The same with another way of starting a thread. The team is as large as threads could be started.
    fn with(
        threads: usize,
        max_waiting: usize,
        mut start: impl FnMut(String, Arc<Worker>) -> std::io::Result<()>,
    ) -> Arc<Self> {
        let mut workers: Vec<Arc<Worker>> = Vec::new();
        for number in 1..threads {
            let worker = Arc::<Worker>::default();
            if let Err(error) = start(format!("team-{number}"), worker.clone()) {
                tracing::error!(%error, asked = threads, started = number, "the machine gives no more threads: raise its limit, or lower --threads");
                break;
            }
            workers.push(worker);
        }
        Arc::new(Self {
            state: Mutex::new(State { free: vec![true; workers.len() + 1], waiting: 0 }),
            freed: Condvar::new(),
            workers,
            max_waiting,
            refused: AtomicU64::new(0),
        })
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Requests that were refused since the start.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Requests that wait now.
    pub fn waiting(&self) -> usize {
        self.lock().waiting
    }

    /// Waits for a turn. Up to `want` threads when the team is idle and nobody else waits, one otherwise.
    pub fn acquire(&self, want: usize) -> Result<Grant<'_>, Busy> {
        let mut state = self.lock();
        if !state.free.contains(&true) {
            if state.waiting >= self.max_waiting {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return Err(Busy { waiting: state.waiting });
            }
            state.waiting += 1;
            while !state.free.contains(&true) {
                state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.waiting -= 1;
        }
        let idle = state.free.iter().all(|&free| free) && state.waiting == 0;
        let count = if idle { want.clamp(1, state.free.len()) } else { 1 };
        let members: Vec<usize> = (0..state.free.len()).filter(|&index| state.free[index]).take(count).collect();
        for &member in &members {
            state.free[member] = false;
        }
        Ok(Grant { team: self, members })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        for worker in &self.workers {
            // Under the lock, so that a worker between its check and its sleep is not missed.
            let _asleep_or_before_its_check = worker.work.lock().unwrap_or_else(PoisonError::into_inner);
            worker.retired.store(true, Ordering::Release);
            worker.wake.notify_all();
        }
    }
}

impl Grant<'_> {
    /// The numbers of the threads, each below [`Team::threads`]. Nobody else holds them meanwhile.
    pub fn members(&self) -> &[usize] {
        &self.members
    }

    /// Runs `work` on the threads of the grant and waits for those that have begun. The first one is the caller's own thread.
    pub fn run(&self, work: &Work) {
        // Permit 0 has no worker: whoever holds it is its thread. A grant of several permits begins with permit 0.
        let helpers = self.members.iter().skip(1).map(|&member| &self.team.workers[member - 1]);
        let tickets: Vec<(&Arc<Worker>, u64)> =
            helpers.enumerate().map(|(index, worker)| (worker, worker.post(work.clone(), index + 1))).collect();
        work(0);
        for (worker, ticket) in tickets {
            if worker.take_back() {
                continue;
            }
            let mut spins = 0;
            while worker.finished.load(Ordering::Acquire) < ticket {
                spins += 1;
                if spins < JOIN_SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
            }
        }
    }
}

impl Drop for Grant<'_> {
    fn drop(&mut self) {
        let mut state = self.team.lock();
        for &member in &self.members {
            state.free[member] = true;
        }
        drop(state);
        self.team.freed.notify_all();
    }
}

impl Worker {
    /// Hands work over and answers the count of `finished` at which it is done. The permit makes sure that there is one poster.
    fn post(&self, work: Work, number: usize) -> u64 {
        let ticket = self.finished.load(Ordering::Acquire) + 1;
        let mut slot = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some((work, number));
        self.posted.store(true, Ordering::Release);
        drop(slot);
        self.wake.notify_one();
        ticket
    }

    /// Takes work back that was not begun; false: it was.
    fn take_back(&self) -> bool {
        let mut slot = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let taken_back = slot.take().is_some();
        if taken_back {
            self.posted.store(false, Ordering::Release);
        }
        taken_back
    }

    fn serve(&self) {
        while let Some((work, number)) = self.next() {
            // A panic in here is a bug that `engine` has caught and reported already; the caller must not wait for ever.
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(number)));
            if outcome.is_err() {
                tracing::error!("a worker thread panicked");
            }
            drop(work);
            self.finished.fetch_add(1, Ordering::Release);
        }
    }

    fn next(&self) -> Option<(Work, usize)> {
        for _ in 0..IDLE_SPINS {
            if self.posted.load(Ordering::Acquire) {
                break;
            }
            std::hint::spin_loop();
        }
        let mut slot = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(work) = slot.take() {
                self.posted.store(false, Ordering::Release);
                return Some(work);
            }
            if self.retired.load(Ordering::Acquire) {
                return None;
            }
            slot = self.wake.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn an_idle_team_works_together_and_a_busy_one_apart() {
        let team = Team::new(3, 8);
        let whole = team.acquire(3).expect("nobody waits");
        assert_eq!(whole.members(), [0, 1, 2]);
        drop(whole);
        let one = team.acquire(1).expect("nobody waits");
        let other = team.acquire(3).expect("two are free");
        assert_eq!((one.members(), other.members()), (&[0][..], &[1][..]));
    }

    /// Runs work that is not done before every one of `threads` threads has been called, so many times; answers whether each was called once a time.
    fn meet(team: &Team, threads: usize, times: usize) -> bool {
        let all = (0..threads).map(|number| 1usize << (8 * number)).sum::<usize>();
        let calls = Arc::new(AtomicUsize::new(0));
        for time in 1..=times {
            let counted = calls.clone();
            let work: Work = Arc::new(move |number| {
                counted.fetch_add(1 << (8 * number), Ordering::Relaxed);
                while number == 0 && counted.load(Ordering::Relaxed) != all * time {
                    std::thread::yield_now();
                }
            });
            team.acquire(threads).expect("nobody waits").run(&work);
        }
        calls.load(Ordering::Relaxed) == all * times
    }

    #[test]
    fn work_runs_once_on_each_thread() {
        assert!(meet(&Team::new(4, 8), 4, 200));
    }

    #[test]
    fn a_thread_that_does_not_start_is_not_counted_on() {
        let mut left = 1;
        let team = Team::with(4, 8, |name, worker| {
            left -= 1;
            if left < 0 {
                return Err(std::io::Error::other("no more threads"));
            }
            std::thread::Builder::new().name(name).spawn(move || worker.serve()).map(drop)
        });
        assert_eq!(team.threads(), 2);
        assert!(meet(&team, 2, 1));
    }

    #[test]
    fn who_has_not_begun_when_the_caller_is_through_is_not_called() {
        // A worker that sleeps for good.
        let team = Team::with(2, 8, |_, _| Ok(()));
        for _ in 0..3 {
            let calls = Arc::new(AtomicUsize::new(0));
            let counted = calls.clone();
            let work: Work = Arc::new(move |_| {
                counted.fetch_add(1, Ordering::Relaxed);
            });
            team.acquire(2).expect("nobody waits").run(&work);
            assert_eq!(calls.load(Ordering::Relaxed), 1);
        }
    }

    #[test]
    fn who_finds_the_queue_full_is_refused() {
        let team = Team::new(1, 0);
        let _held = team.acquire(1).expect("nobody waits");
        assert_eq!(team.acquire(1).err(), Some(Busy { waiting: 0 }));
        assert_eq!(team.refused(), 1);
    }

    #[test]
    fn a_waiting_request_gets_its_turn() {
        let team = Team::new(1, 4);
        let held = team.acquire(1).expect("nobody waits");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| team.acquire(1).map(|grant| grant.members().to_vec()));
            while team.waiting() == 0 {
                std::thread::yield_now();
            }
            drop(held);
            assert_eq!(waiting.join().expect("no panic"), Ok(vec![0]));
        });
    }
}
