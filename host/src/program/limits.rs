//! How much one request may do in a model with loops: such a model may run for ever, and nothing else stops it.

use crate::config::Loops;

/// Bounds on one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Steps of programs, those of loop bodies counted in every run.
    pub steps: u64,
    /// Runs of loop bodies, all loops together.
    pub iterations: u64,
    /// Seconds after which no further step begins. A step has deadlines of its own.
    pub seconds: u64,
    /// Bytes of what loops collect run by run.
    pub collected_bytes: u64,
    /// Blocks inside one another.
    pub nesting: u64,
}

impl From<&Loops> for Limits {
    fn from(loops: &Loops) -> Self {
        let Loops { iterations, steps, seconds, collected_mib, nesting } = *loops;
        Self { steps, iterations, seconds, collected_bytes: collected_mib << 20, nesting }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::from(&Loops::default())
    }
}
