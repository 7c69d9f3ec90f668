//! What holds no TCP: named, counted, bounded.

use super::*;

#[test]
fn everything_else_is_counted_by_its_name() {
    let gre_routing = ipv4(47, &[0x40, 0, 8, 0, 0, 0, 0, 0]);
    let air = |kind: u8, flags: u8| cat(&[&[kind, flags], &[0; 30]]);
    for (name, link, bytes) in [
        ("UDP", 101, ipv4(17, &udp(53, b"question"))),
        // A port alone makes no tunnel.
        ("UDP", 101, ipv4(17, &udp(4789, b"\0\0\0\0\0\0\0\0"))),
        ("UDP", 101, ipv4(17, &udp(2152, &[0x32, 1, 0, 4, 0, 0, 0, 0]))),
        ("ICMP", 101, ipv4(1, &[8, 0, 0, 0])),
        ("ICMPv6", 101, ipv6(58, &[128, 0, 0, 0])),
        ("ESP", 101, ipv6(50, &[0; 16])),
        ("SCTP", 101, ipv4(132, &[0; 16])),
        ("IP protocol 89", 101, ipv4(89, &[0; 16])),
        ("IP protocol 59", 101, ipv6(59, &[])),
        // IPv4 has no extension headers.
        ("IP protocol 0", 101, ipv4(0, &[6, 0, 1, 4, 0, 0, 0, 0])),
        ("IP protocol 44", 101, ipv4(44, &[6, 0, 0, 0, 0, 0, 0, 1])),
        ("IP protocol 47", 101, gre_routing),
        ("ARP", 1, ethernet(0x806, &[0; 28])),
        ("LLDP", 1, ethernet(0x88cc, &[0; 28])),
        ("PPPoE discovery", 1, ethernet(0x8863, &[0; 28])),
        ("ethertype 0x888e", 1, ethernet(0x888e, &[0; 28])),
        ("ethertype 0x0001", 113, [[0; 15].as_slice(), &[1]].concat()),
        ("LLC 0x42", 1, ethernet(38, &[0x42; 38])),
        ("LLC 0xaa", 1, ethernet(38, &cat(&[&[0xaa, 0xaa, 3, 0, 0, 0x0c, 0x20, 0], &[0; 30]]))),
        ("PPP 0xc021", 9, vec![0xff, 3, 0xc0, 0x21, 1, 1, 0, 4]),
        ("address family 7", 0, vec![7, 0, 0, 0, 1]),
        ("802.11 frame 0x80", 105, air(0x80, 0)),
        ("802.11 frame 0xc8", 105, air(0xc8, 1)),
        ("802.11 encrypted", 105, air(0x88, 0x41)),
        ("link type 147", 147, vec![1, 2, 3]),
    ] {
        let counters = refused(&frame(link, &bytes));
        let kinds: Vec<_> = counters.kinds().iter().map(|(kind, count)| (kind.to_string(), *count)).collect();
        assert_eq!(kinds, [(name.to_owned(), 1)]);
    }
}

#[test]
fn contradictions_are_malformed() {
    let changed = |mut packet: Vec<u8>, at: usize, to: u8| {
        packet[at] = to;
        packet
    };
    let packet = || ipv4(6, &tcp());
    for (name, link, bytes) in [
        ("version", 228, changed(packet(), 0, 0x55)),
        ("version of IPv6", 229, changed(ipv6(6, &tcp()), 0, 0x40)),
        ("no version of IP", 101, changed(packet(), 0, 0x55)),
        ("header length", 101, changed(packet(), 0, 0x44)),
        ("total length within the header", 101, changed(packet(), 3, 19)),
        ("data offset", 101, changed(packet(), 32, 0x40)),
        ("data offset beyond the segment", 101, changed(packet(), 32, 0x70)),
        ("extension beyond the packet", 101, ipv6(0, &[6, 200, 0, 0, 0, 0, 0, 0])),
        ("PPPoE code", 51, vec![0x11, 9, 0, 1, 0, 2, 0, 0x21]),
        ("attribute shorter than itself", 239, vec![2, 0, 0, 0, 3, 0, 1, 0]),
        (
            "extension of GTP-U of no length",
            101,
            ipv4(17, &udp(2152, &[0x34, 0xff, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0x85, 0])),
        ),
    ] {
        assert_eq!(refused(&frame(link, &bytes)).malformed, 1, "{name}");
    }
}

#[test]
fn a_russian_doll_is_opened_only_so_far() {
    let mut packet = tcp();
    for _ in 0..MAX_HEADERS - 2 {
        packet = ipv4(if packet.len() == tcp().len() { 6 } else { 4 }, &packet);
    }
    assert!(Decoder::new().segment(&frame(228, &packet)).is_some());
    for _ in 0..2 {
        packet = ipv4(4, &packet);
    }
    assert_eq!(refused(&frame(228, &packet)).too_deep, 1);
    let tags = cat(&[&[2; 12], &[0x81, 0, 0, 1].repeat(10_000)]);
    assert_eq!(refused(&frame(1, &tags)).too_deep, 1);
    let attributes = cat(&[&[2, 0, 0, 0], &[4, 0, 1, 0].repeat(10_000)]);
    assert_eq!(refused(&frame(239, &attributes)).too_deep, 1);
}

#[test]
fn kinds_are_bounded_and_the_most_frequent_comes_first() {
    let mut decoder = Decoder::new();
    for ethertype in 0x9300..0x9500 {
        decoder.segment(&frame(1, &ethernet(ethertype, &[])));
    }
    decoder.segment(&frame(1, &ethernet(0x9342, &[])));
    let counters = decoder.counters();
    assert_eq!((counters.kinds().len(), counters.other_kinds), (256, 256));
    assert_eq!(counters.kinds()[..2], [(Kind::EtherType(0x9342), 2), (Kind::EtherType(0x9300), 1)]);
    assert_eq!(counters.of_kind(Kind::EtherType(0x9401)), 0);
    assert_counted_once(counters);
}

#[test]
fn headers_of_both_versions_are_counted_in_tunnels_too() {
    let mut decoder = Decoder::new();
    decoder.segment(&frame(101, &ipv4(41, &ipv6(4, &ipv4(17, &udp(53, b"question"))))));
    assert_eq!((decoder.counters().ipv4, decoder.counters().ipv6), (2, 1));
}
