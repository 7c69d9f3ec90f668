//! What both back ends do.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use floodgate::kernel::fence::{Change, Choice};

use crate::rig::{
    Attempt, LONG, eventually, fence, in_a_network_of_its_own, is_dropped, listener, network, passes, run,
};

const BOTH: [Choice; 2] = [Choice::NfTables, Choice::SocketFilter];

fn address(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().unwrap()
}

#[test]
fn a_client_is_shut_and_opened_and_others_pass() {
    in_a_network_of_its_own(|| {
        for choice in BOTH {
            let ours = [listener("127.0.0.1:0"), listener("127.0.0.2:0")];
            let other = listener("127.0.0.1:0");
            let mut fence = fence(choice, &ours);
            let standing = Attempt::new("127.0.0.9", address(&ours[0]));
            standing.wait();
            let client = network("127.0.0.9/32");

            assert_eq!(fence.apply(&[Change::Shut(client, LONG)]).unwrap(), []);
            for to in &ours {
                is_dropped(&mut *fence, "127.0.0.9", address(to));
                passes("127.0.0.8", address(to));
                passes("127.0.0.10", address(to));
            }
            passes("127.0.0.9", address(&other));
            assert!(fence.is_intact().unwrap());

            // What stands is not touched.
            let (mut accepted, peer) = ours[0].accept().unwrap();
            assert_eq!(peer.ip().to_string(), "127.0.0.9");
            let mut standing = TcpStream::from(standing.into_socket());
            standing.set_nonblocking(false).unwrap();
            standing.write_all(b"ping").unwrap();
            accepted.read_exact(&mut [0; 4]).unwrap();
            accepted.write_all(b"pong").unwrap();
            standing.read_exact(&mut [0; 4]).unwrap();

            // The last word counts, and each may be said twice.
            fence.apply(&[Change::Open(client), Change::Shut(client, LONG)]).unwrap();
            is_dropped(&mut *fence, "127.0.0.9", address(&ours[0]));
            fence.apply(&[Change::Shut(client, LONG), Change::Open(client)]).unwrap();
            passes("127.0.0.9", address(&ours[0]));
            fence.apply(&[Change::Open(client)]).unwrap();
            passes("127.0.0.9", address(&ours[0]));

            // Nothing is left behind it.
            fence.apply(&[Change::Shut(client, LONG)]).unwrap();
            is_dropped(&mut *fence, "127.0.0.9", address(&ours[1]));
            drop(fence);
            eventually("the fence is gone", || Attempt::new("127.0.0.9", address(&ours[1])).stands());
        }
    });
}

#[test]
fn time_runs_out_unless_it_begins_anew() {
    in_a_network_of_its_own(|| {
        for choice in BOTH {
            let ours = [listener("0.0.0.0:0")];
            let to = SocketAddr::new([127, 0, 0, 1].into(), address(&ours[0]).port());
            let mut fence = fence(choice, &ours);
            // Long enough for what comes before its end.
            let short = Duration::from_secs(2);
            let [one, two, three] = ["127.0.0.9/32", "127.0.0.10/32", "127.0.0.11/32"].map(network);
            fence.apply(&[Change::Shut(one, short), Change::Shut(two, short), Change::HalfOpen(three, short)]).unwrap();
            is_dropped(&mut *fence, "127.0.0.9", to);
            fence.apply(&[Change::Shut(two, LONG), Change::Shut(three, LONG)]).unwrap();
            eventually("its time is over", || {
                fence.dropped().unwrap();
                Attempt::new("127.0.0.9", to).stands()
            });
            is_dropped(&mut *fence, "127.0.0.10", to);
            is_dropped(&mut *fence, "127.0.0.11", to);
            // No time at all is not for ever.
            fence.apply(&[Change::Shut(one, Duration::ZERO)]).unwrap();
            eventually("its time is over", || {
                fence.dropped().unwrap();
                Attempt::new("127.0.0.9", to).stands()
            });
        }
    });
}

/// How many of so many connections come to stand.
pub(crate) fn trickle(of: usize, source: &str, to: SocketAddr) -> usize {
    let attempts: Vec<_> = (0..of).map(|_| Attempt::new(source, to)).collect();
    attempts.iter().filter(|attempt| attempt.stands()).count()
}

#[test]
fn a_half_open_client_trickles() {
    in_a_network_of_its_own(|| {
        for choice in BOTH {
            let ours = [listener("127.0.0.1:0")];
            let mut fence = fence(choice, &ours);
            let client = network("127.0.0.9/32");
            fence.apply(&[Change::Shut(client, LONG)]).unwrap();
            is_dropped(&mut *fence, "127.0.0.9", address(&ours[0]));
            fence.apply(&[Change::HalfOpen(client, LONG)]).unwrap();
            let before = fence.dropped().unwrap().total;
            let stand = trickle(400, "127.0.0.9", address(&ours[0]));
            // Of 400, 25 are to be expected of the socket filter's dice; that none or a third pass is all but impossible.
            assert!((1..130).contains(&stand), "{choice:?}: {stand}");
            assert!(fence.dropped().unwrap().total >= before + 270);
            passes("127.0.0.8", address(&ours[0]));
            fence.apply(&[Change::Shut(client, LONG)]).unwrap();
            assert_eq!(trickle(100, "127.0.0.9", address(&ours[0])), 0);
        }
    });
}

#[test]
fn ipv6_is_shut_by_the_64_or_the_48() {
    in_a_network_of_its_own(|| {
        for last in ["0:1::5", "0:1::6", "0:2::5", "7:1::5", "7:0::5", "8:1::5"] {
            run("ip", &format!("-6 address add 2001:db8:{last}/128 dev lo nodad")).unwrap();
        }
        for choice in BOTH {
            // Both families of one port, as our listeners are.
            let ipv6 = listener("[::]:0");
            let port = address(&ipv6).port();
            let ours = [ipv6, listener(&format!("0.0.0.0:{port}"))];
            let to = SocketAddr::new("::1".parse().unwrap(), port);
            let mut fence = fence(choice, &ours);
            let [narrow, wide] = ["2001:db8:0:1::/64", "2001:db8:7::/48"].map(network);
            let both = [Change::Shut(narrow, LONG), Change::Shut(wide, LONG)];
            fence.apply(&both).unwrap();
            for shut in ["0:1::5", "0:1::6", "7:1::5", "7:0::5"] {
                is_dropped(&mut *fence, &format!("2001:db8:{shut}"), to);
            }
            for open in ["0:2::5", "8:1::5"] {
                passes(&format!("2001:db8:{open}"), to);
            }
            passes("::1", to);
            passes("127.0.0.1", SocketAddr::new([127, 0, 0, 1].into(), port));
            fence.apply(&[Change::Open(narrow), Change::Shut(network("127.0.0.9/32"), LONG)]).unwrap();
            passes("2001:db8:0:1::5", to);
            is_dropped(&mut *fence, "2001:db8:7:1::5", to);
            is_dropped(&mut *fence, "127.0.0.9", SocketAddr::new([127, 0, 0, 1].into(), port));
        }
    });
}

#[test]
fn what_is_no_client_cannot_be_fenced() {
    in_a_network_of_its_own(|| {
        for choice in BOTH {
            let ours = [listener("127.0.0.1:0")];
            let mut fence = fence(choice, &ours);
            let good = Change::Shut(network("127.0.0.9/32"), LONG);
            for bad in ["127.0.0.0/8", "0.0.0.0/0", "::/0", "2001:db8::1/128", "2001:db8::/47"] {
                let error = fence.apply(&[good, Change::Shut(network(bad), LONG)]).unwrap_err();
                assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{bad}");
            }
            passes("127.0.0.9", address(&ours[0]));
        }
    });
}

#[test]
fn without_the_right_it_says_so() {
    in_a_network_of_its_own(|| {
        let ours = [listener("127.0.0.1:0")];
        // A right of this thread alone.
        caps::drop(None, caps::CapSet::Effective, caps::Capability::CAP_NET_ADMIN).unwrap();
        let (fence, why_not) = floodgate::kernel::fence::probe(Choice::Auto, &crate::rig::listening(&ours), &ours);
        assert!(why_not[0].starts_with("nftables: it needs CAP_NET_ADMIN"), "{why_not:?}");
        match fence {
            // Kernels before June 2026 let everybody set a filter.
            Some(fence) => assert_eq!((fence.name(), why_not.len()), ("socket-filter", 1)),
            None => assert!(why_not[1].starts_with("socket filter: it needs CAP_NET_ADMIN"), "{why_not:?}"),
        }
        caps::raise(None, caps::CapSet::Effective, caps::Capability::CAP_NET_ADMIN).unwrap();
        let (fence, why_not) = floodgate::kernel::fence::probe(Choice::Auto, &crate::rig::listening(&ours), &ours);
        assert_eq!((fence.unwrap().name(), why_not.len()), ("nftables", 0));
    });
}
