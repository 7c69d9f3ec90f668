//! For tests: a network namespace of their own.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Runs this on a thread that has been moved to a new network namespace, with its loopback interface up; processes and
/// threads it starts are there too. Without the right to do so it is skipped.
pub(crate) fn in_a_network_of_its_own(test: fn()) {
    let holder = Command::new("unshare")
        .args(["--net", "sh", "-c", "ip link set lo up && echo up && read end"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut holder) = holder else {
        eprintln!("skipped: unshare(1) is missing");
        return;
    };
    let is_up = holder.stdout.take().unwrap().read_exact(&mut [0; 3]).is_ok();
    let namespace = format!("/proc/{}/ns/net", holder.id());
    let ran = thread::spawn(move || {
        let enter = |file: File| move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).is_ok();
        let is_inside = is_up && File::open(namespace).is_ok_and(enter);
        if is_inside {
            test();
        }
        is_inside
    });
    let ran = ran.join();
    drop(holder.stdin.take());
    holder.wait().unwrap();
    if !ran.unwrap() {
        eprintln!("skipped: no network namespace may be entered here, or ip(8) is missing");
    }
}
