//! Every fast path against its portable twin, on the same cases: both are bound as the host binds them, in an arena with guards around every tensor,
//! and where memory ends behind each.

mod attention;
mod blocks;
mod bytes;
mod edges;
mod harness;
mod lines;
mod moves;
mod pointwise;
mod products;
mod quantised;
mod recurrent;
mod reductions;
mod registry;
mod spread;
mod windows;
mod winograd;
