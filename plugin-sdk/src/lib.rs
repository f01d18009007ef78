//! Write a Sunmao plugin: a chip (a set of kernels) or an importer (a reader of model files).
//!
//! A chip author implements [`Chip`] and calls [`export_chip!`]; the SDK checks every view that the host binds, keeps the dispatch
//! table, and hands kernels typed, bounds-checked windows on the host's memory. Nothing here is specific to WebAssembly except
//! the exported functions themselves, so the same kernels compile natively: `sunmao-portable` is the host's own fallback.
//!
//! An importer turns the default feature off and `importer` on, implements `importer::Importer` and calls `export_importer!`.
//!
//! The interface is `wit/since_v0.1.0/kernel.wit`; read it first, its comments are the contract.

#[cfg(feature = "chip")]
mod attributes;
#[cfg(feature = "chip")]
mod bind;
mod bindings;
#[cfg(feature = "chip")]
mod chip;
mod error;
#[cfg(feature = "importer")]
pub mod importer;
#[cfg(feature = "chip")]
mod memory;

/// Types of the kernel ABI, as generated from the WIT text.
pub mod abi {
    #[cfg(feature = "chip")]
    pub use crate::bindings::chip::exports::sunmao::kernel::device::{
        Alias, Attribute, EpilogueStep, Extent, Info, Kv, LayoutChoice, Operand, Operation, OperatorSupport,
        PackedConstant, Quantisation, Requirements, Signature, Tolerance, Unit, View,
    };
}

#[cfg(feature = "chip")]
pub use crate::{
    attributes::Attributes,
    bind::{Bindings, check_views},
    chip::{Chip, Dispatch, Kernel, export, log},
    memory::{Call, Element, Input, Output, Reader, Writer},
};
#[cfg(feature = "chip")]
pub use bindings::chip::sunmao::kernel::log::Level as LogLevel;
pub use error::{Error, ErrorCode, Result};

#[doc(hidden)]
#[cfg(feature = "chip")]
pub use bindings::chip as __chip_bindings;
#[doc(hidden)]
#[cfg(feature = "importer")]
pub use bindings::importer as __importer_bindings;
