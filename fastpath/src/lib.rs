//! Native kernels for the instruction sets that the host knows, and the registry that it consults before it asks a chip plugin.
//!
//! A fast path is a [`Kernel`] as any other: it meets the host at offsets in the arena, packs constants, runs in shards. Nearly all
//! `unsafe` of the project is here, because vectors are loaded and stored through raw pointers: another instance may write the arena while a
//! kernel reads it, so no Rust slice of it ever exists. None of these kernels takes an index from memory.
//!
//! Every fast path has a twin in `sunmao-portable`; the tests run both on the same cases. Whether fast paths are used at all is the
//! host's decision. On an architecture without fast paths everything compiles and the registry is empty.

// What fast paths are made with is used up by AVX2 alone so far; elsewhere some of it, or all, has no user.
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]

mod activation;
#[cfg(target_arch = "x86_64")]
mod avx2;
mod bytes;
mod epilogue;
mod isa;
pub mod machine;
mod matmul;
mod pairs;
mod product;
mod registry;
mod request;
mod settle;
mod softmax;
mod steps;
mod unary;
mod vectors;

pub use isa::{Avx2, Dotprod, Isa, Neon};
pub use registry::{Entry, Found, find, registered};

use sunmao_plugin_sdk::abi::Operation;
use sunmao_plugin_sdk::{Kernel, Result};

/// Makes `operation` ready as a native kernel. None: no fast path is registered for it on this machine, and somebody else must run it.
pub fn prepare(operation: &Operation) -> Option<Result<Box<dyn Kernel>>> {
    find(operation, |_| true).map(|found| Ok(found.kernel))
}
