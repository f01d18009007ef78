//! What the author of an importer implements: formats, a probe, and the import itself.
//!
//! ```
//! use sunmao_plugin_sdk::importer::{Bytes, Format, Importer, Result, Sink, Source, Builder, Kv};
//!
//! struct Toy;
//! impl Importer for Toy {
//!     fn formats() -> Vec<Format> {
//!         vec![Format::new("toy", "Toy", "1", &["toy"])]
//!     }
//!     fn probe(_name: &str, _size: u64, prefix: &[u8], _suffix: &[u8]) -> u8 {
//!         if prefix.starts_with(b"TOY!") { 100 } else { 0 }
//!     }
//!     fn import(source: &Source, out: &Builder, _options: &[Kv]) -> Result<()> {
//!         read_toy(source, out)
//!     }
//! }
//! # #[cfg(target_arch = "wasm32")]
//! sunmao_plugin_sdk::export_importer!(Toy);
//!
//! /// Generic over where the bytes come from and where the graph goes, so that a native test can run it.
//! fn read_toy<B: Bytes, S: Sink>(source: &B, out: &S) -> Result<()> {
//!     let _magic = source.read(0, 4)?;
//!     out.finish_block(0, &[], &[])
//! }
//! ```
//!
//! [`Source`] and [`Builder`] exist inside a component only. A parser that is written against the traits [`Bytes`] and [`Sink`]
//! runs natively too, over [`testing::MemorySource`] and [`testing::Recorder`]: that is where its tests and its fuzzer live.

mod sink;
mod source;
pub mod testing;

pub use crate::bindings::importer::exports::sunmao::kernel::importer::Format;
pub use crate::bindings::importer::sunmao::kernel::sink::{
    Builder, Content, Dim, Node, Quantisation, Role, State, Symbol, Value, Weight,
};
pub use crate::bindings::importer::sunmao::kernel::sources::{Source, inflate};
pub use crate::bindings::importer::sunmao::kernel::types::{Attribute, Error, ErrorCode, Kv};
pub use sink::Sink;
pub use source::{Bytes, MAX_READ_BYTES};

/// Largest literal that [`Content::Literal`] may carry, in bytes.
pub const MAX_LITERAL_BYTES: usize = 1024;

/// What every fallible function of an importer answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A reader of model files. A fresh instance does each import.
pub trait Importer: 'static {
    /// The formats that it reads. Always the same answer.
    fn formats() -> Vec<Format>;
    /// How sure it is that the file is its own, 0 to 100, judged by the name, the size, the first min(size, 64 KiB) bytes and the last
    /// min(size, 4 KiB).
    fn probe(name: &str, size: u64, prefix: &[u8], suffix: &[u8]) -> u8;
    /// Reads the model and describes it to `out`. Bulk content is handed on as a [`Weight`], never read.
    fn import(source: &Source, out: &Builder, options: &[Kv]) -> Result<()>;
}

impl Format {
    /// A format by its id, its name and versions for a person, and its file extensions (without the dot, lower case).
    pub fn new(id: &str, name: &str, versions: &str, extensions: &[&str]) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            versions: versions.into(),
            extensions: extensions.iter().map(|&extension| extension.into()).collect(),
            ext: Vec::new(),
        }
    }
}

impl Error {
    /// A bound was exceeded: of the ABI, of the host, or of the parser.
    #[cold]
    pub fn limit(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::LimitExceeded, message)
    }

    /// Names the source that [`Error::at_byte`] counts in, when it is not the model file itself.
    #[must_use]
    pub fn in_source(mut self, id: u32) -> Self {
        self.ext.push(Kv { key: "source".into(), val: Attribute::Integer(i64::from(id)) });
        self
    }
}

/// Refuses options that the importer does not know, naming those that it does. Call it first in [`Importer::import`].
pub fn check_options(options: &[Kv], known: &[&str]) -> Result<()> {
    let Some(unknown) = options.iter().find(|option| !known.contains(&option.key.as_str())) else {
        return Ok(());
    };
    let names = if known.is_empty() { "it takes none".into() } else { format!("it takes {}", known.join(", ")) };
    let key: String = unknown.key.chars().take(64).collect();
    Err(Error::invalid(format!("the importer has no option `{key}`: {names}")))
}

/// Exports an [`Importer`] as the component's `importer` interface.
#[macro_export]
macro_rules! export_importer {
    ($importer:ty) => {
        type __SunmaoGuest = $crate::importer::export::Exported<$importer>;
        $crate::__importer_bindings::export!(__SunmaoGuest with_types_in $crate::__importer_bindings);
    };
}

#[doc(hidden)]
pub mod export {
    //! The exported functions, generic over the importer. Not for direct use: see `export_importer!`.

    use super::*;
    use crate::bindings::importer::exports::sunmao::kernel::importer::Guest;
    use std::marker::PhantomData;

    /// Carries the importer's type to the generated trait.
    pub struct Exported<I>(PhantomData<I>);

    impl<I: Importer> Guest for Exported<I> {
        fn formats() -> Vec<Format> {
            I::formats()
        }

        fn probe(name: String, size: u64, prefix: Vec<u8>, suffix: Vec<u8>) -> u8 {
            I::probe(&name, size, &prefix, &suffix).min(100)
        }

        fn import_model(source: &Source, out: &Builder, options: Vec<Kv>) -> Result<()> {
            I::import(source, out, &options)
        }
    }
}
