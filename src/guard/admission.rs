//! May this connection come in? Decided once, before a byte is read.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::config::settings::{Clients, Limits};
use crate::guard::{ClientBook, Limiter, Moment, Seat};
use crate::net::ClientKey;
use crate::outcome::{ConnectionEnd, RequestEnd};
use crate::telemetry::Counters;

/// Descriptors that neither clients nor upstreams may take: admin, logs, the kernel view, listeners, spares.
const RESERVED: u64 = 64;
/// Look-ups in flight, box-wide, on a box with descriptors to spare.
pub const LOOKUPS: usize = 512;

/// How many sockets the process may hold, from `RLIMIT_NOFILE`.
#[derive(Debug)]
pub struct Capacity {
    descriptors: AtomicU64,
}

impl Capacity {
    /// For this many descriptors.
    pub const fn new(descriptors: u64) -> Self {
        Self { descriptors: AtomicU64::new(descriptors) }
    }

    /// Whether one more client fits: a tenth of all descriptors is kept for upstreams and the admin.
    pub fn fits_client(&self, counters: &Counters) -> bool {
        let limit = self.descriptors.load(Relaxed);
        sockets(counters) < limit.saturating_sub(RESERVED) / 10 * 9
    }

    /// How many look-ups may be in flight. With all name servers silent, one holds up to 12 sockets: together at most a
    /// quarter of the descriptors.
    pub fn lookups(&self) -> usize {
        usize::try_from(self.descriptors.load(Relaxed) / 48).unwrap_or(usize::MAX).clamp(2, LOOKUPS)
    }

    /// Whether one more upstream fits.
    pub fn fits_upstream(&self, counters: &Counters) -> bool {
        sockets(counters) < self.descriptors.load(Relaxed).saturating_sub(RESERVED)
    }
}

fn sockets(counters: &Counters) -> u64 {
    let open = counters.connections_open.load(Relaxed).saturating_add(counters.upstreams_open.load(Relaxed));
    u64::try_from(open).unwrap_or(0)
}

/// What becomes of a new connection.
#[derive(Debug)]
pub enum Admission {
    /// Serve it.
    Serve(Seat),
    /// The client is over its limit: read the head, answer 429 with this end.
    Over(Seat, RequestEnd),
    /// Close it unanswered.
    Close(ConnectionEnd),
}

/// What admission looks at, besides the address.
#[derive(Debug)]
pub struct Gate<'a> {
    /// Who is served, who is exempt.
    pub clients: &'a Clients,
    /// The limits.
    pub limits: &'a Limits,
    /// Connections per second and client.
    pub rate: &'a Limiter,
    /// Who is inside.
    pub book: &'a ClientBook,
    /// What time it is.
    pub now: Moment,
    /// How many sockets are open.
    pub counters: &'a Counters,
    /// How many may be.
    pub capacity: &'a Capacity,
}

/// Decides. The connection itself is already counted in `connections_open`.
pub fn admit(address: IpAddr, gate: &Gate<'_>) -> Admission {
    let address = address.to_canonical();
    if !gate.clients.serves(address) {
        return Admission::Close(ConnectionEnd::ClientDenied);
    }
    let open = gate.counters.connections_open.load(Relaxed);
    if open > i64::from(gate.limits.connections) || !gate.capacity.fits_client(gate.counters) {
        return Admission::Close(ConnectionEnd::Overload);
    }
    let client = ClientKey::new(address);
    let seat = gate.book.enter(client, gate.now);
    if gate.clients.exempts(address) {
        return Admission::Serve(seat);
    }
    let limit = gate.limits.client_connections;
    if seat.place > limit {
        // A refusal costs a socket until its head has come. A quarter above the limit may wait for its 429;
        // beyond that a silent client would take everybody's places.
        let patience = limit.saturating_add((limit / 4).max(8));
        if seat.place > patience {
            return Admission::Close(ConnectionEnd::Overload);
        }
        return Admission::Over(seat, RequestEnd::ConnectionLimited);
    }
    if !gate.rate.allows(client) {
        return Admission::Over(seat, RequestEnd::RateLimited);
    }
    Admission::Serve(seat)
}
