//! Which endpoints the analysis takes for proxies, and who uses them.

use std::path::Path;

use floodgate::pcap::analyze::{self, Options};
use serde_json::Value;

use crate::pipeline::{self, Found};
use crate::truth::{Truth, list};
use crate::{compare, differences};

/// A proxy, in one line. The truth knows at most one for each capture.
fn line(endpoint: &str, clients: &[String], flows: u64, bypass: u64, self_target: u64) -> String {
    format!("{endpoint} from {clients:?}: {flows} flows, {bypass} past it, {self_target} to itself")
}

fn theirs(view: &Value) -> Vec<String> {
    if view.is_null() {
        return Vec::new();
    }
    let count = |key: &str| u64::try_from(list(&view[key]).len()).unwrap();
    let mut clients: Vec<_> = list(&view["clients"]).iter().map(|client| client.as_str().unwrap().to_owned()).collect();
    clients.sort();
    vec![line(
        view["proxy"].as_str().unwrap(),
        &clients,
        view["flows_to_proxy"].as_u64().unwrap(),
        count("bypass_flows"),
        count("self_target_requests"),
    )]
}

fn ours(path: &Path, found: &Found) -> Vec<String> {
    let findings = analyze::analyze(&[path.to_owned()], Options::default());
    let mut lines = Vec::new();
    for proxy in &findings.proxies {
        let mut clients: Vec<_> = found
            .requests
            .iter()
            .filter(|asked| asked.server == proxy.endpoint)
            .map(|asked| asked.client.ip().to_string())
            .collect();
        clients.sort();
        clients.dedup();
        assert_eq!(
            u64::try_from(clients.len()),
            Ok(proxy.clients),
            "{}: clients of {}",
            path.display(),
            proxy.endpoint
        );
        let past = proxy.bypass.iter().map(|bypass| bypass.connections).sum();
        let to_itself = proxy.self_target.iter().map(|requests| requests.count).sum();
        lines.push(line(&proxy.endpoint.to_string(), &clients, proxy.connections.total, past, to_itself));
    }
    lines.sort();
    lines
}

#[test]
fn every_proxy_is_found_and_nothing_else_is_taken_for_one() {
    compare(differences::OF_PROXIES, |path, truth: &Truth| {
        let (ours, theirs) = (ours(path, &pipeline::read(path)), theirs(&truth.proxy_view));
        let extra = ours.iter().filter(|line| !theirs.contains(line)).map(|line| format!("{line}, not in the truth"));
        let missing = theirs.iter().filter(|line| !ours.contains(line)).map(|line| format!("{line}, not found"));
        extra.chain(missing).collect()
    });
}
