//! The one thing that can be changed over HTTP: who is let in again.
//!
//! Owns: who may, and what the request must look like. Called by: the desk, for requests that came from an allowed address to
//! an accepted name. Never: changes anything itself; control does within a second.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::header::{self, AsHeaderName, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};
use ipnet::IpNet;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::answer::{Answer, later, line, method_not_allowed, respond, too_many, with};
use super::connection::Visitor;
use super::guesses::{Guesses, Verdict};
use super::token::Token;
use super::{Board, hosts};
use crate::guard::fence::{Release, Row};

/// Where it is asked for.
pub(crate) const RELEASE: &str = "/api/v1/fences/release";
/// Bytes of a body.
const BODY_BYTES: usize = 4 << 10;
/// From the head to the end of the body.
const BODY_TIME: Duration = Duration::from_secs(5);

/// What a body asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wish {
    All,
    /// Whoever is fenced around this address or network.
    Around(IpNet),
}

/// Answers a request to let somebody in again.
pub(super) async fn release<B>(board: &Board, guesses: &Guesses, visitor: &Visitor, request: Request<B>) -> Answer
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if *request.method() != Method::POST {
        return method_not_allowed("Only POST.\n", "POST");
    }
    if is_cross_site(request.headers(), &board.settings.load().admin.hosts) {
        return line(StatusCode::FORBIDDEN, "A page of another site asked for this.\n");
    }
    let verdict = match authorised(request.headers(), &board.token) {
        Err(denied @ (Denied::NoToken | Denied::NoCredentials)) => return denied.answer(),
        authorised => guesses.judge(visitor, authorised.is_ok()),
    };
    match verdict {
        Verdict::Right => {}
        Verdict::Wrong => return Denied::Wrong.answer(),
        Verdict::TooMany => return too_many(),
    }
    let body = match body(request.into_body()).await {
        Ok(body) => body,
        Err((status, why)) => return line(status, why),
    };
    match wish(&body) {
        Ok(wish) => grant(board, visitor.peer, wish),
        Err(why) => line(StatusCode::BAD_REQUEST, format!("{why}\n")),
    }
}

/// Whether a browser says that a page of somebody else asks. What is no browser says nothing of the kind.
///
/// A page of ours has come from where the request goes; behind a reverse proxy that words `Host` anew, from a configured name.
pub(super) fn is_cross_site(head: &HeaderMap, names: &[String]) -> bool {
    let host = head.get(header::HOST).and_then(|host| host.to_str().ok());
    let sites = head.get_all("sec-fetch-site");
    let stranger = |site: &HeaderValue| !matches!(site.as_bytes(), b"same-origin" | b"none");
    let foreign = |origin: &HeaderValue| {
        let authority = origin.to_str().ok().and_then(|text| text.split_once("://"));
        let is_ours = |authority: &str| {
            host.is_some_and(|host| host.eq_ignore_ascii_case(authority)) || hosts::is_named(authority, names)
        };
        !authority.is_some_and(|(_, authority)| is_ours(authority))
    };
    sites.iter().any(stranger) || head.get_all(header::ORIGIN).iter().any(foreign)
}

/// Why somebody may not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Denied {
    /// Nobody may.
    NoToken,
    /// He shows nothing, or too much.
    NoCredentials,
    /// He shows something else.
    Wrong,
}

impl Denied {
    fn answer(self) -> Answer {
        let (why, challenge) = match self {
            Self::NoToken => {
                let why =
                    "Nothing can be changed: there is no token. The reason is in /api/v1/status, guard.changes.\n";
                return line(StatusCode::FORBIDDEN, why);
            }
            Self::NoCredentials => (
                "This takes one Authorization field: Bearer and the token of admin.token-file.\n",
                "Bearer realm=\"floodgate\"",
            ),
            Self::Wrong => {
                ("This is not the token of admin.token-file.\n", "Bearer realm=\"floodgate\", error=\"invalid_token\"")
            }
        };
        with(line(StatusCode::UNAUTHORIZED, why), header::WWW_AUTHENTICATE, challenge)
    }
}

/// Whether the one `Authorization` is `Bearer` with the token.
fn authorised(head: &HeaderMap, token: &Result<Token, String>) -> Result<(), Denied> {
    let token = token.as_ref().map_err(|_| Denied::NoToken)?;
    if token.is(bearer(head)?) { Ok(()) } else { Err(Denied::Wrong) }
}

/// What the one `Authorization` shows as `Bearer` (RFC 6750 section 2.1).
pub(super) fn bearer(head: &HeaderMap) -> Result<&[u8], Denied> {
    let credentials = only(head, header::AUTHORIZATION).ok_or(Denied::NoCredentials)?;
    let shown = credentials.as_bytes().split_at_checked(7).filter(|(kind, _)| kind.eq_ignore_ascii_case(b"Bearer "));
    shown.map(|(_, shown)| shown.trim_ascii()).ok_or(Denied::Wrong)
}

fn only(head: &HeaderMap, name: impl AsHeaderName) -> Option<&HeaderValue> {
    let mut fields = head.get_all(name).iter();
    fields.next().filter(|_| fields.next().is_none())
}

async fn body<B>(body: B) -> Result<Bytes, (StatusCode, &'static str)>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match timeout(BODY_TIME, Limited::new(body, BODY_BYTES).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err((StatusCode::PAYLOAD_TOO_LARGE, "The body is longer than 4 KiB.\n"))
        }
        Ok(Err(_)) => Err((StatusCode::BAD_REQUEST, "The body cannot be read.\n")),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time.\n")),
    }
}

/// Reads `{"address": "10.0.0.1"}`, with an address or a network, or `{"all": true}`.
fn wish(body: &[u8]) -> Result<Wish, String> {
    let form = r#"write {"address": "10.0.0.1"} or {"all": true}"#;
    let value: Value = serde_json::from_slice(body).map_err(|error| format!("This is not JSON ({error}); {form}"))?;
    let object = value.as_object().ok_or_else(|| format!("This is no JSON object; {form}"))?;
    let mut fields = object.iter();
    match (fields.next(), fields.next()) {
        (Some((name, Value::Bool(true))), None) if name == "all" => Ok(Wish::All),
        (Some((name, Value::String(text))), None) if name == "address" => {
            network(text).map(Wish::Around).ok_or_else(|| "address is neither an IP address nor a network".to_owned())
        }
        _ => Err(format!("One field is expected; {form}")),
    }
}

/// An address or a network, as it is shown in the list of fences.
pub(crate) fn network(text: &str) -> Option<IpNet> {
    let address = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
    address.ok().or_else(|| text.parse::<IpNet>().ok().map(|network| network.trunc()))
}

fn grant(board: &Board, peer: IpAddr, wish: Wish) -> Answer {
    let fences = &board.guard.fences;
    let rows = fences.list();
    let released: Vec<&Row> = match wish {
        Wish::All => rows.iter().collect(),
        Wish::Around(network) => rows.iter().filter(|row| row.client.network().contains(&network)).collect(),
    };
    let taken = match (wish, released.as_slice()) {
        (Wish::All, _) => fences.release(Release::All),
        (Wish::Around(network), []) => {
            return line(StatusCode::NOT_FOUND, format!("{network} is not fenced.\n"));
        }
        (Wish::Around(_), rows) => rows.iter().all(|row| fences.release(Release::One(row.client))),
    };
    if !taken {
        return later(StatusCode::SERVICE_UNAVAILABLE, "Too many releases wait already.\n");
    }
    tracing::info!(%peer, released = released.len(), "admin: fences are to be released");
    let body = json!({ "released": released.len() });
    // Control does it within a second.
    respond(StatusCode::ACCEPTED, "application/json", Bytes::from(format!("{body}\n")))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::body::{Body, Frame};
    use hyper::header::{HeaderMap, HeaderName, HeaderValue};

    use super::{Denied, Wish, authorised, body, is_cross_site, network, wish};
    use crate::admin::token::Token;

    fn head(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(field).fold(HeaderMap::new(), |mut head, (name, value)| {
            head.append(name, value);
            head
        })
    }

    #[test]
    fn a_body_asks_for_one_thing() {
        let around = |text: &str| Ok(Wish::Around(network(text).unwrap()));
        assert_eq!(wish(br#"{"all": true}"#), Ok(Wish::All));
        assert_eq!(wish(br#"{"address": "10.0.0.1"}"#), around("10.0.0.1/32"));
        assert_eq!(wish(br#"{"address": "::ffff:10.0.0.1"}"#), around("10.0.0.1"));
        assert_eq!(wish(br#"{"address": "2001:db8:0:1::/64"}"#), around("2001:db8:0:1::7/64"));
        for wrong in [
            &b""[..],
            b"{}",
            b"[]",
            b"true",
            b"{",
            br#"{"all": false}"#,
            br#"{"all": 1}"#,
            br#"{"all": true, "address": "10.0.0.1"}"#,
            br#"{"address": "10.0.0.1", "why": "please"}"#,
            br#"{"address": 10}"#,
            br#"{"address": ""}"#,
            br#"{"address": "localhost"}"#,
            br#"{"address": "10.0.0.1/33"}"#,
            br#"{"all": true} {"all": true}"#,
            b"\xff\xfe",
            &[b'['; 4_096],
        ] {
            let told = wish(wrong).unwrap_err();
            assert!(told.len() < 200 && !told.contains('\n'), "{told}");
        }
    }

    #[test]
    fn pages_of_other_sites_may_not() {
        let cross = |fields: &[(&'static str, &'static str)]| {
            let mut head = head(fields);
            head.insert("host", HeaderValue::from_static("localhost:9128"));
            is_cross_site(&head, &["gate.example".into()])
        };
        for fields in [
            &[][..],
            &[("origin", "http://localhost:9128")],
            &[("origin", "http://LocalHost:9128"), ("sec-fetch-site", "same-origin")],
            // A reverse proxy is in between.
            &[("origin", "https://gate.example")],
            &[("sec-fetch-site", "none")],
        ] {
            assert!(!cross(fields), "{fields:?}");
        }
        for fields in [
            &[("origin", "null")][..],
            &[("origin", "http://evil.example")],
            &[("origin", "http://localhost:8080")],
            // Other services of this box.
            &[("origin", "http://localhost")],
            &[("origin", "http://127.0.0.1:9128")],
            &[("origin", "http://evil.example#localhost:9128")],
            &[("origin", "http://localhost:9128"), ("origin", "http://evil.example")],
            &[("origin", "http://localhost:9128"), ("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("origin", "")],
        ] {
            assert!(cross(fields), "{fields:?}");
        }
    }

    #[test]
    fn one_bearer_with_the_token() {
        let token = Ok(Token::parse(b"0123456789abcdef").unwrap());
        let status = |fields: &[(&'static str, &'static str)]| authorised(&head(fields), &token);
        assert_eq!(status(&[("authorization", "Bearer 0123456789abcdef")]), Ok(()));
        assert_eq!(status(&[("authorization", "bearer  0123456789abcdef")]), Ok(()));
        for fields in [
            &[("authorization", "Bearer 0123456789abcdeg")][..],
            &[("authorization", "Bearer ")],
            &[("authorization", "Bearer")],
            &[("authorization", "Basic 0123456789abcdef")],
            &[("authorization", "0123456789abcdef")],
        ] {
            assert_eq!(status(fields), Err(Denied::Wrong), "{fields:?}");
        }
        assert_eq!(status(&[]), Err(Denied::NoCredentials));
        let twice = [("authorization", "Bearer 0123456789abcdef"); 2];
        assert_eq!(status(&twice), Err(Denied::NoCredentials));
        let off = authorised(&head(&[("authorization", "Bearer ")]), &Err("off".to_owned()));
        assert_eq!(off, Err(Denied::NoToken));
        assert_eq!(
            [Denied::NoToken, Denied::NoCredentials, Denied::Wrong].map(|d| d.answer().status().as_u16()),
            [403, 401, 401]
        );
    }
    /// A body of which nothing comes.
    struct Silence;

    impl Body for Silence {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        assert_eq!(body(Silence).await.unwrap_err().0, 408);
        assert_eq!(body(Full::new(Bytes::from(vec![b'x'; 4_097]))).await.unwrap_err().0, 413);
        assert_eq!(body(Full::new(Bytes::from(vec![b'x'; 4_096]))).await.map(|body| body.len()), Ok(4_096));
    }
}
