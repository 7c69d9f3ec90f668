//! A folder that is never left, and files that are never too long.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::Errno;

use super::super::evidence::Unseen;

/// The longest file that is read, in bytes: a slabinfo of 240 caches has 30 KB, the vmstat of a large box 10 KB.
pub(super) const LONGEST: usize = 1 << 20;
/// Things that are told to be missing.
const UNSEEN: usize = 64;

/// The folder that stands for `/`.
#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
    live: bool,
    /// What stands before a path when it is told.
    name: String,
    /// What could not be read.
    pub(super) unseen: Vec<Unseen>,
    /// Files that were understood.
    pub(super) read: u64,
}

impl Tree {
    pub(super) fn open(root: &Path, live: bool) -> Result<Self, String> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, root, flags, Mode::empty()).map_err(|error| {
            format!("{}: {}; name a folder that holds proc/", root.display(), io::Error::from(error))
        })?;
        Ok(Self { root, live, name: "/".to_owned(), unseen: Vec::new(), read: 0 })
    }

    /// The tree of this folder in it.
    pub(super) fn below(&self, path: &str) -> Result<Self, String> {
        let root = self.folder(path).map_err(|error| format!("{path}: {error}"))?;
        Ok(Self { root, live: self.live, name: format!("/{path}/"), unseen: Vec::new(), read: 0 })
    }

    /// Opens what is at `path`. Links of a recorded tree lead nowhere but into it; nothing there makes us wait.
    fn at(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        if self.live {
            return Ok(openat(&self.root, path, flags, Mode::empty())?);
        }
        openat2(&self.root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT).map_err(|error| match error {
            Errno::NOSYS => io::Error::other("a recorded tree is read on Linux 5.6 or later"),
            error => error.into(),
        })
    }

    pub(super) fn folder(&self, path: &str) -> io::Result<OwnedFd> {
        self.at(path, OFlags::DIRECTORY)
    }

    /// The names in a folder, up to `most`.
    pub(super) fn names(&self, path: &str, most: usize) -> io::Result<Vec<String>> {
        let entries = Dir::new(self.folder(path)?)?;
        let names =
            entries.map_while(Result::ok).filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned));
        Ok(names.filter(|name| name != "." && name != "..").take(most).collect())
    }

    /// The first `most` bytes of a file, and whether that is all of it.
    pub(super) fn bytes(&self, path: &str, most: usize) -> io::Result<(Vec<u8>, bool)> {
        let file = self.at(path, OFlags::empty())?;
        if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it is no file"));
        }
        let mut bytes = Vec::new();
        let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        File::from(file).take(limit).read_to_end(&mut bytes)?;
        let is_whole = bytes.len() <= most;
        bytes.truncate(most);
        Ok((bytes, is_whole))
    }

    /// What `parse` makes of a file; that it could not be read, or not understood, is noted.
    pub(super) fn read<T>(&mut self, path: &str, help: &str, parse: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        let found = match self.bytes(path, LONGEST) {
            Ok((_, false)) => Err("longer than 1 MiB, not read".to_owned()),
            Ok((bytes, true)) => parse(&bytes).ok_or_else(|| "its format is not known".to_owned()),
            Err(error) if help.is_empty() => Err(error.to_string()),
            Err(error) => Err(format!("{error}; {help}")),
        };
        found.inspect(|_| self.read += 1).map_err(|why| self.miss(path, why)).ok()
    }

    /// The same of a file that need not be there.
    pub(super) fn quietly<T>(&mut self, path: &str, parse: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        let (bytes, is_whole) = self.bytes(path, LONGEST).ok()?;
        let found = parse(&bytes).filter(|_| is_whole);
        self.read += u64::from(found.is_some());
        found
    }

    /// Notes what could not be seen.
    pub(super) fn miss(&mut self, path: &str, why: String) {
        if self.unseen.len() < UNSEEN {
            self.unseen.push(Unseen { source: format!("{}{path}", self.name), why });
        }
    }
}
