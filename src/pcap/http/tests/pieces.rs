//! However a dialogue is cut into segments, the same is told; and nothing that is sent does harm.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::super::interpreter::LONGEST_HEAD;
use super::Tape;
use crate::pcap::stream::Side;

/// What a client says, and what the server says to that.
#[derive(Clone, Debug)]
struct Exchange {
    request: Vec<u8>,
    answer: Vec<u8>,
}

/// Bodies that look like messages too.
fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"GET /smuggled HTTP/1.1\r\n\r\n".to_vec()),
        Just(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
        Just(b"\r\n\n\r\n".to_vec()),
        vec(any::<u8>(), 0..60),
    ]
}

/// The fields that frame `body`, and the body as they frame it.
fn framed(body: &[u8], chunk: Option<usize>, end: &str) -> Vec<u8> {
    let Some(chunk) = chunk else {
        return [format!("Content-Length: {}{end}{end}", body.len()).as_bytes(), body].concat();
    };
    let mut out = format!("Transfer-Encoding:{end} Chunked{end}{end}").into_bytes();
    for piece in body.chunks(chunk) {
        crate::http1::chunked::encode(&mut out, piece);
    }
    out.extend_from_slice(crate::http1::chunked::LAST);
    out
}

fn message(first: impl Strategy<Value = &'static str>) -> impl Strategy<Value = Vec<u8>> {
    let end = select(vec!["\r\n", "\n"]);
    let fields = select(vec!["Host: a{}", "host :b{}Host: c{}", "User-Agent: x{}\ty{}", "nonsense{}", ""]);
    (first, end, fields, body(), proptest::option::of(1..20_usize)).prop_map(|(first, end, fields, body, chunk)| {
        let head = format!("{first}{end}{}", fields.replace("{}", end));
        [head.into_bytes(), framed(&body, chunk, end)].concat()
    })
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let request = message(select(vec![
        "GET / HTTP/1.1",
        "POST http://10.115.5.2/a b HTTP/1.0",
        "\r\n\nfrob /x HTTP/1.1",
        "OPTIONS HTTP/1.1",
        "PUT /versionless",
    ]));
    let answer = message(select(vec![
        "HTTP/1.1 200 OK",
        "HTTP/1.0 404",
        "ICY 200 OK",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 Oh",
    ]));
    let without_body = Just(Exchange {
        request: b"HEAD / HTTP/1.1\r\n\r\n".to_vec(),
        answer: b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n".to_vec(),
    });
    let tunnel = Just(Exchange {
        request: b"CONNECT a:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\n".to_vec(),
        answer: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
    });
    prop_oneof![
        6 => (request, answer).prop_map(|(request, answer)| Exchange { request, answer }),
        1 => without_body,
        1 => tunnel,
    ]
}

/// Says `bytes` in pieces that end at `cuts`.
fn say(tape: &mut Tape, side: Side, bytes: &[u8], cuts: &[Index]) {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([bytes.len()]).collect();
    cuts.sort_unstable();
    let mut said = 0;
    for cut in cuts {
        tape.say(side, &bytes[said..cut]);
        said = cut;
    }
}

proptest! {
    #[test]
    fn any_cut_of_a_dialogue_tells_the_same(
        exchanges in vec(exchange(), 1..6),
        cuts in vec(any::<Index>(), 0..30),
        bytewise: bool,
    ) {
        let (mut whole, mut cut) = (Tape::new(), Tape::new());
        for Exchange { request, answer } in &exchanges {
            for (side, bytes) in [(Side::Client, request), (Side::Server, answer)] {
                whole.say(side, bytes);
                if bytewise {
                    for byte in bytes.chunks(1) {
 cut.say(side, byte);
}
                } else {
                    say(&mut cut, side, bytes, &cuts);
                }
            }
        }
        let ((whole, whole_counts), (cut, cut_counts)) = (whole.end(), cut.end());
        prop_assert_eq!(whole.lines, cut.lines);
        prop_assert_eq!(whole.heads, cut.heads);
        prop_assert_eq!(whole_counts, cut_counts);
        prop_assert_eq!(usize::try_from(whole_counts.requests), Ok(exchanges.len()));
    }

    #[test]
    fn all_requests_of_a_pipeline_are_told(
        exchanges in vec(exchange().prop_filter("the bytes after it are a tunnel's", |exchange| {
            !exchange.request.starts_with(b"CONNECT")
        }), 1..40),
        cuts in vec(any::<Index>(), 0..30),
    ) {
        let mut tape = Tape::new();
        say(&mut tape, Side::Client, &exchanges.iter().flat_map(|exchange| exchange.request.clone()).collect::<Vec<_>>(), &cuts);
        prop_assert_eq!(usize::try_from(tape.counts().requests), Ok(exchanges.len()));
    }

    #[test]
    fn nothing_does_harm(
        midstream: bool,
        acts in vec((any::<bool>(), 0..12_u8, any::<u64>(), vec(any::<u8>(), 0..40)), 0..60),
    ) {
        let mut tape = if midstream { Tape::midstream() } else { Tape::new() };
        for (client, act, number, bytes) in acts {
            let side = if client { Side::Client } else { Side::Server };
            let bytes = match act {
                0 => { tape.gap(side, number % 100); continue }
                1 => { tape.gap(side, number); continue }
                2 => b"GET / HTTP/1.1\r\n".to_vec(),
                3 => b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
                4 => b"HTTP/1.1 200 OK\r\n".to_vec(),
                5 => b"HTTP/1.1 101 Up\r\n\r\n".to_vec(),
                6 => format!("Content-Length: {number}\r\n").into_bytes(),
                7 => b"Transfer-Encoding: chunked\r\n\r\n".to_vec(),
                8 => b"\r\n".to_vec(),
                9 => format!("{number:x}\r\n").into_bytes(),
                _ => bytes,
            };
            tape.say(side, &bytes);
            prop_assert!(tape.interpreter.held <= 4 * LONGEST_HEAD);
        }
        let (notes, counts) = tape.end();
        let told = notes.lines.iter().filter(|line| line.starts_with(|first: char| first.is_ascii_digit())).count();
        prop_assert_eq!(usize::try_from(counts.requests), Ok(told));
    }
}
