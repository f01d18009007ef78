//! Importer plugin for ONNX model files.
//!
//! A scanner walks the protobuf message through ranged reads of bounded size, so a model of many gigabytes needs memory for its nodes
//! and names only: the bytes of weights are handed on as ranges. Everything that the file says is hostile until it was checked here, and
//! every refusal names the byte and what to do.
//!
//! The parser is an ordinary library, generic over where the bytes come from and where the graph goes ([`import`], [`probe`]); the component
//! is the thin layer in [`Onnx`]. Operators are not judged here: names, attributes and shapes are the host's to check.

mod attribute;
mod graph;
mod model;
mod node;
mod probe;
mod scan;
mod scope;
mod shape;
mod tensor;
#[cfg(test)]
mod tests;

pub use model::import;
pub use probe::probe;

use sunmao_plugin_sdk::importer::{Builder, Format, Importer, Kv, Result, Source, check_options};

/// Oldest opset of the default domain that is read. Whether an operator still is what it was then is the host's question.
pub const OPSET_MIN: u64 = 1;
/// Newest opset of the default domain that is read.
pub const OPSET_MAX: u64 = 28;

/// The importer behind the component's exports.
pub struct Onnx;

impl Importer for Onnx {
    fn formats() -> Vec<Format> {
        let versions = format!("IR version 3 and up, opsets {OPSET_MIN} to {OPSET_MAX}");
        vec![Format::new("onnx", "ONNX", &versions, &["onnx"])]
    }

    fn probe(name: &str, size: u64, prefix: &[u8], _suffix: &[u8]) -> u8 {
        probe(name, size, prefix)
    }

    fn import(source: &Source, out: &Builder, options: &[Kv]) -> Result<()> {
        check_options(options, &[])?;
        import(source, out)
    }
}

#[cfg(target_arch = "wasm32")]
sunmao_plugin_sdk::export_importer!(Onnx);
