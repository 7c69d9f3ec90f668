//! The text for the operator: what is wrong, the figures, what to do.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::super::findings::{Findings, Proxy, SelfTarget, Storm, Verdict, Weight};
use super::super::limits::{SOCKET_BYTES, TIME_WAIT_BYTES};
use super::figures::{clock, date, duration};
use super::page::{Align, Page, cut, one_line};
use crate::figures::{bytes, count, of};

/// Rows of a table.
const ROWS: usize = 8;
/// Items of a list within a line.
const ITEMS: usize = 5;
/// Proxies that are told of.
const PROXIES: usize = 4;

/// One screen for one matter: what is wrong first, then the figures for each proxy, then what to do.
pub fn text(findings: &Findings) -> String {
    let mut page = Page::default();
    captures(&mut page, findings);
    page.gap();
    for verdict in &findings.verdicts {
        page.paragraph(&format!("{}: ", verdict.weight.label().to_uppercase()), &verdict.cause);
        // What is critical has its figures in the tables below.
        if verdict.weight != Weight::Critical {
            page.paragraph("  ", &verdict.evidence);
        }
    }
    for proxy in findings.proxies.iter().take(PROXIES) {
        page.gap();
        of_proxy(&mut page, proxy);
    }
    let untold = findings.proxies.len().saturating_sub(PROXIES) as u64 + findings.more_proxies;
    if untold > 0 {
        page.gap();
        page.line(&format!("And {}: --json tells of the busiest", of(untold, "more proxy endpoint")));
    }
    page.gap();
    remedies(&mut page, &findings.verdicts);
    page.finish()
}

fn captures(page: &mut Page, findings: &Findings) {
    let names: Vec<&str> = findings.files.iter().take(ITEMS).map(|file| file.name.as_str()).collect();
    let more = match findings.files.len().saturating_sub(ITEMS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let counters = &findings.counters;
    let when = findings.span.map_or(String::new(), |(first, last)| {
        format!(", {} from {} UTC", duration(last.since(first).as_nanos().try_into().unwrap_or(u64::MAX)), date(first))
    });
    page.paragraph(
        "",
        &format!(
            "{}{more}: {} ({}), {}, {}{when}",
            names.join(", "),
            of(counters.packets, "packet"),
            bytes(counters.bytes),
            of(counters.flows, "TCP connection"),
            of(findings.requests, "HTTP request"),
        ),
    );
    let doubtful: Vec<String> = [
        ("retransmissions", counters.retransmissions),
        ("gaps", counters.gaps),
        ("packets cut short", counters.cut),
        ("connections evicted", counters.evicted),
        ("packets of unknown links", counters.unknown_link),
        ("requests inside tunnels", findings.tunnelled),
    ]
    .into_iter()
    .filter(|(_, number)| *number > 0)
    .map(|(what, number)| format!("{} {what}", count(number)))
    .collect();
    if !doubtful.is_empty() {
        page.paragraph("", &doubtful.join(", "));
    }
}

fn remedies(page: &mut Page, verdicts: &[Verdict]) {
    page.line("What to do");
    let mut told: Vec<&str> = Vec::new();
    for Verdict { remedy, .. } in verdicts {
        if !remedy.is_empty() && !told.contains(&remedy.as_str()) {
            told.push(remedy);
        }
    }
    for (number, remedy) in (1..).zip(&told) {
        let lead = if told.len() > 1 { format!("{number}. ") } else { "  ".to_owned() };
        page.paragraph(&lead, remedy);
    }
}

/// `GET ×12, POST ×3 and 2 more`; an item and its number stay in one line.
fn list<T: ToString>(items: impl IntoIterator<Item = (T, u64)>) -> String {
    let items: Vec<String> =
        items.into_iter().map(|(item, number)| format!("{}\u{a0}×{}", item.to_string(), count(number))).collect();
    let shown: Vec<&str> = items.iter().take(ITEMS).map(String::as_str).collect();
    match items.len().saturating_sub(ITEMS) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn of_proxy(page: &mut Page, proxy: &Proxy) {
    page.paragraph("", &format!("Proxy {}: {}", proxy.endpoint, proxy.because.words()));
    let connections = &proxy.connections;
    page.paragraph(
        "  requests  ",
        &format!(
            "{} of {}: {}; {}",
            count(proxy.requests),
            of(proxy.clients, "client"),
            list(proxy.by_method.iter().copied()),
            list(proxy.by_form.iter().map(|(form, number)| (format!("{}-form", form.label()), *number))),
        ),
    );
    let unusual = list_of_some(&[
        ("never", proxy.answers.never),
        ("late", proxy.answers.late),
        ("slow heads", proxy.answers.slow_heads),
    ]);
    let statuses = if proxy.statuses.is_empty() { "none".into() } else { list(proxy.statuses.iter().copied()) };
    page.paragraph("  answers   ", &format!("{statuses}{unusual}"));
    let unusual = list_of_some(&[
        ("refused", connections.refused),
        ("not accepted", connections.unanswered),
        ("reset by clients", connections.reset_by_client),
        ("reset by the proxy", connections.reset_by_proxy),
        ("without a request", connections.silent),
    ]);
    let inward = format!("{} in, {} at once{unusual}", count(connections.total), count(connections.peak));
    let onward = &proxy.onward;
    let unusual = list_of_some(&[
        ("to itself", onward.to_itself),
        ("of these to its own port", onward.to_own_proxy),
        ("refused", onward.refused),
        ("not answered", onward.unanswered),
    ]);
    let outward = format!("{} onward, {} at once{unusual}", count(onward.connections), count(onward.peak));
    page.paragraph("  connected ", &format!("{inward}; {outward}"));
    if !proxy.connect_targets.is_empty() {
        page.paragraph("  CONNECT   ", &list(proxy.connect_targets.iter().map(|(target, number)| (target, *number))));
    }
    if !proxy.failing.is_empty() {
        let failing = proxy.failing.iter().map(|(target, _, failed)| (target, *failed));
        page.paragraph("  failing   ", &list(failing));
    }
    in_vain(page, proxy);
    bypass(page, proxy);
    misuse(page, proxy);
}

/// `; 3 never, 2 late`, or nothing.
fn list_of_some(items: &[(&str, u64)]) -> String {
    let some: Vec<String> = items
        .iter()
        .filter(|(_, number)| *number > 0)
        .map(|(what, number)| format!("{} {what}", count(*number)))
        .collect();
    if some.is_empty() { String::new() } else { format!(", {}", some.join(", ")) }
}

/// Who storms, and who asks for the proxy itself: one row for each client.
fn in_vain(page: &mut Page, proxy: &Proxy) {
    let mut itself: BTreeMap<IpAddr, u64> = BTreeMap::new();
    for SelfTarget { client, count, .. } in &proxy.self_target {
        *itself.entry(*client).or_default() += count;
    }
    let storming: Vec<IpAddr> = proxy.storms.iter().map(|storm| storm.client).collect();
    let mut calm: Vec<(IpAddr, u64)> = itself
        .iter()
        .map(|(client, number)| (*client, *number))
        .filter(|(client, _)| !storming.contains(client))
        .collect();
    calm.sort_by_key(|(_, number)| std::cmp::Reverse(*number));
    let all = storming.len() + calm.len();
    if all == 0 {
        return;
    }
    let storms = proxy.storms.iter().map(|storm| storm_row(storm, itself.get(&storm.client).copied().unwrap_or(0)));
    let calm = calm.into_iter().map(|(client, number)| {
        let none = || "-".to_owned();
        [client.to_string(), none(), none(), count(number), none(), none(), none(), none(), none()]
    });
    let rows: Vec<[String; 9]> = storms.chain(calm).take(ROWS).collect();
    let right = Align::Right;
    page.table(
        [
            ("Client", Align::Left),
            ("in vain", right),
            ("of", right),
            ("itself", right),
            ("peak/s", right),
            ("10 in", right),
            ("again in", right),
            ("waits", right),
            ("at once", right),
        ],
        &rows,
        all,
    );
    if let Some(first) = proxy.self_target.iter().min_by_key(|one| one.first) {
        let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
        for one in &proxy.self_target {
            *kinds.entry(one.kind.label()).or_default() += one.count;
        }
        page.paragraph("  itself    ", &format!("{}; the first at {} UTC:", list(kinds), clock(first.first)));
        let lines = first.sample.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let lines: Vec<String> = lines.filter(|line| !line.is_empty()).map(one_line).collect();
        page.line(&cut(&format!("    {}", lines.join(" | ")), 80));
    }
    let cost = &proxy.cost;
    page.paragraph(
        "  cost      ",
        &format!(
            "{:.1} connections and {:.0} packets for each in vain; at most {} and {} in TIME_WAIT: {} of kernel memory \
             ({SOCKET_BYTES} and {TIME_WAIT_BYTES} B each)",
            cost.connections_per_refused,
            cost.packets_per_refused,
            of(cost.sockets, "socket"),
            count(cost.time_wait),
            bytes(cost.kernel_bytes),
        ),
    );
}

fn storm_row(storm: &Storm, itself: u64) -> [String; 9] {
    let none = || "-".to_owned();
    [
        storm.client.to_string(),
        count(storm.attempts),
        count(storm.of),
        count(itself),
        count(storm.peak_per_s),
        storm.fastest_ten_ns.map_or_else(none, duration),
        storm.gap.as_ref().map_or_else(none, |gap| duration(gap.p50)),
        storm.closed_loop.map_or_else(none, |waits| if waits { "yes" } else { "no" }.to_owned()),
        count(storm.concurrency),
    ]
}

fn bypass(page: &mut Page, proxy: &Proxy) {
    if proxy.bypass.is_empty() {
        return;
    }
    let rows: Vec<[String; 5]> = proxy
        .bypass
        .iter()
        .take(ROWS)
        .map(|one| {
            let host = one.host.as_ref().map(|host| format!(" {}", cut(host, 30))).unwrap_or_default();
            [
                one.client.to_string(),
                count(one.connections),
                bytes(one.bytes),
                one.relation.label().to_owned(),
                format!("{}{host}", one.destination),
            ]
        })
        .collect();
    page.table(
        [
            ("Past the proxy", Align::Left),
            ("times", Align::Right),
            ("bytes", Align::Right),
            ("kind", Align::Left),
            ("destination", Align::Left),
        ],
        &rows,
        proxy.bypass.len(),
    );
}

fn misuse(page: &mut Page, proxy: &Proxy) {
    if proxy.keep_alive_misuse.is_empty() {
        return;
    }
    let rows: Vec<[String; 3]> = proxy
        .keep_alive_misuse
        .iter()
        .take(ROWS)
        .map(|one| [one.client.to_string(), count(one.closed), count(one.of)])
        .collect();
    page.table(
        [
            ("Asks for keep-alive", Align::Left),
            ("closed after one answer", Align::Right),
            ("of connections", Align::Right),
        ],
        &rows,
        proxy.keep_alive_misuse.len(),
    );
}
