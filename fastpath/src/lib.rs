//! Native kernels for the instruction sets that the host knows, and the registry that it consults before it asks a chip plugin.
//!
//! A fast path is a [`Kernel`] as any other: it meets the host at offsets in the arena, packs constants, runs in shards. Nearly all
//! `unsafe` of the project is here, because vectors are loaded and stored through raw pointers: another instance may write the arena while a
//! kernel reads it, so no Rust slice of it ever exists. None of these kernels takes an index from memory.
//!
//! Every fast path has a twin in `sunmao-portable`; the tests run both on the same cases. Whether fast paths are used at all is the
//! host's decision. On an architecture without fast paths everything compiles and the registry is empty.
//!
//! # Adding an instruction set
//!
//! An instruction set is a token, a folder and a line. What is no vector code stands beside the folders and is the same for all: reading an operation
//! (`request`, `bytes`), shapes, shards and bindings (`unary`, `pairs`, `softmax`, `matmul`, `product`), epilogues (`epilogue`, `steps`).
//!
//! 1. `isa.rs`: a token that only detection makes, its name in reports, and a variant of [`Isa`] if it is an architecture's best.
//! 2. A folder with the kernels, compiled for its architecture alone. `Vectors` for the token brings the operators that are loops over floats, a
//!    `Product` brings `MatMul` and `Gemm`; rows of its own bring everything else. `rows()` names them all, better ones first. `Probes`, and
//!    an arm in `machine.rs`, measure the roofs of the machine.
//! 3. `registry.rs`: the folder's `rows` in `SETS`, in front of those that it is better than.
//! 4. `tests/it`: the cases run against whatever the registry has. Tests of operators that the set lacks say so by `ignore`; `registry.rs` there lists what it has.
//!
//! `neon` is the short example. `cargo xtask cross` runs the tests for its architecture on a machine of another.

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
#[cfg(target_arch = "aarch64")]
mod neon;
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
