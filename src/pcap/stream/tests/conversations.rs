//! Which segments are of one conversation, who opened it, and how it ends.

use super::*;

#[test]
fn a_request_and_its_answer() {
    let mut capture = Capture::new();
    capture.handshake().c(ACK, 1, 1, "GET").s(ACK, 1, 4, "200").c(ACK, 4, 4, "");
    assert_eq!(capture.heard(), "opened C'GET' S'200'");
    capture.s(FIN | ACK, 4, 4, "").c(FIN | ACK, 4, 5, "");
    assert_eq!(capture.heard(), "S. C.", "the last acknowledgement belongs to it");
    capture.s(ACK, 5, 5, "");
    assert_eq!(capture.heard(), "Finished(Server)");
    capture.s(ACK, 5, 5, "").c(RST, 5, 0, "");
    assert_eq!(capture.finish(), "");
    let expected = Counters { segments: 11, conversations: 1, finished: 1, late: 2, ..Counters::default() };
    assert_eq!(capture.counters(), expected);
}

#[test]
fn it_is_over_when_the_last_fin_is_acknowledged() {
    let mut capture = Capture::new();
    // An acknowledgement that is captured before its bytes is not one of the FIN behind them.
    capture
        .handshake()
        .s(ACK, 1, 4, "")
        .c(ACK, 1, 1, "GET")
        .c(FIN | ACK, 4, 1, "")
        .s(FIN | ACK, 1, 4, "")
        .c(ACK, 5, 2, "");
    assert_eq!(capture.heard(), "opened C'GET' C. S.");
    capture.s(ACK, 2, 5, "");
    assert_eq!(capture.heard(), "Finished(Client)");
}

#[test]
fn the_conversation_is_counted() {
    #[derive(Default)]
    struct Last(Option<Conversation>, Time);
    impl Listener for Last {
        type State = ();
        fn opened(&mut self, _: &Conversation, (): &mut ()) {}
        fn bytes(&mut self, _: &mut Conversation, (): &mut (), _: Side, _: Time, _: &[u8]) -> Interest {
            Interest::Listen
        }
        fn gap(&mut self, _: &mut Conversation, (): &mut (), _: Side, _: Time, _: u64) -> Interest {
            Interest::Listen
        }
        fn finished(&mut self, _: &Conversation, (): &mut (), _: Side, _: Time) {}
        fn closed(&mut self, conversation: &Conversation, (): (), at: Time, _: End) {
            (self.0, self.1) = (Some(*conversation), at);
        }
    }
    let (client, server) = ("[2001:db8::2]:9".parse().expect("it"), "[2001:db8::1]:80".parse().expect("it"));
    let (mut streams, mut last) = (Streams::new(Limits::default()), Last::default());
    let mut send = |at, up, flags, sequence, acknowledgement, payload: &[u8]| {
        let (source, destination) = if up { (client, server) } else { (server, client) };
        let segment = Segment { source, destination, sequence, acknowledgement, flags, payload, cut: 0 };
        streams.segment(&mut last, Time(at), &segment);
    };
    send(5, true, SYN, 1, 0, b"");
    send(6, false, SYN | ACK, 7, 2, b"");
    send(7, true, ACK | FIN, 2, 8, b"abc");
    send(7, true, ACK | FIN, 2, 8, b"abc");
    send(8, false, ACK | FIN, 8, 6, b"hello");
    send(9, true, ACK, 6, 14, b"");
    let conversation = last.0.expect("it was closed");
    assert_eq!((conversation.client, conversation.server), (client, server));
    assert_eq!((conversation.packets, conversation.bytes), ([4, 2], [3, 5]));
    assert_eq!((conversation.opened, last.1), (Time(5), Time(9)));
    assert!(conversation.accepted && !conversation.midstream);
}

#[test]
fn a_refused_connection() {
    let mut capture = Capture::new();
    capture.c(SYN, 0, 0, "");
    let (source, destination) = (capture.server, capture.client);
    let acknowledgement = capture.isn[0].wrapping_add(1);
    let refusal = Segment { source, destination, sequence: 0, acknowledgement, flags: RST | ACK, payload: b"", cut: 0 };
    capture.streams.segment(&mut capture.log, Time(0), &refusal);
    assert_eq!(capture.heard(), "opened ! Reset(Server)");
    // Some systems try again with the same number.
    capture.c(SYN, 0, 0, "");
    assert_eq!(capture.heard(), "1opened");
}

#[test]
fn ports_are_used_again() {
    let mut capture = Capture::new();
    capture.handshake().c(ACK, 1, 1, "a").c(ACK, 3, 1, "c");
    capture.isn = [90_000, 100];
    capture.handshake().c(ACK, 1, 1, "b");
    assert_eq!(capture.heard(), "opened C'a' C(1) C'c' Open 1opened 1C'b'");
    capture.c(FIN | ACK, 2, 1, "").c(SYN, 0, 0, "");
    assert_eq!(capture.heard(), "1C. 1Open 2opened", "the same number, but after a FIN");
    capture.s(RST | ACK, 0, 1, "").s(SYN | ACK, 0, 1, "").c(ACK, 1, 1, "late");
    assert_eq!(capture.heard(), "2! 2Reset(Server)");
    capture.isn = [200_000, 300_000];
    // The SYN was not captured.
    capture.s(SYN | ACK, 0, 1, "").c(ACK, 1, 1, "d");
    assert_eq!(capture.heard(), "3opened 3C'd'");
    capture.isn = [400_000, 500_000];
    capture.s(SYN | ACK, 0, 1, "").c(ACK, 1, 1, "e");
    assert_eq!(capture.finish(), "3Open 4opened 4C'e' 4Open");
    let counters = capture.counters();
    assert_eq!((counters.conversations, counters.reused_ports, counters.late, counters.midstream), (5, 4, 2, 0));
}

#[test]
fn a_capture_that_begins_in_the_middle() {
    let mut capture = Capture::new();
    capture.s(ACK, 101, 50, "abc").c(ACK, 50, 104, "GET").s(ACK, 104, 53, "200");
    assert_eq!(capture.heard(), "midstream S'abc' C'GET' S'200'", "the higher port is the client");
    capture.c(FIN | ACK, 53, 107, "").s(FIN | ACK, 107, 54, "").c(ACK, 54, 108, "");
    assert_eq!(capture.heard(), "C. S. Finished(Client)");
    assert_eq!(capture.counters().midstream, 1);
    // An idle one begins with probes, which say nothing about what comes next.
    let mut capture = Capture::new();
    capture.s(ACK, 100, 50, "").c(ACK, 50, 101, "").s(ACK, 101, 50, "a").c(RST, 50, 0, "");
    assert_eq!(capture.heard(), "midstream S'a' ! Reset(Client)");
}

#[test]
fn the_listener_knows_who_the_client_is() {
    let mut capture = Capture::new();
    mem::swap(&mut capture.client, &mut capture.server);
    capture.log.request = Some("GET");
    capture.c(ACK, 8, 9, "ET").c(ACK, 10, 9, "GET").s(ACK, 9, 12, "200").c(FIN | ACK, 13, 12, "");
    assert_eq!(capture.heard(), "midstream S'ET' C'GET' S'200' C.", "sides are told as they are");
    capture.s(ACK, 12, 14, "").s(FIN | ACK, 12, 14, "").c(ACK, 14, 13, "");
    assert_eq!(capture.heard(), "S. Finished(Client)");

    // What waited is told as what it is then.
    let mut capture = Capture::new();
    mem::swap(&mut capture.client, &mut capture.server);
    capture.log.request = Some("GET");
    capture.c(ACK, 1, 1, "a").c(ACK, 5, 1, " /").c(ACK, 2, 1, "GET").s(ACK, 1, 7, "200");
    assert_eq!(capture.finish(), "midstream S'a' C'GET' C' /' S'200' Open");

    // Where a SYN was seen there is no doubt.
    let mut capture = Capture::new();
    capture.log.request = Some("200");
    capture.handshake().s(ACK, 1, 1, "200").s(ACK, 4, 1, "x");
    assert_eq!(capture.heard(), "opened C'200' S'x'");
}

#[test]
fn the_order_of_the_sides_does_not_matter() {
    let mut capture = Capture::new();
    capture.s(SYN | ACK, 0, 1, "").c(SYN, 0, 0, "").s(ACK, 1, 4, "200").c(ACK, 1, 1, "GET");
    assert_eq!(capture.finish(), "opened S'200' C'GET' Open");
    // Even the bytes may come before the SYN.
    let mut capture = Capture::new();
    mem::swap(&mut capture.client, &mut capture.server);
    capture.c(ACK, 1, 1, "GET").c(SYN, 0, 0, "").s(SYN | ACK, 0, 1, "").c(ACK, 4, 1, "x");
    assert_eq!(capture.finish(), "midstream S'GET' C'x' Open");
    assert_eq!((capture.counters().midstream, capture.counters().strays), (0, 0));
}

#[test]
fn one_side_is_enough() {
    let mut capture = Capture::new();
    capture.s(SYN | ACK, 0, 1, "").s(ACK, 1, 4, "200").s(ACK, 6, 4, "body").s(FIN | ACK, 10, 5, "");
    assert_eq!(capture.finish(), "opened S'200' S(2) S'body' S. Open");
    let mut capture = Capture::new();
    capture.c(SYN, 0, 0, "").c(ACK, 1, 1, "GET").c(ACK, 4, 99, "").c(FIN | ACK, 4, 99, "");
    assert_eq!(capture.finish(), "opened C'GET' C. Open");
}

#[test]
fn a_full_table_evicts_the_silent() {
    let limits = Limits { conversations: 2, ..Limits::default() };
    let mut capture = Capture::with(limits);
    let port = |capture: &mut Capture, port| capture.client.set_port(port);
    capture.handshake();
    port(&mut capture, 2);
    capture.c(SYN, 0, 0, "");
    port(&mut capture, 3);
    capture.c(SYN, 0, 0, "");
    assert_eq!(capture.heard(), "opened 1opened 1Evicted 2opened", "a single SYN is worth less");
    port(&mut capture, 40_000);
    capture.c(ACK, 1, 1, "busy");
    port(&mut capture, 4);
    capture.c(SYN, 0, 0, "");
    assert_eq!(capture.heard(), "C'busy' 2Evicted 3opened");
    port(&mut capture, 5);
    capture.c(SYN, 0, 0, "");
    assert_eq!(capture.heard(), "Evicted 4opened", "it has been silent since");
    assert_eq!((capture.counters().evicted, capture.streams.open()), (3, 2));
    port(&mut capture, 40_000);
    capture.c(ACK, 5, 1, "again");
    assert_eq!(capture.heard(), "3Evicted 5midstream 5C'again'");
}

#[test]
fn the_first_closed_is_forgotten_first() {
    let mut capture = Capture::with(Limits { closed: 2, reset: 0, ..Limits::default() });
    for port in [1, 2, 3] {
        capture.client.set_port(port);
        capture.c(SYN, 0, 0, "").s(RST | ACK, 0, 1, "");
    }
    assert_eq!((capture.counters().forgotten, capture.counters().late), (1, 0));
    for port in [2, 3] {
        capture.client.set_port(port);
        capture.c(ACK, 1, 1, "");
    }
    assert_eq!((capture.counters().conversations, capture.counters().late), (3, 2));
    capture.client.set_port(1);
    capture.c(ACK, 1, 1, "");
    assert_eq!((capture.counters().conversations, capture.counters().midstream), (4, 1));
    // Used again, it is not forgotten in its former life's turn.
    capture.client.set_port(2);
    capture.c(SYN, 0, 0, "");
    for port in [4, 5, 6] {
        capture.client.set_port(port);
        capture.c(SYN, 0, 0, "").s(RST | ACK, 0, 1, "");
    }
    capture.client.set_port(2);
    capture.c(ACK, 1, 1, "here").s(RST | ACK, 0, 1, "").c(ACK, 1, 1, "");
    assert!(capture.heard().ends_with("4C'here' 4! 4Reset(Server)"));
    assert_eq!((capture.counters().forgotten, capture.counters().late), (4, 3));
}

#[test]
fn a_reset_is_not_believed_if_its_sender_goes_on() {
    let mut capture = Capture::with(Limits { reset: 1, ..Limits::default() });
    // An intruder answers first, with nothing that the client would accept.
    capture.c(SYN, 0, 0, "").s(RST | ACK, 0, 1, "").s(FIN | ACK, 900, 1, "").c(RST, 1, 0, "");
    capture.s(SYN | ACK, 0, 1, "").c(ACK, 1, 1, "GET").s(ACK, 1, 4, "200");
    assert_eq!(capture.heard(), "opened ! ! C'GET' S'200'");
    assert_eq!(capture.counters().strays, 1, "a FIN before the SYN");
    // What the other side still has under way says nothing.
    capture.c(RST, 4, 0, "").s(ACK, 4, 4, "more").c(RST, 4, 0, "");
    capture.client.set_port(2);
    capture.c(SYN, 0, 0, "");
    assert_eq!(capture.heard(), "! S'more' 1opened");
    capture.s(RST | ACK, 0, 1, "");
    assert_eq!(capture.heard(), "1! Reset(Client)", "one may wait, and it was the first");
    // Its ports are used again.
    capture.c(SYN, 0, 0, "");
    assert_eq!(capture.heard(), "1Reset(Server) 2opened");
    assert_eq!(capture.finish(), "2Open");
    assert_eq!((capture.counters().resets, capture.counters().late), (2, 0));
}

#[test]
fn a_client_does_not_answer_a_syn() {
    let mut capture = Capture::new();
    capture.handshake().c(SYN | ACK, 900, 900, "").c(ACK, 1, 1, "a");
    assert_eq!(capture.finish(), "opened C'a' Open");
    assert_eq!((capture.counters().strays, capture.counters().reused_ports), (1, 0));
}
