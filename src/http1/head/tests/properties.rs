//! What holds for any bytes.

use proptest::prelude::*;

use super::*;

/// Bytes that are nearly a head: pieces of one, in any order.
fn nearly_a_head() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "GET ",
        "POST ",
        "CONNECT ",
        "OPTIONS ",
        "http://o/",
        "http://o",
        "o:443",
        "*",
        "/",
        "?",
        " HTTP/1.1\r\n",
        " HTTP/1.0\r\n",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 101 ",
        "Host: o\r\n",
        "Content-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Connection: close, x\r\n",
        "X: ",
        "x",
        ":",
        " ",
        "\t",
        "\r",
        "\n",
        "\r\n",
        "\r\n\r\n",
        "\0",
        "\u{fc}",
        "Via: 1.1 o\r\n",
        "Upgrade: a\r\n",
        "Expect: 100-continue\r\n",
    ]);
    let pieces = prop::collection::vec(pieces, 0..24).prop_map(|pieces| pieces.concat().into_bytes());
    let start = prop::sample::select(vec!["", "\r\n", "GET http://o/ HTTP/1.1\r\nHost: o\r\n", "HTTP/1.1 200 OK\r\n"]);
    let head = (start, pieces, prop::sample::select(vec!["", "\r\n\r\n"]))
        .prop_map(|(a, b, c)| [a.as_bytes(), &b, c.as_bytes()].concat());
    prop_oneof![4 => head, 1 => prop::collection::vec(any::<u8>(), 0..64)]
}

proptest! {
    #[test]
    fn no_bytes_make_the_parsers_panic(head in nearly_a_head(), to_head: bool) {
        if let Ok(request) = request(&head) {
            request.via_names("o");
        }
        Response::parse(&head, LIMITS, to_head).ok();
    }

    #[test]
    fn a_scan_says_the_same_however_the_bytes_are_split(
        bytes in nearly_a_head(),
        cuts in prop::collection::vec(1_usize..9, 0..64),
        of_request: bool,
        limits in prop_oneof![Just(LIMITS), (1_usize..80, 1_usize..20, 0_usize..4).prop_map(|(size, target, fields)| HeadLimits { size, target, fields })],
    ) {
        let new = if of_request { Scan::request } else { Scan::response };
        let whole = new().advance(&bytes, limits);
        let (mut scan, mut end) = (new(), 0);
        let mut cuts = cuts.into_iter();
        let split = loop {
            end = cuts.next().map_or(bytes.len(), |cut| bytes.len().min(end + cut));
            let verdict = scan.advance(&bytes[..end], limits);
            if verdict != Ok(None) || end == bytes.len() {
                break verdict;
            }
        };
        prop_assert_eq!(split, whole);
    }

    #[test]
    fn fields_are_what_httparse_saw(head in nearly_a_head()) {
        if let Ok(request) = request(&head) {
            let mut table = [httparse::EMPTY_HEADER; MAX_FIELDS];
            let mut parsed = httparse::Request::new(&mut table);
            // It rejects targets that are not UTF-8; ours are.
            prop_assert_eq!(parsed.parse(&head), Ok(httparse::Status::Complete(head.len())));
            let expected: Vec<_> = parsed.headers.iter().map(|field| Field { name: field.name.as_bytes(), value: field.value }).collect();
            prop_assert_eq!(request.fields.iter().collect::<Vec<_>>(), expected);
            prop_assert_eq!(Some(request.method), parsed.method.map(str::as_bytes));
            prop_assert_eq!(Some(request.raw_target), parsed.path.map(str::as_bytes));
        }
    }
}
