//! The behaviour checks C-01 to C-60: plugins and files that mean harm, each beside a neighbour whose requests must all be answered right.
//!
//! What means harm comes from `conformance/guests`: components that misbehave on demand. Checks that ask something of the plugin under test run on
//! that; the others show what the host does with a plugin that would fail them, so they say as much about the host as about the plugin.

mod forge;
mod importer;
mod lab;
mod lifecycle;
mod limits;
mod loading;
mod memory;
mod probe;
mod results;

pub use lab::Depth;

use super::{Suite, Target};
use crate::memory::{give_back, keep_little, pss_without_files_bytes};
use lab::Lab;
use std::sync::{Mutex, PoisonError};
use sunmao_conformance::{BEHAVIOUR_SUITE, CaseFacts, Comparison, Outcome, Verdict};

/// One check.
struct Check {
    /// As the list of checks numbers it: `C-15`.
    id: &'static str,
    /// What happens, and what must come of it.
    title: &'static str,
    run: fn(&Lab) -> Result<(), Trouble>,
}

/// Why a check is not passed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    /// It failed: what was seen.
    Failed(String),
    /// It asks something of the plugin that the plugin does not have.
    NotHere(String),
}

impl<E: std::fmt::Display> From<E> for Trouble {
    fn from(error: E) -> Self {
        Trouble::Failed(error.to_string())
    }
}

/// Fails a check with what was seen, unless `holds`.
fn ensure(holds: bool, seen: impl FnOnce() -> String) -> Result<(), Trouble> {
    if holds { Ok(()) } else { Err(Trouble::Failed(seen())) }
}

fn checks() -> impl Iterator<Item = &'static Check> {
    [loading::CHECKS, limits::CHECKS, memory::CHECKS, results::CHECKS, lifecycle::CHECKS, importer::CHECKS]
        .into_iter()
        .flatten()
}

/// The suite.
#[derive(Default)]
pub struct Behaviour {
    depth: Depth,
    /// Checks run one at a time: they measure, and their neighbour shares the machine with them. The lab is kept for the next one.
    lab: Mutex<Option<Lab>>,
}

impl Behaviour {
    /// The suite with long checks that go on for `depth`.
    pub fn new(depth: Depth) -> Self {
        Self { depth, lab: Mutex::default() }
    }

    /// Does something in the lab for `target`, made if need be.
    fn in_lab<R>(&self, target: &Target, work: impl FnOnce(&Lab) -> R) -> Result<R, String> {
        let mut kept = self.lab.lock().unwrap_or_else(PoisonError::into_inner);
        let lab = match kept.take().filter(|lab| lab.plugin.number() == target.chip.plugin.number()) {
            Some(lab) => lab,
            None => Lab::new(target, self.depth)?,
        };
        Ok(work(kept.insert(lab)))
    }

    /// Runs every check on `target`, one after another in one lab, and weighs the process before and after.
    pub fn contain_all(&self, target: &Target) -> Result<Containment, String> {
        keep_little();
        self.in_lab(target, |lab| {
            // Once without counting: allocators and caches fill up on the first round.
            checks().for_each(|check| drop(lab.beside_a_neighbour(check.run)));
            let before = weight()?;
            let outcomes = checks().map(|check| (check.id, lab.beside_a_neighbour(check.run))).collect();
            let after = weight()?;
            Ok(Containment { outcomes, before, after })
        })?
    }
}

/// Bytes of the process, without files, and without what the allocator only keeps for later: how much that is depends on who freed last.
fn weight() -> Result<u64, String> {
    give_back();
    pss_without_files_bytes().map_err(|error| error.to_string())
}

/// What became of all checks.
#[derive(Debug)]
pub struct Containment {
    outcomes: Vec<(&'static str, Result<(), Trouble>)>,
    /// Bytes of the process (its proportional share, without files) before the checks.
    pub before: u64,
    /// The same after them.
    pub after: u64,
}

impl Containment {
    /// How many checks there are.
    pub fn checks(&self) -> usize {
        self.outcomes.len()
    }

    /// How many of them passed.
    pub fn contained(&self) -> usize {
        self.outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).count()
    }

    /// What was not contained: the check and what was seen.
    pub fn escaped(&self) -> Vec<(&'static str, String)> {
        let seen = |(id, outcome): &(&'static str, Result<(), Trouble>)| match outcome {
            Err(Trouble::Failed(seen)) => Some((*id, seen.clone())),
            _ => None,
        };
        self.outcomes.iter().filter_map(seen).collect()
    }

    /// How much larger the process is than it was, as a fraction.
    pub fn growth(&self) -> f64 {
        self.after as f64 / self.before.max(1) as f64 - 1.0
    }
}

impl Suite for Behaviour {
    fn name(&self) -> &'static str {
        BEHAVIOUR_SUITE
    }

    fn cases(&self) -> Vec<CaseFacts> {
        let facts =
            |check: &Check| CaseFacts { name: check.id.into(), suite: BEHAVIOUR_SUITE.into(), ..CaseFacts::default() };
        checks().map(facts).collect()
    }

    fn run(&self, case: &CaseFacts, target: &Target) -> Outcome {
        let check = checks().find(|check| check.id == case.name).expect("the suite gives out only its own checks");
        match self.in_lab(target, |lab| lab.beside_a_neighbour(check.run)) {
            Ok(Ok(())) => Outcome::pass(Comparison { values: 1, rule: check.title.into(), ..Comparison::default() }),
            Err(why) | Ok(Err(Trouble::NotHere(why))) => Outcome::failed(Verdict::Declined, why),
            Ok(Err(Trouble::Failed(seen))) => Outcome::failed(Verdict::Wrong, format!("{}: {seen}", check.title)),
        }
    }

    fn show(&self, case: &CaseFacts) -> Vec<String> {
        checks().filter(|check| check.id == case.name).map(|check| check.title.to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_sixty_checks_in_order() {
        let expected: Vec<String> = (1..=60).map(|number| format!("C-{number:02}")).collect();
        assert_eq!(checks().map(|check| check.id).collect::<Vec<_>>(), expected);
    }
}
