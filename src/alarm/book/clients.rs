//! The clients that one alarm is about: how many, and the heaviest of them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::OTHERS;
use crate::alarm::Alarm;
use crate::alarm::judge::words::count;
use crate::guard::Moment;

/// Clients that are counted apart; further ones are one, [`OTHERS`]: as many as the judge tells apart. At 60 bytes each they
/// are 60 KB.
pub(super) const CLIENTS: usize = 1_024;
/// Clients that a message names.
const NAMED: usize = 3;

/// Whether an alarm is one thing however many clients it is about: in a storm of a thousand, nobody reads a thousand messages.
pub(super) fn are_one(alarm: Alarm) -> bool {
    alarm.row().subject == Some("client")
}

/// How often each was counted since the last message.
#[derive(Debug, Default)]
pub(super) struct Clients {
    counts: BTreeMap<String, u64>,
    /// The last second in which any was seen, and how often the one of it had been counted that leads.
    lead: Option<(Moment, u64)>,
}

impl Clients {
    /// One was seen, so often. Whether none that was seen in the same second has been counted more often.
    pub(super) fn see(&mut self, client: String, count: u64, now: Moment) -> bool {
        let full = self.counts.len() >= CLIENTS && !self.counts.contains_key(&client);
        let client = if full { OTHERS.to_owned() } else { client };
        let named = client != OTHERS;
        let counted = if count == 0 {
            self.counts.get(&client).copied().unwrap_or(0)
        } else {
            let counted = self.counts.entry(client).or_default();
            *counted = counted.saturating_add(count);
            *counted
        };
        let leads = self.lead.is_none_or(|(at, most)| at != now || named && counted >= most);
        if leads {
            self.lead = Some((now, if named { counted } else { 0 }));
        }
        leads
    }

    /// What is counted from here on is for another message.
    pub(super) fn clear(&mut self) {
        self.counts.clear();
    }

    /// What there is to say if there are several: how many, how many besides the first, and the heaviest by name.
    pub(super) fn values(&self) -> Vec<(&'static str, String)> {
        let clients = self.counts.len() as u64;
        if clients < 2 {
            return Vec::new();
        }
        let at_least = if self.counts.contains_key(OTHERS) { "+" } else { "" };
        let mut named: Vec<_> = self.counts.iter().filter(|(client, _)| *client != OTHERS).collect();
        named.sort_by_key(|(_, counted)| Reverse(**counted));
        let mut heaviest: Vec<_> =
            named.iter().take(NAMED).map(|(client, counted)| format!("{client} × {}", count(**counted))).collect();
        if self.counts.len() > NAMED {
            heaviest.push("…".to_owned());
        }
        vec![
            ("clients", format!("{}{at_least}", count(clients))),
            ("more", format!("{}{at_least}", count(clients - 1))),
            ("heaviest", heaviest.join(", ")),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::{CLIENTS, Clients, OTHERS};
    use crate::guard::Moment;

    fn at(second: u64) -> Moment {
        Moment::from_millis(second * 1_000)
    }

    fn values(clients: &Clients) -> Vec<String> {
        clients.values().into_iter().map(|(_, value)| value).collect()
    }

    #[test]
    fn the_heaviest_are_named_and_the_others_counted() {
        let mut clients = Clients::default();
        assert!(clients.see("a".to_owned(), 5, at(1)));
        assert_eq!(values(&clients), [""; 0], "there is one");
        assert!(clients.see("b".to_owned(), 1_000, at(1)));
        assert!(!clients.see("c".to_owned(), 7, at(1)));
        assert_eq!(values(&clients), ["3", "2", "b × 1,000, c × 7, a × 5"]);
        assert!(!clients.see("d".to_owned(), 0, at(1)), "it goes on, and is not counted");
        // Of those that are still seen.
        assert!(clients.see("a".to_owned(), 1, at(2)));
        assert!(clients.see("c".to_owned(), 1, at(2)));
        assert!(clients.see("e".to_owned(), 1, at(3)));
        assert_eq!(values(&clients), ["4", "3", "b × 1,000, c × 8, a × 6, …"]);
        clients.clear();
        assert_eq!(values(&clients), [""; 0]);
    }

    #[test]
    fn they_are_bounded() {
        let mut clients = Clients::default();
        clients.see(OTHERS.to_owned(), 1 << 40, at(1));
        for n in 0..10_000_u64 {
            clients.see(format!("{n:05}"), n + 1, at(1));
        }
        assert_eq!(clients.counts.len(), CLIENTS);
        assert!(!clients.see("99999".to_owned(), u64::MAX, at(1)), "those have no name");
        assert_eq!(values(&clients), ["1,024+", "1,023+", "01022 × 1,023, 01021 × 1,022, 01020 × 1,021, …"]);
        assert_eq!(clients.counts.get(OTHERS), Some(&u64::MAX));
    }
}
