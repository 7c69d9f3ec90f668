//! What tshark found in a capture, and how what we find differs from it.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::Value;

use crate::pipeline::{Asked, Found};

/// A `NAME.truth.json`.
#[derive(Debug)]
pub(crate) struct Truth {
    packets: u64,
    conversations: u64,
    requests: Vec<Asked>,
    answers: BTreeMap<u16, u64>,
    /// How many requests there may be. More than one number is right only where segments were lost: then it depends on whether
    /// a reader needs the whole of a message to tell it. tshark's count with and without reassembly, and that of the request
    /// lines in the bytes, are the range.
    range: RangeInclusive<u64>,
    /// The proxy, if there is one, and who uses it.
    pub(crate) proxy_view: Value,
}

impl Truth {
    /// Reads one.
    pub(crate) fn read(path: &Path) -> Self {
        let truth: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let requests: Vec<_> = list(&truth["http"]["requests_list"]).iter().map(asked).collect();
        let count = u64::try_from(requests.len()).unwrap();
        let lossy = ["tcp_lost_segment", "tcp_ack_lost_segment", "cut_short_packets"]
            .iter()
            .any(|count| truth["counts"][count].as_u64().unwrap() > 0);
        let mut range = count..=count;
        if lossy {
            for other in truth["tshark_vs_bytes"].as_object().unwrap().values().filter_map(Value::as_u64) {
                range = other.min(*range.start())..=other.max(*range.end());
            }
        }
        Self {
            packets: truth["counts"]["packets"].as_u64().unwrap(),
            conversations: truth["tcp"]["conversations"].as_u64().unwrap(),
            requests,
            answers: truth["http"]["tcp_responses"].as_object().unwrap().iter().map(answers).collect(),
            range,
            proxy_view: truth["proxy_view"].clone(),
        }
    }

    /// One line for each difference.
    pub(crate) fn differences(&self, found: &Found) -> Vec<String> {
        let mut differences = Vec::new();
        for (what, ours, theirs) in
            [("packets", found.packets, self.packets), ("conversations", found.conversations, self.conversations)]
        {
            if ours != theirs {
                differences.push(format!("{ours} {what}, tshark {theirs}"));
            }
        }
        // tshark tells an answer when its body is complete, we when its head is: of lost or unended bodies it tells none.
        for (status, theirs) in &self.answers {
            let ours = found.answers.get(status).copied().unwrap_or(0);
            if ours < *theirs {
                differences.push(format!("{ours} answers {status}, tshark {theirs}"));
            }
        }
        let mut extra = found.requests.clone();
        let mut missing = self.requests.clone();
        missing.retain(|asked| match extra.iter().position(|other| other == asked) {
            Some(at) => {
                extra.remove(at);
                false
            }
            None => true,
        });
        let slack = usize::try_from(self.range.end() - self.range.start()).unwrap();
        let count = u64::try_from(found.requests.len()).unwrap();
        if !self.range.contains(&count) || extra.len().max(missing.len()) > slack {
            differences.extend(missing.iter().map(|asked| format!("not found: {}", line(asked))));
            differences.extend(extra.iter().map(|asked| format!("only ours: {}", line(asked))));
        }
        // Those that both found come in the same order in each conversation.
        let ours = in_conversations(found.requests.iter().filter(|asked| !extra.contains(asked)));
        let theirs = in_conversations(self.requests.iter().filter(|asked| !missing.contains(asked)));
        if ours != theirs {
            differences.push("the order of requests".to_owned());
        }
        differences
    }
}

/// Sorted by conversation, and by nothing else.
fn in_conversations<'a>(requests: impl Iterator<Item = &'a Asked>) -> Vec<&'a Asked> {
    let mut requests: Vec<_> = requests.collect();
    requests.sort_by_key(|asked| (asked.client, asked.server));
    requests
}

fn line(asked: &Asked) -> String {
    let Asked { client, server, method, target, host, agent } = asked;
    let field =
        |name, value: &Option<String>| value.as_ref().map_or_else(String::new, |value| format!(" {name}: {value}"));
    format!("{client} > {server} {method} {target}{}{}", field("Host", host), field("User-Agent", agent))
}

fn asked(request: &Value) -> Asked {
    let text = |key: &str| request[key].as_str().map(str::to_owned);
    let end = |address: &str, port: &str| {
        let (address, port) = (text(address).unwrap(), text(port).unwrap());
        SocketAddr::new(address.parse().unwrap(), port.parse().unwrap())
    };
    Asked {
        client: end("src", "sport"),
        server: end("dst", "dport"),
        method: text("method").unwrap(),
        target: text("target").unwrap(),
        host: text("host"),
        agent: text("user_agent"),
    }
}

fn answers((status, count): (&String, &Value)) -> (u16, u64) {
    (status.parse().unwrap(), count.as_u64().unwrap())
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}
