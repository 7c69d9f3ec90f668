//! Asking the kernel over netlink (netlink(7)) and reading what it answers, with an end to every wait.
//!
//! Owns: the socket, the datagram, the walk over its messages. Called by: diag, conntrack, fence. Never: trusts a length it
//! was given, or passes over what cannot be read: that is an error, since an answer would lack it.

use std::io;
use std::time::Duration;

use netlink_packet_core::{NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer};
use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt::{Timeout, set_socket_recv_buffer_size_force, set_socket_timeout};

/// The longest datagram that is read: dumps come in pieces of up to 32 KiB (`netlink_dump` in `net/netlink/af_netlink.c`).
const DATAGRAM: usize = 64 * 1024;
/// The shortest wait: a time-out of 0 would mean for ever (socket(7)).
const SHORTEST: Duration = Duration::from_millis(1);

/// A netlink socket of the calling thread's network namespace. No program that we start inherits it.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: Socket,
    /// Its name among the kernel's netlink sockets of this family, that of no other.
    pub(crate) port: u32,
    datagram: Vec<u8>,
    sequence: u32,
    /// The time-out in force.
    patience: Duration,
}

impl Netlink {
    /// Opens a socket of this netlink family, connected to the kernel.
    pub(crate) fn open(family: isize) -> io::Result<Self> {
        let mut socket = Socket::new(family)?;
        let port = socket.bind_auto()?.port_number();
        // To the kernel, so that nobody else's messages reach us.
        socket.connect(&SocketAddr::new(0, 0))?;
        // Errors then come without a copy of the request; a kernel before 4.2 sends it all the same.
        socket.set_cap_ack(true).unwrap_or_default();
        Ok(Self { socket, port, datagram: vec![0; DATAGRAM], sequence: 0, patience: Duration::ZERO })
    }

    /// Makes room for that many bytes of answers, overhead included. Needs `CAP_NET_ADMIN`.
    pub(crate) fn make_room(&self, bytes: usize) -> io::Result<()> {
        Ok(set_socket_recv_buffer_size_force(&self.socket, bytes)?)
    }

    /// A number that no earlier request on this socket had.
    pub(crate) const fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Sends one or several messages, which must be complete and aligned.
    pub(crate) fn send(&self, messages: &[u8]) -> io::Result<()> {
        let sent = self.socket.send(messages, 0)?;
        if sent == messages.len() { Ok(()) } else { Err(io::Error::from(io::ErrorKind::WriteZero)) }
    }

    /// The messages of the next datagram.
    ///
    /// # Errors
    /// `WouldBlock` when none comes within `patience`; `ENOBUFS` when the kernel had more to say than there was room for. In
    /// place of a message, `InvalidData` when the rest of the datagram makes no sense.
    pub(crate) fn receive(&mut self, patience: Duration) -> io::Result<impl Iterator<Item = io::Result<Message<'_>>>> {
        let patience = patience.max(SHORTEST);
        if patience != self.patience {
            set_socket_timeout(&self.socket, Timeout::Recv, Some(patience))?;
            self.patience = patience;
        }
        let length = loop {
            match self.socket.recv(&mut self.datagram.as_mut_slice(), 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        Ok(messages(self.datagram.get(..length).unwrap_or_default()))
    }
}

/// One message of the kernel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Message<'a> {
    /// Of the request that it answers.
    pub(crate) sequence: u32,
    /// `NLM_F_*` of `linux/netlink.h`.
    pub(crate) flags: u16,
    pub(crate) body: Body<'a>,
}

/// What a message says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Body<'a> {
    /// `NLMSG_ERROR`: how a request went, an errno or 0.
    Outcome(i32),
    /// `NLMSG_DONE`: the end of a dump, with an errno or 0.
    Done(i32),
    /// Anything else.
    Payload(&'a [u8]),
}

/// Walks over a datagram, as far as it makes sense: an error comes last.
fn messages(datagram: &[u8]) -> impl Iterator<Item = io::Result<Message<'_>>> {
    let mut rest = datagram;
    std::iter::from_fn(move || if rest.is_empty() { None } else { Some(next(&mut rest)) })
}

fn next<'a>(rest: &mut &'a [u8]) -> io::Result<Message<'a>> {
    let bytes = std::mem::take(rest);
    let message =
        NetlinkBuffer::new_checked(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    // Messages are aligned to 4 bytes (netlink(7)); the last one may lack its padding.
    let length = usize::try_from(message.length()).unwrap_or(usize::MAX);
    *rest = length.checked_next_multiple_of(4).and_then(|length| bytes.get(length..)).unwrap_or_default();
    let payload = message.payload();
    let body = match message.message_type() {
        NLMSG_ERROR => Body::Outcome(errno(payload)),
        NLMSG_DONE => Body::Done(errno(payload)),
        _ => Body::Payload(payload),
    };
    Ok(Message { sequence: message.sequence_number(), flags: message.flags(), body })
}

/// Errors travel as negative numbers in the first four bytes; a `NLMSG_DONE` may be empty.
fn errno(payload: &[u8]) -> i32 {
    payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes).saturating_neg())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Body, Message, messages};

    const FLAGS: u16 = 0x12;

    fn message(kind: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(16 + payload.len()).unwrap();
        let (length, kind, flags) = (length.to_ne_bytes(), kind.to_ne_bytes(), FLAGS.to_ne_bytes());
        let mut bytes = [&length[..], &kind, &flags, &sequence.to_ne_bytes()].concat();
        bytes.extend([0; 4]);
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn a_datagram_is_walked_message_by_message() {
        let refused = [&(-1_i32).to_ne_bytes()[..], &[7; 20]].concat();
        let datagram =
            [message(20, 1, b"first"), message(2, 2, &refused), message(2, 3, &[0; 20]), message(3, 4, &[])].concat();
        let found: Vec<_> = messages(&datagram).map(Result::unwrap).collect();
        let expected = [Body::Payload(b"first"), Body::Outcome(libc::EPERM), Body::Outcome(0), Body::Done(0)];
        let expected = (1..).zip(expected).map(|(sequence, body)| Message { sequence, flags: FLAGS, body });
        assert_eq!(found, expected.collect::<Vec<_>>());
    }

    #[test]
    fn what_cannot_be_read_is_an_error_and_the_end() {
        let datagram = [message(20, 1, b"read"), message(20, 2, b"cut off")].concat();
        let cut = &datagram[..datagram.len() - 2];
        let found: Vec<_> = messages(cut).map(|message| message.ok().map(|message| message.sequence)).collect();
        assert_eq!(found, [Some(1), None]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(messages(&bytes).count() <= bytes.len() / 16 + 1);
        }

        #[test]
        fn a_datagram_that_is_cut_or_spoilt_is_walked_to_an_end(
            at in 0..64_usize, value in any::<u8>(), length in 0..64_usize,
        ) {
            let mut datagram = [message(20, 1, &[1; 10]), message(2, 2, &[0; 4])].concat();
            if let Some(byte) = datagram.get_mut(at) {
                *byte = value;
            }
            datagram.truncate(length);
            prop_assert!(messages(&datagram).count() <= 4);
        }
    }
}
