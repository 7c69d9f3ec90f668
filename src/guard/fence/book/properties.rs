//! What holds whatever clients, counters, operators and clocks do.

use std::time::Duration;

use ahash::{AHashMap, AHashSet};
use ipnet::IpNet;
use proptest::prelude::*;

use super::Act;
use super::tests::World;
use crate::guard::Moment;
use crate::guard::clients::Rates;
use crate::guard::fence::{Release, Terms};
use crate::guard::ladder::Class;
use crate::kernel::fence::Change;
use crate::net::ClientKey;

/// What happens in one second, or more if nobody judged.
#[derive(Clone, Debug)]
struct Second {
    millis: u64,
    /// Of each client: connections, and whether bytes moved.
    clients: Vec<(u32, bool)>,
    syns: u64,
    never: Option<u8>,
    release: Option<u8>,
    unbuilt: Option<u8>,
    act: Act,
}

fn key(n: usize) -> ClientKey {
    let n = u8::try_from(n).unwrap();
    // Every fourth is an IPv6 site.
    let address = if n % 4 == 3 { format!("2001:db8:{n:x}::1") } else { format!("10.0.0.{n}") };
    let key = ClientKey::new(address.parse().unwrap());
    if n % 4 == 3 { key.site().unwrap() } else { key }
}

fn second() -> impl Strategy<Value = Second> {
    let millis = prop_oneof![20 => Just(1_000_u64), 2 => 0..5_000_u64, 1 => Just(60_000_u64)];
    let arrivals = prop_oneof![3 => Just(0_u32), 1 => 1..100_u32, 8 => 101..20_000_u32];
    let clients = prop::collection::vec((arrivals, prop::bool::weighted(0.01)), 30);
    let rarely = || prop::option::weighted(0.02, 0..30_u8);
    let act = prop_oneof![60 => Just(Act::Enforce), 1 => Just(Act::Observe), 1 => Just(Act::Nothing)];
    (millis, clients, 0..2_000_u64, rarely(), rarely(), rarely(), act).prop_map(
        |(millis, clients, syns, never, release, unbuilt, act)| Second {
            millis,
            clients,
            syns,
            never,
            release,
            unbuilt,
            act,
        },
    )
}

/// Who is kept out, whether half open, and until when.
type Kernel = AHashMap<IpNet, (bool, Moment)>;

fn obey(kernel: &mut Kernel, changes: &[Change], now: Moment) {
    let terms = Terms::default();
    let mut touched = AHashSet::new();
    for change in changes {
        assert!(touched.insert(change.network()), "two words on one network: {changes:?}");
        match *change {
            Change::Shut(network, timeout) => {
                assert!(timeout <= terms.longest + terms.margin);
                kernel.insert(network, (false, now.after(timeout)));
            }
            Change::HalfOpen(network, timeout) => {
                assert_eq!(timeout, terms.trickle + terms.margin);
                kernel.insert(network, (true, now.after(timeout)));
            }
            Change::Open(network) => drop(kernel.remove(&network)),
        }
    }
}

/// Plays it with a kernel that does what it is told, and looks after every second whether all is in order.
fn play(seconds: &[Second], counted: bool) {
    let terms = Terms::default();
    let mut world = World::new();
    let mut kernel = Kernel::new();
    let mut progress: AHashMap<ClientKey, Moment> = AHashMap::new();
    let mut since: AHashMap<ClientKey, Moment> = AHashMap::new();
    for second in seconds {
        let then = Moment::from_millis(world.now + second.millis);
        kernel.retain(|_, (_, until)| *until > then);
        let mut seen = Vec::new();
        for (n, (arrivals, moves)) in second.clients.iter().enumerate() {
            let client = key(n);
            // Who is shut out does not arrive, and has its SYNs counted.
            let shut = kernel.get(&client.network());
            if counted && shut.is_some() {
                *world.dropped.entry(client.network()).or_default() += second.syns;
            }
            let arrivals = if shut.is_some() { 0 } else { *arrivals };
            if *moves {
                progress.insert(client, then);
            }
            let stalled = Some((Class::ALL[n % 2], Moment::from_millis(1_000_000)));
            let progress = progress.get(&client).copied();
            seen.push((client, Rates { arrivals, progress, stalled, ..Rates::default() }));
        }
        world.never = second.never.iter().map(|n| key(usize::from(*n)).network()).collect();
        world.wishes = second.release.iter().map(|n| Release::One(key(usize::from(*n)))).collect();
        world.unbuilt = second.unbuilt.iter().map(|n| key(usize::from(*n)).network()).collect();
        for unbuilt in &world.unbuilt {
            kernel.remove(unbuilt);
        }
        world.act = second.act;
        let before: AHashSet<_> = world.book.rows().iter().map(|row| row.client).collect();
        let judgement = world.after(second.millis, seen);

        obey(&mut kernel, &judgement.changes, then);
        let rows = world.book.rows();
        let fenced: AHashSet<_> = rows.iter().map(|row| row.client).collect();
        assert!(rows.len() <= terms.cap(30), "{} fenced", rows.len());
        let in_kernel: AHashSet<_> = kernel.keys().copied().collect();
        let in_book: AHashSet<_> = fenced.iter().map(|client| client.network()).collect();
        assert_eq!(in_kernel, in_book, "the kernel has what the book has");
        since.retain(|client, _| fenced.contains(client));
        for row in &rows {
            let network = row.client.network();
            assert!(!world.never.contains(&network), "{network} is never fenced");
            assert_eq!(second.act, Act::Enforce);
            assert_eq!(kernel.get(&network).map(|(half_open, _)| *half_open), Some(row.half_open));
            if !before.contains(&row.client) {
                let recent = progress.get(&row.client).is_some_and(|moment| then.since(*moment) < terms.silence);
                assert!(!recent, "{network} makes progress");
            }
            if row.half_open {
                since.remove(&row.client);
            } else {
                let begun = *since.entry(row.client).or_insert(then);
                assert!(then.since(begun) < terms.longest + Duration::from_mins(1), "{network} is never let in");
                assert!(row.until > then, "{network} ought to be half open");
            }
        }
        // Nobody seen, nothing passed: nothing follows.
        let (never, wishes) = (std::mem::take(&mut world.never), std::mem::take(&mut world.wishes));
        assert_eq!(world.after(0, []).changes, [], "once is enough");
        (world.never, world.wishes) = (never, wishes);
    }
    // When everybody has gone, everybody is let in, and then forgotten.
    for _ in 0..1_000 {
        world.dropped.clear();
        world.after(1_000, []);
    }
    assert_eq!(world.book.rows(), []);
    for _ in 0..20 {
        world.after(600_000, []);
    }
    assert!(world.book.entries.is_empty() && world.book.suspects.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn fences_are_few_certain_and_temporary(
        seconds in prop::collection::vec(second(), 1..400),
        counted in any::<bool>(),
    ) {
        play(&seconds, counted);
    }
}
