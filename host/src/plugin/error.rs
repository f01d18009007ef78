//! What can go wrong with a plugin, told apart by what the host does about it.

use crate::memory::MemoryError;
use std::path::PathBuf;
use std::time::Duration;
use sunmao_plugin_sdk::ErrorCode;

/// Why a plugin was not loaded, or a call on it failed.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// The file could not be read.
    #[error("cannot read plugin {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The component is not one that the host runs.
    #[error("{reason}; {remedy}")]
    Refused {
        /// What is wrong with it.
        reason: String,
        /// What to do about it.
        remedy: String,
    },
    /// The component was built for another version of the ABI.
    #[error("the plugin was built for ABI version {wants}, this host has {has}; {}", abi_remedy(wants, has))]
    AbiMismatch {
        /// Version that the component names.
        wants: String,
        /// Version of this host.
        has: &'static str,
    },
    /// A call took longer than it may. The instance is dead.
    #[error("the plugin did not come back from `{call}` within {} ms", limit.as_millis())]
    Deadline {
        /// Which call.
        call: &'static str,
        /// What it was given.
        limit: Duration,
    },
    /// The component ended itself, or did what no component may. The instance is dead.
    #[error("the plugin trapped in `{call}`: {reason}")]
    Trap {
        /// Which call.
        call: &'static str,
        /// Why, for the log: the runtime's words.
        reason: String,
    },
    /// The plugin answered with an error of the ABI. The instance lives on.
    #[error("the plugin refused `{call}`: {message}")]
    Plugin {
        /// Which call.
        call: &'static str,
        /// The kind of error.
        code: ErrorCode,
        /// The plugin's words, cut and cleaned of control characters.
        message: String,
        /// Operand or dispatch at fault.
        index: Option<u32>,
    },
    /// The plugin needs more memory than its cap allows. After a trap the instance is dead.
    #[error(
        "the plugin ran out of its {limit_bytes} bytes of memory in `{call}`: raise memory_mib of this plugin in plugins.toml"
    )]
    OutOfMemory {
        /// Which call.
        call: &'static str,
        /// The cap on its private memory.
        limit_bytes: u64,
    },
    /// The plugin answered with something that the ABI rules out.
    #[error("the plugin broke the ABI in `{call}`: {what}")]
    Broken {
        /// Which call.
        call: &'static str,
        /// What it answered.
        what: String,
    },
    /// The caller inside the host asked for something impossible, for instance a range outside the arena.
    #[error("host error in `{call}`: {what}")]
    Misuse {
        /// Which call.
        call: &'static str,
        /// What is wrong.
        what: String,
    },
    /// The instance died in an earlier call.
    #[error("the instance is dead after an earlier trap or deadline")]
    Dead,
    /// The system refused memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The runtime itself could not be set up.
    #[error("plugin runtime: {0}")]
    Runtime(String),
}

impl PluginError {
    pub(super) fn refused(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into(), remedy: remedy.into() }
    }

    pub(crate) fn broken(call: &'static str, what: impl Into<String>) -> Self {
        Self::Broken { call, what: what.into() }
    }

    pub(super) fn misuse(call: &'static str, what: impl Into<String>) -> Self {
        Self::Misuse { call, what: what.into() }
    }
}

fn abi_remedy(wants: &str, has: &str) -> &'static str {
    let parts = |text: &str| {
        let mut numbers = text.split(['.', '-', '+']).map(|part| part.parse::<u64>().unwrap_or(0));
        [0; 3].map(|_| numbers.next().unwrap_or(0))
    };
    if parts(wants) > parts(has) {
        "update the host, or build the plugin with an older SDK"
    } else {
        "build the plugin again with the SDK of this host"
    }
}

/// A text from a stranger, fit for a log line: control characters gone, at most 1 KiB.
pub(super) fn clean(text: &str) -> String {
    const LIMIT: usize = 1024;
    let mut out = String::with_capacity(text.len().min(LIMIT));
    for c in text.chars() {
        if out.len() + c.len_utf8() > LIMIT {
            out.push('…');
            break;
        }
        // Also the characters that turn the writing direction: they make a line say something else than its bytes.
        let harmless = !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        out.push(if harmless { c } else { ' ' });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mismatch_says_who_has_to_move() {
        let text = |wants: &str| PluginError::AbiMismatch { wants: wants.into(), has: "0.1.0" }.to_string();
        assert!(text("0.2.0").contains("update the host"));
        assert!(text("0.0.9").contains("build the plugin again"));
    }

    #[test]
    fn strangers_words_are_cut_and_cleaned() {
        assert_eq!(clean("a\nb\u{1b}[31m\u{202e}c"), "a b [31m c");
        assert!(clean(&"é".repeat(5000)).len() <= 1024 + '…'.len_utf8());
    }
}
