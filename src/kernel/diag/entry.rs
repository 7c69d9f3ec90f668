//! One TCP socket as the kernel tells of it, and the reading of its bytes.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use netlink_packet_core::{NlasIterator, Parseable};
use netlink_packet_sock_diag::constants::{
    INET_DIAG_SKMEMINFO, TCP_CLOSE, TCP_CLOSE_WAIT, TCP_CLOSING, TCP_ESTABLISHED, TCP_FIN_WAIT1, TCP_FIN_WAIT2,
    TCP_LAST_ACK, TCP_LISTEN, TCP_SYN_RECV, TCP_SYN_SENT, TCP_TIME_WAIT,
};
use netlink_packet_sock_diag::inet::nlas::MemInfo;
use netlink_packet_sock_diag::inet::{InetResponseHeader, SocketId, Timer};

/// The size of `struct inet_diag_msg` (`linux/inet_diag.h`), which attributes follow.
const HEADER: usize = 72;

/// What names a socket to the kernel, with the cookie that no later socket has. Only a dump gives one out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Id {
    pub(super) family: u8,
    pub(super) socket: SocketId,
}

#[cfg(test)]
impl Id {
    /// One that names no socket, for tests of what is done with them.
    pub(crate) fn of(cookie: u32) -> Self {
        let mut socket = SocketId::new_v4();
        socket.cookie = u64::from(cookie).to_ne_bytes();
        Self { family: 0, socket }
    }
}

/// A state of RFC 9293 section 3.3.2.
#[expect(missing_docs, reason = "their names are the standard's")]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum State {
    Established,
    SynSent,
    SynReceived,
    FinWait1,
    FinWait2,
    TimeWait,
    Closed,
    CloseWait,
    LastAck,
    Listen,
    Closing,
}

/// What kind of kernel object it is: they differ in size and in who can end them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// A process has it open.
    Live,
    /// Connected, and waiting for accept(2).
    Queued,
    /// Closed by its process, with data or a FIN still to deliver.
    Orphan,
    /// A small remnant: `TIME_WAIT`, or `FIN_WAIT2` after close (`tcp_time_wait` in `net/ipv4/tcp_minisocks.c`).
    TimeWait,
    /// A SYN that was answered and not yet acknowledged.
    HalfOpen,
}

/// Memory of a socket's queues, in bytes with the kernel's overhead (`INET_DIAG_SKMEMINFO`, `sock_diag(7)`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Memory {
    /// Received and not yet read.
    pub receive: u32,
    /// Written and not yet acknowledged.
    pub send: u32,
    /// Set aside for the next packets. No object of the kernel's yet, but charged against `tcp_mem`.
    pub forward: u32,
    /// Options and filters.
    pub options: u32,
    /// Arrived while the socket was locked.
    pub backlog: u32,
    /// Packets dropped so far: a count, no bytes.
    pub drops: u32,
}

impl Memory {
    /// All of them.
    pub fn bytes(&self) -> u64 {
        [self.receive, self.send, self.forward, self.options, self.backlog].into_iter().map(u64::from).sum()
    }
}

/// What the kernel waits for before it acts again by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Waiting {
    /// An acknowledgement of data that was sent this many times again.
    Retransmit(u8),
    /// A window at the peer that is not 0: for that long still, and this many probes unanswered.
    Probe(Duration, u8),
}

/// A TCP socket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Our end; IPv4-mapped addresses are IPv4.
    pub local: SocketAddr,
    /// The peer's end, likewise.
    pub remote: SocketAddr,
    /// Its state.
    pub state: State,
    /// 0 where no process has it open.
    pub inode: u32,
    /// The owner's user id.
    pub uid: u32,
    /// Bytes received and not yet read.
    pub receive_queue: u32,
    /// Bytes written and not yet acknowledged.
    pub send_queue: u32,
    /// What it waits for, if it waits.
    pub waiting: Option<Waiting>,
    /// Its buffers; small remnants and half-open ones have none.
    pub memory: Option<Memory>,
    /// What it is to the kernel.
    pub kind: Kind,
    /// What names it to [`super::Diag::destroy`].
    pub id: Id,
}

impl Entry {
    /// Reads the payload of one message; `None` for what is no TCP socket that we know of.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let (header, attributes) = payload.split_at_checked(HEADER)?;
        // The crate leaves out the number of probes; it is the fourth byte (`idiag_retrans`).
        let again = header.get(3).copied()?;
        let header = InetResponseHeader::parse(header).ok()?;
        let state = State::numbered(header.state)?;
        let memory = NlasIterator::new(attributes)
            .map_while(Result::ok)
            .find(|attribute| attribute.kind() == INET_DIAG_SKMEMINFO)
            .and_then(|attribute| MemInfo::parse(attribute.value()).ok());
        let address = |ip: IpAddr, port| SocketAddr::new(ip.to_canonical(), port);
        let socket = header.socket_id;
        Some(Self {
            local: address(socket.source_address, socket.source_port),
            remote: address(socket.destination_address, socket.destination_port),
            kind: kind(state, header.inode, header.timer.as_ref(), memory.is_some()),
            state,
            inode: header.inode,
            uid: header.uid,
            receive_queue: header.recv_queue,
            send_queue: header.send_queue,
            waiting: match header.timer {
                Some(Timer::Retransmit(_, again)) => Some(Waiting::Retransmit(again)),
                Some(Timer::Probe(left)) => Some(Waiting::Probe(left, again)),
                Some(Timer::KeepAlive(_) | Timer::TimeWait) | None => None,
            },
            memory: memory.map(|memory| Memory {
                receive: memory.receive_queue,
                send: memory.send_queue,
                // An int of the kernel's (`sk_forward_alloc`), which is below 0 for a moment now and then.
                forward: if memory.cache > i32::MAX.cast_unsigned() { 0 } else { memory.cache },
                options: memory.options,
                backlog: memory.backlog_queue_length,
                drops: memory.drops,
            }),
            id: Id { family: header.family, socket },
        })
    }

    /// The memory of its queues, in bytes.
    pub fn buffers(&self) -> u64 {
        self.memory.map_or(0, |memory| memory.bytes())
    }
}

impl State {
    /// By the kernel's number for it (`include/net/tcp_states.h`).
    pub(crate) const fn numbered(number: u8) -> Option<Self> {
        Some(match number {
            TCP_ESTABLISHED => Self::Established,
            TCP_SYN_SENT => Self::SynSent,
            TCP_SYN_RECV => Self::SynReceived,
            TCP_FIN_WAIT1 => Self::FinWait1,
            TCP_FIN_WAIT2 => Self::FinWait2,
            TCP_TIME_WAIT => Self::TimeWait,
            TCP_CLOSE => Self::Closed,
            TCP_CLOSE_WAIT => Self::CloseWait,
            TCP_LAST_ACK => Self::LastAck,
            TCP_LISTEN => Self::Listen,
            TCP_CLOSING => Self::Closing,
            _ => return None,
        })
    }
}

/// A full socket tells of its memory, a request or a remnant has none; a remnant shows the timer of its kind whatever its
/// state (`inet_twsk_diag_fill`). Without an inode a socket either has not been accepted yet or has been closed, and only
/// the closed one has sent a FIN (`tcp_close_state` in net/ipv4/tcp.c).
fn kind(state: State, inode: u32, timer: Option<&Timer>, is_full: bool) -> Kind {
    match state {
        State::TimeWait => Kind::TimeWait,
        _ if timer == Some(&Timer::TimeWait) => Kind::TimeWait,
        State::SynReceived if !is_full => Kind::HalfOpen,
        _ if inode != 0 => Kind::Live,
        State::FinWait1 | State::FinWait2 | State::Closing | State::LastAck | State::Closed => Kind::Orphan,
        State::Established | State::SynReceived | State::CloseWait => Kind::Queued,
        State::SynSent | State::Listen => Kind::Live,
    }
}
