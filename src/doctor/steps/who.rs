//! Who it is, and what they send.

use super::super::Verdict;
use super::super::evidence::{Evidence, Gateway};
use super::super::words::{harmless, percent, share, whole};
use super::{Finding, Step, marks};
use crate::figures::{bytes, count, of};

/// Characters of a request that are shown.
const REQUEST: usize = 160;
/// Clients that are told.
const ROWS: usize = 3;

pub(super) fn clients(evidence: &Evidence) -> Finding {
    let mut finding = Finding::new(Step::Clients);
    if let Some(gateway) = &evidence.gateway {
        by_gateway(&mut finding, gateway);
    }
    if let Some(census) = &evidence.census {
        finding.verdict = finding.verdict.max(Verdict::Ok);
        for client in census.clients.iter().take(ROWS) {
            let part = share(client.sockets, census.inbound).unwrap_or(0.0);
            let few = client.sockets < marks::CLIENT_LEAST;
            finding.saw(
                if few { Verdict::Ok } else { marks::CLIENT.of(part) },
                format_args!(
                    "{}: {} to port {}, {} of all clients' sockets",
                    client.address,
                    of(client.sockets, "socket"),
                    client.port,
                    percent(part)
                ),
            );
        }
    }
    finding.means(
        "No client stands out.",
        "One client has a large part of the sockets. Behind one address there may be many people: what is sent (next step) tells.",
    )
}

fn by_gateway(finding: &mut Finding, gateway: &Gateway) {
    let pressure = gateway.pressure.map(|level| format!(", pressure level {level}")).unwrap_or_default();
    finding.saw(
        Verdict::Ok,
        format_args!(
            "floodgate {} answers at {}{pressure}, {} fenced",
            harmless(&gateway.version, 20),
            gateway.at,
            of(gateway.fenced, "client")
        ),
    );
    for client in gateway.clients.iter().take(ROWS) {
        let sockets = client.sockets.map(|sockets| of(sockets, "socket"));
        let memory = client.kernel_bytes.map(|memory| format!("{} of kernel memory", bytes(memory)));
        let refused =
            (client.refusals_per_minute >= 1.0).then(|| format!("{} refused/min", whole(client.refusals_per_minute)));
        let why = client.why.as_ref().map(|why| harmless(why, REQUEST));
        let parts: Vec<String> = [sockets, memory, refused, why].into_iter().flatten().collect();
        finding.saw(
            marks::REFUSALS.of(client.refusals_per_minute),
            format_args!("{}: {}", harmless(&client.address, 64), parts.join(", ")),
        );
    }
}

pub(super) fn requests(evidence: &Evidence) -> Finding {
    let mut finding = Finding::new(Step::Requests);
    if let Some(gateway) = &evidence.gateway {
        finding.verdict = Verdict::Ok;
        for client in gateway.clients.iter().filter(|client| client.sample.is_some()).take(ROWS) {
            let outcome = client.outcome.as_deref().unwrap_or("refused");
            let sample = harmless(client.sample.as_deref().unwrap_or_default(), REQUEST);
            finding.saw(
                marks::REFUSALS.of(client.refusals_per_minute),
                format_args!("{} ({}): \"{sample}\"", harmless(&client.address, 64), harmless(outcome, 40)),
            );
        }
    }
    if let Some(heard) = &evidence.heard {
        let source = harmless(&heard.source, 80);
        finding.saw(
            Verdict::Ok,
            format_args!("{source}: {} in {} packets", of(heard.requests, "request"), count(heard.packets)),
        );
        for asker in heard.askers.iter().take(ROWS) {
            finding.saw(
                Verdict::Warning,
                format_args!(
                    "{} asks the proxy {} for the proxy itself, {} times: \"{}\"",
                    asker.client,
                    asker.proxy,
                    count(asker.count),
                    harmless(&asker.request, REQUEST)
                ),
            );
        }
        for storm in heard.stormers.iter().take(ROWS) {
            finding.saw(
                Verdict::Warning,
                format_args!(
                    "{} tries {} times in vain at {}, up to {}/s: \"{}\"",
                    storm.client,
                    count(storm.attempts),
                    storm.proxy,
                    count(storm.peak_per_s),
                    harmless(&storm.request, REQUEST)
                ),
            );
        }
        for said in heard.said.iter().filter(|said| said.verdict > Verdict::Ok) {
            finding.saw(said.verdict, format_args!("{} {}", harmless(&said.cause, 300), harmless(&said.evidence, 600)));
            finding.remedy.push(harmless(&said.remedy, 800));
        }
    }
    if finding.verdict == Verdict::Unknown {
        finding.advise(
            "Record what clients send: `tcpdump -i any -s 512 -c 200000 -w box.pcap tcp`, then `floodgate doctor --pcap box.pcap`; or \
             `floodgate doctor --capture IFACE`, which listens for 10 s.",
        );
    }
    finding.means(
        "What was seen of the requests is harmless.",
        "These requests are the trouble: whoever sends them must be found and mended.",
    )
}
