//! What the operator wrote: plugins.toml, read and checked as a whole before anything is loaded.
//!
//! Every key is declared once, in `keys`, with its text, default and range; messages and the reference page come from there. Loading what the file names
//! is left to the command line's `assemble`.

mod check;
mod error;
mod fast_paths;
mod keys;
mod nearest;
mod watch;

pub use error::ConfigError;
pub use fast_paths::FastPaths;
pub use keys::{
    ChipEntry, ImporterEntry, Key, Loops, ModelEntry, PluginEntry, Range, Server, Top, Trust, Wasi, reference, sections,
};
pub use nearest::nearest;
pub use watch::{Change, Watch, dropped};

use keys::File;
use std::path::{Path, PathBuf};

/// plugins.toml, checked; paths are as they are to be opened.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file; none when there is none and defaults hold.
    pub file: Option<PathBuf>,
    /// Which plugins may be loaded.
    pub trust: Trust,
    /// Public keys whose signatures are taken, 64 hexadecimal digits each.
    pub trusted_keys: Vec<String>,
    /// The folder that is watched for dropped plugins.
    pub plugins_dir: PathBuf,
    /// Where compiled plugins and what is made of models are kept.
    pub cache_dir: PathBuf,
    /// Most that is kept of models, in MiB.
    pub cache_models_mib: u64,
    /// `[server]`
    pub server: Server,
    /// `[loops]`
    pub loops: Loops,
    /// `[[plugin]]`, in the file's order.
    pub plugins: Vec<PluginEntry>,
    /// `[[chip]]`, best first.
    pub chips: Vec<ChipEntry>,
    /// `[[importer]]`, first choice first.
    pub importers: Vec<ImporterEntry>,
    /// `[[model]]`, in the file's order.
    pub models: Vec<ModelEntry>,
}

/// Largest plugins.toml that is read.
const MAX_FILE_BYTES: u64 = 4 << 20;

impl Config {
    /// Reads that file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { path: path.to_path_buf(), source };
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        if size > MAX_FILE_BYTES {
            return Err(ConfigError::Invalid {
                path: path.to_path_buf(),
                line: 1,
                message: format!("the file has {size} bytes, at most {MAX_FILE_BYTES} are read"),
                help: "this does not look like a plugins.toml; is --plugins right?".into(),
            });
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let file = check::parse(path, &text)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(Self::from_file(file, Some(path), folder))
    }

    /// What holds without a plugins.toml: every plugin in `plugins/` of the working directory (or of SUNMAO_HOME).
    pub fn without_file() -> Self {
        let home = std::env::var_os("SUNMAO_HOME").map(PathBuf::from).filter(|home| home.join("plugins").is_dir());
        Self::from_file(File::default(), None, &home.unwrap_or_else(|| PathBuf::from(".")))
    }

    fn from_file(file: File, path: Option<&Path>, folder: &Path) -> Self {
        let beside = |path: &Path| if path.is_absolute() { path.to_path_buf() } else { folder.join(path) };
        let mut plugins = file.plugin;
        plugins.iter_mut().for_each(|plugin| plugin.path = beside(&plugin.path));
        let mut models = file.model;
        models.iter_mut().for_each(|model| model.path = beside(&model.path));
        Self {
            file: path.map(Path::to_path_buf),
            trust: file.top.trust,
            trusted_keys: file.top.trusted_keys,
            plugins_dir: beside(&file.top.plugins_dir),
            cache_dir: if file.top.cache_dir.as_os_str().is_empty() {
                default_cache_dir()
            } else {
                beside(&file.top.cache_dir)
            },
            cache_models_mib: file.top.cache_models_mib,
            server: file.server,
            loops: file.loops,
            plugins,
            chips: file.chip,
            importers: file.importer,
            models,
        }
    }

    /// The names besides its own that a chip answers to: those of its entry, and the two that come with the project unless the file gives them to another.
    pub fn aliases(&self, chip: &str) -> Vec<String> {
        let mut aliases: Vec<String> = self
            .chips
            .iter()
            .filter(|entry| entry.name == chip)
            .flat_map(|entry| entry.alias.iter().cloned())
            .collect();
        for (alias, of) in BUILT_IN_ALIASES {
            let taken =
                self.chips.iter().any(|entry| entry.name == *alias || entry.alias.iter().any(|other| other == alias));
            if *of == chip && !taken {
                aliases.push((*alias).to_owned());
            }
        }
        aliases
    }

    /// Whether a chip of that name, once its plugin is there, is what this file or the project itself gives the name to.
    pub fn expects_chip(&self, name: &str) -> bool {
        let own = |entry: &ChipEntry| entry.name == name || entry.alias.iter().any(|alias| alias == name);
        self.chips.iter().any(own) || BUILT_IN_ALIASES.iter().any(|(alias, of)| *alias == name || *of == name)
    }

    /// The entry of that plugin.
    pub fn plugin(&self, name: &str) -> Option<&PluginEntry> {
        self.plugins.iter().find(|plugin| plugin.name == name)
    }
}

/// Whether that can name a plugin, a chip or a model: it ends up in URLs, paths and logs.
pub fn is_name(name: &str, longest: usize) -> bool {
    !name.is_empty()
        && name.len() <= longest
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
        && name.bytes().any(|byte| byte != b'.')
}

const BUILT_IN_ALIASES: &[(&str, &str)] = &[("TYPE_A", "simd128"), ("TYPE_B", "npu-sim")];

/// SUNMAO_HOME, else where the system keeps a user's caches.
fn default_cache_dir() -> PathBuf {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    set("SUNMAO_HOME")
        .map(|home| home.join("cache"))
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("sunmao")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/sunmao")))
        .unwrap_or_else(|| std::env::temp_dir().join("sunmao"))
}

#[cfg(test)]
mod tests;
