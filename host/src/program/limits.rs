//! How much one request may do in a model with loops: such a model may run for ever, and nothing else stops it.

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
}

impl Default for Limits {
    fn default() -> Self {
        Self { steps: 16 << 20, iterations: 4 << 20, seconds: 600, collected_bytes: 4 << 30 }
    }
}
