//! What an importer may read: the model file, and regular files beside it by relative names.
//!
//! Files are opened once, by descriptors that stay; names are never looked up again. Nothing is mapped: whoever truncates a model while it is
//! read gets an error, and not the host killed.

use super::error::ImportError;
use super::inflate;
use super::stamp::Stamp;
use crate::plugin::importer::{ImportSources, Rejection};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use sunmao_plugin_sdk::ErrorCode;

/// Sources of one import: files, and what was unpacked.
const SOURCES_MAX: usize = 1024;
const NAME_MAX_BYTES: usize = 1024;
const NAME_PARTS_MAX: usize = 16;
const SIBLINGS_MAX: usize = 4096;
/// All that one import unpacks.
const UNPACKED_MAX_BYTES: u64 = 8 << 30;

/// One readable range of bytes.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) file: File,
    /// What the file was when it was opened; none: it is the host's own, and nobody else writes to it.
    pub(super) stamp: Option<Stamp>,
}

impl Source {
    /// Fails when somebody wrote to the file since it was opened. Asked after each read: what was read before counts as read.
    pub(super) fn check_unchanged(&self) -> io::Result<()> {
        let Some(stamp) = &self.stamp else { return Ok(()) };
        if stamp.same_content(&Stamp::of(&self.file.metadata()?)) {
            return Ok(());
        }
        Err(io::Error::other(
            "it was changed after the model was loaded, so old and new weights would mix: put a new model under a new name and rename it \
             into place, or start the host again",
        ))
    }
}

/// The files of a model once its importer is through: to read weights from, and to import it again.
#[derive(Debug, Default)]
pub(super) struct ModelFiles {
    pub(super) sources: Vec<Source>,
    pub(super) directory: Option<OwnedFd>,
}

impl ModelFiles {
    /// The very same files, for another import of the same model.
    pub(super) fn again(&self) -> io::Result<Files> {
        let again = |source: &Source| -> io::Result<Source> {
            let Source { name, bytes, file, stamp } = source;
            Ok(Source { name: name.clone(), bytes: *bytes, file: file.try_clone()?, stamp: stamp.clone() })
        };
        // What was unpacked is unpacked again.
        let files = self.sources.iter().filter(|source| source.stamp.is_some());
        let mut known = files.map(again).collect::<io::Result<Vec<_>>>()?;
        if known.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let model = known.remove(0);
        let directory = self.directory.as_ref().map(OwnedFd::try_clone).transpose()?;
        Ok(Files { sources: vec![model], directory, by_name: HashMap::new(), known, unpacked: 0 })
    }
}

/// The files of one model, as its importer may see them.
#[derive(Debug)]
pub(super) struct Files {
    sources: Vec<Source>,
    /// The directory of the model file; none when it could not be opened: then there are no siblings.
    directory: Option<OwnedFd>,
    by_name: HashMap<String, u32>,
    /// Siblings that were opened for the same model before: they are not looked up again.
    known: Vec<Source>,
    unpacked: u64,
}

pub(super) fn lock(files: &Mutex<Files>) -> MutexGuard<'_, Files> {
    files.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Files {
    /// Opens a model file. It may be a link: the user named it, and not the importer.
    pub(super) fn open(path: &Path) -> Result<Self, ImportError> {
        let unreadable = |source: io::Error| ImportError::Unreadable { path: path.to_owned(), source };
        // Not blocking, or a pipe of that name would hold the host.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(|error| unreadable(error.into()))?);
        let facts = file.metadata().map_err(unreadable)?;
        if !facts.is_file() {
            return Err(ImportError::NotAFile { path: path.to_owned() });
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(parent, flags, Mode::empty()).ok();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let model = Source { name, bytes: facts.len(), file, stamp: Some(Stamp::of(&facts)) };
        Ok(Self { sources: vec![model], directory, by_name: HashMap::new(), known: Vec::new(), unpacked: 0 })
    }

    /// Bytes of a source; 0 when there is none of that number.
    pub(super) fn size(&self, source: u32) -> u64 {
        self.source(source).map_or(0, |source| source.bytes)
    }

    pub(super) fn source(&self, number: u32) -> Option<&Source> {
        self.sources.get(number as usize)
    }

    /// Relative names of the files beside the model that were opened, sorted.
    pub(super) fn opened_siblings(&self) -> Vec<String> {
        let mut names: Vec<_> = self.by_name.keys().cloned().collect();
        names.sort();
        names
    }

    /// Ends the reading by an importer: what is left are the sources, to read weights from.
    pub(super) fn take_sources(&mut self) -> ModelFiles {
        ModelFiles { sources: std::mem::take(&mut self.sources), directory: self.directory.take() }
    }

    /// Bytes of a source: fewer at its end.
    pub(super) fn read(&self, number: u32, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let source = self.source(number).ok_or(io::ErrorKind::NotFound)?;
        let length = length.min(source.bytes.saturating_sub(offset));
        let mut bytes = vec![0; length as usize];
        source.file.read_exact_at(&mut bytes, offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::other("the file was cut short while it was read"),
            _ => error,
        })?;
        Ok(bytes)
    }

    fn add(&mut self, source: Source) -> Result<u32, Rejection> {
        if self.sources.len() >= SOURCES_MAX {
            return Err(Rejection::new(
                ErrorCode::LimitExceeded,
                format!("a model of more than {SOURCES_MAX} files is not read: join its parts"),
            ));
        }
        self.sources.push(source);
        Ok(self.sources.len() as u32 - 1)
    }

    pub(super) fn open_sibling(&mut self, relative: &str) -> Result<u32, Rejection> {
        check_name(relative)?;
        if let Some(&known) = self.by_name.get(relative) {
            return Ok(known);
        }
        if let Some(at) = self.known.iter().position(|source| source.name == relative) {
            let source = self.known.swap_remove(at);
            let number = self.add(source)?;
            self.by_name.insert(relative.to_owned(), number);
            return Ok(number);
        }
        let missing =
            |why: String| Rejection::new(ErrorCode::NotFound, format!("file `{relative}` of the model: {why}"));
        let directory =
            self.directory.as_ref().ok_or_else(|| missing("the model's directory cannot be read".into()))?;
        let file = open_beneath(directory, relative).map_err(|error| {
            let why = match error {
                rustix::io::Errno::NOENT => "there is none: put it beside the model file".to_owned(),
                rustix::io::Errno::LOOP | rustix::io::Errno::XDEV => {
                    "it is a link, or lies outside: put the file itself beside the model file".to_owned()
                }
                other => io::Error::from(other).to_string(),
            };
            missing(why)
        })?;
        let facts = file.metadata().map_err(|error| missing(error.to_string()))?;
        if !facts.is_file() {
            return Err(missing("it is not a regular file".into()));
        }
        // A second name of a file elsewhere is a link that cannot be told from the file.
        if facts.nlink() != 1 {
            return Err(missing("it has several names (hard links): copy it".into()));
        }
        let stamp = Some(Stamp::of(&facts));
        let number = self.add(Source { name: relative.to_owned(), bytes: facts.len(), file, stamp })?;
        self.by_name.insert(relative.to_owned(), number);
        Ok(number)
    }

    /// Regular files in the model's directory, sorted. Only what `open_sibling` takes.
    fn siblings(&self) -> Vec<String> {
        let Some(directory) = &self.directory else { return Vec::new() };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(listing) = rustix::fs::openat(directory, ".", flags, Mode::empty()) else { return Vec::new() };
        let Ok(entries) = rustix::fs::Dir::read_from(&listing) else { return Vec::new() };
        let own = self.sources.first().map_or("", |model| model.name.as_str());
        let mut names = Vec::new();
        for entry in entries.take(16 * SIBLINGS_MAX).flatten() {
            let Ok(name) = entry.file_name().to_str() else { continue };
            let regular = rustix::fs::statat(&listing, entry.file_name(), rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|facts| {
                    rustix::fs::FileType::from_raw_mode(facts.st_mode) == rustix::fs::FileType::RegularFile
                        && facts.st_nlink == 1
                });
            if regular && name != own && check_name(name).is_ok() {
                names.push(name.to_owned());
            }
        }
        names.sort();
        names.truncate(SIBLINGS_MAX);
        names
    }

    fn inflate(
        &mut self,
        number: u32,
        offset: u64,
        length: u64,
        method: &str,
        unpacked: u64,
    ) -> Result<u32, Rejection> {
        let source = self.source(number).ok_or_else(|| Rejection::new(ErrorCode::NotFound, "no such source"))?;
        if offset.checked_add(length).is_none_or(|end| end > source.bytes) {
            return Err(Rejection::new(ErrorCode::InvalidArgument, "the packed bytes leave their source"));
        }
        let room = UNPACKED_MAX_BYTES - self.unpacked;
        let memory = crate::memory::available_bytes().unwrap_or(u64::MAX) / 2;
        if unpacked > room.min(memory) {
            return Err(Rejection::new(
                ErrorCode::LimitExceeded,
                format!("unpacking {unpacked} bytes is more than the {} that may still be taken", room.min(memory)),
            ));
        }
        let file = inflate::inflate(&source.file, offset, length, method, unpacked)?;
        let name = source.name.clone();
        let number = self.add(Source { name, bytes: unpacked, file, stamp: None })?;
        self.unpacked += unpacked;
        Ok(number)
    }
}

/// Names that stay inside whatever the file system.
fn check_name(name: &str) -> Result<(), Rejection> {
    let parts = || name.split('/');
    let sound = !name.is_empty()
        && name.len() <= NAME_MAX_BYTES
        && parts().count() <= NAME_PARTS_MAX
        && !name.contains(['\\', '\0'])
        && parts().all(|part| !matches!(part, "" | "." | ".."));
    if sound {
        return Ok(());
    }
    let shown: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
    Err(Rejection::new(
        ErrorCode::NotFound,
        format!("`{shown}` is not a plain relative name: a model's files lie in its own directory"),
    ))
}

/// Opens a file below `directory`, through no link.
fn open_beneath(directory: &OwnedFd, relative: &str) -> rustix::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(directory, relative, flags, Mode::empty(), resolve) {
        // A kernel before 5.6, or a sandbox that does not know the call: one part after the other, which comes to the same, since
        // the name has no "..".
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => walk(directory, relative, flags),
        opened => opened.map(File::from),
    }
}

fn walk(directory: &OwnedFd, relative: &str, flags: OFlags) -> rustix::io::Result<File> {
    let mut below: Option<OwnedFd> = None;
    let mut parts = relative.split('/').peekable();
    while let Some(part) = parts.next() {
        let at = below.as_ref().unwrap_or(directory);
        if parts.peek().is_none() {
            return rustix::fs::openat(at, part, flags, Mode::empty()).map(File::from);
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        below = Some(rustix::fs::openat(at, part, flags, Mode::empty())?);
    }
    Err(rustix::io::Errno::NOENT)
}

/// The files, as an importer sees them.
pub(super) struct Grants(Arc<Mutex<Files>>);

impl Grants {
    pub(super) fn new(files: Arc<Mutex<Files>>) -> Self {
        Self(files)
    }
}

impl ImportSources for Grants {
    fn name(&self, source: u32) -> String {
        lock(&self.0).source(source).map_or_else(String::new, |source| source.name.clone())
    }

    fn size(&self, source: u32) -> u64 {
        lock(&self.0).size(source)
    }

    fn read(&mut self, source: u32, offset: u64, length: u32) -> Result<Vec<u8>, Rejection> {
        let read = lock(&self.0).read(source, offset, u64::from(length));
        read.map_err(|error| Rejection::new(ErrorCode::InvalidData, format!("reading the model failed: {error}")))
    }

    fn open(&mut self, _: u32, relative: &str) -> Result<u32, Rejection> {
        lock(&self.0).open_sibling(relative)
    }

    fn siblings(&mut self, _: u32) -> Vec<String> {
        lock(&self.0).siblings()
    }

    fn inflate(
        &mut self,
        source: u32,
        offset: u64,
        length: u64,
        method: &str,
        unpacked: u64,
    ) -> Result<u32, Rejection> {
        lock(&self.0).inflate(source, offset, length, method, unpacked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    struct Models(PathBuf);

    impl Models {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("sunmao-grants-{name}-{}", std::process::id()));
            fs::create_dir_all(root.join("model/parts/deep")).unwrap();
            fs::write(root.join("secret"), b"secret").unwrap();
            fs::write(root.join("model/model.onnx"), b"model").unwrap();
            fs::write(root.join("model/weights.bin"), b"weights").unwrap();
            fs::write(root.join("model/parts/deep/w"), b"deep").unwrap();
            symlink(root.join("secret"), root.join("model/absolute")).unwrap();
            symlink("../secret", root.join("model/relative")).unwrap();
            symlink("..", root.join("model/up")).unwrap();
            fs::hard_link(root.join("secret"), root.join("model/hard")).unwrap();
            Self(root)
        }

        fn files(&self) -> Files {
            Files::open(&self.0.join("model/model.onnx")).unwrap()
        }
    }

    impl Drop for Models {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn files_of_the_model_are_granted() {
        let models = Models::new("granted");
        let mut files = models.files();
        assert_eq!(files.read(0, 0, 100).unwrap(), b"model");
        assert_eq!(files.read(0, 3, 100).unwrap(), b"el");
        assert_eq!(files.read(0, 9, 100).unwrap(), b"");
        let weights = files.open_sibling("weights.bin").unwrap();
        assert_eq!(files.open_sibling("weights.bin"), Ok(weights), "one number for one file");
        assert_eq!(files.read(weights, 0, 7).unwrap(), b"weights");
        let deep = files.open_sibling("parts/deep/w").unwrap();
        assert_eq!(files.size(deep), 4);
        assert_eq!(files.siblings(), ["weights.bin"]);
    }

    #[test]
    fn nothing_outside_is_granted() {
        let models = Models::new("outside");
        let mut files = models.files();
        let absolute = models.0.join("secret").to_string_lossy().into_owned();
        for name in [
            "../secret",
            "parts/../../secret",
            "parts/../weights.bin",
            "./weights.bin",
            "parts//deep/w",
            "",
            "parts",
            "absolute",
            "relative",
            "up/secret",
            "hard",
            "nothing",
            "..\\secret",
            "weights.bin/",
            "a\0b",
            "/proc/self/environ",
            absolute.as_str(),
        ] {
            let error = files.open_sibling(name).expect_err(name);
            assert!(matches!(error.code, ErrorCode::NotFound), "{name}: {error}");
        }
        assert_eq!(files.sources.len(), 1);
    }

    #[test]
    fn the_slow_way_of_old_kernels_refuses_the_same() {
        let models = Models::new("walk");
        let files = models.files();
        let directory = files.directory.as_ref().unwrap();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        assert!(walk(directory, "parts/deep/w", flags).is_ok());
        for name in ["absolute", "relative", "up/secret"] {
            assert!(walk(directory, name, flags).is_err(), "{name}");
        }
    }

    #[test]
    fn a_file_that_shrinks_is_an_error() {
        let models = Models::new("shrinks");
        let files = models.files();
        fs::write(models.0.join("model/model.onnx"), b"m").unwrap();
        assert!(files.read(0, 0, 5).unwrap_err().to_string().contains("cut short"));
    }

    #[test]
    fn what_is_no_file_is_no_model() {
        let models = Models::new("nofile");
        assert!(matches!(Files::open(&models.0), Err(ImportError::NotAFile { .. })));
        assert!(matches!(Files::open(&models.0.join("nothing")), Err(ImportError::Unreadable { .. })));
    }
}
