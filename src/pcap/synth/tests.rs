use std::net::SocketAddr;

use clap::ValueEnum;
use pnet::packet::Packet as _;
use pnet::packet::ethernet::{EtherTypes, EthernetPacket};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv4::{self, Ipv4Packet};
use pnet::packet::ipv6::Ipv6Packet;
use pnet::packet::tcp::{self, TcpPacket};

use super::{Options, Scenario, write};

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
