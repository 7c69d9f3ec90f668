//! Closes that wait for their client's FIN, all of a worker in one place: no task, no timer and no reactor for each.
//!
//! Owns: sockets on which an answer of ours has been sent, and when to look at them. Called by: the journey, for refusals.
//! Never: allocates for another socket once it has held as many; waits longer than [`close`](super::close) says.

use std::collections::VecDeque;
use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::close::{FinWait, SHORT_ANSWER};

/// Pauses between two looks, in milliseconds; together as long as a silent client is waited for. One that retries at once
/// has closed by the first look. The last is repeated for a client that goes on sending.
const PAUSES: [u64; 8] = [1, 2, 4, 8, 16, 32, 64, 73];
/// Places a queue keeps when it is nearly empty.
const KEPT: usize = 256;

/// Sockets that wait for their client's FIN, each with a guest that leaves when it is closed.
#[derive(Debug)]
pub struct Lingering<T> {
    /// One queue per pause: in each, who came first is due first.
    queues: Mutex<[VecDeque<Socket<T>>; PAUSES.len()]>,
    /// Told when the first queue is empty no more: everything else is due later.
    filled: Notify,
}

#[derive(Debug)]
struct Socket<T> {
    stream: TcpStream,
    wait: FinWait,
    due: Instant,
    guest: T,
}

impl<T> Default for Lingering<T> {
    fn default() -> Self {
        Self { queues: Mutex::default(), filled: Notify::new() }
    }
}

impl<T> Lingering<T> {
    /// Takes a socket over on which a short answer with `Connection: close` has been sent.
    pub fn add(&self, stream: TcpStream, guest: T) {
        let now = Instant::now();
        self.put(0, Socket { stream, wait: FinWait::new(now), due: now, guest }, now);
    }

    /// Closes one after the other, as their time comes, and hands each guest to `closed`. Runs for ever; when it is dropped,
    /// what is still here is given up.
    pub async fn run(&self, is_lean: impl Fn() -> bool, closed: impl Fn(T)) {
        let _cleared = Cleared(self);
        loop {
            match self.next_due() {
                Some(due) => tokio::select! {
                    () = sleep_until(due) => {}
                    () = self.filled.notified() => continue,
                },
                None => self.filled.notified().await,
            }
            self.look(Instant::now(), is_lean(), &closed);
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.queues.lock().iter().filter_map(|queue| queue.front()).map(|socket| socket.due).min()
    }

    fn look(&self, now: Instant, lean: bool, closed: impl Fn(T)) {
        for level in 0..PAUSES.len() {
            while let Some(mut socket) = self.take_due(level, now) {
                if socket.wait.look(now, |scrap| socket.stream.read(scrap)).is_some() {
                    self.put((level + 1).min(PAUSES.len() - 1), socket, now);
                } else {
                    socket.wait.release(socket.stream, SHORT_ANSWER, lean);
                    closed(socket.guest);
                }
            }
        }
    }

    fn put(&self, level: usize, mut socket: Socket<T>, now: Instant) {
        let mut queues = self.queues.lock();
        if let (Some(queue), Some(pause)) = (queues.get_mut(level), PAUSES.get(level)) {
            if level == 0 && queue.is_empty() {
                self.filled.notify_one();
            }
            socket.due = now + Duration::from_millis(*pause);
            queue.push_back(socket);
        }
    }

    fn take_due(&self, level: usize, now: Instant) -> Option<Socket<T>> {
        let mut queues = self.queues.lock();
        let queue = queues.get_mut(level)?;
        let due = queue.pop_front_if(|socket| socket.due <= now);
        if due.is_none() && queue.capacity() > KEPT && queue.len() < queue.capacity() / 4 {
            queue.shrink_to(KEPT);
        }
        due
    }
}

/// Empties the queues when it is dropped: a guest may keep alive what these queues belong to.
struct Cleared<'a, T>(&'a Lingering<T>);

impl<T> Drop for Cleared<'_, T> {
    fn drop(&mut self) {
        let given_up = std::mem::take(&mut *self.0.queues.lock());
        drop(given_up);
    }
}
