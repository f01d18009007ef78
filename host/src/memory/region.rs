//! A region: bytes that several address spaces may map, as a file descriptor and a length.

use super::MemoryError;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd};

/// Bytes behind a file descriptor: a memfd, or a file of the host's own store.
#[derive(Debug)]
pub struct Region {
    file: File,
    bytes: u64,
}

impl Region {
    /// A new region of zeros. Sparse: a page takes memory when it is first written to. `name` shows in `/proc`.
    pub fn anonymous(name: &str, bytes: u64) -> Result<Self, MemoryError> {
        let printable: String = name.chars().filter(|c| *c != '\0').take(64).collect();
        let name = CString::new(printable).expect("NUL characters were left out");
        // SAFETY: `name` is a string with a NUL at its end and lives through the call.
        let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
        if fd < 0 {
            return Err(MemoryError::last("memfd_create", bytes));
        }
        // SAFETY: `fd` was opened just now and nothing else owns it.
        let file = unsafe { File::from_raw_fd(fd) };
        file.set_len(bytes).map_err(|source| MemoryError::System { what: "size of a memfd", bytes, source })?;
        Ok(Self { file, bytes })
    }

    /// A file that the host itself owns. Never a file of somebody else: who truncates a mapped file kills the process that mapped it.
    pub fn from_file(file: File) -> Result<Self, MemoryError> {
        let bytes = file
            .metadata()
            .map_err(|source| MemoryError::System { what: "size of a region's file", bytes: 0, source })?
            .len();
        Ok(Self { file, bytes })
    }

    /// Length in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Fixes content and length for ever. For a memfd that has no shared writable mapping any more.
    pub fn seal(&self) -> Result<(), MemoryError> {
        let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL;
        // SAFETY: fcntl on an open descriptor with an integer argument touches no memory of ours.
        if unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_ADD_SEALS, seals) } != 0 {
            return Err(MemoryError::last("sealing a region", self.bytes));
        }
        Ok(())
    }

    /// Writes bytes without a mapping.
    pub fn write_at(&self, at: u64, from: &[u8]) -> Result<(), MemoryError> {
        use std::os::unix::fs::FileExt;
        let bytes = from.len() as u64;
        self.check("writing to a region", at, bytes)?;
        self.file.write_all_at(from, at).map_err(|source| MemoryError::System {
            what: "writing to a region",
            bytes,
            source,
        })
    }

    /// Reads bytes without a mapping.
    pub fn read_at(&self, at: u64, into: &mut [u8]) -> Result<(), MemoryError> {
        use std::os::unix::fs::FileExt;
        let bytes = into.len() as u64;
        self.check("reading a region", at, bytes)?;
        self.file.read_exact_at(into, at).map_err(|source| MemoryError::System {
            what: "reading a region",
            bytes,
            source,
        })
    }

    pub(crate) fn check(&self, what: &'static str, at: u64, bytes: u64) -> Result<(), MemoryError> {
        match at.checked_add(bytes) {
            Some(end) if end <= self.bytes => Ok(()),
            _ => Err(MemoryError::OutOfRange { what, at, bytes, size: self.bytes }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_region_can_be_read_but_not_written() {
        let region = Region::anonymous("test", 8192).unwrap();
        region.write_at(4096, b"weights").unwrap();
        region.seal().unwrap();
        assert!(region.write_at(0, b"x").is_err());
        let mut back = [0; 7];
        region.read_at(4096, &mut back).unwrap();
        assert_eq!(&back, b"weights");
    }

    #[test]
    fn ranges_beyond_the_end_are_refused() {
        let region = Region::anonymous("test", 4096).unwrap();
        assert!(matches!(region.write_at(4095, b"ab"), Err(MemoryError::OutOfRange { .. })));
        assert!(matches!(region.read_at(u64::MAX, &mut [0; 2]), Err(MemoryError::OutOfRange { .. })));
    }
}
