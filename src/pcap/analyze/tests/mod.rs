//! Dialogues made by hand, told as the pipeline tells them, and what must be found in them.

mod bypass;
mod healthy;
mod limits;
mod properties;
mod proxies;
mod self_target;
mod storms;
mod trouble;

use std::net::{IpAddr, SocketAddr};

use super::evidence::Gatherer;
use super::findings::{Findings, Proxy, Verdict, Weight};
use super::judge::judge;
use super::{Options, Told};
use crate::pcap::Time;
use crate::pcap::http::{Answer, Request, Witness};
use crate::pcap::stream::{Conversation, End, Side};

/// The box of the incident.
const PROXY: &str = "10.115.5.2:3128";
const BOX: &str = "10.115.5.2";
const ORIGIN: &str = "203.0.113.80:80";

/// A capture being made up. Times are microseconds after 2020-09-13.
struct Scene {
    gatherer: Gatherer,
    number: u64,
    port: u16,
}

/// A conversation on it.
struct Talk {
    conversation: Conversation,
    asked: u32,
    answered: u32,
    at: Time,
}

fn time(micros: u64) -> Time {
    Time(1_600_000_000_000_000_000 + micros * 1_000)
}

impl Scene {
    fn new() -> Self {
        Self::told(&[])
    }

    /// With `--proxy`.
    fn told(proxies: &[&str]) -> Self {
        let told = |text: &&str| match text.parse::<SocketAddr>() {
            Ok(at) => Told { address: at.ip(), port: Some(at.port()) },
            Err(_) => Told { address: text.parse().unwrap(), port: None },
        };
        let options = Options { proxies: proxies.iter().map(told).collect() };
        Self { gatherer: Gatherer::new(options), number: 0, port: 1024 }
    }

    /// A SYN.
    fn call(&mut self, at: u64, client: &str, server: &str) -> Talk {
        self.port = if self.port == u16::MAX { 1024 } else { self.port + 1 };
        let conversation = Conversation {
            number: self.number,
            client: SocketAddr::new(client.parse().unwrap(), self.port),
            server: server.parse().unwrap(),
            opened: time(at),
            midstream: false,
            accepted: false,
            packets: [1, 0],
            bytes: [0, 0],
        };
        self.number += 1;
        self.gatherer.opened(&conversation);
        Talk { conversation, asked: 0, answered: 0, at: time(at) }
    }

    /// A connection that stands.
    fn connect(&mut self, at: u64, client: &str, server: &str) -> Talk {
        let mut talk = self.call(at, client, server);
        talk.conversation.accepted = true;
        talk.conversation.packets = [2, 1];
        talk
    }

    /// A request whose head came at once.
    fn ask(&mut self, talk: &mut Talk, at: u64, head: &str) {
        let line = head.lines().next().unwrap();
        let mut words = line.split(' ');
        let field = |name: &str| {
            let line = head.lines().skip(1).find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")))?;
            Some(line.split_once(':')?.1.trim())
        };
        let keep = field("connection").or_else(|| field("proxy-connection")).unwrap_or("keep-alive");
        let request = Request {
            number: talk.asked,
            began: time(at),
            at: time(at),
            head: head.as_bytes(),
            method: words.next().unwrap_or_default().as_bytes(),
            target: words.next().unwrap_or_default().as_bytes(),
            version: words.next().unwrap_or_default().as_bytes(),
            host: field("host").map(str::as_bytes),
            user_agent: None,
            to_a_proxy: field("proxy-connection").is_some(),
            keep_alive: keep.eq_ignore_ascii_case("keep-alive"),
            tunnelled: false,
        };
        talk.conversation.packets[0] += 1;
        talk.conversation.bytes[0] += head.len() as u64;
        talk.asked += 1;
        talk.at = time(at);
        self.gatherer.request(&talk.conversation, &request);
    }

    fn answer(&mut self, talk: &mut Talk, at: u64, status: u16, keep_alive: bool) {
        talk.conversation.packets[1] += 1;
        talk.conversation.bytes[1] += 200;
        let answer = Answer {
            to: talk.asked.checked_sub(1),
            asked: Some(talk.at),
            at: time(at),
            head: b"",
            status,
            keep_alive,
            tunnelled: false,
        };
        talk.answered += 1;
        self.gatherer.answer(&talk.conversation, &answer);
    }

    fn close(&mut self, mut talk: Talk, at: u64, end: End) {
        talk.conversation.packets[0] += 2;
        talk.conversation.packets[1] += u64::from(talk.conversation.accepted) * 2;
        self.gatherer.closed(&talk.conversation, time(at), end, talk.asked - talk.answered);
    }

    /// Connection, request, answer, close by the client: a quarter of `took` each.
    fn exchange(&mut self, at: u64, took: u64, client: &str, server: &str, head: &str, status: u16) {
        let mut talk = self.connect(at, client, server);
        self.ask(&mut talk, at + took / 4, head);
        self.answer(&mut talk, at + took / 2, status, false);
        self.close(talk, at + took, End::Finished(Side::Client));
    }

    /// A request that goes through the proxy, which fetches it from `ORIGIN`.
    fn forward(&mut self, at: u64, client: &str, head: &str) {
        let mut talk = self.connect(at, client, PROXY);
        self.ask(&mut talk, at + 100, head);
        self.exchange(at + 200, 1_000, BOX, ORIGIN, "GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n", 200);
        self.answer(&mut talk, at + 1_000, 200, false);
        self.close(talk, at + 2_000, End::Finished(Side::Client));
    }

    fn findings(self) -> Findings {
        judge(&self.gatherer.evidence)
    }

    /// The only proxy.
    fn proxy(self) -> Proxy {
        let mut proxies = self.findings().proxies;
        assert_eq!(proxies.len(), 1, "{proxies:?}");
        proxies.remove(0)
    }
}

/// `GET` of an absolute target, as a browser asks a proxy.
fn get(url: &str) -> String {
    let host = url.split('/').nth(2).unwrap();
    format!("GET {url} HTTP/1.1\r\nHost: {host}\r\nProxy-Connection: keep-alive\r\n\r\n")
}

fn connect(authority: &str) -> String {
    format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n")
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The heaviest verdict, and that its words hold these.
fn heaviest(findings: &Findings, weight: Weight, words: &[&str]) -> Verdict {
    let first = findings.verdicts.first().unwrap().clone();
    let all = format!("{} {} {}", first.cause, first.evidence, first.remedy);
    assert_eq!(first.weight, weight, "{all}");
    for words in words {
        assert!(all.contains(words), "{words:?} is not in {all:?}");
    }
    first
}
