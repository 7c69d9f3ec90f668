//! The clients that were refused most, lately.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use ahash::AHashMap;

use super::Aggregate;
use crate::net::ClientKey;
use crate::outcome::RequestEnd;

/// Clients shown.
const SHOWN: usize = 64;
/// Clients remembered between two drains: more than are shown, so that one that rises slowly is not forgotten each second.
const REMEMBERED: usize = 256;
/// The time constant of the decay: steady refusals add up to those of one minute.
const WINDOW: Duration = Duration::from_mins(1);
/// A client below this is forgotten: one refusal, five minutes ago.
const FORGOTTEN: f64 = 0.007;

/// One client on the board.
#[derive(Clone, Debug, PartialEq)]
pub struct Offender {
    /// The client.
    pub client: ClientKey,
    /// The address of a recent refusal.
    pub address: IpAddr,
    /// Refusals in the last minute, in exponential decay.
    pub recent: f64,
    /// Refusals since the client came onto the board.
    pub total: u64,
    /// Why it was refused last.
    pub end: RequestEnd,
    /// A request line that was refused for that: raw bytes, credentials masked, at most 256.
    pub sample: Box<[u8]>,
    /// When, to the second.
    pub last: SystemTime,
}

/// A bounded set of clients with decaying weights; time is passed in.
#[derive(Debug, Default)]
pub(super) struct Board(AHashMap<ClientKey, Offender>);

impl Board {
    /// Lets `elapsed` pass, then adds what was refused in it.
    pub(super) fn update(&mut self, aggregates: &[Aggregate], elapsed: Duration) {
        let decay = (-elapsed.as_secs_f64() / WINDOW.as_secs_f64()).exp();
        self.0.retain(|_, offender| {
            offender.recent *= decay;
            offender.recent >= FORGOTTEN
        });
        for aggregate in aggregates {
            let offender = self.0.entry(aggregate.client).or_insert_with(|| Offender {
                client: aggregate.client,
                address: aggregate.address,
                recent: 0.0,
                total: 0,
                end: aggregate.end,
                sample: Box::default(),
                last: SystemTime::UNIX_EPOCH,
            });
            offender.recent += f64::from(aggregate.count);
            offender.total += u64::from(aggregate.count);
        }
        self.forget_the_least();
        // Samples are copied only for those who stay: a second may bring thousands.
        for aggregate in aggregates {
            if let Some(offender) = self.0.get_mut(&aggregate.client)
                && aggregate.first >= offender.last
            {
                offender.last = aggregate.first;
                offender.address = aggregate.address;
                offender.end = aggregate.end;
                offender.sample.clone_from(&aggregate.sample);
            }
        }
    }

    fn forget_the_least(&mut self) {
        if self.0.len() <= REMEMBERED {
            return;
        }
        let mut ranks: Vec<(f64, ClientKey)> =
            self.0.values().map(|offender| (offender.recent, offender.client)).collect();
        ranks.select_nth_unstable_by(REMEMBERED, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        for (_, client) in ranks.into_iter().skip(REMEMBERED) {
            self.0.remove(&client);
        }
        self.0.shrink_to(REMEMBERED);
    }

    /// The worst, at most [`SHOWN`], the worst first.
    pub(super) fn top(&self) -> Vec<Offender> {
        let mut all: Vec<&Offender> = self.0.values().collect();
        all.sort_unstable_by(|a, b| b.recent.total_cmp(&a.recent).then(a.client.cmp(&b.client)));
        all.into_iter().take(SHOWN).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::{Duration, SystemTime};

    use super::{Board, REMEMBERED, SHOWN};
    use crate::net::ClientKey;
    use crate::outcome::{Form, RequestEnd};
    use crate::telemetry::refusals::Aggregate;

    const SECOND: Duration = Duration::from_secs(1);

    fn aggregate(i: u32, count: u32, at: u64) -> Aggregate {
        let address = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + i));
        Aggregate {
            client: ClientKey::new(address),
            address,
            end: RequestEnd::SelfTarget,
            count,
            forms: [0; Form::COUNT],
            first: SystemTime::UNIX_EPOCH + Duration::from_secs(at),
            sample: format!("GET /{at} HTTP/1.1").into_bytes().into(),
        }
    }

    #[test]
    fn steady_refusals_show_as_those_of_a_minute() {
        let mut board = Board::default();
        for second in 0..600 {
            board.update(&[aggregate(1, 10, second)], SECOND);
        }
        let top = board.top();
        assert!((590.0..=620.0).contains(&top[0].recent), "{top:?}");
        assert_eq!(top[0].total, 6_000);
        assert_eq!(top[0].sample.as_ref(), b"GET /599 HTTP/1.1");

        // It stops, fades, and is forgotten; however late the next drain is.
        board.update(&[], Duration::from_mins(1));
        assert!((200.0..=240.0).contains(&board.top()[0].recent));
        board.update(&[], Duration::from_mins(20));
        assert!(board.top().is_empty());
    }

    #[test]
    fn the_worst_stay() {
        let mut board = Board::default();
        let many: Vec<_> = (1..=4_096).map(|i| aggregate(i, i, 1)).collect();
        board.update(&many, SECOND);
        assert_eq!(board.0.len(), REMEMBERED);
        let top = board.top();
        assert_eq!(top.len(), SHOWN);
        assert_eq!(top[0].total, 4_096);
        assert_eq!(top[63].total, 4_033);
        assert!(top.iter().all(|o| !o.sample.is_empty()));

        // A newcomer who is worse displaces one of them; a lesser one does not.
        board.update(&[aggregate(9_000, 9_000, 2), aggregate(1, 1, 2)], SECOND);
        assert_eq!(board.0.len(), REMEMBERED);
        assert_eq!(board.top()[0].total, 9_000);
        assert!(!board.0.contains_key(&aggregate(1, 1, 2).client));
    }

    #[test]
    fn the_latest_reason_counts() {
        let mut board = Board::default();
        let mut port = aggregate(1, 1, 5);
        port.end = RequestEnd::PortDenied;
        board.update(&[port, aggregate(1, 100, 4)], SECOND);
        let top = board.top();
        assert_eq!(top[0].end, RequestEnd::PortDenied);
        assert_eq!(top[0].total, 101);
    }
}
