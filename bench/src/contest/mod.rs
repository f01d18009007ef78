//! Runtimes side by side: all of them hold the same model in processes of their own and run it in turns, on the same inputs, in the same minutes.
//!
//! A time is worth something only beside others of the same run, and only when the outputs are right: both are looked after here, once, for
//! `compare` and for every figure that is a ratio.

mod judge;
mod own;
mod runner;

pub(crate) use judge::Verdict;
pub(crate) use own::Own;
pub(crate) use runner::{Facts, Runner, Runtime, Task};

use crate::figure::median;
use crate::models::{Files, Index, Kind, Model};
use anyhow::{Result, bail};
use serde::Serialize;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

/// Threads of a runtime spin for a while after its burst; the next one waits them out.
const PAUSE: Duration = Duration::from_millis(30);

/// Where everything is that runtimes are made of.
#[derive(Clone)]
pub(crate) struct Means {
    /// Built plugins.
    pub(crate) plugins: PathBuf,
    /// A Python with `bench/peers/requirements.txt`.
    pub(crate) python: Option<PathBuf>,
    /// The folder whose `node_modules` has onnxruntime-web.
    pub(crate) node_peers: PathBuf,
    /// The program of `bench/peers/rust`.
    pub(crate) rust_peers: PathBuf,
    /// A folder for what does not last.
    pub(crate) scratch: PathBuf,
}

/// A runtime with so many threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entrant {
    pub(crate) runtime: Runtime,
    pub(crate) threads: usize,
}

/// How long a contest is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Length {
    /// Turns of each runtime.
    pub(crate) rounds: usize,
    /// Seconds of each turn.
    pub(crate) seconds: f64,
}

impl Length {
    /// What figures take.
    pub(crate) fn of(quick: bool) -> Self {
        if quick { Self { rounds: 3, seconds: 0.15 } } else { Self { rounds: 5, seconds: 0.5 } }
    }
}

/// What came of one entrant.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Lane {
    pub(crate) runtime: &'static str,
    pub(crate) threads: usize,
    #[serde(skip)]
    pub(crate) entrant: Entrant,
    /// Why it has no times.
    pub(crate) error: Option<String>,
    pub(crate) facts: Option<Facts>,
    /// Whether its outputs are right.
    pub(crate) verdict: Option<Verdict>,
    /// The median of each round, milliseconds.
    pub(crate) rounds_ms: Vec<f64>,
}

impl Lane {
    /// The median of the rounds' medians, milliseconds; none where it has no times.
    pub(crate) fn ms(&self) -> Option<f64> {
        (self.error.is_none() && !self.rounds_ms.is_empty()).then(|| median(self.rounds_ms.clone()))
    }

    /// Whether its outputs are known to be wrong.
    pub(crate) fn is_wrong(&self) -> bool {
        self.verdict.is_some_and(|verdict| !verdict.is_right())
    }

    /// The fastest and the slowest round, milliseconds.
    pub(crate) fn spread(&self) -> (f64, f64) {
        let fold = |pick: fn(f64, f64) -> f64| self.rounds_ms.iter().copied().reduce(pick).unwrap_or(f64::NAN);
        (fold(f64::min), fold(f64::max))
    }
}

/// One model on one set of inputs, run by all.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Contest {
    pub(crate) model: String,
    pub(crate) kind: Kind,
    pub(crate) case: String,
    pub(crate) batch: usize,
    pub(crate) lanes: Vec<Lane>,
}

impl Contest {
    /// What came of a runtime with so many threads.
    pub(crate) fn lane(&self, runtime: Runtime, threads: usize) -> Option<&Lane> {
        self.lanes.iter().find(|lane| lane.entrant == Entrant { runtime, threads })
    }

    /// Its time, or why there is none.
    pub(crate) fn ms(&self, runtime: Runtime, threads: usize) -> Result<f64> {
        match self.lane(runtime, threads) {
            None => bail!("{runtime} did not take part"),
            Some(lane) => match (&lane.error, lane.ms()) {
                (Some(error), _) => bail!("{error}"),
                (None, Some(ms)) => Ok(ms),
                (None, None) => bail!("{runtime} ran nothing"),
            },
        }
    }

    /// The time of `theirs` over that of `ours`.
    pub(crate) fn ratio(&self, ours: Entrant, theirs: Entrant) -> Result<f64> {
        Ok(self.ms(theirs.runtime, theirs.threads)? / self.ms(ours.runtime, ours.threads)?)
    }
}

/// Lets all entrants run a case in turns. One that cannot is in the result with its reason; so is one of ours whose outputs are off.
pub(crate) fn hold(
    means: &Means,
    index: &Index,
    model: &Model,
    files: &Files,
    entrants: &[Entrant],
    length: Length,
) -> Result<Contest> {
    let case = index.case(files)?;
    let task = Task::new(index, model, files);
    let mut running: Vec<(Lane, Option<Runner>)> = Vec::new();
    for &entrant in entrants {
        let Entrant { runtime, threads } = entrant;
        let (error, facts, verdict, rounds_ms) = (None, None, None, Vec::new());
        let mut lane = Lane { runtime: runtime.name(), threads, entrant, error, facts, verdict, rounds_ms };
        let started = Runner::start(means, runtime, threads, &task, &[]).and_then(|runner| {
            lane.verdict = Some(judge::judge(model.kind, &case, &runner.outputs)?);
            lane.facts = Some(runner.facts.clone());
            Ok(runner)
        });
        let runner = match started {
            // A peer's time counts even so: nobody is to look good because a peer is wrong. The tables say it.
            Ok(_) if runtime.is_ours() && lane.is_wrong() => {
                let off = lane.verdict.map_or(f64::NAN, |verdict| verdict.off);
                lane.error = Some(format!("outputs deviate by {off:.1e}: its speed does not count"));
                None
            }
            Ok(runner) => Some(runner),
            Err(error) => {
                lane.error = Some(format!("{error:#}"));
                None
            }
        };
        running.push((lane, runner));
    }
    for round in 0..length.rounds {
        for turn in 0..running.len() {
            // Another one begins each round, so that nobody always follows the same.
            let place = (turn + round) % running.len();
            let (lane, runner) = &mut running[place];
            let Some(asked) = runner else { continue };
            sleep(PAUSE);
            match asked.burst(length.seconds) {
                Ok(times) => lane.rounds_ms.push(median(times)),
                Err(error) => {
                    lane.error = Some(format!("{error:#}"));
                    *runner = None;
                }
            }
        }
    }
    Ok(Contest {
        model: model.name.clone(),
        kind: model.kind,
        case: case.name,
        batch: files.batch,
        lanes: running.into_iter().map(|(lane, _)| lane).collect(),
    })
}
