//! Work that gives way to requests: compiling a plugin while models are served.

use rayon_core::ThreadPoolBuilder;

/// The lowest priority there is.
const NICE: i32 = 19;

/// Does `work` on one thread of the lowest priority. What it would spread over all cores (the compiler's parallel parts) stays on that thread.
pub(super) fn give_way<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    // Linux applies this to the calling thread alone. Lowering one's own priority is always allowed.
    let yielding = |_| {
        let _ = rustix::process::setpriority_process(None, NICE);
    };
    match ThreadPoolBuilder::new().num_threads(1).thread_name(|_| "compile".into()).start_handler(yielding).build() {
        Ok(pool) => pool.install(work),
        Err(error) => {
            tracing::warn!(%error, "no thread could be started for compiling: requests may be slower for a moment");
            work()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_gives_way_is_alone_on_its_thread_and_last_in_line() {
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let before = priority();
        let (threads, nice) = give_way(|| (rayon_core::current_num_threads(), priority()));
        assert_eq!((threads, nice, priority()), (1, NICE, before));
    }
}
