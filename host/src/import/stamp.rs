//! What a file was when it was opened: tells one that somebody wrote to from one that nobody touched.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How coarse the clock of a file system may be that counts fractions of a second ...
const FINE: Duration = Duration::from_millis(50);
/// ... and of one that does not.
const COARSE: Duration = Duration::from_secs(2);

/// The facts of a file that change with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    /// Of the inode itself. It also moves when a name is given or taken away, which leaves the content as it is.
    changed: (i64, i64),
    names: u64,
}

impl Stamp {
    pub(super) fn of(facts: &Metadata) -> Self {
        Self {
            device: facts.dev(),
            inode: facts.ino(),
            bytes: facts.len(),
            modified: (facts.mtime(), facts.mtime_nsec()),
            changed: (facts.ctime(), facts.ctime_nsec()),
            names: facts.nlink(),
        }
    }

    /// Whether the same file, open all the time, has the content that it had.
    pub(super) fn same_content(&self, now: &Self) -> bool {
        let file = |stamp: &Self| (stamp.device, stamp.inode, stamp.bytes, stamp.modified);
        file(self) == file(now) && (self.changed == now.changed || self.names != now.names)
    }

    /// What tells this content from others that the file had or will have. The number of the device is left out, which another start of the
    /// system may change. none: the file was changed so lately that another change now might bear the same time.
    pub(super) fn identity(&self, now: SystemTime) -> Option<Vec<u8>> {
        let times = [self.modified, self.changed];
        let margin = if times.iter().all(|(_, nanoseconds)| *nanoseconds == 0) { COARSE } else { FINE };
        let (seconds, nanoseconds) = times.into_iter().max()?;
        let newest = UNIX_EPOCH + Duration::new(seconds.try_into().ok()?, nanoseconds.try_into().ok()?);
        now.duration_since(newest).is_ok_and(|age| age >= margin).then(|| {
            let times = times.into_iter().flat_map(|(seconds, nanoseconds)| [seconds as u64, nanoseconds as u64]);
            [self.inode, self.bytes].into_iter().chain(times).flat_map(u64::to_le_bytes).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_an_identity_once_its_times_lie_back() {
        let stamp = |nanoseconds| Stamp {
            device: 1,
            inode: 2,
            bytes: 3,
            modified: (100, nanoseconds),
            changed: (101, nanoseconds),
            names: 1,
        };
        let at = |milliseconds| UNIX_EPOCH + Duration::from_millis(milliseconds);
        assert_eq!(stamp(1).identity(at(101_049)), None);
        assert!(stamp(1).identity(at(101_051)).is_some());
        assert_eq!(stamp(0).identity(at(101_051)), None, "whole seconds");
        assert!(stamp(0).identity(at(103_000)).is_some());
        assert_eq!(stamp(1).identity(at(99_000)), None, "from the future");
        let later = Stamp { changed: (101, 2), ..stamp(1) };
        assert_ne!(later.identity(at(200_000)), stamp(1).identity(at(200_000)));
        let elsewhere = Stamp { device: 9, ..stamp(1) };
        assert_eq!(elsewhere.identity(at(200_000)), stamp(1).identity(at(200_000)));
    }
}
