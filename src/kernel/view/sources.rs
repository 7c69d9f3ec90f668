//! The proc files: opened once, read in place.
//!
//! Owns: [`Sources`]. Called by: control, once a second. Never: opens a file per look (slabinfo must survive the drop of
//! root), keeps more than 1 MiB of one, or takes an unreadable file for an empty one.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{PROC_SUPER_MAGIC, RawDir, SeekFrom, fstat, fstatfs, seek};
use rustix::process::{Resource, getrlimit};

use super::disks::Disks;
use super::machine::Machine;
use super::{Absent, CACHES, KernelView, Sockets, TcpExt, parse};

/// The longest proc file that is read, in bytes. A slabinfo of 240 caches has 30 KB.
const FILE_LIMIT: usize = 1 << 20;

/// How long a file that could not be opened is left alone.
const RETRY: Duration = Duration::from_mins(1);

pub(super) const SUBSET: &str = "is /proc mounted with subset=pid (systemd: ProcSubset=pid)?";

/// The files behind a [`KernelView`], kept open.
///
/// Open them before root is dropped: `/proc/slabinfo` is mode 0400, and the kernel checks that when the file is opened, not
/// when it is read. The files of `/proc/net` show the network namespace of the thread that opened them.
#[derive(Debug)]
pub struct Sources {
    slabinfo: Source,
    sockstat: Source,
    sockstat6: Source,
    netstat: Source,
    tcp_mem: Source,
    max_orphans: Source,
    max_tw_buckets: Source,
    port_range: Source,
    descriptors: Source,
    machine: Machine,
    disks: Disks,
    buffer: Vec<u8>,
    page_size: u64,
}

impl Sources {
    /// Opens the files of this machine. Never fails: what cannot be opened is absent from the view, and tried again at most
    /// once a minute.
    pub fn open() -> Self {
        Self::open_at(Path::new("/"))
    }

    /// Opens the files of the tree at `root`, which contains `proc/…`. The limit of descriptors and the page size are of
    /// this process all the same.
    pub fn open_at(root: &Path) -> Self {
        let now = Instant::now();
        let source = |name, help| Source::open(root, name, help, now);
        Self {
            slabinfo: source(
                "/proc/slabinfo",
                "it is mode 0400: start as root or grant CAP_DAC_READ_SEARCH; a kernel without CONFIG_SLUB_DEBUG has none",
            ),
            sockstat: source("/proc/net/sockstat", SUBSET),
            sockstat6: source("/proc/net/sockstat6", "a kernel without IPv6 has none"),
            netstat: source("/proc/net/netstat", SUBSET),
            tcp_mem: source("/proc/sys/net/ipv4/tcp_mem", "the kernel shows it in the initial network namespace only"),
            max_orphans: source(
                "/proc/sys/net/ipv4/tcp_max_orphans",
                "the kernel shows it in the initial network namespace only",
            ),
            max_tw_buckets: source(
                "/proc/sys/net/ipv4/tcp_max_tw_buckets",
                "kernels before 4.11 show it in the initial network namespace only",
            ),
            port_range: source("/proc/sys/net/ipv4/ip_local_port_range", "is /proc/sys readable?"),
            descriptors: source("/proc/self/fd", "is /proc mounted?"),
            machine: Machine::open(source),
            disks: Disks::default(),
            buffer: Vec::new(),
            page_size: u64::try_from(rustix::param::page_size()).unwrap_or(4096),
        }
    }

    /// Tells of the disks these folders are on, too. Like the files, they are opened now.
    pub fn watch_disks(&mut self, folders: impl IntoIterator<Item = impl AsRef<Path>>) {
        folders.into_iter().for_each(|folder| self.disks.watch(folder.as_ref()));
    }

    /// Reads everything now: some forty system calls, below a millisecond.
    pub fn read(&mut self) -> KernelView {
        self.read_at(Instant::now())
    }

    pub(super) fn read_at(&mut self, now: Instant) -> KernelView {
        let page_size = self.page_size;
        let mut look = Look { now, buffer: &mut self.buffer, absent: Vec::new() };
        let slab = look.value(&mut self.slabinfo, |text| parse::slabinfo(text, page_size)).unwrap_or_default();
        let [inuse_v4, orphan, time_wait, alloc, memory] =
            look.named(&mut self.sockstat, ["inuse", "orphan", "tw", "alloc", "mem"], |text, key| {
                parse::pair(text, "TCP:", key)
            });
        let [inuse_v6] = look.named(&mut self.sockstat6, ["inuse"], |text, key| parse::pair(text, "TCP6:", key));
        let [listen_overflows, listen_drops, aborts_on_memory, memory_pressures, time_wait_overflows, syn_cookies] =
            look.named(
                &mut self.netstat,
                [
                    "ListenOverflows",
                    "ListenDrops",
                    "TCPAbortOnMemory",
                    "TCPMemoryPressures",
                    "TCPTimeWaitOverflow",
                    "TCPReqQFullDoCookies",
                ],
                |text, name| parse::column(text, "TcpExt:", name),
            );
        let tcp_memory_limits = look.value(&mut self.tcp_mem, |text| {
            let [low, pressure, high] = parse::sysctl(text)?;
            let bytes = |pages: u64| pages.checked_mul(page_size);
            Some([bytes(low)?, bytes(pressure)?, bytes(high)?])
        });
        let orphan_limit = look.value(&mut self.max_orphans, parse::sysctl);
        let time_wait_limit = look.value(&mut self.max_tw_buckets, parse::sysctl);
        let ephemeral_ports = look.value(&mut self.port_range, |text| {
            let [first, last] = parse::sysctl(text)?;
            Some(last.checked_sub(first)? + 1)
        });
        let descriptors = look.descriptors(&mut self.descriptors);
        let disks = self.disks.read().filter_map(|disk| disk.map_err(|absent| look.absent.push(absent)).ok()).collect();

        let mut view = KernelView {
            slab: CACHES.into_iter().zip(slab).filter_map(|(cache, slab)| Some((cache, slab?))).collect(),
            sockets: Sockets { inuse_v4, inuse_v6, orphan, time_wait, alloc },
            orphan_limit: orphan_limit.map(|[limit]| limit),
            time_wait_limit: time_wait_limit.map(|[limit]| limit),
            tcp_memory: memory.and_then(|pages| pages.checked_mul(page_size)),
            tcp_memory_limits,
            tcp_ext: TcpExt {
                listen_overflows,
                listen_drops,
                aborts_on_memory,
                memory_pressures,
                time_wait_overflows,
                syn_cookies,
            },
            ephemeral_ports,
            descriptors,
            descriptor_limit: getrlimit(Resource::Nofile).current,
            disks,
            ..KernelView::default()
        };
        self.machine.read(&mut look, &mut view);
        view.absent = look.absent;
        view
    }
}

/// One pass over the files: what it finds out about their absence ends up in the view.
pub(super) struct Look<'a> {
    now: Instant,
    buffer: &'a mut Vec<u8>,
    absent: Vec<Absent>,
}

impl Look<'_> {
    /// What `parse` makes of the whole file.
    pub(super) fn value<T>(&mut self, source: &mut Source, parse: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        let found = match source.read(self.now, self.buffer) {
            Ok(text) => parse(text).ok_or_else(|| "its format is not known".to_owned()),
            Err(why) => Err(why),
        };
        self.noted(source, found)
    }

    /// What `parse` finds under each of these names.
    pub(super) fn named<const N: usize>(
        &mut self,
        source: &mut Source,
        names: [&'static str; N],
        parse: impl Fn(&[u8], &str) -> Option<u64>,
    ) -> [Option<u64>; N] {
        let found = source.read(self.now, self.buffer).map(|text| names.map(|name| parse(text, name)));
        let Some(values) = self.noted(source, found) else {
            return [None; N];
        };
        if values.contains(&None) {
            let missing: Vec<_> =
                names.into_iter().zip(values).filter_map(|(name, value)| value.is_none().then_some(name)).collect();
            self.absent.push(Absent {
                source: source.name,
                why: format!("this kernel gives no number for {}", missing.join(", ")),
            });
        }
        values
    }

    fn descriptors(&mut self, source: &mut Source) -> Option<u64> {
        let help = source.help;
        let found =
            source.file(self.now).and_then(|directory| count_descriptors(directory).map_err(|error| why(&error, help)));
        self.noted(source, found)
    }

    fn noted<T>(&mut self, source: &Source, found: Result<T, String>) -> Option<T> {
        found
            .map_err(|why| {
                self.absent.push(Absent { source: source.name, why });
            })
            .ok()
    }
}

/// One file, open or not.
#[derive(Debug)]
pub(super) struct Source {
    name: &'static str,
    path: PathBuf,
    help: &'static str,
    state: State,
}

#[derive(Debug)]
enum State {
    Open(File),
    Failed { at: Instant, why: String },
}

impl Source {
    fn open(root: &Path, name: &'static str, help: &'static str, now: Instant) -> Self {
        let path = root.join(name.trim_start_matches('/'));
        let state = State::open(&path, help, now);
        Self { name, path, help, state }
    }

    fn file(&mut self, now: Instant) -> Result<&File, String> {
        if let State::Failed { at, .. } = self.state
            && now.saturating_duration_since(at) >= RETRY
        {
            self.state = State::open(&self.path, self.help, now);
        }
        match &self.state {
            State::Open(file) => Ok(file),
            State::Failed { why, .. } => Err(why.clone()),
        }
    }

    /// The whole file, from its beginning. A file that fails here stays open: after the drop of root it could not be opened
    /// again.
    fn read<'b>(&mut self, now: Instant, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], String> {
        let help = self.help;
        let length = read_whole(self.file(now)?, buffer).map_err(|error| why(&error, help))?;
        Ok(buffer.get(..length).unwrap_or_default())
    }
}

impl State {
    fn open(path: &Path, help: &str, now: Instant) -> Self {
        match File::open(path) {
            Ok(file) => Self::Open(file),
            Err(error) => Self::Failed { at: now, why: why(&error, help) },
        }
    }
}

fn why(error: &io::Error, help: &str) -> String {
    format!("{error}; {help}")
}

/// Fills `buffer`, which grows up to [`FILE_LIMIT`] and is kept, and returns the length.
fn read_whole(file: &File, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let mut length = 0;
    loop {
        if length == buffer.len() {
            if length >= FILE_LIMIT {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "1 MiB or longer, not read"));
            }
            buffer.resize((length * 2).clamp(16 << 10, FILE_LIMIT), 0);
        }
        let rest = buffer.get_mut(length..).unwrap_or_default();
        match file.read_at(rest, length as u64) {
            Ok(0) => return Ok(length),
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// How many descriptors the process of this `/proc/PID/fd` has open.
///
/// Since Linux 6.2 the size of the directory is the answer (fs/proc/fd.c, `proc_fd_getattr`); older kernels say 0, and the
/// entries are counted.
fn count_descriptors(directory: &File) -> io::Result<u64> {
    let size = fstat(directory)?.st_size;
    if size > 0 && fstatfs(directory)?.f_type == PROC_SUPER_MAGIC {
        return u64::try_from(size).map_err(io::Error::other);
    }
    seek(directory, SeekFrom::Start(0))?;
    let mut entries = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(directory, &mut entries);
    let mut count = 0;
    while let Some(entry) = entries.next() {
        // Descriptors are numbers: this leaves out "." and "..".
        if entry?.file_name().to_bytes().iter().all(u8::is_ascii_digit) {
            count += 1;
        }
    }
    Ok(count)
}
