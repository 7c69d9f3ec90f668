//! What the judgement rests on, gathered as the capture is read.
//!
//! Owns: the tables. Called by: the pipeline, whose [`Witness`] is the [`Gatherer`]. Never: decides who is a proxy: that is known at the end only, so
//! everything that may turn out to matter is counted for every endpoint, in bounded tables.

mod asked;
mod entry;
mod journey;
mod pace;
mod tables;
mod watched;

use std::net::{IpAddr, SocketAddr};

use ahash::{AHashMap, RandomState};

use super::super::Time;
use super::super::http::{Answer, Request, Witness};
use super::super::stream::{Conversation, End};
use super::limits::OPEN;
use super::{Options, Told};
use asked::Own;
use journey::Live;
pub(super) use pace::Following;
use pace::Grid;
use tables::Book;
pub(super) use tables::{Address, Asking, Endpoint, METHODS, Pair, Talk};
pub(super) use watched::Watched;

/// Everything that was seen.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    options: Options,
    own: Own,
    pub(super) addresses: Book<IpAddr, Address>,
    pub(super) endpoints: Book<SocketAddr, Endpoint>,
    pub(super) pairs: Book<(u32, u32), Pair>,
    /// By a hash of endpoint, form and authority.
    pub(super) askings: Book<u64, Asking>,
    pub(super) watched: Vec<Watched>,
    pub(super) grid: Grid,
    pub(super) requests: u64,
    pub(super) tunnelled: u64,
    pub(super) conversations: u64,
    pub(super) untracked: u64,
    /// Conversations with bytes of one side, and not a packet of the other.
    pub(super) one_sided: u64,
    /// Addresses that were asked for at an endpoint.
    wanted: AHashMap<SocketAddr, u32>,
    keys: RandomState,
    talks: usize,
    series: usize,
}

impl Evidence {
    fn new(options: Options) -> Self {
        let told = options.proxies.iter().map(|told| told.address.to_canonical()).collect();
        Self { own: Own::new(told), options, ..Self::default() }
    }

    /// Whether an address is one of the box that `endpoint` is an address of.
    pub(super) fn is_box(&self, endpoint: IpAddr, ip: IpAddr) -> bool {
        self.own.is(endpoint, ip)
    }

    /// Whether `--proxy` names this very endpoint, with its port.
    pub(super) fn is_told(&self, endpoint: SocketAddr) -> bool {
        self.options.proxies.iter().any(|told| told.port.is_some() && told.names(endpoint))
    }

    /// What `--proxy` names and was not seen as a server.
    pub(super) fn absent(&self) -> Vec<String> {
        let seen = |told: &&Told| self.endpoints.rows.iter().any(|endpoint| told.names(endpoint.at));
        let absent = self.options.proxies.iter().filter(|told| !seen(told));
        absent
            .map(|told| {
                told.port
                    .map_or_else(|| told.address.to_string(), |port| SocketAddr::new(told.address, port).to_string())
            })
            .collect()
    }
}

/// Hears the conversations, and knows those that are open.
#[derive(Debug)]
pub(super) struct Gatherer {
    open: AHashMap<u64, Live>,
    pub(super) evidence: Evidence,
}

impl Gatherer {
    pub(super) fn new(options: Options) -> Self {
        Self { open: AHashMap::new(), evidence: Evidence::new(options) }
    }

    /// Enters a conversation, if there is room.
    fn enter(&mut self, conversation: &Conversation, brought: bool) {
        if self.open.len() < OPEN
            && let Some(live) = self.evidence.enter(conversation, brought)
        {
            self.open.insert(conversation.number, live);
        }
    }
}

impl Witness for Gatherer {
    fn opened(&mut self, conversation: &Conversation) {
        self.evidence.conversations += 1;
        self.enter(conversation, false);
    }

    fn request(&mut self, conversation: &Conversation, request: &Request<'_>) {
        if request.tunnelled {
            self.evidence.tunnelled += 1;
            return;
        }
        self.evidence.requests += 1;
        // The sides of one whose start was not captured may turn out to be the other way round.
        if conversation.midstream
            && self.open.get(&conversation.number).is_some_and(|live| !self.evidence.is_of(live, conversation))
            && let Some(live) = self.open.remove(&conversation.number)
        {
            self.evidence.leave(live);
        }
        if let Some(live) = self.open.get_mut(&conversation.number) {
            self.evidence.requested(live, request);
            return;
        }
        self.enter(conversation, true);
        if let Some(live) = self.open.get_mut(&conversation.number) {
            self.evidence.requested(live, request);
        }
    }

    fn answer(&mut self, conversation: &Conversation, answer: &Answer<'_>) {
        let interim = (100..200).contains(&answer.status) && answer.status != 101;
        if !answer.tunnelled
            && !interim
            && let Some(live) = self.open.get_mut(&conversation.number)
        {
            self.evidence.answered(live, answer);
        }
    }

    fn reset(&mut self, conversation: &Conversation, _: Time) {
        if let Some(live) = self.open.get_mut(&conversation.number) {
            self.evidence.gone(live);
        }
    }

    fn closed(&mut self, conversation: &Conversation, at: Time, end: End, unanswered: u32) {
        let Conversation { packets, bytes, .. } = conversation;
        self.evidence.one_sided += u64::from(packets.contains(&0) && *bytes != [0, 0]);
        match self.open.remove(&conversation.number) {
            Some(live) => {
                self.evidence.ended(live, conversation, at, end, unanswered);
            }
            None => self.evidence.untracked += 1,
        }
    }
}
