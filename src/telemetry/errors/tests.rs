use std::net::Ipv4Addr;
use std::sync::Arc;

use smol_str::SmolStr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

use super::*;
use crate::config::Settings;
use crate::proxy::accept;
use crate::proxy::{Refused, Worker};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

fn host(n: usize) -> Host {
    Host::Name(SmolStr::from(format!("a-name-that-is-longer-than-what-fits-inline-{n}.example")))
}

fn note(errors: &Errors, end: RequestEnd, n: usize) -> bool {
    errors.note(end, &host(n), 80, || sample(CLIENT, None, b"GET http://u:secret@x/ HTTP/1.1", b""))
}

#[test]
fn failures_are_what_a_destination_is_to_blame_for() {
    let failures: Vec<_> = RequestEnd::ALL.iter().filter(|end| is_failure(**end)).map(|end| end.label()).collect();
    assert_eq!(
        failures,
        [
            "dns_failure",
            "dns_timeout",
            "connect_refused",
            "connect_unreachable",
            "connect_timeout",
            "upstream_reset",
            "upstream_malformed",
            "first_byte_timeout",
        ]
    );
}

#[test]
fn the_first_of_a_kind_and_destination_is_kept_and_the_others_are_counted() {
    let errors = Errors::default();
    let mut samples = 0;
    for n in 0..3 {
        let address = Host::Address("2001:db8::7".parse().unwrap());
        let noted = errors.note(RequestEnd::ConnectTimeout, &address, 443, || {
            samples += 1;
            sample(CLIENT, Some(([192, 0, 2, n], 443).into()), b"CONNECT [2001:db8::7]:443 HTTP/1.1", &[b'x'; 1_000])
        });
        assert!(noted);
    }
    assert_eq!(samples, 1);
    assert!(note(&errors, RequestEnd::DnsFailure, 1) && note(&errors, RequestEnd::DnsTimeout, 1));
    assert!(note(&errors, RequestEnd::SelfTarget, 1), "a refusal is none of its business");
    let mut failures = errors.drain();
    failures.sort_by_key(|failure| failure.end.index());
    let told: Vec<_> = failures.iter().map(|f| (f.end, f.subject.as_str(), f.count)).collect();
    let name = "a-name-that-is-longer-than-what-fits-inline-1.example:80";
    assert_eq!(
        told,
        [
            (RequestEnd::DnsFailure, name, 1),
            (RequestEnd::DnsTimeout, name, 1),
            (RequestEnd::ConnectTimeout, "[2001:db8::7]:443", 3),
        ]
    );
    let first = &failures[2].sample;
    assert_eq!((first.client, first.upstream), (Some(CLIENT), Some(([192, 0, 2, 0], 443).into())));
    assert_eq!(first.request_line.as_ref(), b"CONNECT [2001:db8::7]:443 HTTP/1.1");
    assert_eq!(first.answer.len(), ANSWER_BYTES);
    assert_eq!(failures[0].sample.request_line.as_ref(), b"GET http://***@x/ HTTP/1.1");
    assert_eq!(errors.drain(), [], "the next second begins anew");
}

#[test]
fn a_full_table_counts_what_it_knows_and_says_so_of_the_rest() {
    let errors = Errors::default();
    for round in 1..=2 {
        for n in 0..PAIRS + 10 {
            assert_eq!(note(&errors, RequestEnd::UpstreamReset, n), n < PAIRS, "{round}");
        }
    }
    let failures = errors.drain();
    assert_eq!(failures.len(), PAIRS);
    assert!(failures.iter().all(|failure| failure.count == 2));
    assert!(note(&errors, RequestEnd::UpstreamReset, PAIRS), "a new second has room");
}

#[test]
fn nothing_is_lost_between_two_drains() {
    let errors = Errors::default();
    let mut drained = 0;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| (0..20_000).for_each(|n| assert!(note(&errors, RequestEnd::DnsFailure, n % 50)))))
            .collect();
        while !threads.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            drained += errors.drain().iter().map(|failure| failure.count).sum::<u64>();
        }
    });
    drained += errors.drain().iter().map(|failure| failure.count).sum::<u64>();
    assert_eq!(drained, 40_000);
}

/// An origin that reads a request, says this on each connection, and closes.
async fn origin(says: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            stream.write_all(says).await.unwrap();
        }
    });
    address
}

/// A proxy without a gateway around it: nobody else drains its table.
fn journey(settings: &str) -> (Arc<Worker>, SocketAddr) {
    let worker = Worker::alone(Settings::from_toml(settings).unwrap());
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let proxy = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    tokio::spawn(accept::run(listener, 0, Arc::clone(&worker)));
    let lingers = Arc::clone(&worker);
    tokio::spawn(async move { lingers.lingering.run(|| false, Refused::closed).await });
    (worker, proxy)
}

fn get(to: SocketAddr) -> String {
    format!("GET http://{to}/ HTTP/1.1\r\nHost: {to}\r\n\r\n")
}

/// What failed when a client asked this, through a whole journey.
async fn asked(worker: &Arc<Worker>, proxy: SocketAddr, request: String) -> Vec<Failure> {
    let mut client = TcpSocket::new_v4().unwrap().connect(proxy).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    // The end of a connection that is reset is an end too.
    drop(client.read_to_end(&mut Vec::new()).await);
    worker.shared.errors.drain()
}

#[tokio::test]
async fn a_failed_request_leaves_a_sample_of_what_the_origin_said() {
    let garbage = origin(b"SSH-2.0-OpenSSH_9.2\r\nand more").await;
    let chunks = origin(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nNO CHUNK\r\n").await;
    let silent = origin(b"").await;
    let good = origin(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    // A port that is taken, and that nobody listens on.
    let held = TcpSocket::new_v4().unwrap();
    held.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let refusing = held.local_addr().unwrap();
    let all = [garbage, chunks, silent, good, refusing].map(|origin| format!("\"{origin}\"")).join(", ");
    let (worker, proxy) = journey(&format!("[self]\nallow = [{all}]\n"));
    let line = |to: SocketAddr| format!("GET http://{to}/ HTTP/1.1").into_bytes();
    for (to, end, answer) in [
        (garbage, RequestEnd::UpstreamMalformed, &b"SSH-2.0-OpenSSH_9.2\r\nand more"[..]),
        (chunks, RequestEnd::UpstreamMalformed, b"3\r\nabc\r\nNO CHUNK\r\n"),
        (silent, RequestEnd::UpstreamReset, b""),
        (refusing, RequestEnd::ConnectRefused, b""),
    ] {
        let failures = asked(&worker, proxy, get(to)).await;
        let [failure] = &failures[..] else { panic!("{failures:?}") };
        assert_eq!((failure.end, failure.subject.as_str(), failure.count), (end, to.to_string().as_str(), 1));
        assert_eq!(failure.sample.client, Some(Ipv4Addr::LOCALHOST.into()));
        assert_eq!(failure.sample.upstream, Some(to));
        assert_eq!(*failure.sample.request_line, line(to));
        assert_eq!(failure.sample.answer.escape_ascii().to_string(), answer.escape_ascii().to_string());
    }
    let connect = |to: &str| format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    let failures = asked(&worker, proxy, connect(&refusing.to_string())).await;
    assert_eq!(&*failures[0].sample.request_line, format!("CONNECT {refusing} HTTP/1.1").as_bytes());
    assert_eq!((failures[0].end, failures[0].sample.upstream), (RequestEnd::ConnectRefused, Some(refusing)));
    assert_eq!(asked(&worker, proxy, get(good)).await, [], "what goes well leaves nothing");
    assert_eq!(asked(&worker, proxy, get(([127, 0, 0, 1], 9).into())).await, [], "nor does a refusal");
}

#[tokio::test]
async fn who_waits_for_an_answer_is_noted_once_and_goes_on() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let to = listener.local_addr().unwrap();
    let settings = "[alarm]\nslow = \"100ms\"\n[upstream]\nfirst-byte-timeout = \"2s\"\n";
    let (worker, proxy) = journey(&format!("[self]\nallow = [\"{to}\"]\n{settings}"));
    for answers in [true, false] {
        let mut client = TcpSocket::new_v4().unwrap().connect(proxy).await.unwrap();
        client.write_all(get(to).as_bytes()).await.unwrap();
        let (mut origin, _) = listener.accept().await.unwrap();
        let noted = loop {
            let failures = worker.shared.errors.drain();
            if !failures.is_empty() {
                break failures;
            }
            tokio::task::yield_now().await;
        };
        let [failure] = &noted[..] else { panic!("{noted:?}") };
        assert_eq!((failure.end, failure.count), (RequestEnd::FirstByteTimeout, 1));
        assert_eq!(
            (failure.sample.upstream, &*failure.sample.request_line),
            (Some(to), get(to).lines().next().unwrap().as_bytes())
        );
        if answers {
            origin.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        }
        let mut answer = [0; 12];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer.escape_ascii().to_string(), if answers { "HTTP/1.1 200" } else { "HTTP/1.1 504" });
        assert_eq!(worker.shared.errors.drain(), [], "and not once more");
    }
}
