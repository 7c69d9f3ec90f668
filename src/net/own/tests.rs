use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Builder;
use tokio::sync::watch as channel;

use super::*;
use crate::toolkit::in_a_network_of_its_own;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn own() -> OwnAddresses {
    OwnAddresses::new(
        [
            (ip("10.115.5.2"), Some(Ipv4Addr::new(10, 115, 5, 255))),
            (ip("::ffff:10.115.5.3"), None),
            (ip("2001:db8::5"), None),
        ],
        ["Proxy.Example.NET.".to_owned()],
    )
}

#[test]
fn addresses_are_ours_in_every_family_they_come_in() {
    let own = own();
    for ours in [
        "10.115.5.2",
        "::ffff:10.115.5.2",
        "10.115.5.3",
        "2001:db8::5",
        "127.0.0.1",
        "127.255.255.255",
        "::ffff:127.9.9.9",
        "::1",
        "0.0.0.0",
        "::ffff:0.0.0.0",
        "::",
    ] {
        assert!(own.owns(ip(ours)), "{ours}");
    }
    for other in ["10.115.5.4", "10.115.5.255", "128.0.0.1", "0.0.0.1", "1.0.0.0", "::2", "2001:db8::6"] {
        assert!(!own.owns(ip(other)), "{other}");
    }
    assert_eq!(own.addresses().count(), 3);
}

#[test]
fn a_broadcast_is_that_of_one_of_our_networks_or_of_all() {
    let own = own();
    assert!(own.is_broadcast(Ipv4Addr::new(10, 115, 5, 255)));
    assert!(own.is_broadcast(Ipv4Addr::BROADCAST));
    assert!(!own.is_broadcast(Ipv4Addr::new(10, 115, 6, 255)));

    let broadcast = |text: &str| directed_broadcast(text.parse().unwrap());
    assert_eq!(broadcast("10.115.5.2/24"), Some(Ipv4Addr::new(10, 115, 5, 255)));
    assert_eq!(broadcast("10.115.5.2/30"), Some(Ipv4Addr::new(10, 115, 5, 3)));
    assert_eq!(broadcast("10.115.5.2/31"), None);
    assert_eq!(broadcast("10.115.5.2/32"), None);
    // pnet's word for "no mask"
    assert_eq!(broadcast("10.115.5.2/0"), None);
    assert_eq!(broadcast("2001:db8::5/64"), None);
}

#[test]
fn names_are_ours_whole_and_exact() {
    let own = own();
    for ours in [
        "proxy.example.net",
        "localhost",
        "a.b.localhost",
        "localhost.localdomain",
        "localhost4",
        "localhost6",
        "ip6-localhost",
        "ip6-loopback",
    ] {
        assert!(own.names(ours), "{ours}");
    }
    for other in ["example.net", "www.proxy.example.net", "notlocalhost", "localhost.example.net", ""] {
        assert!(!own.names(other), "{other}");
    }
}

#[test]
fn this_machine_has_a_list() {
    let own = OwnAddresses::read().unwrap();
    let host = rustix::system::uname();
    let host = host.nodename().to_str().unwrap().to_lowercase();
    assert!(own.names(&host), "{host} in {own:?}");
    // Only an address of this machine can be bound: the list and the kernel agree.
    for address in own.addresses().filter(IpAddr::is_ipv4) {
        std::net::UdpSocket::bind((address, 0)).unwrap_or_else(|error| panic!("{address}: {error}"));
    }
}

#[test]
fn a_change_is_seen_live() {
    in_a_network_of_its_own(|| Builder::new_current_thread().enable_all().build().unwrap().block_on(changes()));
}

async fn changes() {
    let current = Arc::new(ArcSwap::from_pointee(OwnAddresses::read().unwrap()));
    let (seen, mut latest) = channel::channel(OwnAddresses::clone(&current.load()));
    let watching = tokio::spawn(watch(Arc::clone(&current), move |own| {
        seen.send_replace(own.clone());
    }));
    let [v4, v6] = [ip("198.18.77.1"), ip("2001:db8:77::1")];
    let broadcast = Ipv4Addr::new(198, 18, 77, 255);

    ip_command(&["addr", "add", "198.18.77.1/24", "dev", "lo"]);
    let own = latest.wait_for(|own| own.owns(v4)).await.unwrap().clone();
    assert!(own.is_broadcast(broadcast));
    assert!(!own.owns(v6));
    assert!(current.load().owns(v4), "published before `changed` was called");

    ip_command(&["addr", "add", "2001:db8:77::1/128", "dev", "lo"]);
    latest.wait_for(|own| own.owns(v6)).await.unwrap();

    // A whole network, though no interface shows it, and whatever the source that its route names.
    ip_command(&["route", "add", "local", "198.18.5.0/24", "dev", "lo"]);
    latest.wait_for(|own| own.owns(ip("198.18.5.7"))).await.unwrap();
    ip_command(&["route", "add", "local", "198.18.6.0/24", "dev", "lo", "src", "198.18.77.1"]);
    latest.wait_for(|own| own.owns(ip("198.18.6.7"))).await.unwrap();
    ip_command(&["-6", "route", "add", "local", "2001:db8:5::/48", "dev", "lo"]);
    latest.wait_for(|own| own.owns(ip("2001:db8:5::7"))).await.unwrap();
    // What policy routing does with marked packets, as transparent proxies have it, says nothing about ours.
    ip_command(&["route", "add", "local", "default", "dev", "lo", "table", "100"]);
    ip_command(&["route", "del", "local", "198.18.5.0/24", "dev", "lo"]);
    let own = latest.wait_for(|own| !own.owns(ip("198.18.5.7"))).await.unwrap().clone();
    assert!(own.owns(ip("198.18.6.7")) && !own.owns(ip("192.0.32.8")));

    ip_command(&["addr", "del", "198.18.77.1/24", "dev", "lo"]);
    let own = latest.wait_for(|own| !own.owns(v4)).await.unwrap().clone();
    assert!(!own.is_broadcast(broadcast));

    // While this thread waits for ip(8) nobody reads the socket, whose buffer holds some three hundred notices.
    let many: Vec<_> = (0..2000u32).map(|n| Ipv4Addr::from_bits(Ipv4Addr::new(198, 19, 0, 1).to_bits() + n)).collect();
    ip_batch(&many);
    let last = IpAddr::V4(*many.last().unwrap());
    latest.wait_for(|own| own.owns(last)).await.unwrap();
    assert!(many.iter().all(|address| current.load().owns(IpAddr::V4(*address))));

    // And it still listens after the overrun.
    ip_command(&["addr", "add", "198.18.77.2/32", "dev", "lo"]);
    latest.wait_for(|own| own.owns(ip("198.18.77.2"))).await.unwrap();
    assert!(!watching.is_finished());

    // Routers, one by one and several of one route.
    ip_command(&["route", "add", "198.18.8.0/24", "via", "198.18.99.1", "dev", "lo", "onlink"]);
    ip_command(&["link", "add", "out", "type", "veth", "peer", "name", "there"]);
    ip_command(&["link", "set", "out", "up"]);
    ip_command(&["-6", "route", "add", "2001:db8:8::/48", "via", "fe80::9", "dev", "out"]);
    let several = "route add 198.18.9.0/24 nexthop via 198.18.99.2 dev lo onlink nexthop via 198.18.99.3 dev lo onlink";
    ip_command(&several.split(' ').collect::<Vec<_>>());
    let expected = ["198.18.99.1", "198.18.99.2", "198.18.99.3", "fe80::9"].map(ip);
    assert_eq!(routers().unwrap(), expected);

    // Without a descriptor there is no list: an error, not an empty list.
    let limit = getrlimit(Resource::Nofile);
    let none = Rlimit { current: Some(0), ..limit };
    setrlimit(Resource::Nofile, none).unwrap();
    let read = OwnAddresses::read();
    setrlimit(Resource::Nofile, limit).unwrap();
    assert!(read.is_err(), "{read:?}");
}

fn ip_command(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn ip_batch(addresses: &[Ipv4Addr]) {
    use std::io::Write;

    let mut commands = tempfile::NamedTempFile::new().unwrap();
    for address in addresses {
        writeln!(commands, "addr add {address}/32 dev lo").unwrap();
    }
    commands.flush().unwrap();
    ip_command(&["-batch", commands.path().to_str().unwrap()]);
}
