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

#[cfg(test)]
mod tests {
    use super::super::instance::Fresh;
    use super::super::testing::{chip, runtime};
    use super::*;
    use std::time::Instant;
    use wasmtime::component::Component;

    /// Sleeps an hour, and answers the time; random numbers; how many arguments there are.
    const GUEST: &str = r#"(component
        (import "wasi:io/poll@0.2.0" (instance $poll
            (export "pollable" (type $p (sub resource)))
            (export "[method]pollable.block" (func (param "self" (borrow $p))))))
        (alias export $poll "pollable" (type $pollable))
        (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
            (alias outer 1 $pollable (type $outer))
            (export "pollable" (type $p (eq $outer)))
            (export "now" (func (result u64)))
            (export "subscribe-duration" (func (param "when" u64) (result (own $p))))))
        (import "wasi:random/random@0.2.0" (instance $random (export "get-random-u64" (func (result u64)))))
        (core func $now (canon lower (func $clock "now")))
        (core func $subscribe (canon lower (func $clock "subscribe-duration")))
        (core func $block (canon lower (func $poll "[method]pollable.block")))
        (core func $random (canon lower (func $random "get-random-u64")))
        (core module $m
            (import "" "now" (func $now (result i64)))
            (import "" "subscribe" (func $subscribe (param i64) (result i32)))
            (import "" "block" (func $block (param i32)))
            (import "" "random" (func $random (result i64)))
            (func (export "sleep") (result i64)
                (call $block (call $subscribe (i64.const 3600000000000)))
                (call $now))
            (func (export "random") (result i64) (call $random)))
        (core instance $i (instantiate $m (with "" (instance
            (export "now" (func $now)) (export "subscribe" (func $subscribe))
            (export "block" (func $block)) (export "random" (func $random))))))
        (func (export "sleep") (result u64) (canon lift (core func $i "sleep")))
        (func (export "random") (result u64) (canon lift (core func $i "random"))))"#;

    fn guest(function: &str) -> u64 {
        let engine = &runtime().engine;
        let component = Component::new(engine, wat::parse_str(GUEST).unwrap()).unwrap();
        let mut linker = Linker::<ChipState>::new(engine);
        link(&mut linker).unwrap();
        let mut fresh = Fresh::new(&chip(), true, 1 << 20, ChipState);
        let instance = linker.instantiate(&mut fresh.store, &component).unwrap();
        let function = instance.get_typed_func::<(), (u64,)>(&mut fresh.store, function).unwrap();
        function.call(&mut fresh.store, ()).unwrap().0
    }

    #[test]
    fn time_stands_still_and_nobody_sleeps() {
        let started = Instant::now();
        assert_eq!(guest("sleep"), 0);
        assert!(started.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn random_numbers_are_the_same_each_time() {
        assert_eq!(guest("random"), guest("random"));
    }

    #[test]
    fn output_goes_to_the_log_line_by_line() {
        let mut output = Output(Arc::new(Mutex::new(Lines { log: PluginLog::new("test", 3), line: Vec::new() })));
        output.write(bytes::Bytes::from_static(b"one\ntwo, and")).unwrap();
        assert_eq!(output.0.lock().unwrap().line, b"two, and");
        output.write(bytes::Bytes::from(vec![b'x'; WRITE_MAX_BYTES])).unwrap();
        assert_eq!(output.0.lock().unwrap().line.len(), LINE_MAX_BYTES);
        assert!(output.write(bytes::Bytes::from(vec![b'x'; WRITE_MAX_BYTES + 1])).is_err());
    }
}
