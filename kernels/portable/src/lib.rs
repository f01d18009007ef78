//! The reference kernels: plain scalar Rust, written to be read. As a component they are the `portable` chip; compiled natively they are
//! the host's own fallback, with the same bits.
//!
//! One file for each family of operators; `table` is what the chip claims, and `prepare` accepts what the table says. Everything is
//! settled in `prepare` and `bind`: a run allocates nothing. The windows on memory, and with them all `unsafe`, are the SDK's.

#![cfg_attr(not(feature = "plugin"), forbid(unsafe_code))]

mod activation;
mod affine_grid;
mod arguments;
mod attention;
mod batch_statistics;
mod block_matmul;
mod blocks;
mod cast;
mod choose;
mod col2im;
mod compare;
mod conv;
mod conv_transpose;
mod cumulate;
mod deform_conv;
mod determinant;
mod einsum;
mod element;
mod elementwise;
mod epilogue;
mod fourier;
mod gather;
mod grid_sample;
mod linear_attention;
mod lp_normalise;
mod matmul;
mod minifloat;
mod moves;
mod narrow;
mod normalise;
mod number;
mod order;
mod pad;
mod pool;
mod product;
mod quantise;
mod quantised_add;
mod range;
mod recurrent;
mod reduce;
mod regions;
mod requantise;
mod resize;
mod reverse;
mod rotary;
mod scaled_product;
mod scatter;
mod settle;
mod softmax;
mod strided;
mod table;
mod transform;
mod unary;
mod unpool;
mod wide;
mod window;

use sunmao_plugin_sdk::abi::{Info, Operation, OperatorSupport};
use sunmao_plugin_sdk::{Chip, Kernel, Result};

/// The chip.
pub struct Portable;

impl Chip for Portable {
    fn describe() -> Info {
        Info {
            id: "portable".into(),
            vendor: "sunmao".into(),
            name: "Portable reference kernels".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            isa: "wasm-scalar".into(),
            vector_bits: 0,
            alignment: ALIGNMENT,
            max_shards: MAX_SHARDS,
            deterministic: true,
            units: Vec::new(),
            ext: Vec::new(),
        }
    }

    fn operators() -> Vec<OperatorSupport> {
        operators()
    }

    fn prepare(operation: &Operation) -> Result<Box<dyn Kernel>> {
        prepare(operation)
    }
}

/// Bytes; every view and workspace starts at a multiple of it.
pub const ALIGNMENT: u32 = 64;
/// The largest number of shards that a run is split into.
pub const MAX_SHARDS: u32 = 64;

/// What the chip runs, row by row.
pub fn operators() -> Vec<OperatorSupport> {
    table::table().iter().map(table::Row::support).collect()
}

/// Makes one operation at concrete shapes ready.
pub fn prepare(operation: &Operation) -> Result<Box<dyn Kernel>> {
    table::prepare(operation)
}

#[cfg(all(feature = "plugin", target_arch = "wasm32"))]
sunmao_plugin_sdk::export_chip!(Portable);
