//! Finds plugins that were dropped into the plugins folder, and notices when one comes, changes or goes.
//!
//! Asked twice a second rather than told by the kernel: that works on every file system, network ones included. A file counts once its size and time
//! have stayed the same between two looks, so that one still being copied is left alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Files that one folder may hold.
const MAX_FILES: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
    inode: u64,
    /// Size and time of the signature beside it: one that comes later is a reason to look again.
    signature: Option<(u64, Option<SystemTime>)>,
}

/// The `.wasm` files of a folder, sorted by name. A folder that does not exist has none.
pub fn dropped(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    Ok(stamps(folder)?.into_keys().collect())
}

fn stamps(folder: &Path) -> std::io::Result<BTreeMap<PathBuf, Stamp>> {
    use std::os::unix::fs::MetadataExt;
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        let path = entry?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || path.extension().is_none_or(|extension| extension != "wasm") || found.len() == MAX_FILES {
            continue;
        }
        // Gone between the listing and here, or not readable: the next look will tell.
        let Ok(facts) = std::fs::metadata(&path) else { continue };
        if facts.is_file() {
            let signature = std::fs::metadata(path.with_extension("wasm.sig")).ok();
            let signature = signature.map(|facts| (facts.len(), facts.modified().ok()));
            let stamp = Stamp { bytes: facts.len(), modified: facts.modified().ok(), inode: facts.ino(), signature };
            found.insert(path, stamp);
        }
    }
    Ok(found)
}

/// What a look at the folder found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// New, or with a new content, and complete.
    Settled(PathBuf),
    /// No longer there.
    Gone(PathBuf),
}

/// Remembers what the folder looked like.
#[derive(Debug)]
pub struct Watch {
    folder: PathBuf,
    reported: BTreeMap<PathBuf, Stamp>,
    before: BTreeMap<PathBuf, Stamp>,
}

impl Watch {
    /// Starts from the folder as it is: what lies there now counts as reported.
    pub fn new(folder: &Path) -> Self {
        let now = stamps(folder).unwrap_or_default();
        Self { folder: folder.to_path_buf(), reported: now.clone(), before: now }
    }

    /// Looks again.
    pub fn look(&mut self) -> std::io::Result<Vec<Change>> {
        let now = stamps(&self.folder)?;
        let mut changes = Vec::new();
        for (path, stamp) in &now {
            if self.before.get(path) == Some(stamp) && self.reported.get(path) != Some(stamp) {
                self.reported.insert(path.clone(), *stamp);
                changes.push(Change::Settled(path.clone()));
            }
        }
        let gone: Vec<_> = self
            .reported
            .keys()
            .filter(|path| !now.contains_key(*path) && !self.before.contains_key(*path))
            .cloned()
            .collect();
        for path in gone {
            self.reported.remove(&path);
            changes.push(Change::Gone(path));
        }
        self.before = now;
        Ok(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_counts_once_it_has_settled() {
        let folder = std::env::temp_dir().join(format!("sunmao-watch-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (old, new) = (folder.join("old.wasm"), folder.join("new.wasm"));
        std::fs::write(&old, b"x").unwrap();
        let mut watch = Watch::new(&folder);
        assert_eq!(watch.look().unwrap(), []);
        std::fs::write(&new, b"half").unwrap();
        std::fs::write(folder.join("notes.txt"), b"").unwrap();
        std::fs::write(folder.join(".new.wasm.part.wasm"), b"").unwrap();
        assert_eq!(watch.look().unwrap(), [], "seen for the first time");
        std::fs::write(&new, b"half and the rest").unwrap();
        assert_eq!(watch.look().unwrap(), [], "still growing");
        assert_eq!(watch.look().unwrap(), [Change::Settled(new.clone())]);
        assert_eq!(watch.look().unwrap(), []);
        std::fs::write(folder.join("new.wasm.sig"), b"signed").unwrap();
        watch.look().unwrap();
        assert_eq!(watch.look().unwrap(), [Change::Settled(new.clone())], "its signature came later");
        std::fs::remove_file(&new).unwrap();
        assert_eq!(watch.look().unwrap(), [], "may be about to be replaced");
        assert_eq!(watch.look().unwrap(), [Change::Gone(new)]);
        std::fs::remove_dir_all(&folder).unwrap();
        watch.look().unwrap();
        assert_eq!(watch.look().unwrap(), [Change::Gone(old)], "a folder that went away is an empty one");
    }
}
