//! The journey of a connection, in order: accept, request, policy, resolve, dial, then tunnel or forward, or refuse.
//!
//! Owns: [`serve`], the whole life of a connection on one screen, and what all connections share.
//! Called by: the gateway, once per worker. Never: ends a connection or a request without exactly one outcome.

pub(crate) mod accept;
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

use crate::outcome::ConnectionEnd;
use accept::Arrival;
use buffer::Buffer;
use ledger::{ConnectionEntry, RequestEntry};
pub use refuse::Answers;
use request::Decision;
pub use shared::{Rules, Shared, Worker};

/// What a request leaves behind.
#[expect(clippy::large_enum_variant, reason = "moved once per request; a box would cost a tunnel more")]
enum Next {
    /// A connection that waits for another request.
    Again(TcpStream),
    /// A connection that carries bytes both ways from now on.
    Carry(tunnel::Tunnel, RequestEntry),
    /// Nothing: the connection is over.
    Over(ConnectionEnd),
}

/// One connection, from the seat it was given to its one outcome.
pub(crate) async fn serve(arrival: Arrival, entry: ConnectionEntry, worker: Arc<Worker>) {
    // Boxed, so that a tunnel, which may stand for hours, does not keep the room that reading and forwarding needed.
    let end = match Box::pin(road(arrival, &worker)).await {
        Next::Carry(tunnel, request) => {
            let end = tunnel.carry(&request).await;
            request.end(end);
            ConnectionEnd::Tunneled
        }
        Next::Over(end) => end,
        Next::Again(_) => ConnectionEnd::Served,
    };
    entry.end(end);
}

/// Head → decision → tunnel, forward or refuse, as often as the client keeps the connection.
async fn road(arrival: Arrival, worker: &Arc<Worker>) -> Next {
    let mut buffer = Buffer::default();
    let visitor = arrival.visitor.clone();
    let (mut stream, mut head) = match request::first(arrival, &mut buffer, worker).await {
        Ok(first) => first,
        Err(end) => return Next::Over(end),
    };
    loop {
        let entry = RequestEntry::new(worker, &visitor);
        let next = match request::decide(head, &stream, &buffer, worker, &visitor) {
            Decision::Tunnel(asked, to) => tunnel::open(stream, asked, to, entry, &visitor, &mut buffer).await,
            Decision::Forward(asked, to) => forward::exchange(stream, asked, to, entry, &visitor, &mut buffer).await,
            Decision::Refuse(end, to_head) => refuse::answer(stream, end, to_head, entry, &mut buffer).await,
        };
        stream = match next {
            Next::Again(stream) => stream,
            next @ (Next::Carry(..) | Next::Over(_)) => return next,
        };
        head = match request::next(&stream, &mut buffer, worker, &visitor).await {
            Ok(head) => head,
            Err(end) => return Next::Over(end),
        };
    }
}
