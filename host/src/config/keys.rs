//! The keys of plugins.toml: each a field with its text, its default and its range. The reference page is made from this file.

use super::FastPaths;
use serde::Deserialize;
use std::fmt::Write as _;
use std::path::PathBuf;

/// What a key may be set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// A number from the first to the second, both included.
    Number(i64, i64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Any text, path or list of texts; described for a person.
    Text(&'static str),
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(min, max) => write!(f, "a number from {min} to {max}"),
            Self::OneOf(words) => {
                write!(f, "one of {}", words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", "))
            }
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// One key, as messages and the reference page show it.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub text: String,
    /// As it would stand in the file; empty: there is none, the key is required.
    pub default: String,
    /// What it may be.
    pub range: Range,
}

/// The default as it would stand in the file.
trait Shown {
    fn shown(&self) -> String;
}
impl Shown for u64 {
    fn shown(&self) -> String {
        self.to_string()
    }
}
impl Shown for bool {
    fn shown(&self) -> String {
        self.to_string()
    }
}
impl Shown for String {
    fn shown(&self) -> String {
        format!("{self:?}")
    }
}
impl Shown for PathBuf {
    fn shown(&self) -> String {
        format!("{:?}", self.display().to_string())
    }
}
impl Shown for FastPaths {
    fn shown(&self) -> String {
        format!("\"{self}\"")
    }
}
impl Shown for Vec<String> {
    fn shown(&self) -> String {
        format!("{self:?}")
    }
}

macro_rules! words {
    ($($(#[doc = $text:literal])+ $name:ident { $($(#[doc = $variant_text:literal])+ $variant:ident = $word:literal,)* })*) => { $(
        $(#[doc = $text])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
        pub enum $name { $($(#[doc = $variant_text])+ #[serde(rename = $word)] $variant,)* }
        impl $name {
            const WORDS: &'static [&'static str] = &[$($word,)*];
            /// The word in the file.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
        impl Shown for $name {
            fn shown(&self) -> String { format!("\"{}\"", self.word()) }
        }
    )* };
}

macro_rules! sections {
    ($($(#[doc = $text:literal])+ $name:ident, $title:literal { $($(#[doc = $key_text:literal])+ $key:ident: $type:ty = $default:expr, $range:expr;)* })*) => {
        $(
            $(#[doc = $text])+
            #[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
            #[serde(default, deny_unknown_fields)]
            pub struct $name { $($(#[doc = $key_text])+ pub $key: $type,)* }
            impl Default for $name {
                fn default() -> Self { Self { $($key: $default,)* } }
            }
            impl $name {
                fn keys() -> Vec<Key> {
                    let defaults = Self::default();
                    vec![$(Key {
                        name: stringify!($key),
                        text: concat!($($key_text),+).trim().to_owned(),
                        default: if matches!($range, Range::Text(text) if text.ends_with(REQUIRED)) { String::new() } else { defaults.$key.shown() },
                        range: $range,
                    },)*]
                }
            }
        )*
        /// Every section with its keys, in the reference page's order.
        pub fn sections() -> Vec<(&'static str, String, Vec<Key>)> {
            vec![$(($title, concat!($($text),+).trim().to_owned(), $name::keys()),)*]
        }
    };
}

const REQUIRED: &str = "(required)";

words! {
    /// Which plugins may be loaded.
    Trust {
        /// Every plugin.
        Any = "any",
        /// Only those that an entry names with their sha256.
        Pinned = "pinned",
        /// Only those that a trusted key has signed.
        Signed = "signed",
    }
    /// What a plugin that imports WASI gets.
    Wasi {
        /// It is refused.
        None = "none",
        /// An empty world: no directory, no socket, no environment, a frozen clock.
        Inert = "inert",
    }
}

sections! {
    /// Keys in front of the first section.
    Top, "top level" {
        /// Which plugins may be loaded: any; only those pinned by sha256; only those beside which lies a signature `NAME.wasm.sig` by one of `trusted_keys`, dropped ones included.
        trust: Trust = Trust::Any, Range::OneOf(Trust::WORDS);
        /// Public keys whose signatures trust = "signed" takes. `host plugin keygen` makes a pair, `host plugin sign` signs.
        trusted_keys: Vec<String> = Vec::new(), Range::Text("a list of keys of 64 hexadecimal digits");
        /// Folder of plugins that no entry names: each is loaded under its own id, with default limits, as last choice. Watched while serving. Relative to plugins.toml.
        plugins_dir: PathBuf = PathBuf::from("plugins"), Range::Text("a path");
        /// Where compiled plugins, prepared models, plans and packed weights are kept. Empty: `$SUNMAO_HOME/cache`, else the user's cache folder.
        cache_dir: PathBuf = PathBuf::new(), Range::Text("a path, or empty");
        /// Most that is kept of models there, in MiB; what was not used for longest goes first. 0 keeps nothing: each start prepares and packs anew.
        cache_models_mib: u64 = 16_384, Range::Number(0, 16_777_216);
    }
    /// The listener of `host serve`.
    Server, "[server]" {
        /// Address to listen on. `0.0.0.0` makes the server reachable from other machines.
        host: String = "127.0.0.1".to_owned(), Range::Text("an address or a name of this machine");
        /// Port to listen on; 0 takes a free one and prints it.
        port: u64 = 8000, Range::Number(0, 65535);
        /// Requests that shall find a thread at the same time: one takes at most its share, threads divided by workers. 0: one takes what is free.
        workers: u64 = 0, Range::Number(0, 256);
        /// Largest body of a request, in MiB.
        max_body_mib: u64 = 256, Range::Number(1, 65536);
        /// Bodies of all requests together that may be in memory, in MiB; beyond it new ones get 503.
        buffer_mib: u64 = 1024, Range::Number(1, 1_048_576);
        /// Inference requests that may be waiting or running; beyond it new ones get 503.
        queue: u64 = 256, Range::Number(1, 4096);
        /// Open connections; further ones wait to be accepted.
        max_connections: u64 = 4096, Range::Number(1, 1_000_000);
        /// Time for the head of a request, and for which an idle connection is kept, in ms.
        header_ms: u64 = 10_000, Range::Number(100, 600_000);
        /// Longest silence inside of a request's body, in ms.
        body_idle_ms: u64 = 30_000, Range::Number(100, 600_000);
        /// After SIGTERM: how long requests are still accepted while readiness says 503, so that load balancers notice, in ms.
        drain_delay_ms: u64 = 5_000, Range::Number(0, 600_000);
        /// After that: how long requests in flight may take to finish, in ms.
        drain_ms: u64 = 25_000, Range::Number(0, 3_600_000);
    }
    /// What one request may do in a model with branches and loops: such a model may run for ever, and nothing else stops it.
    Loops, "[loops]" {
        /// Runs of loop bodies, all loops together.
        iterations: u64 = 4_194_304, Range::Number(1, 1 << 40);
        /// Steps, those of bodies counted in every run.
        steps: u64 = 16_777_216, Range::Number(1, 1 << 40);
        /// Seconds after which no further step begins. A step has deadlines of its own.
        seconds: u64 = 600, Range::Number(1, 86_400);
        /// What loops collect run by run until they end, in MiB.
        collected_mib: u64 = 4096, Range::Number(1, 1_048_576);
        /// Blocks inside one another, branches and bodies alike.
        nesting: u64 = 16, Range::Number(1, 16);
    }
    /// A plugin file and what it is allowed. One entry for each.
    PluginEntry, "[[plugin]]" {
        /// What the other sections and the messages call it.
        name: String = String::new(), Range::Text("letters, digits, `-`, `_` and `.`, at most 64 (required)");
        /// The component. Relative to plugins.toml.
        path: PathBuf = PathBuf::new(), Range::Text("a path (required)");
        /// Digest of the file; another content is refused.
        sha256: String = String::new(), Range::Text("64 hexadecimal digits, or empty");
        /// Memory that one instance may take for itself, besides the host's tensors, in MiB.
        memory_mib: u64 = 256, Range::Number(1, 4096);
        /// Longest time of one call, in ms. Work that grows with a file gets more by its size.
        deadline_ms: u64 = 10_000, Range::Number(1, 600_000);
        /// What it gets when it was built by a WASI toolchain and imports WASI.
        wasi: Wasi = Wasi::None, Range::OneOf(Wasi::WORDS);
    }
    /// A chip by the name that `--chip-type` takes. The order of the entries is the order of choice for `auto`.
    ChipEntry, "[[chip]]" {
        /// Its name.
        name: String = String::new(), Range::Text("letters, digits, `-`, `_` and `.`, at most 64, not `auto` (required)");
        /// Name of the plugin that runs it.
        plugin: String = String::new(), Range::Text("the name of a [[plugin]] (required)");
        /// Which native kernels may stand in for its own on machines that the host knows. `host doctor` lists them.
        fast_paths: FastPaths = FastPaths::Auto, Range::Text("\"auto\", \"off\", or names with commas between: those alone; `-NAME`: all but that");
        /// Further names. Unless given elsewhere, `TYPE_A` is one of `simd128`, and `TYPE_B` of `npu-sim`.
        alias: Vec<String> = Vec::new(), Range::Text("a list of names");
    }
    /// A reader of model files. The order of the entries settles ties between readers that recognise a file equally well.
    ImporterEntry, "[[importer]]" {
        /// Name of the plugin.
        plugin: String = String::new(), Range::Text("the name of a [[plugin]] (required)");
    }
    /// A model that `host serve` loads, besides those of `--model-path`.
    ModelEntry, "[[model]]" {
        /// Name in the URL.
        name: String = String::new(), Range::Text("letters, digits, `-`, `_` and `.`, at most 128 (required)");
        /// The model file. Relative to plugins.toml.
        path: PathBuf = PathBuf::new(), Range::Text("a path (required)");
        /// Version in the URL.
        version: u64 = 1, Range::Number(1, i64::MAX);
        /// Chip that runs it; empty: what `--chip-type` says.
        chip: String = String::new(), Range::Text("the name of a chip, or empty");
        /// Threads for one request; 0: what `--threads` says.
        threads: u64 = 0, Range::Number(0, 256);
    }
}

/// The whole file.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    pub(super) top: Top,
    pub(super) server: Server,
    pub(super) loops: Loops,
    pub(super) plugin: Vec<PluginEntry>,
    pub(super) chip: Vec<ChipEntry>,
    pub(super) importer: Vec<ImporterEntry>,
    pub(super) model: Vec<ModelEntry>,
}

/// The reference page of plugins.toml, in Markdown.
pub fn reference() -> String {
    let mut page = String::from("# plugins.toml\n\nEvery key with its default. Unknown keys are errors.\n");
    for (title, text, keys) in sections() {
        let _ = write!(page, "\n## {title}\n\n{text}\n\n| key | default | may be | meaning |\n|---|---|---|---|\n");
        for key in keys {
            let default = if key.default.is_empty() { "none".to_owned() } else { format!("`{}`", key.default) };
            let _ = writeln!(page, "| `{}` | {default} | {} | {} |", key.name, key.range, key.text);
        }
    }
    page
}
