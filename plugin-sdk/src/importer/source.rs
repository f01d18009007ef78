//! Where an importer's bytes come from.

use super::{Error, Result, Source};

/// Most bytes that one [`Bytes::read`] may ask for.
pub const MAX_READ_BYTES: u32 = 16 << 20;

/// A readable range of bytes that the host granted: [`Source`] inside a component, [`super::testing::MemorySource`] in a native test.
pub trait Bytes: Sized {
    /// What a weight names these bytes by; 0 is the model file.
    fn id(&self) -> u32;
    /// The name without any directory.
    fn name(&self) -> String;
    /// Number of bytes. Fixed for the whole import.
    fn size(&self) -> u64;
    /// At most [`MAX_READ_BYTES`]. Short only at the end; empty at or beyond it.
    fn read(&self, offset: u64, length: u32) -> Result<Vec<u8>>;
    /// Another file of the same model, by relative name.
    fn open(&self, relative: &str) -> Result<Self>;

    /// Exactly `length` bytes from `offset`; `invalid-data` when the source ends before.
    fn read_exact(&self, offset: u64, length: u32) -> Result<Vec<u8>> {
        let bytes = self.read(offset, length)?;
        if bytes.len() == length as usize {
            return Ok(bytes);
        }
        Err(Error::data(format!("the file ends at byte {}, {length} bytes were expected at {offset}", self.size()))
            .at_byte(offset)
            .in_source(self.id()))
    }
}

impl Bytes for Source {
    fn id(&self) -> u32 {
        Source::id(self)
    }

    fn name(&self) -> String {
        Source::name(self)
    }

    fn size(&self) -> u64 {
        Source::size(self)
    }

    fn read(&self, offset: u64, length: u32) -> Result<Vec<u8>> {
        Source::read(self, offset, length)
    }

    fn open(&self, relative: &str) -> Result<Self> {
        Source::open(self, relative)
    }
}
