//! Whatever segments come: each conversation begins and ends once, its bytes and gaps add up, and nothing grows beyond its limit.
//!
//! An input is records of eight bytes, one for each segment:
//!
//! | Byte | Meaning |
//! |---|---|
//! | 0 | bit 0: the server sends; bits 1–2: the client's port; bit 3: IPv6; bits 4–5: which initial sequence numbers; bit 6: the listener ignores what it hears; bit 7: it swaps the sides |
//! | 1 | the flags |
//! | 2, 3 | the sequence number, from the initial one; if the highest bit is set, times 2^17 |
//! | 4, 5 | the acknowledgement number, likewise |
//! | 6 | length of the payload |
//! | 7 | bytes cut from it |
//!
//! Each byte of a payload is the lowest of its sequence number: so what is told shows its place.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use floodgate::pcap::Time;
use floodgate::pcap::decode::{SYN, Segment};
use floodgate::pcap::stream::{Conversation, End, Interest, Limits, Listener, Side, Streams};

const LIMITS: Limits = Limits { conversations: 3, closed: 2, reset: 1, pieces: 4, side_bytes: 1000, bytes: 2500 };

/// Feeds all records. True if bytes and a gap were told, and a conversation came to its end.
///
/// # Panics
/// Where it does not hold.
pub fn holds(input: &[u8]) -> bool {
    let (mut streams, mut judge) = (Streams::new(LIMITS), Judge::default());
    let (records, _) = input.as_chunks();
    for (time, record) in (0..).zip(records) {
        feed(&mut streams, &mut judge, Time(time), *record);
        assert!(streams.open() <= LIMITS.conversations, "too many are open");
        assert!(streams.waiting() <= LIMITS.bytes, "too much waits");
        assert!(streams.waiting() <= streams.open() * 2 * LIMITS.side_bytes, "too much of a side waits");
        assert_eq!(streams.open(), judge.open.len(), "open, but not told to be");
    }
    streams.finish(&mut judge, Time(u64::MAX));
    assert_eq!((streams.open(), streams.waiting(), judge.open.len()), (0, 0, 0), "something is left");
    let counters = streams.counters();
    assert_eq!(counters.segments, records.len() as u64);
    assert_eq!(counters.segments, judge.packets + counters.late, "a segment belongs to one conversation, or came late");
    assert_eq!(counters.conversations, judge.begun);
    assert_eq!([counters.finished, counters.resets, counters.evicted], [judge.finished, judge.reset, judge.evicted]);
    assert!(counters.midstream <= counters.conversations && counters.reused_ports <= counters.conversations);
    assert!(counters.overruns <= counters.gaps && counters.gaps <= counters.missing, "an empty gap");
    if !judge.ignored {
        assert_eq!(counters.missing + counters.cut, judge.gaps, "gaps");
        assert_eq!(judge.bytes, judge.told + counters.cut, "bytes");
    }
    judge.told > 0 && judge.gaps > 0 && judge.finished + judge.reset > 0
}

fn feed(streams: &mut Streams<Judge>, judge: &mut Judge, at: Time, record: [u8; 8]) {
    let [who, flags, s1, s2, a1, a2, length, cut] = record;
    let number = |isn: u32, high: u8, low: u8| {
        let wide = u32::from(high & 0x7f) << 8 | u32::from(low);
        isn.wrapping_add(if high & 0x80 == 0 { wide } else { wide << 17 })
    };
    let isn = [0, u32::MAX - 100, 1 << 31, 777][usize::from(who >> 4 & 3)];
    let mut ends = [(client(who), isn), (server(who), !isn)];
    if who & 1 != 0 {
        ends.reverse();
    }
    let [(source, own), (destination, other)] = ends;
    let sequence = number(own, s1, s2);
    let first = sequence.wrapping_add(u32::from(flags & SYN != 0)).to_le_bytes()[0];
    let payload: Vec<u8> = (0..length).map(|at| first.wrapping_add(at)).collect();
    let acknowledgement = number(other, a1, a2);
    (judge.ignores, judge.swaps) = (who & 0x40 != 0, who & 0x80 != 0);
    let segment =
        Segment { source, destination, sequence, acknowledgement, flags, payload: &payload, cut: u32::from(cut) };
    streams.segment(judge, at, &segment);
}

fn client(who: u8) -> SocketAddr {
    (address(who, 9), 79 + u16::from(who >> 1 & 3)).into()
}

/// Its port is that of one of the clients, and higher than that of another.
fn server(who: u8) -> SocketAddr {
    (address(who, 1), 80).into()
}

fn address(who: u8, host: u8) -> IpAddr {
    if who & 8 == 0 { [10, 0, 0, host].into() } else { Ipv6Addr::from_bits(u128::from(host)).into() }
}

/// What was told, held against what may be.
#[derive(Default)]
struct Judge {
    ignores: bool,
    swaps: bool,
    /// Numbers of the open conversations.
    open: BTreeSet<u64>,
    begun: u64,
    finished: u64,
    reset: u64,
    evicted: u64,
    /// Bytes that were told, that are missing, and that the conversations count.
    told: u64,
    gaps: u64,
    bytes: u64,
    packets: u64,
    /// Something was ignored, so that the sums are not known here.
    ignored: bool,
}

/// What was told of a conversation, by sender.
#[derive(Default)]
struct Told(Option<u64>, BTreeMap<SocketAddr, Place>);

#[derive(Default)]
struct Place {
    /// The lowest byte of the next sequence number.
    next: Option<u8>,
    ignored: bool,
    finished: bool,
}

impl Told {
    fn place(&mut self, conversation: &Conversation, side: Side) -> &mut Place {
        assert_eq!(self.0, Some(conversation.number), "the state is another's");
        let sender = *side.of(&[conversation.client, conversation.server]);
        let place = self.1.entry(sender).or_default();
        assert!(!place.finished, "a side goes on after its end");
        place
    }
}

impl Judge {
    fn interest(&mut self, conversation: &mut Conversation, place: &mut Place) -> Interest {
        assert!(!place.ignored, "what nobody wants is told");
        if self.swaps {
            conversation.swap_sides();
        }
        place.ignored = self.ignores;
        self.ignored |= self.ignores;
        if self.ignores { Interest::Ignore } else { Interest::Listen }
    }
}

impl Listener for Judge {
    type State = Told;

    fn opened(&mut self, conversation: &Conversation, state: &mut Told) {
        assert_eq!((conversation.number, state.0), (self.begun, None));
        assert_eq!(conversation.packets.iter().sum::<u64>(), 1);
        state.0 = Some(conversation.number);
        self.begun += 1;
        self.open.insert(conversation.number);
    }

    fn bytes(
        &mut self,
        conversation: &mut Conversation,
        state: &mut Told,
        side: Side,
        _: Time,
        bytes: &[u8],
    ) -> Interest {
        assert!(!bytes.is_empty(), "nothing is told");
        let place = state.place(conversation, side);
        for &byte in bytes {
            assert_eq!(*place.next.get_or_insert(byte), byte, "told in another's place");
            place.next = Some(byte.wrapping_add(1));
        }
        self.told += bytes.len() as u64;
        self.interest(conversation, place)
    }

    fn gap(
        &mut self,
        conversation: &mut Conversation,
        state: &mut Told,
        side: Side,
        _: Time,
        missing: u64,
    ) -> Interest {
        assert!(missing > 0, "a gap of nothing");
        let place = state.place(conversation, side);
        place.next = place.next.map(|next| next.wrapping_add(missing.to_le_bytes()[0]));
        self.gaps += missing;
        self.interest(conversation, place)
    }

    fn finished(&mut self, conversation: &Conversation, state: &mut Told, side: Side, _: Time) {
        state.place(conversation, side).finished = true;
    }

    fn closed(&mut self, conversation: &Conversation, state: Told, _: Time, end: End) {
        assert_eq!(state.0, Some(conversation.number), "the state is another's");
        assert!(self.open.remove(&conversation.number), "closed twice");
        self.packets += conversation.packets.iter().sum::<u64>();
        self.bytes += conversation.bytes.iter().sum::<u64>();
        match end {
            End::Finished(_) => self.finished += 1,
            End::Reset(_) => self.reset += 1,
            End::Evicted => self.evicted += 1,
            End::Open => {}
        }
        let finished = state.1.values().filter(|place| place.finished).count();
        assert!(!matches!(end, End::Finished(_)) || finished == 2, "finished, but not told so");
    }
}
