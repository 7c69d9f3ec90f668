//! The kernel's buffers of a connection.
//!
//! Owns: how much a socket may receive before anybody takes it. Called by: the journey, when a connection stands and while
//! its receiver takes what comes. Never: takes back what a sender has been promised.
//!
//! The kernel lets a receive buffer grow with the traffic, up to 6 MiB (tcp(7), `tcp_rmem`), and counts as traffic what the
//! buffers of the next hop swallow: of a download whose reader stops after 64 KiB it kept 1.2 to 2.6 MB, measured. So while
//! there are many transfers whose receivers take nothing, the senders of new ones get little room at first, and the kernel's
//! judgement counts once the receiver has taken more than buffers alone mostly do, and for longer than it takes to fill them.
//! From then on it has a share of one budget ([`Room`]), which for few is more than the kernel's judgement allows.

mod room;

use std::io;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::Duration;

use socket2::SockRef;

use crate::kernel::sys;
pub use room::{Room, Share};

/// `SO_RCVBUF` of a connection whose receiver has shown nothing yet. The kernel doubles it, and that is what it pins.
const FIRST: usize = 12 * 1024;
/// `SO_RCVBUF` that, doubled, is what the kernel gives a new socket (tcp(7), `tcp_rmem`).
const USUAL: usize = 64 * 1024;
/// A clamp that leaves the window as large as the buffer allows (`tcp_set_window_clamp` in net/ipv4/tcp.c).
const UNBOUNDED: usize = 1 << 30;
/// What a receiver must have taken to be believed. Its own kernel mostly takes 130 to 230 KB for a reader who has stopped.
/// Slow start (RFC 6928) needs five round trips to come as far; then the window is free to grow.
const SHOWN: u32 = 256 * 1024;
/// From here on the time counts: what came before may have been small talk.
const BEGUN: u32 = 32 * 1024;
/// How long it must have taken. Some kernels take megabytes for nobody, but in no time.
const LASTED: Duration = Duration::from_millis(250);

/// From here on [`Shown::bytes`] is a [`Share`].
const BELIEVED: u32 = 1 << 31;

/// What a receiver has shown so far, and what the sender has for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown {
    bytes: u32,
    /// By the caller's clock: until it is believed in milliseconds, then the second in which it last moved.
    since: u32,
}

impl Shown {
    /// The receiver has taken more. Once it is believed, `sender` gets the share of `room` that is due, but not more than
    /// `most`; less whenever more transfers are under way, more at most once a second.
    pub fn took(
        &mut self,
        bytes: usize,
        sender: &impl AsFd,
        room: &Room,
        most: Option<usize>,
        clock: impl Fn() -> Duration,
    ) {
        let (had, before) = (self.share(), self.bytes);
        let begun = self.since / 1_000;
        if had.is_none() && !self.shows(bytes, &clock) {
            if self.bytes == SHOWN {
                waits(before < SHOWN, sender, room, &clock);
            }
            return;
        }
        let second = u32::try_from(clock().as_secs()).unwrap_or(u32::MAX);
        let counts = before < SHOWN || second != if had.is_some() { self.since } else { begun };
        if counts {
            room.moves(second);
        }
        self.since = second;
        let due = room.share();
        if had.is_none_or(|had| due < had || due > had && counts) {
            self.bytes = BELIEVED | u32::from(due.number());
            widen(sender, due.buffer().filter(|_| can_end(sender)).into_iter().chain(most.map(|most| 2 * most)).min());
        }
    }

    /// What it is taken to pin when its receiver stops, in bytes.
    pub fn pins(self) -> u64 {
        self.share().unwrap_or_default().pins()
    }

    /// True once: from now on it is believed.
    fn shows(&mut self, bytes: usize, clock: impl Fn() -> Duration) -> bool {
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
        self.bytes == SHOWN && lasted >= LASTED
    }

    /// What the sender has since its receiver is believed.
    fn share(self) -> Option<Share> {
        let number = self.bytes.checked_sub(BELIEVED)?;
        u8::try_from(number).ok().map(Share::numbered)
    }
}

/// A receiver has taken enough, but has to go on for longer. Among the others it counts, and what the kernel may have given
/// its sender already ends at its share.
fn waits(new: bool, sender: &impl AsFd, room: &Room, clock: impl Fn() -> Duration) {
    if new {
        room.moves(u32::try_from(clock().as_secs()).unwrap_or(u32::MAX));
    }
    let has = || SockRef::from(sender).recv_buffer_size().unwrap_or_default();
    if let Some(most) = room.share().buffer().filter(|most| can_end(sender) && has() > *most) {
        widen(sender, Some(most));
    }
}

/// Gives the sender on this socket little room. Not before the connection stands: its window scale would be chosen for that
/// little (`tcp_select_initial_window` in the kernel). On kernels that could not take it back, before 5.14, it does nothing.
pub fn begin(socket: &impl AsFd) {
    if can_end(socket) {
        receive(socket, FIRST).unwrap_or_default();
    }
}

fn can_end(socket: &impl AsFd) -> bool {
    static CAN_END: OnceLock<bool> = OnceLock::new();
    *CAN_END.get_or_init(|| sys::unlock_buffers(socket).is_ok())
}

/// The sender gets the room the kernel finds right, or this many bytes as the kernel counts them. The kernel lets the window
/// grow into a buffer that was set only as far as the clamp of the one before (`tcp_rcv_space_adjust`).
///
/// To be set free alone is not enough, either. The kernel lets a window grow when more came in a round trip than in the one
/// before, which a sender that fills a small one never does, and it has fitted the most it will ever offer to the little room
/// (`tcp_measure_rcv_mss`): at a round trip of 100 ms such a connection stayed at 144 KB/s for ever.
fn widen(socket: &impl AsFd, most: Option<usize>) {
    let room = SockRef::from(socket).recv_buffer_size().unwrap_or(usize::MAX);
    match most {
        Some(most) => receive(socket, most / 2).and_then(|()| sys::clamp_window(socket, most)),
        // What the kernel has already made large, as of a connection that did not begin with little, stays as it is.
        None if room >= 2 * USUAL => sys::unlock_buffers(socket),
        None => receive(socket, USUAL)
            .and_then(|()| sys::clamp_window(socket, UNBOUNDED))
            .and_then(|()| sys::unlock_buffers(socket)),
    }
    .unwrap_or_default();
}

/// A connection that began with little room and serves somebody else now begins anew, since not much stands still any more;
/// with this many bytes at most.
pub fn set_free(socket: &impl AsFd, most: Option<usize>) {
    widen(socket, most.map(|most| 2 * most));
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

    use super::{FIRST, Room, Shown, begin, limit, widen};

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
        widen(&ours, Some(128 * 1024));
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
            (1..=1_000).find(|n| shown.shows(bytes, || Duration::from_millis(n * pace)))
        };
        assert_eq!(believed(10, 16_384), Some(27), "256 KiB, and a quarter of a second");
        assert_eq!(believed(1, 65_536), Some(251), "16 MB in a quarter of a second");
        assert_eq!(believed(1, 200), None);
        assert_eq!(believed(0, 65_536), None, "in no time");
        assert_eq!(believed(50, usize::MAX), Some(6));
        let mut shown = Shown::default();
        assert!((0..100_u32).all(|_| !shown.shows(1, || panic!("small talk"))));
    }

    /// A transfer whose receiver is believed at `seconds`.
    fn believed(ours: &TcpStream, room: &Room, seconds: u64) -> Shown {
        let mut shown = Shown::default();
        for late in [0, 1] {
            shown.took(256 * 1024, ours, room, None, || Duration::from_secs(seconds + late));
        }
        shown
    }

    fn buffer(ours: &TcpStream) -> usize {
        SockRef::from(ours).recv_buffer_size().unwrap()
    }

    #[test]
    fn one_is_left_to_the_kernel_and_many_are_not() {
        let (room, (ours, _peer)) = (Room::default(), pair());
        begin(&ours);
        let mut shown = believed(&ours, &room, 1);
        assert_eq!(shown.share().unwrap().buffer(), None);
        for _ in 1..200 {
            believed(&ours, &room, 1);
        }
        shown.took(1, &ours, &room, None, || Duration::from_secs(2));
        assert_eq!(buffer(&ours), 2 * FIRST, "one of 200, in the same second");
        shown.took(1, &ours, &room, None, || Duration::from_secs(2));
        assert_eq!(buffer(&ours), 2 * FIRST);
        shown.took(1, &ours, &room, None, || Duration::from_secs(9));
        assert_eq!(shown.share().unwrap().buffer(), None, "the others have ended");
    }

    #[test]
    fn what_the_kernel_gave_before_ends_at_the_share() {
        let (room, (ours, _peer)) = (Room::default(), pair());
        SockRef::from(&ours).set_recv_buffer_size(1 << 20).unwrap();
        let all: Vec<_> = (0..200)
            .map(|_| {
                let mut shown = Shown::default();
                shown.took(256 * 1024, &ours, &room, None, || Duration::from_secs(1));
                shown
            })
            .collect();
        assert!(all.iter().all(|shown| shown.share().is_none()), "in no time");
        assert_eq!(buffer(&ours), 2 * FIRST);
    }

    #[test]
    fn a_share_grows_once_a_second_and_never_above_the_most() {
        let (room, (ours, _peer)) = (Room::default(), pair());
        room.pin(true, 12 << 20);
        let mut shown = believed(&ours, &room, 1);
        assert_eq!(buffer(&ours), 3 << 20);
        room.pin(true, 2 << 20);
        shown.took(1, &ours, &room, None, || Duration::from_secs(2));
        assert_eq!(buffer(&ours), 1536 << 10, "less at once");
        room.pin(false, 2 << 20);
        shown.took(1, &ours, &room, None, || Duration::from_secs(2));
        assert_eq!(buffer(&ours), 1536 << 10);
        shown.took(1, &ours, &room, None, || Duration::from_secs(3));
        assert_eq!(buffer(&ours), 3 << 20);
        room.pin(false, 12 << 20);
        shown.took(1, &ours, &room, Some(64 << 10), || Duration::from_secs(4));
        assert_eq!(buffer(&ours), 128 << 10, "there is pressure");
    }

    #[test]
    fn a_limit_is_of_both_directions() {
        let (ours, _peer) = pair();
        limit(&ours, 64 * 1024);
        let socket = SockRef::from(&ours);
        assert_eq!((socket.recv_buffer_size().unwrap(), socket.send_buffer_size().unwrap()), (128 * 1024, 128 * 1024));
    }
}
