//! What cases are run on.

use crate::config::FastPaths;
use crate::device::Chip;
use crate::plugin::Runtime;
use crate::scheduler::Team;
use crate::session::{Host, Options};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Requests never queue: a session runs one case on its own team.
const QUEUE: usize = 1;
/// Time for one case where nobody says otherwise: loading, planning and running, on a machine that does other things as well.
const DEADLINE: Duration = Duration::from_secs(60);

/// A chip, and how much of the host may help it.
#[derive(Clone)]
pub struct Target {
    /// Loads further plugins, for suites that bring guests of their own.
    pub runtime: Arc<Runtime>,
    /// Chips and importers.
    pub host: Host,
    /// The chip under test, one of the host's registry.
    pub chip: Arc<Chip>,
    /// Whether native fast paths may stand in for its kernels.
    pub fast_paths: bool,
    /// No host fallback: what the chip does not run is declined.
    pub strict: bool,
    /// Threads for one case.
    pub threads: usize,
    /// Time for one case.
    pub deadline: Duration,
    /// The folder of the hostile components that behaviour checks load; none: where `cargo xtask build-plugins --all` leaves them.
    pub guests: Option<PathBuf>,
}

impl Target {
    /// A chip of the registry with everything that a served model has: the host's own kernels where the chip has none, and fast paths.
    pub fn whole_host(runtime: Arc<Runtime>, host: Host, chip: Arc<Chip>) -> Self {
        Self { runtime, host, chip, fast_paths: true, strict: false, threads: 1, deadline: DEADLINE, guests: None }
    }

    /// The same chip with nobody's help.
    pub fn alone(self) -> Self {
        Self { fast_paths: false, strict: true, ..self }
    }

    /// How a session for a case is made.
    pub fn options(&self) -> Options {
        Options {
            chip: self.chip.name.clone(),
            threads: self.threads,
            fast_paths: if self.fast_paths { FastPaths::Auto } else { FastPaths::Off },
            strict: self.strict,
        }
    }

    /// The host, with threads that no other case shares.
    pub fn host_for_a_case(&self) -> Host {
        let host = Host::new(self.host.registry.clone(), Team::new(self.threads, QUEUE));
        Host { limits: self.host.limits, ..host }
    }
}
