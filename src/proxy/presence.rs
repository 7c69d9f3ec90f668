//! Is the client still there? Asked while something else is waited for: a connection, an answer.
//!
//! An impatient client closes and comes again; if that were noticed only when the answer arrives, each attempt would cost
//! two connections for as long as a slow origin takes.

use std::future::pending;
use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::proxy::activity::read;
use crate::proxy::buffer::Buffer;

/// How long an answer may take to begin once the client has closed its side. A client that has gone and one that only
/// has nothing more to say look the same; the few that half-close expect their answer soon.
const HALF_CLOSED: Duration = Duration::from_secs(2);
/// Bytes read at once of what the client sends meanwhile.
const READ: usize = 16 * 1024;

/// Returns when the client has left. What it sends meanwhile is kept in `buffer`; when that is full, nobody looks any more.
pub(crate) async fn left(client: &TcpStream, buffer: &mut Buffer, is_answered: impl Fn() -> bool) {
    loop {
        match buffer.fill(READ, |free| read(client, free)) {
            Ok(0) => {
                sleep(HALF_CLOSED).await;
                if is_answered() {
                    return pending().await;
                }
                return;
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                buffer.rest();
                if client.readable().await.is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::StorageFull => return pending().await,
            Err(_) => return,
        }
    }
}

/// The result of `work`, or `None` if the client left before.
pub(crate) async fn unless_left<T>(
    client: &TcpStream,
    buffer: &mut Buffer,
    work: impl Future<Output = T>,
) -> Option<T> {
    let left = pin!(left(client, buffer, || false));
    tokio::select! {
        biased;
        done = work => Some(done),
        () = left => None,
    }
}
