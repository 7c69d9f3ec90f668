//! Streams cut up at random, and what must be told of them.

use proptest::prelude::*;

use super::*;

/// What one side said, in the order in which it was told.
#[derive(Debug, Default)]
struct Told {
    bytes: Vec<Option<u8>>,
    finished: bool,
}

impl Listener for Told {
    type State = ();

    fn opened(&mut self, _: &Conversation, (): &mut ()) {}

    fn bytes(&mut self, _: &mut Conversation, (): &mut (), side: Side, _: Time, bytes: &[u8]) -> Interest {
        assert!(side == Side::Server && !self.finished);
        self.bytes.extend(bytes.iter().copied().map(Some));
        Interest::Listen
    }

    fn gap(&mut self, _: &mut Conversation, (): &mut (), _: Side, _: Time, missing: u64) -> Interest {
        assert!(missing > 0 && !self.finished);
        self.bytes.extend((0..missing).map(|_| None));
        Interest::Listen
    }

    fn finished(&mut self, _: &Conversation, (): &mut (), side: Side, _: Time) {
        self.finished |= side == Side::Server;
    }

    fn closed(&mut self, _: &Conversation, (): (), _: Time, _: End) {}
}

/// A piece of the stream on its way.
#[derive(Clone, Debug)]
struct Piece {
    from: usize,
    length: usize,
    /// Where it comes to lie among the others: its turn, and how much too early or too late it is.
    turn: usize,
    captured: bool,
}

const LENGTH: usize = 3000;

/// A stream in pieces that cover it, and some of it again; each may be some turns late, and some may be lost.
fn pieces(lost: f64) -> impl Strategy<Value = Vec<Piece>> {
    let cuts = proptest::collection::vec(
        (1_usize..200, 0_usize..6, 0_usize..40, proptest::bool::weighted(1.0 - lost)),
        20..60,
    );
    let again = proptest::collection::vec((0..LENGTH, 1_usize..300, 0_usize..70), 0..20);
    (cuts, again).prop_map(|(cuts, again)| {
        let (mut pieces, mut from) = (Vec::new(), 0);
        for (turn, (length, late, back, captured)) in cuts.into_iter().enumerate() {
            // Some reach back into the piece before.
            let back = if back < 10 { from.min(back) } else { 0 };
            pieces.push(Piece { from: from - back, length: length + back, turn: turn + late, captured });
            from += length;
        }
        for (from, length, turn) in again {
            pieces.push(Piece { from, length, turn, captured: true });
        }
        pieces.retain(|piece| piece.from < LENGTH);
        for piece in &mut pieces {
            piece.length = piece.length.min(LENGTH - piece.from);
        }
        pieces.sort_by_key(|piece| piece.turn);
        pieces
    })
}

/// A server that says `stream`: what is told of it, and the counters.
fn run(stream: &[u8], pieces: &[Piece], isn: u32, acknowledged: bool, limits: Limits) -> (Told, Counters) {
    let (mut streams, mut told) = (Streams::new(limits), Told::default());
    let (client, server) = ("10.0.0.9:40000".parse().expect("it"), "10.0.0.1:80".parse().expect("it"));
    let mut send = |up: bool, flags, sequence: usize, payload: &[u8]| {
        let number = isn.wrapping_add(u32::try_from(sequence).expect("a small number"));
        let segment = Segment {
            source: if up { client } else { server },
            destination: if up { server } else { client },
            sequence: if up { 7 } else { number },
            acknowledgement: if up { number } else { 7 },
            flags,
            payload,
            cut: 0,
        };
        streams.segment(&mut told, Time(0), &segment);
        assert!(streams.waiting() <= limits.side_bytes, "too much waits");
    };
    send(false, SYN | ACK, 0, b"");
    // What the client has received without a hole is what it acknowledges, whether that was captured or not.
    let mut received = vec![false; stream.len()];
    for piece in pieces {
        let range = piece.from..piece.from + piece.length;
        received[range.clone()].fill(true);
        if piece.captured {
            send(false, ACK, 1 + piece.from, &stream[range]);
        }
        if acknowledged {
            let whole = received.iter().position(|received| !received).unwrap_or(stream.len());
            send(true, ACK, 1 + whole, b"");
        }
    }
    send(false, ACK | FIN, 1 + stream.len(), b"");
    streams.finish(&mut told, Time(0));
    (told, *streams.counters())
}

proptest! {
    /// However the stream was cut, reordered, repeated and overlapped: it is told, and nothing else.
    #[test]
    fn what_was_said_is_told(
        stream in proptest::collection::vec(any::<u8>(), LENGTH),
        pieces in pieces(0.0),
        isn: u32,
        acknowledged: bool,
    ) {
        let end = pieces.iter().map(|piece| piece.from + piece.length).max().unwrap_or(0);
        let whole = pieces.iter().fold(vec![false; end], |mut seen, piece| {
            seen[piece.from..piece.from + piece.length].fill(true);
            seen
        });
        prop_assume!(whole.iter().all(|seen| *seen));
        let (told, counters) = run(&stream[..end], &pieces, isn, acknowledged, Limits::default());
        prop_assert!(told.finished);
        prop_assert_eq!(told.bytes, stream[..end].iter().copied().map(Some).collect::<Vec<_>>());
        prop_assert_eq!((counters.gaps, counters.strays), (0, 0));
    }

    /// Of a stream of which some was lost, and with little that may wait: what is told stands in its place, and everything that
    /// could be told is, unless it had to be given up.
    #[test]
    fn what_was_lost_is_a_gap(
        stream in proptest::collection::vec(any::<u8>(), LENGTH),
        pieces in pieces(0.2),
        isn: u32,
        acknowledged: bool,
        few: bool,
    ) {
        let limits = if few { Limits { pieces: 3, side_bytes: 600, ..Limits::default() } } else { Limits::default() };
        let (told, counters) = run(&stream, &pieces, isn, acknowledged, limits);
        prop_assert!(told.finished);
        prop_assert_eq!(told.bytes.len(), stream.len());
        for (told, said) in told.bytes.iter().zip(&stream) {
            prop_assert!(told.is_none_or(|told| told == *said));
        }
        let missing = told.bytes.iter().filter(|told| told.is_none()).count();
        prop_assert_eq!(counters.missing, u64::try_from(missing).expect("a small number"));
        if !few && !acknowledged {
            let mut captured = vec![false; LENGTH];
            for piece in pieces.iter().filter(|piece| piece.captured) {
                captured[piece.from..piece.from + piece.length].fill(true);
            }
            prop_assert_eq!(told.bytes.iter().map(Option::is_some).collect::<Vec<_>>(), captured);
        }
    }
}

/// A hundred thousand connections, half of which are never closed: neither the table nor what waits grows.
#[test]
fn many_conversations_need_little_memory() {
    let limits = Limits { conversations: 100, closed: 50, reset: 10, bytes: 5000, ..Limits::default() };
    let (mut streams, mut log) = (Streams::new(limits), Told::default());
    let server = "10.0.0.1:80".parse().expect("an address");
    let mut most = 0;
    for number in 0..100_000_u32 {
        let client = SocketAddr::from((number.to_be_bytes(), 1024));
        let mut send = |up, flags, sequence, payload: &[u8]| {
            let (source, destination) = if up { (client, server) } else { (server, client) };
            let segment = Segment { source, destination, sequence, acknowledgement: 1, flags, payload, cut: 0 };
            streams.segment(&mut log, Time(0), &segment);
            most = most.max(streams.waiting());
            assert!(streams.open() <= 100);
        };
        send(true, SYN, 0, b"");
        send(false, SYN | ACK, 0, b"");
        send(false, ACK, 5, &[1; 80]);
        if number % 2 == 0 {
            send(true, RST, 1, b"");
        }
        if number % 1000 == 0 {
            log.bytes.clear();
        }
    }
    assert!((4000..=5000).contains(&most), "{most} bytes wait at most");
    assert!(streams.memory() < 72 << 10, "{} bytes", streams.memory());
    let counters = streams.counters();
    assert_eq!((counters.conversations, counters.late), (100_000, 0));
    assert_eq!(counters.resets + counters.evicted + 100, 100_000);
    assert!(counters.resets > 49_000 && counters.forgotten > 49_000);
}

/// One byte behind a hole on each connection: no bytes to speak of, but a record of each.
#[test]
fn single_bytes_that_wait_count_with_what_they_take() {
    let limits = Limits { bytes: 1 << 20, ..Limits::default() };
    let (mut streams, mut log) = (Streams::new(limits), Told::default());
    let server = "10.0.0.1:80".parse().expect("an address");
    for number in 0..10_000_u32 {
        let client = SocketAddr::from((number.to_be_bytes(), 1024));
        let mut send = |source, destination, flags, sequence, payload: &[u8]| {
            let segment = Segment { source, destination, sequence, acknowledgement: 1, flags, payload, cut: 0 };
            streams.segment(&mut log, Time(0), &segment);
        };
        send(client, server, SYN, 0, b"");
        send(server, client, SYN | ACK, 0, b"");
        send(server, client, ACK, 5, b"x");
    }
    assert!(streams.waiting() <= 1 << 20);
    // A record each, its queue's four places, and a box around it.
    assert!(streams.counters().overruns >= 10_000 - (1 << 20) / 224, "{:?}", streams.counters());
}
