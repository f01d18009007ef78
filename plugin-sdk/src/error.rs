//! How a plugin says no: one line for a person, and where the fault is.
//!
//! The two worlds generate a type each from the same WIT record. A plugin sees one of them as [`Error`]: the chip's when the feature
//! `chip` is on, else the importer's, which is also at [`crate::importer::Error`].

#[cfg(feature = "chip")]
pub use crate::bindings::chip::sunmao::kernel::types::{Error, ErrorCode};
#[cfg(all(feature = "importer", not(feature = "chip")))]
pub use crate::bindings::importer::sunmao::kernel::types::{Error, ErrorCode};

/// What every fallible function of a plugin answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! constructors {
    ($wire:path) => {
        const _: () = {
            use $wire::{Error, ErrorCode};

            impl Error {
                /// An error with a code and a line for a person: what is wrong, then what to do about it.
                #[cold]
                pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
                    Self { code, message: message.into(), index: None, offset: None, ext: Vec::new() }
                }

                /// Well formed, but not what this plugin does.
                #[cold]
                pub fn unsupported(message: impl Into<String>) -> Self {
                    Self::new(ErrorCode::Unsupported, message)
                }

                /// The caller broke a rule of the ABI.
                #[cold]
                pub fn invalid(message: impl Into<String>) -> Self {
                    Self::new(ErrorCode::InvalidArgument, message)
                }

                /// A file's content, or a constant's, is damaged or contradicts itself.
                #[cold]
                pub fn data(message: impl Into<String>) -> Self {
                    Self::new(ErrorCode::InvalidData, message)
                }

                /// Names the operand (inputs first, then outputs) or the dispatch at fault.
                #[must_use]
                pub fn at(mut self, index: usize) -> Self {
                    self.index = u32::try_from(index).ok();
                    self
                }

                /// Names the byte at fault.
                #[must_use]
                pub fn at_byte(mut self, offset: u64) -> Self {
                    self.offset = Some(offset);
                    self
                }
            }
        };
    };
}

#[cfg(feature = "chip")]
constructors!(crate::bindings::chip::sunmao::kernel::types);
#[cfg(feature = "importer")]
constructors!(crate::bindings::importer::sunmao::kernel::types);
