//! Cases that once found a fault, run with every suite whatever the seed.

/// An operator, a seed, a number, and what was wrong.
pub const REGRESSIONS: &[(&str, u64, u64, &str)] = &[];
