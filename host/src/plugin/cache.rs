//! Compiled components on disk, so that a plugin compiles once.
//!
//! Whoever can write a file here can run code in the host, so nothing is used that the host did not write itself: the files lie in a private folder
//! of the [store](crate::store), whose key marks each of them. Anything off, and the component is compiled again; the cache is never a reason to fail.

use super::Digest;
use crate::store::{Folder, Kind};
use std::path::Path;
use wasmtime::Engine;
use wasmtime::component::Component;

const KIND: Kind = Kind { ending: "compiled", magic: b"SUNMAOC2", what: "a compiled component" };

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

/// The folder.
#[derive(Debug)]
pub(super) struct Cache {
    folder: Folder,
}

impl Cache {
    /// Opens a cache, and makes it where there is none. The error says what is wrong with the directory.
    pub(super) fn open(directory: &Path, limit_bytes: u64) -> Result<Self, String> {
        Ok(Self { folder: Folder::open(directory, limit_bytes)? })
    }

    /// The compiled component, if it is there and genuine.
    pub(super) fn load(&self, engine: &Engine, identity: &Identity) -> Option<Component> {
        let bytes = self.folder.load(&KIND, &identity.bytes())?;
        // SAFETY: `bytes` carry an HMAC under a key that only this user can read, made by `store` over what `serialize` gave for this very
        // identity, and they were checked in memory, so they are what this host wrote. wasmtime checks version and settings besides.
        let component = unsafe { Component::deserialize(engine, &*bytes) };
        let refused = |error: &wasmtime::Error| {
            tracing::warn!(error = %format!("{error:#}"), "a compiled component is not used and is made again");
        };
        component.inspect_err(refused).ok()
    }

    /// Keeps a compiled component. Failing to is worth a line in the log and nothing more.
    pub(super) fn store(&self, identity: &Identity, component: &Component) {
        let kept = component
            .serialize()
            .map_err(|error| error.to_string())
            .and_then(|bytes| self.folder.keep(&KIND, &identity.bytes(), &bytes).map_err(|error| error.to_string()));
        if let Err(reason) = kept {
            tracing::warn!(reason, "a compiled component is not kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Scratch, chip_with, patient};
    use super::super::{ChipInstance, LoadOptions, Plugin, Runtime, RuntimeOptions};
    use super::*;
    use crate::store::KEY_FILE;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::PathBuf;
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
            let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == KIND.ending)).collect();
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
