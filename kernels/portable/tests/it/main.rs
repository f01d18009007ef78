//! The kernels against plain `f64` loops that share no code with them, and the table of operators against what `prepare` accepts.

#![allow(clippy::unwrap_used)]

mod claims;
mod convolutions;
mod elementwise;
mod harness;
mod indexing;
mod integers;
mod matrices;
mod moves;
mod narrow;
mod normalisations;
mod oracle;
mod pools;
mod reductions;
mod resizing;
