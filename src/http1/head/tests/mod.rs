//! Heads, by the conformance ids that they cover.

mod meaning;
mod syntax;

use super::*;

const LIMITS: HeadLimits = HeadLimits { size: 32 * 1024, target: 8192, fields: 100 };

fn request(head: &[u8]) -> Result<Request<'_>, HeadError> {
    Request::parse(head, LIMITS)
}

/// A GET for `http://o/` with Host and these further field lines.
fn with(fields: &str) -> Vec<u8> {
    format!("POST http://o/ HTTP/1.1\r\nHost: o\r\n{fields}\r\n\r\n").into_bytes()
}

fn response(head: &[u8]) -> Result<Response<'_>, HeadError> {
    Response::parse(head, LIMITS, false)
}

fn answer(fields: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n").into_bytes()
}

#[track_caller]
fn assert_malformed<T: std::fmt::Debug>(what: &[u8], result: Result<T, HeadError>) {
    match result {
        Err(HeadError::Malformed(_)) => {}
        other => panic!("{:?}: {other:?}", what.escape_ascii().to_string()),
    }
}
