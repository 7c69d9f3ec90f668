//! One status a second for all who listen: server-sent events (HTML Living Standard, section 9.2).
//!
//! Owns: the newest event, the listeners' places. Called by: the desk, control when a second is over, the gateway when it drains.
//! Never: makes an event twice, or for nobody, or keeps one for a listener that is slow: it gets the newest when it reads again.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::answer::Content;
use super::limits::{LISTENERS, PERIOD};
use super::places::{Place, Places};
use crate::net::ClientKey;

/// What the listeners are to get.
#[derive(Clone, Debug)]
enum Newest {
    /// Nothing yet.
    Nothing,
    /// This, in the same memory for all.
    Event(Bytes),
    /// Nothing any more.
    End,
}

/// The events of a gateway.
#[derive(Debug)]
pub struct Events {
    newest: watch::Sender<Newest>,
    /// Somebody has begun to listen.
    wanted: Notify,
    /// A second is over.
    ticked: Notify,
    places: Arc<Places>,
    turned_away: AtomicU64,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            newest: watch::Sender::new(Newest::Nothing),
            wanted: Notify::new(),
            ticked: Notify::new(),
            places: Places::new(LISTENERS),
            turned_away: AtomicU64::new(0),
        }
    }
}

impl Events {
    /// A second is over, and everything that is shown is as of now.
    pub fn tick(&self) {
        self.ticked.notify_one();
    }

    /// Ends every stream, and lets no new one begin.
    pub fn end(&self) {
        self.newest.send_replace(Newest::End);
    }

    /// Who listens.
    pub(super) fn listeners(&self) -> usize {
        self.places.taken()
    }

    /// Listeners for whom there was no place.
    pub(super) fn turned_away(&self) -> u64 {
        self.turned_away.load(Relaxed)
    }

    /// What one more listener, from elsewhere or on this box, gets for as long as it may, unless there are too many, or it is
    /// over.
    pub(super) fn listen(&self, from: Option<ClientKey>, may: impl Fn() -> bool + Send + 'static) -> Option<Content> {
        if matches!(*self.newest.borrow(), Newest::End) {
            return None;
        }
        let Some(place) = self.places.take(from) else {
            self.turned_away.fetch_add(1, Relaxed);
            return None;
        };
        let mut newest = self.newest.subscribe();
        // What the others have seen is news to this one.
        newest.mark_changed();
        self.wanted.notify_one();
        let listener = Listener { newest, may, _place: place };
        Some(StreamBody::new(stream::unfold(listener, Listener::next)).boxed_unsync())
    }

    /// Makes them, for ever: one for each second that is over, by the clock if nobody says so.
    pub(super) async fn run(&self, make: impl Fn() -> String) -> Infallible {
        let mut number = 0_u64;
        loop {
            if self.newest.receiver_count() == 0 {
                // Whoever comes next is not to see what was.
                self.put(Newest::Nothing);
                self.wanted.notified().await;
                continue;
            }
            // Late or not, it is time.
            timeout(PERIOD, self.ticked.notified()).await.unwrap_or_default();
            if self.newest.receiver_count() > 0 {
                number = number.wrapping_add(1);
                self.put(Newest::Event(event(number, &make())));
            }
        }
    }

    fn put(&self, newest: Newest) {
        self.newest.send_if_modified(|current| {
            let goes_on = !matches!(current, Newest::End);
            if goes_on {
                *current = newest;
            }
            goes_on
        });
    }
}

/// Its `data` is one line: JSON has none of its own.
fn event(number: u64, data: &str) -> Bytes {
    // A connection that ends is made anew after a second, by those browsers' means that know no better.
    Bytes::from(format!("id: {number}\nevent: status\nretry: 1000\ndata: {data}\n\n"))
}

struct Listener<F> {
    newest: watch::Receiver<Newest>,
    may: F,
    _place: Place,
}

impl<F: Fn() -> bool> Listener<F> {
    /// The newest that it has not seen.
    async fn next(mut self) -> Option<(Result<Frame<Bytes>, Infallible>, Self)> {
        loop {
            self.newest.changed().await.ok()?;
            let newest = self.newest.borrow_and_update().clone();
            match newest {
                Newest::Nothing => {}
                Newest::Event(event) if (self.may)() => return Some((Ok(Frame::data(event)), self)),
                Newest::Event(_) | Newest::End => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;
    use std::time::Duration;

    use futures_util::{FutureExt, poll};
    use http_body_util::BodyExt;
    use tokio::time::{Instant, sleep};

    use super::super::answer::Content;
    use super::super::limits::LISTENERS;
    use super::{Events, event};

    async fn next(stream: &mut Content) -> Option<String> {
        let frame = stream.frame().await?.unwrap();
        Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn one_is_made_a_second_for_all_and_none_for_nobody() {
        let (events, made) = (Events::default(), Cell::new(0));
        let begun = Instant::now();
        let make = || {
            made.set(made.get() + 1);
            begun.elapsed().as_secs().to_string()
        };
        let seconds = async {
            for _ in 0..1_000 {
                sleep(Duration::from_secs(1)).await;
                events.tick();
            }
        };
        let listens = async {
            sleep(Duration::from_millis(100_500)).await;
            assert_eq!(made.get(), 0, "nobody listens");
            let [mut one, mut other, mut slow] = [0; 3].map(|_| events.listen(None, || true).unwrap());
            assert_eq!(events.listeners(), 3);
            for (number, second) in (1..=10).zip(100..) {
                let expected = String::from_utf8(event(number, &second.to_string()).to_vec()).unwrap();
                assert_eq!(next(&mut one).await.as_ref(), Some(&expected));
                assert_eq!(next(&mut other).await, Some(expected));
            }
            // One that comes later gets what the others have, the slow one the newest and nothing else.
            let mut late = events.listen(None, || true).unwrap();
            let newest = Some(Some(String::from_utf8(event(10, "109").to_vec()).unwrap()));
            assert_eq!(next(&mut late).now_or_never(), newest);
            assert_eq!(next(&mut slow).now_or_never(), newest);
            assert_eq!(next(&mut slow).now_or_never(), None);
            drop((one, other, slow, late));
            sleep(Duration::from_secs(10)).await;
            assert_eq!((made.get(), events.listeners()), (10, 0));
            // Who comes after a while does not see what was.
            let mut stream = events.listen(None, || true).unwrap();
            assert_eq!(next(&mut stream).now_or_never(), None);
            assert!(next(&mut stream).await.unwrap().contains("\ndata: 119\n\n"));
        };
        tokio::select! {
            never = events.run(make) => match never {},
            () = seconds => {}
            () = listens => {}
        }
    }

    #[tokio::test]
    async fn there_are_so_many_places_and_they_are_given_back() {
        let events = Events::default();
        let all: Vec<_> = (0..LISTENERS.all).map(|_| events.listen(None, || true).unwrap()).collect();
        assert!(events.listen(None, || true).is_none());
        assert_eq!((events.listeners(), events.turned_away()), (LISTENERS.all, 1));
        drop(all);
        assert!(events.listen(None, || true).is_some());
        assert_eq!(events.listeners(), 0);
    }

    #[tokio::test]
    async fn the_end_is_for_all() {
        let events = Events::default();
        let mut stream = events.listen(None, || true).unwrap();
        events.end();
        assert_eq!(next(&mut stream).await, None);
        assert!(events.listen(None, || true).is_none());
        let mut run = pin!(events.run(|| "status".to_owned()));
        assert!(poll!(run.as_mut()).is_pending());
        assert!(events.listen(None, || true).is_none(), "it stays the end");
        assert_eq!(events.turned_away(), 0);
    }
}
