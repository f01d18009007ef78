//! Cases that once found a fault, run with every suite whatever the seed.

/// An operator, a seed, a number, and what was wrong.
pub const REGRESSIONS: &[(&str, u64, u64, &str)] = &[(
    "Slice",
    1,
    43,
    "a start in front of the first element, going backwards, gave nothing instead of the first element",
)];
