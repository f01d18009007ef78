//! Runs many cases, several at a time. A case that panics is a crash, one that does not come back in time is a timeout; the run goes on.

use super::{Suite, Target};
use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};
use sunmao_conformance::{CaseFacts, CaseResult, Outcome, Verdict};

/// How often the supervisor looks for cases that are over their deadline.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Names of the threads that run cases begin so.
const THREAD_NAME: &str = "case-";
/// Threads that may be left behind, stuck in native code that nobody can stop. Beyond that the machine is lost to them.
const MAX_LEFT_BEHIND: usize = 32;

/// How a run is done.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions {
    /// Cases at the same time, at least 1.
    pub jobs: usize,
}

/// Progress, for whoever shows it.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Cases done, this one included.
    pub done: usize,
    /// Cases in all.
    pub total: usize,
    /// What was done.
    pub result: &'a CaseResult,
}

/// Why there are no results.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No case was selected: such a run could only look green.
    #[error("no case is selected: look at the names and profiles given")]
    NothingSelected,
    /// Too many threads hang.
    #[error("{MAX_LEFT_BEHIND} cases hang in native code and cannot be stopped; the last one was {last}")]
    TooManyHang {
        /// The case that was one too many.
        last: String,
    },
    /// No thread could be started.
    #[error("cannot start a thread for cases: {0}")]
    NoThread(#[from] std::io::Error),
}

/// Runs the cases of `suites` that are `wanted` on `target`, and answers in the order of the suites. `watch` hears of each when it is done.
pub fn run(
    suites: &[Arc<dyn Suite>],
    wanted: &dyn Fn(&CaseFacts) -> bool,
    target: &Target,
    options: RunOptions,
    watch: &mut dyn FnMut(Event<'_>),
) -> Result<Vec<CaseResult>, RunError> {
    let mut work = Vec::new();
    for suite in suites {
        let cases = suite.cases().into_iter().filter(|case| wanted(case));
        work.extend(cases.map(|case| (suite.clone(), case)));
    }
    if work.is_empty() {
        return Err(RunError::NothingSelected);
    }
    keep_panics_of_cases();
    let (told, heard) = channel();
    let mut supervisor = Supervisor {
        results: vec![None; work.len()],
        work: Arc::new(work),
        target: target.clone(),
        next: 0,
        done: 0,
        workers: HashMap::new(),
        started: 0,
        left_behind: 0,
        told,
        heard,
    };
    for _ in 0..options.jobs.clamp(1, supervisor.results.len()) {
        supervisor.start_worker()?;
    }
    supervisor.supervise(watch)
}

type Work = Arc<Vec<(Arc<dyn Suite>, CaseFacts)>>;

/// What a worker tells when a case is done.
struct Told {
    worker: usize,
    outcome: Outcome,
    took: Duration,
}

/// A thread that runs the cases it is given; it ends when nobody can give it one.
struct Worker {
    give: Sender<usize>,
    /// The case that it runs, and since when.
    running: Option<(usize, Instant)>,
}

struct Supervisor {
    work: Work,
    target: Target,
    results: Vec<Option<CaseResult>>,
    /// First case that nobody was given.
    next: usize,
    done: usize,
    workers: HashMap<usize, Worker>,
    started: usize,
    left_behind: usize,
    told: Sender<Told>,
    heard: Receiver<Told>,
}

impl Supervisor {
    fn supervise(mut self, watch: &mut dyn FnMut(Event<'_>)) -> Result<Vec<CaseResult>, RunError> {
        while self.done < self.results.len() {
            match self.heard.recv_timeout(LOOK_EVERY) {
                Ok(told) => self.hear(told, watch),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("the supervisor holds a sender itself"),
            }
            self.give_up_on_the_late(watch)?;
        }
        Ok(self.results.into_iter().map(|result| result.expect("every case is done")).collect())
    }

    fn start_worker(&mut self) -> Result<(), RunError> {
        let number = self.started;
        let (give, given) = channel();
        let (work, target, told) = (self.work.clone(), self.target.clone(), self.told.clone());
        let serve = move || serve(number, &given, &work, &target, &told);
        std::thread::Builder::new().name(format!("{THREAD_NAME}{number}")).spawn(serve)?;
        self.started += 1;
        self.workers.insert(number, Worker { give, running: None });
        self.give_next(number);
        Ok(())
    }

    fn give_next(&mut self, number: usize) {
        let worker = self.workers.get_mut(&number).expect("only workers that are there are given work");
        worker.running = (self.next < self.work.len()).then(|| (self.next, Instant::now()));
        if worker.running.is_some() {
            // It waits for this; should its thread be gone, the deadline tells.
            let _ = worker.give.send(self.next);
            self.next += 1;
        }
    }

    fn hear(&mut self, told: Told, watch: &mut dyn FnMut(Event<'_>)) {
        // Of a worker that was given up nothing is heard any more.
        let Some(worker) = self.workers.get_mut(&told.worker) else { return };
        if let Some((index, _)) = worker.running.take() {
            self.give_next(told.worker);
            self.record(index, told.outcome, told.took, watch);
        }
    }

    fn record(&mut self, index: usize, outcome: Outcome, took: Duration, watch: &mut dyn FnMut(Event<'_>)) {
        let facts = self.work[index].1.clone();
        self.done += 1;
        let result =
            self.results[index].insert(CaseResult { facts, outcome, took_ms: took.as_secs_f64() * 1e3, waiver: None });
        watch(Event { done: self.done, total: self.work.len(), result });
    }

    fn give_up_on_the_late(&mut self, watch: &mut dyn FnMut(Event<'_>)) -> Result<(), RunError> {
        let deadline = self.target.deadline;
        let late = |(number, worker): (&usize, &Worker)| {
            worker.running.filter(|(_, since)| since.elapsed() > deadline).map(|(index, _)| (*number, index))
        };
        let late: Vec<(usize, usize)> = self.workers.iter().filter_map(late).collect();
        for (number, index) in late {
            self.workers.remove(&number);
            self.left_behind += 1;
            let reason = format!("no answer within {} ms", deadline.as_millis());
            self.record(index, Outcome::failed(Verdict::Timeout, reason), deadline, watch);
            if self.left_behind > MAX_LEFT_BEHIND {
                return Err(RunError::TooManyHang { last: self.work[index].1.name.clone() });
            }
            self.start_worker()?;
        }
        Ok(())
    }
}

thread_local! {
    /// Where the last panic of this thread was.
    static PANICKED_AT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Panics of cases are verdicts: their place is kept for the reason, and they are not printed. Everybody else's are, as before.
fn keep_panics_of_cases() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().name().is_some_and(|name| name.starts_with(THREAD_NAME)) {
                let place =
                    panic.location().map_or_else(String::new, |place| format!(" at {}:{}", place.file(), place.line()));
                PANICKED_AT.with_borrow_mut(|at| *at = place);
            } else {
                before(panic);
            }
        }));
    });
}

fn serve(worker: usize, given: &Receiver<usize>, work: &Work, target: &Target, told: &Sender<Told>) {
    while let Ok(index) = given.recv() {
        let (suite, case) = &work[index];
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| suite.run(case, target)))
            .unwrap_or_else(|panic| Outcome::failed(Verdict::Crash, words(&*panic)));
        if told.send(Told { worker, outcome, took: start.elapsed() }).is_err() {
            return;
        }
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    PANICKED_AT.with_borrow(|place| format!("the host panicked{place}: {text}"))
}

#[cfg(test)]
mod tests;
