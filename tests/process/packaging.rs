//! What an appliance is set up with, and what watches it.

use std::collections::BTreeSet;
use std::process::Command;

use floodgate::outcome::{RequestEnd, Row};
use serde_json::Value;

use crate::rig::{command, skipped};

const CONFIGURATION: &str = include_str!("../../packaging/floodgate.toml");
const UNIT: &str = include_str!("../../packaging/floodgate.service");
const METRICS: &str = include_str!("../../docs/METRICS.md");
const ALERTS: &str = include_str!("../../packaging/prometheus/rules/alerts.yml");
const RECORDING: &str = include_str!("../../packaging/prometheus/rules/recording.yml");
const DASHBOARD: &str = include_str!("../../packaging/grafana/floodgate.json");

#[test]
fn its_configuration_passes_the_check_and_shows_every_default() {
    let checked = command(["check", "--config", "/dev/stdin"], CONFIGURATION.as_bytes());
    assert_eq!(String::from_utf8(checked.stdout).unwrap(), "ok\n");

    let printed = String::from_utf8(command(["config"], b"").stdout).unwrap();
    let shown: Vec<_> = CONFIGURATION.lines().map(|line| line.strip_prefix('#').unwrap_or(line)).collect();
    // The first two lines are about the printed file itself.
    for line in printed.lines().skip(2) {
        let bare = line.strip_prefix('#').unwrap_or(line);
        // What is set for an appliance has another value than the default.
        let key = line.split_once(" = ").map(|(key, _)| format!("{key} = ")).filter(|_| !line.starts_with('#'));
        let is_set = || key.is_some_and(|key| CONFIGURATION.lines().any(|set| set.starts_with(&key)));
        assert!(
            shown.contains(&bare) || is_set(),
            "packaging/floodgate.toml lacks {line:?}, as `floodgate config` prints it"
        );
    }
}

#[test]
fn its_unit_grants_what_is_needed_and_writes_where_the_log_is() {
    let set = |key: &str| UNIT.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap();
    assert_eq!(set("AmbientCapabilities"), "CAP_NET_ADMIN CAP_DAC_READ_SEARCH");
    assert_eq!(set("AmbientCapabilities"), set("CapabilityBoundingSet"));
    let log = CONFIGURATION.lines().find_map(|line| line.strip_prefix("access = ")).unwrap();
    assert!(log.starts_with(&format!("\"/var/log/{}/", set("LogsDirectory"))), "{log}");
}

/// The words of a text that may be metrics or recorded series.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | ':')))
}

/// Every metric that is named exists, and every recorded series is recorded.
fn assert_known(text: &str) {
    for word in words(text) {
        // `floodgate_kernel_*` speaks of several.
        let is_metric = (word.starts_with("floodgate_") || word.starts_with("process_")) && !word.ends_with('_');
        let family = ["_bucket", "_sum", "_count"].into_iter().find_map(|suffix| word.strip_suffix(suffix));
        let documented = |name: &str| METRICS.contains(&format!("\n| `{name}` |"));
        assert!(!is_metric || documented(word) || family.is_some_and(documented), "there is no metric {word}");
        if word.starts_with("instance") && word.matches(':').count() == 2 {
            assert!(RECORDING.contains(&format!("record: {word}\n")), "nothing records {word}");
        }
    }
}

#[test]
fn the_rules_name_metrics_that_exist() {
    assert_known(RECORDING);
    assert_known(ALERTS);
    let alerts = ALERTS.matches("- alert: ").count();
    assert!(alerts > 30);
    for part in ["expr: ", "severity: ", "summary: ", "description: ", "runbook: "] {
        let times = ALERTS.lines().filter(|line| !line.starts_with('#')).filter(|line| line.contains(part)).count();
        assert_eq!(times, alerts, "{part}");
    }
}

/// What counts as failed, and as refused, is what the table of outcomes says.
#[test]
fn the_error_ratio_counts_what_the_table_of_outcomes_says() {
    let listed = |operator: &str| {
        let (_, rest) = RECORDING.split_once(&format!("outcome{operator}\"")).unwrap();
        rest.split('"').next().unwrap().split('|').collect::<BTreeSet<_>>()
    };
    let of = |counts: fn(Row) -> bool| {
        RequestEnd::ALL.iter().filter(|end| counts(end.row())).map(|end| end.label()).collect::<BTreeSet<_>>()
    };
    let failed = |row: Row| matches!(row.status, Some(502..=504));
    assert_eq!(listed("=~"), of(failed));
    assert_eq!(listed("!~"), of(|row| row.reason.is_some() && !matches!(row.status, Some(502..=504))));
}

#[test]
fn the_dashboard_names_metrics_that_exist_and_units() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let (rows, panels): (Vec<_>, Vec<_>) = panels.iter().partition(|panel| panel["type"] == "row");
    let rows: Vec<_> = rows.iter().map(|row| row["title"].as_str().unwrap()).collect();
    let order = [
        "Is the box well?",
        "The kernel's TCP memory, and its limits",
        "Traffic",
        "Refusals",
        "The guard",
        "Latency",
        "The process",
        "The machine",
        "Alarms",
    ];
    assert_eq!(rows, order);
    let mut ids = BTreeSet::new();
    for panel in &panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is another's");
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap();
        let description = panel["description"].as_str().unwrap();
        assert!(!unit.is_empty() && !description.is_empty(), "{title}");
        let place = &panel["gridPos"];
        assert!(place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24, "{title}");
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            assert_known(expression);
            assert!(expression.contains("instance=~\"$instance\""), "{title}: {expression}");
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
    let shown: BTreeSet<_> = words(DASHBOARD).collect();
    for row in METRICS.lines().filter_map(|line| line.strip_prefix("| `")) {
        let name = row.split('`').next().unwrap();
        let bucket = format!("{name}_bucket");
        let elsewhere = ["floodgate_kernel_slab_objects", "process_virtual_memory_bytes"].contains(&name);
        assert!(shown.contains(name) || shown.contains(&*bucket) || elsewhere, "{name} is not shown");
    }
}

/// With promtool: the configuration, the rules, a test of each alert, the dashboard's queries.
#[test]
fn promtool_agrees() {
    let check = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/prometheus/check");
    let Ok(output) = Command::new("python3").args([check, "--static"]).output() else {
        return skipped("python3 is not installed");
    };
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    told.lines().filter_map(|line| line.strip_prefix("skipped: ")).for_each(skipped);
}
