//! A line on stderr for anything that takes over a second, so that nobody wonders whether it hangs.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

static INTO_LOG: AtomicBool = AtomicBool::new(false);

/// From now on progress is logged like everything else: for a server, whose stderr is read by machines.
pub(super) fn into_log() {
    INTO_LOG.store(true, Ordering::Relaxed);
}

/// Does the work; says so on stderr after a second, and again now and then.
pub(super) fn during<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let (done, waiting) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let start = Instant::now();
            let log = INTO_LOG.load(Ordering::Relaxed);
            let terminal = std::io::stderr().is_terminal() && !log;
            // On a terminal one line counts the seconds; in a file each line costs space.
            let mut pause = Duration::from_secs(1);
            let mut shown = false;
            while waiting.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let seconds = start.elapsed().as_secs();
                shown = true;
                if terminal {
                    let _ = write!(std::io::stderr(), "\r{what} ... {seconds} s ");
                } else {
                    if log {
                        tracing::info!(elapsed_s = seconds, "{what}");
                    } else {
                        let _ = writeln!(std::io::stderr(), "{what} ... {seconds} s");
                    }
                    pause = (pause * 2).min(Duration::from_secs(30));
                }
            }
            if shown && terminal {
                let _ = writeln!(std::io::stderr(), "\r{what} ... done in {:.1} s", start.elapsed().as_secs_f64());
            }
        });
        let result = work();
        drop(done);
        result
    })
}
