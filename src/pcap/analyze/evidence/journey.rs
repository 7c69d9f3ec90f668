//! What happens on a conversation, from request to end.

use super::super::super::Time;
use super::super::super::http::{Answer, Request};
use super::super::super::stream::{Conversation, End, Side};
use super::super::findings::Form;
use super::super::limits::{LATE, WATCHED};
use super::Evidence;
use super::asked::Asked;
use super::entry::Meant;

/// A conversation that is open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Live {
    pub(super) pair: u32,
    pub(super) attempt: Attempt,
    pub(super) latest: Latest,
    /// All attempts, and those in vain.
    attempts: u32,
    vain: u32,
    pub(super) requests: u32,
    answers: u32,
    keep: Keep,
    /// When the latest request was answered.
    answered: Time,
    /// Requests that count in [`Address::in_flight`](super::tables::Address::in_flight).
    in_flight: u32,
    /// Its sockets are no more.
    gone: bool,
}

/// The attempt that is under way: the connection itself with its first request, or a further request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    pub(super) began: Time,
    pub(super) under_way: bool,
    /// It is among those of the watched pair.
    pub(super) counted: bool,
}

/// The latest request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Latest {
    number: u32,
    /// Equal for equal requests.
    pub(super) hash: u64,
    /// It names the box it was sent to.
    pub(super) own: bool,
    means: Means,
    /// Its complete head was never seen.
    torn: bool,
    /// What it asks for.
    asking: Option<u32>,
}

/// Whom a request is meant for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Means {
    /// That cannot be told by itself.
    #[default]
    Anybody,
    /// A proxy: CONNECT.
    Connect,
    /// A proxy: absolute form, and a field that only proxies are sent.
    Proxy,
}

/// Whether the connection is to stay.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Keep {
    /// Not asked for.
    No,
    /// The latest request asks for it.
    Asked,
    /// The latest answer promises it.
    Promised,
}

impl Live {
    pub(super) fn new(pair: u32, conversation: &Conversation) -> Self {
        let under_way = !conversation.midstream;
        Self {
            pair,
            attempt: Attempt { began: conversation.opened, under_way, counted: false },
            latest: Latest::default(),
            attempts: under_way.into(),
            vain: 0,
            requests: 0,
            answers: 0,
            keep: Keep::No,
            answered: Time::default(),
            in_flight: 0,
            gone: false,
        }
    }
}

/// How an attempt in vain ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Vain {
    /// With this status.
    Status(u16),
    /// Without an answer.
    Nothing,
}

impl Evidence {
    /// An attempt came to nothing.
    fn in_vain(&mut self, live: &mut Live, ended: Time, how: Vain) {
        live.vain = live.vain.saturating_add(1);
        let Some(pair) = self.pairs.get(live.pair) else { return };
        let watched = pair.watched.and_then(|number| self.watched.get_mut(number as usize));
        let endpoint = self.endpoints.get_mut(pair.endpoint).filter(|endpoint| endpoint.is_spoken_to());
        if let Some(talk) = endpoint.and_then(|endpoint| endpoint.talk(&mut self.talks)) {
            talk.vain += 1;
        }
        if let Some(watched) = watched {
            watched.in_vain(live, ended, how);
        }
    }

    pub(super) fn requested(&mut self, live: &mut Live, request: &Request<'_>) -> Option<()> {
        let asked = Asked::of(request);
        let proxied = matches!(asked.form, Form::Absolute | Form::Authority);
        let endpoint = self.pairs.get(live.pair)?.endpoint;
        let meant = if asked.authority.is_empty() { Meant::default() } else { self.ask(endpoint, &asked) };
        let pair = self.pairs.get_mut(live.pair)?;
        pair.requests = pair.requests.saturating_add(1);
        let row = self.endpoints.get_mut(endpoint)?;
        row.requests += 1;
        row.candidate |= proxied;
        let (candidate, address, port) = (row.candidate, row.address, row.at.port());
        if let Some(talk) = row.talk(&mut self.talks) {
            talk.form(asked.form);
            talk.method(request.method);
            let absolute = asked.form == Form::Absolute;
            talk.own_other_port += u64::from(absolute && meant.kind.is_some() && meant.port != port);
            let untold = !asked.authority.is_empty() && meant.told.is_none();
            talk.untold += u64::from(untold && proxied);
        }
        if proxied && let Some(address) = self.addresses.get_mut(address) {
            address.in_flight = address.in_flight.saturating_add(1);
            live.in_flight = live.in_flight.saturating_add(1);
            address.time_wait.get_or_insert_default();
        }
        if live.requests > 0 || !live.attempt.under_way {
            live.attempt = Attempt { began: request.began, under_way: true, counted: false };
            live.attempts = live.attempts.saturating_add(1);
        }
        live.requests = live.requests.saturating_add(1);
        live.latest = Latest {
            number: request.number,
            hash: self.keys.hash_one((request.method, request.target, request.host)),
            own: meant.kind.is_some(),
            torn: !request.is_complete(),
            asking: meant.told,
            means: match asked.form {
                Form::Authority => Means::Connect,
                Form::Absolute if request.to_a_proxy => Means::Proxy,
                Form::Absolute | Form::Origin | Form::Asterisk | Form::Other => Means::Anybody,
            },
        };
        live.keep = if request.keep_alive && live.latest.means != Means::Connect { Keep::Asked } else { Keep::No };
        // What is no proxy yet may still become one: half the places are for that.
        let limit = if candidate { WATCHED } else { WATCHED / 2 };
        if candidate {
            self.count_attempt(live, limit);
        }
        if candidate || meant.kind.is_some() {
            let watched = self.watch(live.pair, limit)?;
            watched.saw(live.latest.hash, request);
            if let Some(kind) = meant.kind {
                watched.named(kind, request);
            }
        }
        Some(())
    }

    pub(super) fn answered(&mut self, live: &mut Live, answer: &Answer<'_>) -> Option<()> {
        let pair = self.pairs.get_mut(live.pair)?;
        let endpoint = self.endpoints.get_mut(pair.endpoint)?;
        let latest = answer.to.is_none_or(|to| to == live.latest.number);
        let refused = answer.status >= 400 && !matches!(answer.status, 401 | 407);
        let late = answer.asked.is_some_and(|asked| answer.at.since(asked) > LATE);
        if let Some(talk) = endpoint.talk(&mut self.talks) {
            talk.status(answer.status);
            talk.answers.answered += 1;
            talk.answers.refused += u64::from(refused);
            talk.answers.late += u64::from(late);
            // Web servers also send whoever asks them for anything somewhere else.
            let not_spoken = matches!(answer.status, 300..400 | 400 | 404 | 405 | 501);
            talk.connects_not_spoken += u64::from(latest && live.latest.means == Means::Connect && not_spoken);
            talk.proxy_fields_answered += u64::from(latest && live.latest.means == Means::Proxy);
        }
        if latest
            && matches!(answer.status, 502..=504)
            && let Some(asking) = live.latest.asking.and_then(|number| self.askings.get_mut(number))
        {
            asking.failed += 1;
        }
        if live.in_flight > 0 {
            live.in_flight -= 1;
            let address = self.addresses.get_mut(endpoint.address)?;
            address.in_flight = address.in_flight.saturating_sub(1);
        }
        live.answers = live.answers.saturating_add(1);
        let vain = refused || (latest && live.latest.own);
        if latest {
            live.keep = if live.keep == Keep::Asked && answer.keep_alive { Keep::Promised } else { Keep::No };
            live.answered = answer.at;
        }
        if vain {
            self.in_vain(live, answer.at, Vain::Status(answer.status));
        }
        live.attempt.under_way &= !latest;
        Some(())
    }

    /// The sockets of a conversation are no more, and nobody waits for an answer on it.
    pub(super) fn gone(&mut self, live: &mut Live) -> Option<()> {
        if std::mem::replace(&mut live.gone, true) {
            return None;
        }
        let pair = self.pairs.get_mut(live.pair)?;
        pair.connections.down();
        let endpoint = self.endpoints.get_mut(pair.endpoint)?;
        endpoint.connections.down();
        let server = self.addresses.get_mut(endpoint.address)?;
        server.sockets.down();
        server.in_flight = server.in_flight.saturating_sub(std::mem::take(&mut live.in_flight));
        let client = self.addresses.get_mut(pair.client)?;
        client.sockets.down();
        client.outgoing.down();
        Some(())
    }

    pub(super) fn ended(
        &mut self,
        mut live: Live,
        talked: &Conversation,
        at: Time,
        end: End,
        unanswered: u32,
    ) -> Option<()> {
        let [sent, received] = talked.packets;
        let packets = sent.saturating_add(received);
        let heard = talked.accepted || received > 0;
        let refused = !talked.accepted && !talked.midstream && end == End::Reset(Side::Server);
        let deaf = !heard && !refused && !talked.midstream && live.requests == 0 && talked.bytes == [0, 0];
        let waited = !matches!(end, End::Open | End::Evicted) || at.since(live.attempt.began) > LATE;
        // Of a capture of one direction, or of bytes that are no HTTP, nothing is known.
        let known = if live.requests == 0 {
            refused || (deaf && waited) || end == End::Reset(Side::Server)
        } else {
            waited && received > 0 && (talked.bytes[1] == 0 || live.answers > 0)
        };
        if live.attempt.under_way && known {
            self.in_vain(&mut live, at, Vain::Nothing);
        }
        let pair = self.pairs.get_mut(live.pair)?;
        pair.packets = pair.packets.saturating_add(packets);
        pair.bytes = pair.bytes.saturating_add(talked.bytes[0]).saturating_add(talked.bytes[1]);
        pair.refused = pair.refused.saturating_add(u32::from(refused));
        pair.unanswered = pair.unanswered.saturating_add(u32::from(deaf));
        let by_client = matches!(end, End::Finished(Side::Client) | End::Reset(Side::Client));
        if live.keep == Keep::Promised {
            pair.kept = pair.kept.saturating_add(1);
            let at_once = at.since(live.answered).as_millis() < 1_000;
            pair.broken = pair.broken.saturating_add(u32::from(by_client && live.requests == 1 && at_once));
        }
        let client = pair.client;
        let endpoint = self.endpoints.get_mut(pair.endpoint)?;
        let server = endpoint.address;
        if endpoint.is_spoken_to()
            && let Some(talk) = endpoint.talk(&mut self.talks)
        {
            // Where nothing of the server was captured, that says nothing about it.
            let never = if received > 0 { unanswered.saturating_sub(live.latest.torn.into()) } else { 0 };
            talk.answers.never += u64::from(never);
            talk.answers.slow_heads += u64::from(live.latest.torn && at.since(live.attempt.began) > LATE);
            talk.silent += u64::from(live.requests == 0 && heard && matches!(end, End::Finished(_)));
            talk.reset_by_client += u64::from(heard && end == End::Reset(Side::Client));
            talk.reset_by_server += u64::from(heard && !refused && end == End::Reset(Side::Server));
            if live.vain > 0 {
                talk.vain_conversations += 1;
                talk.vain_packets += packets.saturating_mul(live.vain.into()) / u64::from(live.attempts.max(1));
            }
        }
        let first_to_close = match end {
            End::Finished(Side::Client) => Some(client),
            End::Finished(Side::Server) => Some(server),
            End::Reset(_) | End::Open | End::Evicted => None,
        };
        self.gone(&mut live);
        let address = self.addresses.get_mut(first_to_close?)?;
        address.time_wait.as_mut()?.add(at);
        Some(())
    }
}
