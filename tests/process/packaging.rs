//! What an appliance is set up with.

use crate::rig::command;

const CONFIGURATION: &str = include_str!("../../packaging/floodgate.toml");
const UNIT: &str = include_str!("../../packaging/floodgate.service");

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
