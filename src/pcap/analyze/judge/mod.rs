//! The end: evidence into findings.
//!
//! Owns: which endpoints are proxies, and what is told of each. Called by: [`analyze`](super::analyze), once. Never: sees a packet.

mod bypass;
mod onward;
mod proxies;
mod verdict;

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr};

use ahash::{AHashMap, AHashSet};

use super::super::Time;
use super::evidence::{Asking, Endpoint, Evidence, Following, METHODS, Pair, Talk, Watched};
use super::findings::{
    Because, Connections, Cost, Counters, Distinct, Findings, Form, Misuse, Proxy, SelfTarget, Series, Storm,
};
use super::limits::{MISUSE, MISUSES, PLOTTED, PROXIES, ROWS, SOCKET_BYTES, TIME_WAIT_BYTES, TOP};

/// What the evidence says. Files, packets and their counters are the caller's to add, but for the conversations: the verdicts
/// name their number.
pub(super) fn judge(evidence: &Evidence) -> Findings {
    let mut found = proxies::find(evidence);
    found.sort_by_key(|(number, because)| {
        let endpoint = evidence.endpoints.get(*number);
        (*because != Because::Told, Reverse(endpoint.map_or(0, |endpoint| endpoint.requests)))
    });
    let more_proxies = found.split_off(found.len().min(PROXIES)).len() as u64;
    let numbers: AHashSet<u32> = found.iter().map(|(number, _)| *number).collect();
    let mut pairs: AHashMap<u32, Vec<&Pair>> = AHashMap::new();
    for pair in evidence.pairs.rows.iter().filter(|pair| numbers.contains(&pair.endpoint)) {
        pairs.entry(pair.endpoint).or_default().push(pair);
    }
    let mut askings: AHashMap<u32, Vec<&Asking>> = AHashMap::new();
    for asking in evidence.askings.rows.iter().filter(|asking| numbers.contains(&asking.endpoint)) {
        askings.entry(asking.endpoint).or_default().push(asking);
    }
    let boxes: AHashMap<u32, Vec<IpAddr>> =
        numbers.iter().map(|&number| (number, onward::addresses(evidence, number))).collect();
    let boxed: AHashSet<IpAddr> = boxes.values().flatten().copied().collect();
    let mut told: Vec<Proxy> = found
        .into_iter()
        .filter_map(|(number, because)| {
            let case = Case {
                evidence,
                proxies: &numbers,
                boxes: &boxed,
                own: boxes.get(&number).map(Vec::as_slice).unwrap_or_default(),
                endpoint: evidence.endpoints.get(number)?,
                pairs: pairs.remove(&number).unwrap_or_default(),
                askings: askings.remove(&number).unwrap_or_default(),
            };
            Some(case.proxy(because))
        })
        .collect();
    told.sort_by_key(|proxy| Reverse((proxy.requests, proxy.connections.total)));
    let mut findings = Findings {
        counters: Counters { flows: evidence.conversations, ..Counters::default() },
        requests: evidence.requests,
        tunnelled: evidence.tunnelled,
        untracked: evidence.untracked,
        proxies: told,
        more_proxies,
        ..Findings::default()
    };
    findings.verdicts = verdict::verdicts(&findings, evidence.absent(), evidence.one_sided);
    findings
}

/// A proxy, and the evidence about it.
struct Case<'e> {
    evidence: &'e Evidence,
    /// The endpoints that are proxies.
    proxies: &'e AHashSet<u32>,
    /// The addresses of their boxes.
    boxes: &'e AHashSet<IpAddr>,
    /// Those of this one.
    own: &'e [IpAddr],
    endpoint: &'e Endpoint,
    pairs: Vec<&'e Pair>,
    askings: Vec<&'e Asking>,
}

impl Case<'_> {
    fn proxy(&self, because: Because) -> Proxy {
        let nothing = Talk::default();
        let talk = self.endpoint.talk.as_deref().unwrap_or(&nothing);
        let onward = self.onward();
        let mut methods: Vec<(&'static str, u64)> =
            METHODS.iter().copied().chain(["other"]).zip(talk.methods).filter(|(_, count)| *count > 0).collect();
        methods.sort_by_key(|(_, count)| Reverse(*count));
        let mut statuses = talk.statuses.clone();
        statuses.sort_unstable();
        let connect_targets = self.connect_targets();
        let named: u64 = connect_targets.iter().map(|(_, count)| count).sum();
        Proxy {
            endpoint: self.endpoint.at,
            because,
            requests: self.endpoint.requests,
            by_form: Form::ALL.into_iter().zip(talk.forms).filter(|(_, count)| *count > 0).collect(),
            by_method: methods,
            statuses,
            clients: self.pairs.len() as u64,
            busiest: self.busiest(),
            hosts: self.hosts(talk),
            connect_targets,
            failing: self.failing(),
            connect_others: talk.forms_of(Form::Authority).saturating_sub(named),
            connections: self.connections(talk),
            answers: talk.answers,
            self_target: self.self_target(),
            storms: self.storms(),
            cost: self.cost(talk),
            bypass: self.bypass(&onward),
            keep_alive_misuse: self.misuse(),
            onward,
            series: self.series(),
        }
    }

    fn client(&self, pair: &Pair) -> IpAddr {
        self.evidence.addresses.get(pair.client).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip)
    }

    fn busiest(&self) -> Option<(IpAddr, u64)> {
        let busiest = self.pairs.iter().max_by_key(|pair| pair.connections.peak)?;
        Some((self.client(busiest), busiest.connections.peak.into()))
    }

    fn watched(&self) -> impl Iterator<Item = (&Pair, &Watched)> {
        self.pairs.iter().filter_map(|pair| Some((*pair, self.evidence.watched.get(pair.watched? as usize)?)))
    }

    fn hosts(&self, talk: &Talk) -> Distinct {
        let proxied = self.askings.iter().filter(|asking| matches!(asking.form, Form::Absolute | Form::Authority));
        let hosts: AHashSet<_> = proxied.filter_map(|asking| Some(&asking.authority.as_ref()?.host)).collect();
        Distinct { at_least: hosts.len() as u64, exact: talk.untold == 0 }
    }

    fn connect_targets(&self) -> Vec<(String, u64)> {
        let connects = self.askings.iter().filter(|asking| asking.form == Form::Authority);
        let mut targets: Vec<(String, u64)> = connects.map(|asking| (asking.text.to_string(), asking.count)).collect();
        targets.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        targets.truncate(TOP);
        targets
    }

    fn failing(&self) -> Vec<(String, u64, u64)> {
        let failing = self.askings.iter().filter(|asking| asking.failed > 0 && asking.form != Form::Origin);
        let mut failing: Vec<_> =
            failing.map(|asking| (asking.text.to_string(), asking.count, asking.failed)).collect();
        failing.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.0.cmp(&b.0)));
        failing.truncate(TOP);
        failing
    }

    fn connections(&self, talk: &Talk) -> Connections {
        let sum = |what: fn(&Pair) -> u64| self.pairs.iter().map(|pair| what(pair)).fold(0, u64::saturating_add);
        Connections {
            total: self.endpoint.connected,
            peak: self.endpoint.connections.peak.into(),
            packets: sum(|pair| pair.packets),
            bytes: sum(|pair| pair.bytes),
            refused: sum(|pair| pair.refused.into()),
            unanswered: sum(|pair| pair.unanswered.into()),
            reset_by_client: talk.reset_by_client,
            reset_by_proxy: talk.reset_by_server,
            silent: talk.silent,
        }
    }

    fn self_target(&self) -> Vec<SelfTarget> {
        let mut found: Vec<SelfTarget> = self
            .watched()
            .flat_map(|(pair, watched)| watched.kinds.iter().map(move |named| (pair, named)))
            .map(|(pair, named)| SelfTarget {
                client: self.client(pair),
                kind: named.kind,
                count: named.count,
                first: named.first,
                sample: named.sample.clone(),
            })
            .collect();
        found.sort_by_key(|one| (Reverse(one.count), one.first, one.client));
        found.truncate(ROWS);
        found
    }

    fn storms(&self) -> Vec<Storm> {
        let storming = self.watched().filter(|(_, watched)| watched.storm);
        let mut storms: Vec<Storm> = storming.map(|(pair, watched)| self.storm(pair, watched)).collect();
        storms.sort_by_key(|storm| (Reverse(storm.attempts), storm.client));
        storms.truncate(ROWS);
        storms
    }

    #[expect(clippy::cast_precision_loss, reason = "a share")]
    fn storm(&self, pair: &Pair, watched: &Watched) -> Storm {
        let following = watched.following.as_deref();
        let first = watched.vain_first.unwrap_or_default();
        Storm {
            client: self.client(pair),
            attempts: watched.vain.count,
            of: watched.attempts.count.max(watched.vain.count),
            span: (first, watched.vain_last.unwrap_or(first)),
            peak_per_s: watched.vain.peak.into(),
            fastest_ten_ns: watched.vain.fastest_ten(),
            gap: following.and_then(Following::gaps),
            same_request: watched.same as f64 / watched.asked.saturating_sub(1).max(1) as f64,
            closed_loop: following.and_then(|following| following.closed_loop(pair.connections.peak.into())),
            concurrency: pair.connections.peak.into(),
            self_target: watched.vain_self,
            request: String::from_utf8_lossy(&watched.request).into_owned(),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    fn cost(&self, talk: &Talk) -> Cost {
        let (connections, packets) = self.circles();
        let connections = talk.vain_conversations.saturating_add(connections);
        let packets = talk.vain_packets.saturating_add(packets);
        let refused = talk.vain.max(1) as f64;
        let boxes = || self.evidence.addresses.rows.iter().filter(|address| self.own.contains(&address.ip));
        let sockets = boxes().map(|address| u64::from(address.sockets.peak)).sum::<u64>();
        let time_wait = boxes().filter_map(|address| Some(u64::from(address.time_wait.as_ref()?.peak))).sum::<u64>();
        Cost {
            refused: talk.vain,
            connections_per_refused: if talk.vain == 0 { 0.0 } else { connections as f64 / refused },
            packets_per_refused: if talk.vain == 0 { 0.0 } else { packets as f64 / refused },
            sockets,
            time_wait,
            kernel_bytes: sockets * SOCKET_BYTES + time_wait * TIME_WAIT_BYTES,
        }
    }

    fn misuse(&self) -> Vec<Misuse> {
        let broken = |pair: &&&Pair| {
            pair.broken >= MISUSES && u64::from(pair.broken) * 100 >= u64::from(pair.kept) * u64::from(MISUSE)
        };
        let mut found: Vec<Misuse> = self
            .pairs
            .iter()
            .filter(broken)
            .map(|pair| Misuse { client: self.client(pair), closed: pair.broken.into(), of: pair.kept.into() })
            .collect();
        found.sort_by_key(|one| (Reverse(one.closed), one.client));
        found.truncate(ROWS);
        found
    }

    fn series(&self) -> Vec<Series> {
        let mut busiest: Vec<(&Pair, &Watched)> =
            self.watched().filter(|(_, watched)| watched.bins.is_some()).collect();
        busiest.sort_by_key(|(_, watched)| Reverse(watched.attempts.count));
        let grid = &self.evidence.grid;
        let told = busiest.into_iter().take(PLOTTED).filter_map(|(pair, watched)| {
            let bins = watched.bins.clone()?.told(grid);
            Some(Series { client: self.client(pair), start: Time(grid.origin().0), width: grid.width, bins })
        });
        told.collect()
    }
}
