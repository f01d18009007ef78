//! Where things lie in the work tree, and where the downloaded ones go.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the workspace's `Cargo.toml`.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in a folder of the workspace").to_path_buf()
}

/// Cargo's target folder: `target`, unless `CARGO_TARGET_DIR` moves it.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(moved) => root().join(moved),
        None => root().join("target"),
    }
}

/// Where xtask keeps its own notes: what was probed, logs of servers that it started.
pub(crate) fn notes() -> Result<PathBuf> {
    let folder = target().join("xtask");
    make(&folder)?;
    Ok(folder)
}

/// Built plugins, where the server's default configuration looks for them.
pub(crate) fn plugins() -> PathBuf {
    root().join("plugins")
}

/// Components that only tests load.
pub(crate) fn guests() -> PathBuf {
    target().join("guests")
}

/// Downloaded and generated models: `models`, or the folder of that name in `SUNMAO_HOME`.
pub(crate) fn models() -> PathBuf {
    match std::env::var_os("SUNMAO_HOME") {
        Some(home) => root().join(home).join("models"),
        None => root().join("models"),
    }
}

/// Makes a folder and those above it.
pub(crate) fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))
}

/// `path` as seen from the workspace's root, for messages.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Writes a file so that a reader sees either the old bytes or the new ones. Answers whether anything changed.
pub(crate) fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<bool> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    if let Some(folder) = path.parent() {
        make(folder)?;
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.part", std::process::id()));
    let beside = PathBuf::from(beside);
    fs::write(&beside, bytes).with_context(|| format!("cannot write {}", beside.display()))?;
    fs::rename(&beside, path).with_context(|| format!("cannot move {} into place", path.display()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unchanged_file_is_left_alone() {
        let path = std::env::temp_dir().join(format!("xtask-write-{}", std::process::id()));
        assert!(write_if_changed(&path, b"one").expect("writes"));
        assert!(!write_if_changed(&path, b"one").expect("compares"));
        assert!(write_if_changed(&path, b"two").expect("writes again"));
        assert_eq!(fs::read(&path).expect("is there"), b"two");
        fs::remove_file(&path).expect("can be removed");
    }
}
