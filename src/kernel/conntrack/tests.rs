//! Deleting entries of the kernel's real table, in a network namespace of its own, and the thread with a table of its own.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use caps::{CapSet, Capability};
use netlink_packet_core::{NLM_F_ACK, NetlinkMessage, NetlinkPayload};
use netlink_packet_netfilter::conntrack::{ConntrackAttribute, ConntrackMessage};
use netlink_packet_netfilter::{NetfilterMessage, NetfilterMessageInner};
use proptest::prelude::*;

use super::forgetter::IN_VAIN;
use super::{BATCH, Conntrack, Counters, Flow, Forgetter, Forgotten, deletion};
use crate::toolkit::{eventually, in_a_network_of_its_own, skipped};

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
#[cfg(target_endian = "little")]
fn a_deletion_names_the_reply_from_us_to_the_client() {
    let mut bytes = Vec::new();
    deletion(at("[::ffff:10.0.0.5]:40000"), at("10.0.0.1:3128"), NLM_F_ACK, 7, &mut bytes);
    #[rustfmt::skip]
    let expected = [
        // struct nlmsghdr: length, IPCTNL_MSG_CT_DELETE of NFNL_SUBSYS_CTNETLINK, NLM_F_REQUEST | NLM_F_ACK, sequence, port
        72, 0, 0, 0, 2, 1, 5, 0, 7, 0, 0, 0, 0, 0, 0, 0,
        // struct nfgenmsg: AF_INET
        2, 0, 0, 0,
        // CTA_TUPLE_REPLY
        52, 0, 2, 0x80,
        // CTA_TUPLE_IP: CTA_IP_V4_SRC, CTA_IP_V4_DST
        20, 0, 1, 0x80,
        8, 0, 1, 0, 10, 0, 0, 1,
        8, 0, 2, 0, 10, 0, 0, 5,
        // CTA_TUPLE_PROTO: CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT
        28, 0, 2, 0x80,
        5, 0, 1, 0, 6, 0, 0, 0,
        6, 0, 2, 0, 0x0c, 0x38, 0, 0,
        6, 0, 3, 0, 0x9c, 0x40, 0, 0,
    ];
    assert_eq!(bytes, expected);
}

proptest! {
    /// Without one it would empty the whole table.
    #[test]
    fn every_deletion_names_a_tuple(
        client in (any::<IpAddr>(), any::<u16>()), ours in (any::<IpAddr>(), any::<u16>()), sequence in any::<u32>(),
    ) {
        let mut bytes = vec![0; 4];
        deletion(client.into(), ours.into(), 0, sequence, &mut bytes);
        prop_assert_eq!(bytes.len() % 4, 0);
        let message = NetlinkMessage::<NetfilterMessage>::deserialize(&bytes[4..]).unwrap();
        prop_assert_eq!(usize::try_from(message.header.length).unwrap(), bytes.len() - 4);
        let NetlinkPayload::InnerMessage(message) = message.payload else { panic!("{message:?}") };
        let NetfilterMessageInner::Conntrack(ConntrackMessage::Delete(attributes)) = message.inner else {
            panic!("{message:?}")
        };
        let [ConntrackAttribute::CtaTupleReply(tuple)] = attributes.as_slice() else { panic!("{attributes:?}") };
        prop_assert_eq!(tuple.len(), 2);
    }
}

/// Has the kernel track the connections of this namespace; false where it cannot, or where we may not delete.
fn track() -> bool {
    let rules = "table inet t { chain c { type filter hook input priority 0; ct state new counter; }; }";
    if !Command::new("nft").arg(rules).output().is_ok_and(|output| output.status.success()) {
        skipped("nft(8) or connection tracking is missing");
        return false;
    }
    // Root of a user namespace may have no larger buffer (socket(7), SO_RCVBUFFORCE).
    let denied = Conntrack::open().err().filter(|error| error.kind() == ErrorKind::PermissionDenied);
    denied.inspect(|error| skipped(&error.to_string())).is_none()
}

fn tracked() -> u64 {
    fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count").unwrap().trim().parse().unwrap()
}

/// Connections to a listener of ours, and their flows.
fn connections(address: &str, count: usize) -> (Vec<(TcpStream, TcpStream)>, Vec<Flow>) {
    let listener = TcpListener::bind(address).unwrap();
    let pairs: Vec<_> = std::iter::repeat_with(|| {
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    })
    .take(count)
    .collect();
    let flows = pairs.iter().map(|(_, ours)| (ours.peer_addr().unwrap(), ours.local_addr().unwrap())).collect();
    (pairs, flows)
}

#[test]
fn the_kernel_forgets_what_it_is_told_and_nothing_else() {
    in_a_network_of_its_own(|| {
        if !track() {
            return;
        }
        let (_v4, mut flows) = connections("127.0.0.1:0", BATCH - 200);
        let (_v6, more) = connections("[::1]:0", BATCH - 300);
        flows.extend(more);
        let (_others, kept) = connections("127.0.0.1:0", 20);
        let all = u64::try_from(flows.len()).unwrap();
        assert!(flows.len() > BATCH, "more than a batch");
        assert_eq!(tracked(), all + 20);

        let mut conntrack = Conntrack::open().unwrap();
        assert_eq!(conntrack.forget(&[]).unwrap(), Forgotten::default());
        assert_eq!(conntrack.forget(&flows).unwrap(), Forgotten { deleted: all, unknown: 0 });
        assert_eq!(tracked(), 20);
        assert_eq!(conntrack.forget(&flows).unwrap(), Forgotten { deleted: 0, unknown: all });
        let mixed: Vec<_> = flows.iter().take(5).chain(&kept).copied().collect();
        assert_eq!(conntrack.forget(&mixed).unwrap(), Forgotten { deleted: 20, unknown: 5 });
        assert_eq!(tracked(), 0);
    });
}

#[test]
fn a_rewritten_destination_is_found_by_what_our_socket_sees() {
    in_a_network_of_its_own(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let rules = format!(
            "table ip n {{ chain c {{ type nat hook output priority -100; tcp dport 80 redirect to :{port}; }}; }}"
        );
        if !track() || !Command::new("nft").arg(rules).status().unwrap().success() {
            return;
        }
        let client = TcpStream::connect("127.0.0.1:80").unwrap();
        let (ours, peer) = listener.accept().unwrap();
        assert_eq!((peer, tracked()), (client.local_addr().unwrap(), 1));
        let forgotten = Conntrack::open().unwrap().forget(&[(peer, ours.local_addr().unwrap())]).unwrap();
        assert_eq!((forgotten, tracked()), (Forgotten { deleted: 1, unknown: 0 }, 0));
    });
}

#[test]
fn what_is_handed_over_is_forgotten_soon() {
    in_a_network_of_its_own(|| {
        if !track() {
            return;
        }
        let (_open, flows) = connections("127.0.0.1:0", 300);
        assert_eq!(tracked(), 300);
        let forgetter = Forgetter::start().unwrap();
        for (client, ours) in flows {
            forgetter.forget(client, ours);
        }
        eventually("all are forgotten", || tracked() == 0);
        eventually("all are counted", || forgetter.counters().deleted.load(Relaxed) == 300);
    });
}

#[test]
fn where_nothing_is_tracked_no_module_is_asked_for() {
    let absent = Conntrack::open_by(&["/proc/sys/net/no-such"]).unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::Unsupported);
}

#[test]
fn without_the_right_entries_stay_and_it_is_said() {
    let without = thread::spawn(|| {
        // Of this thread only.
        caps::drop(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap();
        match Conntrack::open() {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                assert!(error.to_string().contains("CAP_NET_ADMIN"));
            }
            Err(error) if error.kind() == ErrorKind::Unsupported => skipped(&error.to_string()),
            other => panic!("{other:?}"),
        }
        let forgetter = Forgetter::start().unwrap();
        forget(&forgetter, 1);
        eventually("asleep", || forgetter.is_asleep());
        assert_eq!((sum(forgetter.counters()), forgetter.counters().skipped.load(Relaxed)), (1, 1));
    });
    without.join().unwrap();
}

fn sum(counters: &Counters) -> u64 {
    [&counters.deleted, &counters.unknown, &counters.skipped, &counters.dropped]
        .map(|counter| counter.load(Relaxed))
        .iter()
        .sum()
}

const FLOW: (&str, &str) = ("10.0.0.5:40000", "10.0.0.1:3128");

fn forget(forgetter: &Forgetter, count: u64) {
    for _ in 0..count {
        forgetter.forget(at(FLOW.0), at(FLOW.1));
    }
}

#[test]
fn a_full_queue_drops_and_what_was_handed_over_is_done_in_the_end() {
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (passing, batches) = (Arc::clone(&gate), Arc::clone(&seen));
    let forgetter = Forgetter::with(2000, Duration::ZERO, move |flows| {
        drop(passing.lock().unwrap());
        batches.lock().unwrap().push(flows.len());
        Some(Forgotten { deleted: u64::try_from(flows.len()).unwrap(), unknown: 0 })
    })
    .unwrap();
    forget(&forgetter, 10_000);
    let dropped = forgetter.counters().dropped.load(Relaxed);
    drop(closed);
    // Beside the queue there is the batch in hand.
    assert!((10_000 - 2000 - 512..=10_000 - 2000).contains(&dropped), "{dropped}");
    let state = Arc::clone(&forgetter.state);
    drop(forgetter);
    assert_eq!(state.counters.deleted.load(Relaxed), 10_000 - dropped);
    assert!(seen.lock().unwrap().iter().all(|length| (1..=BATCH).contains(length)));
}

#[test]
fn what_has_just_been_closed_is_forgotten_when_it_has_settled_and_in_the_end_at_once() {
    let seen: Arc<Mutex<Vec<(u16, Instant)>>> = Arc::default();
    let forgotten = Arc::clone(&seen);
    let forgetter = Forgetter::with(2000, Duration::ZERO, move |flows| {
        let now = Instant::now();
        forgotten.lock().unwrap().extend(flows.iter().map(|(client, _)| (client.port(), now)));
        Some(Forgotten { deleted: u64::try_from(flows.len()).unwrap(), unknown: 0 })
    })
    .unwrap();
    let (begun, client) = (Instant::now(), |port| (IpAddr::from([10, 0, 0, 5]), port).into());
    forgetter.forget_closed(client(1), at(FLOW.1));
    forgetter.forget(client(2), at(FLOW.1));
    while seen.lock().unwrap().len() < 2 {
        thread::yield_now();
    }
    forgetter.forget_closed(client(3), at(FLOW.1));
    drop(forgetter);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.iter().map(|(port, _)| *port).collect::<Vec<_>>(), [2, 1, 3]);
    assert!(seen[1].1 - begun >= Duration::from_secs(2));
}

/// A table that knows nothing at first.
fn sleeper(sleep: Duration) -> (Forgetter, Arc<Mutex<bool>>, Arc<Mutex<u64>>) {
    let (is_tracked, asked) = (Arc::new(Mutex::new(false)), Arc::new(Mutex::new(0)));
    let (knows, count) = (Arc::clone(&is_tracked), Arc::clone(&asked));
    let forgetter = Forgetter::with(2000, sleep, move |flows| {
        let all = u64::try_from(flows.len()).unwrap();
        *count.lock().unwrap() += all;
        Some(if *knows.lock().unwrap() {
            Forgotten { deleted: all, unknown: 0 }
        } else {
            Forgotten { deleted: 0, unknown: all }
        })
    });
    (forgetter.unwrap(), is_tracked, asked)
}

#[test]
fn where_nothing_is_tracked_it_soon_gives_up_asking() {
    let (forgetter, _, asked) = sleeper(Duration::from_hours(1));
    forget(&forgetter, IN_VAIN);
    eventually("asleep", || forgetter.is_asleep());
    forget(&forgetter, 1_000_000);
    assert_eq!(*asked.lock().unwrap(), IN_VAIN);
    assert_eq!(forgetter.counters().skipped.load(Relaxed), 1_000_000);
    // And it ends at once, though it sleeps.
}

#[test]
fn a_sample_that_is_found_wakes_it_up() {
    let (forgetter, is_tracked, asked) = sleeper(Duration::from_millis(1));
    let mut told = 0;
    let mut tell = |forgetter: &Forgetter| {
        forget(forgetter, 1);
        told += 1;
    };
    // Long after it has fallen asleep for the first time samples are tried.
    while *asked.lock().unwrap() < 2 * IN_VAIN {
        tell(&forgetter);
    }
    assert!(forgetter.counters().deleted.load(Relaxed) == 0);
    *is_tracked.lock().unwrap() = true;
    while forgetter.counters().deleted.load(Relaxed) < 1000 {
        tell(&forgetter);
    }
    assert!(!forgetter.is_asleep());
    let state = Arc::clone(&forgetter.state);
    drop(forgetter);
    assert_eq!(sum(&state.counters), told, "each is counted once");
}

#[test]
fn what_fails_is_skipped() {
    let forgetter = Forgetter::with(2000, Duration::from_hours(1), |_| None).unwrap();
    forget(&forgetter, 1);
    eventually("asleep", || forgetter.is_asleep());
    assert_eq!(forgetter.counters().skipped.load(Relaxed), 1);
}
