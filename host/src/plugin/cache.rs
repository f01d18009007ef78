//! Compiled components on disk, so that a plugin compiles once.
//!
//! Whoever can write a file here can run code in the host, so nothing is used that the host did not write itself: the directory belongs to the
//! host's user and is closed to all others, and each file carries an HMAC under a key that lies beside it. The very bytes that were checked
//! are loaded. Anything off, and the component is compiled again; the cache is never a reason to fail.

use super::Digest;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use wasmtime::Engine;
use wasmtime::component::Component;

const MAGIC: &[u8; 8] = b"SUNMAOC1";
const HEADER_BYTES: usize = MAGIC.len() + MAC_BYTES;
const MAC_BYTES: usize = 32;
const KEY_FILE: &str = "key";
const ENDING: &str = "compiled";

/// What a compiled component depends on.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) component: Digest,
    /// Runtime version, target and configuration, as the engine itself sums them up.
    pub(super) engine: u64,
    /// Version of the instrumentation; 0: none.
    pub(super) instrumentation: u32,
}

impl Identity {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.component.0.to_vec();
        bytes.extend(self.engine.to_le_bytes());
        bytes.extend(self.instrumentation.to_le_bytes());
        // The engine's sum has them too; here they do not hang on one hash.
        for text in [env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, std::env::consts::OS] {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text.as_bytes());
        }
        bytes
    }
}

/// The directory.
#[derive(Debug)]
pub(super) struct Cache {
    directory: PathBuf,
    key: [u8; 32],
    /// Total size of the files that are kept.
    limit_bytes: u64,
}

impl Cache {
    /// Opens a cache, and makes it where there is none. The error says what is wrong with the directory.
    pub(super) fn open(directory: &Path, limit_bytes: u64) -> Result<Self, String> {
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
        Ok(Self { directory: directory.to_owned(), key, limit_bytes })
    }

    /// The compiled component, if it is there and genuine.
    pub(super) fn load(&self, engine: &Engine, identity: &Identity) -> Option<Component> {
        let path = self.path(identity);
        let file = open_own(&path).ok()?;
        let checked = self.read(&file, identity);
        let component = checked.and_then(|bytes| {
            // SAFETY: `bytes` carry an HMAC under a key that only this user can read, made by `store` over what `serialize` gave for this very
            // identity, and they were checked in memory, so they are what this host wrote. wasmtime checks version and settings besides.
            unsafe { Component::deserialize(engine, &bytes[HEADER_BYTES..]) }.map_err(|error| error.to_string())
        });
        match component {
            Ok(component) => {
                // Newest use decides what is evicted. That the time cannot be set costs a compilation some day.
                let _ = file.set_modified(SystemTime::now());
                Some(component)
            }
            Err(reason) => {
                tracing::warn!(path = %path.display(), reason, "a compiled component is not used and is made again");
                None
            }
        }
    }

    /// Keeps a compiled component. Failing to is worth a line in the log and nothing more.
    pub(super) fn store(&self, identity: &Identity, component: &Component) {
        let kept = component.serialize().map_err(|error| error.to_string()).and_then(|bytes| {
            self.write(identity, &bytes).map_err(|error| error.to_string())?;
            self.evict().map_err(|error| error.to_string())
        });
        if let Err(reason) = kept {
            tracing::warn!(directory = %self.directory.display(), reason, "cannot keep a compiled component");
        }
    }

    fn path(&self, identity: &Identity) -> PathBuf {
        let name = self.mac(b"name").chain_update(identity.bytes()).finalize().into_bytes();
        self.directory.join(format!("{}.{ENDING}", Digest(name.into())))
    }

    fn mac(&self, purpose: &[u8]) -> Hmac<Sha256> {
        let mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.chain_update(purpose)
    }

    fn mac_of(&self, identity: &Identity, payload: &[u8]) -> Hmac<Sha256> {
        let identity = identity.bytes();
        let mac = self.mac(b"data").chain_update((identity.len() as u64).to_le_bytes());
        mac.chain_update(identity).chain_update(payload)
    }

    fn read(&self, file: &File, identity: &Identity) -> Result<Vec<u8>, String> {
        let length = file.metadata().map_err(|error| error.to_string())?.len();
        if length > self.limit_bytes {
            return Err(format!("{length} bytes are more than the cache keeps"));
        }
        let mut bytes = Vec::with_capacity(length as usize);
        file.take(length).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        let header = bytes.get(..HEADER_BYTES).ok_or("cut short")?;
        let mac = header.strip_prefix(MAGIC).ok_or("not a compiled component of this version")?;
        self.mac_of(identity, &bytes[HEADER_BYTES..]).verify_slice(mac).map_err(|_| "changed since it was written")?;
        Ok(bytes)
    }

    fn write(&self, identity: &Identity, payload: &[u8]) -> io::Result<()> {
        if (payload.len() + HEADER_BYTES) as u64 > self.limit_bytes {
            return Err(io::Error::other("larger than the whole cache may be"));
        }
        let mac = self.mac_of(identity, payload).finalize().into_bytes();
        write_whole(&self.path(identity), &[MAGIC, &mac, payload])
    }

    /// Removes the files longest unused until the rest is small enough.
    fn evict(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let path = entry.path();
            let facts = entry.metadata()?;
            if path.extension().is_some_and(|ending| ending == ENDING) && facts.is_file() {
                files.push((facts.modified()?, facts.len(), path));
            }
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in files {
            if total <= self.limit_bytes {
                break;
            }
            fs::remove_file(&path)?;
            total -= bytes;
        }
        Ok(())
    }
}

fn own_user() -> u32 {
    // SAFETY: geteuid has no arguments and cannot fail.
    unsafe { libc::geteuid() }
}

/// Opens a regular file of the own user, without following a link.
fn open_own(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() || facts.uid() != own_user() || facts.mode() & 0o077 != 0 {
        return Err(io::Error::other("not a private file of the host's own user"));
    }
    Ok(file)
}

/// Writes a file so that nobody ever sees half of it.
fn write_whole(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut mark = [0; 8];
    random(&mut mark)?;
    let temporary = path.with_extension(format!("{:016x}.tmp", u64::from_le_bytes(mark)));
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        parts.iter().try_for_each(|part| file.write_all(part))?;
        // No sync: after a power cut the HMAC tells a half-written file, and the price is a compilation.
        fs::rename(&temporary, path)
    };
    write().inspect_err(|_| {
        // It may not even exist.
        let _ = fs::remove_file(&temporary);
    })
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
    let temporary = directory.join(format!("{KEY_FILE}.{:016x}.tmp", std::process::id()));
    // It is there only when a process of the same number died half way.
    let _ = fs::remove_file(&temporary);
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?.write_all(&key)?;
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

#[cfg(test)]
mod tests {
    use super::super::testing::{Scratch, chip_with, patient};
    use super::super::{ChipInstance, LoadOptions, Plugin, Runtime, RuntimeOptions};
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    struct Host {
        scratch: Scratch,
        cache_bytes: u64,
    }

    impl Host {
        fn new() -> Self {
            let scratch = Scratch::new();
            scratch.file("chip.wasm", &chip_with(|text| text));
            Self { scratch, cache_bytes: 1 << 30 }
        }

        fn directory(&self) -> PathBuf {
            self.scratch.0.join("cache")
        }

        /// As if the host was started anew.
        fn load(&self, name: &str, options: &LoadOptions) -> Arc<Plugin> {
            let runtime = RuntimeOptions {
                cache_dir: Some(self.directory()),
                cache_bytes: self.cache_bytes,
                ..RuntimeOptions::default()
            };
            Runtime::new(runtime).unwrap().load(&self.scratch.0.join(name), options).unwrap()
        }

        #[track_caller]
        fn check(&self, cached: bool) {
            let plugin = self.load("chip.wasm", &patient());
            assert_eq!(plugin.compiled().cached, cached);
            let mut instance = ChipInstance::new(&plugin).unwrap();
            instance.reserve(65536).unwrap();
            instance.run(0, 1, 0, 1, 0).unwrap();
        }

        fn compiled(&self) -> Vec<PathBuf> {
            let files = fs::read_dir(self.directory()).unwrap().map(|entry| entry.unwrap().path());
            let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == ENDING)).collect();
            files.sort();
            files
        }
    }

    #[test]
    fn a_component_is_compiled_once() {
        let host = Host::new();
        host.check(false);
        host.check(true);
        let facts = fs::metadata(host.directory()).unwrap();
        assert_eq!(facts.mode() & 0o777, 0o700);
        for entry in fs::read_dir(host.directory()).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().mode() & 0o777, 0o600, "{:?}", entry.path());
        }
        // Without safepoints it is other code.
        let bare = LoadOptions { safepoints: false, ..patient() };
        assert!(!host.load("chip.wasm", &bare).compiled().cached);
        assert_eq!(host.compiled().len(), 2);
    }

    #[test]
    fn a_changed_file_is_never_used() {
        let host = Host::new();
        host.check(false);
        let file = host.compiled().remove(0);
        let sound = fs::read(&file).unwrap();
        let length = sound.len();
        for at in [0, 7, 8, 39, 40, 41, length / 3, length / 2, length - 1] {
            for bit in [0, 7] {
                let mut spoilt = sound.clone();
                spoilt[at] ^= 1 << bit;
                fs::write(&file, spoilt).unwrap();
                host.check(false);
                host.check(true);
            }
        }
        for keep in [0, 1, 8, 39, 40, length / 2, length - 1] {
            fs::write(&file, &sound[..keep]).unwrap();
            host.check(false);
        }
        fs::write(&file, [&sound[..], b"more"].concat()).unwrap();
        host.check(false);
        host.check(true);
    }

    #[test]
    fn a_file_stands_for_its_own_component_alone() {
        let host = Host::new();
        host.check(false);
        let first = host.compiled().remove(0);
        host.scratch.file("other.wasm", &chip_with(|text| text.replace("wat-chip", "wat-wasp")));
        assert_eq!(host.load("other.wasm", &patient()).id(), "wat-wasp");
        let other = host.compiled().into_iter().find(|path| *path != first).unwrap();
        fs::copy(&other, &first).unwrap();
        let plugin = host.load("chip.wasm", &patient());
        assert!(!plugin.compiled().cached);
        assert_eq!(plugin.id(), "wat-chip");
    }

    #[test]
    fn what_others_could_have_written_is_not_used() {
        let host = Host::new();
        host.check(false);
        let file = host.compiled().remove(0);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        host.check(false);
        host.check(true);

        let key = host.directory().join(KEY_FILE);
        let secret = fs::read(&key).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        host.check(false);
        assert_ne!(fs::read(&key).unwrap(), secret, "a key that others could read is replaced");
        host.check(true);

        fs::set_permissions(host.directory(), fs::Permissions::from_mode(0o755)).unwrap();
        host.check(false);
        host.check(false);
        fs::set_permissions(host.directory(), fs::Permissions::from_mode(0o700)).unwrap();
        host.check(true);

        for (number, file) in host.compiled().into_iter().enumerate() {
            let target = host.scratch.0.join(format!("elsewhere{number}"));
            fs::rename(&file, &target).unwrap();
            std::os::unix::fs::symlink(&target, &file).unwrap();
        }
        host.check(false);
    }

    #[test]
    fn the_longest_unused_goes_first() {
        let mut host = Host::new();
        host.check(false);
        let size = fs::metadata(&host.compiled()[0]).unwrap().len();
        host.cache_bytes = 2 * size + size / 2;
        for number in 1..4 {
            let name = format!("chip{number}.wasm");
            host.scratch.file(&name, &chip_with(|text| text.replace("wat-chip", &format!("wat-chi{number}"))));
            host.load(&name, &patient());
            // File times have a granularity.
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert_eq!(host.compiled().len(), 2);
        assert!(host.load("chip3.wasm", &patient()).compiled().cached);
        assert!(!host.load("chip1.wasm", &patient()).compiled().cached);
        host.cache_bytes = size / 2;
        host.check(false);
        host.check(false);
    }
}
