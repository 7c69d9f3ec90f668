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
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::close::{FinWait, SHORT_ANSWER};

/// Pauses between two looks, in milliseconds; together as long as a silent client is waited for. One that retries at once
/// has closed by the first look. The last is repeated for a client that goes on sending.
const PAUSES: [u64; 8] = [1, 2, 4, 8, 16, 32, 64, 73];
/// Sockets looked at before others get their turn.
const TURN: usize = 64;
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
            while self.look(Instant::now(), is_lean(), &closed) == TURN {
                yield_now().await;
            }
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.queues.lock().iter().filter_map(|queue| queue.front()).map(|socket| socket.due).min()
    }

    /// Looks at sockets that are due, and tells at how many.
    fn look(&self, now: Instant, lean: bool, closed: impl Fn(T)) -> usize {
        let mut looked = 0;
        for level in 0..PAUSES.len() {
            while looked < TURN
                && let Some(mut socket) = self.take_due(level, now)
            {
                looked += 1;
                if socket.wait.look(now, |scrap| socket.stream.read(scrap)).is_some() {
                    self.put((level + 1).min(PAUSES.len() - 1), socket, now);
                } else {
                    socket.wait.release(socket.stream, SHORT_ANSWER, lean);
                    closed(socket.guest);
                }
            }
        }
        looked
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::time::Duration;

    use tokio::time::{Instant, sleep, timeout};

    use super::Lingering;

    /// Both ends of a connection; ours does not block.
    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        (ours, client)
    }

    /// Runs until `guests` have left, and tells how long it took on the virtual clock.
    async fn run_until(lingering: &Lingering<()>, guests: usize) -> Duration {
        let (begun, left) = (Instant::now(), AtomicUsize::new(0));
        let run = lingering.run(
            || false,
            |()| {
                left.fetch_add(1, Relaxed);
            },
        );
        let all = async {
            while left.load(Relaxed) < guests {
                sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! { () = run => {}, () = all => {} }
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_closed_is_let_go_at_the_first_look_and_a_silent_one_after_200_ms() {
        let lingering = Lingering::default();
        let (ours, client) = pair();
        drop(client);
        lingering.add(ours, ());
        let took = run_until(&lingering, 1).await;
        assert!(took < Duration::from_millis(5), "{took:?}");

        let (ours, mut client) = pair();
        lingering.add(ours, ());
        let took = run_until(&lingering, 1).await;
        assert!((200..210).contains(&took.as_millis()), "{took:?}");
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "an ordinary end");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_goes_on_sending_is_read_for_a_second_and_newcomers_do_not_wait_for_it() {
        let lingering = Arc::new(Lingering::default());
        let (ours, mut client) = pair();
        lingering.add(ours, "sends");
        let order = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let begun = Instant::now();
        let running = tokio::spawn({
            let (lingering, order) = (Arc::clone(&lingering), Arc::clone(&order));
            async move { lingering.run(|| false, |guest| order.lock().push((guest, begun.elapsed().as_millis()))).await }
        });
        for turn in 0..30 {
            client.write_all(b"more").unwrap_or_default();
            sleep(Duration::from_millis(50)).await;
            if turn == 9 {
                let (ours, gone) = pair();
                drop(gone);
                lingering.add(ours, "gone");
            }
        }
        let order = order.lock().clone();
        let [("gone", at), ("sends", until)] = order[..] else { panic!("{order:?}") };
        assert!((500..505).contains(&at), "{order:?}");
        assert!((1_000..1_100).contains(&until), "{order:?}");
        running.abort();
    }

    #[tokio::test]
    async fn what_is_left_when_it_stops_is_given_up() {
        let lingering = Lingering::default();
        let guest = Arc::new(());
        let (ours, mut client) = pair();
        lingering.add(ours, Arc::clone(&guest));
        timeout(Duration::from_millis(20), lingering.run(|| false, drop)).await.unwrap_err();
        assert_eq!(Arc::strong_count(&guest), 1);
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    }
}
