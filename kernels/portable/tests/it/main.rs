//! The kernels against plain `f64` loops that share no code with them, and the table of operators against what `prepare` accepts.

#![allow(clippy::unwrap_used)]

mod attention;
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
mod places;
mod pools;
mod quantised;
mod recurrent;
mod reductions;
mod resizing;
mod spectral;
mod sums;
