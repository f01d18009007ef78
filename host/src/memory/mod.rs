//! Memory that the host owns: regions (files without a name, or of the store) and the host's own mappings of them.
//!
//! Weights and activations lie in a [`Region`]; the host sees it through a [`Mapping`], and every plugin instance maps the same pages
//! into its linear memory (`plugin`'s work). Who lies where is `plan`'s question. One of the few rooms that hold `unsafe`.

mod heap;
mod mapping;
mod measure;
mod region;

pub use heap::{give_back, keep_little};
pub use mapping::{Mapping, Sharing};
pub(crate) use mapping::{PAGE_BYTES, Reservation};
pub use measure::{Memory, address_space_bytes, available_bytes, pss_bytes, pss_without_files_bytes};
pub use region::Region;

/// What can go wrong with memory.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The kernel refused.
    #[error("{what} ({bytes} bytes): {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Of how much.
        bytes: u64,
        /// Why not.
        source: std::io::Error,
    },
    /// A range that is not inside what it should lie in.
    #[error("{what}: bytes {at} to {} leave the {size} that are there", at.saturating_add(*bytes))]
    OutOfRange {
        /// What was tried.
        what: &'static str,
        /// First byte.
        at: u64,
        /// Length.
        bytes: u64,
        /// Bytes that are there.
        size: u64,
    },
    /// Mappings begin and end at page boundaries.
    #[error("{what}: {value} is not a multiple of the page size")]
    Misaligned {
        /// What was tried.
        what: &'static str,
        /// The number at fault.
        value: u64,
    },
    /// A figure of the system could not be read.
    #[error("cannot tell {what} from {path}")]
    Unmeasured {
        /// Which figure.
        what: &'static str,
        /// Where it was looked for.
        path: &'static str,
    },
}

impl MemoryError {
    fn last(what: &'static str, bytes: u64) -> Self {
        Self::System { what, bytes, source: std::io::Error::last_os_error() }
    }
}
