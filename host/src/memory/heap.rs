//! The heap of the process, as far as others notice it.

/// Gives memory back to the system that was freed and that the allocator keeps for later: after a large piece of work whose like does not come soon.
pub fn give_back() {
    // SAFETY: malloc_trim may be called at any time and from any thread; it moves nothing that is in use.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Has the allocator keep little of what is freed from now on, in every thread: [`give_back`] reaches only what lies between blocks in use, and the
/// end of another thread's heap stays with that thread, up to 64 MiB of it. For processes that weigh themselves; elsewhere it costs page faults.
pub fn keep_little() {
    // SAFETY: mallopt takes the lock of the main heap, and this parameter is one word that later calls of free compare a size with.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, 128 << 10);
    }
}
