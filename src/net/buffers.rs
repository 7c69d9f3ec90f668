//! The kernel's buffers of a connection.
//!
//! Owns: how much a socket may receive before anybody takes it. Called by: the journey, when a connection stands and when
//! its receiver has shown that it takes what comes. Never: touches a connection that is under way for the pressure of others.
//!
//! The kernel lets a receive buffer grow with the traffic, up to 6 MiB (tcp(7), `tcp_rmem`), and counts as traffic what the
//! buffers of the next hop swallow: of a download whose reader stops after 64 KiB it kept 1.2 to 2.6 MB, measured. So while
//! there is a transfer whose receiver takes nothing, the senders of new ones get little room at first, and the kernel's
//! judgement counts once the receiver has taken more than buffers alone mostly do, and for longer than it takes to fill them.
//! Where nobody stands still nobody is slowed: behind a gateway the clients are mostly faster than the uplink.

use std::io;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::Duration;

use socket2::SockRef;

use crate::kernel::sys;

/// `SO_RCVBUF` of a connection whose receiver has shown nothing yet. The kernel doubles it, and that is what it pins.
const FIRST: usize = 12 * 1024;
/// `SO_RCVBUF` of a connection whose receiver is believed, to begin with: doubled it is what the kernel gives a new socket
/// (tcp(7), `tcp_rmem`).
const BELIEVED: usize = 64 * 1024;
/// What a receiver must have taken to be believed. Its own kernel mostly takes 130 to 230 KB for a reader who has stopped.
/// Slow start (RFC 6928) needs five round trips to come as far; then the window is free to grow.
const SHOWN: u32 = 256 * 1024;
/// From here on the time counts: what came before may have been small talk.
const BEGUN: u32 = 32 * 1024;
/// How long it must have taken. Some kernels take megabytes for nobody, but in no time.
const LASTED: Duration = Duration::from_millis(250);

/// What a receiver has shown so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown {
    bytes: u32,
    /// In milliseconds of the caller's clock.
    since: u32,
}

impl Shown {
    /// The receiver has taken more. True once: from now on it is believed.
    pub fn took(&mut self, bytes: usize, clock: impl FnOnce() -> Duration) -> bool {
        if self.is_believed() {
            return false;
        }
        let before = self.bytes;
        self.bytes = before.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX)).min(SHOWN);
        if self.bytes < BEGUN || BEGUN <= before && self.bytes < SHOWN {
            return false;
        }
        let now = u32::try_from(clock().as_millis()).unwrap_or(u32::MAX);
        if before < BEGUN {
            self.since = now;
        }
        let lasted = Duration::from_millis(now.saturating_sub(self.since).into());
        if self.bytes == SHOWN && lasted >= LASTED {
            self.bytes = u32::MAX;
        }
        self.is_believed()
    }

    /// Whether it is believed to take what comes.
    pub const fn is_believed(&self) -> bool {
        self.bytes == u32::MAX
    }
}

/// Gives the sender on this socket little room. Not before the connection stands: its window scale would be chosen for that
/// little (`tcp_select_initial_window` in the kernel). On kernels that could not take it back, before 5.14, it does nothing.
pub fn begin(socket: &impl AsFd) {
    static CAN_END: OnceLock<bool> = OnceLock::new();
    if *CAN_END.get_or_init(|| sys::unlock_buffers(socket).is_ok()) {
        receive(socket, FIRST).unwrap_or_default();
    }
}

/// The receiver is believed ([`Shown`]): the sender gets the room the kernel finds right, or this much.
///
/// To be set free alone is not enough. The kernel lets a window grow when more came in a round trip than in the one before
/// (`tcp_rcv_space_adjust`), which a sender that fills a small one never does, and it has fitted the most it will ever offer
/// to the little room (`tcp_measure_rcv_mss`): at a round trip of 100 ms such a connection stayed at 144 KB/s for ever.
pub fn widen(socket: &impl AsFd, most: Option<usize>) {
    let room = SockRef::from(socket).recv_buffer_size().unwrap_or(usize::MAX);
    // What the kernel has already made large, as of a connection that did not begin with little, stays as it is.
    if most.is_some() || room < 2 * BELIEVED {
        receive(socket, most.unwrap_or(BELIEVED)).unwrap_or_default();
        sys::unclamp_window(socket).unwrap_or_default();
    }
    if most.is_none() {
        sys::unlock_buffers(socket).unwrap_or_default();
    }
}

/// This much in each direction and no more, from now on.
pub fn limit(socket: &impl AsFd, most: usize) {
    receive(socket, most).unwrap_or_default();
    limit_sent(socket, most);
}

/// The same of what is sent only.
pub fn limit_sent(socket: &impl AsFd, most: usize) {
    SockRef::from(socket).set_send_buffer_size(most).unwrap_or_default();
}

fn receive(socket: &impl AsFd, bytes: usize) -> io::Result<()> {
    SockRef::from(socket).set_recv_buffer_size(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use socket2::SockRef;

    use super::{FIRST, Shown, begin, limit, widen};

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (ours, listener.accept().unwrap().0)
    }

    /// What the peer can send to somebody who does not read.
    fn swallowed(mut peer: TcpStream) -> usize {
        peer.set_nonblocking(true).unwrap();
        SockRef::from(&peer).set_send_buffer_size(4_096).unwrap();
        let mut sent = 0;
        while let Ok(n) = peer.write(&[0; 4_096]) {
            sent += n;
        }
        sent
    }

    #[test]
    fn little_is_received_for_a_receiver_that_has_shown_nothing() {
        let (ours, peer) = pair();
        begin(&ours);
        assert_eq!(SockRef::from(&ours).recv_buffer_size().unwrap(), 2 * FIRST);
        let sent = swallowed(peer);
        assert!(sent < 3 * FIRST + 32 * 1024, "{sent}");
        widen(&ours, Some(64 * 1024));
        assert_eq!(SockRef::from(&ours).recv_buffer_size().unwrap(), 128 * 1024);
    }

    #[test]
    fn who_is_believed_begins_with_what_a_new_socket_has() {
        let (ours, _peer) = pair();
        begin(&ours);
        widen(&ours, None);
        let room = SockRef::from(&ours).recv_buffer_size().unwrap();
        assert!(room >= 128 * 1024, "{room}: a window that is always full does not grow");
        let (ours, _peer) = pair();
        SockRef::from(&ours).set_recv_buffer_size(100 * 1024).unwrap();
        widen(&ours, None);
        assert_eq!(SockRef::from(&ours).recv_buffer_size().unwrap(), 200 * 1024, "what is large is not made smaller");
    }

    #[test]
    fn a_receiver_is_believed_for_what_it_takes_over_time() {
        let believed = |pace: u64, bytes: usize| {
            let mut shown = Shown::default();
            (1..=1_000).find(|n| shown.took(bytes, || Duration::from_millis(n * pace)))
        };
        assert_eq!(believed(10, 16_384), Some(27), "256 KiB, and a quarter of a second");
        assert_eq!(believed(1, 65_536), Some(251), "16 MB in a quarter of a second");
        assert_eq!(believed(1, 200), None);
        assert_eq!(believed(0, 65_536), None, "in no time");
        assert_eq!(believed(50, usize::MAX), Some(6));
        let mut shown = Shown::default();
        assert!((0..100_u32).all(|_| !shown.took(1, || panic!("small talk"))));
    }

    #[test]
    fn a_limit_is_of_both_directions() {
        let (ours, _peer) = pair();
        limit(&ours, 64 * 1024);
        let socket = SockRef::from(&ours);
        assert_eq!((socket.recv_buffer_size().unwrap(), socket.send_buffer_size().unwrap()), (128 * 1024, 128 * 1024));
    }
}
