//! The fence in nftables: a table of our own, owned by our netlink socket, without the nft program.
//!
//! Owns: the netlink socket ([`nfnetlink`]), the table ([`ruleset`]) and what is in its sets ([`elements`]). Called by: control,
//! as a [`Fence`]. Never: touches another table. Linux 5.12 or newer: tables that a socket owns.

use std::io;

use ahash::{AHashMap, AHashSet};
use ipnet::IpNet;
use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_netfilter::nftables::{NfTablesMessage, RuleAttribute, RuleMessage, TableAttribute, TableMessage};

use self::nfnetlink::{NfNetlink, attribute};
use self::ruleset::{DROPPED, SET_SIZE, SETS};
use super::{Change, Dropped, Fence, LEAST_TIMEOUT, Listening, last_words};

mod elements;
mod nfnetlink;
mod ruleset;
#[cfg(test)]
mod tests;

// Attributes of linux/netfilter/nf_tables.h
const NFTA_TABLE_OWNER: u16 = 7;
const NFTA_RULE_EXPRESSIONS: u16 = 4;

/// Its name, unless there is such a table.
const TABLE: &str = "floodgate";
/// Changes of one transaction. The elements of a message are one attribute, whose length is 16 bits: of the longest, 156
/// bytes each, 420 fit; and a transaction fits into the least send buffer that is usual (208 KiB).
const CHUNK: usize = 256;
/// How often what failed since something changed meanwhile is tried.
const ATTEMPTS: usize = 5;

/// See the module.
#[derive(Debug)]
pub(super) struct NfTables {
    netlink: NfNetlink,
    table: String,
    /// Of each network what had been dropped at the last reading: where its counter goes on when it is shut anew.
    counted: AHashMap<IpNet, u64>,
}

impl NfTables {
    /// Puts the table up, and tries it.
    pub(super) fn put_up(listening: &[Listening]) -> io::Result<Self> {
        let mut netlink = NfNetlink::open().map_err(explained)?;
        // A second gateway, or an operator's own table of that name. No two sockets of a network have the same port.
        let mut table = TABLE.to_owned();
        let taken = |error: &io::Error| matches!(error.raw_os_error(), Some(libc::EEXIST | libc::EPERM));
        if let Err(error) = netlink.commit(ruleset::messages(&table, listening)) {
            if !taken(&error) {
                return Err(explained(error));
            }
            table = format!("{TABLE}_{}", netlink.port());
            netlink.commit(ruleset::messages(&table, listening)).map_err(explained)?;
        }
        let mut fence = Self { netlink, table, counted: AHashMap::new() };
        // An address of documentation (RFC 5737): whether the kernel has all that an element needs is known only then.
        let nobody = IpNet::from(std::net::IpAddr::from([192, 0, 2, 1]));
        fence.apply(&[Change::HalfOpen(nobody, LEAST_TIMEOUT)])?;
        fence.apply(&[Change::Open(nobody)])?;
        Ok(fence)
    }

    /// Sends changes, transaction by transaction. An error comes with how many were made before it.
    fn send(&mut self, changes: &[Change]) -> Result<(), (usize, io::Error)> {
        let mut made = 0;
        // What is opened makes room for the others only when its transaction is over.
        let kinds = changes.chunk_by(|one, next| one.is_open() == next.is_open());
        for chunk in kinds.flat_map(|kind| kind.chunks(CHUNK)) {
            let mut attempts = 0..ATTEMPTS;
            while let Err(error) = self.netlink.commit(elements::messages(&self.table, chunk, &self.counted)) {
                // On kernels before 6.8 an element may expire within the transaction that is to delete it.
                let may_pass = error.raw_os_error() == Some(libc::ENOENT);
                if !may_pass || attempts.next().is_none() {
                    return Err((made, error));
                }
            }
            made += chunk.len();
        }
        Ok(())
    }

    /// Every network in the sets, and how many SYNs of it were dropped.
    fn members(&mut self) -> io::Result<AHashMap<IpNet, u64>> {
        let mut members = AHashMap::new();
        for set in &SETS {
            self.dump(
                |fence| elements::all_of(&fence.table, set),
                |message| members.extend(elements::read(set, message)),
            )?;
        }
        Ok(members)
    }

    /// Reads a dump anew if something changed meanwhile. What changes most often is other people's tables, and what came
    /// before and comes again is the same.
    fn dump(&mut self, question: impl Fn(&Self) -> NfTablesMessage, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut attempts = 0..ATTEMPTS;
        loop {
            match self.netlink.ask(question(self), NLM_F_DUMP, &mut each) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted && attempts.next().is_some() => {}
                ended => return ended.map_err(explained),
            }
        }
    }
}

impl Fence for NfTables {
    fn name(&self) -> &'static str {
        "nftables"
    }

    fn apply(&mut self, changes: &[Change]) -> io::Result<Vec<Change>> {
        let mut changes = last_words(changes)?;
        for opened in changes.iter().filter(|change| change.is_open()) {
            self.counted.remove(&opened.network().trunc());
        }
        match self.send(&changes) {
            Ok(()) => return Ok(Vec::new()),
            Err((_, error)) if !is_full(&error) => return Err(explained(error)),
            Err((made, _)) => drop(changes.drain(..made)),
        }
        let size = usize::try_from(SET_SIZE).unwrap_or(usize::MAX);
        let (fitting, mut left_out) = fit(changes, &self.members()?.into_keys().collect(), size);
        match self.send(&fitting) {
            Ok(()) => Ok(left_out),
            // What has expired takes room until it is collected.
            Err((made, error)) if is_full(&error) => {
                left_out.extend(fitting.into_iter().skip(made));
                Ok(left_out)
            }
            Err((_, error)) => Err(explained(error)),
        }
    }

    fn dropped(&mut self) -> io::Result<Dropped> {
        let mut total = 0;
        self.dump(
            |fence| {
                let (table, chain) = (fence.table.clone(), DROPPED.to_owned());
                NfTablesMessage::GetRule(RuleMessage {
                    attributes: vec![RuleAttribute::Table(table), RuleAttribute::Chain(chain)],
                })
            },
            |rule| total = elements::counter_in(attribute(rule, NFTA_RULE_EXPRESSIONS)),
        )?;
        self.counted = self.members()?;
        Ok(Dropped { total, networks: self.counted.clone() })
    }

    fn is_intact(&mut self) -> io::Result<bool> {
        let table = TableMessage { attributes: vec![TableAttribute::Name(self.table.clone())] };
        let ours = self.netlink.port().to_be_bytes();
        let mut is_ours = false;
        let seen = |table: &[u8]| is_ours = attribute(table, NFTA_TABLE_OWNER) == ours;
        match self.netlink.ask(NfTablesMessage::GetTable(table), 0, seen) {
            Ok(()) => Ok(is_ours),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(explained(error)),
        }
    }
}

/// Those of the changes for which there is room beside these members, in sets of this size, and the others.
fn fit(changes: Vec<Change>, members: &AHashSet<IpNet>, size: usize) -> (Vec<Change>, Vec<Change>) {
    let mut room = SETS.map(|set| size.saturating_sub(members.iter().filter(|member| set.takes(**member)).count()));
    let (mut fit, mut left_out) = (Vec::new(), Vec::new());
    for change in changes {
        let network = change.network().trunc();
        let is_member = members.contains(&network);
        let room = room.iter_mut().zip(&SETS).find_map(|(room, set)| set.takes(network).then_some(room));
        match room {
            // Open is what it is.
            _ if change.is_open() && !is_member => {}
            Some(room) if change.is_open() => {
                *room = room.saturating_add(1);
                fit.push(change);
            }
            _ if is_member => fit.push(change),
            Some(room) if *room > 0 => {
                *room = room.saturating_sub(1);
                fit.push(change);
            }
            _ => left_out.push(change),
        }
    }
    (fit, left_out)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENFILE | libc::ENOSPC))
}

/// The error in words that say what to do, where the number alone does not.
fn explained(error: io::Error) -> io::Error {
    let why = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => "it needs CAP_NET_ADMIN",
        Some(libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT | libc::EOPNOTSUPP) => "the kernel has no nf_tables",
        Some(libc::EINVAL) => "the kernel may be too old: tables with an owner came with Linux 5.12",
        Some(libc::ENOENT) => "the table is gone, or the kernel lacks a part of nf_tables (fib, limit or counter)",
        Some(libc::ENOBUFS) => "the kernel's replies were lost for want of memory",
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{why} ({error})"))
}
