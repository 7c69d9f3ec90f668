//! The table of keys, whole files, arbitrary files.

mod webhook;
mod wrong;

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::keys::{KEYS, SECTIONS};
use super::settings::{AccessFormat, AccessTarget, HostName, Ports, Rate};
use super::{Problems, Settings, file, print, restart_keys, warnings};

fn told(text: &str) -> Vec<String> {
    match Settings::from_toml(text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.0.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_printed_file_is_the_defaults() {
    let printed = print();
    assert_eq!(Settings::from_toml(&printed), Ok(Settings::defaults()));
    assert_eq!(Settings::from_toml(""), Ok(Settings::defaults()));
    for key in KEYS {
        let row = key.row();
        assert!(!row.doc.is_empty(), "{} has no doc", row.path);
        assert!(row.doc.iter().all(|line| line.trim().len() > 5), "{}", row.path);
        assert!(SECTIONS.iter().any(|(section, _)| *section == row.section), "{}", row.path);
        assert_eq!(row.path, format!("{}.{}", row.section, row.name));
        let line = format!("\n{} = {}\n", row.name, row.default);
        assert!(printed.contains(&line), "{} is not printed", row.path);
    }
}

#[test]
fn every_key_is_read_exactly_once() {
    let draft = file::read(&print()).unwrap();
    let mut read: Vec<_> = draft
        .lines
        .iter()
        .map(|(key, _)| key.as_str())
        // The second default listener has the address only.
        .filter(|key| !key.starts_with("listener[1]"))
        .map(|key| key.replace("listener[0]", "listener"))
        .collect();
    let mut listed: Vec<_> = KEYS.iter().map(|key| key.row().path.to_owned()).collect();
    read.sort();
    listed.sort();
    assert_eq!(read, listed);
    assert_eq!(listed.len(), listed.iter().collect::<BTreeSet<_>>().len());
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let settings = Settings::defaults();
    let listeners: Vec<_> = settings.listeners.iter().map(|l| l.address.to_string()).collect();
    assert_eq!(listeners, ["0.0.0.0:3128", "[::]:3128"]);
    assert_eq!(settings.admin.address.to_string(), "127.0.0.1:9128");
    assert!(settings.runtime.workers > 0);
    assert_eq!(settings.destinations.connect_ports, Ports(vec![(80, 80), (443, 443), (8443, 8443)]));
    assert_eq!(settings.destinations.http_ports, Ports(vec![(80, 80), (1024, 65535)]));
    assert_eq!(settings.limits.head_size, 16 << 10);
    assert_eq!(settings.timeouts.tunnel_idle, Duration::from_mins(15));
    for (address, served) in [
        ("127.0.0.1", true),
        ("10.1.2.3", true),
        ("172.31.0.1", true),
        ("192.168.0.1", true),
        ("169.254.1.1", true),
        ("::1", true),
        ("fd00::1", true),
        ("fe80::1", true),
        ("172.32.0.1", false),
        ("8.8.8.8", false),
        ("2001:db8::1", false),
        ("100.64.0.1", false),
    ] {
        let address: std::net::IpAddr = address.parse().unwrap();
        assert_eq!(settings.clients.allow.iter().any(|net| net.contains(&address)), served, "{address}");
    }
}

#[test]
fn values_arrive_where_they_belong() {
    let text = "\u{feff}[[listener]]\r\naddress = \"127.0.0.1:0\"\r\n\r\n\
        [self]\r\naliases = [\"203.0.113.7\", \"Proxy.Example.NET.\", \"::ffff:10.0.0.9\"]\r\n\
        [destinations]\r\nconnect-ports = [\"8000-9000\", 443, \"444\", \"8500-9500\"]\r\n\
        [limits]\r\nclient-request-rate = \"5/s, burst 7\"\r\nconnections = 1_000\r\n\
        [timeouts]\r\nhead = \"250ms\"\r\n\
        [log]\r\naccess = \"/var/log/x.log\"\r\naccess-format = \"squid\"\r\nlevel = \"off\"\r\n\
        [upstream]\r\nsource-v4 = '192.0.2.1'\r\ndns-servers = [\"192.0.2.53\"]\r\n";
    let settings = Settings::from_toml(text).unwrap();
    assert_eq!(settings.listeners.len(), 1);
    assert_eq!(settings.own.addresses, ["203.0.113.7", "10.0.0.9"].map(|a| a.parse::<std::net::IpAddr>().unwrap()));
    assert_eq!(settings.own.names, ["proxy.example.net"]);
    assert_eq!(settings.destinations.connect_ports, Ports(vec![(443, 444), (8000, 9500)]));
    let seven = 7.try_into().unwrap();
    assert_eq!(settings.limits.client_request_rate, Rate { per_second: 5.try_into().unwrap(), burst: seven });
    assert_eq!(settings.limits.connections, 1_000);
    assert_eq!(settings.timeouts.head, Duration::from_millis(250));
    assert_eq!(settings.log.access, AccessTarget::File("/var/log/x.log".into()));
    assert_eq!(settings.log.access_format, AccessFormat::Squid);
    assert_eq!(settings.log.level, tracing::level_filters::LevelFilter::OFF);
    assert_eq!(settings.upstream.source_v4, "192.0.2.1".parse().ok());
    assert_eq!(settings.upstream.dns_servers, ["192.0.2.53:53".parse().unwrap()]);

    let allow = Settings::from_toml("self.allow = ['PORTAL:8443']").unwrap().own.allow;
    assert_eq!(allow[0].host, HostName::Name("portal".to_owned()));
}

#[test]
fn only_entries_that_lead_back_are_loops() {
    let loops = |listener: &str, allow: &str| {
        let text =
            format!("self.allow = ['{allow}']\nself.aliases = ['203.0.113.7']\n[[listener]]\naddress = '{listener}'");
        told(&text).iter().any(|line| line.contains("through itself"))
    };
    for (listener, allow) in [
        ("127.0.0.1:1", "127.0.0.1:1"),
        ("127.0.0.1:1", "[::ffff:127.0.0.1]:1"),
        ("10.0.0.1:1", "10.0.0.1:1"),
        ("10.0.0.1:1", "203.0.113.7:1"),
        ("10.0.0.1:1", "0.0.0.0:1"),
        ("10.0.0.1:1", "LOCALHOST.:1"),
        ("0.0.0.0:1", "10.115.5.2:1"),
        ("[::]:1", "[fd00::1]:1"),
        ("[::]:1", "portal.example:1"),
    ] {
        assert!(loops(listener, allow), "{listener} {allow}");
    }
    for (listener, allow) in [
        ("127.0.0.1:1", "127.0.0.1:2"),
        ("10.0.0.1:1", "10.0.0.2:1"),
        ("[::]:1", "10.0.0.2:1"),
        ("127.0.0.1:0", "127.0.0.1:80"),
    ] {
        assert!(!loops(listener, allow), "{listener} {allow}");
    }
}

#[test]
fn a_file_of_noise_is_cut_short() {
    let cases = [
        "=\n".repeat(500_000),
        (0..60_000).fold(String::new(), |text, n| text + &format!("key{n} = 1\n")),
        "[[listener]]\n".repeat(70_000),
        format!("[clients]\nallow = [{}]", "7,".repeat(1_000)),
    ];
    for text in cases {
        let problems = Settings::from_toml(&text).unwrap_err().0;
        // The listeners have a limit of their own, 64.
        assert_eq!(problems.len(), if text.starts_with("[[") { 65 } else { 101 });
        let Some(last) = problems.get(100) else {
            continue;
        };
        assert_eq!(last.to_string(), "more is wrong than is told here; correct this and check again");
    }
    let long = told(&format!("[clients]\nallow = [{}]", "7,".repeat(2_000)));
    assert!(long[0].contains("has 2000 entries, at most 1024 are taken"), "{long:?}");
    assert!(long[0].len() < 400, "{long:?}");
    assert!(told(&format!("{} = 1", "x".repeat(900_000)))[0].len() < 400);
    assert_eq!(told(&format!("x = {}", "[".repeat(500_000))).len(), 1);
}

#[test]
fn restart_keys_name_what_changed() {
    let changed = |text: &str| restart_keys(&Settings::defaults(), &Settings::from_toml(text).unwrap());
    assert!(changed("[timeouts]\nhead = '1s'\n[clients]\nallow = ['::/0']\n[log]\nlevel = 'off'").is_empty());
    let all = changed(
        "[[listener]]\naddress = '127.0.0.1:1'\n[runtime]\nworkers = 200\nuser = 'root'\n\
         [admin]\naddress = '127.0.0.1:2'\ntoken-file = ''\nread-token-file = '/x'\n\
         [guard]\nfence = 'off'\n[log]\naccess = '-'\naccess-format = 'json'",
    );
    let listed: Vec<_> =
        KEYS.iter().map(|key| key.row()).filter(|row| row.changed.is_some()).map(|row| row.path).collect();
    assert_eq!(all, listed);
    let expected = [
        "listener.address",
        "runtime.workers",
        "runtime.user",
        "admin.address",
        "admin.token-file",
        "admin.read-token-file",
        "guard.fence",
        "log.access",
        "log.access-format",
    ];
    assert_eq!(all, expected);
}

#[test]
fn what_the_lan_may_see_without_a_token_is_warned_of() {
    let warned = |text: &str| {
        let settings = Settings::from_toml(text).unwrap();
        warnings(&settings).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let lan = "[admin]\naddress = '10.115.5.2:9128'\nallow = ['127.0.0.0/8', '10.115.5.0/24', 'fd00::/8']\n";
    assert_eq!(
        warned(lan),
        [
            "admin.allow = 10.115.5.0/24, fd00::/8: may see everything at 10.115.5.2:9128 without a token, samples of requests \
             included; name a file in admin.read-token-file, and the token that is made there is asked for"
        ]
    );
    let all = "[admin]\naddress = '[::]:9128'\nallow = ['::/0', '0.0.0.0/0']";
    assert_eq!(warned(all).len(), 1);
    for calm in [
        "",
        &format!("{lan}read-token-file = '/etc/floodgate/read'"),
        // Nobody but this box can come.
        "[admin]\nallow = ['127.0.0.0/8', '10.0.0.0/8']",
        "[admin]\naddress = '0.0.0.0:9128'",
        "[admin]\naddress = '[::1]:9128'\nallow = ['::1', '10.0.0.0/8', '127.0.0.1']",
    ] {
        assert!(warned(calm).is_empty(), "{calm}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}|[\\[\\]{}='\",.#\\n a-z0-9-]{0,200}") {
        let (Ok(_) | Err(Problems(_))) = Settings::from_toml(&text);
    }

    #[test]
    fn no_damage_to_the_printed_file_panics(at in 0_usize..9_000, gone in 0_usize..60, new in "\\PC{0,8}") {
        let mut chars: Vec<char> = print().chars().collect();
        let at = at.min(chars.len());
        let end = (at + gone).min(chars.len());
        chars.splice(at..end, new.chars());
        if let Err(problems) = Settings::from_toml(&chars.into_iter().collect::<String>()) {
            prop_assert!(!problems.0.is_empty());
            prop_assert!(problems.0.iter().all(|problem| !problem.reason.is_empty() && !problem.remedy.is_empty()));
        }
    }

    #[test]
    fn any_value_is_taken_or_told(index in 0..KEYS.len(), value in "0|-?[1-9][0-9]{0,24}|'[ -&(-~]{0,20}'|\\['[ -&(-~]{0,20}'\\]|true|\\{\\}|1979-05-27|nan") {
        let row = KEYS[index].row();
        let text = match row.section {
            "listener" => format!("[[listener]]
{} = {value}", row.name),
            section => format!("[{section}]\n{} = {value}", row.name),
        };
        if let Err(problems) = Settings::from_toml(&text) {
            prop_assert!(problems.0.iter().all(|problem| !problem.key.is_empty()), "{problems}");
        }
    }
}
