//! Captures of real networks: exactly the proxies that are in them.

use std::io::Write;
use std::path::Path;

use super::super::findings::Relation;
use super::super::{Options, analyze};

/// Captures in which the list names another proxy than we find, and why.
const DIFFERENCES: [(&str, &[&str], &str); 1] = [(
    "zeek--ncp.pcap",
    &["10.3.1.92:8080"],
    "absolute-form for mail.google.com with Proxy-Connection to a private address, answered with Via and Proxy-Connection",
)];

#[test]
fn the_proxies_of_every_capture_are_found_and_no_others() {
    let Some(folder) = std::env::var_os("FLOODGATE_CAPTURES") else {
        // Not `eprintln!`, which the test harness hides.
        drop(std::io::stderr().write_all(b"skipped: FLOODGATE_CAPTURES is not set\n"));
        return;
    };
    let folder = Path::new(&folder);
    let index: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
    for capture in index.as_array().unwrap() {
        let name = capture["name"].as_str().unwrap();
        let listed: Vec<&str> = capture["proxy_endpoint"].as_str().into_iter().collect();
        let known = DIFFERENCES.iter().find(|(differs, ..)| *differs == name);
        let expected = known.map_or(listed.as_slice(), |(_, found, _)| found);
        let findings = analyze(&[folder.join(name)], Options::default());
        assert_eq!(findings.files[0].problems, [""; 0], "{name}");
        let found: Vec<String> = findings.proxies.iter().map(|proxy| proxy.endpoint.to_string()).collect();
        assert_eq!(found, expected, "{name}");
        assert!(known.is_none() || listed != expected, "{name} differs no longer; take it off the list");
        // There is no storm, no self-target request and no telling bypass in any of them.
        for proxy in &findings.proxies {
            let past = proxy.bypass.iter().any(|one| one.relation != Relation::Other || !one.private);
            assert!(proxy.self_target.is_empty() && proxy.storms.is_empty() && !past, "{name}: {proxy:?}");
        }
    }
}
