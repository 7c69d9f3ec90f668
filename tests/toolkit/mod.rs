//! What the tests of the kernel's side share, unit tests among them: waiting, skipping, a network of one's own.

use std::any::type_name;
use std::env;
use std::io::Write;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// A safety net against a hanging test, not a limit of anything tested.
pub(crate) const NET: Duration = Duration::from_secs(30);

/// Waits for a condition; panics with `what` when the safety net is reached.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + NET;
    while !condition() {
        assert!(Instant::now() < until, "not reached: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Tells that a test did not run, past the harness, which would keep it to itself.
pub(crate) fn skipped(why: &str) {
    std::io::stderr().write_all(format!("skipped: {why}\n").as_bytes()).unwrap();
}

const INSIDE: &str = "FLOODGATE_TEST_INSIDE_NETNS";

/// Runs a test in a network of its own, as root of it: by running this program anew there, for this test alone.
///
/// The test is the one that calls this with a closure of its own.
pub(crate) fn in_a_network_of_its_own<T: FnOnce()>(test: T) {
    if env::var_os(INSIDE).is_some() {
        return test();
    }
    // As root, or as root of a user namespace of our own.
    let unshare = [["--net"].as_slice(), &["--net", "--user", "--map-root-user"]];
    let unshared = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(arguments).args(["sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]);
        command
    };
    let works =
        |arguments: &&[&str]| unshared(arguments).arg("true").output().is_ok_and(|output| output.status.success());
    let Some(arguments) = unshare.into_iter().find(works) else {
        return skipped("no network namespace may be made here, or ip(8) is missing");
    };
    let (_, name) = type_name::<T>().trim_end_matches("::{{closure}}").split_once("::").unwrap();
    let output = unshared(arguments)
        .arg(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}{complained}");
    complained.lines().filter_map(|line| line.strip_prefix("skipped: ")).for_each(skipped);
}
