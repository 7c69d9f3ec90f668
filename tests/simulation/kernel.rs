//! The kernel's part: a fence that forgets by itself, and memory that fills with what is open.

use std::collections::BTreeMap;

use floodgate::guard::Moment;
use floodgate::kernel::fence::Change;
use floodgate::net::ClientKey;

/// SYNs a second of a half-open network that pass, as in nftables; the first ten besides.
const TRICKLE: u64 = 5;

/// Who is kept out.
#[derive(Debug, Default)]
pub(crate) struct Fence(BTreeMap<ClientKey, Element>);

#[derive(Debug)]
struct Element {
    until: Moment,
    dropped: u64,
    /// SYNs that may still pass, and as of when.
    trickle: Option<(u64, Moment)>,
}

impl Fence {
    /// Whether a SYN passes.
    pub(crate) fn passes(&mut self, client: ClientKey, now: Moment) -> bool {
        let Some(element) = self.0.get_mut(&client).filter(|element| now < element.until) else { return true };
        if let Some((left, since)) = &mut element.trickle {
            let seconds = now.since(*since).as_secs();
            *left = (*left + seconds * TRICKLE).min(10);
            *since = since.after(std::time::Duration::from_secs(seconds));
            if *left > 0 {
                *left -= 1;
                return true;
            }
        }
        element.dropped += 1;
        false
    }

    pub(crate) fn apply(&mut self, changes: &[Change], now: Moment) {
        for change in changes {
            let client = ClientKey::new(change.network().addr());
            let (timeout, trickle) = match change {
                Change::Shut(_, timeout) => (*timeout, None),
                Change::HalfOpen(_, timeout) => (*timeout, Some((10, now))),
                Change::Open(_) => {
                    self.0.remove(&client);
                    continue;
                }
            };
            let dropped = self.0.get(&client).map_or(0, |element| element.dropped);
            self.0.insert(client, Element { until: now.after(timeout), dropped, trickle });
        }
    }

    pub(crate) fn dropped(&self) -> impl Iterator<Item = (ClientKey, u64)> {
        self.0.iter().map(|(client, element)| (*client, element.dropped))
    }

    /// Whom it keeps out at this moment.
    pub(crate) fn members(&self, now: Moment) -> impl Iterator<Item = ClientKey> {
        self.0.iter().filter(move |(_, element)| now < element.until).map(|(client, _)| *client)
    }
}
