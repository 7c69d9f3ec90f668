//! One connection: its place among the few, its times, and what it may leave waiting.

use std::convert::Infallible;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep, timeout};

use super::desk::Desk;
use super::limits::{HEAD_BYTES, HEAD_TIMEOUT, LAST_ANSWER, LIFE, PATIENCE, SEND_BUFFER};
use super::places::{Place, Places};
use crate::net::ClientKey;

/// Who asks, and where.
#[derive(Debug)]
pub(super) struct Visitor {
    /// Never IPv4-mapped.
    pub(super) peer: IpAddr,
    /// Where the connection came to.
    pub(super) local: SocketAddr,
    /// The client it is, unless it is on this box: no packet from elsewhere has a source address of ours.
    pub(super) from: Option<ClientKey>,
    place: Mutex<Option<Place>>,
}

impl Visitor {
    /// Somebody for whom there is a place.
    pub(super) fn new(peer: IpAddr, local: SocketAddr, places: &Arc<Places>) -> Option<Self> {
        let peer = peer.to_canonical();
        let is_here = peer.is_loopback() || peer == local.ip().to_canonical();
        let from = (!is_here).then(|| ClientKey::new(peer));
        let place = places.take(from)?;
        Some(Self { peer, local, from, place: Mutex::new(Some(place)) })
    }

    /// It asks no more, and gives the place of those who do to another.
    pub(super) fn listens(&self) {
        drop(self.place.lock().take());
    }

    fn is_listening(&self) -> bool {
        self.place.lock().is_none()
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(desk: Arc<Desk>, stream: TcpStream, visitor: Visitor) {
    if let Err(error) = bound(&stream) {
        tracing::debug!(peer = %visitor.peer, %error, "admin: the socket cannot be bounded");
        return;
    }
    let turned_away = Arc::clone(&desk.turned_away);
    let visitor = Arc::new(visitor);
    let asks = Arc::clone(&visitor);
    let service = service_fn(move |request| {
        let (desk, visitor) = (Arc::clone(&desk), Arc::clone(&asks));
        async move { Ok::<_, Infallible>(desk.answer(&visitor, request).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(Patient::new(stream)), service)
    );
    let ended = match timeout(LIFE, connection.as_mut()).await {
        Ok(ended) => ended,
        Err(_) if visitor.is_listening() => connection.await,
        Err(_) => {
            connection.as_mut().graceful_shutdown();
            timeout(LAST_ANSWER, connection).await.unwrap_or(Ok(()))
        }
    };
    // Whatever else it says, the connection is over.
    if ended.is_err_and(|error| took_nothing(&error)) {
        turned_away.given_up.fetch_add(1, Relaxed);
    }
}

/// Whether this is the end of [`PATIENCE`], by our clock or by the kernel's (`ETIMEDOUT`).
fn took_nothing(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == ErrorKind::TimedOut)
}

/// What the kernel may hold of its answers, and for how long after we have closed it.
fn bound(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.set_tcp_user_timeout(Some(PATIENCE))?;
    // The end of an event is not to wait for the acknowledgement of its beginning.
    stream.set_nodelay(true)
}

/// A socket whose peer takes something of what waits for it within [`PATIENCE`], or is given up.
#[derive(Debug)]
struct Patient<S> {
    socket: S,
    /// Ends the wait that goes on.
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    const fn new(socket: S) -> Self {
        Self { socket, until: None }
    }

    /// What a write came to, unless nothing has been taken for too long.
    fn judged(&mut self, written: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.until = None;
            return written;
        }
        let until = self.until.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
        ready!(until.as_mut().poll(cx));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.judged(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, parts);
        self.judged(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::{Instant, sleep};

    use super::{PATIENCE, Patient};

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_given_up_and_who_is_slow_is_not() {
        let (ours, mut theirs) = duplex(100);
        let mut ours = Patient::new(ours);
        let begun = Instant::now();
        let slow = async {
            for _ in 0..100 {
                sleep(PATIENCE.saturating_sub(Duration::from_secs(1))).await;
                theirs.read_u8().await.unwrap();
            }
            theirs
        };
        let (written, theirs) = tokio::join!(ours.write_all(&[7; 200]), slow);
        written.unwrap();
        assert!(begun.elapsed() > PATIENCE * 90);

        let begun = Instant::now();
        assert_eq!(ours.write_all(&[7; 1]).await.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), PATIENCE);
        drop(theirs);
    }
}
