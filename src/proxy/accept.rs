//! Accept loops. Every failure of accept(2) by its meaning; nothing stops a listener for good.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::RwLock;
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use tokio::io::unix::AsyncFdReadyGuard;
use tokio::time::Instant;

use crate::guard::admission::{Admission, Gate, admit, fills_the_box, patience};
use crate::kernel::sys;
use crate::net::close;
use crate::net::listener::BACKLOG;
use crate::outcome::{ConnectionEnd, Form, Reason};
use crate::proxy::ledger::ConnectionEntry;
use crate::proxy::shared::{Visitor, Worker};

/// Connections taken in one turn, so that the accept loop does not starve the connections it has taken.
const BATCH: usize = 32;
/// Of those of suspects that wait, how many are served in a turn: these, or this part of them if that is more.
const SUSPECTS: usize = 4;
const SUSPECTS_PART: usize = 16;
/// Places their queue keeps when it is empty.
const KEPT: usize = 256;
/// Pause after the kernel had no descriptor or memory for us.
const PAUSE: Duration = Duration::from_millis(10);

/// An admitted connection.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// Not yet known to the reactor: most refusals are over before it would matter.
    pub(crate) stream: TcpStream,
    pub(crate) visitor: Visitor,
    /// When its head must be complete.
    pub(crate) deadline: Instant,
}

/// Accepts until the gateway drains.
pub(crate) async fn run(listener: TcpListener, index: usize, worker: Arc<Worker>) -> io::Result<()> {
    let listener = sys::watch_readable(listener)?;
    let accept = || worker.shared.spare.accept(listener.get_ref());
    // A panic ends this connection, which is booked as that, and not the listener.
    let begin = |(arrival, entry)| {
        catch_unwind(AssertUnwindSafe(|| super::serve(arrival, entry, &worker))).unwrap_or_default();
    };
    let mut batch = Vec::with_capacity(BATCH);
    // Who was refused a moment ago will be refused again, mostly: the others do not wait for that. Those who wait have their
    // seats: there are no more of them than `limits.connections`.
    let mut suspects = VecDeque::new();
    let delay = worker.shared.guard.pressure.accept_delay();
    loop {
        let mut ready = tokio::select! {
            biased;
            () = worker.shared.drain.wait() => {
                // Closing a listener resets what waits in its queue: those clients have been accepted already, as they see it.
                // No more of them than there can have been: a storm would fill it for ever.
                suspects.drain(..).for_each(begin);
                for turn in 1..=BACKLOG {
                    match accept() {
                        Ok((stream, peer)) => admitted(stream, peer, index, &worker).into_iter().for_each(begin),
                        Err(error) if error == Errno::AGAIN || is_shortage(error) => break,
                        Err(_) => {}
                    }
                    if turn % BATCH == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                return Ok(());
            }
            ready = listener.readable() => Some(ready?),
            () = std::future::ready(()), if !suspects.is_empty() => None,
        };
        // All of a turn are admitted before the first is looked at: most requests have arrived by then.
        let mut shortage = None;
        for turn in 0..BATCH {
            match accept() {
                Ok((stream, peer)) => {
                    // The first has waited longest.
                    if turn == 0 && delay.is_due(worker.shared.guard.clock.now()) {
                        sys::silent_for(&stream).map(|waited| delay.record(waited)).unwrap_or_default();
                    }
                    match admitted(stream, peer, index, &worker) {
                        Some(admitted) if is_suspect(&admitted.0, &worker) => suspects.push_back(admitted),
                        admitted => batch.extend(admitted),
                    }
                }
                Err(Errno::AGAIN) => {
                    ready.iter_mut().for_each(AsyncFdReadyGuard::clear_ready);
                    break;
                }
                Err(error) => {
                    worker.shared.counters.accept_errors.fetch_add(1, Relaxed);
                    if is_shortage(error) {
                        shortage = Some(error);
                        break;
                    }
                    // Anything else is about one connection (accept(2): network errors already pending on it are passed on).
                }
            }
        }
        batch.drain(..).for_each(begin);
        let share = SUSPECTS.max(suspects.len() / SUSPECTS_PART).min(suspects.len());
        suspects.drain(..share).for_each(begin);
        if suspects.is_empty() && suspects.capacity() > KEPT {
            suspects.shrink_to(KEPT);
        }
        if let Some(error) = shortage {
            if matches!(error, Errno::MFILE | Errno::NFILE) {
                turn_away(listener.get_ref(), index, &worker);
            }
            tokio::time::sleep(PAUSE).await;
        }
        tokio::task::yield_now().await;
    }
}

fn is_suspect(arrival: &Arrival, worker: &Worker) -> bool {
    let (guard, visitor) = (&worker.shared.guard, &arrival.visitor);
    visitor.client.is_suspect(guard.clock.now())
        || fills_the_box(&visitor.rules.settings.limits, visitor.client.heads(), guard.book.heads())
}

const fn is_shortage(error: Errno) -> bool {
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
}

/// No descriptor is left: with the spare one, connections are taken out of the queue and closed, so that their clients are
/// told and the queue does not fill with clients that will have gone.
fn turn_away(listener: &TcpListener, index: usize, worker: &Arc<Worker>) {
    let turned_away = |stream| {
        let entry = ConnectionEntry::new(worker, index);
        close::unanswered(stream);
        worker.shared.counters.refused(Reason::Overload, Form::Dropped);
        entry.end(ConnectionEnd::NoDescriptors);
    };
    (0..BATCH).take_while(|_| worker.shared.spare.spend(listener, turned_away)).count();
}

/// A descriptor kept for the moment when there is none. Accepting and spending exclude each other: another worker would
/// otherwise take the descriptor that has just been freed.
#[derive(Debug)]
pub struct Spare(RwLock<Option<File>>);

impl Default for Spare {
    fn default() -> Self {
        Self(RwLock::new(Self::open()))
    }
}

impl Spare {
    fn open() -> Option<File> {
        File::open("/dev/null").ok()
    }

    fn accept(&self, listener: &TcpListener) -> Result<(TcpStream, SocketAddr), Errno> {
        let _accepting = self.0.read();
        let (socket, peer) = acceptfrom_with(listener.as_fd(), SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
        let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok()).ok_or(Errno::CONNABORTED)?;
        Ok((TcpStream::from(socket), SocketAddr::new(peer.ip().to_canonical(), peer.port())))
    }

    /// Takes a connection with the spare descriptor and hands it to `end`, which closes it. False when there is none.
    fn spend(&self, listener: &TcpListener, end: impl Fn(TcpStream)) -> bool {
        let mut spare = self.0.write();
        *spare = None;
        let taken = acceptfrom_with(listener.as_fd(), SocketFlags::NONBLOCK | SocketFlags::CLOEXEC);
        let taken = taken.map(|(socket, _)| end(TcpStream::from(socket))).is_ok();
        *spare = Self::open();
        taken
    }
}

/// An accepted connection in its seat, or `None` if it is closed unanswered.
fn admitted(
    stream: TcpStream,
    peer: SocketAddr,
    index: usize,
    worker: &Arc<Worker>,
) -> Option<(Arrival, ConnectionEntry)> {
    let shared = &worker.shared;
    let mut entry = ConnectionEntry::new(worker, index);
    let rules = shared.rules.load_full();
    let gate = Gate {
        clients: &rules.settings.clients,
        limits: &rules.settings.limits,
        rate: &rules.connection_rate,
        book: &shared.guard.book,
        pressure: &shared.guard.pressure,
        now: shared.guard.clock.now(),
        counters: &shared.counters,
        capacity: &shared.capacity,
    };
    let (seat, over_limit) = match admit(peer.ip(), &gate) {
        Admission::Serve(seat) => (seat, None),
        Admission::Over(seat, end) => (seat, Some(end)),
        Admission::Close(end) => {
            close::unanswered(stream);
            let reason = if end == ConnectionEnd::ClientDenied { Reason::ClientDenied } else { Reason::Overload };
            shared.counters.refused(reason, Form::Dropped);
            entry.end(end);
            return None;
        }
    };
    if shared.guard.fences.is_by_filter() {
        // It has inherited the listener's program, which would be run over every segment, and live as long as it does.
        socket2::SockRef::from(&stream).detach_filter().unwrap_or_default();
    }
    let client = Arc::clone(&seat.client);
    entry.sit(seat);
    // A client over its limit gets its answer, but not the patience of the others.
    let full = rules.settings.timeouts.head;
    let patience = patience(full, &rules.settings.limits, client.heads(), shared.guard.book.heads());
    let deadline = Instant::now() + if over_limit.is_some() { patience.min(full / 5) } else { patience };
    let arrival = Arrival { stream, visitor: Visitor { rules, peer, client, over_limit }, deadline };
    Some((arrival, entry))
}
