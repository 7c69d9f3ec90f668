//! Every way from a link type to TCP.

use super::*;

/// A link type, a frame of it, and what it is.
pub(super) type Stack = (&'static str, u16, Vec<u8>);

pub(super) fn all() -> Vec<Stack> {
    [links(), cooked(), ppp(), wlan(), ip(), gre(), over_udp(), mpls()].concat()
}

fn v4() -> Vec<u8> {
    ipv4(6, &tcp())
}

fn v6() -> Vec<u8> {
    ipv6(6, &tcp())
}

fn links() -> Vec<Stack> {
    let tagged = cat(&[&[0, 7], &[8, 0], &v4()]);
    let twice = cat(&[&[0, 9, 0x81, 0], &tagged]);
    let length = u16::try_from(snap(0x800, &v4()).len()).unwrap();
    vec![
        ("Ethernet", 1, ethernet(0x800, &v4())),
        ("Ethernet, IPv6", 1, ethernet(0x86dd, &v6())),
        ("VLAN", 1, ethernet(0x8100, &tagged)),
        ("802.1ad", 1, ethernet(0x88a8, &twice)),
        ("QinQ", 1, ethernet(0x9100, &cat(&[&[0, 3, 0x88, 0xa8], &twice]))),
        ("old QinQ", 1, ethernet(0x9200, &twice)),
        ("802.3, SNAP", 1, ethernet(length, &snap(0x800, &v4()))),
        ("802.3, SNAP of a bridge", 1, ethernet(length, &cat(&[&[0xaa, 0xaa, 3, 0, 0, 0xf8, 8, 0], &v4()]))),
        ("802.3 in a VLAN", 1, ethernet(0x8100, &cat(&[&[0, 7], &length.to_be_bytes(), &snap(0x800, &v4())]))),
        ("raw, IPv4", 101, v4()),
        ("raw, IPv6", 101, v6()),
        ("raw, as OpenBSD numbers it", 14, v4()),
        ("raw, as others do", 12, v6()),
        ("IPv4", 228, v4()),
        ("IPv6", 229, v6()),
        ("null, little endian", 0, cat(&[&[2, 0, 0, 0], &v4()])),
        ("null, big endian", 0, cat(&[&[0, 0, 0, 2], &v4()])),
        ("null, macOS", 0, cat(&[&[30, 0, 0, 0], &v6()])),
        ("null, FreeBSD", 0, cat(&[&[0, 0, 0, 28], &v6()])),
        ("loop, OpenBSD", 108, cat(&[&[0, 0, 0, 24], &v6()])),
        ("Cisco HDLC", 104, cat(&[&[0x0f, 0, 8, 0], &v4()])),
    ]
}

fn cooked() -> Vec<Stack> {
    let attribute = |little: bool, kind: u16, payload: &[u8]| {
        let length = u16::try_from(4 + payload.len()).unwrap();
        let bytes = |number: u16| if little { number.to_le_bytes() } else { number.to_be_bytes() };
        let padding = vec![0; (4 - payload.len() % 4) % 4];
        cat(&[&bytes(length), &bytes(kind), payload, &padding])
    };
    let nflog = |little| {
        let prefix = attribute(little, 10, b"refused\0\0");
        let packet = attribute(little, 9, &v4());
        cat(&[&[2, 0, 0, 5], &attribute(little, 1, &[8, 0, 1, 0]), &prefix, &packet[..4 + v4().len()]])
    };
    vec![
        ("cooked", 113, cat(&[&[0; 14], &[8, 0], &v4()])),
        ("cooked, 802.2", 113, cat(&[&[0; 14], &[0, 4], &snap(0x86dd, &v6())])),
        ("cooked 2", 276, cat(&[&[0x86, 0xdd], &[0; 18], &v6()])),
        ("cooked 2, VLAN", 276, cat(&[&[0x81, 0], &[0; 18], &[0, 7, 8, 0], &v4()])),
        ("NFLOG, little endian", 239, nflog(true)),
        ("NFLOG, big endian", 239, nflog(false)),
    ]
}

fn ppp() -> Vec<Stack> {
    let session = |payload: &[u8]| {
        let length = u16::try_from(payload.len()).unwrap();
        cat(&[&[0x11, 0, 0, 1], &length.to_be_bytes(), payload])
    };
    vec![
        ("PPP", 9, cat(&[&[0xff, 3, 0, 0x21], &v4()])),
        ("PPP, IPv6", 9, cat(&[&[0xff, 3, 0, 0x57], &v6()])),
        ("PPP without address", 9, cat(&[&[0, 0x21], &v4()])),
        ("PPP, short protocol", 50, cat(&[&[0x21], &v4()])),
        ("PPP, MPLS", 50, cat(&[&[0xff, 3, 2, 0x81, 0, 0, 1, 64], &v4()])),
        ("Cisco HDLC on a PPP link", 50, cat(&[&[0x8f, 0, 8, 0], &v4()])),
        ("PPPoE", 51, session(&cat(&[&[0, 0x21], &v4()]))),
        ("PPPoE over Ethernet", 1, ethernet(0x8864, &session(&cat(&[&[0, 0x57], &v6()])))),
    ]
}

fn wlan() -> Vec<Stack> {
    let air = |kind: u8, flags: u8, rest: usize| cat(&[&[kind, flags], &vec![0; rest], &snap(0x800, &v4())]);
    vec![
        ("802.11", 105, air(0x08, 1, 22)),
        ("802.11, QoS", 105, air(0x88, 2, 24)),
        ("802.11, QoS, padded", 105, air(0x88, 2, 26)),
        ("802.11, QoS and HT control", 105, air(0x88, 0x81, 28)),
        ("802.11, four addresses", 105, air(0x08, 3, 28)),
        ("radiotap", 127, cat(&[&[0, 0, 10, 0, 0, 0, 0, 0, 1, 2], &air(0x88, 2, 24)])),
    ]
}

fn ip() -> Vec<Stack> {
    let options = {
        let mut packet = ipv4(6, &cat(&[&[1; 8], &tcp()]));
        packet[0] = 0x47;
        packet
    };
    let offloaded = {
        let mut packet = v4();
        packet[2..4].fill(0);
        packet
    };
    let offloaded6 = {
        let mut packet = v6();
        packet[4..6].fill(0);
        packet
    };
    let authenticated = |next: u8, payload: &[u8]| cat(&[&[next, 4], &[0; 22], payload]);
    let extensions =
        [&[43_u8, 0, 1, 4, 0, 0, 0, 0][..], &[60, 1], &[0; 14], &[44, 0, 1, 4, 0, 0, 0, 0], &[6, 0, 0, 0, 0, 0, 0, 1]];
    vec![
        ("IPv4 options", 101, options),
        ("IPv4, segmentation offload", 101, offloaded),
        ("IPv6, segmentation offload", 101, offloaded6),
        ("IPv6 extension headers", 101, ipv6(0, &cat(&[&extensions.concat(), &tcp()]))),
        ("IPv4, authenticated", 101, ipv4(51, &authenticated(6, &tcp()))),
        ("IPv6, authenticated", 101, ipv6(51, &authenticated(6, &tcp()))),
        ("IPv4 in IPv4", 101, ipv4(4, &v4())),
        ("IPv6 in IPv4", 101, ipv4(41, &v6())),
        ("IPv4 in IPv6", 101, ipv6(4, &v4())),
        ("IPv6 in IPv6", 101, ipv6(60, &cat(&[&[41, 0, 1, 4, 0, 0, 0, 0], &v6()]))),
    ]
}

fn gre() -> Vec<Stack> {
    let gre = |flags: u8, more: u8, number: u16, rest: &[u8]| {
        ethernet(0x800, &ipv4(47, &cat(&[&[flags, more], &number.to_be_bytes(), rest])))
    };
    let bridged = ethernet(0x800, &v4());
    let option = [0; 4];
    vec![
        ("GRE", 1, gre(0, 0, 0x800, &v4())),
        ("GRE, IPv6", 1, gre(0, 0, 0x86dd, &v6())),
        ("GRE, checksum", 1, gre(0x80, 0, 0x800, &cat(&[&option, &v4()]))),
        ("GRE, key", 1, gre(0x20, 0, 0x800, &cat(&[&option, &v4()]))),
        ("GRE, sequence", 1, gre(0x10, 0, 0x800, &cat(&[&option, &v4()]))),
        ("GRE, all three", 1, gre(0xb0, 0, 0x800, &cat(&[&option, &option, &option, &v4()]))),
        ("GRE, Ethernet", 1, gre(0, 0, 0x6558, &bridged)),
        ("GRE, MPLS", 1, gre(0, 0, 0x8847, &cat(&[&[0, 0, 1, 64], &v4()]))),
        ("PPTP", 1, gre(0x30, 0x81, 0x880b, &cat(&[&option, &option, &option, &[0xff, 3, 0, 0x21], &v4()]))),
        ("ERSPAN I", 1, gre(0, 0, 0x88be, &bridged)),
        ("ERSPAN II", 1, gre(0x10, 0, 0x88be, &cat(&[&option, &[0x10, 0, 0, 0, 0, 0, 0, 0], &bridged]))),
        ("ERSPAN III", 1, gre(0x10, 0, 0x22eb, &cat(&[&option, &[0x20], &[0; 11], &bridged]))),
        ("ERSPAN III, longer", 1, gre(0x10, 0, 0x22eb, &cat(&[&option, &[0x20], &[0; 10], &[1], &[0; 8], &bridged]))),
        ("WCCP 1", 1, gre(0, 0, 0x883e, &v4())),
        ("WCCP 2", 1, gre(0, 0, 0x883e, &cat(&[&[0, 1, 2, 3], &v4()]))),
        ("Aruba", 1, gre(0, 0, 0x8200, &cat(&[&[0x08, 2], &[0; 22], &snap(0x800, &v4())]))),
    ]
}

fn over_udp() -> Vec<Stack> {
    let over = |port: u16, header: &[u8], inner: &[u8]| ethernet(0x800, &ipv4(17, &udp(port, &cat(&[header, inner]))));
    let gtp = |flags: u8, optional: &[u8]| {
        let length = u16::try_from(optional.len() + v4().len()).unwrap();
        over(2152, &cat(&[&[flags, 0xff], &length.to_be_bytes(), &[0, 0, 0, 1], optional]), &v4())
    };
    let bridged = ethernet(0x86dd, &v6());
    vec![
        ("VXLAN", 1, over(4789, &[8, 0, 0, 0, 0, 0, 1, 0], &bridged)),
        ("VXLAN on Linux's port", 1, over(8472, &[8, 0, 0, 0, 0, 0, 1, 0], &bridged)),
        ("Geneve", 1, over(6081, &[0, 0, 0x65, 0x58, 0, 0, 1, 0], &bridged)),
        ("Geneve, options", 1, over(6081, &[2, 0, 8, 0, 0, 0, 1, 0, 1, 1, 1, 0, 0, 0, 0, 0], &v4())),
        ("GTP-U", 1, gtp(0x30, &[])),
        ("GTP-U, sequence", 1, gtp(0x32, &[0, 1, 0, 0])),
        ("GTP-U, extensions", 1, gtp(0x34, &[0, 0, 0, 0x85, 1, 0, 0, 0xc0, 2, 0, 0, 0, 0, 0, 0, 0])),
    ]
}

fn mpls() -> Vec<Stack> {
    let label = |bottom: u8| [0, 1, bottom, 64];
    vec![
        ("MPLS", 1, ethernet(0x8847, &cat(&[&label(1), &v4()]))),
        ("MPLS, three labels", 1, ethernet(0x8848, &cat(&[&label(0), &label(0), &label(1), &v6()]))),
        (
            "MPLS, Ethernet of another address",
            1,
            ethernet(0x8847, &cat(&[&label(1), &[0x1a], &ethernet(0x800, &v4())[1..]])),
        ),
        ("MPLS, Ethernet", 1, ethernet(0x8847, &cat(&[&label(1), &ethernet(0x800, &v4())]))),
        ("MPLS, Ethernet, control word", 1, ethernet(0x8847, &cat(&[&label(1), &[0; 4], &ethernet(0x800, &v4())]))),
        ("MPLS in IP", 101, ipv4(137, &cat(&[&label(1), &v4()]))),
    ]
}
