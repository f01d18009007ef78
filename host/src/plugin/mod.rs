//! Plugins: components loaded, checked, compiled, and called under a deadline and a memory cap. The only room that names wasmtime.
//!
//! A file becomes a [`Plugin`] by [`Runtime::load`]: read and pinned (`load`), inspected (`inspect`), given safepoints (`instrument`), compiled or
//! taken from the cache (`cache`), and asked what it is (`check`). A chip is run by [`ChipInstance`], whose memory the host owns (`linear_memory`) and
//! whose calls the `watchdog` ends when they take too long; an importer by [`importer::import`]. What chips compute is `device`'s business,
//! what importers read `import`'s.

mod background;
mod bindings;
mod cache;
mod check;
mod chip;
mod digest;
mod error;
mod hex;
pub mod importer;
mod inert_wasi;
mod inspect;
mod instance;
mod instrument;
mod linear_memory;
mod load;
mod log;
mod runtime;
mod signature;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod watchdog;

pub use chip::{ChipInstance, KernelHandle};
pub use digest::{BadDigest, Digest};
pub use error::PluginError;
pub use importer::Format;
pub use inspect::ABI_VERSION;
pub use load::{ChipFacts, Compiled, ImporterFacts, Kind, Limits, LoadOptions, Plugin};
pub use runtime::{INSTANCE_ADDRESS_BYTES, Runtime, RuntimeOptions};
pub use signature::{PublicKey, SecretKey, signature_path};
