//! Accept loops. Every failure of accept(2) by its meaning; nothing stops a listener for good.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use tokio::time::Instant;

use crate::guard::admission::{Admission, Gate, admit};
use crate::kernel::sys;
use crate::net::close;
use crate::outcome::{ConnectionEnd, Form, Reason};
use crate::proxy::ledger::ConnectionEntry;
use crate::proxy::shared::{Visitor, Worker};

/// Connections taken in one turn, so that the accept loop does not starve the connections it has taken.
const BATCH: usize = 32;
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
    let mut spare = File::open("/dev/null").ok();
    loop {
        let mut ready = tokio::select! {
            () = worker.shared.drain.wait() => {
                // Closing a listener resets what waits in its queue: those clients have been accepted already, as they see it.
                while let Ok((stream, peer)) = accept(listener.get_ref()) {
                    arrive(stream, peer, index, &worker);
                }
                return Ok(());
            }
            ready = listener.readable() => ready?,
        };
        for _ in 0..BATCH {
            match accept(ready.get_inner()) {
                Ok((stream, peer)) => arrive(stream, peer, index, &worker),
                Err(Errno::AGAIN) => {
                    ready.clear_ready();
                    break;
                }
                Err(error) => {
                    worker.shared.counters.accept_errors.fetch_add(1, Relaxed);
                    if is_shortage(error) {
                        if matches!(error, Errno::MFILE | Errno::NFILE) {
                            spend_spare(&mut spare, ready.get_inner(), index, &worker);
                        }
                        tokio::time::sleep(PAUSE).await;
                        break;
                    }
                    // Anything else is about one connection (accept(2): network errors already pending on it are passed on).
                }
            }
        }
        tokio::task::yield_now().await;
    }
}

fn accept(listener: &TcpListener) -> Result<(TcpStream, SocketAddr), Errno> {
    let (socket, peer) = acceptfrom_with(listener.as_fd(), SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok()).ok_or(Errno::CONNABORTED)?;
    Ok((TcpStream::from(socket), SocketAddr::new(peer.ip().to_canonical(), peer.port())))
}

const fn is_shortage(error: Errno) -> bool {
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
}

/// No descriptor is left: the spare one takes a connection out of the queue, so that its client is told and the queue
/// does not fill with clients that will have gone.
fn spend_spare(spare: &mut Option<File>, listener: &TcpListener, index: usize, worker: &Arc<Worker>) {
    *spare = None;
    if let Ok((stream, _)) = accept(listener) {
        let entry = ConnectionEntry::new(worker, index);
        close::unanswered(stream);
        worker.shared.counters.refused(Reason::Overload, Form::Dropped);
        entry.end(ConnectionEnd::NoDescriptors);
    }
    *spare = File::open("/dev/null").ok();
}

fn arrive(stream: TcpStream, peer: SocketAddr, index: usize, worker: &Arc<Worker>) {
    let shared = &worker.shared;
    let mut entry = ConnectionEntry::new(worker, index);
    let rules = shared.rules.load_full();
    let gate = Gate {
        clients: &rules.settings.clients,
        limits: &rules.settings.limits,
        rate: &rules.connection_rate,
        book: &shared.book,
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
            return;
        }
    };
    entry.sit(seat);
    // A client over its limit gets its answer, but not the patience of the others.
    let patience = rules.settings.timeouts.head;
    let deadline = Instant::now() + if over_limit.is_some() { patience / 5 } else { patience };
    let arrival = Arrival { stream, visitor: Visitor { rules, peer, over_limit }, deadline };
    tokio::spawn(super::serve(arrival, entry, Arc::clone(worker)));
}
