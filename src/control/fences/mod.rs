//! Fences, once a second: the book decides, a thread of its own builds, the register and the log tell.
//!
//! Owns: the fence book and the way to the thread "fence". Called by: control; the gateway starts and ends it. Never: waits
//! for the kernel: what it did is read a second later, and what it did not do is done when the whole is built anew.

mod builder;
mod never;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ahash::AHashMap;
use ipnet::IpNet;
use tracing::{info, warn};

pub(crate) use builder::FenceThread;
use builder::{Answer, Builder, Link, Order};

use crate::config::Settings;
use crate::config::settings::{FenceChoice, GuardMode, LadderMode};
use crate::guard::clients::{Client, Rates, detail};
use crate::guard::fence::book::{Act, Circumstances, Event, Judgement, Offence};
use crate::guard::fence::{Backend, FenceBook, Terms};
use crate::guard::{Guard, Moment};
use crate::kernel::fence::{Change, Choice, Listening, Mode, probe};
use crate::net::ClientKey;
use crate::net::own::OwnAddresses;
use crate::proxy::Shared;

/// From one attempt to build all of it anew to the next: somebody who flushes all tables again and again gets an answer,
/// not a contest.
const ANEW: Duration = Duration::from_secs(10);
/// The same while it cannot be built.
const HOPELESS: Duration = Duration::from_mins(1);
/// Errors are told once in so long.
const TELLING: Duration = Duration::from_mins(1);

/// Control's side of the fences.
#[derive(Debug)]
pub(crate) struct Fences {
    book: FenceBook,
    choice: FenceChoice,
    link: Option<Link>,
    backend: Backend,
    /// Routers and name servers.
    sacred: Vec<IpAddr>,
    /// The kernel does not have what the book has, or may not.
    behind: bool,
    built: Option<Moment>,
    told: Option<Moment>,
    dropped: AHashMap<IpNet, u64>,
    /// Of the last second.
    events: Vec<Event>,
}

/// A fence that was put up while the rights for it were there, and has no thread yet.
#[derive(Debug)]
pub(crate) struct Ready {
    fences: Fences,
    builder: Option<Builder>,
}

/// Puts up what the settings ask for, before these listeners. Without a right to it there is none, and it is told why.
pub(crate) fn put_up(settings: &Settings, addresses: &[SocketAddr], sockets: &[&TcpListener]) -> Ready {
    let choice = settings.guard.fence;
    let mut ready = Ready { fences: Fences::new(Terms::clone(&settings.guard.terms), choice), builder: None };
    let kind = match choice {
        _ if settings.guard.ladder == LadderMode::Answer => {
            ready.fences.backend.why_not = vec!["guard.ladder was \"answer\" at the start: restart".to_owned()];
            return ready;
        }
        FenceChoice::Off => return ready,
        FenceChoice::Auto => Choice::Auto,
        FenceChoice::NfTables => Choice::NfTables,
        FenceChoice::SocketFilter => Choice::SocketFilter,
    };
    ready.fences.sacred = never::look_up().unwrap_or_default();
    let explicit = |address: &SocketAddr| Listening { address: *address, mode: Mode::Explicit };
    let listening: Vec<_> = addresses.iter().map(explicit).collect();
    let sockets: Vec<_> = match sockets.iter().map(|socket| socket.try_clone()).collect() {
        Ok(sockets) => sockets,
        Err(error) => {
            ready.fences.backend.why_not = vec![error.to_string()];
            return ready;
        }
    };
    let put_up = move || probe(kind, &listening, &sockets);
    let (fence, why_not) = put_up();
    ready.fences.backend = Backend { name: fence.as_ref().map(|fence| fence.name()), why_not };
    ready.builder = fence.map(|fence| Builder::new(fence, Box::new(put_up)));
    ready
}

impl Ready {
    /// Starts the thread, if there is something to do for it, and says what fences.
    pub(crate) fn start(self, guard: &Guard) -> std::io::Result<(Fences, Option<FenceThread>)> {
        let Self { mut fences, builder } = self;
        fences.tell_backend(guard);
        let Some(builder) = builder else { return Ok((fences, None)) };
        let (link, thread) = builder::start(builder)?;
        fences.link = Some(link);
        Ok((fences, Some(thread)))
    }
}

impl Fences {
    fn new(terms: Terms, choice: FenceChoice) -> Self {
        Self {
            book: FenceBook::new(terms),
            choice,
            link: None,
            backend: Backend::default(),
            sacred: Vec::new(),
            behind: false,
            built: None,
            told: None,
            dropped: AHashMap::new(),
            events: Vec::new(),
        }
    }

    /// What the last second brought.
    pub(crate) fn events(&self) -> &[Event] {
        &self.events
    }

    /// Why none can be built, where one is wanted.
    pub(crate) fn missing(&self, settings: &Settings) -> Option<String> {
        let wanted = self.choice != FenceChoice::Off
            && settings.guard.mode == GuardMode::Enforce
            && settings.guard.ladder == LadderMode::Auto;
        (wanted && self.backend.name.is_none()).then(|| self.backend.why_not.join("; "))
    }

    /// A client as of this second. Strangers that share an entry are nobody to fence.
    pub(crate) fn see(&mut self, client: &Client, rates: Rates) {
        if let Some(key) = client.key() {
            self.book.see(key, rates);
        }
    }

    /// A second has passed, and every client was seen.
    pub(crate) fn tick(&mut self, shared: &Shared, now: Moment) {
        self.judge(&shared.guard, &shared.rules.load().settings, &shared.own.load(), now);
    }

    fn judge(&mut self, guard: &Guard, settings: &Settings, own: &OwnAddresses, now: Moment) {
        let answer = self.link.as_ref().map(Link::answer).unwrap_or_default();
        let unbuilt = self.hear(answer, guard, now);
        let never = |network: IpNet| never::is_never(network, settings, own, &self.sacred);
        let Judgement { changes, events } = self.book.judge(
            now,
            &Circumstances {
                act: self.act(settings),
                never: &never,
                behind: self.behind,
                dropped: &self.dropped,
                wishes: &guard.fences.take_wishes(),
                unbuilt: &unbuilt,
            },
        );
        for event in &events {
            tell(event);
            remember(event, guard, now);
            if matches!(event, Event::WouldFence(_)) {
                guard.fences.observed.fetch_add(1, Relaxed);
            }
        }
        self.events = events;
        let rows = self.book.rows();
        let has_any = !rows.is_empty();
        if has_any || !guard.fences.list().is_empty() {
            guard.fences.rows.store(Arc::new(rows));
        }
        self.order(changes, now);
    }

    fn act(&self, settings: &Settings) -> Act {
        if self.choice == FenceChoice::Off || settings.guard.ladder == LadderMode::Answer {
            return Act::Nothing;
        }
        match settings.guard.mode {
            GuardMode::Observe => Act::Observe,
            GuardMode::Enforce if self.backend.name.is_some() => Act::Enforce,
            GuardMode::Enforce => Act::Nothing,
        }
    }

    /// Takes in what the thread has done. Returns what it could not do.
    fn hear(&mut self, answer: Answer, guard: &Guard, now: Moment) -> Vec<IpNet> {
        guard.fences.dropped(answer.syns);
        self.dropped = answer.dropped;
        if let Some(sacred) = answer.sacred {
            self.sacred = sacred;
        }
        if let Some(error) = &answer.error
            && self.told.is_none_or(|told| now.since(told) >= TELLING)
        {
            self.told = Some(now);
            warn!(%error, "the fence could not be changed: it is built anew");
        }
        match answer.anew {
            Some(Ok(name)) if self.backend.name != Some(name) => {
                self.backend = Backend { name: Some(name), why_not: self.backend.why_not.clone() };
                self.tell_backend(guard);
            }
            Some(Ok(_)) => info!("the fence was built anew"),
            Some(Err(why_not)) => {
                self.backend = Backend { name: None, why_not: vec![why_not] };
                self.tell_backend(guard);
            }
            None if answer.lost && !self.behind && answer.error.is_none() => {
                warn!("the fence has been removed by somebody: it is built anew");
            }
            None => {}
        }
        self.behind |= answer.lost;
        answer.unbuilt
    }

    /// Hands changes on. If the thread is still busy, nothing waits: all of it is built anew when it is not.
    fn order(&mut self, changes: Vec<Change>, now: Moment) {
        let Some(link) = &self.link else { return };
        if !self.behind {
            self.behind = !link.order(Order::Change(changes));
            return;
        }
        let pause = if self.backend.name.is_some() { ANEW } else { HOPELESS };
        let is_time = self.built.is_none_or(|built| now.since(built) >= pause);
        if is_time && link.order(Order::Anew(self.book.members(now))) {
            (self.behind, self.built) = (false, Some(now));
        }
    }

    fn tell_backend(&self, guard: &Guard) {
        let Backend { name, why_not } = &self.backend;
        guard.fences.backend.store(Arc::new(self.backend.clone()));
        let why_not = why_not.join("; ");
        match name {
            Some(backend) if why_not.is_empty() => info!(backend, "fences can be built"),
            Some(backend) => info!(backend, why_not, "fences can be built, but not the better way"),
            None if why_not.is_empty() => {}
            None => warn!(why_not, "no fence can be built: who storms is stalled, and not kept out in the kernel"),
        }
    }
}

fn tell(event: &Event) {
    match event {
        Event::Fenced(offence) => offence_told(offence, "client fenced: its new connections are dropped in the kernel"),
        Event::WouldFence(offence) => offence_told(offence, "client would be fenced (guard.mode is \"observe\")"),
        Event::HalfOpened { client, early } => info!(%client, early, "fence half open: some new connections pass"),
        Event::ShutAgain { client, offered, lasts, times } => warn!(
            %client,
            syns_per_second = offered,
            seconds = lasts.as_secs(),
            times,
            "client fenced again: it still storms"
        ),
        Event::Released { client, why, syns, after } => {
            // Only nftables counts per client.
            info!(%client, why = why.label(), syns_dropped = *syns, seconds = after.as_secs(), "client released");
        }
        Event::InVain { clients, before, after } => warn!(
            ?clients,
            per_second_before = before,
            per_second_after = after,
            "fencing these clients did not help: they were released, and are not fenced for a while"
        ),
        Event::Full { waiting, places } => {
            warn!(waiting, places, "more clients storm than may be fenced: the worst are, the others are stalled");
        }
    }
}

/// Writes down what was done with whom, where clients are known in detail.
fn remember(event: &Event, guard: &Guard, now: Moment) {
    let acted = |client: &ClientKey, act| guard.book.acted(*client, act, now);
    match event {
        Event::Fenced(offence) => acted(&offence.client, detail::Act::Fenced(offence.reason)),
        Event::HalfOpened { client, .. } => acted(client, detail::Act::HalfOpened),
        Event::ShutAgain { client, .. } => acted(client, detail::Act::FencedAgain),
        Event::Released { client, why, .. } => acted(client, detail::Act::Released(*why)),
        Event::InVain { clients, .. } => clients.iter().for_each(|client| acted(client, detail::Act::FencedInVain)),
        Event::WouldFence(_) | Event::Full { .. } => {}
    }
}

fn offence_told(offence: &Offence, what: &str) {
    warn!(
        client = %offence.client,
        reason = offence.reason.label(),
        per_second = offence.arrivals,
        stalled_seconds = offence.stalled.as_secs(),
        seconds = offence.lasts.as_secs(),
        times = offence.times,
        "{what}"
    );
}

#[cfg(test)]
mod tests;
