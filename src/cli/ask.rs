//! One question to a running gateway's admin: connect, send, read the answer, all of it within a time and a size.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::timeout;
use url::Url;

/// A gateway on the same box answers within milliseconds, also in a storm: the admin has a thread of its own.
const CONNECT_TIME: Duration = Duration::from_secs(3);
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Bytes of an answer: a status with thousands of fences.
const ANSWER_BYTES: usize = 16 << 20;

/// Where an admin is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Address {
    /// As it stands in `Host`.
    authority: String,
    /// As it is connected to.
    host: String,
    port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

impl Address {
    /// `http://HOST:PORT`, or `HOST:PORT`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let form = "write it as http://127.0.0.1:9128";
        let (scheme, _) = text.split_once("://").unwrap_or(("", text));
        let url = match scheme {
            "" => Url::parse(&format!("http://{text}")),
            _ => Url::parse(text),
        };
        let url = url.map_err(|error| format!("{error}; {form}"))?;
        if url.scheme() != "http" {
            return Err(format!("only http is spoken; {form}"));
        }
        let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        if !bare || !url.username().is_empty() || url.password().is_some() {
            return Err(format!("there is more than a host and a port; {form}"));
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        let port = url.port_or_known_default().unwrap_or(80);
        let bracketless = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { authority: format!("{host}:{port}"), host: bracketless, port })
    }

    /// The one a gateway with this setting listens on.
    pub(super) fn of(setting: SocketAddr) -> Self {
        let host = match setting.ip() {
            IpAddr::V4(any) if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(any) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            host @ (IpAddr::V4(_) | IpAddr::V6(_)) => host,
        };
        let address = SocketAddr::new(host, setting.port());
        Self { authority: address.to_string(), host: host.to_string(), port: setting.port() }
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Response {
    /// Its status and the beginning of what it says, on one line.
    pub(super) fn told(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let line: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
        format!("{} {}", self.status.as_u16(), line.trim_end_matches('.'))
    }
}

/// Asks, and waits for the answer.
///
/// # Errors
///
/// There is none: why, and what to do about it.
pub(super) fn ask(
    admin: &Address,
    method: Method,
    path: &str,
    credentials: Option<&str>,
    body: Vec<u8>,
) -> Result<Response, String> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot build a runtime: {error}"))?;
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, &admin.authority);
    request = request.header(header::CONNECTION, "close");
    if let Some(credentials) = credentials {
        request = request.header(header::AUTHORIZATION, credentials);
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
    let remedy = "is it running? --admin URL says where it is";
    let silent = |why: &str| format!("the gateway does not answer at {admin} ({why}); {remedy}");
    let answer = runtime.block_on(async {
        #[expect(clippy::disallowed_methods, reason = "the operator names the address; no client of the proxy does")]
        let connecting = TcpStream::connect((admin.host.as_str(), admin.port));
        let stream = timeout(CONNECT_TIME, connecting)
            .await
            .map_err(|_| silent("it does not accept connections"))?
            .map_err(|error| silent(&error.to_string()))?;
        timeout(ANSWER_TIME, exchange(stream, request))
            .await
            .map_err(|_| silent("nothing came within 10 s"))?
            .map_err(|error| silent(&error.to_string()))
    });
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    answer
}

async fn exchange(
    stream: TcpStream,
    request: Request<Full<Bytes>>,
) -> Result<Response, Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the answer, or is dropped with the runtime.
    let driver = tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await?.to_bytes();
    driver.abort();
    Ok(Response { status, body })
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn an_admin_is_a_host_and_a_port() {
        let host = |text: &str| Address::parse(text).map(|address| (address.to_string(), address.host, address.port));
        let at = |url: &str, host: &str, port| Ok((url.to_owned(), host.to_owned(), port));
        assert_eq!(host("http://127.0.0.1:9128"), at("http://127.0.0.1:9128", "127.0.0.1", 9128));
        assert_eq!(host("127.0.0.1:9128"), at("http://127.0.0.1:9128", "127.0.0.1", 9128));
        assert_eq!(host("http://[::1]:9128/"), at("http://[::1]:9128", "::1", 9128));
        assert_eq!(host("http://gate.example"), at("http://gate.example:80", "gate.example", 80));
        for wrong in [
            "",
            "https://127.0.0.1:9128",
            "http://",
            "http://a:b:c",
            "http://u:p@h:1/",
            "http://h:1/metrics",
            "h:1?x",
            "http://h:99999",
        ] {
            assert!(host(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn everywhere_is_here() {
        let of = |setting: &str| Address::of(setting.parse().unwrap()).to_string();
        assert_eq!(of("0.0.0.0:9128"), "http://127.0.0.1:9128");
        assert_eq!(of("[::]:9128"), "http://[::1]:9128");
        assert_eq!(of("10.115.5.2:9128"), "http://10.115.5.2:9128");
    }
}
