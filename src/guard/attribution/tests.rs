use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::reclaim::AT_ONCE;
use super::{Attribution, CLIENTS, ClientMemory, Held, Ours, Owner, Reclaim, SlabShare, cost};
use crate::guard::pressure::Level;
use crate::kernel::diag::{Entry, Id, Kind, Memory, State, Waiting};
use crate::kernel::view::{KernelView, Slab};
use crate::net::ClientKey;
use crate::net::loops::{Loops, Serves};

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn client(n: u32) -> ClientKey {
    ClientKey::new(Ipv4Addr::from_bits(n).into())
}

fn entry(kind: Kind, buffers: u32) -> Entry {
    Entry {
        local: at("10.0.0.1:3128"),
        remote: at("10.0.0.5:40000"),
        state: State::Established,
        inode: 0,
        uid: 0,
        receive_queue: 0,
        send_queue: 0,
        waiting: None,
        memory: Some(Memory { send: buffers, ..Memory::default() }),
        kind,
        id: Id::of(buffers),
    }
}

#[test]
fn a_socket_is_ours_by_its_listener_or_by_the_table() {
    let loops = Arc::new(Loops::default());
    let listeners = [at("10.0.0.1:3128"), at("[::]:8080")];
    let ours = Ours { listeners: &listeners, loops: &loops };
    let owner = |local: &str, remote: &str| {
        let entry = Entry { local: at(local), remote: at(remote), ..entry(Kind::Live, 0) };
        ours.owner(&entry)
    };
    let key = |text: &str| ClientKey::new(text.parse::<IpAddr>().unwrap());
    assert_eq!(owner("10.0.0.1:3128", "10.0.0.5:40000"), Some(Owner::Accepted(key("10.0.0.5"))));
    assert_eq!(owner("[2001:db8::1]:8080", "[2001:db8:0:7::9]:1"), Some(Owner::Accepted(key("2001:db8:0:7::"))));
    assert_eq!(owner("10.0.0.1:8080", "10.0.0.5:40000"), Some(Owner::Accepted(key("10.0.0.5"))), "dual-stack");
    assert_eq!(owner("10.0.0.2:3128", "10.0.0.5:40000"), None, "another address' listener");
    assert_eq!(owner("10.0.0.1:50000", "203.0.113.7:443"), None);
    let dialled = loops.register(at("10.0.0.1:50000"), at("203.0.113.7:443"));
    assert_eq!(owner("10.0.0.1:50000", "203.0.113.7:443"), Some(Owner::Pool));
    dialled.serves(Serves::Client(client(7)));
    assert_eq!(owner("10.0.0.1:50000", "203.0.113.7:443"), Some(Owner::Dialled(client(7))));
    assert_eq!(owner("10.0.0.1:50000", "203.0.113.8:443"), None);
}

#[test]
fn a_client_holds_both_ends_of_its_connections() {
    let mut sums = Attribution::default();
    for kind in [Kind::Live, Kind::Live, Kind::Queued, Kind::Orphan, Kind::TimeWait, Kind::HalfOpen] {
        let memory = (kind == Kind::Live).then(|| Memory { send: 900, receive: 100, ..Memory::default() });
        sums.add(&Entry { memory, ..entry(kind, 0) }, Some(Owner::Accepted(client(1))));
    }
    sums.add(&entry(Kind::Live, 5000), Some(Owner::Dialled(client(1))));
    sums.add(&entry(Kind::Live, 10), Some(Owner::Dialled(client(2))));
    sums.add(&entry(Kind::Live, 0), Some(Owner::Pool));
    sums.add(&entry(Kind::Live, 1 << 20), None);

    let first = sums.of(client(1));
    let expected = Held {
        live: 3,
        queued: 1,
        orphans: 1,
        time_wait: 1,
        half_open: 1,
        client_side: 2 * (4037 + 1000) + 2862 + 2521 + 256 + 341,
        upstream_side: 4037 + 256 + 5000,
        buffers: 7000,
    };
    assert_eq!((first, first.sockets(), first.bytes()), (expected, 7, 25_347));
    assert_eq!(sums.total.sockets(), 9);
    assert_eq!((sums.pool.sockets(), sums.others, sums.unknown), (1, Held::default(), 1));
    let top = sums.top(1);
    assert_eq!(top, [ClientMemory { client: client(1), held: expected }]);
    assert_eq!(sums.top(9).iter().map(|row| row.client).collect::<Vec<_>>(), [client(1), client(2)]);
    assert_eq!(sums.top(0), []);
}

#[test]
fn what_a_client_holds_is_said_in_a_sentence() {
    let row = |live, bytes| {
        let held = Held { live, client_side: bytes, ..Held::default() };
        ClientMemory { client: client(0x0a00_0005), held }.to_string()
    };
    assert_eq!(row(5312, 14_249_999), "10.0.0.5 holds 5,312 sockets and 14.2 MB of kernel memory");
    assert_eq!(row(1, 4037), "10.0.0.5 holds 1 socket and 0.0 MB of kernel memory");
    assert_eq!(row(1_002_003, 12_345_960_000), "10.0.0.5 holds 1,002,003 sockets and 12,346.0 MB of kernel memory");
    let most = "10.0.0.5 holds 18,446,744,073,709,551,615 sockets and 18,446,744,073,709.5 MB of kernel memory";
    assert_eq!(row(u64::MAX, u64::MAX), most);
}

#[test]
fn slab_is_divided_as_far_as_the_kernel_tells() {
    let mut sums = Attribution::default();
    for kind in [Kind::Live, Kind::Queued, Kind::Orphan, Kind::TimeWait, Kind::HalfOpen] {
        // Buffers are no part of these caches.
        sums.add(&entry(kind, 1 << 30), Some(Owner::Accepted(client(1))));
    }
    let ours = 3 * cost::SOCK + cost::INODE + cost::TIME_WAIT + 2 * cost::REQUEST;
    let slab = |bytes| KernelView { slab: vec![("TCP", Slab { objects: 1, bytes })], ..KernelView::default() };
    assert_eq!(sums.slab(&KernelView::default()), None);
    assert_eq!(sums.slab(&slab(100_000)), Some(SlabShare { ours, others: 100_000 - ours }));
    // Between the two looks sockets have come.
    assert_eq!(sums.slab(&slab(100)), Some(SlabShare { ours: 100, others: 0 }));
}

#[test]
fn beyond_the_table_clients_share_a_row() {
    let mut sums = Attribution::default();
    let clients = u32::try_from(CLIENTS).unwrap();
    for n in 0..clients + 1000 {
        sums.add(&entry(Kind::Live, 0), Some(Owner::Accepted(client(n))));
    }
    sums.add(&entry(Kind::Live, 0), Some(Owner::Dialled(client(0))));
    assert_eq!(sums.clients(), CLIENTS);
    assert_eq!(sums.others.sockets(), 1000);
    assert_eq!(sums.of(client(0)).sockets(), 2, "who is known keeps its row");
    assert_eq!(sums.total.sockets(), u64::from(clients) + 1001);
}

#[test]
fn under_pressure_stuck_orphans_go_first_and_the_largest_of_them() {
    let stuck = |kind, buffers| Entry { waiting: Some(Waiting::Retransmit(3)), ..entry(kind, buffers) };
    let closed = Entry { waiting: Some(Waiting::Probe(Duration::from_secs(5), 0)), ..entry(Kind::Orphan, 3000) };
    let probed = Entry { waiting: Some(Waiting::Probe(Duration::ZERO, 3)), ..entry(Kind::Orphan, 3001) };
    let entries = [
        entry(Kind::Orphan, 900_000),
        stuck(Kind::Orphan, 1),
        stuck(Kind::Live, 200_000),
        stuck(Kind::Live, 65_535),
        stuck(Kind::Live, 300_000),
        entry(Kind::Live, 400_000),
        Entry { waiting: Some(Waiting::Retransmit(2)), ..entry(Kind::Orphan, 2) },
        Entry { waiting: Some(Waiting::Probe(Duration::from_millis(4999), 2)), ..entry(Kind::Orphan, 4) },
        closed,
        probed,
        stuck(Kind::TimeWait, 500_000),
        stuck(Kind::HalfOpen, 500_000),
        stuck(Kind::Queued, 500_000),
    ];
    let at_level = |level| {
        let mut reclaim = Reclaim::new(level);
        for entry in &entries {
            reclaim.consider(entry);
        }
        reclaim.sockets()
    };
    let ids = |buffers: &[u32]| buffers.iter().copied().map(Id::of).collect::<Vec<_>>();
    assert_eq!(at_level(Level::Calm), []);
    assert_eq!(at_level(Level::Elevated), []);
    assert_eq!(at_level(Level::High), ids(&[3001, 3000, 1]));
    assert_eq!(at_level(Level::Critical), ids(&[3001, 3000, 1, 900_000, 4, 2, 300_000, 200_000]));
}

fn any_kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![Kind::Live, Kind::Queued, Kind::Orphan, Kind::TimeWait, Kind::HalfOpen])
}

fn any_owner() -> impl Strategy<Value = Option<Owner>> {
    prop_oneof![
        Just(None),
        Just(Some(Owner::Pool)),
        (0..20_u32).prop_map(|n| Some(Owner::Accepted(client(n)))),
        (0..20_u32).prop_map(|n| Some(Owner::Dialled(client(n)))),
    ]
}

proptest! {
    #[test]
    fn the_rows_add_up(sockets in prop::collection::vec((any_kind(), any::<u32>(), any_owner()), 0..200)) {
        let mut sums = Attribution::default();
        for (kind, buffers, owner) in &sockets {
            sums.add(&entry(*kind, *buffers), *owner);
        }
        let rows: Vec<_> = sums.top(usize::MAX).into_iter().map(|row| row.held).chain([sums.pool, sums.others]).collect();
        prop_assert_eq!(rows.iter().map(Held::sockets).sum::<u64>(), sums.total.sockets());
        prop_assert_eq!(rows.iter().map(Held::bytes).sum::<u64>(), sums.total.bytes());
        prop_assert_eq!(rows.iter().map(Held::slab).sum::<u64>(), sums.total.slab());
        prop_assert_eq!(sums.total.sockets() + sums.unknown, u64::try_from(sockets.len()).unwrap());
        prop_assert!(sums.total.slab() + sums.total.buffers <= sums.total.bytes());
        prop_assert!(sums.top(usize::MAX).is_sorted_by_key(|row| std::cmp::Reverse(row.held.bytes())));
    }

    /// However they come, the same are given up.
    #[test]
    fn what_is_given_up_is_bounded_and_the_largest(sizes in prop::collection::vec(any::<u32>(), 0..3000)) {
        let mut reclaim = Reclaim::new(Level::Critical);
        for size in &sizes {
            reclaim.consider(&entry(Kind::Orphan, *size));
        }
        let mut largest = sizes;
        largest.sort_unstable_by_key(|size| std::cmp::Reverse(*size));
        largest.truncate(AT_ONCE);
        prop_assert_eq!(reclaim.sockets(), largest.into_iter().map(Id::of).collect::<Vec<_>>());
    }
}
