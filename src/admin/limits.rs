//! Every limit of the admin interface, in one place.

use std::time::Duration;

/// Places for connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) all: usize,
    /// For those who are not on this box: its operator gets in though the LAN has taken theirs.
    pub(super) elsewhere: usize,
    /// For one of them, an IPv4 address or an IPv6 /64: a client that storms the admin leaves places for the others.
    pub(super) one: usize,
}

/// Connections that ask, at once; more are closed unanswered and counted.
pub(super) const CONNECTIONS: Room = Room { all: 64, elsewhere: 56, one: 48 };
/// Connections that listen to events, besides these: whoever asks finds a place though every dashboard is open. More are
/// answered 503. A hundred may come from one address, as from a reverse proxy on another box.
pub(super) const LISTENERS: Room = Room { all: 128, elsewhere: 112, one: 104 };
/// From the start of the wait for a request, idle time included, to its complete head.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a request's head; a longer one is answered 431.
pub(super) const HEAD_BYTES: usize = 16 << 10;
/// A connection that asks is kept at most so long, so that nobody holds one of the few by being slow.
pub(super) const LIFE: Duration = Duration::from_mins(2);
/// How long the last answer of an old connection may take.
pub(super) const LAST_ANSWER: Duration = Duration::from_secs(5);
/// A peer that takes nothing of what waits for it for so long is given up, and one that vanished too (`TCP_USER_TIMEOUT`).
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// What the kernel may hold of an answer (`SO_SNDBUF`, which it doubles, socket(7)): 64 KiB a connection, 12 MiB if all 192
/// stop reading at once.
pub(super) const SEND_BUFFER: usize = 32 << 10;
/// From one event to the next, at most: they follow control's seconds, unless it is late.
pub(super) const PERIOD: Duration = Duration::from_millis(1_250);
/// The pause after the first accept that failed for want of a resource; it doubles up to [`LONGEST_PAUSE`].
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Failing accepts are logged at most this often.
pub(super) const TELL_AGAIN: Duration = Duration::from_mins(1);
/// Making a document costs so many times its time out of an [`Allowance`](super::allowance::Allowance) that time fills: the
/// status, the metrics and the others take a twentieth of a core each at most, however many ask.
pub(super) const MAKING: u32 = 20;
/// What that allowance holds: 100 ms of making.
pub(super) const MOST_MAKING: Duration = Duration::from_secs(2);
/// What a wrong token costs out of its client's allowance: five a second may be wrong,
pub(super) const GUESS: Duration = Duration::from_millis(200);
/// and ten at once.
pub(super) const MOST_GUESSES: Duration = Duration::from_secs(2);
/// Clients with an allowance of their own for wrong tokens; all others share one.
pub(super) const GUESSERS: usize = 64;
/// Pairs of the Cookie fields that are looked at. Another service of the same host may have set some.
pub(super) const COOKIES: usize = 64;
