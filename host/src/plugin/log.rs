//! What a plugin says goes to the host's log, within a budget: a plugin must not fill a disk, nor write lines that look like the host's own.

use super::error::clean;

/// How loud a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// The log of one instance.
#[derive(Debug)]
pub(super) struct PluginLog {
    plugin: String,
    left: u32,
    dropped: u64,
}

impl PluginLog {
    /// A log that passes `lines` lines on.
    pub(super) fn new(plugin: &str, lines: u32) -> Self {
        Self { plugin: plugin.to_owned(), left: lines, dropped: 0 }
    }

    pub(super) fn write(&mut self, level: Level, message: &str) {
        let Some(left) = self.left.checked_sub(1) else {
            self.dropped += 1;
            return;
        };
        self.left = left;
        let (plugin, message) = (&self.plugin, clean(message));
        match level {
            Level::Trace => tracing::trace!(%plugin, "{message}"),
            Level::Debug => tracing::debug!(%plugin, "{message}"),
            Level::Info => tracing::info!(%plugin, "{message}"),
            Level::Warn => tracing::warn!(%plugin, "{message}"),
            Level::Error => tracing::error!(%plugin, "{message}"),
        }
        if left == 0 {
            tracing::warn!(plugin, "the plugin's budget of log lines is spent: the rest of this instance's is dropped");
        }
    }

    #[cfg(test)]
    fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl Drop for PluginLog {
    fn drop(&mut self) {
        if self.dropped > 0 {
            tracing::warn!(plugin = self.plugin, lines = self.dropped, "log lines of a plugin were dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_budget_are_dropped_and_counted() {
        let mut log = PluginLog::new("test", 2);
        for _ in 0..5 {
            log.write(Level::Info, "hello");
        }
        assert_eq!(log.dropped(), 3);
    }
}
