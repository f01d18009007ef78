//! Where checks happen: a runtime of its own, hostile components on demand, and a healthy neighbour that is asked all the while.

use super::forge::marked;
use super::{Target, Trouble};
use crate::config::FastPaths;
use crate::device::{Chip, Registry};
use crate::plugin::{ChipInstance, Limits, LoadOptions, Plugin, PluginError, Runtime, RuntimeOptions};
use crate::scheduler::Team;
use crate::session::{Host, InferError, LoadError, Options, Session, Tensor};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use sunmao_graph::DType;

/// How long the long checks go on.
#[derive(Clone, Copy, Debug)]
pub struct Depth {
    /// Model files spoilt by chance.
    pub mutants: usize,
    /// Files of compiled code spoilt by chance.
    pub blobs: usize,
    /// Runs in which a leak would show.
    pub runs: usize,
}

impl Default for Depth {
    fn default() -> Self {
        Self { mutants: 2_000, blobs: 10, runs: 10_000 }
    }
}

/// What hostile guests may take. Short, because checks wait for deadlines; long enough for an honest guest on a busy machine.
fn limits() -> Limits {
    Limits {
        memory_bytes: 64 << 20,
        deadline: Duration::from_millis(400),
        setup_deadline: Duration::from_millis(1500),
        log_lines: 100,
    }
}

/// Marker in the chip guest.
const CHIP_MARKER: &str = "SUNMAO-GUEST-MODE:";
/// Marker in the importer guest.
const IMPORTER_MARKER: &str = "SUNMAO-IMPORTER-MODE:";
/// Pause between two requests of the neighbour.
const PAUSE: Duration = Duration::from_millis(2);

/// A laboratory.
pub(super) struct Lab {
    pub(super) depth: Depth,
    /// For guests: with a cache of its own.
    pub(super) runtime: Arc<Runtime>,
    /// The plugin under test.
    pub(super) plugin: Arc<Plugin>,
    /// The host's own importers.
    pub(super) importers: Vec<Arc<Plugin>>,
    guests: PathBuf,
    folder: Scratch,
    model: PathBuf,
    reader: Arc<Plugin>,
    neighbour: Session,
}

impl Lab {
    pub(super) fn new(target: &Target, depth: Depth) -> Result<Self, String> {
        let guests = target.guests.clone().or_else(usual_guests).filter(|folder| folder.join("guest.wasm").is_file());
        let guests = guests.ok_or("the hostile guests are not there: `cargo xtask build-plugins --all` builds them, --guests names their folder")?;
        let folder = Scratch::new().map_err(|error| error.to_string())?;
        let cache_dir = Some(folder.0.join("cache"));
        let runtime =
            Runtime::new(RuntimeOptions { cache_dir, ..RuntimeOptions::default() }).map_err(|e| e.to_string())?;
        let model = folder.0.join("model.guest");
        std::fs::write(&model, b"guest").map_err(|error| error.to_string())?;
        let load = |file: &str, marker: &str| -> Result<Arc<Plugin>, String> {
            let bytes = std::fs::read(guests.join(file)).map_err(|error| format!("{file}: {error}"))?;
            let path = folder.write(file, &marked(&bytes, marker, 0)?);
            runtime.load(&path, &LoadOptions::default()).map_err(|error| error.to_string())
        };
        let (reader, chip) = (load("guest-importer.wasm", IMPORTER_MARKER)?, load("guest.wasm", CHIP_MARKER)?);
        let host = host(&reader, Chip::new("neighbour".into(), Vec::new(), FastPaths::Off, chip), 1);
        let neighbour = Session::load(&model, &host, options("neighbour")).map_err(|error| error.to_string())?;
        let (plugin, importers) = (target.chip.plugin.clone(), target.host.registry.importers());
        Ok(Self { depth, runtime, plugin, importers, guests, folder, model, reader, neighbour })
    }

    /// Runs a check while the neighbour is asked again and again. Every answer must be there, and right.
    pub(super) fn beside_a_neighbour(&self, check: fn(&Lab) -> Result<(), Trouble>) -> Result<(), Trouble> {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                loop {
                    match ask(&self.neighbour, 3) {
                        Ok(true) if done.load(Ordering::Relaxed) => return Ok(()),
                        Ok(true) => std::thread::sleep(PAUSE),
                        Ok(false) => return Err("a neighbour's answer was wrong".to_owned()),
                        Err(error) => return Err(format!("a neighbour's request failed: {error}")),
                    }
                }
            });
            // Also when the check panics, or the neighbour would be asked for ever.
            let finish = OnDrop(&done);
            let result = check(self);
            drop(finish);
            asking.join().unwrap_or_else(|_| Err("the neighbour's thread panicked".into())).map_err(Trouble::Failed)?;
            result
        })
    }

    /// The bytes of a built guest.
    pub(super) fn guest_bytes(&self, file: &str) -> Result<Vec<u8>, Trouble> {
        std::fs::read(self.guests.join(file)).map_err(|error| Trouble::Failed(format!("{file}: {error}")))
    }

    /// Loads a component from its bytes.
    pub(super) fn load(&self, name: &str, bytes: &[u8]) -> Result<Arc<Plugin>, PluginError> {
        let options = LoadOptions { limits: limits(), ..LoadOptions::default() };
        self.runtime.load(&self.file(&format!("{name}.wasm"), bytes), &options)
    }

    /// The chip guest in a mode.
    pub(super) fn guest(&self, mode: u8) -> Result<Result<Arc<Plugin>, PluginError>, Trouble> {
        let bytes = marked(&self.guest_bytes("guest.wasm")?, CHIP_MARKER, mode)?;
        Ok(self.load(&format!("guest-{mode:02}"), &bytes))
    }

    /// The importer guest in a mode.
    pub(super) fn importer(&self, mode: u8) -> Result<Arc<Plugin>, Trouble> {
        let bytes = marked(&self.guest_bytes("guest-importer.wasm")?, IMPORTER_MARKER, mode)?;
        Ok(self.load(&format!("importer-{mode:02}"), &bytes)?)
    }

    /// An instance of a plugin, with an arena.
    pub(super) fn instance(plugin: &Arc<Plugin>) -> Result<ChipInstance, PluginError> {
        let mut instance = ChipInstance::new(plugin)?;
        instance.reserve(1 << 20)?;
        Ok(instance)
    }

    /// A host whose only chip is the plugin, under that name; and the chip.
    pub(super) fn host_with(&self, name: &str, plugin: Arc<Plugin>) -> Result<(Host, Arc<Chip>), Trouble> {
        let host = host(&self.reader, Chip::new(name.to_owned(), Vec::new(), FastPaths::Off, plugin), 2);
        let chip = host.registry.chip(name)?;
        Ok((host, chip))
    }

    /// `y = x + x` on the chip of a host, with the host's fallback.
    pub(super) fn session(&self, host: &Host, chip: &Chip) -> Result<Session, LoadError> {
        Session::load(&self.model, host, options(&chip.name))
    }

    /// Both: `y = x + x` served on a plugin.
    pub(super) fn serve(&self, name: &str, plugin: Arc<Plugin>) -> Result<(Session, Arc<Chip>), Trouble> {
        let (host, chip) = self.host_with(name, plugin)?;
        Ok((self.session(&host, &chip)?, chip))
    }

    /// A host whose only importers are these, and whose chip is the neighbour's kind: for what is about importers.
    pub(super) fn host_reading_with(&self, importers: &[Arc<Plugin>]) -> Result<Host, Trouble> {
        let registry = Arc::new(Registry::default());
        importers.iter().for_each(|importer| registry.add(importer.clone()));
        registry.add_chip(Chip::new("reader".into(), Vec::new(), FastPaths::Off, self.guest(0)??));
        Ok(Host::new(registry, Team::new(1, 8)))
    }

    /// Writes a file that lives as long as the lab.
    pub(super) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        self.folder.write(name, bytes)
    }

    /// A folder that lives as long as the lab.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.0.join(name)
    }
}

fn host(reader: &Arc<Plugin>, chip: Chip, threads: usize) -> Host {
    let registry = Arc::new(Registry::default());
    registry.add(reader.clone());
    registry.add_chip(chip);
    Host::new(registry, Team::new(threads, 8))
}

pub(super) fn options(chip: &str) -> Options {
    Options { chip: chip.to_owned(), threads: 2, fast_paths: FastPaths::Off, strict: false }
}

/// Asks for x + x of `batch` rows; whether the answer is right.
pub(super) fn ask(session: &Session, batch: u64) -> Result<bool, InferError> {
    Ok(answer(session, batch)? == doubled(batch))
}

/// What the session answers to a request of `batch` rows.
pub(super) fn answer(session: &Session, batch: u64) -> Result<Tensor, InferError> {
    let mut outputs = session.infer(vec![("x".into(), floats(batch, 0.5))], &[])?;
    Ok(outputs.swap_remove(0).1)
}

fn doubled(batch: u64) -> Tensor {
    floats(batch, 1.0)
}

fn floats(batch: u64, step: f32) -> Tensor {
    let data = (0..batch * 4).flat_map(|i| (i as f32 * step).to_le_bytes()).collect();
    Tensor { dtype: DType::F32, shape: vec![batch, 4], data }
}

/// Where `cargo xtask build-plugins --all` leaves guests: beside the folder of this program, or in the working directory's target folder.
fn usual_guests() -> Option<PathBuf> {
    let program = std::env::current_exe().and_then(|program| program.canonicalize()).ok();
    let beside = program.iter().flat_map(|program| program.ancestors()).map(|folder| folder.join("guests"));
    beside.chain([PathBuf::from("target/guests")]).find(|folder| folder.join("guest.wasm").is_file())
}

struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A folder that is gone with the lab.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("sunmao-lab-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        // A write that fails shows as a file that cannot be read, which the check reports.
        let _ = std::fs::write(&path, bytes);
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
