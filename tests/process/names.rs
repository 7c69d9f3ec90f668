//! Name servers that are not there: what names cost then, and that addresses need none.

use std::net::UdpSocket;

use crate::rig::{Floodgate, config, eventually, origin, raise_descriptor_limit, skipped, with_mounts};

/// Names asked for at once.
const NAMES: usize = 1000;
/// Look-ups the gateway has in flight at most.
const LOOKUPS: usize = 512;
/// Descriptors one of them may hold: two families, two servers, three sendings.
const EACH: usize = 12;

fn ended(floodgate: &Floodgate, outcome: &str) -> u64 {
    floodgate.metric(&format!("floodgate_outcomes_total{{scope=\"request\",outcome=\"{outcome}\"}}"))
}

#[test]
fn without_name_servers_names_fail_at_once_and_addresses_work() {
    let (origin, empty) = (origin("good"), tempfile::NamedTempFile::new().unwrap());
    let Some(command) = with_mounts("mount --bind \"$0\" /etc/resolv.conf", empty.path()) else {
        return skipped("nothing may be mounted over /etc/resolv.conf here");
    };
    let floodgate = Floodgate::with(&config(&[origin], ""), command);
    for method in ["GET http://", "CONNECT "] {
        for host in ["one.example", "two.example", "host.invalid"] {
            let mut client = floodgate.client();
            client.send(format!("{method}{host}:80 HTTP/1.1\r\nHost: {host}:80\r\n\r\n"));
            let answer = client.answer();
            assert!(
                answer.starts_with("HTTP/1.1 502 Bad Gateway\r\nProxy-Status: floodgate; error=dns_error\r\n"),
                "{answer}"
            );
            assert!(floodgate.get(origin, "/").ends_with("good"));
        }
    }
    eventually("all is booked", || floodgate.metric("floodgate_connections_open") == 0);
    assert_eq!((ended(&floodgate, "dns_failure"), ended(&floodgate, "forwarded")), (6, 6));
}

#[test]
fn a_thousand_names_at_once_with_a_silent_server_are_bounded_and_addresses_work() {
    // As many clients as this process may have beside the other tests.
    let names = NAMES.min(raise_descriptor_limit() / 4);
    let (origin, silent) = (origin("good"), UdpSocket::bind("127.0.0.1:0").unwrap());
    let floodgate = Floodgate::start(
        &[origin],
        &format!(
            // The box's bound, not the client's.
            "[clients]\nexempt = ['127.0.0.1']\n[upstream]\ndns-timeout = '3s'\ndns-servers = ['{}']",
            silent.local_addr().unwrap()
        ),
    );
    assert!(floodgate.get(origin, "/").ends_with("good"));
    eventually("its connection is over", || floodgate.metric("floodgate_connections_open") == 0);
    eventually("the first reading of everything", || floodgate.ask_admin("/metrics").contains("floodgate_kernel"));
    let before = floodgate.descriptors();
    let mut clients: Vec<_> = (0..names)
        .map(|number| {
            let mut client = floodgate.client();
            client.send(format!("GET http://n{number}.example/ HTTP/1.1\r\nHost: n{number}.example\r\n\r\n"));
            client
        })
        .collect();
    let mut good = 1;
    let mut most = 0;
    eventually("every name has its answer", || {
        most = floodgate.descriptors().max(most);
        assert!(floodgate.get(origin, "/").ends_with("good"));
        good += 1;
        ended(&floodgate, "overload") + ended(&floodgate, "dns_timeout") == names as u64
    });
    assert!(most <= before + names + LOOKUPS * EACH + 10, "{most} descriptors, {before} before");
    let refused = ended(&floodgate, "overload");
    assert!(refused > 0, "those beyond the bound are not kept waiting");
    let mut statuses = [0, 0];
    for client in &mut clients {
        match client.answer().split(' ').nth(1) {
            Some("503") => statuses[0] += 1,
            Some("504") => statuses[1] += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(statuses, [refused, names as u64 - refused]);
    drop(clients);
    eventually("its descriptors are as before", || floodgate.descriptors() <= before + 4);
    let mut client = floodgate.client();
    client.send("GET http://later.example/ HTTP/1.1\r\nHost: later.example\r\n\r\n");
    assert!(client.answer().starts_with("HTTP/1.1 504 "), "there is room for look-ups again");
    eventually("all is booked", || floodgate.metric("floodgate_requests_total") == good + names as u64 + 1);
    assert_eq!(floodgate.metric("floodgate_panics_total"), 0);
}
