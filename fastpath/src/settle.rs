//! Small parts that all kernels are made of: a kernel from closures, its requirements, and how many shards are worth it.

use sunmao_plugin_sdk::abi::{Alias, PackedConstant, Requirements};
use sunmao_plugin_sdk::{Bindings, Dispatch, Error, Kernel, Reader, Result, Writer};

/// The largest number of shards that a run is split into.
const MAX_SHARDS: usize = 64;

/// A split pays from about this much work for each shard: below it the barrier costs too much of what is won.
const SHARD_NS: f64 = 10_000.0;

/// What every form of a constant is aligned to.
pub(crate) const PACKED_ALIGNMENT: u32 = 64;

/// Floats of workspace that a shard may ask for: 512 KiB.
pub(crate) const WORKSPACE_FLOATS: usize = 128 * 1024;

/// Writes the packed form of a constant: called with its plain bytes and a destination of the promised size.
type Pack = Box<dyn Fn(Reader<'_, u8>, Writer<'_, u8>) + Send + Sync>;

/// How a packed constant of a kernel is packed. They stand in the order of those that the kernel requires.
pub(crate) struct Packing {
    /// Bytes of the plain constant.
    pub(crate) source_bytes: usize,
    pub(crate) pack: Pack,
}

struct Settled<F> {
    requirements: Requirements,
    packings: Vec<Packing>,
    bind: F,
}

impl<F> Kernel for Settled<F>
where
    F: Fn(&Bindings<'_>) -> Result<Box<dyn Dispatch>> + Send + Sync,
{
    fn requirements(&self) -> Requirements {
        self.requirements.clone()
    }

    fn pack(&self, input: u32, source: Reader<'_, u8>, packed: Writer<'_, u8>) -> Result<()> {
        let mut forms = self.requirements.packed.iter().zip(&self.packings);
        let Some((constant, packing)) = forms.find(|(constant, _)| constant.input == input) else {
            return Err(Error::invalid("this constant is not packed").at(input as usize));
        };
        if source.len() != packing.source_bytes || packed.len() != constant.bytes as usize {
            return Err(Error::invalid(format!(
                "packing {} bytes into {}, where {} into {} was agreed",
                source.len(),
                packed.len(),
                packing.source_bytes,
                constant.bytes
            ))
            .at(input as usize));
        }
        (packing.pack)(source, packed);
        Ok(())
    }

    fn bind(&self, bindings: &Bindings<'_>) -> Result<Box<dyn Dispatch>> {
        (self.bind)(bindings)
    }
}

/// A kernel whose dispatches `bind` makes, and as many packings as the requirements name packed constants.
pub(crate) fn kernel(
    requirements: Requirements,
    packings: impl IntoIterator<Item = Packing>,
    bind: impl Fn(&Bindings<'_>) -> Result<Box<dyn Dispatch>> + Send + Sync + 'static,
) -> Box<dyn Kernel> {
    let packings = Vec::from_iter(packings);
    debug_assert_eq!(requirements.packed.len(), packings.len());
    Box::new(Settled { requirements, packings, bind })
}

/// Requirements of work that takes about `ns` nanoseconds and splits into at most `units` parts.
pub(crate) fn needs(ns: f64, units: usize) -> Requirements {
    let mut needs = Requirements::simple();
    needs.shards = ((ns / SHARD_NS) as usize).min(units).clamp(1, MAX_SHARDS) as u32;
    needs.estimated_ns = ns as u64;
    needs
}

/// Output 0 may take the place of input `input`.
pub(crate) fn alias(input: usize) -> Alias {
    Alias { output: 0, input: input as u32 }
}

/// Input `input` in a form of `floats` floats; none when that is too large for an offset.
pub(crate) fn packed(input: usize, floats: usize, key: String) -> Option<PackedConstant> {
    let bytes = u32::try_from(floats.checked_mul(4)?).ok()?;
    Some(PackedConstant { input: input as u32, bytes, align: PACKED_ALIGNMENT, key })
}
