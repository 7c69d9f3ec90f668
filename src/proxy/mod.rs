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

use std::sync::Arc;

use tokio::net::TcpStream;

use crate::net::close;
use crate::outcome::ConnectionEnd;
use accept::Arrival;
use buffer::Buffer;
use ledger::{ConnectionEntry, RequestEntry};
pub use refuse::{Answers, Refused};
use request::{Decision, Glance};
pub use shared::{Rules, Shared, Worker};
use tunnel::Tunnel;

/// What a request leaves behind.
enum Next {
    /// A connection that waits for another request.
    Again(TcpStream),
    /// The end of the road.
    Stop(Stop),
}

/// Where the road of a connection ends.
enum Stop {
    /// It carries bytes both ways from now on.
    Carry(Box<Tunnel>),
    /// It is over.
    Over(ConnectionEnd),
}

/// One connection, from the seat it was given to its one outcome.
pub(crate) fn serve(mut arrival: Arrival, connection: ConnectionEntry, worker: &Arc<Worker>) {
    let mut buffer = Buffer::default();
    match request::glance(&mut arrival, &mut buffer, worker) {
        Glance::Gone => connection.end(ConnectionEnd::Empty),
        // Most refusals end here, before there is a task, or a reactor that knows the socket.
        Glance::Decided(Decision::Refuse(end, to_head)) => {
            refuse::at_once(arrival, connection, end, to_head, &mut buffer, worker);
        }
        seen @ (Glance::Open | Glance::Decided(_)) => {
            tokio::spawn(travel(arrival, seen, buffer, connection, Arc::clone(worker)));
        }
    }
}

/// The rest of its life, for a connection that is not over at first sight.
async fn travel(arrival: Arrival, seen: Glance, buffer: Buffer, connection: ConnectionEntry, worker: Arc<Worker>) {
    // Boxed, so that a tunnel, which may stand for hours, does not keep the room that reading and forwarding needed.
    let end = match Box::pin(road(arrival, seen, buffer, &worker)).await {
        Stop::Carry(tunnel) => {
            tunnel.carry().await;
            ConnectionEnd::Tunneled
        }
        Stop::Over(end) => end,
    };
    connection.end(end);
}

/// Decision → tunnel, forward or refuse, as often as the client keeps the connection.
async fn road(arrival: Arrival, seen: Glance, mut buffer: Buffer, worker: &Arc<Worker>) -> Stop {
    let visitor = arrival.visitor.clone();
    let (mut stream, mut decision) = match request::first(arrival, seen, &mut buffer, worker).await {
        Ok(first) => first,
        Err(end) => return Stop::Over(end),
    };
    loop {
        let entry = RequestEntry::new(worker, &visitor);
        let next = match decision {
            // Boxed: a connection that only waits for a request does not hold the room for one.
            Decision::Tunnel(asked, to) => {
                Box::pin(tunnel::open(stream, asked, to, entry, &visitor, &mut buffer)).await
            }
            Decision::Forward(asked, to) => {
                Box::pin(forward::exchange(stream, asked, to, entry, &visitor, &mut buffer)).await
            }
            Decision::Refuse(end, to_head) => refuse::answer(stream, end, to_head, entry, &mut buffer).await,
        };
        stream = match next {
            Next::Again(stream) => stream,
            Next::Stop(stop) => return stop,
        };
        decision = match request::next(&stream, &mut buffer, worker, &visitor).await {
            Ok(decision) => decision,
            Err(end) => {
                close::idle(stream, worker.shared.is_lean());
                return Stop::Over(end);
            }
        };
    }
}
