//! C-13 to C-25: time, stack, memory, tables, the log, messages, handles. Each has an end, and the plugin meets it.

use super::forge::with_tables_of;
use super::lab::{Lab, ask};
use super::probe::{Bed, Probe};
use super::{Check, Trouble, ensure};
use crate::plugin::{LoadOptions, PluginError};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tracing::span;

pub(super) const CHECKS: &[Check] = &[
    Check { id: "C-13", title: "a loop while instantiating ends at the deadline", run: loop_at_start },
    Check { id: "C-14", title: "a loop in `prepare` ends at the deadline", run: loop_in_prepare },
    Check { id: "C-15", title: "a loop in `run` is stopped within 50 ms of the deadline", run: loop_in_run },
    // There is no `cancelled` to be ignored: a plugin is never asked to stop, it is stopped.
    Check { id: "C-16", title: "loops that touch nothing, and calls without loops, are stopped", run: nothing_to_poll },
    Check { id: "C-17", title: "recursion without end traps", run: recursion },
    Check { id: "C-18", title: "memory taken while instantiating ends at the cap", run: bomb_at_start },
    Check { id: "C-19", title: "memory taken in `prepare` ends at the cap", run: bomb_in_prepare },
    Check { id: "C-20", title: "memory taken in `run`, behind the arena, ends at the cap", run: bomb_in_run },
    Check { id: "C-21", title: "a table of 2^24 elements is denied", run: table_bomb },
    Check { id: "C-22", title: "a flood of log lines is cut to the budget", run: log_flood },
    Check { id: "C-23", title: "a message of 64 MiB is cut to a line", run: long_message },
    Check { id: "C-24", title: "kernels without number end at a bound", run: many_kernels },
    Check { id: "C-25", title: "a leak in `run` ends at the cap, and the plugin does not leak", run: leak },
];

/// Its memory cap, and what an arena and rounding add.
const MEMORY_MAX_BYTES: u64 = (64 << 20) + (4 << 20);

/// The error must be a missed deadline in that call.
fn late<T: std::fmt::Debug>(result: Result<T, PluginError>, expected: &str) -> Result<(), Trouble> {
    match result {
        Err(PluginError::Deadline { call, .. }) if call == expected => Ok(()),
        other => Err(Trouble::Failed(format!("no deadline in `{expected}`, but {other:?}"))),
    }
}

/// The error must be a trap, or the end of its memory, in that call.
fn died<T>(result: Result<T, PluginError>, expected: &str) -> Result<(), Trouble> {
    match result {
        Err(PluginError::Trap { call, .. } | PluginError::OutOfMemory { call, .. }) if call == expected => Ok(()),
        Err(other) => Err(Trouble::Failed(format!("no trap in `{expected}`, but: {other}"))),
        Ok(_) => Err(Trouble::Failed(format!("`{expected}` answered"))),
    }
}

fn loop_at_start(lab: &Lab) -> Result<(), Trouble> {
    late(lab.guest(37)?, "instantiate")
}

fn loop_in_prepare(lab: &Lab) -> Result<(), Trouble> {
    late(Lab::instance(&lab.guest(6)??)?.prepare(&Probe::sum().operation), "prepare")
}

fn loop_in_run(lab: &Lab) -> Result<(), Trouble> {
    const OVERRUN: Duration = Duration::from_millis(50);
    let plugin = lab.guest(2)??;
    let mut least = Duration::MAX;
    // The machine has other things to do as well: the best of a few.
    for _ in 0..4 {
        let mut bed = Bed::new(&plugin)?;
        let start = Instant::now();
        late(bed.run(&Probe::sum(), 0, 1).map(|ran| ran.output), "run")?;
        least = least.min(start.elapsed().saturating_sub(plugin.limits().deadline));
        if least <= OVERRUN {
            return Ok(());
        }
    }
    Err(Trouble::Failed(format!("it ran for {} ms more than it may", least.as_millis())))
}

fn nothing_to_poll(lab: &Lab) -> Result<(), Trouble> {
    for mode in [1, 39] {
        late(lab.guest_bed(mode)?.run(&Probe::sum(), 0, 1).map(|ran| ran.output), "run")?;
    }
    Ok(())
}

fn recursion(lab: &Lab) -> Result<(), Trouble> {
    died(lab.guest_bed(9)?.run(&Probe::sum(), 0, 1), "run")
}

fn bomb_at_start(lab: &Lab) -> Result<(), Trouble> {
    match lab.guest(38)? {
        Ok(plugin) => {
            let bytes = crate::plugin::ChipInstance::new(&plugin)?.memory_bytes();
            ensure(bytes <= MEMORY_MAX_BYTES, || format!("an instance has {bytes} bytes"))
        }
        // What it took is missing when it wants to answer.
        Err(PluginError::Trap { .. } | PluginError::OutOfMemory { .. }) => Ok(()),
        Err(other) => Err(other.into()),
    }
}

fn bomb_in_prepare(lab: &Lab) -> Result<(), Trouble> {
    let mut instance = Lab::instance(&lab.guest(8)??)?;
    match instance.prepare(&Probe::sum().operation) {
        Err(PluginError::Plugin { .. } | PluginError::OutOfMemory { .. } | PluginError::Trap { .. }) => {
            let bytes = instance.memory_bytes();
            ensure(bytes <= MEMORY_MAX_BYTES, || format!("the instance has {bytes} bytes"))
        }
        other => Err(Trouble::Failed(format!("{other:?}"))),
    }
}

fn bomb_in_run(lab: &Lab) -> Result<(), Trouble> {
    let mut bed = lab.guest_bed(40)?;
    let right = lab.guest_bed(0)?.run(&Probe::sum(), 0, 1)?.output;
    let ran = bed.run(&Probe::sum(), 0, 1)?;
    ensure(ran.output == right && ran.strays.is_empty(), || "what the host mapped did not stay where it was".into())?;
    let bytes = bed.instance.memory_bytes();
    ensure(bytes <= MEMORY_MAX_BYTES, || format!("the instance has {bytes} bytes"))
}

fn table_bomb(lab: &Lab) -> Result<(), Trouble> {
    let bytes = with_tables_of(&lab.guest_bytes("guest.wasm")?, 1 << 24).map_err(Trouble::Failed)?;
    match lab.load("tables", &bytes) {
        Ok(_) => Err(Trouble::Failed("it was loaded".into())),
        Err(PluginError::Refused { .. } | PluginError::Trap { .. } | PluginError::OutOfMemory { .. }) => Ok(()),
        Err(other) => Err(other.into()),
    }
}

/// Counts log events and drops them.
struct Counter(AtomicU64);

impl tracing::Subscriber for Counter {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

fn log_flood(lab: &Lab) -> Result<(), Trouble> {
    let counter = std::sync::Arc::new(Counter(AtomicU64::new(0)));
    let plugin = tracing::subscriber::with_default(counter.clone(), || lab.guest(23))??;
    let lines = counter.0.load(Ordering::Relaxed);
    // A few are the host's own: the compiler, the cache, and how many lines were dropped.
    let most = u64::from(plugin.limits().log_lines) + 50;
    ensure(lines <= most, || format!("{lines} lines of 10000 came through, over {most}"))
}

fn long_message(lab: &Lab) -> Result<(), Trouble> {
    match Lab::instance(&lab.guest(10)??)?.prepare(&Probe::sum().operation) {
        Err(PluginError::Plugin { message, .. }) => {
            ensure(message.len() <= 1100, || format!("a message of {} bytes came through", message.len()))
        }
        Err(PluginError::Trap { .. } | PluginError::OutOfMemory { .. }) => Ok(()),
        other => Err(Trouble::Failed(format!("{other:?}"))),
    }
}

fn many_kernels(lab: &Lab) -> Result<(), Trouble> {
    let mut instance = Lab::instance(&lab.guest(0)??)?;
    let operation = Probe::sum().operation;
    let start = Instant::now();
    for _ in 0..=1 << 20 {
        if let Err(error) = instance.prepare(&operation) {
            let bytes = instance.memory_bytes();
            ensure(bytes <= MEMORY_MAX_BYTES, || format!("{bytes} bytes when it ended with: {error}"))?;
            return match error {
                PluginError::OutOfMemory { .. } | PluginError::Trap { .. } | PluginError::Misuse { .. } => Ok(()),
                other => Err(other.into()),
            };
        }
        if start.elapsed() > Duration::from_secs(30) {
            break;
        }
    }
    Err(Trouble::Failed("a million kernels on one instance, and no end".into()))
}

fn leak(lab: &Lab) -> Result<(), Trouble> {
    let (session, _) = lab.serve("leaking", lab.guest(41)??)?;
    for request in 0..200 {
        ensure(ask(&session, 3)?, || format!("request {request} on a leaking plugin was answered wrong"))?;
    }
    let mut bed =
        Bed::new(&lab.runtime.load(lab.plugin.path(), &LoadOptions { wasi_inert: true, ..LoadOptions::default() })?)?;
    let probe = Probe::of(&lab.plugin)?.swap_remove(0);
    (0..10).try_for_each(|_| bed.run(&probe, 0, 1).map(drop))?;
    let before = bed.instance.memory_bytes();
    bed.repeat(&probe, lab.depth.runs)?;
    let after = bed.instance.memory_bytes();
    ensure(after == before, || format!("{before} bytes before and {after} after {} runs", lab.depth.runs))
}
