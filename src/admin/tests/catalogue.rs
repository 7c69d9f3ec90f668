//! docs/METRICS.md is what the exposition says of itself, and the names that others rely on exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use super::metrics::assert_openmetrics;
use super::{get, start};
use crate::config::settings::WebhookKind;
use crate::guard::pressure::{Report, signals};
use crate::kernel::view::{CACHES, CpuShares, Disk, KernelView, Slab, Sockets, TcpExt};

const DOCUMENT: &str = include_str!("../../../docs/METRICS.md");

/// Set to write the document anew instead of comparing it.
const WRITE: &str = "FLOODGATE_WRITE_DOCS";

/// A family as the exposition shows it.
#[derive(Debug, Default)]
struct Family {
    /// With the suffix that its series have, except for a histogram.
    name: String,
    kind: String,
    unit: Option<String>,
    help: String,
    /// The labels of each series.
    series: Vec<Vec<(String, String)>>,
}

impl Family {
    /// Its labels, in their order.
    fn labels(&self) -> Vec<&str> {
        let mut labels: Vec<&str> = Vec::new();
        for (label, _) in self.series.iter().flatten() {
            if !labels.contains(&label.as_str()) {
                labels.push(label);
            }
        }
        labels
    }

    /// The values of a label, in their order, among the series that have all of these others.
    fn values(&self, label: &str, given: &[&(String, String)]) -> Vec<&str> {
        let mut values: Vec<&str> = Vec::new();
        for series in self.series.iter().filter(|series| given.iter().all(|pair| series.contains(pair))) {
            for (_, value) in series.iter().filter(|(name, _)| name == label) {
                if !values.contains(&value.as_str()) {
                    values.push(value);
                }
            }
        }
        values
    }
}

/// Everything that a gateway can export: whatever may be absent is there.
async fn everything() -> Vec<Family> {
    let board = start().await;
    let some = Some(1);
    board.kernel.store(Some(Arc::new(KernelView {
        slab: CACHES.map(|cache| (cache, Slab::default())).to_vec(),
        sockets: Sockets { inuse_v4: some, inuse_v6: some, orphan: some, time_wait: some, alloc: some },
        orphan_limit: some,
        time_wait_limit: some,
        tcp_memory: some,
        tcp_memory_limits: Some([1; 3]),
        tcp_ext: TcpExt {
            listen_overflows: some,
            listen_drops: some,
            aborts_on_memory: some,
            memory_pressures: some,
            time_wait_overflows: some,
            syn_cookies: some,
        },
        ram: some,
        memory_available: some,
        cpu: Some(CpuShares::default()),
        load: Some(0.5),
        conntrack: Some((1, 2)),
        memory_stall: Some(1),
        cpu_stall: Some(1),
        io_stall: Some(1),
        disks: vec![Disk { path: "/var/log/floodgate".into(), free: 1, total: 2 }],
        ..KernelView::default()
    })));
    let all = signals::SIGNALS.iter().map(|(name, _)| (*name, 0.0)).collect();
    board.guard.pressure.report.store(Arc::new(Report { signals: all, ..Report::default() }));
    for kind in WebhookKind::ALL {
        board.deliveries.queue(kind.label(), *kind, 0);
    }
    let (_, page) = get(&board, "/metrics").await;
    assert_openmetrics(&page);
    families(&page)
}

fn families(page: &str) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    for line in page.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            families.push(Family { name: name.to_owned(), help: help.to_owned(), ..Family::default() });
            continue;
        }
        let family = families.last_mut().unwrap();
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family.kind = rest.split_once(' ').unwrap().1.to_owned();
            match &*family.kind {
                "counter" => family.name.push_str("_total"),
                "info" => family.name.push_str("_info"),
                _ => {}
            }
        } else if let Some(rest) = line.strip_prefix("# UNIT ") {
            family.unit = Some(rest.split_once(' ').unwrap().1.to_owned());
        } else {
            let labels = line.split_once('{').map_or("", |(_, rest)| rest.split_once('}').unwrap().0);
            // No value of ours holds a comma or a quotation mark.
            let pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
            family.series.push(pairs.map(|(name, value)| (name.into(), value.trim_matches('"').into())).collect());
        }
    }
    families
}

fn document(families: &[Family]) -> String {
    let mut text = "\
# Metrics

What `/metrics` says, as OpenMetrics 1.0.0 or as text of version 0.0.4, whichever the scraper asks for. This page is written
from the exposition itself: `FLOODGATE_WRITE_DOCS=1 cargo test --lib catalogue`, and a test keeps it equal.

Names, labels and the values of labels are an interface. Clients never become labels. Counters begin at 0 when the gateway
starts, except those of the kernel, which begin at boot. What cannot be read is absent, never zero; `kernel.absent` of
`/api/v1/status` says why. `floodgate_pressure` and the kernel's figures appear with the first look at the kernel, within a
second of the start. The `process_*` metrics are those that every Prometheus client exports.

With `[admin] exemplars = true` the histograms have exemplars, for scrapers of OpenMetrics (`--enable-feature=exemplar-storage`
of Prometheus): for each bucket how long the slowest request of a minute took, when it was over, and, as the only label, the
`time` under which the access log has it (as `json` writes it; to a millisecond). Nothing is kept while the key is off.

Rules, alerts and a dashboard that use them: [packaging/prometheus](../packaging/prometheus), [packaging/grafana](../packaging/grafana).

| Metric | Type | Unit | Labels | Meaning |
|---|---|---|---|---|
"
    .to_owned();
    for family in families {
        let labels: Vec<_> = family.labels().iter().map(|label| format!("`{label}`")).collect();
        let (unit, labels) = (family.unit.as_deref().unwrap_or("–"), labels.join(", "));
        let labels = if labels.is_empty() { "–" } else { &labels };
        writeln!(text, "| `{}` | {} | {unit} | {labels} | {} |", family.name, family.kind, family.help).unwrap();
    }
    text.push_str("\n## What the labels say\n\n");
    // Metrics with the same labels and values share a line.
    let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
    for family in families.iter().filter(|family| !family.labels().is_empty()) {
        let said = values(family);
        match lines.iter_mut().find(|(line, _)| *line == said) {
            Some((_, names)) => names.push(&family.name),
            None => lines.push((said, vec![&family.name])),
        }
    }
    for (said, names) in lines {
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        writeln!(text, "- {}: {said}", names.join(", ")).unwrap();
    }
    text
}

/// The values of its labels; those of the second for each value of the first, where they differ.
fn values(family: &Family) -> String {
    let list = |label: &str, values: &[&str]| match label {
        "listener" => "`listener` = the address as it is configured".to_owned(),
        "version" => "`version` = of the program".to_owned(),
        _ => format!("`{label}` = {}", values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ")),
    };
    let labels = family.labels();
    if let [first, second] = labels[..] {
        let firsts = family.values(first, &[]);
        let given = |value: &str| family.values(second, &[&(first.to_owned(), value.to_owned())]);
        if firsts.iter().any(|value| given(value) != given(firsts[0])) {
            let each = firsts.iter().map(|value| format!("with `{first}` = `{value}` {}", list(second, &given(value))));
            return each.collect::<Vec<_>>().join("; ");
        }
    }
    labels.iter().map(|label| list(label, &family.values(label, &[]))).collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn the_document_is_what_is_exported() {
    let families = everything().await;
    assert!(families.iter().all(|family| family.help.len() > 10 && !family.help.contains('|')), "{families:?}");
    let written = document(&families);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/METRICS.md"), &written).unwrap();
    } else {
        let how = format!("run {WRITE}=1 cargo test --lib catalogue");
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        let (is, shall) = (lines(DOCUMENT), lines(&written));
        assert!(is == shall, "docs/METRICS.md lacks {:#?}; {how}", shall.difference(&is).collect::<Vec<_>>());
        assert!(DOCUMENT == written, "docs/METRICS.md has another order, or more; {how}");
    }
}

/// The names that other programs rely on.
#[tokio::test]
async fn every_name_of_the_contract_exists() {
    let families = everything().await;
    let of_name: BTreeMap<&str, &Family> = families.iter().map(|family| (family.name.as_str(), family)).collect();
    let caches = "TCP TCPv6 tw_sock_TCP tw_sock_TCPv6 request_sock_TCP request_sock_TCPv6 sock_inode_cache";
    let reasons = "self_target destination_denied port_denied client_denied malformed head_timeout rate_limited \
        connection_limited overload destination_failing";
    for (kind, name, labels) in [
        ("counter", "floodgate_connections_total", &[("listener", "0.0.0.0:3128")][..]),
        ("counter", "floodgate_requests_total", &[]),
        ("counter", "floodgate_outcomes_total", &[("scope", "connection request"), ("outcome", "")]),
        ("counter", "floodgate_refusals_total", &[("reason", reasons), ("form", "answered held dropped reset")]),
        ("gauge", "floodgate_connections_open", &[]),
        ("gauge", "floodgate_tunnels_open", &[]),
        ("gauge", "floodgate_holds_open", &[]),
        ("gauge", "floodgate_clients_tracked", &[]),
        ("gauge", "floodgate_fences_active", &[]),
        ("counter", "floodgate_fenced_syns_total", &[]),
        ("gauge", "floodgate_pressure_level", &[]),
        ("gauge", "floodgate_pressure", &[("signal", "")]),
        ("histogram", "floodgate_upstream_connect_seconds", &[("le", "")]),
        ("histogram", "floodgate_request_seconds", &[("le", "")]),
        ("histogram", "floodgate_dns_seconds", &[("le", "")]),
        ("counter", "floodgate_bytes_total", &[("direction", "from_client to_client from_upstream to_upstream")]),
        ("gauge", "floodgate_kernel_slab_bytes", &[("cache", caches)]),
        ("gauge", "floodgate_kernel_slab_objects", &[("cache", caches)]),
        (
            "gauge",
            "floodgate_kernel_sockets",
            &[("family", "ipv4 ipv6 all"), ("state", "inuse orphan time_wait alloc")],
        ),
        ("gauge", "floodgate_kernel_orphan_limit", &[]),
        ("gauge", "floodgate_kernel_tcp_memory_bytes", &[]),
        ("gauge", "floodgate_kernel_tcp_memory_limit_bytes", &[("level", "low pressure high")]),
        ("counter", "floodgate_kernel_listen_overflows_total", &[]),
        ("counter", "floodgate_kernel_aborts_on_memory_total", &[]),
        ("info", "floodgate_build_info", &[("version", "")]),
        ("counter", "process_cpu_seconds_total", &[]),
        ("gauge", "process_resident_memory_bytes", &[]),
        ("gauge", "process_virtual_memory_bytes", &[]),
        ("gauge", "process_open_fds", &[]),
        ("gauge", "process_max_fds", &[]),
        ("gauge", "process_start_time_seconds", &[]),
    ] {
        let family = of_name.get(name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(family.kind, kind, "{name}");
        assert_eq!(family.labels(), labels.iter().map(|(label, _)| *label).collect::<Vec<_>>(), "{name}");
        for (label, values) in labels.iter().filter(|(_, values)| !values.is_empty()) {
            let values: Vec<_> = values.split_whitespace().collect();
            assert_eq!(family.values(label, &[]), values, "{name}{{{label}}}");
        }
    }
}
