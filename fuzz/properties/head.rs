//! Heads: the same verdict however the bytes arrive, from the scan and from the parser, and the fields that httparse reads.

use floodgate::http1::body::Body;
use floodgate::http1::head::{Field, HeadError, HeadLimits, MAX_FIELDS, Request, Response, Scan, Version};
use floodgate::http1::target::{Authority, Target};

use super::{LIMITS, splits};

/// Limits that short inputs reach.
const TIGHT: HeadLimits = HeadLimits { size: 96, target: 24, fields: 3 };

// What is kept of a head that is still arriving: so many bytes, whatever arrives.
const _: () = assert!(size_of::<Scan>() <= 128);

/// Takes `input` for the start of a request and of a response. True if it holds a whole head of either that is valid.
///
/// # Panics
/// Where it does not hold.
pub fn holds(input: &[u8]) -> bool {
    let valid = [LIMITS, TIGHT].map(|limits| [request(input, limits), response(input, limits)]);
    valid.as_flattened().contains(&true)
}

fn request(input: &[u8], limits: HeadLimits) -> bool {
    let found = scan(Scan::request, input, limits);
    let parsed = parse(found, input, limits, |head| Request::parse(head, limits));
    let Some((head, request)) = parsed else { return false };

    assert!(request.raw_target.len() <= limits.target && request.fields.iter().count() <= limits.fields, "no limit");
    assert_ne!(request.body, Body::UntilClose, "a request does not end with its connection");
    assert!(request.host.is_some() || request.version == Version::Http10, "HTTP/1.1 without Host");
    assert!(
        request.upgrade.is_none() || matches!(request.body, Body::Empty | Body::Length(0)),
        "an upgrade with a body"
    );
    request.via_names("floodgate");
    if let Target::Absolute { authority, .. } | Target::Authority(authority) = request.target {
        assert_authority(authority);
    }
    request.host.into_iter().for_each(assert_authority);

    let mut table = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut oracle = httparse::Request::new(&mut table);
    // It takes targets of ASCII and UTF-8 only.
    if std::str::from_utf8(request.raw_target).is_ok() {
        assert_eq!(oracle.parse(head), Ok(httparse::Status::Complete(head.len())));
        assert_eq!(oracle.method.map(str::as_bytes), Some(request.method));
        assert_eq!(oracle.path.map(str::as_bytes), Some(request.raw_target));
        assert_eq!(oracle.version, Some(u8::from(request.version == Version::Http11)));
        assert_fields(request.fields.iter(), oracle.headers);
    }
    true
}

/// What is understood may stand in Host, as it came and as we write it, and there means the same.
fn assert_authority(text: &[u8]) {
    let Ok(authority) = Authority::parse(text) else { return };
    let shown = authority.to_string();
    assert_eq!(Authority::parse(shown.as_bytes()).as_ref(), Ok(&authority), "{shown} means another");
    for host in [text, shown.as_bytes()] {
        let head = [b"GET / HTTP/1.1\r\nHost: ", host, b"\r\n\r\n"].concat();
        let wide = HeadLimits { size: head.len() + 1, ..LIMITS };
        assert_eq!(Request::parse(&head, wide).map(|request| request.host), Ok(Some(host)));
    }
}

fn response(input: &[u8], limits: HeadLimits) -> bool {
    let found = scan(Scan::response, input, limits);
    // A head that answers HEAD is as valid as any other, and has no body.
    let to_head = parse(found, input, limits, |head| Response::parse(head, limits, true));
    let parsed = parse(found, input, limits, |head| Response::parse(head, limits, false));
    assert_eq!(to_head.is_some(), parsed.is_some(), "HEAD makes a difference to the syntax");
    let Some((head, response)) = parsed else { return false };

    assert!(to_head.is_some_and(|(_, to_head)| to_head.body == Body::Empty), "an answer to HEAD with a body");
    let bodiless = response.status < 200 || matches!(response.status, 204 | 304);
    assert!(!bodiless || response.body == Body::Empty, "a body with {}", response.status);
    assert!(response.fields.iter().count() <= limits.fields, "no limit");
    assert!(!response.keep_alive || response.body != Body::UntilClose, "a body that ends with a connection that stays");
    assert!(response.upgrade.is_none() || response.status == 101, "an upgrade with {}", response.status);

    let mut table = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut oracle = httparse::Response::new(&mut table);
    assert_eq!(oracle.parse(head), Ok(httparse::Status::Complete(head.len())));
    assert_eq!(oracle.code, Some(response.status));
    assert_fields(response.fields.iter(), oracle.headers);
    true
}

/// The verdict of a scan over the whole input; any other way to cut it must give the same.
fn scan(new: fn() -> Scan, input: &[u8], limits: HeadLimits) -> Result<Option<usize>, HeadError> {
    let [whole, others @ ..] = splits(input).map(|ends| {
        let mut scan = new();
        let verdict = ends.iter().map(|&end| scan.advance(&input[..end], limits));
        let mut verdict = verdict.skip_while(|verdict| *verdict == Ok(None));
        verdict.next().unwrap_or(Ok(None))
    });
    for other in others {
        assert_eq!(other, whole, "the split makes a difference");
    }
    if let Ok(Some(length)) = whole {
        assert!(length <= input.len() && length <= limits.size, "a head of {length} bytes");
    }
    whole
}

/// Parses the head that a scan found, or all the input where it found none: the parser must say what the scan said.
fn parse<'b, T: std::fmt::Debug>(
    found: Result<Option<usize>, HeadError>,
    input: &'b [u8],
    limits: HeadLimits,
    parse: impl Fn(&'b [u8]) -> Result<T, HeadError>,
) -> Option<(&'b [u8], T)> {
    match found {
        Ok(Some(length)) => {
            let (head, rest) = input.split_at(length);
            if !rest.is_empty() && input.len() <= limits.size {
                assert!(parse(input).is_err(), "bytes after the head are part of it");
            }
            parse(head).ok().map(|parsed| (head, parsed))
        }
        Ok(None) => {
            assert!(parse(input).is_err(), "an incomplete head is parsed");
            None
        }
        Err(error) => {
            assert_eq!(parse(input).err(), Some(error), "the parser does not say what the scan says");
            None
        }
    }
}

fn assert_fields<'b>(fields: impl Iterator<Item = Field<'b>>, oracle: &[httparse::Header<'b>]) {
    let oracle = oracle.iter().map(|field| Field { name: field.name.as_bytes(), value: field.value });
    assert!(fields.eq(oracle), "httparse reads other fields");
}
