//! The page that Prometheus reads.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use ahash::AHashSet;

use super::{fence, get, speak, start};
use crate::alarm::book::Standing;
use crate::alarm::{Alarm, Severity};
use crate::guard::holds::HOLD_BYTES;
use crate::guard::pressure::{Level, Report};
use crate::kernel::view::{CACHES, CpuShares, Disk, KernelView, Slab, Sockets, TcpExt};
use crate::net::ClientKey;
use crate::outcome::{ConnectionEnd, Form, Reason, RequestEnd};
use crate::telemetry::Direction;

pub(super) fn series(page: &str) -> impl Iterator<Item = (&str, f64)> {
    page.lines().filter(|line| line.starts_with("floodgate_") || line.starts_with("process_")).map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name, value.parse().unwrap())
    })
}

/// Every line belongs to the family declared above it, no family and no series comes twice, the end is marked.
pub(super) fn assert_openmetrics(page: &str) {
    let mut families = AHashSet::new();
    let mut seen = AHashSet::new();
    let (mut family, mut suffixes): (&str, &[&str]) = ("", &[]);
    for line in page.strip_suffix("# EOF\n").unwrap().lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split(' ').next().unwrap();
            assert!(families.insert(family), "{family} twice");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, family);
            suffixes = match kind {
                "counter" => &["_total"],
                "gauge" => &[""],
                "info" => &["_info"],
                "histogram" => &["_sum", "_count", "_bucket"],
                other => panic!("{other}"),
            };
        } else if let Some(measured) = line.strip_prefix("# UNIT ") {
            let (name, unit) = measured.split_once(' ').unwrap();
            assert!(name == family && name.ends_with(&format!("_{unit}")), "{line}");
        } else {
            let line = line.split(" # ").next().unwrap();
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().unwrap() >= 0.0, "{line}");
            assert!(seen.insert(name), "{name} twice");
            let name = name.split('{').next().unwrap();
            let suffix = name.strip_prefix(family).unwrap();
            assert!(suffixes.contains(&suffix), "{line} below {family}");
        }
    }
}

#[tokio::test]
async fn metrics_before_anything_happened() {
    let board = start().await;
    let (_, page) = get(&board, "/metrics").await;
    assert_openmetrics(&page);
    let value = |name: &str| series(&page).find(|(n, _)| *n == name).map(|(_, v)| v);
    for end in ConnectionEnd::ALL {
        let name = format!(r#"floodgate_outcomes_total{{scope="connection",outcome="{}"}}"#, end.label());
        assert_eq!(value(&name), Some(0.0), "{name}");
    }
    for end in RequestEnd::ALL {
        let name = format!(r#"floodgate_outcomes_total{{scope="request",outcome="{}"}}"#, end.label());
        assert_eq!(value(&name), Some(0.0), "{name}");
    }
    for reason in Reason::ALL {
        for form in Form::ALL {
            let name = format!(r#"floodgate_refusals_total{{reason="{}",form="{}"}}"#, reason.label(), form.label());
            assert_eq!(value(&name), Some(0.0), "{name}");
        }
    }
    for name in [
        r#"floodgate_connections_total{listener="0.0.0.0:3128"}"#,
        "floodgate_requests_total",
        "floodgate_connections_open",
        "floodgate_tunnels_open",
        "floodgate_upstreams_open",
        r#"floodgate_bytes_total{direction="from_client"}"#,
        r#"floodgate_bytes_total{direction="to_client"}"#,
        r#"floodgate_bytes_total{direction="from_upstream"}"#,
        r#"floodgate_bytes_total{direction="to_upstream"}"#,
        "floodgate_upstream_connect_seconds_count",
        r#"floodgate_request_seconds_bucket{le="+Inf"}"#,
        "floodgate_dns_seconds_sum",
        "floodgate_accept_errors_total",
        r#"floodgate_failures_untracked_total{outcome="dns_timeout"}"#,
        "floodgate_access_log_dropped_total",
        r#"floodgate_config_reloads_total{result="applied"}"#,
        r#"floodgate_config_reloads_total{result="refused"}"#,
        "floodgate_panics_total",
    ] {
        assert_eq!(value(name), Some(0.0), "{name}");
    }
    for name in [
        "floodgate_clients_tracked",
        "floodgate_holds_open",
        "floodgate_holds_memory_bytes",
        "floodgate_holds_turned_away_total",
        "floodgate_fences_active",
        "floodgate_heads_awaited",
        "floodgate_destinations_failing",
        "floodgate_connections_shed_total",
        "floodgate_idle_reaped_total",
        "floodgate_fenced_syns_total",
        "floodgate_pressure_level",
        r#"floodgate_guard_observed_total{step="stall"}"#,
        r#"floodgate_guard_observed_total{step="fence"}"#,
    ] {
        assert_eq!(value(name), Some(0.0), "{name}");
    }
    assert!(!page.contains("floodgate_pressure{"), "nothing was measured");
    assert_eq!(value("floodgate_rate_buckets_shared_total"), Some(3.0));
    let info = format!(r#"floodgate_build_info{{version="{}"}}"#, env!("CARGO_PKG_VERSION"));
    assert_eq!(value(&info), Some(1.0));
    for name in
        ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"]
    {
        assert!(value(name).is_some(), "{name}");
    }
    // Nothing was read from the kernel: there is nothing about it.
    assert!(!page.contains("floodgate_kernel_"));
}

#[tokio::test]
async fn metrics_follow_the_counters() {
    let board = start().await;
    board.counters.connections[0].1.store(5, Relaxed);
    board.counters.connection_ends.add(ConnectionEnd::Served.index(), 4);
    board.counters.refused(Reason::SelfTarget, Form::Answered);
    board.counters.moved(Direction::ToClient, 1_000);
    board.counters.request_seconds.record(Duration::from_millis(2));
    board.counters.request_seconds.record(Duration::from_secs(90));
    let (_, page) = get(&board, "/metrics").await;
    assert_openmetrics(&page);
    for (name, expected) in [
        (r#"floodgate_connections_total{listener="0.0.0.0:3128"}"#, 5.0),
        (r#"floodgate_outcomes_total{scope="connection",outcome="served"}"#, 4.0),
        (r#"floodgate_refusals_total{reason="self_target",form="answered"}"#, 1.0),
        (r#"floodgate_bytes_total{direction="to_client"}"#, 1_000.0),
        (r#"floodgate_request_seconds_bucket{le="0.001"}"#, 0.0),
        (r#"floodgate_request_seconds_bucket{le="0.0025"}"#, 1.0),
        (r#"floodgate_request_seconds_bucket{le="60.0"}"#, 1.0),
        (r#"floodgate_request_seconds_bucket{le="+Inf"}"#, 2.0),
        ("floodgate_request_seconds_count", 2.0),
        ("floodgate_request_seconds_sum", 90.002),
    ] {
        let value = series(&page).find(|(n, _)| *n == name).map(|(_, v)| v);
        assert_eq!(value, Some(expected), "{name}");
    }
}

#[tokio::test]
async fn a_scraper_gets_the_format_it_asks_for() {
    let board = start().await;
    for (accept, kind) in [
        ("application/openmetrics-text;version=1.0.0", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("text/plain;version=0.0.4", "text/plain; version=0.0.4; charset=utf-8"),
    ] {
        let request =
            format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
        let (head, page) = speak(&board, &request).await;
        assert!(head.contains(&format!("content-type: {kind}")), "{head}");
        assert_eq!(page.contains("# EOF") || page.contains("# UNIT"), accept.starts_with("app"), "{page}");
        assert!(page.contains("\nfloodgate_requests_total 0\n"), "{page}");
        assert_eq!(page.contains("# TYPE floodgate_requests_total counter"), accept.starts_with("text"), "{page}");
    }
}

#[tokio::test]
async fn exemplars_are_shown_to_who_wants_them() {
    let board = start().await;
    let slow = || board.counters.request_seconds.record(Duration::from_millis(1_500));
    slow();
    assert!(!get(&board, "/metrics").await.1.contains(" # {"), "they are off");
    let mut wanted = super::settings();
    wanted.admin.exemplars = true;
    board.settings.store(Arc::new(wanted));
    // From the first scrape on.
    assert!(!get(&board, "/metrics").await.1.contains(" # {"));
    slow();
    let (_, page) = get(&board, "/metrics").await;
    assert_openmetrics(&page);
    let shown: Vec<_> = page.lines().filter(|line| line.contains(" # {")).collect();
    let [line] = shown[..] else { panic!("{shown:?}") };
    assert!(line.starts_with(r#"floodgate_request_seconds_bucket{le="2.5"} 2 # {time="20"#), "{line}");
    assert!(line.contains(r#""} 1.500000000 "#), "{line}");
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\nConnection: close\r\n\r\n";
    assert!(!speak(&board, request).await.1.contains(" # {"), "the old format has none");
}

#[tokio::test]
async fn metrics_follow_the_guard() {
    let board = start().await;
    let guard = &board.guard;
    let now = guard.clock.now();
    let _seat = guard.book.enter(ClientKey::new("10.0.0.1".parse().unwrap()), now);
    let _held = guard.holds.take(usize::try_from(HOLD_BYTES).unwrap()).unwrap();
    assert!(guard.holds.take(0).is_none());
    guard.fences.rows.store(Arc::new(vec![fence("10.0.0.2", now)]));
    guard.fences.dropped(1_234);
    guard.observed.store(5, Relaxed);
    guard.fences.observed.store(6, Relaxed);
    guard.pressure.set(Level::High);
    let signals = vec![("tcp_memory", 0.75), ("orphans", 0.0)];
    guard.pressure.report.store(Arc::new(Report { signals, driver: Some("tcp_memory"), forecast: None }));
    let (_, page) = get(&board, "/metrics").await;
    assert_openmetrics(&page);
    for (name, expected) in [
        ("floodgate_clients_tracked", 1.0),
        ("floodgate_holds_open", 1.0),
        ("floodgate_holds_memory_bytes", 4_096.0),
        ("floodgate_holds_turned_away_total", 1.0),
        ("floodgate_fences_active", 1.0),
        ("floodgate_fenced_syns_total", 1_234.0),
        ("floodgate_pressure_level", 2.0),
        (r#"floodgate_pressure{signal="tcp_memory"}"#, 0.75),
        (r#"floodgate_pressure{signal="orphans"}"#, 0.0),
        (r#"floodgate_guard_observed_total{step="stall"}"#, 5.0),
        (r#"floodgate_guard_observed_total{step="fence"}"#, 6.0),
    ] {
        let value = series(&page).find(|(n, _)| *n == name).map(|(_, v)| v);
        assert_eq!(value, Some(expected), "{name}");
    }
}

#[tokio::test]
async fn what_the_kernel_does_not_tell_is_not_there() {
    let board = start().await;
    board.kernel.store(Some(Arc::new(KernelView {
        slab: vec![(CACHES[1], Slab { objects: 12, bytes: 32_768 })],
        sockets: Sockets { inuse_v6: Some(2), orphan: Some(0), ..Sockets::default() },
        tcp_memory: Some(4_096),
        tcp_memory_limits: Some([1, 2, 3]),
        tcp_ext: TcpExt { listen_overflows: Some(9), ..TcpExt::default() },
        memory_available: Some(1_024),
        cpu: Some(CpuShares { softirq: 0.25, idle: 0.75, ..CpuShares::default() }),
        cpu_stall: Some(1_250),
        conntrack: Some((5, 6)),
        disks: vec![Disk { path: "/var/log".into(), free: 7, total: 8 }],
        ..KernelView::default()
    })));
    let (_, page) = get(&board, "/metrics").await;
    assert_openmetrics(&page);
    let kernel: Vec<_> = series(&page).filter(|(name, _)| name.starts_with("floodgate_kernel_")).collect();
    assert_eq!(
        kernel,
        [
            (r#"floodgate_kernel_slab_objects{cache="TCPv6"}"#, 12.0),
            (r#"floodgate_kernel_slab_bytes{cache="TCPv6"}"#, 32_768.0),
            (r#"floodgate_kernel_sockets{family="ipv6",state="inuse"}"#, 2.0),
            (r#"floodgate_kernel_sockets{family="all",state="orphan"}"#, 0.0),
            ("floodgate_kernel_tcp_memory_bytes", 4_096.0),
            (r#"floodgate_kernel_tcp_memory_limit_bytes{level="low"}"#, 1.0),
            (r#"floodgate_kernel_tcp_memory_limit_bytes{level="pressure"}"#, 2.0),
            (r#"floodgate_kernel_tcp_memory_limit_bytes{level="high"}"#, 3.0),
            ("floodgate_kernel_memory_available_bytes", 1_024.0),
            ("floodgate_kernel_conntrack_entries", 5.0),
            ("floodgate_kernel_conntrack_limit", 6.0),
            (r#"floodgate_kernel_cpu_ratio{mode="user"}"#, 0.0),
            (r#"floodgate_kernel_cpu_ratio{mode="system"}"#, 0.0),
            (r#"floodgate_kernel_cpu_ratio{mode="softirq"}"#, 0.25),
            (r#"floodgate_kernel_cpu_ratio{mode="iowait"}"#, 0.0),
            (r#"floodgate_kernel_cpu_ratio{mode="steal"}"#, 0.0),
            (r#"floodgate_kernel_cpu_ratio{mode="idle"}"#, 0.75),
            (r#"floodgate_kernel_stall_ratio{resource="cpu"}"#, 0.125),
            (r#"floodgate_kernel_disk_size_bytes{path="/var/log"}"#, 8.0),
            (r#"floodgate_kernel_disk_free_bytes{path="/var/log"}"#, 7.0),
            ("floodgate_kernel_listen_overflows_total", 9.0),
        ]
    );
}

#[tokio::test]
async fn metrics_follow_the_alarms() {
    let board = start().await;
    let stands = |alarm, severity| Standing {
        alarm,
        subject: "10.0.0.1".to_owned(),
        severity,
        since: SystemTime::UNIX_EPOCH,
        last: SystemTime::UNIX_EPOCH,
        count: 1,
        told: true,
        silenced: false,
        values: vec![],
        sample: None,
    };
    board.alarms.standing.store(Arc::new(vec![
        stands(Alarm::Slab, Severity::Critical),
        stands(Alarm::SelfTargetStorm, Severity::Warning),
        stands(Alarm::SelfTargetStorm, Severity::Warning),
    ]));
    board.alarms.begun.add(Alarm::Slab.index(), 7);
    board.alarms.messages.store(8, Relaxed);
    board.alarms.waiting.store(9, Relaxed);
    let (_, page) = get(&board, "/metrics").await;
    assert_openmetrics(&page);
    for (name, expected) in [
        (r#"floodgate_alarms_firing{severity="info"}"#, 0.0),
        (r#"floodgate_alarms_firing{severity="warning"}"#, 2.0),
        (r#"floodgate_alarms_firing{severity="critical"}"#, 1.0),
        (r#"floodgate_alarms_total{alarm="slab"}"#, 7.0),
        (r#"floodgate_alarms_total{alarm="panic"}"#, 0.0),
        ("floodgate_alarm_messages_total", 8.0),
        ("floodgate_alarm_messages_waiting", 9.0),
    ] {
        let value = series(&page).find(|(n, _)| *n == name).map(|(_, v)| v);
        assert_eq!(value, Some(expected), "{name}");
    }
    assert!(!page.contains("10.0.0.1"), "a client is no label");
}
