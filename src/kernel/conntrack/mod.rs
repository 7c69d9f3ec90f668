//! The kernel's connection tracking forgets connections that we dropped without a word.
//!
//! Owns: [`Conntrack`] (deletes entries over netlink) and [`Forgetter`] (the thread that the hot path hands them to).
//! Called by: the journey, for what it drops. Never: loads connection tracking where there is none, or holds up the journey.
//!
//! An entry that is not deleted stays for 5 days as `ESTABLISHED` (`nf_conntrack_tcp_timeout_established`) if its client
//! has vanished too; a storm of dropped connections would fill the table.

mod forgetter;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_netfilter::conntrack::{ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Protocol, Tuple};
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};
use netlink_sys::protocols::NETLINK_NETFILTER;

use super::netlink::{Body, Netlink};

pub use forgetter::{Counters, Forgetter};

/// Either of these exists where the kernel tracks connections.
const SIGNS: [&str; 2] = ["/proc/sys/net/netfilter/nf_conntrack_count", "/proc/net/nf_conntrack"];
/// Deletions in one call of the kernel, which refuses a message longer than its send buffer (212,992 bytes by default). A
/// deletion has 80 or 104 bytes.
const BATCH: usize = 512;
/// Room for the kernel's answers if every deletion of a batch fails: each answer takes about 1 KiB with its overhead.
const ROOM: usize = 1 << 20;
/// How long an answer is waited for; the kernel gives it before `send` returns.
const PATIENCE: Duration = Duration::from_secs(1);

/// Connections: the client's address, and ours as our socket has it.
pub type Flow = (SocketAddr, SocketAddr);

/// Deletes entries of connection tracking, in this network namespace and its default zone (`ct zone` 0).
#[derive(Debug)]
pub struct Conntrack {
    socket: Netlink,
    /// The messages of a batch.
    bytes: Vec<u8>,
}

/// What became of the entries that were to be deleted.
#[must_use]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Forgotten {
    /// Deleted.
    pub deleted: u64,
    /// There was no such entry.
    pub unknown: u64,
}

impl Conntrack {
    /// Opens the socket, if connections are tracked here.
    ///
    /// # Errors
    /// `Unsupported` where there is no connection tracking (asking the kernel regardless would load its module, and from then
    /// on every packet would be tracked); `PermissionDenied` without `CAP_NET_ADMIN`.
    pub fn open() -> io::Result<Self> {
        Self::open_by(&SIGNS)
    }

    fn open_by(signs: &[&str]) -> io::Result<Self> {
        if !signs.iter().any(|path| Path::new(path).exists()) {
            let why =
                "connections are not tracked here: there is neither /proc/sys/net/netfilter nor /proc/net/nf_conntrack";
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        let socket = Netlink::open(NETLINK_NETFILTER)?;
        socket.make_room(ROOM).map_err(|error| if is_denial(&error) { denied() } else { error })?;
        Ok(Self { socket, bytes: Vec::new() })
    }

    /// Deletes the entries of these flows. One that is not tracked, or tracked in a zone of its own, is unknown.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_ADMIN`, and those of the socket; some entries may have been deleted by then.
    pub fn forget(&mut self, flows: &[Flow]) -> io::Result<Forgotten> {
        let mut forgotten = Forgotten::default();
        for batch in flows.chunks(BATCH) {
            let unknown = self.batch(batch)?;
            forgotten.unknown += unknown;
            forgotten.deleted += u64::try_from(batch.len()).unwrap_or(0).saturating_sub(unknown);
        }
        Ok(forgotten)
    }

    /// Returns how many were unknown. Failures are always reported, success only where it is asked for: of the last one,
    /// whose answer ends the batch.
    fn batch(&mut self, flows: &[Flow]) -> io::Result<u64> {
        self.bytes.clear();
        let mut sequence = 0;
        for (index, (client, ours)) in flows.iter().enumerate() {
            sequence = self.socket.next_sequence();
            let is_last = index + 1 == flows.len();
            deletion(*client, *ours, if is_last { NLM_F_ACK } else { 0 }, sequence, &mut self.bytes);
        }
        if flows.is_empty() {
            return Ok(0);
        }
        self.socket.send(&self.bytes)?;
        let mut unknown = 0;
        let mut failure = None;
        loop {
            let mut is_answered = false;
            for message in self.socket.receive(PATIENCE)? {
                let message = message?;
                is_answered |= message.sequence == sequence;
                match message.body {
                    Body::Outcome(libc::ENOENT) => unknown += 1,
                    Body::Outcome(libc::EPERM) => failure = Some(denied()),
                    Body::Outcome(errno) if errno != 0 => failure = Some(io::Error::from_raw_os_error(errno)),
                    Body::Outcome(_) | Body::Done(_) | Body::Payload(_) => {}
                }
            }
            if is_answered {
                return failure.map_or(Ok(unknown), Err);
            }
        }
    }
}

fn is_denial(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

fn denied() -> io::Error {
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        "entries of connection tracking are deleted with CAP_NET_ADMIN only",
    )
}

/// Appends the message that deletes one entry (`IPCTNL_MSG_CT_DELETE`).
///
/// An entry is found by either of its directions. The reply's is named, from us to the client: it is what our socket sees
/// even where the original destination was rewritten (`redirect`). A deletion that names no tuple would delete them all
/// (`ctnetlink_del_conntrack` in `net/netfilter/nf_conntrack_netlink.c`).
fn deletion(client: SocketAddr, ours: SocketAddr, flags: u16, sequence: u32, bytes: &mut Vec<u8>) {
    let (to, from) = (client.ip().to_canonical(), ours.ip().to_canonical());
    let family = match to {
        IpAddr::V4(_) => NetfilterProtoFamily::IPv4,
        IpAddr::V6(_) => NetfilterProtoFamily::IPv6,
    };
    let tuple = vec![
        Tuple::Ip(vec![IPTuple::SourceAddress(from), IPTuple::DestinationAddress(to)]),
        Tuple::Proto(vec![
            ProtoTuple::Protocol(Protocol::Tcp),
            ProtoTuple::SourcePort(ours.port()),
            ProtoTuple::DestinationPort(client.port()),
        ]),
    ];
    let delete = ConntrackMessage::Delete(vec![ConntrackAttribute::CtaTupleReply(tuple)]);
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    header.sequence_number = sequence;
    let payload = NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), delete);
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(payload));
    message.finalize();
    let start = bytes.len();
    bytes.resize(start.saturating_add(message.buffer_len()), 0);
    message.serialize(bytes.get_mut(start..).unwrap_or_default());
}
