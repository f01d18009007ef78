//! One instance of a chip: its arena, its kernels, its dispatches.

use super::bindings::{self, chip as generated};
use super::check::{self, Arity};
use super::instance::{Basics, Fresh, Guard, State};
use super::load::Code;
use super::log::Level;
use super::{Plugin, PluginError};
use crate::memory::{PAGE_BYTES, Region, Sharing};
use generated::exports::sunmao::kernel::device;
use generated::sunmao::kernel as imports;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use sunmao_plugin_sdk::abi;
use wasmtime::Store;
use wasmtime::component::ResourceAny;

/// What one answer of a chip may hold: its operator table is the largest.
const VALUES_MAX_BYTES: usize = 16 << 20;
/// A constant is packed at this rate at least.
const PACK_BYTES_PER_SECOND: u64 = 20 << 20;
/// Kernels that one instance holds at a time.
const KERNELS_MAX: usize = 1 << 20;

/// A kernel of one instance. Of no use with any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KernelHandle {
    instance: u64,
    index: u32,
}

/// A chip plugin, instantiated. One call at a time; what runs in parallel are several instances.
///
/// After a trap or a missed deadline it is dead and answers [`PluginError::Dead`]: drop it and make a fresh one.
pub struct ChipInstance {
    number: u64,
    plugin: Arc<Plugin>,
    run_limit: Duration,
    guard: Guard,
    arena: Option<Arena>,
    kernels: Vec<Option<Kernel>>,
    free: Vec<u32>,
    /// Dispatches bound so far: the number of the next one.
    dispatches: u32,
    device: device::Guest,
    store: Store<ChipState>,
}

#[derive(Clone, Copy, Debug)]
struct Arena {
    start: u64,
    bytes: u64,
}

struct Kernel {
    resource: ResourceAny,
    arity: Arity,
}

impl std::fmt::Debug for ChipInstance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChipInstance")
            .field("number", &self.number)
            .field("plugin", &self.plugin)
            .finish_non_exhaustive()
    }
}

/// State of a chip's store.
pub(super) struct ChipState(pub(super) Basics);

impl State for ChipState {
    fn basics(&mut self) -> &mut Basics {
        &mut self.0
    }
}

impl imports::types::Host for ChipState {}

impl imports::log::Host for ChipState {
    fn write(&mut self, level: imports::log::Level, message: String) {
        use imports::log::Level as L;
        let level = match level {
            L::Trace => Level::Trace,
            L::Debug => Level::Debug,
            L::Info => Level::Info,
            L::Warn => Level::Warn,
            L::Error => Level::Error,
        };
        self.0.log.write(level, &message);
    }
}

fn instantiate(plugin: &Plugin) -> Result<(Store<ChipState>, Guard, device::Guest), PluginError> {
    let Code::Chip { pre, wasi } = plugin.code() else {
        return Err(PluginError::misuse("instantiate", "the plugin is no chip"));
    };
    let Fresh { mut store, mut guard } = Fresh::new(plugin, *wasi, VALUES_MAX_BYTES, ChipState);
    let limit = plugin.limits().setup_deadline;
    let world = guard.instantiate(limit, || pre.instantiate(&mut store))?;
    let device = world.sunmao_kernel_device().clone();
    Ok((store, guard, device))
}

impl ChipInstance {
    /// A fresh instance, without an arena yet.
    pub fn new(plugin: &Arc<Plugin>) -> Result<Self, PluginError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (store, guard, device) = instantiate(plugin)?;
        Ok(Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            plugin: plugin.clone(),
            run_limit: plugin.limits().deadline,
            guard,
            arena: None,
            kernels: Vec::new(),
            free: Vec::new(),
            dispatches: 0,
            device,
            store,
        })
    }

    /// Asks a chip who it is and what it runs, and checks the answers.
    pub(super) fn describe(plugin: &Plugin) -> Result<(abi::Info, Vec<abi::OperatorSupport>), PluginError> {
        let (mut store, mut guard, device) = instantiate(plugin)?;
        let limit = plugin.limits().setup_deadline;
        let info = guard.call("describe", limit, || device.call_describe(&mut store))?;
        let info = bindings::info(info);
        check::info(&info)?;
        let rows = guard.call("operators", limit, || device.call_operators(&mut store))?;
        let rows: Vec<_> = rows.into_iter().map(bindings::support).collect();
        check::operators(&rows)?;
        Ok((info, rows))
    }

    /// The plugin that this is an instance of.
    pub fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    /// Whether a trap or a deadline ended it.
    pub fn is_dead(&self) -> bool {
        self.guard.dead
    }

    /// Size of its linear memory, the arena included.
    pub fn memory_bytes(&self) -> u64 {
        self.guard.memory.bytes()
    }

    /// Makes the arena: `bytes` (rounded up to 64 KiB) of linear memory for the host to map. Once; answers where it starts.
    pub fn reserve(&mut self, bytes: u64) -> Result<u64, PluginError> {
        const CALL: &str = "reserve";
        if self.arena.is_some() {
            return Err(PluginError::misuse(CALL, "the arena is there already"));
        }
        let before = self.guard.memory.bytes();
        let bytes = bytes.checked_next_multiple_of(PAGE_BYTES).unwrap_or(u64::MAX);
        // The last page of 4 GiB stays out, so that every end is a 32-bit number.
        let room = (1u64 << 32).saturating_sub(PAGE_BYTES).saturating_sub(before);
        if bytes == 0 || bytes > room {
            return Err(PluginError::misuse(CALL, format!("an arena of {bytes} bytes; there is room for {room}")));
        }
        let (device, store, memory) = (&self.device, &mut self.store, &self.guard.memory.clone());
        let limit = self.plugin.limits().setup_deadline;
        let (answer, grown) = memory.allow_arena(bytes, || {
            self.guard.call(CALL, limit, || device.call_reserve(store, bytes as u32, PAGE_BYTES as u32))
        });
        let start = u64::from(Self::plugin_answer(CALL, answer?)?);
        // The host knows by itself where the growth began, so nothing that was there before can become part of the arena.
        if grown != Some(start) || !start.is_multiple_of(PAGE_BYTES) {
            let what = match grown {
                Some(real) => format!("the arena starts at {real}, and the answer was {start}"),
                None => format!("memory did not grow by {bytes} bytes in one step"),
            };
            self.guard.dead = true;
            return Err(PluginError::broken(CALL, what));
        }
        self.arena = Some(Arena { start, bytes });
        Ok(start)
    }

    /// Maps part of a region into the arena.
    pub fn map(
        &self,
        arena_offset: u64,
        region: &Region,
        offset: u64,
        bytes: u64,
        sharing: Sharing,
    ) -> Result<(), PluginError> {
        Ok(self.guard.memory.map(arena_offset, region, offset, bytes, sharing)?)
    }

    /// Takes out what was mapped: private zeros are there again.
    pub fn unmap(&self, arena_offset: u64, bytes: u64) -> Result<(), PluginError> {
        Ok(self.guard.memory.unmap(arena_offset, bytes)?)
    }

    /// Makes an operation ready. Error code `unsupported`: another device has to do it.
    pub fn prepare(&mut self, operation: &abi::Operation) -> Result<KernelHandle, PluginError> {
        const CALL: &str = "prepare";
        if self.kernels.len() - self.free.len() >= KERNELS_MAX {
            return Err(PluginError::misuse(CALL, "too many kernels on one instance"));
        }
        let (device, store) = (&self.device, &mut self.store);
        let wire = bindings::operation(operation);
        let limit = self.plugin.limits().setup_deadline;
        let answer = self.guard.call(CALL, limit, || device.kernel().call_prepare(store, &wire))?;
        let resource = Self::plugin_answer(CALL, answer)?;
        let kernel = Some(Kernel { resource, arity: Arity::of(operation) });
        let index = match self.free.pop() {
            Some(index) => {
                self.kernels[index as usize] = kernel;
                index
            }
            None => {
                self.kernels.push(kernel);
                self.kernels.len() as u32 - 1
            }
        };
        Ok(KernelHandle { instance: self.number, index })
    }

    /// What a kernel wants from the host, checked.
    pub fn requirements(&mut self, kernel: KernelHandle) -> Result<abi::Requirements, PluginError> {
        const CALL: &str = "requirements";
        let (resource, _) = self.kernel(CALL, kernel)?;
        let (device, store) = (&self.device, &mut self.store);
        let limit = self.plugin.limits().setup_deadline;
        let answer = self.guard.call(CALL, limit, || device.kernel().call_requirements(store, resource))?;
        let needs = bindings::requirements(answer);
        let facts = self.plugin.chip().ok_or_else(|| PluginError::misuse(CALL, "the plugin is no chip"))?;
        let (_, arity) = self.kernel(CALL, kernel)?;
        check::requirements(&needs, &facts.info, arity)?;
        Ok(needs)
    }

    /// Packs constant `input`: from `source` (its offset counted from the arena's start) to the `bytes` bytes at `target`.
    pub fn pack(
        &mut self,
        kernel: KernelHandle,
        input: u32,
        source: &abi::View,
        target: u64,
        bytes: u64,
    ) -> Result<(), PluginError> {
        const CALL: &str = "pack";
        let (resource, _) = self.kernel(CALL, kernel)?;
        let to = self.in_memory(CALL, target, bytes)?;
        let source = bindings::view(source, self.in_memory(CALL, u64::from(source.offset), 0)?);
        let (device, store) = (&self.device, &mut self.store);
        let limit = self.plugin.limits().setup_deadline + Duration::from_secs(bytes / PACK_BYTES_PER_SECOND);
        let answer = self.guard.call(CALL, limit, || device.kernel().call_pack(store, resource, input, &source, to))?;
        Self::plugin_answer(CALL, answer)
    }

    /// Records a dispatch and answers its number. Offsets of the views, and the workspace's, count from the arena's start.
    pub fn bind(&mut self, kernel: KernelHandle, views: &[abi::View], workspace: u32) -> Result<u32, PluginError> {
        const CALL: &str = "bind";
        let (resource, _) = self.kernel(CALL, kernel)?;
        let wire = views.iter().map(|view| Ok(bindings::view(view, self.in_memory(CALL, u64::from(view.offset), 0)?)));
        let wire: Vec<_> = wire.collect::<Result<_, PluginError>>()?;
        let workspace = self.in_memory(CALL, u64::from(workspace), 0)?;
        let (device, store) = (&self.device, &mut self.store);
        let limit = self.plugin.limits().setup_deadline;
        let answer = self.guard.call(CALL, limit, || device.kernel().call_bind(store, resource, &wire, workspace))?;
        let number = Self::plugin_answer(CALL, answer)?;
        if number != self.dispatches {
            // Whatever it would run under that number is not what the host thinks.
            self.guard.dead = true;
            return Err(PluginError::broken(CALL, format!("dispatch {number} where {} comes next", self.dispatches)));
        }
        self.dispatches += 1;
        Ok(number)
    }

    /// Gives a kernel back; its dispatches end with it.
    pub fn drop_kernel(&mut self, kernel: KernelHandle) {
        if kernel.instance != self.number {
            return;
        }
        let Some(gone) = self.kernels.get_mut(kernel.index as usize).and_then(Option::take) else { return };
        self.free.push(kernel.index);
        let (store, limit) = (&mut self.store, self.plugin.limits().setup_deadline);
        // A plugin that traps while it frees something leaves a dead instance, which its next caller learns.
        if let Err(error) = self.guard.call("drop", limit, || gone.resource.resource_drop(store)) {
            tracing::debug!(%error, "dropping a kernel");
        }
    }

    /// Runs shard `shard` of `shards` of `count` dispatches for the slot at `base`.
    #[inline]
    pub fn run(&mut self, first: u32, count: u32, shard: u32, shards: u32, base: u32) -> Result<(), PluginError> {
        let (device, store) = (&self.device, &mut self.store);
        let answer =
            self.guard.call("run", self.run_limit, || device.call_run(store, first, count, shard, shards, base))?;
        match answer {
            Ok(()) => Ok(()),
            Err(mut error) => {
                // The dispatch that failed, if it is one of these.
                error.index = error.index.filter(|index| index.wrapping_sub(first) < count);
                Err(Self::refusal("run", error))
            }
        }
    }

    fn kernel(&self, call: &'static str, handle: KernelHandle) -> Result<(ResourceAny, &Arity), PluginError> {
        if self.guard.dead {
            return Err(PluginError::Dead);
        }
        let own = handle.instance == self.number;
        let kernel = if own { self.kernels.get(handle.index as usize).and_then(Option::as_ref) } else { None };
        let kernel =
            kernel.ok_or_else(|| PluginError::misuse(call, "the kernel is of another instance, or was dropped"))?;
        Ok((kernel.resource, &kernel.arity))
    }

    /// An offset into the arena as an offset into linear memory.
    fn in_memory(&self, call: &'static str, offset: u64, bytes: u64) -> Result<u32, PluginError> {
        let arena = self.arena.ok_or_else(|| PluginError::misuse(call, "there is no arena yet"))?;
        match offset.checked_add(bytes) {
            // The arena ends below 4 GiB.
            Some(end) if end <= arena.bytes => Ok((arena.start + offset) as u32),
            _ => Err(PluginError::misuse(call, format!("{bytes} bytes at {offset} leave an arena of {}", arena.bytes))),
        }
    }

    #[cold]
    fn refusal(call: &'static str, error: imports::types::Error) -> PluginError {
        PluginError::Plugin {
            call,
            code: bindings::code(error.code),
            message: super::error::clean(&error.message),
            index: error.index,
        }
    }

    fn plugin_answer<T>(call: &'static str, answer: Result<T, imports::types::Error>) -> Result<T, PluginError> {
        answer.map_err(|error| Self::refusal(call, error))
    }
}

const _: () = {
    const fn may_move_between_threads<T: Send>() {}
    may_move_between_threads::<ChipInstance>();
};
