//! What an operation would take on the emulated machine: a launch, its bytes over the bus, its arithmetic on the units.

use crate::CORES;
use sunmao_plugin_sdk::abi::Requirements;

/// From the host's word to the first cycle.
const LAUNCH_NS: u64 = 2_000;
/// The bus, shared by all cores.
pub(crate) const MEMORY_BYTES_PER_NS: u64 = 32;
/// One core's matrix unit: 16 by 64 multipliers at 1 GHz.
pub(crate) const MATRIX_MACS_PER_NS: u64 = 1024;
/// One core's vector unit: 16 lanes at 1 GHz.
pub(crate) const VECTOR_OPS_PER_NS: u64 = 16;
/// Steps of the emulation below which another shard costs more than it saves.
const STEPS_PER_SHARD: u64 = 1 << 15;

/// What an operation has to do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    /// Bytes that come and go over the bus.
    pub(crate) bytes: u64,
    /// Multiplications with addition on the matrix units.
    pub(crate) macs: u64,
    /// Operations on the vector units.
    pub(crate) vector: u64,
}

impl Work {
    /// Into how many shards it splits, when it has `tasks` parts, and how long one of them takes.
    pub(crate) fn requirements(self, tasks: usize) -> Requirements {
        let steps = self.macs.saturating_add(self.vector);
        let shards = (steps / STEPS_PER_SHARD).clamp(1, u64::from(CORES)).min(tasks.max(1) as u64);
        let compute = self.macs / MATRIX_MACS_PER_NS + self.vector / VECTOR_OPS_PER_NS;
        // The bus is everybody's: shards do not make it faster.
        let estimated_ns = LAUNCH_NS + self.bytes / MEMORY_BYTES_PER_NS + compute / shards;
        Requirements { shards: shards as u32, estimated_ns, ..Requirements::simple() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_launch_and_bytes_and_arithmetic() {
        let small = Work { bytes: 3200, macs: 0, vector: 160 }.requirements(10);
        assert_eq!((small.shards, small.estimated_ns), (1, 2_000 + 100 + 10));
        let large = Work { bytes: 0, macs: 1 << 30, vector: 0 }.requirements(1000);
        assert_eq!((large.shards, large.estimated_ns), (4, 2_000 + (1 << 18)));
        assert_eq!(Work { macs: 1 << 30, ..Work::default() }.requirements(1).shards, 1);
    }
}
