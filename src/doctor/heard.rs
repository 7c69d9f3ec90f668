//! From the findings of the capture analysis to evidence.

use std::cmp::Reverse;

use super::Verdict;
use super::evidence::{Asker, Heard, Said, Stormer};
use crate::pcap::analyze::findings::{Findings, Weight};

/// Clients that are kept, of each kind.
const CLIENTS: usize = 16;
/// Verdicts that are kept.
const SAID: usize = 16;

/// What the analysis found in `source`.
pub fn heard(source: String, findings: &Findings) -> Heard {
    let mut askers: Vec<Asker> = Vec::new();
    let mut stormers: Vec<Stormer> = Vec::new();
    for proxy in &findings.proxies {
        askers.extend(proxy.self_target.iter().map(|one| Asker {
            client: one.client,
            proxy: proxy.endpoint,
            count: one.count,
            request: String::from_utf8_lossy(&one.sample).lines().next().unwrap_or_default().to_owned(),
        }));
        stormers.extend(proxy.storms.iter().map(|one| Stormer {
            client: one.client,
            proxy: proxy.endpoint,
            attempts: one.attempts,
            peak_per_s: one.peak_per_s,
            request: one.request.clone(),
        }));
    }
    askers.sort_by_key(|asker| Reverse(asker.count));
    askers.truncate(CLIENTS);
    stormers.sort_by_key(|storm| Reverse(storm.attempts));
    stormers.truncate(CLIENTS);
    let said = findings.verdicts.iter().take(SAID).map(|verdict| Said {
        verdict: match verdict.weight {
            Weight::Fine | Weight::Note => Verdict::Ok,
            Weight::Warning => Verdict::Warning,
            Weight::Critical => Verdict::Critical,
        },
        cause: verdict.cause.clone(),
        evidence: verdict.evidence.clone(),
        remedy: verdict.remedy.clone(),
    });
    Heard {
        source,
        requests: findings.requests,
        packets: findings.counters.packets,
        said: said.collect(),
        askers,
        stormers,
    }
}
