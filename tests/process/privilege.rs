//! What it may still do once it runs, thread by thread, and what works without it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Signal, geteuid};
use tempfile::TempDir;

use crate::rig::{BINARY, Floodgate, command, config, eventually, origin, skipped};

/// The bit of `CAP_NET_ADMIN` (linux/capability.h).
const NET_ADMIN: u64 = 1 << 12;
const NOBODY: &str = "65534";
const AS_NOBODY: &str = "[runtime]\nuser = 'nobody'";

/// Says that a test did not run, unless this is root.
fn is_root() -> bool {
    let root = geteuid().is_root();
    if !root {
        skipped("only root has privileges to drop");
    }
    root
}

/// A field of /proc/PID/status, of each thread.
fn of_all_threads(floodgate: &Floodgate, field: &str) -> Vec<String> {
    let threads: Vec<_> = fs::read_dir(floodgate.proc("task")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(threads.len() > 3, "workers and control run");
    let value = |path: &PathBuf| {
        // It may have ended meanwhile.
        let status = fs::read_to_string(path.join("status")).ok()?;
        let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Some(value.unwrap().split_whitespace().collect::<Vec<_>>().join(" "))
    };
    threads.iter().filter_map(value).collect()
}

/// Every thread has these capabilities and can get no others.
fn has_only(floodgate: &Floodgate, capabilities: u64) {
    for (field, expected) in [("CapPrm", capabilities), ("CapEff", capabilities), ("CapInh", 0), ("CapAmb", 0)] {
        for value in of_all_threads(floodgate, field) {
            assert_eq!(u64::from_str_radix(&value, 16).unwrap(), expected, "{field}");
        }
    }
    assert!(of_all_threads(floodgate, "NoNewPrivs").iter().all(|value| value == "1"));
}

/// The binary and a configuration where everybody can read them.
fn in_the_open(config: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    fs::copy(BINARY, folder.path().join("floodgate")).unwrap();
    fs::write(folder.path().join("config"), config).unwrap();
    folder
}

/// Started by this command, which gets the open binary to execute; it reads the open configuration.
fn started_by(open: &TempDir, mut by: Command) -> Floodgate {
    // Where the binary was built, and where temporary folders are, nobody may be allowed to look.
    by.args(["/bin/sh", "-c", "exec \"$0/floodgate\" run --config /dev/stdin <\"$0/config\""]).arg(open.path());
    Floodgate::with("", by)
}

#[test]
fn root_keeps_one_capability() {
    if !is_root() {
        return;
    }
    let origin = origin("still served");
    let floodgate = Floodgate::start(&[origin], "");
    has_only(&floodgate, NET_ADMIN);
    assert!(of_all_threads(&floodgate, "CapBnd").iter().all(|value| u64::from_str_radix(value, 16) == Ok(0)));
    let told = floodgate.says("privileges dropped", 1);
    assert!(told.contains("uid=0 ") && told.contains("keeps=\"CAP_NET_ADMIN\""), "{told}");
    assert!(floodgate.get(origin, "/").ends_with("still served"));
}

#[test]
fn a_user_of_its_own_still_sees_the_kernel() {
    if !is_root() {
        return;
    }
    let origin = origin("still served");
    let floodgate = Floodgate::start(&[origin], AS_NOBODY);
    has_only(&floodgate, NET_ADMIN);
    for field in ["Uid", "Gid"] {
        let all = [NOBODY; 4].join(" ");
        assert!(of_all_threads(&floodgate, field).iter().all(|ids| *ids == all));
    }
    assert!(of_all_threads(&floodgate, "Groups").iter().all(|groups| groups == NOBODY), "none of root's");
    assert!(floodgate.get(origin, "/").ends_with("still served"));
    // Mode 0400, opened before.
    if fs::read("/proc/slabinfo").is_ok() {
        eventually("the kernel view is there", || {
            floodgate.ask_admin("/metrics").contains("floodgate_kernel_slab_bytes{cache=\"TCP\"}")
        });
    }
    assert!(floodgate.metric("process_open_fds") > 3);
}

#[test]
fn a_configuration_that_the_user_may_not_read_stays_as_it_was() {
    if !is_root() {
        return;
    }
    let (old, new) = (origin("old"), origin("new"));
    let floodgate = Floodgate::start(&[old], AS_NOBODY);
    let path = floodgate.path("floodgate.toml");
    floodgate.rewrite(&config(&[new], AS_NOBODY));
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    floodgate.signal(Signal::HUP);
    let said = floodgate.says("the old one stays", 1);
    assert!(said.contains("floodgate.toml: Permission denied") && said.contains("uid 65534 must be able to"), "{said}");
    assert!(floodgate.get(old, "/").ends_with("old"));

    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    floodgate.signal(Signal::HUP);
    floodgate.says("configuration reloaded", 1);
    assert!(floodgate.get(new, "/").ends_with("new"));

    floodgate.rewrite(&config(&[new], ""));
    floodgate.signal(Signal::HUP);
    let said = floodgate.says("need a restart", 1);
    assert!(said.contains("\"runtime.user\""), "{said}");
}

#[test]
fn the_log_is_the_users_from_the_start_and_after_a_rotation() {
    if !is_root() {
        return;
    }
    let origin = origin("logged");
    let logs = tempfile::tempdir().unwrap();
    let log = logs.path().join("access.log");
    let more = format!("{AS_NOBODY}\n[log]\naccess = '{}'", log.display());
    // The user could not write it after a rotation: better told at the start.
    let (status, said) = Floodgate::started(&config(&[origin], &more), Command::new(BINARY)).unwrap_err();
    assert_eq!(status.code(), Some(1));
    let told = format!("cannot open the access log as uid 65534: {}: Permission denied", log.display());
    assert!(said.last().unwrap().contains(&told), "{said:?}");

    chown(logs.path(), Some(65534), None).unwrap();
    let floodgate = Floodgate::start(&[origin], &more);
    let lines = |path: &Path| fs::read_to_string(path).map_or(0, |text| text.lines().count());
    assert!(floodgate.get(origin, "/").ends_with("logged"));
    eventually("a line", || lines(&log) == 1);
    let rotated = logs.path().join("access.log.1");
    fs::rename(&log, &rotated).unwrap();
    floodgate.signal(Signal::USR1);
    eventually("a new file", || log.exists());
    assert!(floodgate.get(origin, "/").ends_with("logged"));
    eventually("a line in it", || lines(&log) == 1);
    assert_eq!(lines(&rotated), 1);
}

#[test]
fn an_ordinary_user_is_told_what_is_missing() {
    let origin = origin("for everybody");
    let floodgate = if geteuid().is_root() {
        let open = in_the_open(&config(&[origin], ""));
        let mut command = Command::new("env");
        command.uid(65534).gid(65534);
        started_by(&open, command)
    } else {
        Floodgate::start(&[origin], "")
    };
    has_only(&floodgate, 0);
    let told = floodgate.says("privileges dropped", 1);
    assert!(told.contains("no CAP_NET_ADMIN: storms are held instead of dropped, no kernel fence"), "{told}");
    assert!(told.contains("keeps=\"nothing\""), "{told}");
    assert!(floodgate.get(origin, "/").ends_with("for everybody"));
}

#[test]
fn what_an_ambient_capability_gives_is_kept_and_not_passed_on() {
    if !is_root() {
        return;
    }
    for no_new_privs in [false, true] {
        let open = in_the_open(&config(&[], ""));
        let mut by = Command::new("setpriv");
        by.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
        by.args(["--inh-caps=+net_admin", "--ambient-caps=+net_admin"]);
        by.args(no_new_privs.then_some("--no-new-privs"));
        let floodgate = started_by(&open, by);
        has_only(&floodgate, NET_ADMIN);
        let told = floodgate.says("privileges dropped", 1);
        assert!(!told.contains("no CAP_NET_ADMIN") && told.contains("keeps=\"CAP_NET_ADMIN\""), "{told}");
    }
}

/// Root of a user namespace is root over the networks that were made in it, and over no other.
#[test]
fn root_of_a_user_namespace_has_what_is_worth_something() {
    let kinds = [
        (["--user", "--map-root-user"].as_slice(), "exec \"$@\"", 0),
        (&["--user", "--map-root-user", "--net"], "ip link set lo up && exec \"$@\"", NET_ADMIN),
    ];
    for (kind, line, kept) in kinds {
        let unshared = |what: &str| {
            let mut command = Command::new("unshare");
            command.args(kind).args(["sh", "-c", line, "sh", what]);
            command
        };
        if !unshared("true").output().is_ok_and(|output| output.status.success()) {
            return skipped("no user namespace may be made here, or ip(8) is missing");
        }
        let floodgate = Floodgate::with(&config(&[], ""), unshared(BINARY));
        has_only(&floodgate, kept);
        let told = floodgate.says("privileges dropped", 1);
        assert_eq!(told.contains("no CAP_NET_ADMIN"), kept == 0, "{told}");
        assert!(kept == 0 || told.contains("a network namespace of its own"), "{told}");
    }
}

#[test]
fn an_account_that_is_not_there_or_cannot_be_had_is_told() {
    let unknown = "[runtime]\nuser = 'no-such-account-here'";
    let output = command(["check", "--config", "/dev/stdin"], unknown.as_bytes());
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told.contains("runtime.user = 'no-such-account-here'") && told.contains("is no account of this box"),
        "{told}"
    );

    let open = in_the_open(&config(&[], "[runtime]\nuser = 'root'"));
    let mut by = Command::new(open.path().join("floodgate"));
    if geteuid().is_root() {
        by.uid(65534).gid(65534);
    }
    let output = by.arg("run").arg("--config").arg(open.path().join("config")).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let last = told.lines().last().unwrap();
    assert!(last.contains("cannot become root: ") && last.contains("start as root"), "{told}");
}
