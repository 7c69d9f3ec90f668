//! The origin: a web server that has one page.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, oneshot};

/// Connections at a time; others wait to be accepted.
const CONNECTIONS: usize = 64;
/// The page: 1 KiB.
const PAGE: &[u8] = &[b'.'; 1024];

/// It, running on a thread of its own.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl Origin {
    pub(super) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("origin".to_owned()).spawn(move || {
            Builder::new_current_thread().enable_all().build()?.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                tokio::select! {
                    ended = serve(&listener) => ended,
                    // Whoever is still served is cut off with the runtime.
                    _ = stopped => Ok(()),
                }
            })
        })?;
        Ok(Self { address, stop, thread })
    }

    pub(super) fn end(self) -> io::Result<()> {
        // It may have ended by itself; why is told below.
        self.stop.send(()).unwrap_or_default();
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the origin has panicked")))
    }
}

async fn serve(listener: &tokio::net::TcpListener) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let page = service_fn(|_: Request<_>| async {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(PAGE))))
            });
            // How a client of ours ends its connection is nobody's business.
            http1::Builder::new().serve_connection(TokioIo::new(stream), page).await.unwrap_or_default();
            drop(place);
        });
    }
}
