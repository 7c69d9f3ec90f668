//! The formats of the proc files: bytes in, numbers out.
//!
//! Owns: slabinfo, sockstat, netstat, meminfo, pressure, stat, loadavg and the sysctls, as text. Called by:
//! [`super::sources`], [`super::machine`], the doctor.
//! Never: panics, allocates, or takes a missing number for zero. Everything is found by its name, never by its place.

use super::{CACHES, Slab};

pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n')
}

pub(crate) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// `None` for a negative number, for one beyond 64 bits, and for what is none.
pub(crate) fn number(word: &[u8]) -> Option<u64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// The line that begins with this word.
fn line<'a>(text: &'a [u8], label: &str) -> Option<&'a [u8]> {
    lines(text).find(|line| words(line).next() == Some(label.as_bytes()))
}

/// The columns of slabinfo that matter (`mm/slab_common.c`, `print_slabinfo_header` and `cache_show`; versions 2.0 and 2.1).
#[derive(Clone, Copy, Debug)]
struct Columns {
    objects: usize,
    slabs: usize,
    pages: usize,
    page_size: u64,
}

impl Columns {
    /// As the header names them, and the rows behind it. The colons and the words "tunables" and "slabdata" stand in the header
    /// and in every row alike.
    fn read(text: &[u8], page_size: u64) -> Option<(Self, impl Iterator<Item = &[u8]>)> {
        let mut rows = lines(text);
        let header = rows.find_map(|row| row.strip_prefix(b"#"))?;
        let column = |name: &[u8]| words(header).position(|word| word == name);
        let columns = Self {
            objects: column(b"<active_objs>")?,
            slabs: column(b"<num_slabs>")?,
            pages: column(b"<pagesperslab>")?,
            page_size,
        };
        Some((columns, rows))
    }

    fn slab(&self, row: &[u8]) -> Option<Slab> {
        let cell = |column| words(row).nth(column).and_then(number);
        Some(Slab {
            objects: cell(self.objects)?,
            bytes: cell(self.slabs)?.checked_mul(cell(self.pages)?)?.checked_mul(self.page_size)?,
        })
    }
}

/// The caches of [`CACHES`] in slabinfo.
///
/// `None` when no header names the columns. A cache that is not listed (merged with another one by SLUB, or a kernel without
/// it) or that has no number in a column is `None`.
pub(super) fn slabinfo(text: &[u8], page_size: u64) -> Option<[Option<Slab>; CACHES.len()]> {
    let (columns, rows) = Columns::read(text, page_size)?;
    let mut caches = [None; CACHES.len()];
    for row in rows {
        let Some(name) = words(row).next() else {
            continue;
        };
        for (cache, slab) in CACHES.iter().zip(&mut caches) {
            if cache.as_bytes() == name {
                *slab = columns.slab(row);
            }
        }
    }
    Some(caches)
}

/// Every cache of slabinfo that has a number in each column, by name.
pub(crate) fn slabs(text: &[u8], page_size: u64) -> Option<impl Iterator<Item = (&[u8], Slab)>> {
    let (columns, rows) = Columns::read(text, page_size)?;
    Some(rows.filter_map(move |row| Some((words(row).next()?, columns.slab(row)?))))
}

/// The number after `key` on the line that begins with `label`: sockstat and sockstat6 (net/ipv4/proc.c, `sockstat_seq_show`).
pub(crate) fn pair(text: &[u8], label: &str, key: &str) -> Option<u64> {
    let mut words = words(line(text, label)?);
    words.find(|word| *word == key.as_bytes())?;
    words.next().and_then(number)
}

/// The number under `name` in the two lines that begin with `label`: netstat and snmp (net/ipv4/proc.c, `netstat_seq_show`).
///
/// Two lines of different length are not a table: nobody can say which number belongs to which name.
pub(crate) fn column(text: &[u8], label: &str, name: &str) -> Option<u64> {
    let mut rows = lines(text).filter(|row| words(row).next() == Some(label.as_bytes()));
    let (names, values) = (rows.next()?, rows.next()?);
    if words(names).count() != words(values).count() {
        return None;
    }
    words(names).zip(words(values)).find(|(word, _)| *word == name.as_bytes()).and_then(|(_, value)| number(value))
}

/// A sysctl of exactly `N` numbers.
pub(crate) fn sysctl<const N: usize>(text: &[u8]) -> Option<[u64; N]> {
    let mut words = words(text);
    let mut values = [0; N];
    for value in &mut values {
        *value = words.next().and_then(number)?;
    }
    words.next().is_none().then_some(values)
}

/// A line of meminfo (fs/proc/meminfo.c), in bytes.
pub(crate) fn memory(text: &[u8], name: &str) -> Option<u64> {
    let value = lines(text).find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"))?;
    let mut words = words(value);
    let kilobytes = words.next().and_then(number)?;
    (words.next() == Some(b"kB")).then(|| kilobytes.checked_mul(1024))?
}

/// `some avg10` of a pressure file (Documentation/accounting/psi.rst), in hundredths of a percent.
pub(crate) fn stall(text: &[u8]) -> Option<u32> {
    let percent = words(line(text, "some")?).find_map(|word| word.strip_prefix(b"avg10="))?;
    let (whole, hundredths) = percent.split_at_checked(percent.iter().position(|byte| *byte == b'.')?)?;
    let hundredths = hundredths.get(1..).filter(|digits| digits.len() == 2)?;
    let value = number(whole)?.checked_mul(100)?.checked_add(number(hundredths)?)?;
    u32::try_from(value).ok().filter(|value| *value <= 10_000)
}

/// The first eight numbers of the line `cpu` of stat (fs/proc/stat.c, `show_stat`): ticks of all cores together since boot.
/// Those of guests, behind them, are in the first two already.
pub(crate) fn ticks(text: &[u8]) -> Option<[u64; 8]> {
    let mut words = words(line(text, "cpu")?).skip(1);
    let mut ticks = [0; 8];
    for tick in &mut ticks {
        *tick = words.next().and_then(number)?;
    }
    Some(ticks)
}

/// The first number of loadavg (fs/proc/loadavg.c): `LOAD_INT` and two digits of `LOAD_FRAC`.
pub(super) fn load(text: &[u8]) -> Option<f64> {
    let word = words(text).next()?;
    let plain = word.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    std::str::from_utf8(word).ok().filter(|_| plain)?.parse().ok().filter(|load: &f64| load.is_finite())
}
