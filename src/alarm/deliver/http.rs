//! One HTTP request to a webhook: verified, within a time, its answer within a size, and never to anywhere else.
//!
//! Owns: the client, and what its errors mean. Called by: the transport. Never: follows a redirect, asks a proxy, or tries
//! twice.

use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use rustls::pki_types::UnixTime;
use rustls::{CertificateError, ClientConfig};
use tokio::time::{Instant, timeout_at};

use super::failure::{Failure, Trouble};
use super::kinds::Post;

/// For all of it: name, connection, handshake, request, answer.
const TIME: Duration = Duration::from_secs(5);
/// Bytes of an answer's head.
const HEAD: usize = 32 << 10;
/// Bytes of its body.
const BODY: usize = 64 << 10;

/// A client for one destination.
#[derive(Debug)]
pub(super) struct Client(legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    pub(super) date: Option<SystemTime>,
    pub(super) body: Vec<u8>,
}

impl Client {
    pub(super) fn new(config: ClientConfig) -> Self {
        let mut tcp = HttpConnector::new();
        // The scheme was judged with the address.
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1();
        // No connection is kept: there are hours between two alarms.
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .retry_canceled_requests(false)
            .http1_max_buf_size(HEAD)
            .build(connector.wrap_connector(tcp));
        Self(client)
    }

    /// Posts, and reads the answer: its body only where it says something, that is, where it is `needed` or tells of a failure.
    pub(super) async fn send(&self, post: Post, needed: bool) -> Result<Reply, Failure> {
        let mut request = Request::post(post.url.as_str())
            .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
            .header(header::USER_AGENT, concat!("floodgate/", env!("CARGO_PKG_VERSION")))
            .header(header::CONNECTION, "close");
        for (name, value) in post.fields {
            request = request.header(HeaderName::from_static(name), value);
        }
        // Not its words: they may hold the address.
        let request = request
            .body(Full::new(Bytes::from(post.body)))
            .map_err(|_| Failure::new(Trouble::Setting, "the address cannot be put into a request"))?;
        let end = Instant::now() + TIME;
        let late = |what: &str| Failure::new(Trouble::Timeout, format!("{what} within {} s", TIME.as_secs()));
        let answer = timeout_at(end, self.0.request(request))
            .await
            .map_err(|_| late("no answer"))?
            .map_err(|error| of(&error))?;
        let (status, now) = (answer.status(), SystemTime::now());
        let mut reply = Reply {
            status: status.as_u16(),
            retry_after: retry_after(answer.headers(), now),
            date: date(answer.headers(), header::DATE),
            body: Vec::new(),
        };
        if needed || !status.is_success() {
            let body = timeout_at(end, body(answer)).await;
            let body = body.unwrap_or_else(|_| Err(late("the answer does not end")));
            reply.body = if needed && status.is_success() { body? } else { body.unwrap_or_default() };
        }
        Ok(reply)
    }
}

async fn body(answer: Response<Incoming>) -> Result<Vec<u8>, Failure> {
    match Limited::new(answer.into_body(), BODY).collect().await {
        Ok(body) => Ok(body.to_bytes().into()),
        Err(error) => Err(Failure::new(Trouble::Server, format!("its answer: {error}"))),
    }
}

/// A point in time in a field (RFC 9110 section 5.6.7).
fn date(fields: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    let value = fields.get(name)?.to_str().ok()?;
    DateTimeParser::new().parse_timestamp(value).ok().map(SystemTime::from)
}

/// RFC 9110 section 10.2.3: seconds, or a date.
fn retry_after(fields: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let seconds = fields.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs);
    seconds.or_else(|| date(fields, header::RETRY_AFTER)?.duration_since(now).ok())
}

/// What an error of the client means: the innermost that is known says it.
fn of(error: &(dyn Error + 'static)) -> Failure {
    let mut told = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return of_tls(tls);
        }
        // An io::Error's own words are those of what it holds; its source lies behind that.
        let inner = error.downcast_ref::<io::Error>().and_then(|error| error.get_ref());
        if inner.is_none() {
            told.push(error.to_string());
        }
        next = match inner {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    // The first is always "client error (…)".
    let why = told.get(1..).filter(|rest| !rest.is_empty()).unwrap_or(&told).join(": ");
    let trouble = if why.starts_with("dns error") { Trouble::Name } else { Trouble::Connection };
    Failure::new(trouble, why)
}

fn of_tls(error: &rustls::Error) -> Failure {
    let rustls::Error::InvalidCertificate(wrong) = error else {
        return Failure::new(Trouble::Connection, format!("TLS: {error}"));
    };
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others say themselves what they are")]
    let (trouble, why) = match wrong {
        // Nobody uses a certificate before it is valid: it is the clock of a box that has forgotten the time.
        CertificateError::NotValidYetContext { time, not_before } => {
            let (begin, now) = (day(*not_before), day(*time));
            let why = format!("its certificate is valid from {begin}, and the clock of this box says {now}");
            (Trouble::Clock, why)
        }
        CertificateError::ExpiredContext { time, not_after } => {
            let (end, now) = (day(*not_after), day(*time));
            let why = format!("its certificate was valid until {end}, and the clock of this box says {now}");
            (Trouble::Certificate, why)
        }
        CertificateError::UnknownIssuer => {
            (Trouble::Certificate, "its certificate is signed by nobody that this box trusts".to_owned())
        }
        CertificateError::NotValidForNameContext { .. } | CertificateError::NotValidForName => {
            (Trouble::Certificate, "its certificate is for other names".to_owned())
        }
        other => (Trouble::Certificate, format!("its certificate: {other}")),
    };
    Failure::new(trouble, why)
}

fn day(time: UnixTime) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(time.as_secs());
    Timestamp::try_from(time).map_or_else(|_| "?".to_owned(), |time| time.to_string())
}
