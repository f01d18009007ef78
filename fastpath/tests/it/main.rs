//! Every fast path against its portable twin, on the same cases: both are bound as the host binds them, in an arena with guards around every tensor.

mod harness;
mod lines;
mod pointwise;
mod products;
mod registry;
mod windows;
