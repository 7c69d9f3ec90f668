//! nftables alone.

use std::env;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::time::Duration;

use floodgate::kernel::fence::{Change, Choice, Fence, Listening, Mode, probe};
use ipnet::IpNet;

use crate::both::trickle;
use crate::rig::{
    Attempt, LONG, eventually, fence, in_a_network_of_its_own, is_dropped, listener, network, passes, run, skipped,
};

fn put_up(listeners: &[TcpListener]) -> Box<dyn Fence> {
    fence(Choice::NfTables, listeners)
}

/// A hundred attempts of each, and what the fence counted.
#[test]
fn dropped_syns_are_counted_for_each_network() {
    in_a_network_of_its_own(|| {
        let ours = [listener("127.0.0.1:0")];
        let to = ours[0].local_addr().unwrap();
        let mut fence = put_up(&ours);
        assert_eq!(fence.dropped().unwrap(), <_>::default());
        let [one, two] = ["127.0.0.9/32", "127.0.0.10/32"].map(network);
        fence.apply(&[Change::Shut(one, LONG), Change::HalfOpen(two, LONG)]).unwrap();
        assert_eq!(fence.dropped().unwrap().networks, [(one, 0), (two, 0)].into_iter().collect());

        // A SYN is sent again after a second: attempts are given up before.
        assert_eq!(trickle(100, "127.0.0.9", to), 0);
        let stand = trickle(100, "127.0.0.10", to);
        // Ten at once, and five in each second that has passed.
        assert!((10..90).contains(&stand), "{stand}");
        let dropped = fence.dropped().unwrap();
        let [of_one, of_two] = [dropped.networks[&one], dropped.networks[&two]];
        assert!(of_one >= 100, "{dropped:?}");
        assert!(of_two >= 100 - u64::try_from(stand).unwrap(), "{dropped:?}");
        assert_eq!(dropped.total, of_one + of_two);
        // None of this is another's.
        passes("127.0.0.8", to);
        assert_eq!(fence.dropped().unwrap().networks.len(), 2);

        // The counter goes on when a network is shut anew or half opened, and is forgotten when it is opened.
        fence.apply(&[Change::HalfOpen(one, LONG), Change::Shut(two, LONG)]).unwrap();
        let again = fence.dropped().unwrap();
        assert!(again.networks[&one] >= of_one && again.networks[&two] >= of_two, "{again:?}");
        fence.apply(&[Change::Open(one)]).unwrap();
        assert_eq!(fence.dropped().unwrap().networks.keys().collect::<Vec<_>>(), [&two]);
        fence.apply(&[Change::Shut(one, LONG)]).unwrap();
        let last = fence.dropped().unwrap();
        assert_eq!(last.networks[&one], 0);
        assert!(last.total >= again.total);
    });
}

#[test]
fn nft_shows_what_is_there_and_flushes_none_of_it() {
    in_a_network_of_its_own(|| {
        if run("nft", "--version").is_none() {
            return skipped("nft(8) is missing");
        }
        let ours = [listener("127.0.0.1:0"), listener("[::]:0"), listener("0.0.0.0:0")];
        let [one, ipv6, ipv4] = [0, 1, 2].map(|at: usize| ours[at].local_addr().unwrap());
        run("nft", "add table inet other");
        let mut fence = put_up(&ours);
        fence
            .apply(&[
                Change::Shut(network("127.0.0.9/32"), LONG),
                Change::HalfOpen(network("127.0.0.10/32"), LONG),
                Change::Shut(network("2001:db8:0:1::/64"), LONG),
                Change::Shut(network("2001:db8:7::/48"), LONG),
            ])
            .unwrap();
        assert_eq!(trickle(1, "127.0.0.9", one), 0);
        run("nft", "flush ruleset");

        // Versions of nft differ in order and spelling of the rest.
        let table = run("nft", "list table inet floodgate").unwrap();
        for part in [
            "flags owner",
            "size 65536",
            "hook prerouting priority",
            &format!("tcp dport {} ip daddr 127.0.0.1 ip saddr @ipv4 goto dropped", one.port()),
            &format!("tcp dport {} fib daddr type local ip saddr @ipv4 goto dropped", ipv4.port()),
            &format!("tcp dport {} fib daddr type local ip6 saddr & ffff:ffff:ffff:ffff:: ", ipv6.port()),
            &format!("tcp dport {} fib daddr type local ip6 saddr & ffff:ffff:ffff:: ", ipv6.port()),
            "@ipv6_64 goto dropped",
            "@ipv6_48 goto dropped",
        ] {
            assert!(table.contains(part), "{part}\nis not in\n{table}");
        }
        for (client, parts) in [
            ("127.0.0.9 ", ["timeout 1h", "counter packets 1 "].as_slice()),
            ("127.0.0.10 ", &["timeout 1h", "limit rate over 5/second burst 10 packets", "counter packets 0 "]),
            ("2001:db8:0:1:: ", &["timeout 1h", "counter packets 0 "]),
            ("2001:db8:7:: ", &["timeout 1h", "counter packets 0 "]),
        ] {
            let (_, element) = table.split_once(client).unwrap();
            let (element, _) = element.split_once([',', '}']).unwrap();
            assert!(parts.iter().all(|part| element.contains(part)), "{element}");
        }
        // The other table is gone, ours is not, and nobody but us may touch it.
        assert_eq!(run("nft", "list tables").unwrap().trim(), "table inet floodgate");
        assert!(fence.is_intact().unwrap());
        is_dropped(&mut *fence, "127.0.0.9", one);
        for attempt in
            ["delete table inet floodgate", "flush chain inet floodgate prerouting", "flush set inet floodgate ipv4"]
        {
            let status = Command::new("nft").args(attempt.split(' ')).stderr(Stdio::null()).status().unwrap();
            assert!(!status.success(), "{attempt}");
        }
        is_dropped(&mut *fence, "127.0.0.9", one);
    });
}

#[test]
fn gateways_have_tables_of_their_own() {
    in_a_network_of_its_own(|| {
        let ours = [listener("127.0.0.1:0")];
        let theirs = [listener("127.0.0.1:0")];
        let [to_us, to_them] = [&ours, &theirs].map(|listeners| listeners[0].local_addr().unwrap());
        let client = network("127.0.0.9/32");
        let mut first = put_up(&ours);
        let mut second = put_up(&theirs);
        first.apply(&[Change::Shut(client, LONG)]).unwrap();
        second.apply(&[Change::Shut(network("127.0.0.10/32"), LONG)]).unwrap();
        is_dropped(&mut *first, "127.0.0.9", to_us);
        passes("127.0.0.9", to_them);
        is_dropped(&mut *second, "127.0.0.10", to_them);
        passes("127.0.0.10", to_us);
        drop(first);
        passes("127.0.0.9", to_us);
        assert!(second.is_intact().unwrap());
        is_dropped(&mut *second, "127.0.0.10", to_them);
        drop(second);

        // A table that somebody wrote by hand is no obstacle either, and stays as it is.
        if run("nft", "add table inet floodgate").is_some() {
            let mut third = put_up(&ours);
            third.apply(&[Change::Shut(client, LONG)]).unwrap();
            is_dropped(&mut *third, "127.0.0.9", to_us);
            drop(third);
            assert_eq!(run("nft", "list tables").unwrap().trim(), "table inet floodgate");
        }
    });
}

const HELD: &str = "FLOODGATE_TEST_HOLDS_A_FENCE";

/// What a gateway leaves behind that has no chance to tidy up.
#[test]
fn nothing_is_left_of_a_process_that_was_killed() {
    if let Some(to) = env::var_os(HELD) {
        let to: SocketAddr = to.into_string().unwrap().parse().unwrap();
        let listening = [Listening { address: to, mode: Mode::Explicit }];
        let mut fence = probe(Choice::NfTables, &listening, &[]).0.unwrap();
        fence.apply(&[Change::Shut(network("127.0.0.9/32"), LONG)]).unwrap();
        println!("\nit stands");
        std::io::stdin().read_line(&mut String::new()).unwrap();
        return;
    }
    in_a_network_of_its_own(|| {
        let ours = listener("127.0.0.1:0");
        let to = ours.local_addr().unwrap();
        let mut holder = Command::new(env::current_exe().unwrap())
            .args(["--exact", "nftables::nothing_is_left_of_a_process_that_was_killed", "--nocapture"])
            .env(HELD, to.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(holder.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(said.any(|line| line == "it stands"));
        let refused = Attempt::new("127.0.0.9", to);
        passes("127.0.0.8", to);
        assert!(!refused.stands());
        // SIGKILL
        holder.kill().unwrap();
        holder.wait().unwrap();
        eventually("the client passes", || Attempt::new("127.0.0.9", to).stands());
        if let Some(ruleset) = run("nft", "list ruleset") {
            assert_eq!(ruleset, "");
        }
        // What waits for an answer gets it: the SYN is sent again.
        refused.wait();
    });
}

fn clients(from: u32, count: u32) -> impl Iterator<Item = IpNet> {
    let begin = u32::from_be_bytes([127, 10, 0, 0]) + from;
    (begin..begin + count).map(|bits| IpNet::from(std::net::IpAddr::from(bits.to_be_bytes())))
}

#[test]
fn ten_thousand_clients_are_shut_and_opened() {
    in_a_network_of_its_own(|| {
        let ours = [listener("127.0.0.1:0")];
        let to = ours[0].local_addr().unwrap();
        let mut fence = put_up(&ours);
        let shut: Vec<_> = clients(0, 10_000).map(|client| Change::Shut(client, LONG)).collect();
        assert_eq!(fence.apply(&shut).unwrap(), []);
        assert_eq!(fence.apply(&shut).unwrap(), []);
        let all = fence.dropped().unwrap().networks;
        assert_eq!(all.len(), 10_000);
        assert!(clients(0, 10_000).all(|client| all[&client] == 0));
        // 10,000 is 39 times 256 and 16.
        for shut in ["127.10.0.0", "127.10.20.7", "127.10.39.15"] {
            is_dropped(&mut *fence, shut, to);
        }
        passes("127.10.39.16", to);
        let open: Vec<_> = clients(0, 10_000).map(Change::Open).collect();
        assert_eq!(fence.apply(&open).unwrap(), []);
        assert_eq!(fence.dropped().unwrap().networks.len(), 0);
        passes("127.10.20.7", to);
    });
}

#[test]
fn of_too_many_clients_as_many_are_shut_as_there_is_room_for() {
    in_a_network_of_its_own(|| {
        let ours = [listener("127.0.0.1:0")];
        let to = ours[0].local_addr().unwrap();
        let mut fence = put_up(&ours);
        let shut: Vec<_> = clients(0, 65_600).map(|client| Change::Shut(client, LONG)).collect();
        let left_out = fence.apply(&shut).unwrap();
        assert_eq!(fence.dropped().unwrap().networks.len(), 65_536);
        // Those of the last transactions, in their order.
        assert_eq!(left_out, shut[65_536..]);
        is_dropped(&mut *fence, "127.10.0.0", to);
        passes("127.11.0.63", to);

        // A full set is a normal one for whoever is in it, and for those who are not and shall not be.
        let members: Vec<_> = clients(300, 300).collect();
        let anew: Vec<_> = members.iter().map(|client| Change::HalfOpen(*client, LONG)).collect();
        assert_eq!(fence.apply(&anew).unwrap(), []);
        assert!((10..50).contains(&trickle(50, "127.10.1.44", to)));
        let strangers: Vec<_> = clients(70_000, 20).map(Change::Open).collect();
        assert_eq!(fence.apply(&strangers).unwrap(), []);
        // The other families have sets of their own.
        assert_eq!(fence.apply(&[Change::Shut(network("2001:db8::/64"), LONG)]).unwrap(), []);

        // Who leaves makes room, whatever the order they are named in.
        let mut exchange: Vec<_> = clients(70_000, 20).map(|client| Change::Shut(client, LONG)).collect();
        exchange.extend(clients(0, 10).map(Change::Open));
        let left_out = fence.apply(&exchange).unwrap();
        assert_eq!(left_out.len(), 10);
        passes("127.10.0.0", to);
        assert_eq!(fence.dropped().unwrap().networks.len(), 65_537);
    });
}

#[test]
fn what_has_expired_makes_room() {
    in_a_network_of_its_own(|| {
        let mut fence = put_up(&[listener("127.0.0.1:0")]);
        let brief: Vec<_> = clients(0, 65_536).map(|client| Change::Shut(client, Duration::from_secs(1))).collect();
        assert_eq!(fence.apply(&brief).unwrap(), []);
        let next = Change::Shut(network("127.0.0.9/32"), LONG);
        eventually("there is room", || fence.apply(&[next]).unwrap().is_empty());
    });
}
