//! Chip plugin `simd128`: kernels for WebAssembly SIMD with the relaxed instructions.
//!
//! Dense f32 work (convolutions, matrix products, elementwise arithmetic, pooling, normalisations, moves) runs in vector code written for
//! wasmtime's Cranelift backend; every other operator is the portable kernel, compiled here with the same instruction set.
//! Build with `RUSTFLAGS="-C target-feature=+simd128,+relaxed-simd"` for `wasm32-unknown-unknown` (`cargo xtask build-plugins` does). On
//! other targets the crate is empty.
//!
//! Reading order: `vector` and `math` (the words), `tile` and `gemm` (the heart), `conv`, `matmul`, then one file for each family.
//! `chip` says who runs what. Memory is touched by raw pointer: each kernel settles in `prepare` how much it reads and writes, the SDK
//! checks in `bind` that the views hold as much, and all of it stays inside the sandbox's own linear memory.
#![cfg(target_arch = "wasm32")]

#[cfg(not(all(target_feature = "simd128", target_feature = "relaxed-simd")))]
compile_error!("build with RUSTFLAGS=\"-C target-feature=+simd128,+relaxed-simd\"");

mod activation;
mod arguments;
mod attention;
mod blocks;
mod chip;
mod conv;
mod elementwise;
mod epilogue;
mod gemm;
mod int8;
mod math;
mod matmul;
mod moves;
mod panels;
mod pool;
mod rows;
mod tile;
mod vector;

sunmao_plugin_sdk::export_chip!(chip::Simd128);
