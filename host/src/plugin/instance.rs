//! What an instance of either world needs: a store with its limits, a watch, a memory, and the way from a wasmtime error to ours.

use super::linear_memory::InstanceMemory;
use super::log::PluginLog;
use super::watchdog::Watch;
use super::{Limits, Plugin, PluginError, inert_wasi};
use std::sync::Arc;
use std::time::Duration;
use wasmtime::{ResourceLimiter, Store, UpdateDeadline};

const TABLE_ELEMENTS_MAX: usize = 1 << 20;
const INSTANCES_MAX: usize = 64;
const TABLES_MAX: usize = 64;
const MEMORIES_MAX: usize = 64;

/// What a store carries besides the state of its world.
pub(super) struct Basics {
    pub(super) watch: Arc<Watch>,
    pub(super) log: PluginLog,
    pub(super) wasi: Option<Box<inert_wasi::Inert>>,
}

/// State of a store.
pub(super) trait State: Send + 'static {
    /// The common part.
    fn basics(&mut self) -> &mut Basics;
}

/// Bytes of memory are capped where the memory is made (`linear_memory`); this counts the rest.
impl ResourceLimiter for Basics {
    fn memory_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}

/// A store that is about to be instantiated into, with all limits set.
pub(super) struct Fresh<S: State> {
    pub(super) store: Store<S>,
    pub(super) guard: Guard,
}

/// Guards the calls of one instance.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) watch: Arc<Watch>,
    pub(super) memory: Arc<InstanceMemory>,
    pub(super) dead: bool,
    memory_limit: u64,
}

impl<S: State> Fresh<S> {
    /// `values_max_bytes` bounds what one call may pass to the host by value.
    pub(super) fn new(plugin: &Plugin, wasi: bool, values_max_bytes: usize, state: impl FnOnce(Basics) -> S) -> Self {
        let limits: &Limits = plugin.limits();
        let runtime = &plugin.runtime;
        let watch = runtime.watchdog.watch(limits.deadline.min(limits.setup_deadline));
        let memory = InstanceMemory::new(limits.memory_bytes, watch.clone());
        let name = plugin.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let basics = Basics {
            watch: watch.clone(),
            log: PluginLog::new(&name, limits.log_lines),
            wasi: wasi.then(|| Box::new(inert_wasi::Inert::new(&name, limits.log_lines))),
        };
        let mut store = Store::new(&runtime.engine, state(basics));
        store.limiter(|state| state.basics());
        store.set_hostcall_fuel(values_max_bytes);
        if runtime.interpret {
            store.set_epoch_deadline(1);
            store.epoch_deadline_callback(|mut context| {
                if context.data_mut().basics().watch.expired() {
                    wasmtime::bail!("the deadline has passed");
                }
                Ok(UpdateDeadline::Continue(1))
            });
        }
        let guard = Guard { watch, memory, dead: false, memory_limit: limits.memory_bytes };
        Self { store, guard }
    }
}

impl Guard {
    /// Makes one call with a deadline. After anything but an answer in time the instance is dead.
    #[inline]
    pub(super) fn call<R>(
        &mut self,
        name: &'static str,
        limit: Duration,
        call: impl FnOnce() -> wasmtime::Result<R>,
    ) -> Result<R, PluginError> {
        if self.dead {
            return Err(PluginError::Dead);
        }
        self.memory.forget_refusal();
        self.watch.arm(limit);
        let result = call();
        let in_time = self.watch.disarm();
        match result {
            Ok(value) if in_time => Ok(value),
            other => Err(self.died(name, limit, in_time, other.err())),
        }
    }

    /// Instantiates with this instance's memory as the owner.
    pub(super) fn instantiate<R>(
        &mut self,
        limit: Duration,
        instantiate: impl FnOnce() -> wasmtime::Result<R>,
    ) -> Result<R, PluginError> {
        let memory = self.memory.clone();
        let made = self.call("instantiate", limit, || memory.own_during(instantiate))?;
        if !self.memory.exists() {
            return Err(PluginError::refused("the component has no linear memory", "export one from its core module"));
        }
        Ok(made)
    }

    #[cold]
    fn died(
        &mut self,
        call: &'static str,
        limit: Duration,
        in_time: bool,
        error: Option<wasmtime::Error>,
    ) -> PluginError {
        self.dead = true;
        match error {
            _ if !in_time => PluginError::Deadline { call, limit },
            Some(_) if self.memory.was_refused() => PluginError::OutOfMemory { call, limit_bytes: self.memory_limit },
            Some(error) => PluginError::Trap { call, reason: super::error::clean(&format!("{error:#}")) },
            None => PluginError::Dead,
        }
    }
}
