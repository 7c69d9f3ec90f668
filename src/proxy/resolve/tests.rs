use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashSet;
use hickory_resolver::Hosts;
use hickory_resolver::config::NameServerConfig;
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::Instant;

use super::{ADDRESSES, RESOLUTION_DELAY, Resolver, absolute, merge, server};
use crate::config::settings::Upstream;
use crate::outcome::RequestEnd;
use crate::telemetry::counters::Counters;

/// A name server that does what the first label of the name says, over UDP and TCP.
struct Server {
    address: SocketAddr,
    /// Identifier, name and type: a repeated datagram counts once.
    asked: Arc<Mutex<AHashSet<(u16, String, RecordType)>>>,
}

impl Server {
    async fn start() -> Self {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (Arc::new(udp), tcp);
            }
        };
        let address = tcp.local_addr().unwrap();
        let asked = Arc::default();

        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
                let query = Message::from_vec(&buffer[..length]).unwrap();
                note(&seen, &query);
                let udp = Arc::clone(&udp);
                tokio::spawn(async move {
                    for answer in answers(query, false).await {
                        udp.send_to(&answer, from).await.unwrap();
                    }
                });
            }
        });
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    while let Ok(length) = stream.read_u16().await {
                        let mut query = vec![0; length.into()];
                        stream.read_exact(&mut query).await.unwrap();
                        let query = Message::from_vec(&query).unwrap();
                        note(&seen, &query);
                        for answer in answers(query, true).await {
                            let length = u16::try_from(answer.len()).unwrap();
                            stream.write_u16(length).await.unwrap();
                            stream.write_all(&answer).await.unwrap();
                        }
                    }
                });
            }
        });
        Self { address, asked }
    }

    fn count(&self) -> usize {
        self.asked.lock().len()
    }

    async fn until_asked(&self, count: usize) {
        while self.count() < count {
            tokio::task::yield_now().await;
        }
    }

    fn resolver(&self, timeout: Duration, in_flight: usize) -> Resolver {
        resolver(vec![server(self.address)], "", timeout, in_flight)
    }
}

fn note(asked: &Mutex<AHashSet<(u16, String, RecordType)>>, query: &Message) {
    let question = &query.queries[0];
    asked.lock().insert((query.metadata.id, question.name().to_string(), question.query_type()));
}

/// The messages to send, in this order.
async fn answers(query: Message, over_tcp: bool) -> Vec<Vec<u8>> {
    let question = query.queries[0].clone();
    let name = question.name().clone();
    let family = question.query_type();
    let v6 = family == RecordType::AAAA;
    let labels = name.to_string();
    let script = labels.split(['.', '-']).next().unwrap();

    let mut reply = query.into_response();
    let mut records = vec![];
    let mut add = |owner: &Name, data| records.push(Record::from_rdata(owner.clone(), 0, data));
    let address = |last: u8| {
        if v6 {
            RData::AAAA(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()).into())
        } else {
            RData::A(Ipv4Addr::new(192, 0, 2, last).into())
        }
    };
    let alias = |to: &str| RData::CNAME(CNAME(Name::from_str(to).unwrap()));
    let mut before = vec![];
    match (script, family) {
        ("both", _) | ("v4only" | "mute6" | "broken6", RecordType::A) | ("late4", RecordType::AAAA) => {
            add(&name, address(1));
        }
        ("v4only", _) | ("mapped", RecordType::A) => {}
        ("mute6" | "silent", _) => return vec![],
        ("gone", _) => reply.metadata.response_code = ResponseCode::NXDomain,
        ("broken" | "broken6", _) => reply.metadata.response_code = ResponseCode::ServFail,
        ("refused", _) => reply.metadata.response_code = ResponseCode::Refused,
        ("late4", _) => {
            tokio::time::sleep(3 * RESOLUTION_DELAY).await;
            add(&name, address(1));
        }
        ("mapped", _) => add(&name, RData::AAAA(Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().into())),
        ("alias", _) => {
            add(&name, alias("both.test."));
            add(&Name::from_str("both.test.").unwrap(), address(1));
        }
        ("ring", _) => add(&name, alias("gnir.test.")),
        ("gnir", _) => add(&name, alias("ring.test.")),
        ("many", _) if over_tcp => (0..200).for_each(|last| add(&name, address(last))),
        ("many", _) => reply.metadata.truncation = true,
        ("spoofed", _) => {
            let mut forged = reply.clone();
            forged.metadata.id = reply.metadata.id.wrapping_add(1);
            forged.answers.push(Record::from_rdata(name.clone(), 60, address(66)));
            before.push(forged.to_vec().unwrap());
            add(&name, address(1));
        }
        (other, _) => panic!("no script for {other}"),
    }
    reply.answers = records;
    before.push(reply.to_vec().unwrap());
    before
}

fn resolver(servers: Vec<NameServerConfig>, hosts: &str, timeout: Duration, in_flight: usize) -> Resolver {
    let mut file = Hosts::default();
    file.read_hosts_conf(hosts.as_bytes()).unwrap();
    let settings = settings(timeout, vec![]);
    Resolver::with(servers, file, in_flight, &settings, Arc::default()).unwrap()
}

fn settings(dns_timeout: Duration, dns_servers: Vec<SocketAddr>) -> Upstream {
    Upstream {
        connect_timeout: Duration::from_secs(10),
        first_byte_timeout: Duration::from_mins(1),
        dns_timeout,
        dns_servers,
        source_v4: None,
        source_v6: None,
        idle_connections: 0,
        idle_per_host: 0,
        idle_timeout: Duration::from_secs(30),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "compared with what resolve returns")]
fn list(addresses: &[&str]) -> Result<Vec<IpAddr>, RequestEnd> {
    Ok(addresses.iter().map(|a| a.parse().unwrap()).collect())
}

/// No test waits so long unless something is wrong.
const NEVER: Duration = Duration::from_mins(1);

#[tokio::test]
async fn both_families_v6_first_over_the_public_door() {
    let server = Server::start().await;
    let counters = Arc::new(Counters::default());
    let settings = settings(NEVER, vec![server.address]);
    let resolver = Resolver::new(&settings, super::LOOKUPS, Arc::clone(&counters)).unwrap();
    let both = list(&["2001:db8::1", "192.0.2.1"]);
    assert_eq!(resolver.resolve("both.test").await, both);
    assert_eq!(resolver.resolve("BOTH.test.").await, both);
    assert_eq!(server.count(), 2);
    assert_eq!(counters.dns_seconds.count(), 2);
}

#[tokio::test]
async fn answers_are_cached_even_without_a_lifetime() {
    let server = Server::start().await;
    let resolver = server.resolver(NEVER, 8);
    // every answer of this server has a TTL of 0; one family has none
    for _ in 0..3 {
        assert_eq!(resolver.resolve("v4only.test").await, list(&["192.0.2.1"]));
    }
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn absence_is_cached_even_without_a_lifetime() {
    let server = Server::start().await;
    let resolver = server.resolver(NEVER, 8);
    for _ in 0..3 {
        assert_eq!(resolver.resolve("gone.test").await, Err(RequestEnd::DnsFailure));
    }
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn errors_of_the_servers_are_failures() {
    let server = Server::start().await;
    let resolver = server.resolver(NEVER, 8);
    for name in ["broken.test", "refused.test"] {
        assert_eq!(resolver.resolve(name).await, Err(RequestEnd::DnsFailure));
    }
}

#[tokio::test]
async fn one_family_is_enough_when_the_other_fails() {
    let server = Server::start().await;
    let resolver = server.resolver(NEVER, 8);
    assert_eq!(resolver.resolve("broken6.test").await, list(&["192.0.2.1"]));
}

#[tokio::test]
async fn an_aaaa_that_never_comes_costs_the_resolution_delay() {
    let server = Server::start().await;
    let resolver = server.resolver(NEVER, 8);
    let before = Instant::now();
    assert_eq!(resolver.resolve("mute6.test").await, list(&["192.0.2.1"]));
    assert!((RESOLUTION_DELAY..NEVER / 4).contains(&before.elapsed()));
}

#[tokio::test]
async fn an_a_that_is_late_is_waited_for() {
    let server = Server::start().await;
    let resolver = server.resolver(NEVER, 8);
    assert_eq!(resolver.resolve("late4.test").await, list(&["2001:db8::1", "192.0.2.1"]));
}

#[tokio::test]
async fn silence_is_a_timeout_at_the_deadline() {
    let server = Server::start().await;
    let resolver = server.resolver(Duration::from_secs(4), 8);
    tokio::time::pause();
    let before = Instant::now();
    assert_eq!(resolver.resolve("silent.test").await, Err(RequestEnd::DnsTimeout));
    assert_eq!(before.elapsed().as_secs(), 4);
    // the library's own deadline, when it comes first, means the same
    let name = absolute("silent.test").unwrap();
    assert_eq!(resolver.family(name, RecordType::A).await, Err(RequestEnd::DnsTimeout));
}

#[tokio::test]
async fn mapped_addresses_are_ipv4() {
    let server = Server::start().await;
    let resolver = server.resolver(NEVER, 8);
    assert_eq!(resolver.resolve("mapped.test").await, list(&["192.0.2.1"]));
}

#[tokio::test]
async fn aliases_are_followed_and_rings_are_left() {
    let server = Server::start().await;
    let resolver = server.resolver(NEVER, 8);
    assert_eq!(resolver.resolve("alias.test").await, list(&["2001:db8::1", "192.0.2.1"]));
    let before = server.count();
    assert_eq!(resolver.resolve("ring.test").await, Err(RequestEnd::DnsFailure));
    assert!(server.count() - before <= 32, "{}", server.count());
}

#[tokio::test]
async fn a_long_answer_comes_over_tcp_and_is_cut() {
    let server = Server::start().await;
    let resolver = server.resolver(NEVER, 8);
    let addresses = resolver.resolve("many.test").await.unwrap();
    assert_eq!(addresses.len(), ADDRESSES);
    assert_eq!(addresses.iter().filter(|a| a.is_ipv6()).count(), 8);
    assert!(addresses.is_sorted_by_key(IpAddr::is_ipv4));
}

#[tokio::test]
async fn an_answer_with_a_wrong_identifier_is_not_taken() {
    let server = Server::start().await;
    let resolver = server.resolver(NEVER, 8);
    assert_eq!(resolver.resolve("spoofed.test").await, list(&["2001:db8::1", "192.0.2.1"]));
}

#[tokio::test]
async fn too_many_look_ups_are_refused_unless_the_cache_knows() {
    let server = Server::start().await;
    let resolver = Arc::new(server.resolver(NEVER, 2));
    resolver.resolve("both.test").await.unwrap();
    let known = server.count();

    let waiting = ["silent-1.test", "silent-2.test"].map(|name| {
        let resolver = Arc::clone(&resolver);
        tokio::spawn(async move { resolver.resolve(name).await })
    });
    server.until_asked(known + 4).await;
    assert_eq!(resolver.resolve("v4only.test").await, Err(RequestEnd::Overload));
    assert_eq!(resolver.resolve("both.test").await, list(&["2001:db8::1", "192.0.2.1"]));

    // whoever gives up makes room
    for task in waiting {
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
    assert_eq!(resolver.resolve("v4only.test").await, list(&["192.0.2.1"]));
}

#[tokio::test]
async fn one_query_serves_all_who_wait_for_it() {
    let server = Server::start().await;
    let resolver = server.resolver(NEVER, 8);
    let names = ["late4.test"; 5].map(|name| resolver.resolve(name));
    for result in futures_util::future::join_all(names).await {
        assert_eq!(result, list(&["2001:db8::1", "192.0.2.1"]));
    }
    assert_eq!(server.count(), 2);
}

/// Workers are threads with a runtime each; the one that asked first may end first.
#[test]
fn runtimes_share_a_resolver() {
    fn worker() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }
    let home = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = home.block_on(Server::start());
    let resolver = server.resolver(NEVER, 8);
    let first = worker();
    // over TCP too, whose connection belongs to the runtime that opened it
    first.block_on(resolver.resolve("many-1.test")).unwrap();
    drop(first);
    let second = worker();
    second.block_on(resolver.resolve("many-2.test")).unwrap();
    second.block_on(resolver.resolve("both.test")).unwrap();
}

#[tokio::test]
async fn without_servers_only_the_hosts_file_resolves() {
    let hosts = "192.0.2.7 intranet Intranet.Example # a comment\n2001:db8::7 six\n192.0.2.8 six\n";
    let resolver = resolver(vec![], hosts, NEVER, 8);
    // a name with one family in the file is not asked for the other
    assert_eq!(resolver.resolve("intranet").await, list(&["192.0.2.7"]));
    assert_eq!(resolver.resolve("INTRANET.example.").await, list(&["192.0.2.7"]));
    assert_eq!(resolver.resolve("six").await, list(&["2001:db8::7", "192.0.2.8"]));
    assert_eq!(resolver.resolve("both.test").await, Err(RequestEnd::DnsFailure));
}

#[tokio::test]
async fn the_hosts_file_wins_over_the_servers() {
    let dns = Server::start().await;
    let resolver = resolver(vec![server(dns.address)], "192.0.2.9 both.test", NEVER, 8);
    assert_eq!(resolver.resolve("both.test").await, list(&["192.0.2.9"]));
    assert_eq!(dns.count(), 0);
}

#[tokio::test]
async fn what_is_no_name_is_not_asked_for() {
    let server = Server::start().await;
    let resolver = server.resolver(NEVER, 8);
    for name in [
        "",
        ".",
        "..",
        "a..test",
        ".test",
        "192.0.2.1",
        "192.0.2.1.",
        "2001:db8::1",
        "[2001:db8::1]",
        "\\098oth.test",
        "both.test\0",
        "both test",
        "bücher.test",
        &format!("{}.test", "a".repeat(64)),
        &"a.".repeat(200),
    ] {
        assert_eq!(resolver.resolve(name).await, Err(RequestEnd::DnsFailure), "{name:?}");
    }
    assert_eq!(server.count(), 0);
}

#[test]
fn names_are_absolute() {
    for name in ["intranet", "a-b_c.Example", "xn--bcher-kva.test."] {
        assert!(absolute(name).unwrap().is_fqdn(), "{name}");
    }
}

#[test]
fn neither_family_displaces_the_other() {
    let v6: Vec<IpAddr> = (0..20).map(|i| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, i).into()).collect();
    let v4: Vec<IpAddr> = (0..20).map(|i| Ipv4Addr::new(192, 0, 2, i).into()).collect();
    for (six, four, kept) in
        [(20, 20, (8, 8)), (20, 3, (13, 3)), (3, 20, (3, 13)), (20, 0, (16, 0)), (0, 20, (0, 16)), (0, 0, (0, 0))]
    {
        let merged = merge(&v6[..six], &v4[..four]);
        let expected: Vec<IpAddr> = [&v6[..kept.0], &v4[..kept.1]].concat();
        assert_eq!(merged, expected, "{six} {four}");
    }
    assert_eq!(merge(&v4[..1], &v4[..1]), v4[..1]);
}
