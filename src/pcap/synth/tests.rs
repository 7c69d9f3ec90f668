use std::net::SocketAddr;

use clap::ValueEnum;
use pnet::packet::Packet as _;
use pnet::packet::ethernet::{EtherTypes, EthernetPacket};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv4::{self, Ipv4Packet};
use pnet::packet::ipv6::Ipv6Packet;
use pnet::packet::tcp::{self, TcpPacket};
use proptest::prelude::*;

use super::cast::{NAT, PORTAL, PROXY, PROXY_V6};
use super::message::{Body, Filler, Message};
use super::{Options, Scenario, write};
use crate::pcap::analyze::findings::{Findings, Relation, Weight};
use crate::pcap::analyze::{self, analyze};

fn capture(scenario: Scenario, options: &Options) -> Vec<u8> {
    let mut file = Vec::new();
    let written = write(scenario, options, &mut file).unwrap();
    assert_eq!(written.bytes, file.len() as u64);
    file
}

/// Time in microseconds, and bytes, of each record; the file must end with a whole one.
fn records(file: &[u8]) -> Vec<(u64, &[u8])> {
    let (header, mut rest) = file.split_at(24);
    assert_eq!(header[..4], 0xa1b2_c3d4_u32.to_le_bytes());
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (header, after) = rest.split_at(16);
        let [seconds, micros, captured, length] =
            [0, 4, 8, 12].map(|at| u32::from_le_bytes(header[at..at + 4].try_into().unwrap()));
        assert!(micros < 1_000_000);
        assert_eq!(captured, length);
        let (bytes, after) = after.split_at(captured as usize);
        records.push((u64::from(seconds) * 1_000_000 + u64::from(micros), bytes));
        rest = after;
    }
    records
}

/// A segment as another implementation reads it: source, destination, flags, payload. Its checksums are right.
fn segment(frame: &[u8]) -> (SocketAddr, SocketAddr, u8, Vec<u8>) {
    let ethernet = EthernetPacket::new(frame).unwrap();
    let (source, destination, payload, checksum): (_, _, _, fn(&TcpPacket<'_>, &[u8]) -> u16) =
        if ethernet.get_ethertype() == EtherTypes::Ipv4 {
            let ip = Ipv4Packet::new(ethernet.payload()).unwrap();
            assert_eq!(usize::from(ip.get_total_length()), ethernet.payload().len());
            assert_eq!(ip.get_checksum(), ipv4::checksum(&ip));
            assert_eq!(ip.get_next_level_protocol(), IpNextHeaderProtocols::Tcp);
            (ip.get_source().into(), ip.get_destination().into(), ip.payload().to_vec(), |tcp, frame| {
                let ip = Ipv4Packet::new(&frame[14..]).unwrap();
                tcp::ipv4_checksum(tcp, &ip.get_source(), &ip.get_destination())
            })
        } else {
            let ip = Ipv6Packet::new(ethernet.payload()).unwrap();
            assert_eq!(usize::from(ip.get_payload_length()) + 40, ethernet.payload().len());
            assert_eq!(ip.get_next_header(), IpNextHeaderProtocols::Tcp);
            (ip.get_source().into(), ip.get_destination().into(), ip.payload().to_vec(), |tcp, frame| {
                let ip = Ipv6Packet::new(&frame[14..]).unwrap();
                tcp::ipv6_checksum(tcp, &ip.get_source(), &ip.get_destination())
            })
        };
    let tcp = TcpPacket::new(&payload).unwrap();
    assert_eq!(tcp.get_checksum(), checksum(&tcp, frame));
    let (from, to) = (SocketAddr::new(source, tcp.get_source()), SocketAddr::new(destination, tcp.get_destination()));
    (from, to, tcp.get_flags(), tcp.payload().to_vec())
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_gives_others() {
    for scenario in Scenario::value_variants() {
        let seeded = |seed| capture(*scenario, &Options { seed, ..Options::default() });
        assert!(seeded(1) == seeded(1), "{scenario:?}");
        assert!(seeded(1) != seeded(2), "{scenario:?}");
    }
}

#[test]
fn every_packet_is_whole_and_none_is_before_another() {
    for scenario in Scenario::value_variants() {
        let file = capture(*scenario, &Options::default());
        assert!(file.len() < 600_000, "{scenario:?}: {} bytes", file.len());
        let mut last = 0;
        for (time, frame) in records(&file) {
            assert!(time >= last, "{scenario:?}");
            last = time;
            segment(frame);
        }
    }
}

#[test]
fn a_size_is_reached_and_not_exceeded() {
    for scenario in Scenario::value_variants() {
        for size in [300_000, 3_000_000] {
            let file = capture(*scenario, &Options { size: Some(size), ..Options::default() });
            let bytes = file.len() as u64;
            assert!(bytes <= size && bytes >= size - size / 100, "{scenario:?}: {bytes} of {size}");
        }
    }
}

/// Times in microseconds of the SYNs to the proxy, and of those that a client sends elsewhere.
fn attempts(file: &[u8]) -> (Vec<u64>, Vec<u64>) {
    let opening = |(time, frame): (u64, &[u8])| {
        let (_, to, flags, _) = segment(frame);
        (flags == 2 && to != PORTAL).then_some((time, to))
    };
    let (to_proxy, others): (Vec<_>, Vec<_>) =
        records(file).into_iter().filter_map(opening).partition(|(_, to)| *to == PROXY);
    let times = |attempts: Vec<(u64, _)>| attempts.into_iter().map(|(time, _)| time).collect();
    (times(to_proxy), times(others))
}

/// The most that lie within a stretch of so many microseconds.
fn most_within(times: &[u64], stretch: u64) -> usize {
    let from = |begin: &u64| times.iter().filter(|time| (*begin..*begin + stretch).contains(time)).count();
    times.iter().map(from).max().unwrap_or(0)
}

#[test]
fn in_the_storm_every_attempt_is_a_404_that_the_gateway_gave_itself_and_more_than_ten_come_in_half_a_millisecond() {
    let file = capture(Scenario::SelfTargetStorm, &Options { clients: Some(1), ..Options::default() });
    let said: Vec<_> = records(&file).into_iter().map(|(_, frame)| segment(frame)).collect();
    let count = |to: SocketAddr, from: SocketAddr, begin: &str| {
        let heard = |(source, destination, _, payload): &&(SocketAddr, SocketAddr, u8, Vec<u8>)| {
            (*destination == to || *source == from) && payload.starts_with(begin.as_bytes())
        };
        said.iter().filter(heard).count()
    };
    let nowhere: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let (times, elsewhere) = attempts(&file);
    assert!(times.len() > 40 && elsewhere.is_empty());
    assert_eq!(count(PROXY, nowhere, "GET http://10.115.5.2/"), times.len());
    assert_eq!(count(PORTAL, nowhere, "GET /"), times.len());
    assert_eq!(count(nowhere, PORTAL, "HTTP/1.1 404"), times.len());
    assert_eq!(count(nowhere, PROXY, "HTTP/1.1 404"), times.len());
    // The first dozen come before any answer; what comes later is a retry.
    let retries = &times[12..];
    assert!(most_within(retries, 500) > 10, "{}", most_within(retries, 500));
}

#[test]
fn a_start_makes_35_connections_in_26_seconds_and_ten_in_its_first() {
    for seed in 0..20 {
        let (times, _) = attempts(&capture(Scenario::StartupBurst, &Options { seed, ..Options::default() }));
        assert_eq!(times.len(), 35);
        let span = times.last().unwrap() - times.first().unwrap();
        assert!((20_000_000..=26_000_000).contains(&span), "{span}");
        assert_eq!(most_within(&times, 1_000_000), 10);
    }
}

#[test]
fn what_a_server_says_reaches_the_client_byte_for_byte_but_for_the_head() {
    let file = capture(Scenario::BrowsingDay, &Options { clients: Some(4), seconds: Some(10), ..Options::default() });
    let bytes = |through_proxy: bool| {
        let of_server = |(_, frame): (u64, &[u8])| {
            let (from, to, _, payload) = segment(frame);
            let ours = [PROXY, PROXY_V6].contains(&from);
            let theirs = [80, 443].contains(&from.port()) && to.port() >= 49_152;
            if through_proxy { ours } else { theirs }.then_some(payload.len())
        };
        records(&file).into_iter().filter_map(of_server).sum::<usize>()
    };
    let (given, passed) = (bytes(false), bytes(true));
    assert!(given > 100_000);
    // The proxy adds its name to heads, and says that tunnels stand.
    assert!(passed > given && passed - given < given / 20, "{given} {passed}");
}

/// What the analysis makes of a scenario; it must have found every byte of it.
fn found(scenario: Scenario) -> Findings {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, capture(scenario, &Options::default())).unwrap();
    let findings = analyze(&[file.path().to_owned()], analyze::Options::default());
    let counters = &findings.counters;
    assert!(findings.files[0].problems.is_empty(), "{scenario:?}: {:?}", findings.files);
    assert_eq!(counters.packets, counters.segments, "{scenario:?}");
    // Only SYNs are ever repeated.
    let repeated = if scenario == Scenario::DeadDestination { 8 * 3 } else { 0 };
    assert_eq!((counters.retransmissions, counters.gaps, counters.cut), (repeated, 0, 0), "{scenario:?}");
    // The IPv6 side of the proxy comes after the busier one.
    assert_eq!(findings.proxies[0].endpoint, PROXY, "{scenario:?}");
    findings
}

#[test]
fn analysis_finds_the_storms_and_who_they_are() {
    let storms = [(Scenario::SelfTargetStorm, 3), (Scenario::MixedClient, 1), (Scenario::Nat50, 1)];
    for (scenario, clients) in storms {
        let findings = found(scenario);
        let proxy = &findings.proxies[0];
        assert_eq!(findings.verdicts[0].weight, Weight::Critical, "{scenario:?}");
        assert_eq!((proxy.self_target.len(), proxy.storms.len()), (clients, clients), "{scenario:?}");
        let named: u64 = proxy.self_target.iter().map(|one| one.count).sum();
        assert!(named > 40 && proxy.onward.to_itself == named, "{scenario:?}: {named}");
        assert!(proxy.storms.iter().all(|storm| storm.closed_loop == Some(true)), "{scenario:?}");
        let good = proxy.requests - named;
        assert_eq!(good > 0, scenario != Scenario::SelfTargetStorm, "{scenario:?}: {good}");
    }
    assert_eq!(found(Scenario::Nat50).proxies[0].self_target[0].client, NAT);
}

#[test]
fn analysis_finds_nothing_wrong_where_nothing_is() {
    for scenario in [Scenario::StartupBurst, Scenario::BrowsingDay] {
        let findings = found(scenario);
        assert_eq!(findings.verdicts[0].weight, Weight::Fine, "{scenario:?}: {:?}", findings.verdicts);
    }
}

#[test]
fn analysis_finds_what_else_is_wrong() {
    let slow = found(Scenario::SlowLoris);
    assert_eq!(slow.proxies[0].statuses, [(408, 32)]);
    let dead = found(Scenario::DeadDestination);
    let statuses: Vec<u16> = dead.proxies[0].statuses.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [502, 504]);
    let past = found(Scenario::Bypass);
    let proxy = &past.proxies[0];
    for relation in [Relation::Same, Relation::Sibling] {
        assert!(proxy.bypass.iter().any(|one| one.relation == relation), "{relation:?}");
    }
    assert_eq!(proxy.keep_alive_misuse.len(), 2);
    for findings in [slow, dead, past] {
        assert_eq!(findings.verdicts[0].weight, Weight::Warning, "{:?}", findings.verdicts);
    }
}

proptest! {
    #[test]
    fn however_a_message_is_cut_its_bytes_are_the_same(start in 0..1_u64 << 17, length in 6..70_000_u64, piece in 1..2_000_u16) {
        let filler = Filler::new(1);
        for message in [Message::tls(start, length), Message::with_body("head\r\n\r\n", Body::Noise, start, length)] {
            let (mut whole, mut pieces) = (Vec::new(), Vec::new());
            filler.append(&mut whole, &message, 0, message.len());
            (0..message.len()).step_by(piece.into()).for_each(|at| filler.append(&mut pieces, &message, at, piece.into()));
            prop_assert_eq!(whole.len() as u64, message.len());
            prop_assert!(whole == pieces);
        }
    }

    #[test]
    fn records_of_tls_fill_the_message(start in 0..1_u64 << 17, records in 0..4_u64, rest in 0..20_u64) {
        let mut bytes = Vec::new();
        let message = Message::tls(start, records * 16_384 + rest);
        Filler::new(1).append(&mut bytes, &message, 0, message.len());
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            prop_assert_eq!(&rest[..3], &[0x17, 3, 3]);
            let record = usize::from(u16::from_be_bytes([rest[3], rest[4]]));
            prop_assert!(record > 0);
            rest = &rest[5 + record..];
        }
    }
}
