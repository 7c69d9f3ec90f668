//! Names to addresses: /etc/hosts, then the name servers, behind a cache that all workers share.
//!
//! Owns: the DNS client, its cache and the bound on look-ups. Called by: the journey, with names only.
//! Never: judges an address, or asks for a name with a suffix the client did not write (search lists are ignored).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::warn;

use crate::config::settings::Upstream;
use crate::guard::admission::LOOKUPS;
use crate::outcome::RequestEnd;
use crate::proxy::dial;
use crate::telemetry::counters::Counters;

/// At most so many addresses of one name are returned.
pub const ADDRESSES: usize = 16;

/// Answers in the cache, positive and negative; the least used make room.
const CACHED: u64 = 4096;

/// The Resolution Delay of RFC 8305 section 3: how much longer AAAA may take when A is there.
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// Resolves names; one for all workers. It reads /etc/hosts and /etc/resolv.conf when it is made, and only then.
#[derive(Debug)]
pub struct Resolver {
    dns: TokioResolver,
    hosts: Hosts,
    timeout: Duration,
    in_flight: Semaphore,
    counters: Arc<Counters>,
}

impl Resolver {
    /// A resolver with an empty cache, that asks `dns_servers` or those of /etc/resolv.conf, with at most `in_flight`
    /// look-ups at once.
    ///
    /// An unreadable or empty /etc/resolv.conf is logged and not fatal: every name but those of /etc/hosts fails then.
    ///
    /// # Errors
    /// When the DNS client cannot be built.
    pub fn new(settings: &Upstream, in_flight: usize, counters: Arc<Counters>) -> io::Result<Self> {
        let servers = if settings.dns_servers.is_empty() {
            match system_conf::read_system_conf() {
                Ok((config, _)) => config.into_parts().2,
                Err(error) => {
                    warn!(%error, "no name servers in /etc/resolv.conf: names cannot be resolved");
                    vec![]
                }
            }
        } else {
            settings.dns_servers.iter().copied().map(server).collect()
        };
        let hosts = Hosts::from_system().unwrap_or_else(|error| {
            warn!(%error, "/etc/hosts is not used");
            Hosts::default()
        });
        Self::with(servers, hosts, in_flight, settings, counters)
    }

    fn with(
        servers: Vec<NameServerConfig>,
        hosts: Hosts,
        in_flight: usize,
        settings: &Upstream,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        let mut builder = TokioResolver::builder_with_config(
            ResolverConfig::from_name_servers(servers),
            TokioRuntimeProvider::default(),
        );
        *builder.options_mut() = options(settings.dns_timeout);
        Ok(Self {
            dns: builder.build().map_err(io::Error::other)?,
            hosts,
            timeout: settings.dns_timeout,
            in_flight: Semaphore::new(in_flight),
            counters,
        })
    }

    /// The addresses of a name, canonical (never IPv4-mapped), IPv6 before IPv4, each family in the order of the
    /// answer, [`ADDRESSES`] at most. `dns_seconds` gets every call, those served from the cache too.
    ///
    /// A and AAAA are asked together. What came in `dns_timeout` is used; when A is there, AAAA gets 50 ms more.
    /// (When AAAA is there, A gets all the time: a list without IPv4 fails wherever IPv6 does not work.)
    /// A name in /etc/hosts has exactly the addresses written there.
    ///
    /// # Errors
    /// `DnsFailure`: the name does not exist, has no address or is none (an address, an empty label); or the servers
    /// answered with an error, or there are none. `DnsTimeout`: no answer that decides it. `Overload`: too many
    /// look-ups in flight and not in the cache, or no descriptor left.
    pub async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, RequestEnd> {
        let started = Instant::now();
        let result = match absolute(name) {
            Some(name) => self.look_up(name, started + self.timeout).await,
            None => Err(RequestEnd::DnsFailure),
        };
        self.counters.dns_seconds.record(started.elapsed());
        result
    }

    async fn look_up(&self, name: Name, deadline: Instant) -> Result<Vec<IpAddr>, RequestEnd> {
        if let Some(addresses) = self.in_hosts(&name) {
            return Ok(addresses);
        }
        let mut asking = pin!(self.ask(name, deadline));
        match self.in_flight.try_acquire() {
            Ok(_permit) => asking.await,
            // The cache answers at the first poll: one dead zone must not take the well-known names with it.
            Err(_) => match futures_util::poll!(asking.as_mut()) {
                Poll::Ready(result) => result,
                Poll::Pending => Err(RequestEnd::Overload),
            },
        }
    }

    /// As the system's own resolver has it ("files dns"), a name with one family here is not asked for the other.
    fn in_hosts(&self, name: &Name) -> Option<Vec<IpAddr>> {
        let written = |family| {
            self.hosts
                .lookup_static_host(&Query::query(name.clone(), family))
                .map_or_else(Vec::new, |lookup| addresses(&lookup))
        };
        let all = merge(&written(RecordType::AAAA), &written(RecordType::A));
        (!all.is_empty()).then_some(all)
    }

    async fn ask(&self, name: Name, deadline: Instant) -> Result<Vec<IpAddr>, RequestEnd> {
        let mut v4 = pin!(self.family(name.clone(), RecordType::A));
        let mut v6 = pin!(self.family(name, RecordType::AAAA));
        let late = Err(RequestEnd::DnsTimeout);
        let (v6, v4) = tokio::select! {
            biased;
            v6 = &mut v6 => (v6, timeout_at(deadline, v4).await.unwrap_or(late)),
            v4 = &mut v4 => {
                let patience = match v4 {
                    Ok(_) => deadline.min(Instant::now() + RESOLUTION_DELAY),
                    Err(_) => deadline,
                };
                (timeout_at(patience, v6).await.unwrap_or(late), v4)
            }
            () = sleep_until(deadline) => (late.clone(), late),
        };
        match (v6, v4) {
            (Ok(v6), Ok(v4)) => Ok(merge(&v6, &v4)),
            (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok(merge(&one, &[])),
            // a failure is certain only if both families say so
            (Err(RequestEnd::DnsFailure), Err(end)) | (Err(end), Err(_)) => Err(end),
        }
    }

    /// At least one address, or why there is none.
    async fn family(&self, name: Name, family: RecordType) -> Result<Vec<IpAddr>, RequestEnd> {
        match self.dns.lookup(name, family).await {
            Ok(lookup) => match addresses(&lookup) {
                none if none.is_empty() => Err(RequestEnd::DnsFailure),
                some => Ok(some),
            },
            Err(NetError::Timeout) => Err(RequestEnd::DnsTimeout),
            Err(NetError::Busy) => Err(RequestEnd::Overload),
            Err(NetError::Io(error)) if dial::is_exhaustion(&error) => Err(RequestEnd::Overload),
            Err(NetError::Io(error)) if error.kind() == io::ErrorKind::TimedOut => Err(RequestEnd::DnsTimeout),
            Err(_) => Err(RequestEnd::DnsFailure),
        }
    }
}

fn server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn options(timeout: Duration) -> ResolverOpts {
    let mut options = ResolverOpts::default();
    // Each of the two rounds asks two servers at once, and repeats itself over UDP.
    options.timeout = timeout / 2;
    options.attempts = 1;
    options.num_concurrent_reqs = 2;
    // 32 by default, above which a TCP connection to a server answers "busy"
    options.max_active_requests = 2 * LOOKUPS;
    options.cache_size = CACHED;
    options.positive_min_ttl = Some(Duration::from_secs(5));
    options.positive_max_ttl = Some(Duration::from_mins(5));
    // Also for negative answers without SOA, which have no lifetime of their own (RFC 2308 section 5): a client
    // that asks a thousand times a second for a name that is gone must not reach the servers each time.
    options.negative_min_ttl = Some(Duration::from_secs(5));
    options.negative_max_ttl = Some(Duration::from_secs(30));
    // ours, see `in_hosts`
    options.use_hosts_file = ResolveHosts::Never;
    options
}

/// The name made absolute, label by label: the library's own parser reads backslash escapes, and so would see another
/// name than the policy saw.
fn absolute(name: &str) -> Option<Name> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(host) || name.parse::<IpAddr>().is_ok() {
        return None;
    }
    Name::from_labels(name.split('.').map(str::as_bytes)).ok()
}

fn addresses(lookup: &Lookup) -> Vec<IpAddr> {
    let answers = lookup.answers().iter();
    answers.filter_map(|record| record.data.ip_addr()).map(|address| address.to_canonical()).collect()
}

/// IPv6 first, without repetition, cut so that neither family displaces the other.
fn merge(first: &[IpAddr], second: &[IpAddr]) -> Vec<IpAddr> {
    let mut v6 = Vec::new();
    let mut v4 = Vec::new();
    for address in first.iter().chain(second) {
        let family = if address.is_ipv6() { &mut v6 } else { &mut v4 };
        if family.len() < ADDRESSES && !family.contains(address) {
            family.push(*address);
        }
    }
    v6.truncate((ADDRESSES / 2).max(ADDRESSES - v4.len()));
    v4.truncate(ADDRESSES - v6.len());
    v6.append(&mut v4);
    v6
}

#[cfg(test)]
mod tests;
