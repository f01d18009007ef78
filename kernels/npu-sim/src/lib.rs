//! An accelerator, emulated: matrix units that know 8-bit integers alone, vector units for a short list of f32 operators, and tensors in
//! blocks of 16 channels. Everything else it declines, and the host runs that itself.
//!
//! It is built from the plugin SDK and its documentation alone, as a vendor would build it: whatever this chip cannot say about itself, the ABI
//! lacks. Times are those of an invented machine (`cost`), not of the emulation.

mod blocked;
mod conv;
mod cost;
mod matrix;
mod operation;
mod pool;
mod requantise;
mod table;
mod vector;
mod walk;
mod window;

#[cfg(test)]
mod tests;

use sunmao_plugin_sdk::abi::{Attribute, Info, Kv, Operation, OperatorSupport, Unit};
use sunmao_plugin_sdk::{Chip, Kernel, Result, export_chip};

/// Bytes: one burst of the emulated memory bus.
const ALIGNMENT: u32 = 256;
/// Cores, each of which runs a shard.
const CORES: u32 = 4;

struct NpuSim;

impl Chip for NpuSim {
    fn describe() -> Info {
        let unit = |kind: &str, name: &str, facts: &[(&str, u64)]| Unit {
            kind: kind.into(),
            name: name.into(),
            ext: facts.iter().map(|&(key, n)| Kv { key: key.into(), val: Attribute::Integer(n as i64) }).collect(),
        };
        let per_second = |per_ns: u64| per_ns * 1_000_000_000 * u64::from(CORES);
        Info {
            id: "npu-sim".into(),
            vendor: "sunmao".into(),
            name: "Emulated accelerator with int8 matrix units".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            isa: "wasm-scalar".into(),
            vector_bits: 0,
            alignment: ALIGNMENT,
            max_shards: CORES,
            deterministic: true,
            units: vec![
                // A multiplication and an addition are two operations.
                unit("compute", "matrix-int8", &[("operations-per-second", 2 * per_second(cost::MATRIX_MACS_PER_NS))]),
                unit("compute", "vector-f32", &[("operations-per-second", per_second(cost::VECTOR_OPS_PER_NS))]),
                unit("memory", "dram", &[("bytes-per-second", cost::MEMORY_BYTES_PER_NS * 1_000_000_000)]),
            ],
            ext: Vec::new(),
        }
    }

    fn operators() -> Vec<OperatorSupport> {
        table::rows().iter().map(table::Row::support).collect()
    }

    fn prepare(operation: &Operation) -> Result<Box<dyn Kernel>> {
        table::prepare(operation)
    }
}

export_chip!(NpuSim);
