//! What a plugin must not do, one function each.

use core::arch::wasm32::{memory_grow, memory_size, unreachable};
use std::hint::black_box;
use std::ops::Range;
use sunmao_plugin_sdk::{Error, ErrorCode, LogLevel, log};

/// Never returns, and touches no memory.
#[expect(clippy::empty_loop, reason = "wasting cycles is the misdeed")]
pub(crate) fn spin() -> ! {
    loop {}
}

/// Never returns, and loads and stores all the while.
pub(crate) fn spin_over_memory() -> ! {
    let mut counters = [0u64; 64];
    loop {
        for counter in &mut counters {
            let counter: *mut u64 = counter;
            // SAFETY: the pointer comes from a live reference to an element of `counters`.
            unsafe { counter.write_volatile(counter.read_volatile().wrapping_add(1)) }
        }
    }
}

/// Traps.
pub(crate) fn trap() -> ! {
    unreachable()
}

/// Uses up the stack.
pub(crate) fn recurse() -> u32 {
    #[inline(never)]
    fn deeper(level: u32) -> u32 {
        let frame = black_box([level; 16]);
        if black_box(false) { 0 } else { deeper(level.wrapping_add(1)).wrapping_add(frame[3]) }
    }
    deeper(0)
}

/// Takes pages until the host denies them, and says how many.
pub(crate) fn grow_until_denied() -> Error {
    Error::new(ErrorCode::OutOfMemory, format!("took {} pages", take_memory()))
}

/// Takes pages until the host denies them, and touches each.
pub(crate) fn take_memory() -> u64 {
    let mut pages = 0;
    loop {
        let start = memory_grow(0, 16);
        if start == usize::MAX {
            break;
        }
        for page in start..start + 16 {
            // SAFETY: `memory_grow` has just added the page; nothing else knows of it.
            unsafe { ((page * 65536) as *mut u8).write_volatile(1) };
        }
        pages += 16;
    }
    pages
}

/// Calls itself twice at each of 60 levels.
pub(crate) fn call_tree() -> u64 {
    #[inline(never)]
    fn branch(level: u32) -> u64 {
        if black_box(level) == 0 { 1 } else { branch(level - 1).wrapping_add(branch(level - 1)) }
    }
    branch(60)
}

/// Takes 1 MiB and never gives it back.
pub(crate) fn leak() {
    let mut kept = vec![0u8; 1 << 20];
    // Touched, so that it is memory and not only a number.
    kept.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    std::mem::forget(black_box(kept));
}

/// Touches what lies behind the end of memory.
pub(crate) fn touch_beyond(write: bool) -> u8 {
    let beyond = memory_bytes().min(u64::from(u32::MAX)) as usize as *mut u8;
    // SAFETY: none of Rust's: this is what a hostile plugin does, and the sandbox traps.
    unsafe {
        if write {
            beyond.write_volatile(1);
        }
        beyond.read_volatile()
    }
}

/// An error with as much of 64 MiB of message as there is memory for.
pub(crate) fn shout() -> Error {
    Error::new(ErrorCode::Internal, "A".repeat(affordable(64 << 20, 1)))
}

/// `count`, halved until there is memory for so many things of `bytes` bytes.
pub(crate) fn affordable(mut count: usize, bytes: usize) -> usize {
    while count > 4096 && Vec::<u8>::new().try_reserve_exact(count * bytes).is_err() {
        count /= 2;
    }
    count
}

/// Many long lines to the log.
pub(crate) fn chatter() {
    let line = "blah ".repeat(820);
    for _ in 0..10_000 {
        log(LogLevel::Warn, &line);
    }
}

/// Writes over `range`, leaving out `keep`. By whole stretches: an arena has many bytes, and a deadline is near.
pub(crate) fn scribble(range: Range<usize>, keep: &[Range<usize>]) {
    let mut keep = keep.to_vec();
    keep.sort_by_key(|kept| kept.start);
    let mut from = range.start;
    for kept in keep.into_iter().chain(std::iter::once(range.end..range.end)) {
        let until = kept.start.min(range.end);
        if until > from {
            // SAFETY: none of Rust's: this is what a hostile plugin does. The addresses are in the arena, which Rust's allocator never hands out.
            unsafe { (from as *mut u8).write_bytes(0xAA, until - from) };
        }
        from = from.max(kept.end);
    }
}

/// Size of linear memory in bytes.
pub(crate) fn memory_bytes() -> u64 {
    memory_size(0) as u64 * 65536
}
