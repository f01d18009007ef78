//! A folder of files that only this host wrote.
//!
//! The folder belongs to the host's user and is closed to all others, and each file carries an HMAC under a key that lies beside it. The very bytes
//! that were checked are what a caller gets. Anything off, and it gets nothing.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

const MAGIC_BYTES: usize = 8;
pub(super) const MAC_BYTES: usize = 32;
/// What stands in front of the payload of a file that is read whole.
pub(crate) const HEADER_BYTES: usize = MAGIC_BYTES + MAC_BYTES;
pub(crate) const KEY_FILE: &str = "key";
const TEMPORARY: &str = "tmp";
/// A temporary file that is older was left by a process that died.
const ABANDONED_AFTER: Duration = Duration::from_secs(3600);

/// A kind of file.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Ending of its names.
    pub(crate) ending: &'static str,
    /// Its first bytes: what it is, and in which version of its form.
    pub(crate) magic: &'static [u8; MAGIC_BYTES],
    /// What it holds, for a person.
    pub(crate) what: &'static str,
}

/// A private folder with a key.
#[derive(Debug)]
pub(crate) struct Folder {
    directory: PathBuf,
    key: [u8; 32],
    /// Total size of the files that are kept.
    limit_bytes: u64,
    evicted: AtomicU64,
}

/// What a file held, as it was checked.
#[derive(Debug)]
pub(crate) struct Payload(Vec<u8>);

impl std::ops::Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0[HEADER_BYTES..]
    }
}

impl Folder {
    /// Opens a folder, and makes it where there is none. The error says what is wrong with it.
    pub(crate) fn open(directory: &Path, limit_bytes: u64) -> Result<Self, String> {
        let say = |what: &str, error: io::Error| format!("{what} {}: {error}", directory.display());
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| say("cannot make", error))?;
        let facts = fs::symlink_metadata(directory).map_err(|error| say("cannot look at", error))?;
        if !facts.is_dir() || facts.uid() != own_user() || facts.mode() & 0o077 != 0 {
            return Err(format!(
                "{} must be a directory of the host's own user that nobody else may enter: `chmod 700` it",
                directory.display()
            ));
        }
        let key = read_or_make_key(directory).map_err(|error| say("no key in", error))?;
        Ok(Self { directory: directory.to_owned(), key, limit_bytes, evicted: AtomicU64::new(0) })
    }

    /// Files that this process removed because the rest had no room.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// What that file holds, if it is there and genuine. Its use is noted: newest use decides what is evicted.
    pub(crate) fn load(&self, kind: &Kind, identity: &[u8]) -> Option<Payload> {
        let path = self.path(kind, identity);
        let file = open_own(&path).ok()?;
        match self.read(kind, &file, identity) {
            Ok(payload) => {
                note_use(&file);
                Some(payload)
            }
            Err(reason) => {
                self.refused(kind, &path, &reason);
                None
            }
        }
    }

    /// Keeps a file, and makes room for it.
    pub(crate) fn keep(&self, kind: &Kind, identity: &[u8], payload: &[u8]) -> io::Result<()> {
        self.check_size((payload.len() + HEADER_BYTES) as u64)?;
        let mac = self.mac_of(kind, identity).chain_update(payload).finalize().into_bytes();
        let path = self.path(kind, identity);
        let temporary = self.temporary(&path)?;
        let write = || {
            let mut file = create_new(&temporary)?;
            [&kind.magic[..], &mac[..], payload].iter().try_for_each(|part| file.write_all(part))?;
            self.publish(&temporary, &path)
        };
        write().inspect_err(|_| discard(&temporary))
    }

    /// Says that a file is not used. What it held is made again.
    pub(super) fn refused(&self, kind: &Kind, path: &Path, reason: &str) {
        tracing::warn!(path = %path.display(), reason, "{} is not used and is made again", kind.what);
    }

    /// Where a file of that identity lies.
    pub(super) fn path(&self, kind: &Kind, identity: &[u8]) -> PathBuf {
        let mut name = String::with_capacity(2 * MAC_BYTES + 16);
        for byte in self.mac(b"name").chain_update(kind.magic).chain_update(identity).finalize().into_bytes() {
            write!(name, "{byte:02x}").expect("writing to a string never fails");
        }
        self.directory.join(format!("{name}.{}", kind.ending))
    }

    /// A name in the same folder that nobody else uses.
    pub(super) fn temporary(&self, path: &Path) -> io::Result<PathBuf> {
        let mut mark = [0; 8];
        random(&mut mark)?;
        Ok(path.with_extension(format!("{:016x}.{TEMPORARY}", u64::from_le_bytes(mark))))
    }

    /// Puts a finished file under its name, so that nobody ever sees half of it, and removes what is too much.
    pub(super) fn publish(&self, temporary: &Path, path: &Path) -> io::Result<()> {
        // No sync: after a power cut the marks tell a half-written file, and the price is to make it again.
        fs::rename(temporary, path)?;
        self.evict()
    }

    /// Refuses what is larger than all that is kept may be.
    pub(super) fn check_size(&self, bytes: u64) -> io::Result<()> {
        if bytes > self.limit_bytes {
            return Err(io::Error::other(format!(
                "{bytes} bytes are more than the {} that are kept",
                self.limit_bytes
            )));
        }
        Ok(())
    }

    pub(super) fn mac(&self, purpose: &[u8]) -> Hmac<Sha256> {
        let mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.chain_update(purpose)
    }

    /// The mark of a file, before its content.
    pub(super) fn mac_of(&self, kind: &Kind, identity: &[u8]) -> Hmac<Sha256> {
        let mac = self.mac(b"data").chain_update(kind.magic).chain_update((identity.len() as u64).to_le_bytes());
        mac.chain_update(identity)
    }

    fn read(&self, kind: &Kind, file: &File, identity: &[u8]) -> Result<Payload, String> {
        let length = file.metadata().map_err(|error| error.to_string())?.len();
        self.check_size(length).map_err(|error| error.to_string())?;
        let mut bytes = Vec::with_capacity(length as usize);
        file.take(length).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        let header = bytes.get(..HEADER_BYTES).ok_or("cut short")?;
        let mac = header.strip_prefix(kind.magic).ok_or("of another version, or something else")?;
        let expected = self.mac_of(kind, identity).chain_update(&bytes[HEADER_BYTES..]);
        expected.verify_slice(mac).map_err(|_| "changed since it was written")?;
        Ok(Payload(bytes))
    }

    /// Removes what is not needed: temporary files that were left behind, and the files longest unused until the rest is small enough.
    fn evict(&self) -> io::Result<()> {
        let mut files = Vec::new();
        let now = SystemTime::now();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let path = entry.path();
            // Another host may have removed it just now.
            let Ok(facts) = entry.metadata() else { continue };
            if !facts.is_file() || entry.file_name() == KEY_FILE {
                continue;
            }
            let used = facts.modified()?;
            if path.extension().is_some_and(|ending| ending == TEMPORARY) {
                if now.duration_since(used).is_ok_and(|age| age > ABANDONED_AFTER) {
                    discard(&path);
                }
                continue;
            }
            files.push((used, facts.len(), path));
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in files {
            if total <= self.limit_bytes {
                break;
            }
            tracing::debug!(path = %path.display(), bytes, "evicted: the folder is full");
            discard(&path);
            self.evicted.fetch_add(1, Ordering::Relaxed);
            total -= bytes;
        }
        Ok(())
    }
}

/// Newest use decides what is evicted. That the time cannot be set costs making it anew some day.
pub(super) fn note_use(file: &File) {
    let _ = file.set_modified(SystemTime::now());
}

/// Removes a file that may not even be there.
pub(super) fn discard(path: &Path) {
    let _ = fs::remove_file(path);
}

/// A new file that nobody else may read.
pub(super) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Opens a regular file of the own user, without following a link.
pub(super) fn open_own(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() || facts.uid() != own_user() || facts.mode() & 0o077 != 0 {
        return Err(io::Error::other("not a private file of the host's own user"));
    }
    Ok(file)
}

fn read_or_make_key(directory: &Path) -> io::Result<[u8; 32]> {
    let path = directory.join(KEY_FILE);
    let read = || {
        let mut key = Vec::new();
        open_own(&path)?.take(64).read_to_end(&mut key)?;
        <[u8; 32]>::try_from(key).map_err(|_| io::Error::other("not 32 bytes"))
    };
    match read() {
        Ok(key) => return Ok(key),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // Cut short, or open to others, who may know it: a new one makes all files void.
        Err(_) => fs::remove_file(&path)?,
    }
    let mut key = [0; 32];
    random(&mut key)?;
    let mut mark = [0; 8];
    random(&mut mark)?;
    let temporary = directory.join(format!("{KEY_FILE}.{:016x}.{TEMPORARY}", u64::from_le_bytes(mark)));
    create_new(&temporary)?.write_all(&key)?;
    // A link fails where the file is there already: of two hosts that start together, one makes the key and both use it.
    let linked = fs::hard_link(&temporary, &path);
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => read(),
    }
}

fn random(into: &mut [u8]) -> io::Result<()> {
    File::open("/dev/urandom")?.read_exact(into)
}
