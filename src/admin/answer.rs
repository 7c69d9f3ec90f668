//! Answers, and what each of them carries.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

/// A body that is there, or one that comes by and by.
pub(super) type Content = UnsyncBoxBody<Bytes, Infallible>;
pub(super) type Answer = Response<Content>;

/// A line of plain text.
pub(super) fn line(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    respond(status, "text/plain; charset=utf-8", text.into())
}

pub(super) fn json(document: impl Into<Bytes>) -> Answer {
    respond(StatusCode::OK, "application/json", document.into())
}

pub(super) fn method_not_allowed(text: &'static str, allowed: &'static str) -> Answer {
    with(line(StatusCode::METHOD_NOT_ALLOWED, text), header::ALLOW, allowed)
}

/// Come again in a second.
pub(super) fn later(status: StatusCode, text: &'static str) -> Answer {
    with(line(status, text), header::RETRY_AFTER, "1")
}

/// To whom has guessed too often.
pub(super) fn too_many() -> Answer {
    later(StatusCode::TOO_MANY_REQUESTS, "Too many wrong tokens.\n")
}

/// The answer with one more field.
pub(super) fn with(mut answer: Answer, name: HeaderName, value: &'static str) -> Answer {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
    answer
}

pub(super) fn respond(status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
    dress(status, kind, Full::new(body).boxed_unsync())
}

/// Every answer carries what keeps a browser from framing, guessing, storing or loading anything else, from giving it to pages of
/// other sites as a script or a picture, and from telling others where it has been: the address may hold a token.
pub(super) fn dress(status: StatusCode, kind: &'static str, content: Content) -> Answer {
    let mut answer = Response::new(content);
    *answer.status_mut() = status;
    [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'self'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ]
    .into_iter()
    .fold(answer, |answer, (name, value)| with(answer, name, value))
}
