//! A network of its own for the gateway, in which addresses and routes change while it runs.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use socket2::{Domain, Socket, Type};

use crate::rig::{BINARY, Client, Floodgate, eventually, in_a_network_of_its_own, skipped};

const SELF_TARGET: &str = "HTTP/1.1 403 Forbidden\r\nProxy-Status: floodgate; error=proxy_loop_detected\r\n";

pub(crate) fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A gateway on every address, which answers everybody however often they are refused.
fn gateway(more: &str) -> Floodgate {
    let config = format!(
        "[[listener]]\naddress = '0.0.0.0:0'\n[admin]\naddress = '127.0.0.1:0'\n[guard]\nladder = 'answer'\n{more}\n"
    );
    let mut floodgate = Floodgate::with(&config, Command::new(BINARY));
    floodgate.proxy.set_ip([127, 0, 0, 1].into());
    floodgate
}

/// A service on port 80 of every address, and how many bytes it has received.
fn service() -> Arc<AtomicUsize> {
    let received = Arc::new(AtomicUsize::new(0));
    // Of both families.
    let listener = TcpListener::bind("[::]:80").unwrap();
    let count = Arc::clone(&received);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let n = stream.read(&mut [0; 1024]).unwrap_or(0);
            count.fetch_add(n, Relaxed);
            // The peer may have gone.
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nhere")
                .unwrap_or_default();
        }
    });
    received
}

fn ask(floodgate: &Floodgate, method: &str, target: &str) -> String {
    let mut client: Client = floodgate.client();
    client.send(format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n\r\n", target.trim_start_matches("http://")));
    client.answer()
}

/// What is refused as ourselves, by each way of asking.
fn is_refused(floodgate: &Floodgate, host: &str) {
    for (method, target) in [("GET", format!("http://{host}")), ("CONNECT", format!("{host}:80"))] {
        let answer = ask(floodgate, method, &target);
        assert!(answer.starts_with(SELF_TARGET), "{method} {target}: {answer}");
    }
}

#[test]
fn an_address_is_ours_from_the_moment_it_is_added() {
    in_a_network_of_its_own(|| {
        let received = service();
        let floodgate = gateway("");
        for (number, (host, address)) in
            [("198.18.7.9", "198.18.7.9/32"), ("[2a00:7::9]", "2a00:7::9/128 nodad")].into_iter().enumerate()
        {
            let before = ask(&floodgate, "GET", &format!("http://{host}"));
            assert!(before.starts_with("HTTP/1.1 502 "), "{before}");
            ip(&format!("address add {address} dev lo"));
            // From the first request that arrives, which may come before the kernel's notice has been read. (An IPv6
            // address gets its route a moment after ip(8) has ended.)
            eventually("it is there", || {
                let answer = ask(&floodgate, "GET", &format!("http://{host}"));
                assert!(answer.starts_with(SELF_TARGET) || answer.starts_with("HTTP/1.1 502 "), "{answer}");
                answer.starts_with(SELF_TARGET)
            });
            is_refused(&floodgate, host);
            floodgate.says("own addresses changed", 2 * number + 1);
            is_refused(&floodgate, host);
            ip(&format!("address del {} dev lo", address.trim_end_matches(" nodad")));
            eventually("it is no longer ours", || {
                ask(&floodgate, "GET", &format!("http://{host}")).starts_with("HTTP/1.1 502 ")
            });
            floodgate.says("own addresses changed", 2 * number + 2);
        }
        assert_eq!(received.load(Relaxed), 0, "nothing of a refused request is passed on");
    });
}

#[test]
fn a_local_route_that_no_interface_shows_leads_to_ourselves() {
    in_a_network_of_its_own(|| {
        let received = service();
        ip("route add local 198.18.5.0/24 dev lo");
        let floodgate = gateway("[self]\nallow = ['198.18.5.8:80']");
        is_refused(&floodgate, "198.18.5.7");
        let own_port = SocketAddr::new([198, 18, 5, 7].into(), floodgate.proxy.port());
        let own = ask(&floodgate, "GET", &format!("http://{own_port}"));
        assert!(own.starts_with(SELF_TARGET), "{own}");
        assert_eq!(received.load(Relaxed), 0, "nothing of a refused request is passed on");
        let allowed = ask(&floodgate, "GET", "http://198.18.5.8");
        assert!(allowed.starts_with("HTTP/1.1 200 ") && allowed.ends_with("here"), "{allowed}");
    });
}

/// What the gateway's own connections would have as their source plays no part.
#[test]
fn a_local_route_is_known_whatever_the_source_address_is() {
    in_a_network_of_its_own(|| {
        let received = service();
        ip("address add 198.18.9.1/32 dev lo");
        ip("route add local 198.18.5.0/24 dev lo");
        ip("-6 route add local 2a00:5::/64 dev lo");
        ip("route add local 198.18.6.0/24 dev lo src 198.18.9.1");
        is_refused(&gateway("[upstream]\nsource-v4 = '198.18.9.1'"), "198.18.5.7");
        is_refused(&gateway(""), "198.18.6.7");
        is_refused(&gateway(""), "[2a00:5::7]");
        assert_eq!(received.load(Relaxed), 0, "nothing of a refused request is passed on");
    });
}

/// Two addresses of one interface are two hosts to the admin: only what comes from its own address is this box.
#[test]
fn the_lan_shows_a_token_to_the_admin_and_this_box_does_not() {
    in_a_network_of_its_own(|| {
        ip("address add 198.18.7.8/32 dev lo");
        ip("address add 198.18.7.9/32 dev lo");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("read-token");
        let config = format!(
            "[[listener]]\naddress = '127.0.0.1:0'\n[admin]\naddress = '198.18.7.9:0'\n\
             allow = ['198.18.7.0/24']\nread-token-file = '{}'\n",
            file.display()
        );
        let floodgate = Floodgate::with(&config, Command::new(BINARY));
        let token = fs::read_to_string(&file).unwrap();
        let ask = |from: [u8; 4], path: &str, fields: &str| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
            socket.connect(&floodgate.admin.into()).unwrap();
            let mut client = Client(socket.into());
            let host = floodgate.admin;
            client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n"));
            client.rest()
        };
        let (here, there) = ([198, 18, 7, 9], [198, 18, 7, 8]);
        let status = |answer: String| answer.split(' ').nth(1).unwrap().to_owned();
        let bearer = format!("Authorization: Bearer {}\r\n", token.trim());
        assert_eq!(status(ask(here, "/api/v1/status", "")), "200");
        assert_eq!(status(ask(there, "/api/v1/status", "")), "401");
        assert_eq!(status(ask(there, "/healthz", "")), "200");
        assert_eq!(status(ask(there, "/api/v1/status", &bearer)), "200");
        let welcome = ask(there, &format!("/?token={}", token.trim()), "");
        let cookie = welcome.lines().find_map(|line| line.strip_prefix("set-cookie: ")?.split(';').next());
        let cookie = format!("Cookie: {}\r\n", cookie.unwrap());
        assert_eq!(status(ask(there, "/api/v1/status", &cookie)), "200");
        // Neither the log nor an answer holds what opens it.
        let page = ask(here, "/api/v1/status", "") + &floodgate.said("").join("\n");
        assert!(!page.contains(token.trim()) && !page.contains(cookie.trim()), "{page}");
    });
}

/// Has connections followed here, if the kernel can: a rule that asks for their state is reason enough. Root of a user
/// namespace may not have them forgotten.
fn follow_connections() -> bool {
    let users = fs::read_to_string("/proc/self/uid_map").unwrap();
    if users.split_whitespace().collect::<Vec<_>>() != ["0", "0", "4294967295"] {
        return false;
    }
    let rules = "add table inet t; add chain inet t c { type filter hook prerouting priority 0; }; \
                 add rule inet t c ct state new counter";
    Command::new("nft").arg(rules).status().is_ok_and(|status| status.success())
        && fs::exists("/proc/net/nf_conntrack").unwrap()
}

#[test]
fn refusals_leave_nothing_in_connection_tracking() {
    in_a_network_of_its_own(|| {
        if !follow_connections() {
            return skipped("connections cannot be followed, and forgotten: it takes root, nft and nf_conntrack");
        }
        let floodgate = gateway("");
        let ours = format!("dport={} ", floodgate.proxy.port());
        let followed = || {
            let all = fs::read_to_string("/proc/net/nf_conntrack").unwrap();
            all.lines().filter(|line| line.contains(&ours)).count()
        };
        let refused = || floodgate.metric("floodgate_refusals_total{reason=\"self_target\",form=\"answered\"}");
        for (asked, late) in [false, true].into_iter().enumerate() {
            let mut client: Client = floodgate.client();
            if late {
                // A head in two parts is not refused at first sight.
                client.send("GET http://localhost/ HTTP/1.1\r\n");
                eventually("it has arrived", || floodgate.metric("floodgate_connections_open") == 1);
                client.send("Host: localhost\r\n\r\n");
            } else {
                client.send("GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n");
            }
            assert!(client.answer().starts_with(SELF_TARGET));
            assert!(followed() > 0, "it was followed");
            drop(client);
            eventually("it is over", || refused() == asked as u64 + 1);
            eventually("it is forgotten", || followed() == 0);
        }
    });
}
