//! What was not captured, and what never came.

use super::super::Dialogue;
use super::super::interpreter::{LONGEST_HEAD, MOST_HELD};
use super::Tape;
use crate::pcap::Time;
use crate::pcap::stream::{End, Listener, Side};

#[test]
fn missing_bytes_of_a_body_are_subtracted() {
    let mut tape = Tape::new();
    tape.client("POST /0 HTTP/1.1\r\nContent-Length: 10\r\n\r\n12")
        .gap(Side::Client, 7)
        .client("0GET /1 HTTP/1.1\r\n\r\n");
    tape.server("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n").gap(Side::Server, 4).server("HTTP/1.1 204 No\r\n\r\n");
    let (notes, counts) = tape.end();
    assert_eq!(
        notes.lines,
        [
            "0 POST /0 HTTP/1.1 stay",
            "  body 120",
            "1 GET /1 HTTP/1.1 stay",
            "  200 to 0 stay",
            "  204 to 1 stay",
            "closed, 0 unanswered"
        ]
    );
    assert_eq!(counts.torn, 0);
}

#[test]
fn after_a_gap_the_next_request_is_found_where_a_segment_begins() {
    let mut tape = Tape::new();
    tape.client("GET /0 HTTP/1.1\r\nHost: a\r\nX-L").gap(Side::Client, 1000);
    tape.client("half a line\r\nGET /not HTTP/1.1\r\n\r\n").client("GET /1 HTTP/1.1\r\n\r\n");
    let (notes, counts) = tape.end();
    assert_eq!(notes.lines, ["0 GET /0 HTTP/1.1 host=a stay cut", "1 GET /1 HTTP/1.1 stay", "closed, 2 unanswered"]);
    assert_eq!((counts.torn, counts.incomplete), (1, 1));
}

#[test]
fn a_gap_longer_than_the_body_means_that_nothing_is_known() {
    let mut tape = Tape::new();
    tape.client("POST /0 HTTP/1.1\r\nContent-Length: 10\r\n\r\n").gap(Side::Client, 11).client("x: y\r\n\r\n");
    tape.client("GET /1 HTTP/1.1\r\n\r\n");
    assert_eq!(tape.counts().torn, 1);
    assert_eq!(tape.end().0.lines[1], "1 GET /1 HTTP/1.1 stay");
}

#[test]
fn answers_that_may_have_been_missed_make_no_request_unanswered() {
    let mut tape = Tape::new();
    tape.client("GET /0 HTTP/1.1\r\n\r\n").gap(Side::Server, 500).client("GET /1 HTTP/1.1\r\n\r\n");
    tape.server("HTTP/1.1 204 No\r\n\r\n").client("GET /2 HTTP/1.1\r\n\r\n").gap(Side::Server, 9);
    let (notes, counts) = tape.end();
    assert_eq!(notes.lines[2..], ["  204 to 1 stay", "2 GET /2 HTTP/1.1 stay", "closed, 0 unanswered"]);
    assert_eq!(counts.lost_track, 2);
}

#[test]
fn a_cut_answer_still_has_its_status() {
    let mut tape = Tape::new();
    tape.client("GET http://10.115.5.2/long")
        .gap(Side::Client, 100)
        .server("HTTP/1.1 403 Forbidden\r\nCon")
        .gap(Side::Server, 50);
    let (notes, counts) = tape.end();
    assert_eq!(notes.lines, ["0 GET http://10.115.5.2/long  cut", "  403 to 0 stay", "closed, 0 unanswered"]);
    assert_eq!(counts.incomplete, 2);
}

#[test]
fn a_head_that_never_ends_is_told_when_it_is_answered_or_left() {
    let mut tape = Tape::new();
    tape.client("GET /slow HTTP/1.1\r\nX: ").server("HTTP/1.1 408 Late\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(tape.end().0.lines, ["0 GET /slow HTTP/1.1 stay cut", "  408 to 0 stay", "closed, 0 unanswered"]);

    let mut tape = Tape::new();
    tape.client("GET /old\r\n");
    tape.interpreter.finished(&tape.conversation, &mut tape.state, Side::Client, Time(9));
    assert_eq!(tape.end().0.lines, ["0 GET /old  cut", "closed, 1 unanswered"]);
}

#[test]
fn a_head_without_an_end_is_held_up_to_its_limit() {
    let mut tape = Tape::new();
    tape.client("GET / HTTP/1.1\r\n");
    for _ in 0..LONGEST_HEAD {
        tape.client("X-Filler: 0123456789\r\n");
    }
    tape.client("GET /next HTTP/1.1\r\n\r\n");
    let (notes, counts) = tape.end();
    assert_eq!(notes.lines, ["0 GET / HTTP/1.1 stay cut", "1 GET /next HTTP/1.1 stay", "closed, 2 unanswered"]);
    assert_eq!(counts.heads_too_long, 1);
    assert_eq!(notes.heads.len(), LONGEST_HEAD + "GET /next HTTP/1.1\r\n\r\n".len());
}

#[test]
fn a_conversation_under_way_is_joined_at_the_next_message() {
    let mut tape = Tape::midstream();
    tape.client("the rest of a body\r\n\r\n")
        .server("more\n")
        .server("HTTP/1.1 204 No\r\n\r\n")
        .client("GET /0 HTTP/1.1\r\n\r\n");
    assert_eq!(tape.end().0.lines, ["  204 to ? stay", "0 GET /0 HTTP/1.1 stay", "closed, 1 unanswered"]);
}

#[test]
fn the_sides_of_a_conversation_under_way_may_be_the_other_way_round() {
    let mut tape = Tape::midstream();
    let (client, server) = (tape.conversation.client, tape.conversation.server);
    tape.server("GET /0 HTTP/1.1\r\n\r\n");
    assert_eq!((tape.conversation.client, tape.conversation.server), (server, client));
    tape.server("HTTP/1.1 204 No\r\n\r\n");
    assert_eq!(tape.counts().swapped, 1);
    assert_eq!(tape.end().0.lines, ["0 GET /0 HTTP/1.1 stay", "  204 to 0 stay", "closed, 0 unanswered"]);

    let mut tape = Tape::midstream();
    tape.client("HTTP/1.1 204 No\r\n\r\n").client("GET /0 HTTP/1.1\r\n\r\n");
    assert_eq!(tape.end().0.lines, ["  204 to ? stay", "0 GET /0 HTTP/1.1 stay", "closed, 1 unanswered"]);
}

#[test]
fn what_begins_in_the_middle_is_listened_to_for_longer() {
    let middle = [b'x'; 5000];
    let mut tape = Tape::new();
    tape.gap(Side::Client, 1000).client(middle).client("GET /0 HTTP/1.1\r\n\r\n");
    assert_eq!(tape.end().0.lines, ["0 GET /0 HTTP/1.1 stay", "closed, 1 unanswered"]);

    let mut tape = Tape::midstream();
    tape.client(middle).server(middle).client("GET /0 HTTP/1.1\r\n\r\n");
    assert_eq!(tape.end().0.lines, ["0 GET /0 HTTP/1.1 stay", "closed, 1 unanswered"]);
}

#[test]
fn a_gap_in_a_body_until_the_close_costs_nothing() {
    let mut tape = Tape::new();
    tape.client("GET /0 HTTP/1.0\r\n\r\n").server("HTTP/1.0 200 OK\r\n\r\n").gap(Side::Server, 5000).server("rest");
    let (notes, counts) = tape.end();
    assert_eq!(notes.lines, ["0 GET /0 HTTP/1.0", "  200 to 0", "closed, 0 unanswered"]);
    assert_eq!(counts.torn, 0);
}

#[test]
fn what_was_asked_beyond_the_queue_is_taken_for_nothing_special() {
    let mut tape = Tape::new();
    tape.client("GET / HTTP/1.1\r\n\r\n".repeat(20)).server("HTTP/1.1 204 No\r\n\r\n".repeat(10));
    tape.client("HEAD / HTTP/1.1\r\n\r\n").server("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc".repeat(10));
    tape.client("HEAD / HTTP/1.1\r\n\r\n");
    let (notes, _) = tape.end();
    let answered: Vec<_> = (10..20).map(|number| format!("  200 to {number} stay")).collect();
    assert_eq!(notes.lines[31..41], answered);
    assert_eq!(notes.lines[42], "closed, 2 unanswered");
}

#[test]
fn heads_in_pieces_of_all_conversations_have_a_limit_together() {
    let Tape { mut interpreter, mut conversation, .. } = Tape::new();
    let piece = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(LONGEST_HEAD / 2));
    let mut states: Vec<_> = (0..2 * MOST_HELD / piece.len()).map(|_| Dialogue::default()).collect();
    for state in &mut states {
        interpreter.bytes(&mut conversation, state, Side::Client, Time(1), piece.as_bytes());
        assert!(interpreter.held <= MOST_HELD);
    }
    assert!(interpreter.counts().heads_crowded_out > 0);
    assert_eq!(interpreter.counts().heads_crowded_out, interpreter.counts().requests, "they are told as they are");
    for state in states {
        interpreter.closed(&conversation, state, Time(2), End::Open);
    }
    assert_eq!(interpreter.held, 0);
}

#[test]
fn heads_of_a_few_bytes_count_with_what_they_take() {
    let Tape { mut interpreter, mut conversation, .. } = Tape::new();
    let mut states: Vec<_> = (0..MOST_HELD / 100).map(|_| Dialogue::default()).collect();
    for state in &mut states {
        interpreter.bytes(&mut conversation, state, Side::Client, Time(1), b"GET /");
    }
    assert!(interpreter.held <= MOST_HELD && interpreter.counts().heads_crowded_out > 0);
    for state in states {
        interpreter.closed(&conversation, state, Time(2), End::Open);
    }
    assert_eq!(interpreter.held, 0);
}

#[test]
fn an_answer_that_was_captured_before_its_request_shifts_nothing() {
    let mut tape = Tape::new();
    tape.server("HTTP/1.1 204 Zero\r\n\r\n").client("GET /0 HTTP/1.1\r\n\r\n");
    tape.client("GET /1 HTTP/1.1\r\n\r\n").server("HTTP/1.1 404 One\r\nContent-Length: 0\r\n\r\n");
    tape.server("HTTP/1.1 200 Two\r\n\r\n").client("CONNECT a:443 HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    let (notes, counts) = tape.end();
    assert_eq!(
        notes.lines,
        [
            "  204 to ? stay",
            "0 GET /0 HTTP/1.1 stay",
            "1 GET /1 HTTP/1.1 stay",
            "  404 to 1 stay",
            "  200 to ? stay",
            "2 CONNECT a:443 HTTP/1.1 stay",
            "3 GET / HTTP/1.1 stay tunnelled",
            "closed, 1 unanswered",
        ]
    );
    assert_eq!((counts.early, counts.tunnels), (2, 1));
}

#[test]
fn what_is_no_early_answer_answers_nothing() {
    let mut tape = Tape::new();
    tape.server("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n").client("GET /0 HTTP/1.1\r\n\r\n");
    assert_eq!(tape.end().0.lines[2], "closed, 1 unanswered");

    let mut tape = Tape::new();
    tape.gap(Side::Client, 100).server("HTTP/1.1 204 No\r\n\r\n").client("GET /0 HTTP/1.1\r\n\r\n");
    assert_eq!(tape.end().0.lines[2], "closed, 1 unanswered");

    let mut tape = Tape::new();
    tape.client("GET/ HTTP/1.1\r\n\r\n").server("HTTP/1.1 400 What\r\nContent-Length: 0\r\n\r\n");
    tape.client("GET /0 HTTP/1.1\r\n\r\n");
    assert_eq!(tape.end().0.lines[2], "closed, 1 unanswered");
}
