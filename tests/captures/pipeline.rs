//! A capture through all rooms: what is found in it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use floodgate::pcap::Time;
use floodgate::pcap::decode::Decoder;
use floodgate::pcap::http::{Answer, Interpreter, Request, Witness};
use floodgate::pcap::read::{self, Reader};
use floodgate::pcap::stream::{Conversation, Limits, Streams};

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
    let mut reader = Reader::new(read::open(path).unwrap());
    let mut decoder = Decoder::new();
    let mut streams = Streams::new(Limits::default());
    let mut interpreter = Interpreter::new(Found::default());
    let mut last = Time::default();
    while let Some(frame) = reader.next().unwrap() {
        last = frame.time;
        if let Some(segment) = decoder.segment(&frame) {
            streams.segment(&mut interpreter, last, &segment);
        }
    }
    streams.finish(&mut interpreter, last);
    let (found, _) = interpreter.into_parts();
    Found { packets: reader.counters().frames, conversations: streams.counters().conversations, ..found }
}
