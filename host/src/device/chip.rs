//! A chip that models can be planned on, and the record of what it did wrong.

use super::{FastPathRecord, FastPathRules};
use crate::config::FastPaths;
use crate::plugin::Plugin;
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many failures ...
const FAILURES_MAX: usize = 3;
/// ... within this time, and the chip is set aside.
const FAILURES_WITHIN: Duration = Duration::from_secs(60);

/// A chip that models can be planned on.
pub struct Chip {
    /// As `--chip` and plugins.toml name it.
    pub name: String,
    /// Further names.
    pub aliases: Vec<String>,
    /// Which native fast paths may stand in for its kernels.
    pub fast_paths: FastPaths,
    /// What runs it.
    pub plugin: Arc<Plugin>,
    /// Its place among the entries of plugins.toml; none: no entry names it.
    entry: Option<usize>,
    record: Record,
}

/// What a chip did wrong since it was loaded.
#[derive(Default)]
struct Record {
    faults: AtomicU64,
    broken_promises: AtomicU64,
    /// The last failures, oldest first; at most `FAILURES_MAX`.
    recent: Mutex<VecDeque<Instant>>,
    set_aside: AtomicBool,
}

impl Chip {
    /// A chip without faults that no entry of plugins.toml names.
    pub fn new(name: String, aliases: Vec<String>, fast_paths: FastPaths, plugin: Arc<Plugin>) -> Self {
        Self { name, aliases, fast_paths, plugin, entry: None, record: Record::default() }
    }

    /// The chip of entry number `index` of plugins.toml.
    pub fn configured(self, index: usize) -> Self {
        Self { entry: Some(index), ..self }
    }

    /// Whether an entry of plugins.toml names it.
    pub fn is_configured(&self) -> bool {
        self.entry.is_some()
    }

    /// Which fast paths may stand in for its kernels where the command line has that `flag`.
    pub fn fast_path_rules(&self, flag: &FastPaths) -> FastPathRules<'static> {
        FastPathRules::new(flag.clone(), self.fast_paths.clone(), FastPathRecord::of_process())
    }

    /// Notes that a request failed twice on this chip.
    pub fn mark(&self) {
        self.record.faults.fetch_add(1, Ordering::Relaxed);
        self.failed();
    }

    /// Notes that it said yes to an operation and then trapped, hung, or answered what the ABI rules out.
    pub fn broke_promise(&self) {
        self.record.broken_promises.fetch_add(1, Ordering::Relaxed);
        self.failed();
    }

    /// How many requests failed twice on it since it was loaded.
    pub fn faults(&self) -> u64 {
        self.record.faults.load(Ordering::Relaxed)
    }

    /// How many operations it said yes to and did not make ready, since it was loaded.
    pub fn broken_promises(&self) -> u64 {
        self.record.broken_promises.load(Ordering::Relaxed)
    }

    /// Whether it failed so often within a minute that nothing is planned on it any more, until it is loaded anew.
    pub fn is_set_aside(&self) -> bool {
        self.record.set_aside.load(Ordering::Relaxed)
    }

    fn failed(&self) {
        let now = Instant::now();
        let mut recent = self.record.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|then| now.duration_since(*then) < FAILURES_WITHIN);
        recent.push_back(now);
        if recent.len() >= FAILURES_MAX {
            recent.clear();
            if !self.record.set_aside.swap(true, Ordering::Relaxed) {
                tracing::error!(
                    chip = %self.name,
                    plugin = %self.plugin.path().display(),
                    faults = self.faults(),
                    broken_promises = self.broken_promises(),
                    "the chip failed {FAILURES_MAX} times within a minute and is set aside: its models go on without it; replace its file for models that are loaded later, or start again"
                );
            }
        }
    }

    /// Smaller is better: the entries of plugins.toml in their order, then what nobody ranked by its vectors and by how much it runs.
    pub(super) fn rank(&self) -> (usize, Reverse<(u32, usize)>) {
        let size = self.plugin.chip().map_or((0, 0), |facts| (facts.info.vector_bits, facts.operators.len()));
        (self.entry.unwrap_or(usize::MAX), Reverse(size))
    }

    pub(super) fn answers_to(&self, name: &str) -> bool {
        self.name == name || self.aliases.iter().any(|alias| alias == name)
    }
}
