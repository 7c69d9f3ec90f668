//! How it starts: where it may listen, as whom, and what it never lets anybody reach.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::geteuid;

use crate::rig::{BINARY, Floodgate, config, origin};

#[test]
fn a_port_in_use_is_one_clear_line() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    // A second gateway is the likeliest one to be in the way, and shares its ports among its own sockets.
    let first = Floodgate::start(&[], "");
    for taken in [other.local_addr().unwrap(), first.proxy, first.admin] {
        for key in ["[[listener]]", "[admin]"] {
            let free = format!("{key}\naddress = \"127.0.0.1:0\"");
            let wrong = config(&[], "").replace(&free, &format!("{key}\naddress = \"{taken}\""));
            let (status, said) = Floodgate::started(&wrong, Command::new(BINARY)).unwrap_err();
            assert_eq!(status.code(), Some(1), "{said:?}");
            assert!(said.len() == 1 && said[0].contains(&taken.to_string()), "{said:?}");
        }
    }
}

#[test]
fn an_ordinary_user_can_run_it() {
    let origin = origin("for everybody");
    let mut command = Command::new(BINARY);
    let folder = tempfile::tempdir().unwrap();
    if geteuid().is_root() {
        // Where the binary was built, nobody may be allowed to look.
        let copy = folder.path().join("floodgate");
        std::fs::copy(BINARY, &copy).unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let config = folder.path().join("floodgate.toml");
        std::fs::write(&config, self::config(&[origin], "")).unwrap();
        // The rig's own folder is closed to nobody: an inherited descriptor is not.
        command = Command::new("/bin/sh");
        command.args(["-c", "exec \"$0\" run --config /dev/stdin <\"$1\"", copy.to_str().unwrap()]);
        command.arg(config).uid(65534).gid(65534);
    }
    let floodgate = Floodgate::with(&config(&[origin], ""), command);
    let status = std::fs::read_to_string(floodgate.proc("status")).unwrap();
    let uid = status.lines().find(|line| line.starts_with("Uid:")).unwrap();
    assert!(!uid.split_whitespace().skip(1).any(|id| id == "0"), "{uid}");
    assert!(floodgate.get(origin, "/").ends_with("for everybody"));
    assert!(floodgate.ask_admin("/healthz").starts_with("HTTP/1.1 200 "));
}

#[test]
fn nobody_reaches_the_admin_through_the_proxy() {
    let floodgate = Floodgate::start(&[], "");
    let port = floodgate.admin.port();
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0", "127.1"] {
        for request in [
            format!("GET http://{host}:{port}/metrics HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"),
            format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"),
            format!("GET /metrics HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"),
        ] {
            let mut client = floodgate.client();
            client.send(&request);
            let answer = client.answer();
            assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("names the proxy itself"), "{answer}");
        }
    }
}
