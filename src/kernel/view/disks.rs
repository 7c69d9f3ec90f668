//! The disks that we write to: how much is left on each.
//!
//! Owns: a descriptor of one folder on each. Called by: [`super::sources`]. Never: waits for a server: a folder on a network
//! file system is left out, since asking a dead one would hold up whoever asks.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, StatVfs, fstatfs, fstatvfs};

use super::Absent;

/// Folders looked at; more are left out.
const FOLDERS: usize = 8;
/// File systems that ask a server (statfs(2)): NFS, SMB, CIFS, SMB2.
const REMOTE: [u32; 4] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42];

/// A disk that we write to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Disk {
    /// The folder on it that we write to.
    pub path: PathBuf,
    /// Bytes that may still be written, without the reserve that root has.
    pub free: u64,
    /// Bytes that are written or may be, as df(1) counts: its size without what is kept back from us.
    pub total: u64,
}

/// The folders, held open: they can be asked for after the rights to reach them by name have been dropped.
#[derive(Debug, Default)]
pub(super) struct Disks(Vec<Folder>);

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    /// With the number of its device.
    opened: Result<(File, u64), String>,
}

impl Disks {
    /// Looks after the disk of this folder too, from now on; once if two folders are on one.
    pub(super) fn watch(&mut self, path: &Path) {
        let opened = open(path);
        let device = |opened: &Result<(File, u64), String>| opened.as_ref().ok().map(|(_, device)| *device);
        let known = device(&opened).is_some_and(|new| self.0.iter().any(|folder| device(&folder.opened) == Some(new)));
        if !known && self.0.len() < FOLDERS {
            self.0.push(Folder { path: path.to_owned(), opened });
        }
    }

    /// How much is left on each, or why that is not known.
    pub(super) fn read(&self) -> impl Iterator<Item = Result<Disk, Absent>> {
        self.0.iter().map(|Folder { path, opened }| {
            let absent = |why: String| Absent { source: "disk", why: format!("{}: {why}", path.display()) };
            let (folder, _) = opened.as_ref().map_err(|why| absent(why.clone()))?;
            let room = fstatvfs(folder).map_err(|error| absent(error.to_string()))?;
            let (free, total) = bytes(&room).ok_or_else(|| absent("its file system has no size".to_owned()))?;
            Ok(Disk { path: path.clone(), free, total })
        })
    }
}

fn open(path: &Path) -> Result<(File, u64), String> {
    // A path alone takes no right to read what is in it.
    let flags = (OFlags::PATH | OFlags::DIRECTORY).bits().cast_signed();
    let folder = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| error.to_string())?;
    let kind = fstatfs(&folder).map_err(|error| error.to_string())?.f_type;
    if REMOTE.iter().any(|remote| i128::from(*remote) == i128::from(kind)) {
        return Err("a network file system: it is not asked, since a dead server would not answer".to_owned());
    }
    let device = folder.metadata().map_err(|error| error.to_string())?.dev();
    Ok((folder, device))
}

/// Free for everybody, and that with what is used. What has no blocks is no disk.
pub(super) fn bytes(room: &StatVfs) -> Option<(u64, u64)> {
    let used = room.f_blocks.saturating_sub(room.f_bfree);
    let free = room.f_bavail.min(room.f_blocks);
    let bytes = |blocks: u64| blocks.checked_mul(room.f_frsize);
    Some((bytes(free)?, bytes(used.checked_add(free)?).filter(|total| *total > 0)?))
}
