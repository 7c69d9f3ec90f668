//! What was seen, and what was in the frames that gave no segment.

use std::fmt;

use ahash::AHashMap;
use pnet::packet::ethernet::{EtherType, EtherTypes};
use pnet::packet::ip::{IpNextHeaderProtocol, IpNextHeaderProtocols};

use super::Stop;

/// Kinds that are counted each for itself. A real network has a dozen.
const MAX_KINDS: usize = 256;

/// What was in a frame that is not TCP, by the number that the last header read gives for it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// An IP protocol.
    Protocol(u8),
    /// An ethertype.
    EtherType(u16),
    /// An IEEE 802.2 destination service access point.
    Llc(u8),
    /// A PPP protocol.
    Ppp(u16),
    /// The address family of a packet of a loopback interface.
    Family(u32),
    /// An IEEE 802.11 frame that is no data, by type and subtype as in its first byte.
    Wlan(u8),
    /// An encrypted IEEE 802.11 frame.
    EncryptedWlan,
    /// A link type of the file.
    Link(u16),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::Protocol(protocol) => match IpNextHeaderProtocol(protocol) {
                IpNextHeaderProtocols::Icmp => "ICMP",
                IpNextHeaderProtocols::Igmp => "IGMP",
                IpNextHeaderProtocols::Udp => "UDP",
                IpNextHeaderProtocols::Esp => "ESP",
                IpNextHeaderProtocols::Icmpv6 => "ICMPv6",
                IpNextHeaderProtocols::Sctp => "SCTP",
                _ => return write!(f, "IP protocol {protocol}"),
            },
            Self::EtherType(ethertype) => match EtherType(ethertype) {
                EtherTypes::Arp => "ARP",
                EtherTypes::Lldp => "LLDP",
                EtherTypes::PppoeDiscovery => "PPPoE discovery",
                _ => return write!(f, "ethertype 0x{ethertype:04x}"),
            },
            Self::Llc(sap) => return write!(f, "LLC 0x{sap:02x}"),
            Self::Ppp(protocol) => return write!(f, "PPP 0x{protocol:04x}"),
            Self::Family(family) => return write!(f, "address family {family}"),
            Self::Wlan(kind) => return write!(f, "802.11 frame 0x{kind:02x}"),
            Self::EncryptedWlan => "802.11 encrypted",
            Self::Link(link) => return write!(f, "link type {link}"),
        };
        f.write_str(name)
    }
}

/// Counts of a [`Decoder`](super::Decoder). Every frame is counted once among `segments`, `kinds`, `other_kinds`, `cut_headers`,
/// `malformed`, `too_deep` and those fragments that did not complete a datagram.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Frames that were given.
    pub frames: u64,
    /// Frames that gave a TCP segment.
    pub segments: u64,
    /// Segments of which some payload was not captured.
    pub cut_segments: u64,
    /// IPv4 headers, those inside tunnels and of fragments too.
    pub ipv4: u64,
    /// IPv6 headers likewise.
    pub ipv6: u64,
    /// Fragments that were kept.
    pub fragments: u64,
    /// Datagrams that these belonged to.
    pub datagrams: u64,
    /// Datagrams all of whose fragments were there. The others were too late, too many, or still wait.
    pub reassembled: u64,
    /// Frames that the snap length ends within a header; fragments that it cuts anywhere.
    pub cut_headers: u64,
    /// Frames whose headers contradict each other, or that are too short for one.
    pub malformed: u64,
    /// Frames with more headers one in another than anybody needs.
    pub too_deep: u64,
    /// Frames of kinds beyond the first [`MAX_KINDS`].
    pub other_kinds: u64,
    kinds: AHashMap<Kind, u64>,
}

impl Counters {
    /// What was in the frames without TCP: the most frequent first.
    pub fn kinds(&self) -> Vec<(Kind, u64)> {
        let mut kinds: Vec<_> = self.kinds.iter().map(|(&kind, &count)| (kind, count)).collect();
        kinds.sort_unstable_by_key(|&(kind, count)| (std::cmp::Reverse(count), kind));
        kinds
    }

    /// Frames that held this instead of TCP.
    pub fn of_kind(&self, kind: Kind) -> u64 {
        self.kinds.get(&kind).copied().unwrap_or_default()
    }

    /// Datagrams that lack a fragment.
    pub const fn incomplete(&self) -> u64 {
        self.datagrams.saturating_sub(self.reassembled)
    }

    /// A frame ended so.
    pub(super) fn stop(&mut self, stop: Stop) {
        match stop {
            Stop::Other(kind) => self.other(kind),
            Stop::Cut => self.cut_headers += 1,
            Stop::Malformed => self.malformed += 1,
            Stop::TooDeep | Stop::Datagram(_) => self.too_deep += 1,
            // Counted when it was kept.
            Stop::Fragment => {}
        }
    }

    fn other(&mut self, kind: Kind) {
        if let Some(count) = self.kinds.get_mut(&kind) {
            *count += 1;
        } else if self.kinds.len() < MAX_KINDS {
            self.kinds.insert(kind, 1);
        } else {
            self.other_kinds += 1;
        }
    }
}
