//! hyper, an implementation with which this program shares no code beyond httparse, as the peer that reads what we forward.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, client, server};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::runtime::{Builder, Runtime};

/// The request that follows the one under test: whoever ends that one elsewhere reads something else here.
pub(super) const SENTINEL: &[u8] = b"GET /sentinel HTTP/1.1\r\nHost: sentinel\r\n\r\n";

/// A request as hyper reads it.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) target: String,
    /// The values of `Host`.
    pub(super) hosts: Vec<Vec<u8>>,
    /// None: it ends early, or is malformed.
    pub(super) body: Option<Vec<u8>>,
}

/// The requests that an origin made of hyper reads from a connection on which these bytes arrive, and then its end.
pub(super) fn requests(bytes: &[u8]) -> Vec<Seen> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    runtime().block_on(async {
        let origin = service_fn(|request: hyper::Request<Incoming>| {
            let seen = Rc::clone(&seen);
            async move {
                let (head, body) = request.into_parts();
                let hosts = head.headers.get_all("host");
                let body = body.collect().await.ok();
                seen.borrow_mut().push(Seen {
                    method: head.method.to_string(),
                    target: head.uri.to_string(),
                    hosts: hosts.iter().map(|host| host.as_bytes().to_vec()).collect(),
                    body: body.map(|body| body.to_bytes().to_vec()),
                });
                Ok::<_, Infallible>(hyper::Response::new(Empty::<Bytes>::new()))
            }
        });
        // We bound trailers by their bytes, hyper by their number.
        let lines = 256 + bytes.split(|&byte| byte == b'\n').count();
        let connection = server::conn::http1::Builder::new()
            .half_close(true)
            .max_headers(lines)
            .serve_connection(arriving(bytes, false), origin);
        // What is wrong with the connection shows in what was seen.
        drop(connection.await);
    });
    seen.take()
}

/// Asserts that what follows the request under test is the sentinel, and nothing more.
pub(super) fn assert_sentinel(seen: &[Seen]) {
    let read: Vec<_> = seen.iter().map(|one| (&*one.method, &*one.target, one.body.as_deref())).collect();
    assert_eq!(read, [("GET", "/sentinel", Some(&b""[..]))], "hyper does not find the request that follows");
}

/// The status and body that a client made of hyper reads from a connection on which these bytes answer its request; None if it
/// finds them wrong or cut.
pub(super) fn response(bytes: &[u8], to_head: bool) -> Option<(u16, Vec<u8>)> {
    let method = if to_head { Method::HEAD } else { Method::GET };
    let request = hyper::Request::builder().method(method).uri("/").body(Empty::<Bytes>::new());
    runtime().block_on(async {
        let connection = client::conn::http1::Builder::new().max_headers(256).handshake(arriving(bytes, true));
        let (mut sender, connection) = connection.await.ok()?;
        let exchange = async {
            let response = sender.send_request(request.ok()?).await.ok()?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.ok()?;
            Some((status, body.to_bytes().to_vec()))
        };
        let (_, answer) = tokio::join!(connection, exchange);
        answer
    })
}

/// Our end of a connection on which `bytes` arrive, then the end; for a client, once its request has been read.
fn arriving(bytes: &[u8], after_request: bool) -> TokioIo<DuplexStream> {
    let (ours, mut theirs) = tokio::io::duplex(bytes.len() + 64 * 1024);
    let bytes = bytes.to_vec();
    let script = async move {
        if after_request {
            let mut request = [0; 1024];
            let _one_read_is_enough = theirs.read(&mut request).await;
        }
        theirs.write_all(&bytes).await.ok();
        theirs.shutdown().await.ok();
        // What is answered is read, so that nobody waits to write.
        tokio::io::copy(&mut theirs, &mut tokio::io::sink()).await.ok();
    };
    tokio::spawn(script);
    TokioIo::new(ours)
}

/// Everything happens in memory: no reactor, no clock.
fn runtime() -> Runtime {
    Builder::new_current_thread().build().expect("a runtime without drivers")
}
