//! Netlink as `nf_tables` speaks it: batches that succeed or fail as a whole, and dumps.

use std::io;
use std::time::Duration;

use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload, NlasIterator,
};
use netlink_packet_netfilter::nftables::NfTablesMessage;
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily};
use netlink_sys::protocols::NETLINK_NETFILTER;

use crate::kernel::netlink::{Body, Netlink};

/// The kernel answers within the call that asks; this is a net below that.
const PATIENCE: Duration = Duration::from_secs(2);
/// Datagrams of one reply. Three full sets are some 1,500.
const DATAGRAMS: usize = 8192;
/// `NFNL_SUBSYS_NFTABLES`, whom a batch is for.
const NF_TABLES: u16 = 10;
/// `struct nfgenmsg`, before the attributes of a message.
const FAMILY_HEADER: usize = 4;

#[derive(Debug)]
pub(super) struct NfNetlink(Netlink);

impl NfNetlink {
    pub(super) fn open() -> io::Result<Self> {
        // Never inherited: in the hands of a program we start, the table would outlive us.
        Netlink::open(NETLINK_NETFILTER).map(Self)
    }

    /// What the kernel calls our socket, as the owner of the table.
    pub(super) const fn port(&self) -> u32 {
        self.0.port
    }

    /// Sends these messages, with the flags beside them, as one transaction: all of it or nothing.
    pub(super) fn commit(&mut self, messages: Vec<(NfTablesMessage, u16)>) -> io::Result<()> {
        let mut bytes = Vec::new();
        let first = self.append(&mut bytes, ControlMessage::BatchBegin.into(), 0);
        let last = messages.len().saturating_sub(1);
        let mut awaited = first;
        for (at, (message, flags)) in messages.into_iter().enumerate() {
            let flags = if at == last { flags | NLM_F_ACK } else { flags };
            awaited = self.append(&mut bytes, message.into(), flags);
        }
        self.append(&mut bytes, ControlMessage::BatchEnd.into(), 0);
        self.0.send(&bytes)?;
        self.replies(first, awaited, |_| ())
    }

    /// Asks for something, and passes the attributes of every message of the answer on. `Interrupted` if a dump is not
    /// consistent since something has changed meanwhile.
    pub(super) fn ask(&mut self, message: NfTablesMessage, flags: u16, each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut bytes = Vec::new();
        let sequence = self.append(&mut bytes, message.into(), flags | NLM_F_ACK);
        self.0.send(&bytes)?;
        self.replies(sequence, sequence, each)
    }

    /// Returns the number it was given.
    fn append(&mut self, bytes: &mut Vec<u8>, message: NetfilterMessageInner, flags: u16) -> u32 {
        let sequence = self.0.next_sequence();
        let is_control = matches!(message, NetfilterMessageInner::None(_));
        let header = if is_control {
            NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NF_TABLES)
        } else {
            NetfilterHeader::new(NetfilterProtoFamily::Inet, 0, 0)
        };
        let mut netlink = NetlinkHeader::default();
        netlink.flags = NLM_F_REQUEST | flags;
        netlink.sequence_number = sequence;
        let mut message = NetlinkMessage::new(netlink, NetlinkPayload::from(NetfilterMessage::new(header, message)));
        message.finalize();
        // All its parts are padded to 4 bytes, as messages have to be (netlink(7)).
        let mut one = vec![0; message.buffer_len()];
        message.emit(&mut one);
        bytes.append(&mut one);
        sequence
    }

    /// Reads until the end of a dump, the acknowledgement of message `last`, or an error of message `first`, which stands
    /// for all of them (`nfnetlink_rcv_batch` in the kernel).
    fn replies(&mut self, first: u32, last: u32, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut failed = None;
        let mut is_interrupted = false;
        for _ in 0..DATAGRAMS {
            let messages = match self.0.receive(PATIENCE) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel does not reply"));
                }
                result => result?,
            };
            for message in messages {
                let message = message?;
                let sequence = message.sequence;
                // Of a question we gave up on.
                if sequence.wrapping_sub(first) > last.wrapping_sub(first) {
                    continue;
                }
                is_interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                // A dump that fails half-way ends with an error.
                let errno = match message.body {
                    Body::Outcome(errno) | Body::Done(errno) => errno,
                    Body::Payload(payload) => {
                        each(payload.get(FAMILY_HEADER..).unwrap_or_default());
                        continue;
                    }
                };
                if errno != 0 && failed.is_none() {
                    failed = Some(io::Error::from_raw_os_error(errno));
                }
                if sequence == last || sequence == first {
                    return match failed {
                        Some(error) => Err(error),
                        None if is_interrupted => Err(io::ErrorKind::Interrupted.into()),
                        None => Ok(()),
                    };
                }
            }
        }
        Err(io::Error::other("a reply without an end"))
    }
}

/// The attributes in these bytes: type and value.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(Result::ok).map(|attribute| {
        let kind = attribute.kind();
        let value = attribute.into_inner().get(4..usize::from(attribute.length())).unwrap_or_default();
        (kind, value)
    })
}

/// The value of the first attribute of this type, empty if there is none.
pub(super) fn attribute(bytes: &[u8], kind: u16) -> &[u8] {
    attributes(bytes).find_map(|(is, value)| (is == kind).then_some(value)).unwrap_or_default()
}
