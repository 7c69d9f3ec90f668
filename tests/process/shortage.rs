//! A box with too few descriptors: crowds of clients, and what is left for the operator.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, prlimit};

use crate::rig::{BINARY, Floodgate, NET, config, echo, eventually, origin};

/// Descriptors the process gets.
const LIMIT: &str = "128";
/// Clients that want one at the same time.
const CROWD: usize = 400;
const NO_DESCRIPTORS: &str = "floodgate_outcomes_total{scope=\"connection\",outcome=\"no_descriptors\"}";

/// Clock ticks of CPU it has used, user and system (proc(5): fields 14 and 15 of `stat`).
fn ticks(floodgate: &Floodgate) -> u64 {
    let stat = std::fs::read_to_string(floodgate.proc("stat")).unwrap();
    let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// It waits for descriptors, it does not spin for them.
fn does_not_spin(floodgate: &Floodgate, began: Instant, used: u64) {
    // Long enough for a loop that spins to show.
    thread::sleep(Duration::from_millis(500).saturating_sub(began.elapsed()));
    let (busy, took) = (Duration::from_millis(10 * (ticks(floodgate) - used)), began.elapsed());
    assert!(busy < took / 2 + Duration::from_millis(500), "{busy:?} of CPU in {took:?}");
}

/// At most one failed call in 10 ms and worker, and the admin's few.
fn is_paced(errors: u64, began: Instant) {
    let took = began.elapsed();
    assert!(u128::from(errors) <= 2 * took.as_millis() / 10 + 50, "{errors} failed calls in {took:?}");
}

/// A gateway with few descriptors meets a crowd that sends this; afterwards all is as before. Returns how many calls of
/// accept failed.
fn crowd(origins: &[SocketAddr], more: &str, greeting: impl Fn(usize) -> String) -> u64 {
    let origin = origin("good");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("ulimit -n {LIMIT}; exec \"$0\" \"$@\""), BINARY]);
    let origins: Vec<_> = origins.iter().copied().chain([origin]).collect();
    let floodgate = Floodgate::with(&config(&origins, &format!("[runtime]\nworkers = 2\n{more}")), shell);
    assert!(floodgate.get(origin, "/").ends_with("good"));
    eventually("its connection is over", || floodgate.metric("floodgate_connections_open") == 0);
    eventually("the first reading of everything", || floodgate.ask_admin("/metrics").contains("floodgate_kernel"));
    let before = floodgate.descriptors();

    let (began, used) = (Instant::now(), ticks(&floodgate));
    let clients: Vec<TcpStream> = (0..CROWD)
        .map(|number| {
            let mut stream = TcpStream::connect(floodgate.proxy).unwrap();
            // Some are closed before they have said it.
            stream.write_all(greeting(number).as_bytes()).unwrap_or_default();
            stream
        })
        .collect();
    // The operator gets through, and those beyond the limit are not left waiting.
    let descriptors = LIMIT.parse().unwrap();
    eventually("the crowd is taken in or turned away", || {
        let accepted = floodgate.metric("floodgate_connections_total{listener=\"127.0.0.1:0\"}");
        accepted >= CROWD as u64 && floodgate.metric("floodgate_connections_open") < descriptors
    });
    assert!(floodgate.ask_admin("/healthz").starts_with("HTTP/1.1 200 "));
    does_not_spin(&floodgate, began, used);
    let errors = floodgate.metric("floodgate_accept_errors_total");
    is_paced(errors, began);

    drop(clients);
    eventually("good requests are served again", || floodgate.get(origin, "/").ends_with("good"));
    eventually("no descriptor is lost", || floodgate.descriptors() <= before);
    assert_eq!(floodgate.metric("floodgate_panics_total"), 0);
    errors
}

#[test]
fn clients_that_never_finish_their_head() {
    let errors = crowd(&[], "[upstream]\nidle-connections = 0", |_| "GET http://example".to_owned());
    assert_eq!(errors, 0, "admission keeps a reserve");
}

#[test]
fn clients_that_hold_tunnels() {
    let echo = echo();
    let errors = crowd(&[echo], "[upstream]\nidle-connections = 0", move |_| {
        format!("CONNECT {echo} HTTP/1.1\r\nHost: {echo}\r\n\r\n")
    });
    assert_eq!(errors, 0, "admission keeps a reserve");
}

#[test]
fn clients_that_ask_for_names_nobody_answers() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    silent.set_read_timeout(Some(NET)).unwrap();
    let more = format!(
        "[upstream]\nidle-connections = 0\ndns-timeout = '4s'\ndns-servers = ['{}']",
        silent.local_addr().unwrap()
    );
    crowd(&[], &more, |number| format!("GET http://n{number}.example/ HTTP/1.1\r\nHost: n{number}.example\r\n\r\n"));
}

/// Admission counts sockets; what the kernel gives may be less than it was promised.
#[test]
fn no_descriptor_at_all() {
    let origin = origin("good");
    let floodgate = Floodgate::start(&[origin], "[runtime]\nworkers = 2\n[upstream]\nidle-connections = 0");
    assert!(floodgate.get(origin, "/").ends_with("good"));
    eventually("the first reading of everything", || floodgate.ask_admin("/metrics").contains("floodgate_kernel"));
    eventually("its connection is over", || floodgate.metric("floodgate_connections_open") == 0);
    let mut before = 0;
    eventually("the admin's connection is over", || {
        let now = floodgate.descriptors();
        std::mem::replace(&mut before, now) == now
    });
    let old = prlimit(Some(floodgate.pid()), Resource::Nofile, getrlimit(Resource::Nofile)).unwrap();
    let few = Rlimit { current: Some(before as u64 + 4), maximum: old.maximum };
    prlimit(Some(floodgate.pid()), Resource::Nofile, few).unwrap();

    let (began, used) = (Instant::now(), ticks(&floodgate));
    let clients: Vec<TcpStream> = (0..60)
        .map(|_| {
            let mut stream = TcpStream::connect(floodgate.proxy).unwrap();
            stream.write_all(b"GET http").unwrap_or_default();
            stream.set_nonblocking(true).unwrap();
            stream
        })
        .collect();
    let turned_away = |stream: &TcpStream| match (&mut &*stream).read(&mut [0]) {
        Err(error) => error.kind() != ErrorKind::WouldBlock,
        Ok(_) => true,
    };
    eventually("all but the few are told at once", || {
        clients.iter().filter(|stream| turned_away(stream)).count() >= 50
    });
    does_not_spin(&floodgate, began, used);
    drop(clients);
    eventually("good requests are served again", || {
        let mut client = floodgate.client();
        client.send(format!("GET http://{origin}/ HTTP/1.1\r\nHost: {origin}\r\nConnection: close\r\n\r\n"));
        client.head().starts_with("HTTP/1.1 200 ")
    });
    prlimit(Some(floodgate.pid()), Resource::Nofile, old).unwrap();
    let errors = floodgate.metric("floodgate_accept_errors_total");
    assert!(errors > 0 && floodgate.metric(NO_DESCRIPTORS) >= 40, "{errors}");
    is_paced(errors, began);
    eventually("no descriptor is lost", || floodgate.descriptors() <= before);
}
