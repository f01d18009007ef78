//! Linear memory that the host owns: adapts `memory`'s reservations to wasmtime.
//!
//! An instance has one memory of its own, in which its arena lies, and poll pages (see `instrument`). wasmtime asks the creator for memories while
//! it instantiates, and does not say for whom: the owner is left in a thread-local for that time.

use super::instrument::{POLL_BYTES, POLL_MAXIMUM_PAGES};
use super::watchdog::Watch;
use crate::memory::{MemoryError, PAGE_BYTES, Region, Reservation, Sharing};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

thread_local! {
    static OWNER: RefCell<Option<Arc<InstanceMemory>>> = const { RefCell::new(None) };
}

/// What one component instance has of memory.
#[derive(Debug)]
pub(super) struct InstanceMemory {
    /// Cap on everything but the arena.
    private_cap: u64,
    own: OnceLock<Own>,
    watch: Arc<Watch>,
    /// Bytes that `reserve` may take in its one growth; 0: no growth beyond the cap.
    allowance: AtomicU64,
    arena_start: AtomicU64,
    arena_bytes: AtomicU64,
    /// Growth was refused in the running call: a trap that follows is for want of memory.
    refused: AtomicBool,
}

#[derive(Debug)]
struct Own {
    space: Arc<Reservation>,
    bytes: AtomicU64,
}

impl InstanceMemory {
    pub(super) fn new(private_cap: u64, watch: Arc<Watch>) -> Arc<Self> {
        Arc::new(Self {
            private_cap,
            own: OnceLock::new(),
            watch,
            allowance: AtomicU64::new(0),
            arena_start: AtomicU64::new(0),
            arena_bytes: AtomicU64::new(0),
            refused: AtomicBool::new(false),
        })
    }

    /// Runs `instantiate` with this as the owner of every memory that is made meanwhile on this thread.
    pub(super) fn own_during<R>(self: &Arc<Self>, instantiate: impl FnOnce() -> R) -> R {
        /// Takes the owner out again, also when `instantiate` panics.
        struct Leave(Option<Arc<InstanceMemory>>);
        impl Drop for Leave {
            fn drop(&mut self) {
                OWNER.set(self.0.take());
            }
        }
        let _leave = Leave(OWNER.replace(Some(self.clone())));
        instantiate()
    }

    /// Whether the instance has a memory of its own.
    pub(super) fn exists(&self) -> bool {
        self.own.get().is_some()
    }

    /// `memory.size`, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.own.get().map_or(0, |own| own.bytes.load(Ordering::Acquire))
    }

    /// A new call begins: what was refused before is no reason for what happens now.
    #[inline]
    pub(super) fn forget_refusal(&self) {
        self.refused.store(false, Ordering::Relaxed);
    }

    /// Whether growth was refused.
    pub(super) fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// Lets the instance grow once by exactly `bytes` beyond its cap, while `reserve` runs; answers where that growth began.
    pub(super) fn allow_arena<R>(&self, bytes: u64, reserve: impl FnOnce() -> R) -> (R, Option<u64>) {
        self.allowance.store(bytes, Ordering::Relaxed);
        let result = reserve();
        let unused = self.allowance.swap(0, Ordering::Relaxed) != 0;
        (result, (!unused && bytes > 0).then(|| self.arena_start.load(Ordering::Relaxed)))
    }

    /// Maps part of a region over part of the arena.
    pub(super) fn map(
        &self,
        at: u64,
        region: &Region,
        offset: u64,
        bytes: u64,
        sharing: Sharing,
    ) -> Result<(), MemoryError> {
        let (own, at) = self.in_arena("mapping into an arena", at, bytes)?;
        own.space.map(at, region, offset, bytes, sharing)
    }

    /// Puts private zeros where something was mapped.
    pub(super) fn unmap(&self, at: u64, bytes: u64) -> Result<(), MemoryError> {
        let (own, at) = self.in_arena("unmapping from an arena", at, bytes)?;
        own.space.clear(at, bytes, true)
    }

    fn in_arena(&self, what: &'static str, at: u64, bytes: u64) -> Result<(&Own, u64), MemoryError> {
        let size = self.arena_bytes.load(Ordering::Relaxed);
        let start = self.arena_start.load(Ordering::Relaxed);
        match (self.own.get(), at.checked_add(bytes)) {
            (Some(own), Some(end)) if end <= size => Ok((own, start + at)),
            _ => Err(MemoryError::OutOfRange { what, at, bytes, size }),
        }
    }

    fn create_own(self: &Arc<Self>, minimum: u64, reserved: u64, guard: u64) -> Result<OwnMemory, String> {
        if minimum > self.private_cap {
            self.refused.store(true, Ordering::Relaxed);
            return Err(format!("the plugin starts with {minimum} bytes of memory; its cap is {}", self.private_cap));
        }
        let space = Arc::new(Reservation::new(reserved.saturating_add(guard)).map_err(|error| error.to_string())?);
        space.protect(0, minimum, true).map_err(|error| error.to_string())?;
        self.own
            .set(Own { space: space.clone(), bytes: AtomicU64::new(minimum) })
            .map_err(|_| "the component has more than one linear memory of its own".to_owned())?;
        Ok(OwnMemory { owner: self.clone(), space, reserved })
    }

    fn grow(&self, space: &Reservation, bytes: u64) -> Result<(), String> {
        let own = self.own.get().ok_or("growth of a memory that was not made")?;
        let before = own.bytes.load(Ordering::Relaxed);
        let by = bytes.checked_sub(before).ok_or("memories do not shrink")?;
        // The one growth of `reserve`. It is told from the plugin's own growth by its size.
        let arena = by > 0 && self.allowance.compare_exchange(by, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if !arena && bytes - self.arena_bytes.load(Ordering::Relaxed) > self.private_cap {
            self.refused.store(true, Ordering::Relaxed);
            return Err(format!("beyond the cap of {} bytes", self.private_cap));
        }
        if let Err(error) = space.protect(before, by, true) {
            self.refused.store(true, Ordering::Relaxed);
            return Err(error.to_string());
        }
        if arena {
            self.arena_start.store(before, Ordering::Relaxed);
            self.arena_bytes.store(by, Ordering::Relaxed);
        }
        own.bytes.store(bytes, Ordering::Release);
        Ok(())
    }
}

/// Makes memories for whoever is being instantiated on the current thread.
pub(super) struct Creator;

// SAFETY: the memories are made as the trait demands: `reserved` bytes and the guard behind them are reserved and inaccessible but for the
// current size, the base never moves, and new pages are zeros. Outside of wasmtime only the arena is touched, as raw memory.
unsafe impl wasmtime::MemoryCreator for Creator {
    fn new_memory(
        &self,
        ty: wasmtime::MemoryType,
        minimum: usize,
        _maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn wasmtime::LinearMemory>, String> {
        let owner = OWNER.with_borrow(Clone::clone).ok_or("a memory outside of an instantiation")?;
        let (minimum, guard) = (minimum as u64, guard as u64);
        let reserved = (reserved.unwrap_or(0) as u64).max(minimum).max(PAGE_BYTES);
        if ty.maximum() == Some(POLL_MAXIMUM_PAGES) && minimum == POLL_BYTES {
            // As large as any other: wasmtime looks up the memory of a fault by its range, and the ranges must be disjoint.
            let space = Arc::new(Reservation::new(reserved + guard).map_err(|error| error.to_string())?);
            space.protect(0, POLL_BYTES, true).map_err(|error| error.to_string())?;
            owner.watch.add_poll_page(space.clone());
            return Ok(Box::new(PollMemory { space, reserved }));
        }
        Ok(Box::new(owner.create_own(minimum, reserved, guard)?))
    }
}

struct OwnMemory {
    owner: Arc<InstanceMemory>,
    space: Arc<Reservation>,
    reserved: u64,
}

// SAFETY: the size only grows, up to the reservation, and pages are accessible before the size says so.
unsafe impl wasmtime::LinearMemory for OwnMemory {
    fn byte_size(&self) -> usize {
        self.owner.bytes() as usize
    }

    fn byte_capacity(&self) -> usize {
        self.reserved as usize
    }

    fn grow_to(&mut self, bytes: usize) -> wasmtime::Result<()> {
        if bytes as u64 > self.reserved {
            return Err(wasmtime::format_err!("beyond the reserved address space"));
        }
        self.owner.grow(&self.space, bytes as u64).map_err(|reason| wasmtime::format_err!("{reason}"))
    }

    fn as_ptr(&self) -> *mut u8 {
        self.space.base()
    }
}

struct PollMemory {
    space: Arc<Reservation>,
    reserved: u64,
}

// SAFETY: a memory of one page that never grows.
unsafe impl wasmtime::LinearMemory for PollMemory {
    fn byte_size(&self) -> usize {
        POLL_BYTES as usize
    }

    fn byte_capacity(&self) -> usize {
        self.reserved as usize
    }

    fn grow_to(&mut self, _: usize) -> wasmtime::Result<()> {
        Err(wasmtime::format_err!("a poll page does not grow"))
    }

    fn as_ptr(&self) -> *mut u8 {
        self.space.base()
    }
}
