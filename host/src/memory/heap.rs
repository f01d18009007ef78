//! The heap of the process, as far as others notice it.

/// Gives memory back to the system that was freed and that the allocator keeps for later: after a large piece of work whose like does not come soon.
pub fn give_back() {
    // SAFETY: malloc_trim may be called at any time and from any thread; it moves nothing that is in use.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::malloc_trim(0);
    }
}
