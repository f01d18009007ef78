//! The store of models, and what one model keeps in it.

use super::codec::{Kept, decode, encode};
use super::folder::{Folder, Kind};
use super::sum::SumKey;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where the running program can be looked at, whatever became of its file.
const PROGRAM: &str = "/proc/self/exe";

/// The folder of models. Bounded: what was not used for longest goes first.
#[derive(Debug)]
pub struct Store {
    pub(super) folder: Folder,
    pub(super) sums: SumKey,
    /// Which build of the host this is: forms of packed weights and of plans change with the code, whatever its version says.
    build: Vec<u8>,
    found: AtomicU64,
    made: AtomicU64,
}

/// What the store was asked for since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// It was there.
    pub found: u64,
    /// It was not, or could not be used, and was made.
    pub made: u64,
    /// Files that had to go because there was no room.
    pub evicted: u64,
}

impl Store {
    /// Opens the store in a folder of its own, and makes it where there is none. The error says what is wrong with it.
    pub fn open(directory: &Path, limit_bytes: u64) -> Result<Arc<Self>, String> {
        let build = build().map_err(|error| format!("{PROGRAM}: {error}"))?;
        let folder = Folder::open(directory, limit_bytes)?;
        let sums = SumKey::new(&folder.mac(b"sums"));
        Ok(Arc::new(Self { folder, sums, build, found: AtomicU64::new(0), made: AtomicU64::new(0) }))
    }

    /// What it was asked for so far.
    pub fn counts(&self) -> Counts {
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts { found: number(&self.found), made: number(&self.made), evicted: self.folder.evicted() }
    }

    /// The shelf of a model. `identity` holds everything that what is kept there follows from, beside the host's own code.
    pub(crate) fn shelf(self: &Arc<Self>, identity: Vec<u8>) -> Shelf {
        Shelf { store: self.clone(), identity }
    }
}

/// Tells this build of the host from others: a file that was written, moved or copied is another one.
fn build() -> std::io::Result<Vec<u8>> {
    let facts = fs::metadata(PROGRAM)?;
    let facts = [facts.ino(), facts.len(), facts.mtime() as u64, facts.mtime_nsec() as u64];
    let mut build = env!("CARGO_PKG_VERSION").as_bytes().to_vec();
    build.extend(facts.into_iter().flat_map(u64::to_le_bytes));
    Ok(build)
}

/// The part of the store that belongs to one model.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    pub(super) store: Arc<Store>,
    identity: Vec<u8>,
}

impl Shelf {
    /// What is kept under that name.
    pub(crate) fn load<T: Kept>(&self, kind: &Kind, name: &[u8]) -> Option<T> {
        let payload = self.store.folder.load(kind, &self.identity(name));
        let value = payload.and_then(|payload| decode(&payload));
        self.count(value.is_some());
        value
    }

    /// Keeps a value. Failing to is worth a line in the log and nothing more.
    pub(crate) fn keep(&self, kind: &Kind, name: &[u8], value: &impl Kept) {
        if let Err(error) = self.store.folder.keep(kind, &self.identity(name), &encode(value)) {
            tracing::warn!(%error, "{} is not kept", kind.what);
        }
    }

    pub(super) fn count(&self, found: bool) {
        let counter = if found { &self.store.found } else { &self.store.made };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Everything that decides what is kept under a name, each part with its length in front.
    pub(super) fn identity(&self, name: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in [&self.store.build[..], &self.identity, name] {
            bytes.extend((part.len() as u64).to_le_bytes());
            bytes.extend(part);
        }
        bytes
    }
}
