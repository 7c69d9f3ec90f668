//! One side's bytes: what is told of them, and when.

use super::*;

#[test]
fn what_is_said_again_is_dropped() {
    let mut capture = Capture::new();
    capture.c(SYN, 0, 0, "").c(SYN, 0, 0, "").s(SYN | ACK, 0, 1, "").s(SYN | ACK, 0, 1, "");
    assert_eq!(capture.counters().retransmissions, 2, "SYNs");
    capture.c(ACK, 1, 1, "abcd").c(ACK, 1, 1, "xxxx").c(ACK, 2, 1, "xx");
    assert_eq!((capture.counters().retransmissions, capture.counters().overlaps), (4, 0));
    capture.c(ACK, 3, 1, "xxef").c(FIN | ACK, 7, 1, "").c(FIN | ACK, 7, 1, "");
    assert_eq!((capture.counters().retransmissions, capture.counters().overlaps), (5, 1));
    assert_eq!(capture.finish(), "opened C'abcd' C'ef' C. Open");
}

#[test]
fn what_comes_early_waits() {
    let mut capture = Capture::new();
    capture.handshake().c(ACK, 5, 1, "ef").c(ACK, 3, 1, "cd").c(FIN | ACK, 7, 1, "");
    assert_eq!(capture.heard(), "opened");
    assert!(capture.streams.waiting() > 4);
    capture.c(ACK, 1, 1, "ab");
    assert_eq!(capture.heard(), "C'ab' C'cd' C'ef' C.");
    assert_eq!(capture.streams.waiting(), 0);
    assert_eq!((capture.counters().out_of_order, capture.counters().gaps), (2, 0));
}

#[test]
fn of_bytes_that_differ_the_first_count() {
    let mut capture = Capture::new();
    capture.handshake().c(ACK, 3, 1, "CD").c(ACK, 7, 1, "GH").c(ACK, 2, 1, "bcdefghi");
    assert_eq!(capture.counters().overlaps, 1);
    capture.c(ACK, 7, 1, "xy");
    assert_eq!(capture.counters().retransmissions, 1);
    capture.c(ACK, 1, 1, "abcdefghij");
    assert_eq!(capture.finish(), "opened C'a' C'b' C'CD' C'ef' C'GH' C'i' C'j' Open");
}

#[test]
fn an_acknowledged_hole_is_a_gap() {
    let mut capture = Capture::new();
    capture.handshake().c(ACK, 4, 1, "def").c(ACK, 9, 1, "ij");
    capture.s(ACK, 1, 3, "");
    assert_eq!(capture.heard(), "opened", "the other side misses it too");
    capture.s(ACK, 1, 7, "200");
    assert_eq!(capture.heard(), "C(3) C'def' S'200'");
    capture.c(FIN | ACK, 12, 4, "").s(ACK, 4, 13, "");
    assert_eq!(capture.heard(), "C(2) C'ij' C(1) C.");
    assert_eq!((capture.counters().gaps, capture.counters().missing, capture.counters().overruns), (3, 6, 0));
    // The acknowledgement may come before what follows the hole.
    capture.s(ACK, 9, 13, "x");
    assert_eq!(capture.heard(), "");
    let mut capture = Capture::new();
    capture.handshake().s(ACK, 1, 7, "200").c(ACK, 7, 4, "abc");
    assert_eq!(capture.finish(), "opened S'200' C(6) C'abc' Open");
}

#[test]
fn the_end_gives_holes_up() {
    let mut capture = Capture::new();
    capture.handshake().c(ACK, 2, 1, "b").s(FIN | ACK, 3, 1, "");
    assert_eq!(capture.finish(), "opened C(1) C'b' S(2) S. Open");
    let mut capture = Capture::new();
    capture.handshake().c(ACK, 2, 1, "b").s(RST | ACK, 1, 1, "");
    assert_eq!(capture.heard(), "opened ! C(1) C'b' Reset(Server)");
    assert_eq!(capture.counters().resets, 1);
}

#[test]
fn too_much_that_waits_gives_holes_up() {
    let mut capture = Capture::with(Limits { pieces: 2, ..Limits::default() });
    capture.handshake().c(ACK, 3, 1, "c").c(ACK, 5, 1, "e");
    assert_eq!(capture.heard(), "opened");
    capture.c(ACK, 7, 1, "g");
    assert_eq!(capture.heard(), "C(2) C'c'");
    assert_eq!((capture.counters().overruns, capture.counters().gaps), (1, 1));

    let mut capture = Capture::with(Limits { side_bytes: 160 + 2 * 64 + 10, ..Limits::default() });
    capture.handshake().c(ACK, 3, 1, "hello").c(ACK, 9, 1, "world").c(ACK, 15, 1, "!");
    assert_eq!(capture.heard(), "opened C(2) C'hello'");

    let mut capture = Capture::with(Limits { bytes: 160 + 64 + 1, ..Limits::default() });
    capture.handshake().s(ACK, 3, 1, "x").c(ACK, 3, 1, "y");
    assert_eq!(capture.heard(), "opened C(2) C'y'", "whoever wants to add gives up");
}

#[test]
fn what_a_snap_length_cut_is_a_gap() {
    let mut capture = Capture::new();
    capture.handshake();
    capture.send(Side::Client, ACK, 1, 1, "GET", 10);
    capture.send(Side::Client, ACK, 18, 1, "b", 2);
    capture.c(ACK, 14, 1, "next");
    assert_eq!(capture.heard(), "opened C'GET' C(10) C'next' C'b' C(2)");
    assert_eq!((capture.counters().cut, capture.counters().gaps), (12, 0));
    capture.send(Side::Client, ACK, 1, 1, "GET", 10);
    assert_eq!((capture.counters().cut, capture.counters().retransmissions), (12, 1));
    capture.send(Side::Client, ACK, 14, 1, "nextb", 4);
    assert_eq!(capture.heard(), "C(2)", "what is new of it was cut");
}

#[test]
fn bytes_on_a_syn_are_told() {
    let mut capture = Capture::new();
    capture.c(SYN, 0, 0, "GET").s(SYN | ACK, 0, 1, "").c(ACK, 1, 1, "GET /").s(FIN | ACK, 1, 6, "200");
    assert_eq!(capture.finish(), "opened C'GET' C' /' S'200' S. Open");
    let mut capture = Capture::new();
    capture.c(SYN, 0, 0, "GET").s(SYN | ACK, 0, 4, "").s(SYN | ACK, 0, 4, "").c(ACK, 4, 1, " /");
    assert_eq!(capture.finish(), "opened C'GET' C' /' Open");
}

#[test]
fn ignored_bytes_are_counted_and_not_kept() {
    let mut capture = Capture::new();
    capture.log.ignore = Some("b");
    capture.handshake().c(ACK, 3, 1, "c").c(ACK, 6, 1, "f").c(ACK, 1, 1, "a");
    assert_eq!(capture.heard(), "opened C'a'");
    capture.c(ACK, 2, 1, "b");
    assert_eq!((capture.streams.waiting(), capture.counters().out_of_order), (0, 2));
    assert_eq!(capture.heard(), "C'b'");
    capture.c(ACK, 9, 1, "ij").c(ACK, 4, 1, "de").c(ACK, 4, 1, "de").c(ACK, 10, 1, "jk").s(ACK, 1, 12, "200");
    let counters = capture.counters();
    assert_eq!((counters.out_of_order, counters.overlaps, counters.retransmissions), (3, 1, 0));
    capture.c(FIN | ACK, 12, 4, "");
    assert_eq!(capture.heard(), "S'200' C.");
    capture.c(FIN | ACK, 12, 4, "").c(ACK, 1, 4, "abcdefghijk").c(ACK, 1, 4, "a");
    assert_eq!(capture.finish(), "Open");
    assert_eq!(capture.counters().missing, 0, "all came in the end");
}

#[test]
fn probes_are_no_noise() {
    let mut capture = Capture::new();
    capture.handshake().c(ACK, 1, 1, "a").c(ACK, 1, 1, "").c(ACK, 1, 1, "\0").s(ACK, 1, 2, "").s(ACK, 0, 2, "");
    assert_eq!((capture.counters().keep_alives, capture.counters().retransmissions), (3, 0));
    // A window probe is the next byte, which may be sent again with those behind it.
    capture.c(ACK, 2, 1, "b").c(ACK, 2, 1, "bcd");
    assert_eq!(capture.finish(), "opened C'a' C'b' C'cd' Open");
}

#[test]
fn strays_change_nothing() {
    let mut capture = Capture::new();
    let far = (1 << 30) + 100;
    capture.handshake().c(ACK, far, 1, "x").c(ACK, 0_u32.wrapping_sub(far), 1, "x").s(FIN | ACK, far, 1, "");
    capture.c(FIN | ACK, 1, 1, "").c(ACK, 1, 1, "x").c(FIN | ACK, 9, 1, "").s(SYN | ACK, 77, 1, "x").s(
        RST,
        1 << 29,
        0,
        "",
    );
    assert_eq!(capture.counters().strays, 7);
    // Nobody sent what this acknowledges.
    capture.s(ACK, 1, far, "").s(ACK, 2, 2, "b");
    assert_eq!(capture.finish(), "opened C. S(1) S'b' Open");
}

#[test]
fn nothing_follows_a_fin() {
    let mut capture = Capture::new();
    capture.handshake().c(ACK, 3, 1, "cdef").c(FIN | ACK, 5, 1, "").c(ACK, 1, 1, "abcde");
    assert_eq!(capture.finish(), "opened C'ab' C'cd' C. Open");
    let mut capture = Capture::new();
    capture.handshake().c(ACK, 3, 1, "cd").c(ACK, 7, 1, "g").c(ACK, 9, 1, "i").c(FIN | ACK, 6, 1, "").s(ACK, 1, 7, "");
    assert_eq!(capture.finish(), "opened C(2) C'cd' C(1) C. Open");
}
