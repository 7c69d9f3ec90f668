//! A capture through all rooms: what is found in it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use floodgate::pcap::http::{Answer, Request, Witness};
use floodgate::pcap::road::{Passed, Road};
use floodgate::pcap::stream::Conversation;

/// A request as it is compared.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Asked {
    pub(crate) client: SocketAddr,
    pub(crate) server: SocketAddr,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) host: Option<String>,
    pub(crate) agent: Option<String>,
}

/// What is found in a capture.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) packets: u64,
    pub(crate) conversations: u64,
    /// In the order in which their heads were complete.
    pub(crate) requests: Vec<Asked>,
    /// How many answers of each status.
    pub(crate) answers: BTreeMap<u16, u64>,
}

/// tshark shows bytes that are no UTF-8 as replacement characters too.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Witness for Found {
    fn request(&mut self, conversation: &Conversation, request: &Request<'_>) {
        self.requests.push(Asked {
            client: conversation.client,
            server: conversation.server,
            method: text(request.method),
            target: text(request.target),
            host: request.host.map(text),
            agent: request.user_agent.map(text),
        });
    }

    fn answer(&mut self, _: &Conversation, answer: &Answer<'_>) {
        *self.answers.entry(answer.status).or_default() += 1;
    }
}

/// Reads a capture.
pub(crate) fn read(path: &Path) -> Found {
    let mut road = Road::new(Found::default());
    road.open(&[path.to_owned()]);
    let (found, Passed { counters, .. }) = road.finish();
    Found { packets: counters.packets, conversations: counters.flows, ..found }
}
