//! The queues on disk: a folder per destination, a file per message.
//!
//! Owns: the files. Called by: the deliveries when they start, the destination on threads that may wait. Never: believes a file
//! it has not written whole.
//!
//! A message appears under its number with all its bytes or not at all (written aside, fsync, rename, fsync of the folder), so
//! neither `kill -9` nor a power cut leaves half of one. One process uses them at a time; a second one keeps its queue in
//! memory.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Where a message is written before it has its name.
const DRAFT: &str = "draft";
/// Bytes of a message's file; a longer one is none of ours.
const LONGEST: u64 = 256 << 10;
/// Files looked at in one folder: more than a queue holds.
const LOOKED_AT: usize = 10_000;

/// All folders, locked for this process.
#[derive(Debug)]
pub(super) struct Spool {
    path: PathBuf,
    /// The lock ends with it.
    _lock: File,
}

impl Spool {
    /// Opens, or makes, the folder `alarms` in this state folder.
    ///
    /// # Errors
    ///
    /// It cannot be made or written to, or another process has it.
    pub(super) fn open(state: &Path) -> io::Result<Self> {
        let path = state.join("alarms");
        DirBuilder::new().mode(0o700).recursive(true).create(&path)?;
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path.join("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| io::Error::new(io::ErrorKind::ResourceBusy, "another process uses it"))?;
        Ok(Self { path, _lock: lock })
    }

    /// The folder of one destination, and what waits there: numbers and bytes.
    pub(super) fn folder(&self, destination: &str) -> io::Result<(Folder, Vec<(u64, usize)>)> {
        let path = self.path.join(destination);
        DirBuilder::new().mode(0o700).recursive(true).create(&path)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(&path)?.take(LOOKED_AT) {
            let entry = entry?;
            let number = entry.file_name().to_str().and_then(number);
            let about = entry.metadata()?;
            if let Some(number) = number.filter(|_| about.is_file() && about.len() <= LONGEST) {
                found.push((number, usize::try_from(about.len()).unwrap_or(usize::MAX)));
            }
        }
        Ok((Folder(path), found))
    }

    /// Removes the folders of destinations that are no longer; how many messages waited for each.
    pub(super) fn clear(&self, known: impl Fn(&str) -> bool) -> io::Result<Vec<(String, usize)>> {
        let mut gone = Vec::new();
        for entry in fs::read_dir(&self.path)?.take(LOOKED_AT) {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() && !known(&name) {
                let waiting = fs::read_dir(entry.path())?.flatten();
                let waiting = waiting.filter(|file| file.file_name().to_str().and_then(number).is_some()).count();
                fs::remove_dir_all(entry.path())?;
                gone.push((name, waiting));
            }
        }
        Ok(gone)
    }
}

/// Twenty digits: then the names sort as the numbers do.
fn name(number: u64) -> String {
    format!("{number:020}")
}

fn number(name: &str) -> Option<u64> {
    (name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit())).then(|| name.parse().ok())?
}

/// The folder of one destination. Every call may wait for the disk.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Keeps a message, over a power cut, too.
    pub(super) fn put(&self, number: u64, load: &[u8]) -> io::Result<()> {
        let draft = self.0.join(DRAFT);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(load)?;
        file.sync_all()?;
        fs::rename(&draft, self.0.join(name(number)))?;
        File::open(&self.0)?.sync_all()
    }

    /// Reads one.
    pub(super) fn get(&self, number: u64) -> io::Result<Vec<u8>> {
        let mut load = Vec::new();
        File::open(self.0.join(name(number)))?.take(LONGEST).read_to_end(&mut load)?;
        Ok(load)
    }

    /// Forgets one. Not synced: after a power cut it may be there again, and arrive twice.
    pub(super) fn remove(&self, number: u64) -> io::Result<()> {
        match fs::remove_file(self.0.join(name(number))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::{Spool, name, number};

    #[test]
    fn messages_are_found_again() {
        let state = tempfile::tempdir().unwrap();
        let spool = Spool::open(&state.path().join("deeper")).unwrap();
        let (folder, found) = spool.folder("json-1").unwrap();
        assert!(found.is_empty());
        for number in [2, 10, 1] {
            folder.put(number, format!("message {number}").as_bytes()).unwrap();
        }
        folder.remove(2).unwrap();
        folder.remove(2).unwrap();
        let (folder, mut found) = spool.folder("json-1").unwrap();
        found.sort_unstable();
        assert_eq!(found, [(1, 9), (10, 10)]);
        assert_eq!(folder.get(10).unwrap(), b"message 10");
        assert_eq!(folder.get(2).unwrap_err().kind(), ErrorKind::NotFound);
        let path = state.path().join("deeper/alarms/json-1");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700);
        assert_eq!(fs::metadata(path.join(name(1))).unwrap().permissions().mode() & 0o7777, 0o600);
    }

    #[test]
    fn what_was_not_written_whole_is_no_message() {
        let state = tempfile::tempdir().unwrap();
        let spool = Spool::open(state.path()).unwrap();
        let (folder, _) = spool.folder("json-1").unwrap();
        let path = state.path().join("alarms/json-1");
        // As a process leaves it that is killed in the middle; and what others put there.
        fs::write(path.join("draft"), b"half a mes").unwrap();
        fs::write(path.join("7"), b"x").unwrap();
        fs::create_dir(path.join(name(8))).unwrap();
        assert!(spool.folder("json-1").unwrap().1.is_empty());
        folder.put(1, b"whole").unwrap();
        assert_eq!(folder.get(1).unwrap(), b"whole");
    }

    #[test]
    fn a_full_disk_is_an_error_and_leaves_nothing() {
        let state = tempfile::tempdir().unwrap();
        let spool = Spool::open(state.path()).unwrap();
        let (folder, _) = spool.folder("json-1").unwrap();
        // Every write to it fails as on a disk that is full.
        symlink("/dev/full", state.path().join("alarms/json-1/draft")).unwrap();
        assert_eq!(folder.put(1, b"x").unwrap_err().kind(), ErrorKind::StorageFull);
        assert!(spool.folder("json-1").unwrap().1.is_empty());
    }

    #[test]
    fn one_process_at_a_time() {
        let state = tempfile::tempdir().unwrap();
        let first = Spool::open(state.path()).unwrap();
        assert_eq!(Spool::open(state.path()).unwrap_err().kind(), ErrorKind::ResourceBusy);
        drop(first);
        assert!(Spool::open(state.path()).is_ok());
    }

    #[test]
    fn what_nobody_sends_any_more_is_cleared_away() {
        let state = tempfile::tempdir().unwrap();
        let spool = Spool::open(state.path()).unwrap();
        for destination in ["json-1", "json-2"] {
            spool.folder(destination).unwrap().0.put(1, b"x").unwrap();
        }
        assert_eq!(spool.clear(|name| name == "json-1").unwrap(), [("json-2".to_owned(), 1)]);
        assert!(spool.clear(|name| name == "json-1").unwrap().is_empty());
        assert_eq!(spool.folder("json-1").unwrap().1.len(), 1);
    }

    #[test]
    fn names_sort_as_numbers_do() {
        assert!(name(9) < name(10) && name(10) < name(u64::MAX));
        assert_eq!(number(&name(u64::MAX)), Some(u64::MAX));
        for other in ["", "1", "lock", "0000000000000000000x", "99999999999999999999"] {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
