//! Frames into TCP segments: link layers, tunnels, IP, fragments.
//!
//! Owns: every header before TCP's payload, and the fragments that wait for their rest. Called by: [`super::analyze`],
//! [`super::replay`]. Never: looks into a payload; fails on a packet, which is counted by what it is instead.

mod counters;
mod fragment;
mod ip;
mod link;
mod piece;
mod tcp;
#[cfg(test)]
mod tests;
mod tunnel;
mod wlan;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

pub use self::counters::{Counters, Kind};
use self::fragment::Fragments;
use self::piece::Piece;
use super::Time;
use super::read::Frame;

/// A TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'b> {
    /// Who sent it. An IPv4-mapped IPv6 address stays as it is.
    pub source: SocketAddr,
    /// To whom.
    pub destination: SocketAddr,
    /// The sequence number of its first byte (of the SYN, if it has one).
    pub sequence: u32,
    /// The acknowledgement number; meaningless without ACK.
    pub acknowledgement: u32,
    /// FIN 1, SYN 2, RST 4, PSH 8, ACK 16 (RFC 9293 section 3.1).
    pub flags: u8,
    /// What was captured of its payload.
    pub payload: &'b [u8],
    /// Bytes of the payload that were sent, but not captured (a snap length): at most what one packet of Linux can carry, 512 KiB.
    pub cut: u32,
}

/// FIN: the sender has nothing more to say.
pub const FIN: u8 = 1;
/// SYN: the first segment of a side.
pub const SYN: u8 = 2;
/// RST: the connection is no more.
pub const RST: u8 = 4;
/// ACK: the acknowledgement number counts.
pub const ACK: u8 = 16;

/// Headers in a frame (or in a datagram put together), tunnels, tags and extension headers and all: nobody sends us round for ever.
const MAX_HEADERS: usize = 32;

/// Datagrams put together for one frame: fragments in a tunnel whose packets are fragments too.
const MAX_DATAGRAMS: usize = 2;

/// Takes frames apart.
#[derive(Debug, Default)]
pub struct Decoder {
    counters: Counters,
    fragments: Fragments,
    /// The last datagrams that were put together: a segment may lie in one.
    datagrams: [Vec<u8>; MAX_DATAGRAMS],
}

impl Decoder {
    /// A decoder that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The TCP segment in a frame, the innermost if there are tunnels; none if it holds none or only a piece of one, which
    /// [`Self::counters`] tell. The last fragment of a segment gives the whole of it.
    pub fn segment<'a>(&'a mut self, frame: &Frame<'a>) -> Option<Segment<'a>> {
        let Self { counters, fragments, datagrams } = self;
        counters.frames += 1;
        let mut way = Way { counters, fragments, time: frame.time, ends: Ends::NOBODY };
        let mut piece = Piece::of_frame(frame);
        let mut end = link::first(frame.link).and_then(|next| way.follow(next, &mut piece));
        for datagram in datagrams {
            let Err(Stop::Datagram(next)) = end else { break };
            way.fragments.take(datagram);
            piece = Piece::whole(datagram);
            end = way.follow(next, &mut piece);
        }
        match end.and_then(|()| tcp::segment(way.ends, &piece)) {
            Ok(segment) => {
                counters.segments += 1;
                counters.cut_segments += u64::from(segment.cut > 0);
                Some(segment)
            }
            Err(stop) => {
                counters.stop(stop);
                None
            }
        }
    }

    /// What was seen so far.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// Which header comes next.
#[derive(Clone, Copy, Debug)]
enum Next {
    Ethernet,
    Vlan,
    /// IEEE 802.2.
    Llc,
    Cooked,
    Cooked2,
    Null,
    Ppp,
    Pppoe,
    Hdlc,
    Nflog,
    Radiotap,
    Wlan,
    Mpls,
    /// The version is in its first four bits.
    Ip,
    Ipv4,
    Ipv6,
    /// A header that begins with what follows it and its length; the unit of that, in bytes.
    Extension(u8),
    FragmentHeader,
    /// The payload of IP.
    Udp,
    Tcp,
    Gre,
    Erspan3,
    Wccp,
    Vxlan,
    Geneve,
    Gtp,
    /// A GTP-U extension header.
    GtpExtension,
}

/// Source and destination of an IP packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ends {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

impl Ends {
    /// Before the first IP header.
    const NOBODY: Self = Self::V4(Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED);
}

/// Why there is no segment in a frame.
#[derive(Clone, Copy, Debug)]
enum Stop {
    /// It holds something else.
    Other(Kind),
    /// The snap length ends it within a header.
    Cut,
    /// Its headers contradict each other.
    Malformed,
    /// More than [`MAX_HEADERS`] or [`MAX_DATAGRAMS`].
    TooDeep,
    /// A fragment, kept until the others are there.
    Fragment,
    /// The last missing fragment: the datagram, which begins with this, waits for [`Fragments::take`].
    Datagram(Next),
}

/// A header was taken off; this one comes next.
type Step = Result<Next, Stop>;

/// The way through one frame.
struct Way<'d> {
    counters: &'d mut Counters,
    fragments: &'d mut Fragments,
    time: Time,
    /// Of the last IP header.
    ends: Ends,
}

impl Way<'_> {
    /// Takes headers off until TCP's is the next.
    fn follow(&mut self, mut next: Next, piece: &mut Piece<'_>) -> Result<(), Stop> {
        for _ in 0..MAX_HEADERS {
            next = match next {
                Next::Ethernet => link::ethernet(piece),
                Next::Vlan => link::vlan(piece),
                Next::Llc => link::llc(piece),
                Next::Cooked => link::cooked(piece),
                Next::Cooked2 => link::cooked2(piece),
                Next::Null => link::null(piece),
                Next::Ppp => link::ppp(piece),
                Next::Pppoe => link::pppoe(piece),
                Next::Hdlc => link::hdlc(piece),
                Next::Nflog => link::nflog(piece),
                Next::Radiotap => wlan::radiotap(piece),
                Next::Wlan => wlan::data(piece),
                Next::Mpls => tunnel::mpls(piece),
                Next::Ip => ip::version(piece),
                Next::Ipv4 => self.ipv4(piece),
                Next::Ipv6 => self.ipv6(piece),
                Next::Extension(unit) => self.extension(unit, piece),
                Next::FragmentHeader => self.fragment_header(piece),
                Next::Udp => tunnel::udp(piece),
                Next::Tcp => return Ok(()),
                Next::Gre => tunnel::gre(piece),
                Next::Erspan3 => tunnel::erspan3(piece),
                Next::Wccp => tunnel::wccp(piece),
                Next::Vxlan => tunnel::vxlan(piece),
                Next::Geneve => tunnel::geneve(piece),
                Next::Gtp => tunnel::gtp(piece),
                Next::GtpExtension => tunnel::gtp_extension(piece),
            }?;
        }
        Err(Stop::TooDeep)
    }
}
