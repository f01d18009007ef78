//! Runs conformance cases on a chip: through the whole host, or on the plugin alone.
//!
//! A [`Suite`] brings cases and runs one of them on a [`Target`]; [`run()`] does so for all that are wanted, several at a time, each
//! under a deadline, and nothing that a case does ends the run. Cases, judgement and reports are `sunmao_conformance`'s; the
//! command line is `cli`'s.

mod answer;
pub mod behaviour;
mod blame;
mod examine;
pub mod kernels;
mod model_file;
pub mod onnx;
mod runner;
mod target;

pub use examine::{Selection, compare_fast_paths, examine, performance_card, profile_cases};
pub use runner::{Event, RunError, RunOptions, run};
pub use target::Target;

use std::sync::Arc;
use sunmao_conformance::{CaseFacts, Outcome};

/// The seed of drawn cases where nobody asks for another: profiles and lists of known gaps are about its cases.
pub const USUAL_SEED: u64 = 1;

/// All suites, in the order in which they are run and reported, their drawn cases from `seed`.
pub fn suites(seed: u64) -> Vec<Arc<dyn Suite>> {
    vec![
        Arc::new(onnx::OnnxNodes),
        Arc::new(kernels::Property::new(seed, kernels::PROPERTY_CASES)),
        Arc::new(kernels::Graphs::new(seed)),
        Arc::new(behaviour::Behaviour::default()),
    ]
}

/// A set of cases, and how one of them is run.
pub trait Suite: Send + Sync {
    /// Its name, as in [`CaseFacts::suite`].
    fn name(&self) -> &'static str;

    /// All its cases, always in the same order.
    fn cases(&self) -> Vec<CaseFacts>;

    /// Runs one of [`Suite::cases`] and judges it. It may block (the runner gives up on it when the deadline is over) and may panic
    /// (the runner makes that a crash), and it is called from several threads at the same time.
    fn run(&self, case: &CaseFacts, target: &Target) -> Outcome;

    /// The inputs of a case and what is expected, a line each, for reports.
    fn show(&self, case: &CaseFacts) -> Vec<String> {
        let _ = case;
        Vec::new()
    }

    /// Whether its verdicts speak of the host with a chip rather than of the chip's own kernels: it is run once, not for each chip.
    fn is_about_the_host(&self) -> bool {
        false
    }
}
