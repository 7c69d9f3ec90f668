//! A netlink socket to `nf_tables`: batches that succeed or fail as a whole, and dumps.

use std::io;
use std::time::Duration;

use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NlasIterator,
};
use netlink_packet_netfilter::nftables::NfTablesMessage;
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use socket2::SockRef;

/// The kernel answers within the call that asks; this is a net below that.
const PATIENCE: Duration = Duration::from_secs(2);
/// The kernel makes datagrams as large as the reader's buffer, up to this (`netlink_dump` in `af_netlink.c`).
const DATAGRAM: usize = 32 * 1024;
/// Datagrams of one reply. Three full sets are some 1,500.
const DATAGRAMS: usize = 8192;
/// `NFNL_SUBSYS_NFTABLES`, whom a batch is for.
const NF_TABLES: u16 = 10;
/// `struct nfgenmsg`, before the attributes of a message.
const FAMILY_HEADER: usize = 4;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

#[derive(Debug)]
pub(super) struct Netlink {
    socket: Socket,
    /// Of the kernel's names for sockets the one of ours: it owns the table.
    pub(super) port: u32,
    sequence: u32,
    datagram: Vec<u8>,
}

impl Netlink {
    pub(super) fn open() -> io::Result<Self> {
        // Close-on-exec: in the hands of a program we start, the table would outlive us.
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        let port = socket.bind_auto()?.port_number();
        // To the kernel, so that nobody else's messages reach us.
        socket.connect(&SocketAddr::new(0, 0))?;
        // An error comes without the message it is about.
        socket.set_cap_ack(true)?;
        SockRef::from(&socket).set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket, port, sequence: 0, datagram: vec![0; DATAGRAM] })
    }

    /// Sends these messages, with the flags beside them, as one transaction: all of it or nothing.
    pub(super) fn commit(&mut self, messages: Vec<(NfTablesMessage, u16)>) -> io::Result<()> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        self.append(&mut bytes, ControlMessage::BatchBegin.into(), 0);
        let last = messages.len().saturating_sub(1);
        let mut awaited = first;
        for (at, (message, flags)) in messages.into_iter().enumerate() {
            let flags = if at == last { flags | NLM_F_ACK } else { flags };
            awaited = self.append(&mut bytes, message.into(), flags);
        }
        self.append(&mut bytes, ControlMessage::BatchEnd.into(), 0);
        self.socket.send(&bytes, 0)?;
        self.replies(first, awaited, |_| ())
    }

    /// Asks for something, and passes the attributes of every message of the answer on. `Interrupted` if a dump is not
    /// consistent since something has changed meanwhile.
    pub(super) fn ask(&mut self, message: NfTablesMessage, flags: u16, each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut bytes = Vec::new();
        let sequence = self.append(&mut bytes, message.into(), flags | NLM_F_ACK);
        self.socket.send(&bytes, 0)?;
        self.replies(sequence, sequence, each)
    }

    /// Returns the number it was given.
    fn append(&mut self, bytes: &mut Vec<u8>, message: NetfilterMessageInner, flags: u16) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        let is_control = matches!(message, NetfilterMessageInner::None(_));
        let header = if is_control {
            NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NF_TABLES)
        } else {
            NetfilterHeader::new(NetfilterProtoFamily::Inet, 0, 0)
        };
        let mut netlink = NetlinkHeader::default();
        netlink.flags = NLM_F_REQUEST | flags;
        netlink.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(netlink, NetlinkPayload::from(NetfilterMessage::new(header, message)));
        message.finalize();
        // All its parts are padded to 4 bytes, as messages have to be (netlink(7)).
        let mut one = vec![0; message.buffer_len()];
        message.emit(&mut one);
        bytes.append(&mut one);
        self.sequence
    }

    /// Reads until the end of a dump, the acknowledgement of message `last`, or an error of message `first`, which stands
    /// for all of them (`nfnetlink_rcv_batch` in the kernel).
    fn replies(&mut self, first: u32, last: u32, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut failed = None;
        let mut is_interrupted = false;
        for _ in 0..DATAGRAMS {
            let size = match self.socket.recv(&mut self.datagram.as_mut_slice(), 0) {
                Ok(size) => size,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel does not reply"));
                }
                Err(error) => return Err(error),
            };
            let mut rest = self.datagram.get(..size).unwrap_or_default();
            while !rest.is_empty() {
                let message = NetlinkBuffer::new_checked(rest).map_err(io::Error::other)?;
                let sequence = message.sequence_number();
                let length = usize::try_from(message.length()).unwrap_or(usize::MAX).next_multiple_of(4);
                rest = rest.get(length..).unwrap_or_default();
                // Of a question we gave up on.
                if sequence.wrapping_sub(first) > last.wrapping_sub(first) {
                    continue;
                }
                is_interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
                let kind = message.message_type();
                if kind != NLMSG_ERROR && kind != NLMSG_DONE {
                    each(message.payload().get(FAMILY_HEADER..).unwrap_or_default());
                    continue;
                }
                // Both begin with an error code; a dump that fails half-way ends with one.
                let code = message.payload().first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                if code < 0 && failed.is_none() {
                    failed = Some(io::Error::from_raw_os_error(-code));
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
