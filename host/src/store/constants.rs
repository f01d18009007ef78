//! Constants in the form that kernels want, in files that are mapped.
//!
//! A file is a head of one page, and behind it the segment as it lies in the arena. The head carries an HMAC over the sums of all constants, which are
//! compared each time before the file is mapped. Mapped files can be cut short by whoever may write to them, which would kill the host: the
//! folder is open to the host's user alone, files are never written to once they have their name, and an evicted one lives until it is unmapped.

use super::folder::{HEADER_BYTES, Kind, create_new, discard, note_use, open_own};
use super::shelf::Shelf;
use super::sum::{PIECE_BYTES, Sum};
use crate::memory::{PAGE_BYTES, Region};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

const KIND: Kind = Kind { ending: "constants", magic: b"SUNMAOK1", what: "a file of packed constants" };
/// The segment starts on a page of its own.
const HEAD_BYTES: u64 = PAGE_BYTES;
/// Below this another thread costs more than it saves.
const WORTH_A_THREAD_BYTES: u64 = 4 << 20;

/// One constant: where it lies in the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// From the segment's start.
    pub(crate) at: u64,
    /// Its length.
    pub(crate) bytes: u64,
}

/// A segment that can be mapped.
#[derive(Debug)]
pub(crate) struct Constants {
    /// Holds it.
    pub(crate) region: Region,
    /// Where it starts there.
    pub(crate) offset: u64,
}

/// A segment that is being filled. Its file is gone when it is dropped before it is finished.
pub(crate) struct Draft<'a> {
    shelf: &'a Shelf,
    constants: Constants,
    temporary: Temporary,
}

/// A name that is given up when its file has another one.
struct Temporary(PathBuf);

impl Shelf {
    /// The segment of that name, if it is there and undamaged.
    pub(crate) fn constants(&self, name: &[u8], bytes: u64, pieces: &[Piece], threads: usize) -> Option<Constants> {
        let identity = self.identity(name);
        let folder = &self.store.folder;
        let path = folder.path(&KIND, &identity);
        let found = open_own(&path).ok().and_then(|file| {
            let opened = self.check(&file, &identity, bytes, pieces, threads).and_then(|()| {
                note_use(&file);
                Region::from_file(file).map_err(|error| error.to_string())
            });
            opened.inspect_err(|reason| folder.refused(&KIND, &path, reason)).ok()
        });
        self.count(found.is_some());
        Some(Constants { region: found?, offset: HEAD_BYTES })
    }

    /// Room on disk for a segment; none: there is none, and the log says why.
    pub(crate) fn draft(&self, bytes: u64) -> Option<Draft<'_>> {
        let folder = &self.store.folder;
        let make = || -> io::Result<Draft<'_>> {
            folder.check_size(HEAD_BYTES + bytes)?;
            let temporary = Temporary(folder.temporary(&folder.path(&KIND, &[]))?);
            let file = create_new(&temporary.0)?;
            file.set_len(HEAD_BYTES + bytes)?;
            let region = Region::from_file(file).map_err(io::Error::other)?;
            Ok(Draft { shelf: self, constants: Constants { region, offset: HEAD_BYTES }, temporary })
        };
        make().inspect_err(|error| tracing::warn!(%error, "packed constants are not kept")).ok()
    }

    /// The sum of what stands at one place of a segment.
    pub(crate) fn sum(&self, bytes: &[u8]) -> Sum {
        self.store.sums.sum(bytes)
    }

    fn check(&self, file: &File, identity: &[u8], bytes: u64, pieces: &[Piece], threads: usize) -> Result<(), String> {
        let failed = |error: io::Error| error.to_string();
        if file.metadata().map_err(failed)?.len() != HEAD_BYTES + bytes {
            return Err("cut short, or longer than it was written".into());
        }
        let mut head = [0; HEADER_BYTES];
        file.read_exact_at(&mut head, 0).map_err(failed)?;
        let mac = head.strip_prefix(KIND.magic).ok_or("of another version, or something else")?;
        let sums = self.sums(file, pieces, threads).map_err(failed)?;
        self.mark(identity, bytes, &sums).verify_slice(mac).map_err(|_| "changed since it was written".into())
    }

    fn mark(&self, identity: &[u8], bytes: u64, sums: &[Sum]) -> Hmac<Sha256> {
        let mut mac = self.store.folder.mac_of(&KIND, identity).chain_update(bytes.to_le_bytes());
        for number in sums.as_flattened() {
            mac.update(&number.to_le_bytes());
        }
        mac
    }

    /// The sums of all constants, in order, read on several threads.
    fn sums(&self, file: &File, pieces: &[Piece], threads: usize) -> io::Result<Vec<Sum>> {
        let parts: Vec<Piece> = pieces.iter().flat_map(|piece| piece.parts()).collect();
        let total: u64 = pieces.iter().map(|piece| piece.bytes).sum();
        let helpers = ((total / WORTH_A_THREAD_BYTES) as usize).min(threads.saturating_sub(1));
        let next = AtomicUsize::new(0);
        let work = || -> io::Result<Vec<(usize, Sum)>> {
            let mut buffer = vec![0; PIECE_BYTES];
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(part) = parts.get(index) else { return Ok(done) };
                let bytes = &mut buffer[..part.bytes as usize];
                file.read_exact_at(bytes, HEAD_BYTES + part.at)?;
                done.push((index, self.sum(bytes)));
            }
        };
        let mut sums = vec![Sum::default(); parts.len()];
        let done = std::thread::scope(|scope| {
            let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(work)).collect();
            let mut done = vec![work()];
            done.extend(helpers.into_iter().map(|helper| helper.join().expect("summing does not panic")));
            done
        });
        for list in done {
            for (index, sum) in list? {
                sums[index] = sum;
            }
        }
        Ok(sums)
    }
}

impl Piece {
    /// The parts that are summed each for itself.
    fn parts(self) -> impl Iterator<Item = Piece> {
        let part = PIECE_BYTES as u64;
        let starts = (0..self.bytes.div_ceil(part)).map(move |index| index * part);
        starts.map(move |from| Piece { at: self.at + from, bytes: part.min(self.bytes - from) })
    }
}

impl Draft<'_> {
    /// Where the segment is to be written.
    pub(crate) fn constants(&self) -> &Constants {
        &self.constants
    }

    /// Gives the full segment its name. `sums`: of each constant, in order, by parts of [`PIECE_BYTES`]. It can be used even when it cannot be kept.
    pub(crate) fn finish(self, name: &[u8], bytes: u64, sums: &[Sum]) -> Constants {
        let Draft { shelf, constants, temporary } = self;
        let identity = shelf.identity(name);
        let folder = &shelf.store.folder;
        let mac = shelf.mark(&identity, bytes, sums).finalize().into_bytes();
        let marked = constants.region.write_at(0, &[&KIND.magic[..], &mac[..]].concat()).map_err(io::Error::other);
        let kept = marked.and_then(|()| folder.publish(&temporary.0, &folder.path(&KIND, &identity)));
        if let Err(error) = kept {
            tracing::warn!(%error, "packed constants are not kept");
        }
        constants
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Once it was finished there is nothing under this name.
        discard(&self.0);
    }
}
