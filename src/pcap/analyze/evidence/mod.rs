//! What the judgement rests on, gathered as the capture is read.
//!
//! Owns: the tables. Called by: the pipeline, as its [`Witness`]. Never: decides who is a proxy: that is known at the end only, so
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
    open: AHashMap<u64, Live>,
    /// Addresses that were asked for at an endpoint.
    wanted: AHashMap<SocketAddr, u32>,
    keys: RandomState,
    talks: usize,
    series: usize,
}

impl Evidence {
    pub(super) fn new(options: Options) -> Self {
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

impl Witness for Evidence {
    fn opened(&mut self, conversation: &Conversation) {
        self.conversations += 1;
        self.enter(conversation, false);
    }

    fn request(&mut self, conversation: &Conversation, request: &Request<'_>) {
        if request.tunnelled {
            self.tunnelled += 1;
            return;
        }
        self.requests += 1;
        if conversation.midstream && !self.is_of(conversation) {
            self.leave(conversation);
        }
        if !self.open.contains_key(&conversation.number) {
            self.enter(conversation, true);
        }
        let Some(mut live) = self.open.get(&conversation.number).copied() else { return };
        self.requested(&mut live, request);
        self.open.insert(conversation.number, live);
    }

    fn answer(&mut self, conversation: &Conversation, answer: &Answer<'_>) {
        let interim = (100..200).contains(&answer.status) && answer.status != 101;
        if answer.tunnelled || interim {
            return;
        }
        let Some(mut live) = self.open.get(&conversation.number).copied() else { return };
        self.answered(&mut live, answer);
        self.open.insert(conversation.number, live);
    }

    fn closed(&mut self, conversation: &Conversation, at: Time, end: End, unanswered: u32) {
        match self.open.remove(&conversation.number) {
            Some(live) => {
                self.ended(live, conversation, at, end, unanswered);
            }
            None => self.untracked += 1,
        }
    }
}
