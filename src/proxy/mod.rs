//! The journey of a connection, in order: accept, request, policy, resolve, dial, then tunnel or forward, or refuse.
//!
//! Owns: [`serve`], the whole life of a connection on one screen, and what all connections share.
//! Called by: the gateway, once per worker. Never: ends a connection or a request without exactly one outcome.

pub mod accept;
mod activity;
mod buffer;
mod connect;
pub mod dial;
mod forward;
mod hold;
mod ledger;
pub mod policy;
pub mod pool;
mod presence;
mod refuse;
mod relay;
mod request;
pub mod resolve;
pub mod shared;
mod tunnel;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::net::{buffers, close};
use crate::outcome::ConnectionEnd;
use accept::Arrival;
use buffer::Buffer;
use hold::Held;
pub use hold::Holding;
pub(crate) use hold::run as hold;
use ledger::{ConnectionEntry, RequestEntry};
pub use refuse::{Answers, Refused};
use request::{Decision, Glance};
use shared::Visitor;
pub use shared::{Rules, Shared, Worker};
use tunnel::Tunnel;

/// What a request leaves behind.
enum Next {
    /// A connection that waits for another request.
    Again(TcpStream),
    /// One that carries bytes both ways from now on.
    Carry(Box<Tunnel>),
    /// One that is refused, and gets its answer later.
    Held(Box<Held>),
    /// Nothing: it is over.
    Over(ConnectionEnd),
}

/// A part of a connection's life. Its task holds one at a time: a tunnel does not keep the room that requests needed.
///
/// Boxed, although a task is an allocation already: one that is aligned to 128 bytes, and what malloc cuts off for that
/// adds up with its size and with every task that ends while its connection goes on.
struct Phase(Pin<Box<dyn Future<Output = Option<Self>> + Send>>);

impl Future for Phase {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(next) = ready!(self.0.as_mut().poll(cx)) {
            *self = next;
        }
        Poll::Ready(())
    }
}

/// One connection, from the seat it was given to its one outcome.
pub(crate) fn serve(mut arrival: Arrival, mut connection: ConnectionEntry, worker: &Arc<Worker>) {
    let mut buffer = Buffer::default();
    let seen = match request::glance(&mut arrival, &mut buffer, worker) {
        Glance::Gone => return connection.end(ConnectionEnd::Empty),
        // Most refusals end here, before there is a task, or a reactor that knows the socket.
        Glance::Decided(Decision::Refuse(reply)) => {
            connection.heard();
            return refuse::at_once(arrival, connection, reply, &mut buffer, worker);
        }
        Glance::Decided(decision) => Some(decision),
        Glance::Open => None,
    };
    // Its task runs after all others of this turn have been accepted: they can have the block.
    buffer.rest();
    let Arrival { stream, visitor, deadline } = arrival;
    if let Some(most) = worker.shared.guard.pressure.relief().buffer {
        buffers::limit(&stream, most);
    }
    match TcpStream::from_std(stream) {
        Ok(stream) => {
            let travels = travel(stream, seen, deadline, buffer, visitor, connection, Arc::clone(worker));
            tokio::spawn(Phase(Box::pin(travels)));
        }
        Err(_) => connection.end(ConnectionEnd::Failed),
    }
}

/// The rest of its life, for a connection that is not over at first sight: decision → tunnel, forward or refuse, as often
/// as the client keeps it.
///
/// This is what a connection holds while it waits for a request; what a request needs is boxed, and gone with it.
#[expect(clippy::manual_async_fn, reason = "an async fn holds its arguments twice")]
fn travel(
    mut stream: TcpStream,
    mut decision: Option<Decision>,
    deadline: Instant,
    mut buffer: Buffer,
    visitor: Visitor,
    mut connection: ConnectionEntry,
    worker: Arc<Worker>,
) -> impl Future<Output = Option<Phase>> + Send {
    async move {
        // Not for the requests behind one that a glance has seen.
        let mut first = decision.is_none().then_some(deadline);
        // What has been answered on this connection may still be on its way: it is not dropped any more.
        let mut answered = false;
        let end = loop {
            let decided = match decision.take() {
                Some(decided) => Ok(decided),
                None => request::next(&mut stream, &mut buffer, first.take(), &worker, &visitor).await,
            };
            connection.heard();
            let entry = || RequestEntry::new(&worker, &visitor);
            let work: Pin<Box<dyn Future<Output = Next> + Send + '_>> = match decided {
                Ok(Decision::Tunnel(asked)) => Box::pin(tunnel::open(stream, asked, entry(), &visitor, &mut buffer)),
                Ok(Decision::Forward(asked)) => {
                    Box::pin(forward::exchange(stream, asked, entry(), &visitor, &mut buffer))
                }
                Ok(Decision::Refuse(mut reply)) => {
                    reply.whole &= !answered;
                    Box::pin(refuse::answer(stream, reply, entry(), &visitor, &mut buffer))
                }
                Err(end) => {
                    // Who never asked for anything has no answer to lose.
                    close::idle(stream, end == ConnectionEnd::Empty || worker.shared.is_lean());
                    break end;
                }
            };
            match work.await {
                Next::Again(kept) => (stream, answered) = (kept, true),
                Next::Held(held) => {
                    worker.holding.add(*held, connection);
                    return None;
                }
                Next::Carry(tunnel) => return Some(Phase(Box::pin(tunnel.carry(connection)))),
                Next::Over(end) => break end,
            }
        };
        connection.end(end);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Phase, Tunnel, travel};

    /// Thousands of tunnels and kept-alive connections stand idle: whoever makes them larger should know. Measured with all
    /// that malloc and tokio add, a tunnel is 1.8 KiB of resident memory and a connection that waits for a request 1.3 KiB;
    /// the two sockets of a tunnel and its task are 0.9 KiB of it.
    #[test]
    fn what_waits_is_small() {
        fn held_by_tunnel<A, B, F>(_: impl Fn(A, B) -> F) -> usize {
            size_of::<F>()
        }
        fn held_by_connection<A, B, C, D, E, F, G, H>(_: impl Fn(A, B, C, D, E, F, G) -> H) -> usize {
            size_of::<H>()
        }
        let (tunnel, connection) = (held_by_tunnel(Tunnel::carry), held_by_connection(travel));
        assert!(tunnel <= 408 && connection <= 632, "{tunnel} {connection}");
        assert!(size_of::<Phase>() <= 24, "tokio's part of a task is 104 bytes: together one line of 128");
    }
}
