//! One frame: the state as lines of text, from the most important down. What does not fit is left out from below.

use std::time::Duration;

use ratatui::Frame;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use serde_json::Value;

use super::state::{Order, State, whole};
use super::status::{Status, is_in, number_in, plain, text_in};
use crate::admin::words::span;
use crate::figures::{bytes, count};
use crate::guard::pressure::Level;

/// Clients that are shown, with their heading, before fences are.
const CLIENTS: usize = 5;
/// Fences and alarms shown at most, with their heading; the rest is counted.
const FENCES: usize = 6;
const ALARMS: usize = 4;
/// Cells of a bar.
const BAR: usize = 16;

const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const ALARM: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);

pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let area = frame.area();
    frame.render_widget(Paragraph::new(page(state, area.height.into())), area);
}

fn page(state: &State, height: usize) -> Vec<Line<'static>> {
    let mut lines = vec![header(state)];
    lines.extend(trouble(state));
    // The last line is for the keys.
    let inside = height.saturating_sub(1);
    if let Some(status) = state.status() {
        lines.extend(pressure(status));
        lines.extend(alarms(state, status));
        lines.extend(kernel(status));
        lines.extend(traffic(state, status));
        let room = inside.saturating_sub(lines.len());
        let mut fences = fences(state, status);
        fences.truncate(room.saturating_sub(CLIENTS));
        let mut clients = clients(state, room.saturating_sub(fences.len()));
        clients.resize(room.saturating_sub(fences.len()), Line::default());
        lines.append(&mut clients);
        lines.append(&mut fences);
    }
    lines.resize(inside, Line::default());
    lines.push(keys(state));
    lines
}

fn text(text: impl Into<String>) -> Span<'static> {
    Span::raw(text.into())
}

/// What a line is about, in a column of its own.
fn label(name: &str) -> Span<'static> {
    Span::styled(format!("{name:<10}"), DIM)
}

fn header(state: &State) -> Line<'static> {
    let mut spans = vec![Span::styled("floodgate ", BOLD)];
    if let Some(status) = state.status() {
        spans.push(text(status.text("/gateway/version").unwrap_or_default()));
        spans.push(text("  "));
    }
    spans.push(text(plain(&state.admin)));
    if let Some(uptime) = state.status().and_then(|status| status.count("/gateway/uptime_s")) {
        spans.push(text(format!("  up {}", span(Duration::from_secs(uptime)))));
    }
    if state.status().is_some_and(|status| status.is("/gateway/draining")) {
        spans.push(Span::styled("  draining", ALARM));
    }
    Line::from(spans)
}

fn trouble(state: &State) -> Option<Line<'static>> {
    let told = match (&state.trouble, &state.latest) {
        (None, None) => return Some(Line::from(text("asking the gateway …"))),
        (None, Some(_)) => return None,
        (Some(why), None) => format!("{}; asking again every second", plain(why)),
        (Some(why), Some((_, came))) => {
            let age = span(state.now.saturating_sub(*came));
            format!("what is below is {age} old: {}", plain(why))
        }
    };
    Some(Line::from(Span::styled(told, ALARM)))
}

/// By the thresholds of the levels.
fn colour(share: f64) -> Style {
    match Level::of(share) {
        Level::Calm => Style::new().fg(Color::Green),
        Level::Elevated => Style::new().fg(Color::Yellow),
        Level::High => Style::new().fg(Color::LightRed),
        Level::Critical => ALARM,
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn pressure(status: &Status) -> [Line<'static>; 2] {
    let level = status.count("/pressure/level").and_then(|level| Level::ALL.get(usize::try_from(level).ok()?).copied());
    let mut spans = vec![label("PRESSURE")];
    match level {
        Some(level) => {
            spans.push(Span::styled(format!("{} {}", level as u8, level.label()), colour(level.begins_at())));
        }
        None => spans.push(text("unknown")),
    }
    let mut signals: Vec<_> = status.numbers("/pressure/signals").collect();
    signals.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    if let Some(driver) = status.text("/pressure/driver") {
        let used = signals.iter().find(|(name, _)| *name == driver).map(|(_, used)| *used).unwrap_or_default();
        spans.push(text("   driven by "));
        spans.push(Span::styled(format!("{driver} {}", percent(used)), colour(used)));
    }
    let forecast = status.text("/pressure/forecast/signal").zip(status.number("/pressure/forecast/seconds"));
    if let Some((signal, seconds)) = forecast {
        let left = span(Duration::from_secs(whole(seconds)));
        let told = if seconds < 1.0 { format!("   {signal} is full") } else { format!("   {signal} full in {left}") };
        spans.push(Span::styled(told, ALARM));
    }
    let mut others = vec![label("")];
    for (name, used) in signals.into_iter().filter(|(_, used)| *used >= 0.005) {
        others.push(text(format!("{name} ")));
        others.push(Span::styled(percent(used), colour(used)));
        others.push(text("  "));
    }
    [Line::from(spans), Line::from(others)]
}

/// Used and limit, and what is said of them; nothing is invented where one is missing.
fn gauge(name: &'static str, share: Option<f64>, told: &str) -> Line<'static> {
    let Some(share) = share.filter(|share| share.is_finite()) else {
        return Line::from(vec![label(name), text(" ".repeat(BAR + 2)), text(format!("     –  {told}"))]);
    };
    let full = usize::try_from(whole((share * 16.0).ceil())).unwrap_or(BAR).min(BAR);
    let bar = format!("{}{}", "#".repeat(full), "-".repeat(BAR - full));
    let used = format!("{:>6}", percent(share.min(9.99)));
    Line::from(vec![
        label(name),
        text("["),
        Span::styled(bar, colour(share)),
        text("]"),
        text(format!("{used}  {told}")),
    ])
}

fn kernel(status: &Status) -> Vec<Line<'static>> {
    let shown = |n: Option<f64>| n.map_or_else(|| "unknown".to_owned(), |n| count(whole(n)));
    let sized = |n: Option<f64>| n.map_or_else(|| "unknown".to_owned(), |n| bytes(whole(n)));
    let of = |name, used: &str, limit: &str, what: &str| {
        let (used, limit) = (status.number(used), status.number(limit));
        gauge(name, share(used, limit), &format!("{} of {}{what}", shown(used), shown(limit)))
    };
    let caches = ["TCP", "TCPv6", "tw_sock_TCP", "tw_sock_TCPv6", "request_sock_TCP", "request_sock_TCPv6"];
    let slab: Option<f64> =
        caches.iter().filter_map(|cache| status.number(&format!("/kernel/slab/{cache}/bytes"))).reduce(|a, b| a + b);
    let slab_share = status.number("/pressure/signals/slab");
    let [used, pressure, high] =
        ["bytes", "pressure", "high"].map(|name| status.number(&format!("/kernel/tcp_memory/{name}")));
    vec![
        gauge("slab", slab_share, &format!("{} in objects; full at 15 % of the RAM", sized(slab))),
        gauge(
            "buffers",
            share(used, pressure),
            &format!("tcp_mem: {} of {}, at most {}", sized(used), sized(pressure), sized(high)),
        ),
        of("orphans", "/kernel/sockets/orphan", "/kernel/orphan_limit", " (tcp_max_orphans)"),
        of("TIME_WAIT", "/kernel/sockets/time_wait", "/kernel/time_wait_limit", " (tcp_max_tw_buckets)"),
        of("files", "/kernel/descriptors/open", "/kernel/descriptors/limit", " descriptors"),
    ]
}

fn share(used: Option<f64>, limit: Option<f64>) -> Option<f64> {
    Some(used? / limit.filter(|limit| *limit > 0.0)?)
}

fn traffic(state: &State, status: &Status) -> [Line<'static>; 3] {
    let rates = &state.rates;
    let rate = |rate: Option<f64>| rate.map_or_else(|| "–".to_owned(), |rate| count(whole(rate.round())));
    let flow = |rate: Option<f64>| rate.map_or_else(|| "–".to_owned(), |rate| bytes(whole(rate)) + "/s");
    let shown = |place: &str| status.count(place).map_or_else(|| "–".to_owned(), count);
    let now = format!(
        "{} conn/s   {} req/s   {} to clients   {} from clients",
        rate(rates.connections),
        rate(rates.requests),
        flow(rates.to_clients),
        flow(rates.from_clients)
    );
    let open = format!(
        "{} connections   {} tunnels   {} upstreams   {} held",
        shown("/traffic/connections/open"),
        shown("/traffic/tunnels"),
        shown("/traffic/upstreams/open"),
        shown("/guard/holds/open")
    );
    let mut refused = vec![label("refused")];
    if rates.refusals.is_empty() {
        refused.push(text(if rates.requests.is_some() { "nobody" } else { "–" }));
    }
    for (reason, rate) in &rates.refusals {
        let style = if reason == "self_target" { ALARM } else { Style::new() };
        refused.push(Span::styled(format!("{reason} {}/s   ", count(whole(rate.ceil()))), style));
    }
    [Line::from(vec![label("TRAFFIC"), text(now)]), Line::from(vec![label("open"), text(open)]), Line::from(refused)]
}

/// The columns of a client and how wide each is; the last one takes what is left.
const COLUMNS: [(&str, usize, Option<Order>); 8] = [
    ("CLIENT", 18, Some(Order::Address)),
    ("KERNEL", 8, Some(Order::Kernel)),
    ("SOCK", 6, Some(Order::Sockets)),
    ("CONN/S", 6, Some(Order::Connections)),
    ("REQ/S", 6, Some(Order::Requests)),
    ("REFUSED", 7, Some(Order::Refused)),
    ("BYTES/S", 8, Some(Order::Bytes)),
    ("STEP", 6, Some(Order::Worst)),
];

fn clients(state: &State, room: usize) -> Vec<Line<'static>> {
    let clients = state.clients();
    let mut heading: Vec<Span<'static>> = Vec::new();
    for (n, (name, width, order)) in COLUMNS.into_iter().enumerate() {
        let style = if order == Some(state.order) { BOLD.add_modifier(Modifier::REVERSED) } else { BOLD };
        heading.push(Span::styled(aligned(name, width, n), style));
        heading.push(text(" "));
    }
    let hidden = clients.len().saturating_sub(room.saturating_sub(1));
    heading.push(Span::styled("WHY", BOLD));
    if hidden > 0 {
        heading.push(Span::styled(format!(" ({} of {})", clients.len() - hidden, clients.len()), DIM));
    }
    let rows = clients.into_iter().skip(state.above).map(client);
    let nobody = state.clients().is_empty().then(|| Line::from(Span::styled("nobody stands out", DIM)));
    [Line::from(heading)].into_iter().chain(rows).chain(nobody).take(room).collect()
}

/// The first column and the last begin at the left, numbers end at the right.
fn aligned(cell: &str, width: usize, column: usize) -> String {
    let cell: String = cell.chars().take(width).collect();
    if column == 0 || column + 1 == COLUMNS.len() { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
}

fn client(client: &Value) -> Line<'static> {
    let number = |place: &str| number_in(client, place).map_or_else(|| "–".to_owned(), |n| short(whole(n)));
    let sized = |place: &str| number_in(client, place).map_or_else(|| "–".to_owned(), |n| bytes(whole(n)));
    let step = text_in(client, "/step").unwrap_or_default();
    let cells = [
        text_in(client, "/address").unwrap_or_default(),
        sized("/kernel_bytes"),
        number("/sockets"),
        number("/rates/arrivals"),
        number("/rates/requests"),
        number("/rates/refusals"),
        sized("/rates/bytes"),
        step.clone(),
    ];
    let row: Vec<String> =
        cells.iter().zip(COLUMNS).enumerate().map(|(n, (cell, (_, width, _)))| aligned(cell, width, n)).collect();
    let told = [text_in(client, "/why"), text_in(client, "/sample")].into_iter().flatten().collect::<Vec<_>>();
    let style = match &*step {
        "fence" => ALARM,
        "stall" => Style::new().fg(Color::Yellow),
        _ => Style::new(),
    };
    Line::from(Span::styled(format!("{} {}", row.join(" "), told.join(" | ")), style))
}

fn fences(state: &State, status: &Status) -> Vec<Line<'static>> {
    let Some(fences) = status.list("/fences").filter(|fences| !fences.is_empty()) else {
        return Vec::new();
    };
    let backend = status.text("/guard/fence/backend").unwrap_or_else(|| "no backend".to_owned());
    let heading =
        format!("FENCES {} ({backend}); floodgate fence release ADDRESS lets one in", count(fences.len() as u64));
    let row = |fence: &Value| {
        let or_nothing = |text: Option<String>| text.unwrap_or_default();
        let since = or_nothing(number_in(fence, "/since").map(|since| format!("for {}", state.since(since))));
        let left = or_nothing(number_in(fence, "/until").map(|until| state.until(until) + " left"));
        let syns = or_nothing(number_in(fence, "/syns").map(|syns| count(whole(syns)) + " SYNs dropped"));
        let trial = if is_in(fence, "/half_open") { "on trial" } else { "" };
        let [address, reason] = ["/address", "/reason"].map(|place| or_nothing(text_in(fence, place)));
        Line::from(text(format!("{address:<20} {reason:<12} {since:<14} {left:<18} {syns} {trial}")))
    };
    let mut lines = vec![Line::from(Span::styled(heading, BOLD))];
    lines.extend(fences.iter().take(FENCES - 1).map(row));
    lines
}

/// The alarms that stand, the worst first.
fn alarms(state: &State, status: &Status) -> Vec<Line<'static>> {
    let alarms = status.list("/alarms").unwrap_or_default();
    let row = |(n, alarm): (usize, &Value)| {
        let severity = text_in(alarm, "/severity");
        let style = if severity.as_deref() == Some("critical") { ALARM } else { Style::new().fg(Color::Yellow) };
        let lasts = number_in(alarm, "/since").map(|since| format!("for {}", state.since(since)));
        let times = number_in(alarm, "/count").map(|times| format!("{} times", count(whole(times))));
        let silenced = is_in(alarm, "/silenced").then(|| "silenced".to_owned());
        let [id, subject, sample] = ["/id", "/subject", "/sample/request_line"].map(|place| text_in(alarm, place));
        let told = [severity, id, subject, lasts, times, silenced, sample].into_iter().flatten();
        let told: Vec<_> = told.filter(|word| !word.is_empty()).collect();
        Line::from(vec![label(if n == 0 { "ALARMS" } else { "" }), Span::styled(told.join("  "), style)])
    };
    let mut lines: Vec<_> = alarms.iter().enumerate().take(ALARMS).map(row).collect();
    if alarms.len() > ALARMS {
        lines.push(Line::from(vec![label(""), text(format!("and {} more", alarms.len() - ALARMS))]));
    }
    lines
}

fn keys(state: &State) -> Line<'static> {
    let mut spans = vec![Span::styled("q", BOLD), text(" quit  sort by")];
    for (order, key, name) in Order::ALL {
        let style = if order == state.order { BOLD.add_modifier(Modifier::REVERSED) } else { BOLD };
        spans.push(text(" "));
        spans.push(Span::styled(key.to_string(), style));
        spans.push(Span::styled(format!(" {name}"), DIM));
    }
    Line::from(spans)
}

/// At most six characters: `99,999`, `123k`, `1.2M`.
fn short(number: u64) -> String {
    let scaled = |unit: u64, name: &str| match number / unit {
        few @ 0..10 => format!("{few}.{}{name}", number / (unit / 10) % 10),
        many => format!("{}{name}", count(many)),
    };
    match number {
        0..100_000 => count(number),
        100_000..1_000_000 => scaled(1_000, "k"),
        1_000_000..1_000_000_000 => scaled(1_000_000, "M"),
        _ => scaled(1_000_000_000, "G"),
    }
}
