//! An empty WASI, for components of toolchains that import it whether they need it or not.
//!
//! No directories, no sockets, no environment, no arguments; clocks that stand still, random numbers from a fixed seed, output to the bounded log.
//! Nothing here waits: what a plugin would sleep for is over at once, since a call of the host that blocks could not be stopped at a deadline.

use super::chip::ChipState;
use super::importer::ImportState;
use super::instance::{Basics, State};
use super::log::{Level, PluginLog};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use wasmtime::component::{Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{DynPollable, OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::{Deterministic, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView};

const POLL: &str = "wasi:io/poll@0.2.12";
/// Handles that one instance holds at a time.
const HANDLES_MAX: usize = 1024;
const RANDOM_MAX_BYTES: u64 = 1 << 20;
/// A line that does not end is cut here.
const LINE_MAX_BYTES: usize = 1024;
const WRITE_MAX_BYTES: usize = 4096;

/// What an instance with WASI carries.
pub(super) struct Inert {
    context: WasiCtx,
    table: ResourceTable,
}

impl Inert {
    pub(super) fn new(plugin: &str, lines: u32) -> Self {
        let output = Output(Arc::new(Mutex::new(Lines { log: PluginLog::new(plugin, lines), line: Vec::new() })));
        let context = WasiCtx::builder()
            .stdout(output.clone())
            .stderr(output)
            .secure_random(Deterministic::new(b"sunmao".to_vec()))
            .insecure_random(Deterministic::new(b"sunmao".to_vec()))
            .insecure_random_seed(0)
            .max_random_size(RANDOM_MAX_BYTES)
            .wall_clock(Frozen)
            .monotonic_clock(Frozen)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_MAX);
        Self { context, table }
    }
}

impl WasiView for ChipState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        view(self.basics())
    }
}

impl WasiView for ImportState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        view(self.basics())
    }
}

fn view(basics: &mut Basics) -> WasiCtxView<'_> {
    let inert = basics.wasi.as_mut().expect("WASI is linked for instances that carry one");
    WasiCtxView { ctx: &mut inert.context, table: &mut inert.table }
}

/// Links the empty WASI.
pub(super) fn link<S: State + WasiView>(linker: &mut Linker<S>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_sync(linker)?;
    linker.allow_shadowing(true);
    let mut poll = linker.instance(POLL)?;
    poll.func_wrap("poll", |_, (pollables,): (Vec<Resource<DynPollable>>,)| {
        // All at once: whoever waits for a time waits for a clock that stands still.
        Ok(((0..pollables.len() as u32).collect::<Vec<u32>>(),))
    })?;
    poll.func_wrap("[method]pollable.block", |_, (_,): (Resource<DynPollable>,)| Ok(()))?;
    linker.allow_shadowing(false);
    Ok(())
}

/// A clock that stands still.
struct Frozen;

impl HostWallClock for Frozen {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

impl HostMonotonicClock for Frozen {
    fn resolution(&self) -> u64 {
        1_000_000_000
    }

    fn now(&self) -> u64 {
        0
    }
}

/// Standard output and error: lines of the log.
#[derive(Clone)]
struct Output(Arc<Mutex<Lines>>);

struct Lines {
    log: PluginLog,
    line: Vec<u8>,
}

impl Lines {
    fn end(&mut self) {
        if !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            self.log.write(Level::Info, &String::from_utf8_lossy(&line));
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.end();
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // For WASI 0.3, which is not linked.
        Box::new(tokio::io::sink())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl OutputStream for Output {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        if bytes.len() > WRITE_MAX_BYTES {
            return Err(StreamError::trap("a write of more than the stream permits"));
        }
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for &byte in &bytes {
            if byte == b'\n' {
                lines.end();
            } else if lines.line.len() < LINE_MAX_BYTES {
                lines.line.push(byte);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_MAX_BYTES)
    }
}
