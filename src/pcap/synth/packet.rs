//! A TCP segment as the bytes of an Ethernet frame.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use super::cast;
use super::message::{Filler, Message};
use crate::pcap::decode::SYN;

/// PSH: the sender has said all of it (RFC 9293 section 3.1).
pub(super) const PSH: u8 = 8;
/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
const IPV4_HEADER: u16 = 20;
const TCP_HEADER: u16 = 20;
/// Bytes of options in a SYN: maximum segment size, window scale, selective acknowledgements.
const SYN_OPTIONS: u16 = 12;
/// Shift of the window (RFC 7323 section 2), which a SYN's own window knows nothing of.
const WINDOW_SHIFT: u8 = 8;
const PROTOCOL_TCP: u8 = 6;

/// One segment, still without its bytes.
#[derive(Debug)]
pub(super) struct Packet {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub sequence: u32,
    pub acknowledgement: u32,
    pub flags: u8,
    /// The largest segment either side takes; told in a SYN.
    pub mss: u16,
    /// The payload: a message, the first byte of it, and how many.
    pub payload: Option<(Rc<Message>, u64, u16)>,
}

impl Packet {
    /// Bytes of the frame.
    pub(super) fn len(&self) -> u64 {
        let ip = if self.source.is_ipv4() { u64::from(IPV4_HEADER) } else { 40 };
        ETHERNET as u64 + ip + u64::from(self.tcp_length())
    }

    fn tcp_length(&self) -> u16 {
        let payload = self.payload.as_ref().map_or(0, |(_, _, length)| *length);
        let options = if self.flags & SYN == 0 { 0 } else { SYN_OPTIONS };
        TCP_HEADER.saturating_add(options).saturating_add(payload)
    }

    /// Makes the frame in `frame`. `id` is for IPv4's field of this name.
    pub(super) fn write(&self, frame: &mut Vec<u8>, filler: &Filler, id: u16) {
        frame.clear();
        let (source, destination) = (self.source.ip(), self.destination.ip());
        frame.extend(cast::mac(destination, source));
        frame.extend(cast::mac(source, destination));
        let length = self.tcp_length();
        let pseudo = pseudo_header(source, destination, length);
        if let (IpAddr::V4(from), IpAddr::V4(to)) = (source, destination) {
            ipv4_header(frame, from, to, length, id);
        } else {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(length.to_be_bytes());
            frame.extend([PROTOCOL_TCP, cast::ttl(source, destination)]);
            frame.extend(octets(source));
            frame.extend(octets(destination));
        }
        let start = frame.len();
        frame.extend(self.source.port().to_be_bytes());
        frame.extend(self.destination.port().to_be_bytes());
        frame.extend(self.sequence.to_be_bytes());
        frame.extend(self.acknowledgement.to_be_bytes());
        let syn = self.flags & SYN != 0;
        let (words, window) = if syn { (8, 64_240_u16) } else { (5, 1_026) };
        frame.extend([words << 4, self.flags]);
        frame.extend(window.to_be_bytes());
        frame.extend([0, 0, 0, 0]);
        if syn {
            let [high, low] = self.mss.to_be_bytes();
            frame.extend([2, 4, high, low, 1, 3, 3, WINDOW_SHIFT, 1, 1, 4, 2]);
        }
        if let Some((message, from, length)) = &self.payload {
            filler.append(frame, message, *from, u64::from(*length));
        }
        let checksum = !fold(add(pseudo, frame.get(start..).unwrap_or_default()));
        put(frame, start + 16, checksum);
    }
}

fn ipv4_header(frame: &mut Vec<u8>, source: Ipv4Addr, destination: Ipv4Addr, length: u16, id: u16) {
    frame.extend([0x08, 0x00]);
    let start = frame.len();
    frame.extend([0x45, 0]);
    frame.extend(length.saturating_add(IPV4_HEADER).to_be_bytes());
    frame.extend(id.to_be_bytes());
    // Do not fragment.
    frame.extend([0x40, 0, cast::ttl(source.into(), destination.into()), PROTOCOL_TCP, 0, 0]);
    frame.extend(source.octets());
    frame.extend(destination.octets());
    let checksum = !fold(add(0, frame.get(start..).unwrap_or_default()));
    put(frame, start + 10, checksum);
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// What TCP's checksum covers besides the segment (RFC 9293 section 3.1, RFC 8200 section 8.1).
fn pseudo_header(source: IpAddr, destination: IpAddr, length: u16) -> u64 {
    let addresses = match (source, destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => add(add(0, &from.octets()), &to.octets()),
        (_, _) => add(add(0, &octets(source)), &octets(destination)),
    };
    addresses + u64::from(PROTOCOL_TCP) + u64::from(length)
}

/// Adds 16-bit words to a sum (RFC 1071); an odd byte is the high one of a word.
fn add(sum: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let words: u64 = words.iter().map(|word| u64::from(u32::from_be_bytes(*word))).sum();
    let (pairs, odd) = rest.as_chunks::<2>();
    let pairs: u64 = pairs.iter().map(|pair| u64::from(u16::from_be_bytes(*pair))).sum();
    sum + words + pairs + odd.iter().map(|byte| u64::from(*byte) << 8).sum::<u64>()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    u16::try_from(sum).unwrap_or_default()
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}
