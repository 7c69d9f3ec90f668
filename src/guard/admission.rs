//! May this connection come in? Decided once, before a byte is read.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::config::settings::{Clients, Limits};
use crate::guard::pressure::{Level, Pressure};
use crate::guard::{ClientBook, Limiter, Moment, Seat};
use crate::net::ClientKey;
use crate::outcome::{ConnectionEnd, RequestEnd};
use crate::telemetry::Counters;

/// Descriptors that neither clients nor upstreams may take: logs, the kernel view, listeners, look-ups, spares.
const RESERVED: u64 = 64;
/// And these for the places of the admin (`admin/limits.rs`); of few descriptors, an eighth.
const ADMIN: u64 = 192;
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

    /// Whether one more client fits: a tenth of them is kept for upstreams.
    pub fn fits_client(&self, counters: &Counters) -> bool {
        sockets(counters) < self.sockets() / 10 * 9
    }

    /// What is left for clients and upstreams.
    fn sockets(&self) -> u64 {
        let limit = self.descriptors.load(Relaxed);
        limit.saturating_sub(RESERVED).saturating_sub(ADMIN.min(limit / 8))
    }

    /// How many look-ups may be in flight. With all name servers silent, one holds up to 12 sockets: together at most a
    /// quarter of the descriptors.
    pub fn lookups(&self) -> usize {
        usize::try_from(self.descriptors.load(Relaxed) / 48).unwrap_or(usize::MAX).clamp(2, LOOKUPS)
    }

    /// How many of them one client may have in flight: what the operator says, and never all. The eighth that is left is for
    /// the others' names while one client asks for names that nobody answers for.
    pub fn client_lookups(&self, limit: u32) -> u32 {
        let lookups = u32::try_from(self.lookups()).unwrap_or(u32::MAX);
        limit.min((lookups / 8 * 7).max(1))
    }

    /// Whether one more upstream fits.
    pub fn fits_upstream(&self, counters: &Counters) -> bool {
        sockets(counters) < self.sockets()
    }
}

fn sockets(counters: &Counters) -> u64 {
    let open = counters.connections_open.load(Relaxed).saturating_add(counters.upstreams_open.load(Relaxed));
    u64::try_from(open).unwrap_or(0)
}

/// The shortest wait for a head: two retransmissions on a LAN (200 ms, RFC 6298 with Linux's minimum), or the way to a
/// client far away. Whoever means it has sent its request by then; the connections that browsers open ahead of need are
/// closed without a word, and opened again when they are needed.
pub const LEAST_PATIENCE: Duration = Duration::from_millis(250);

/// Time for a request that is on its way through a LAN while its neighbours fill the box with silence.
const LAN_PATIENCE: Duration = Duration::from_millis(20);
/// Silent connections that nobody is blamed for: two browsers may open as many ahead of need.
pub const FEW_HEADS: u32 = 64;

/// How long to wait for the first head of one more connection, while `client` heads of this client and `box_wide` of all
/// are waited for: all of the time up to half of either limit, from there in proportion to the room that is left, and
/// [`LEAST_PATIENCE`] at the limit and beyond. Only [`LAN_PATIENCE`] beyond the box's limit for a client that has more than
/// [`FEW_HEADS`] of them: the least patience with thousands that come in step would fill the table of connections.
///
/// So silence never costs more than the limit, and who speaks at once is served however many are silent.
pub fn patience(full: Duration, limits: &Limits, client: u32, box_wide: u32) -> Duration {
    if box_wide >= limits.heads && client > FEW_HEADS {
        return LAN_PATIENCE.min(full);
    }
    let share = |waiting: u32, limit: u32| {
        let room = limit.saturating_sub(waiting).min(limit.div_ceil(2));
        full.mul_f64(f64::from(room) / f64::from(limit.div_ceil(2).max(1)))
    };
    let short = share(client, limits.client_heads).min(share(box_wide, limits.heads));
    short.max(LEAST_PATIENCE).min(full)
}

/// Whether silent connections are many, and mostly this client's: it can wait.
pub fn fills_the_box(limits: &Limits, client: u32, box_wide: u32) -> bool {
    box_wide >= limits.heads / 2 && client > FEW_HEADS
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
    /// Whose new connections have to give.
    pub pressure: &'a Pressure,
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
    if gate.pressure.sheds(seat.place) {
        // Whoever is told may choose another time; beyond that, telling costs too much.
        return match gate.pressure.level() {
            Level::Critical => Admission::Close(ConnectionEnd::Overload),
            Level::Calm | Level::Elevated | Level::High => Admission::Over(seat, RequestEnd::Overload),
        };
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Capacity, FEW_HEADS, LAN_PATIENCE, LEAST_PATIENCE, LOOKUPS, patience};
    use crate::config::Settings;

    const FULL: Duration = Duration::from_secs(10);

    #[test]
    fn patience_is_whole_up_to_half_of_a_limit_and_least_at_the_limit() {
        let limits = Settings::defaults().limits;
        let of = |client, box_wide| patience(FULL, &limits, client, box_wide);
        let (client, all) = (limits.client_heads, limits.heads);
        assert_eq!(of(1, 1), FULL);
        assert_eq!(of(client / 2, all / 2), FULL);
        assert_eq!(of(client / 4 * 3, 0), FULL / 2);
        assert_eq!(of(0, all / 4 * 3), FULL / 2);
        assert_eq!(of(client, 0), LEAST_PATIENCE);
        assert_eq!(of(0, all), LEAST_PATIENCE);
        assert_eq!(of(FEW_HEADS, u32::MAX), LEAST_PATIENCE);
        assert_eq!(of(FEW_HEADS + 1, all), LAN_PATIENCE, "those who fill the box are hardly waited for");
        let short = Duration::from_millis(100);
        assert_eq!(patience(short, &limits, u32::MAX, 0), short, "never longer than the operator wants");
    }

    proptest! {
        #[test]
        fn patience_shrinks_with_every_head_and_stays_within_its_bounds(
            full in 1..60_000_u64, limits in (1..5_000_u32, 1..5_000_u32), heads in (0..6_000_u32, 0..6_000_u32),
        ) {
            let full = Duration::from_millis(full);
            let limits = crate::config::settings::Limits {
                client_heads: limits.0, heads: limits.1, ..Settings::defaults().limits
            };
            let now = patience(full, &limits, heads.0, heads.1);
            prop_assert!(now <= full && (now >= LEAST_PATIENCE.min(full) || now == LAN_PATIENCE.min(full) && heads.0 > FEW_HEADS));
            prop_assert!(patience(full, &limits, heads.0 + 1, heads.1) <= now);
            prop_assert!(patience(full, &limits, heads.0, heads.1 + 1) <= now);
        }
    }

    #[test]
    fn the_admin_finds_descriptors_though_clients_and_upstreams_have_taken_theirs() {
        for (descriptors, sockets) in
            [(0, 0), (64, 0), (128, 48), (1_024, 832), (1_536, 1_280), (1 << 20, (1 << 20) - 256)]
        {
            assert_eq!(Capacity::new(descriptors).sockets(), sockets, "{descriptors}");
        }
    }

    #[test]
    fn one_client_never_has_all_the_look_ups() {
        assert_eq!(Capacity::new(1 << 20).client_lookups(u32::MAX), u32::try_from(LOOKUPS).unwrap() / 8 * 7);
        assert_eq!(Capacity::new(1 << 20).client_lookups(5), 5);
        assert_eq!(Capacity::new(0).client_lookups(448), 1);
    }
}
