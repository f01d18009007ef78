//! A chip and an importer in WebAssembly text, for tests: they do what the number of the dispatch says, or the file, good or bad.

use super::{LoadOptions, Plugin, PluginError, Runtime, RuntimeOptions};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use wit_component::{ComponentEncoder, StringEncoding};

/// What `run` does for the dispatch of that number; `count` above 1 repeats nothing, it only passes.
pub(super) mod mode {
    pub(crate) const OK: u32 = 0;
    pub(crate) const TRAP: u32 = 1;
    pub(crate) const SPIN: u32 = 2;
    /// A loop around an endless one, without any store.
    pub(crate) const SPIN_INSIDE: u32 = 3;
    pub(crate) const RECURSE: u32 = 4;
    /// 2^40 calls and not one loop.
    pub(crate) const CALL_TREE: u32 = 5;
    /// Fills the whole memory 64 times without a loop.
    pub(crate) const FILL: u32 = 6;
    pub(crate) const ERROR: u32 = 7;
    /// Grows page by page until it may not, then traps.
    pub(crate) const GROW: u32 = 8;
    /// Adds 1 to the word at the start of the arena.
    pub(crate) const TOUCH: u32 = 9;
    pub(crate) const READ_FAR: u32 = 10;
    pub(crate) const LOG: u32 = 11;
    /// Copies a megabyte and a bit over itself, up and down, and compares.
    pub(crate) const COPY: u32 = 12;
    pub(crate) const SPIN_MEMORY: u32 = 13;
}

const CHIP: &str = include_str!("testing/chip.wat");

/// The chip as a component, after `change` has spoilt its text.
pub(super) fn chip_with(change: impl FnOnce(String) -> String) -> Vec<u8> {
    let text = change(CHIP.to_owned());
    component(&text, "device-plugin")
}

/// The importer as a component.
pub(crate) fn importer() -> Arc<Plugin> {
    static IMPORTER: LazyLock<Arc<Plugin>> = LazyLock::new(|| {
        let mut options = patient();
        options.limits.setup_deadline = Duration::from_secs(1);
        load(&component(include_str!("testing/importer.wat"), "importer-plugin"), &options).unwrap()
    });
    IMPORTER.clone()
}

/// A core module in text, made a component of a world of the ABI.
pub(super) fn component(text: &str, world: &str) -> Vec<u8> {
    let mut module = wat::parse_str(text).unwrap();
    let mut resolve = wit_parser::Resolve::default();
    let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugin-sdk/wit/since_v0.1.0");
    let (package, _) = resolve.push_dir(wit).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

/// The runtime of all tests: one engine and one watchdog, as in the host.
pub(crate) fn runtime() -> &'static Arc<Runtime> {
    static RUNTIME: LazyLock<Arc<Runtime>> = LazyLock::new(|| Runtime::new(RuntimeOptions::default()).unwrap());
    &RUNTIME
}

/// A directory that is gone with the value.
#[derive(Debug)]
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sunmao-plugin-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Loads a component through a file, as the host does.
pub(super) fn load(bytes: &[u8], options: &LoadOptions) -> Result<Arc<Plugin>, PluginError> {
    let scratch = Scratch::new();
    runtime().load(&scratch.file("plugin.wasm", bytes), options)
}

/// The chip, as it should be, with deadlines that pass on no machine however busy.
pub(crate) fn chip() -> Arc<Plugin> {
    static CHIP: LazyLock<Arc<Plugin>> = LazyLock::new(|| load(&chip_with(|text| text), &patient()).unwrap());
    CHIP.clone()
}

/// The same with deadlines that a test can wait for.
pub(super) fn hasty_chip() -> Arc<Plugin> {
    static CHIP: LazyLock<Arc<Plugin>> = LazyLock::new(|| {
        let mut options = patient();
        options.limits.deadline = Duration::from_millis(20);
        load(&chip_with(|text| text), &options).unwrap()
    });
    CHIP.clone()
}

/// Little memory, much time.
pub(super) fn patient() -> LoadOptions {
    let mut options = LoadOptions::default();
    options.limits.deadline = Duration::from_secs(60);
    options.limits.setup_deadline = Duration::from_secs(60);
    options.limits.memory_bytes = 8 << 20;
    options
}

/// Little memory, little time.
pub(super) fn quick() -> LoadOptions {
    let mut options = patient();
    options.limits.setup_deadline = Duration::from_millis(200);
    options
}
