//! Clients that storm, and what the fence makes of them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::Second;
use super::rates::{Happened, Rates};
use super::words::count;
use crate::alarm::facts::{Fenced, Refused};
use crate::alarm::{Alarm, Sample};
use crate::guard::fence::book::Event;
use crate::guard::ladder::Class;
use crate::net::ClientKey;

/// Clients named where a fence did not help.
const NAMED: usize = 3;
/// Refusals a second from which on a client would be fenced if it could be: that of `guard::fence::Terms`.
const FENCEABLE: u64 = 100;

/// What one client was refused in this second, for all the reasons that make one alarm.
struct Storm<'a> {
    alarm: Alarm,
    class: Class,
    count: u64,
    stalled: bool,
    /// Most of it.
    most: &'a Refused,
}

/// The alarm that storms of this are; none for what the policy denies, and for what is not the client's fault.
const fn alarm(class: Class) -> Option<Alarm> {
    match class {
        Class::SelfTarget => Some(Alarm::SelfTargetStorm),
        Class::Malformed | Class::OverLimit => Some(Alarm::ReconnectStorm),
        Class::Denied | Class::Failing => None,
    }
}

/// A client storms when it is refused so often in a second, or has climbed the ladder and goes on.
pub(super) fn refused(second: &mut Second<'_>, rates: &mut Rates) {
    let mut storms: BTreeMap<(usize, ClientKey), Storm<'_>> = BTreeMap::new();
    for refused in &second.facts.refused {
        let Some(class) = Class::of(refused.end) else { continue };
        let Some(alarm) = alarm(class) else { continue };
        let new = Storm { alarm, class, count: 0, stalled: false, most: refused };
        let storm = storms.entry((alarm.index(), refused.client)).or_insert(new);
        storm.count = storm.count.saturating_add(refused.count);
        storm.stalled |= refused.stalled;
        // They are handed over in no order: of equals, the first of the table.
        let rank = |of: &Refused| (of.count, Reverse(of.end.index()));
        if rank(refused) > rank(storm.most) {
            (storm.class, storm.most) = (class, refused);
        }
    }
    for ((_, client), Storm { alarm, class, count, stalled, most }) in &storms {
        let sample =
            Sample { client: Some(most.address), request_line: most.request_line.clone(), ..Sample::default() };
        let happened = Happened {
            alarm: *alarm,
            subject: client.to_string(),
            count: *count,
            certain: *stalled,
            values: vec![("client", client.to_string()), ("reason", class.label().to_owned())],
            sample: Some(sample),
        };
        rates.add(second, happened);
    }
    let worst = storms.values().map(|storm| storm.count).max().unwrap_or(0);
    if let Some(why) = second.facts.no_fence.clone().filter(|_| worst >= FENCEABLE) {
        second.see(Alarm::FenceUseless, "", 1, [("why", why)], None);
    }
}

/// Those who are kept out, and with how many connections a second they were.
#[derive(Debug, Default)]
pub(super) struct Offences(BTreeMap<ClientKey, u64>);

impl Offences {
    /// Who is kept out, each second; once more when it is let in, with the reason.
    pub(super) fn look(&mut self, second: &mut Second<'_>) {
        let facts = second.facts;
        for event in &facts.fence_events {
            match event {
                Event::Fenced(offence) => {
                    self.0.insert(offence.client, offence.arrivals.into());
                }
                Event::ShutAgain { client, offered, .. } => {
                    self.0.insert(*client, *offered);
                }
                Event::Released { client, why, syns, .. } => {
                    let values = self.values(*client, *syns, [("why", why.label().to_owned())]);
                    second.see(Alarm::ClientFenced, client.to_string(), 1, values, None);
                }
                Event::InVain { clients, before, after } => {
                    let named: Vec<_> = clients.iter().take(NAMED).map(ToString::to_string).collect();
                    let more = if clients.len() > NAMED { ", …" } else { "" };
                    let why = format!("{}{more}: {} -> {} SYN/s", named.join(", "), count(*before), count(*after));
                    second.see(Alarm::FenceUseless, "", 1, [("why", why)], None);
                }
                Event::WouldFence(_) | Event::HalfOpened { .. } | Event::Full { .. } => {}
            }
        }
        self.0.retain(|client, _| facts.fenced.iter().any(|fenced| fenced.row.client == *client));
        for Fenced { row, until, request_line } in &facts.fenced {
            let values = self.values(
                row.client,
                row.syns,
                [("reason", row.reason.label().to_owned()), ("until", until.clone())],
            );
            let sample = request_line.clone().map(|request_line| Sample {
                client: Some(row.client.address()),
                request_line,
                ..Sample::default()
            });
            second.see(Alarm::ClientFenced, row.client.to_string(), 1, values, sample);
        }
    }

    fn values(
        &self,
        client: ClientKey,
        syns: Option<u64>,
        more: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Vec<(&'static str, String)> {
        let rate = self.0.get(&client).map(|rate| ("rate", count(*rate)));
        let syns = syns.map(|syns| ("syns", count(syns)));
        [("client", client.to_string())].into_iter().chain(rate).chain(syns).chain(more).collect()
    }
}
