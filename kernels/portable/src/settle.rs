//! Small parts that all kernels are made of: a kernel from closures, its requirements, and how many shards are worth it.

use sunmao_plugin_sdk::abi::{Alias, Requirements};
use sunmao_plugin_sdk::{Bindings, Dispatch, Kernel, Result};

/// Elements that elementwise kernels hold in local memory at a time: long enough to spread the cost of a call, short enough for the stack and L1.
pub(crate) const CHUNK: usize = 256;

struct Settled<F> {
    requirements: Requirements,
    bind: F,
}

impl<F> Kernel for Settled<F>
where
    F: Fn(&Bindings<'_>) -> Result<Box<dyn Dispatch>> + Send + Sync,
{
    fn requirements(&self) -> Requirements {
        self.requirements.clone()
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        (self.bind)(bindings)
    }
}

/// A kernel whose dispatches `bind` makes.
pub(crate) fn kernel(
    requirements: Requirements,
    bind: impl Fn(&Bindings<'_>) -> Result<Box<dyn Dispatch>> + Send + Sync + 'static,
) -> Result<Box<dyn Kernel>> {
    Ok(Box::new(Settled { requirements, bind }))
}

/// A split pays from about this much work for each shard: below it the barrier costs too much of what is won.
const SHARD_NS: u64 = 10_000;

/// Requirements of work that takes about `ns` nanoseconds and splits into at most `units` parts.
pub(crate) fn needs(ns: u64, units: usize) -> Requirements {
    let worth = (ns / SHARD_NS).min(u64::from(crate::MAX_SHARDS)).min(units as u64).max(1);
    let mut needs = Requirements::simple();
    needs.shards = worth as u32;
    needs.estimated_ns = ns;
    needs
}

/// Output 0 may take the place of input `input`.
pub(crate) fn alias(input: usize) -> Alias {
    Alias { output: 0, input: input as u32 }
}
