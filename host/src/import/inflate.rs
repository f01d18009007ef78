//! Unpacks a range of a file into memory that the host owns.

use crate::memory::{MemoryError, Region};
use crate::plugin::importer::Rejection;
use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use sunmao_plugin_sdk::ErrorCode;

/// Deflate makes at most this many bytes of one.
const DEFLATE_FACTOR_MAX: u64 = 1032;

/// Unpacks `length` bytes at `offset` into exactly `unpacked` bytes.
pub(super) fn inflate(file: &File, offset: u64, length: u64, method: &str, unpacked: u64) -> Result<File, Rejection> {
    if !matches!(method, "deflate" | "zlib" | "gzip") {
        return Err(Rejection::new(ErrorCode::NotFound, "packing methods that this host knows: deflate, zlib, gzip"));
    }
    let wrong = |what: &str| Rejection::new(ErrorCode::InvalidData, format!("packed data {what}: the file is damaged"));
    // Before anything is taken for it.
    if unpacked > length.saturating_mul(DEFLATE_FACTOR_MAX) {
        return Err(wrong("cannot become that large"));
    }
    let packed = BufReader::with_capacity(64 << 10, Range { file, at: offset, left: length });
    let mut reader: Box<dyn Read> = match method {
        "deflate" => Box::new(DeflateDecoder::new(packed)),
        "zlib" => Box::new(ZlibDecoder::new(packed)),
        _ => Box::new(GzDecoder::new(packed)),
    };
    let memory = |error: MemoryError| Rejection::new(ErrorCode::OutOfMemory, error.to_string());
    let region = Region::anonymous("unpacked", unpacked).map_err(memory)?;
    let mut piece = vec![0; 256 << 10];
    let mut at = 0;
    loop {
        let got = reader.read(&mut piece).map_err(|error| wrong(&format!("does not unpack ({error})")))?;
        if got == 0 {
            break;
        }
        if at + got as u64 > unpacked {
            return Err(wrong("unpacks to more than the file says"));
        }
        region.write_at(at, &piece[..got]).map_err(memory)?;
        at += got as u64;
    }
    if at != unpacked {
        return Err(wrong("unpacks to less than the file says"));
    }
    let file = region.fd().as_fd().try_clone_to_owned();
    file.map(File::from).map_err(|error| Rejection::new(ErrorCode::Internal, error.to_string()))
}

/// Part of a file, from its start to its end.
struct Range<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Range<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let got = self.file.read_at(&mut into[..length], self.at)?;
        self.at += got as u64;
        self.left -= got as u64;
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::read::{DeflateEncoder, GzEncoder};

    fn packed(mut encoder: impl Read) -> (File, u64) {
        let mut bytes = b"before".to_vec();
        let length = encoder.read_to_end(&mut bytes).unwrap();
        bytes.extend(b"behind");
        let region = Region::anonymous("packed", bytes.len() as u64).unwrap();
        region.write_at(0, &bytes).unwrap();
        (File::from(region.fd().try_clone_to_owned().unwrap()), length as u64)
    }

    #[test]
    fn what_was_packed_comes_out() {
        let content: Vec<u8> = (0..1_000_000u32).map(|i| (i / 1000) as u8).collect();
        let (file, length) = packed(DeflateEncoder::new(&content[..], Compression::fast()));
        let out = inflate(&file, 6, length, "deflate", 1_000_000).unwrap();
        let mut back = vec![0; 1_000_000];
        out.read_exact_at(&mut back, 0).unwrap();
        assert_eq!(back, content);
        let (file, length) = packed(GzEncoder::new(&content[..], Compression::fast()));
        inflate(&file, 6, length, "gzip", 1_000_000).unwrap();
    }

    #[test]
    fn sizes_must_be_right_and_bombs_are_not_unpacked() {
        let content = vec![0; 1_000_000];
        let (file, length) = packed(DeflateEncoder::new(&content[..], Compression::best()));
        let code = |unpacked, method: &str| inflate(&file, 6, length, method, unpacked).unwrap_err().code;
        assert_eq!(code(999_999, "deflate"), ErrorCode::InvalidData);
        assert_eq!(code(1_000_001, "deflate"), ErrorCode::InvalidData);
        assert_eq!(code(1 << 40, "deflate"), ErrorCode::InvalidData);
        assert_eq!(code(1_000_000, "zlib"), ErrorCode::InvalidData);
        assert_eq!(code(1_000_000, "zstd"), ErrorCode::NotFound);
        assert_eq!(inflate(&file, 6, length / 2, "deflate", 1_000_000).unwrap_err().code, ErrorCode::InvalidData);
    }
}
