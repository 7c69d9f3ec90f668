//! What is shown, and how it follows from what happens. Pure: the time is told.

use std::cmp::Ordering;
use std::ops::ControlFlow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::status::{Status, number_in, text_in};
use crate::admin::words::span;

/// Something that happens.
#[derive(Debug)]
pub(super) enum Event {
    /// The gateway's answer, or why there is none.
    Told(Result<Box<Value>, String>),
    /// A key was pressed.
    Key(Key),
    /// Time has passed, or the window has another size.
    Nothing,
    /// Somebody wants us to stop.
    End,
}

/// A key that means something.
#[derive(Clone, Copy, Debug)]
pub(super) enum Key {
    Letter(char),
    Up(usize),
    Down(usize),
    Quit,
}

/// What clients are sorted by.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Order {
    /// As the gateway lists them: fenced, stalled, refused, and then by open connections.
    #[default]
    Worst,
    Kernel,
    Sockets,
    Connections,
    Requests,
    Refused,
    Bytes,
    Address,
}

impl Order {
    /// Every order, with the key for it and its name.
    pub(super) const ALL: [(Self, char, &'static str); 8] = [
        (Self::Worst, 'w', "worst"),
        (Self::Kernel, 'k', "kernel"),
        (Self::Sockets, 's', "sockets"),
        (Self::Connections, 'c', "conn/s"),
        (Self::Requests, 'r', "req/s"),
        (Self::Refused, 'f', "refused"),
        (Self::Bytes, 'b', "bytes"),
        (Self::Address, 'a', "address"),
    ];

    fn place(self) -> Option<&'static str> {
        match self {
            Self::Worst | Self::Address => None,
            Self::Kernel => Some("/kernel_bytes"),
            Self::Sockets => Some("/sockets"),
            Self::Connections => Some("/rates/arrivals"),
            Self::Requests => Some("/rates/requests"),
            Self::Refused => Some("/rates/refusals"),
            Self::Bytes => Some("/rates/bytes"),
        }
    }
}

/// Counters whose growth is shown.
const COUNTERS: [&str; 4] =
    ["/traffic/connections/total", "/traffic/requests", "/traffic/bytes/from_client", "/traffic/bytes/to_client"];

/// How fast they grow, a second.
#[derive(Debug, Default)]
pub(super) struct Rates {
    pub(super) connections: Option<f64>,
    pub(super) requests: Option<f64>,
    pub(super) from_clients: Option<f64>,
    pub(super) to_clients: Option<f64>,
    /// Refusals by reason: those that grow, the fastest first.
    pub(super) refusals: Vec<(String, f64)>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) admin: String,
    /// The last answer, and when it came.
    pub(super) latest: Option<(Status, Duration)>,
    pub(super) rates: Rates,
    /// Why there is no newer one.
    pub(super) trouble: Option<String>,
    pub(super) order: Order,
    /// How many clients stand above the first that is shown.
    pub(super) above: usize,
    /// Since the beginning.
    pub(super) now: Duration,
    /// Seconds since 1970, as fences and alarms count them.
    unix: f64,
}

impl State {
    pub(super) fn new(admin: String) -> Self {
        Self {
            admin,
            latest: None,
            rates: Rates::default(),
            trouble: None,
            order: Order::default(),
            above: 0,
            now: Duration::ZERO,
            unix: 0.0,
        }
    }

    /// Something has happened, at this moment. `Break` when it was the last.
    pub(super) fn on(&mut self, event: Event, now: Duration, clock: SystemTime) -> ControlFlow<()> {
        self.now = now;
        self.unix = clock.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        match event {
            Event::Told(Ok(answer)) => self.told(Status::new(*answer)),
            Event::Told(Err(why)) => self.trouble = Some(why),
            Event::Key(key) => return self.key(key),
            Event::Nothing => {}
            Event::End => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    fn told(&mut self, status: Status) {
        self.trouble = None;
        self.rates = match &self.latest {
            Some((before, then)) => rates(before, &status, self.now.saturating_sub(*then)),
            None => Rates::default(),
        };
        self.latest = Some((status, self.now));
        self.above = self.above.min(self.clients().len().saturating_sub(1));
    }

    fn key(&mut self, key: Key) -> ControlFlow<()> {
        match key {
            Key::Quit | Key::Letter('q') => return ControlFlow::Break(()),
            Key::Letter(letter) => {
                if let Some((order, ..)) = Order::ALL.into_iter().find(|(_, key, _)| *key == letter) {
                    (self.order, self.above) = (order, 0);
                }
            }
            Key::Up(rows) => self.above = self.above.saturating_sub(rows),
            Key::Down(rows) => {
                let last = self.clients().len().saturating_sub(1);
                self.above = self.above.saturating_add(rows).min(last);
            }
        }
        ControlFlow::Continue(())
    }

    pub(super) fn status(&self) -> Option<&Status> {
        self.latest.as_ref().map(|(status, _)| status)
    }

    /// The time since this second of 1970, in words.
    pub(super) fn since(&self, unix: f64) -> String {
        span(Duration::from_secs(whole(self.unix - unix)))
    }

    /// The time until it.
    pub(super) fn until(&self, unix: f64) -> String {
        span(Duration::from_secs(whole(unix - self.unix)))
    }

    /// The clients in the order that is wanted. Those without the number come last, and equals stay as they were listed.
    pub(super) fn clients(&self) -> Vec<&Value> {
        let listed = self.status().and_then(|status| status.list("/clients")).unwrap_or_default();
        let mut clients: Vec<&Value> = listed.iter().collect();
        if let Some(place) = self.order.place() {
            let number = |client: &Value| number_in(client, place).unwrap_or(f64::NEG_INFINITY);
            clients.sort_by(|a, b| number(b).total_cmp(&number(a)));
        } else if self.order == Order::Address {
            clients.sort_by(|a, b| by_address(a, b));
        }
        clients
    }
}

/// Without the fraction; nothing below 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast saturates, which is what is wanted"
)]
pub(super) fn whole(number: f64) -> u64 {
    number.max(0.0) as u64
}

/// As numbers, not as text: 10.0.0.9 before 10.0.0.10.
fn by_address(a: &Value, b: &Value) -> Ordering {
    let network = |client: &Value| {
        let text = text_in(client, "/address").unwrap_or_default();
        (crate::admin::network(&text).map(|network| network.addr()), text)
    };
    network(a).cmp(&network(b))
}

/// None for what has not grown by counting: a gateway that was started anew begins at 0.
fn rates(before: &Status, after: &Status, passed: Duration) -> Rates {
    let uptime = |status: &Status| status.count("/gateway/uptime_s");
    let seconds = passed.as_secs_f64();
    if seconds <= 0.0 || uptime(after) < uptime(before) {
        return Rates::default();
    }
    let grown = |place: &str| {
        let grown = after.number(place)? - before.number(place)?;
        (grown >= 0.0).then_some(grown / seconds)
    };
    let [connections, requests, from_clients, to_clients] = COUNTERS.map(grown);
    let known: Vec<(String, f64)> = before.numbers("/traffic/refusals").collect();
    let mut refusals: Vec<(String, f64)> = after
        .numbers("/traffic/refusals")
        .filter_map(|(reason, count)| {
            let (_, was) = known.iter().find(|(known, _)| *known == reason)?;
            Some((reason, (count - was) / seconds)).filter(|(_, rate)| *rate > 0.0)
        })
        .collect();
    refusals.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    Rates { connections, requests, from_clients, to_clients, refusals }
}
