use std::net::{IpAddr, Ipv6Addr};

use proptest::prelude::*;

use super::Class::{Broadcast, LinkLocal, Loopback, Multicast, Private, Public, Reserved, Transition, Unspecified};
use super::{Class, class, embedded_v4};

/// First and last address of each block, and its neighbours.
#[rustfmt::skip]
const CLASSES: &[(&str, &[(&str, Class)])] = &[
    ("RFC 1122 section 3.2.1.3, this network", &[
        ("0.0.0.0", Unspecified), ("0.0.0.1", Reserved), ("0.255.255.255", Reserved), ("1.0.0.0", Public),
    ]),
    ("RFC 1918", &[
        ("9.255.255.255", Public), ("10.0.0.0", Private), ("10.255.255.255", Private), ("11.0.0.0", Public),
        ("172.15.255.255", Public), ("172.16.0.0", Private), ("172.31.255.255", Private), ("172.32.0.0", Public),
        ("192.167.255.255", Public), ("192.168.0.0", Private), ("192.168.255.255", Private), ("192.169.0.0", Public),
    ]),
    ("RFC 6598, shared address space", &[
        ("100.63.255.255", Public), ("100.64.0.0", Private), ("100.127.255.255", Private), ("100.128.0.0", Public),
    ]),
    ("RFC 1122 section 3.2.1.3, loopback", &[
        ("126.255.255.255", Public), ("127.0.0.0", Loopback), ("127.255.255.255", Loopback), ("128.0.0.0", Public),
    ]),
    ("RFC 3927", &[
        ("169.253.255.255", Public), ("169.254.0.0", LinkLocal), ("169.254.169.254", LinkLocal),
        ("169.254.255.255", LinkLocal), ("169.255.0.0", Public),
    ]),
    ("RFC 6890 section 2.2.2, protocol assignments", &[
        ("191.255.255.255", Public), ("192.0.0.0", Reserved), ("192.0.0.255", Reserved), ("192.0.1.0", Public),
    ]),
    ("RFC 5737", &[
        ("192.0.2.0", Reserved), ("192.0.2.255", Reserved), ("192.0.3.0", Public),
        ("198.51.99.255", Public), ("198.51.100.0", Reserved), ("198.51.100.255", Reserved), ("198.51.101.0", Public),
        ("203.0.112.255", Public), ("203.0.113.0", Reserved), ("203.0.113.255", Reserved), ("203.0.114.0", Public),
    ]),
    ("RFC 2544, on purpose", &[("198.18.0.0", Public), ("198.19.255.255", Public)]),
    ("RFC 5771", &[
        ("223.255.255.255", Public), ("224.0.0.0", Multicast), ("239.255.255.255", Multicast),
    ]),
    ("RFC 1112 section 4, RFC 919", &[
        ("240.0.0.0", Reserved), ("255.255.255.254", Reserved), ("255.255.255.255", Broadcast),
    ]),
    ("RFC 4291 sections 2.5.2, 2.5.3, 2.5.5", &[
        ("::", Unspecified), ("::1", Loopback), ("::2", Transition), ("::10.0.0.1", Transition),
        ("::ffff:ffff", Transition), ("::1:0:0", Public),
        ("::ffff:0.0.0.0", Unspecified), ("::ffff:127.0.0.1", Loopback), ("::ffff:10.0.0.1", Private),
        ("::ffff:8.8.8.8", Public), ("::ffff:255.255.255.255", Broadcast),
    ]),
    ("RFC 2765 section 2.1", &[
        ("::ffff:0:0:0", Transition), ("::ffff:0:8.8.8.8", Transition), ("::ffff:0:ffff:ffff", Transition),
        ("::fffe:0:8.8.8.8", Public),
    ]),
    ("RFC 6052 section 2.1, judged by what it embeds", &[
        ("64:ff9b::", Unspecified), ("64:ff9b::127.0.0.1", Loopback), ("64:ff9b::10.0.0.1", Private),
        ("64:ff9b::169.254.169.254", LinkLocal), ("64:ff9b::192.0.2.1", Reserved),
        ("64:ff9b::224.0.0.1", Multicast), ("64:ff9b::255.255.255.255", Broadcast), ("64:ff9b::8.8.8.8", Public),
        ("64:ff9b::1:808:808", Public),
    ]),
    ("RFC 8215", &[
        ("64:ff9b:0:ffff::", Public), ("64:ff9b:1::", Transition), ("64:ff9b:1:ffff::8.8.8.8", Transition),
        ("64:ff9b:2::", Public),
    ]),
    ("RFC 6666", &[
        ("100::", Reserved), ("100::ffff:ffff:ffff:ffff", Reserved), ("100:0:0:1::", Public),
    ]),
    ("RFC 4380", &[
        ("2001::", Transition), ("2001:0:4136:e378:8000:63bf:3fff:fdd2", Transition), ("2001:1::", Public),
    ]),
    ("RFC 3849, RFC 9637", &[
        ("2001:db7:ffff::", Public), ("2001:db8::", Reserved), ("2001:db8:ffff::1", Reserved), ("2001:db9::", Public),
        ("3ffe:ffff::", Public), ("3fff::", Reserved), ("3fff:fff:ffff::", Reserved), ("3fff:1000::", Public),
    ]),
    ("RFC 3056, judged by what it embeds", &[
        ("2002::", Unspecified), ("2002:7f00:1::1", Loopback), ("2002:a00:1::1", Private),
        ("2002:a9fe:a9fe::", LinkLocal), ("2002:808:808::1", Public), ("2003::", Public),
    ]),
    ("RFC 4193", &[
        ("fbff:ffff::", Public), ("fc00::", Private), ("fdff:ffff::", Private), ("fe00::", Public),
    ]),
    ("RFC 4291 sections 2.5.6, 2.7, RFC 3879", &[
        ("fe7f:ffff::", Public), ("fe80::1", LinkLocal), ("febf:ffff::", LinkLocal), ("fec0::", Private),
        ("feff:ffff::", Private), ("ff00::", Multicast), ("ff02::1", Multicast),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Multicast),
    ]),
    ("global unicast", &[("2606:4700::1111", Public), ("240e::1", Public)]),
];

#[test]
fn every_block_has_its_class() {
    for (source, addresses) in CLASSES {
        for (address, expected) in *addresses {
            let found = class(address.parse().unwrap());
            assert_eq!(found, *expected, "{address} ({source})");
        }
    }
}

#[test]
fn an_embedded_address_is_found() {
    for (outer, inner) in [
        ("::", None),
        ("::1", None),
        ("::2", Some("0.0.0.2")),
        ("::10.115.5.2", Some("10.115.5.2")),
        ("::ffff:10.115.5.2", Some("10.115.5.2")),
        ("::ffff:0:10.115.5.2", Some("10.115.5.2")),
        ("64:ff9b::10.115.5.2", Some("10.115.5.2")),
        // RFC 6052 section 2.4
        ("64:ff9b::192.0.2.33", Some("192.0.2.33")),
        ("64:ff9b:1::10.115.5.2", None),
        ("64:ff9b::1:a73:502", None),
        ("2002:a73:502::1", Some("10.115.5.2")),
        ("2002:a73:502:ffff:ffff:ffff:ffff:ffff", Some("10.115.5.2")),
        // The client is 192.0.2.45 behind the server 65.54.227.120.
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", Some("192.0.2.45")),
        ("2001:1:4136:e378:8000:63bf:3fff:fdd2", None),
        ("2001:db8::10.115.5.2", None),
        ("::1:0:a73:502", None),
    ] {
        let outer: Ipv6Addr = outer.parse().unwrap();
        let inner = inner.map(|inner| inner.parse().unwrap());
        assert_eq!(embedded_v4(outer), inner, "{outer}");
    }
}

#[test]
fn labels_are_words_of_their_own() {
    let all = [Public, Unspecified, Loopback, LinkLocal, Private, Multicast, Broadcast, Reserved, Transition];
    let mut labels = all.map(Class::label);
    labels.sort_unstable();
    assert!(labels.windows(2).all(|pair| pair[0] != pair[1]));
}

proptest! {
    /// std knows some of the blocks: two tables by different hands must agree.
    #[test]
    fn ipv4_agrees_with_std(bits: u32) {
        let ip = std::net::Ipv4Addr::from_bits(bits);
        let found = class(IpAddr::V4(ip));
        prop_assert_eq!(found == Loopback, ip.is_loopback());
        prop_assert_eq!(found == LinkLocal, ip.is_link_local());
        prop_assert_eq!(found == Multicast, ip.is_multicast());
        prop_assert_eq!(found == Broadcast, ip.is_broadcast());
        prop_assert!(!ip.is_private() || found == Private);
        prop_assert!(!ip.is_documentation() || found == Reserved);
        prop_assert_eq!(class(IpAddr::V6(ip.to_ipv6_mapped())), found);
    }

    #[test]
    fn ipv6_agrees_with_std(top in prop_oneof![Just(0u16), Just(0xfe80), Just(0xfc00), Just(0xff02), any::<u16>()], low: u128) {
        let ip = Ipv6Addr::from_bits((u128::from(top) << 112) | (low >> 16));
        if ip.to_ipv4_mapped().is_none() {
            let found = class(IpAddr::V6(ip));
            prop_assert_eq!(found == Multicast, ip.is_multicast() || embeds_class(ip, Multicast));
            prop_assert!(!ip.is_unique_local() || found == Private);
            prop_assert!(!ip.is_unicast_link_local() || found == LinkLocal);
        }
    }
}

fn embeds_class(ip: Ipv6Addr, wanted: Class) -> bool {
    let judged = matches!(ip.segments(), [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x2002, ..]);
    judged && embedded_v4(ip).is_some_and(|v4| class(IpAddr::V4(v4)) == wanted)
}
