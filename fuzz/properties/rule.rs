//! The rule of the policy once more, simply: addresses are 128 bits, networks are prefixes in one table.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use floodgate::http1::target::Host;

/// What no one may reach through the proxy unless the operator says so: the special-purpose registries of IANA, but for the
/// network for benchmarks (RFC 2544), and what carries an IPv4 address where no honest name points.
pub(super) const SPECIAL: [&str; 32] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "::/96",
    "::1/128",
    "::ffff:0:0:0/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/32",
    "2001:db8::/32",
    "3fff::/20",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
    // What a table of networks gets wrong first: their edges, and metadata services.
    "169.254.169.254/32",
    "172.31.255.255/32",
    "100.127.255.255/32",
    "192.168.255.255/32",
    "fdff:ffff::/32",
    "febf:ffff::/32",
];

/// Always ours.
const LOOPBACK: [&str; 4] = ["127.0.0.0/8", "0.0.0.0/32", "::1/128", "::/128"];
const LOOPBACK_NAMES: [&str; 8] = [
    "localhost",
    "localhost.localdomain",
    "localhost4",
    "localhost4.localdomain4",
    "localhost6",
    "localhost6.localdomain6",
    "ip6-localhost",
    "ip6-loopback",
];

/// The rules of one scenario, as they were written.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// Addresses with prefix lengths.
    own: Vec<(IpAddr, u8)>,
    pub(super) hostnames: Vec<String>,
    alias: Vec<String>,
    self_allow: Vec<String>,
    allow: Vec<String>,
    deny: Vec<String>,
    connect_port: Vec<String>,
    http_port: Vec<String>,
    /// What a name resolves to.
    pub(super) answers: Vec<IpAddr>,
}

impl Rules {
    pub(super) fn learn(&mut self, (key, value): (&str, &str)) -> Option<()> {
        // What would need escapes in TOML is no entry of any list.
        let value = Some(value)
            .filter(|value| value.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte)))?;
        match key {
            "own" => {
                let (address, prefix) = value.split_once('/').unwrap_or((value, "128"));
                self.own.push((address.parse().ok()?, prefix.parse().ok()?));
            }
            "answer" => self.answers.push(value.parse().ok()?),
            "hostname" => self.hostnames.push(value.to_owned()),
            "alias" => self.alias.push(value.to_owned()),
            "self-allow" => self.self_allow.push(value.to_owned()),
            "allow" => self.allow.push(value.to_owned()),
            "deny" => self.deny.push(value.to_owned()),
            "connect-port" => self.connect_port.push(value.to_owned()),
            "http-port" => self.http_port.push(value.to_owned()),
            _ => return None,
        }
        Some(())
    }

    /// A configuration file with these settings.
    pub(super) fn toml(&self) -> String {
        let mut toml = format!("[self]\naliases = {:?}\nallow = {:?}\n[destinations]\n", self.alias, self.self_allow);
        for (key, ports) in [("connect-ports", &self.connect_port), ("http-ports", &self.http_port)] {
            if !ports.is_empty() {
                let ports: Vec<_> = ports
                    .iter()
                    .map(|port| if port.contains('-') { format!("{port:?}") } else { port.clone() })
                    .collect();
                writeln!(toml, "{key} = [{}]", ports.join(", ")).ok();
            }
        }
        writeln!(toml, "allow = {:?}\ndeny = {:?}", self.allow, self.deny).ok();
        toml
    }

    /// The addresses of the interfaces, with the broadcast addresses of their networks.
    pub(super) fn own_addresses(&self) -> impl Iterator<Item = (IpAddr, Option<Ipv4Addr>)> {
        self.own.iter().map(|&(ip, prefix)| (ip, broadcast(ip, prefix)))
    }

    /// All that is ours by address, and the broadcast addresses.
    pub(super) fn ours(&self) -> impl Iterator<Item = IpAddr> {
        let broadcasts = self.own_addresses().filter_map(|(_, broadcast)| broadcast.map(IpAddr::V4));
        let aliases = self.alias.iter().filter_map(|alias| bare(alias).parse().ok());
        self.own.iter().map(|&(ip, _)| ip).chain(broadcasts).chain(aliases)
    }

    /// Whether the text of a destination is enough to refuse it.
    pub(super) fn refuses(&self, host: &Host, port: u16, tunnel: bool) -> bool {
        let named = |entries: &[String]| entries.iter().any(|entry| pair_is(entry, host, port));
        let open = named(&self.self_allow);
        let ours = match host {
            Host::Name(name) => self.names_us(name),
            Host::Address(ip) => self.is_ours(*ip),
        };
        let ports =
            if tunnel { (&*self.connect_port, &[443, 80, 8443][..], 0) } else { (&*self.http_port, &[80][..], 1024) };
        let port_open = open || named(&self.allow) || is_open(ports, port);
        (ours && !open) || self.deny.iter().any(|entry| covers_host(entry, host, port)) || !port_open
    }

    /// Whether a connection to this address, in the name of this host, is one that the operator wants.
    pub(super) fn may_dial(&self, host: &Host, ip: IpAddr, port: u16) -> bool {
        let ip = ip.to_canonical();
        let address = Host::Address(ip);
        let pair = |entry: &String| pair_is(entry, host, port) || pair_is(entry, &address, port);
        let open = self.self_allow.iter().any(pair);
        if self.is_ours(ip) && !open {
            return false;
        }
        if self.deny.iter().any(|entry| forms(ip).any(|ip| covers_host(entry, &Host::Address(ip), port))) {
            return false;
        }
        let special =
            is_special(ip) || self.own_addresses().any(|(_, broadcast)| broadcast.map(IpAddr::V4) == Some(ip));
        let lifted =
            self.allow.iter().any(|entry| covers_host(entry, &address, port) || covers_host(entry, host, port));
        open || lifted || !special
    }

    /// Whether an authority is an address of ours with whatever port, and no pair is opened.
    pub(super) fn are_us(&self, authority: &str) -> bool {
        let ip = destination(authority).and_then(|(host, _)| address(host));
        self.self_allow.is_empty() && ip.is_some_and(|ip| self.is_ours(ip))
    }

    fn is_ours(&self, ip: IpAddr) -> bool {
        let loopback = |ip| LOOPBACK.iter().any(|network| holds(network, ip));
        let aliases = self.alias.iter().filter_map(|alias| bare(alias).parse().ok());
        let ours: Vec<IpAddr> =
            self.own.iter().map(|&(own, _)| own).chain(aliases).map(|ip: IpAddr| ip.to_canonical()).collect();
        forms(ip).any(|ip| loopback(ip) || ours.contains(&ip))
    }

    fn names_us(&self, name: &str) -> bool {
        let ours = self.hostnames.iter().chain(&self.alias).map(String::as_str);
        LOOPBACK_NAMES.contains(&name)
            || name.ends_with(".localhost")
            || ours.into_iter().any(|ours| same_name(ours, name))
    }
}

/// An address as it is, and the IPv4 address it carries, if it does.
fn forms(ip: IpAddr) -> impl Iterator<Item = IpAddr> {
    let ip = ip.to_canonical();
    let carried = match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            let low = v4(bits);
            let carries = ["::/96", "::ffff:0:0:0/96", "64:ff9b::/96"].iter().any(|network| holds(network, ip));
            if bits <= 1 {
                None
            } else if carries {
                Some(low)
            } else if holds("2002::/16", ip) {
                Some(v4(bits >> 80))
            } else {
                holds("2001::/32", ip).then(|| Ipv4Addr::from_bits(!low.to_bits()))
            }
        }
    };
    [ip].into_iter().chain(carried.map(IpAddr::V4))
}

/// The lowest 32 bits.
fn v4(bits: u128) -> Ipv4Addr {
    let [.., a, b, c, d] = bits.to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

/// NAT64 and 6to4 deliver to the address that is written inside.
fn is_special(ip: IpAddr) -> bool {
    let delivers = ["64:ff9b::/96", "2002::/16"].iter().any(|network| holds(network, ip));
    let reached = if delivers { forms(ip).last().unwrap_or(ip) } else { ip };
    SPECIAL.iter().any(|network| holds(network, reached))
}

/// Whether a network in text holds an address; one of IPv6 never holds one of IPv4, however it is written.
fn holds(network: &str, ip: IpAddr) -> bool {
    let (address, prefix) = network.split_once('/').unwrap_or((network, "128"));
    let (Ok(address), Ok(prefix)) = (bare(address).parse::<IpAddr>(), prefix.parse::<u32>()) else { return false };
    let prefix = match address {
        IpAddr::V4(_) if network.contains('/') => prefix + 96,
        IpAddr::V4(_) | IpAddr::V6(_) => prefix,
    };
    let mapped = prefix >= 96 && address.to_canonical().is_ipv4();
    mapped == ip.is_ipv4() && (bits(address) ^ bits(ip)).checked_shr(128 - prefix).unwrap_or(0) == 0
}

/// An address of either family among those of IPv6.
fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// Whether an entry of `allow` or `deny` is about this host at this port.
fn covers_host(entry: &str, host: &Host, port: u16) -> bool {
    match host {
        Host::Address(ip) if holds(entry, *ip) => true,
        Host::Name(name) if entry.strip_prefix("*.").is_some_and(|zone| is_below(name, zone)) => true,
        Host::Name(name) if !entry.contains(':') && same_name(entry, name) => true,
        Host::Address(_) | Host::Name(_) => pair_is(entry, host, port),
    }
}

/// Whether an entry is `host:port`, this host and this port.
fn pair_is(entry: &str, host: &Host, port: u16) -> bool {
    let Some((named, number)) = entry.rsplit_once(':') else { return false };
    let bracketed = named.starts_with('[') && named.ends_with(']');
    // An IPv6 address without brackets has no port.
    if number.parse() != Ok(port) || (named.contains(':') && !bracketed) {
        return false;
    }
    match host {
        Host::Address(ip) => bare(named).parse::<IpAddr>().is_ok_and(|one| one.to_canonical() == *ip),
        Host::Name(name) => same_name(named, name),
    }
}

fn same_name(written: &str, name: &str) -> bool {
    written.trim_end_matches('.').eq_ignore_ascii_case(name)
}

fn is_below(name: &str, zone: &str) -> bool {
    let labels =
        |name: &str| name.trim_end_matches('.').to_ascii_lowercase().rsplit('.').map(str::to_owned).collect::<Vec<_>>();
    let (name, zone) = (labels(name), labels(zone));
    name.len() > zone.len() && name.starts_with(&zone)
}

fn bare(address: &str) -> &str {
    address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address)
}

/// The host of an authority, as it stands there, and the port if there is one; None if what follows the colon is not a port.
pub(super) fn destination(authority: &str) -> Option<(&str, Option<u16>)> {
    match authority.rsplit_once(':') {
        // The colons of an IPv6 address: all of it, if it stands without brackets.
        Some((host, _)) if host.contains(':') && !host.ends_with(']') => Some((authority, None)),
        Some((_, after)) if after.ends_with(']') => Some((authority, None)),
        Some((host, "")) => Some((host, None)),
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some((host, Some(port.parse().ok().filter(|&port| port != 0)?)))
        }
        Some(_) => None,
        None => Some((authority, None)),
    }
}

/// The address that a host is to the resolver of a system, and `*`, which getaddrinfo takes for every address.
pub(super) fn address(host: &str) -> Option<IpAddr> {
    if host == "*" {
        return Some(Ipv4Addr::UNSPECIFIED.into());
    }
    if host.contains(':') {
        return bare(host).parse().ok();
    }
    inet_aton(host.strip_suffix('.').unwrap_or(host)).map(IpAddr::V4)
}

/// Whether a list of ports, or the built-in one where none is set, has this port.
fn is_open((set, built_in, from): (&[String], &[u16], u16), port: u16) -> bool {
    if set.is_empty() {
        return built_in.contains(&port) || (from > 0 && port >= from);
    }
    set.iter().any(|entry| {
        let (low, high) = entry.split_once('-').unwrap_or((entry, entry));
        let number = |text: &str| text.trim().parse::<u16>().ok();
        number(low).zip(number(high)).is_some_and(|(low, high)| (low..=high).contains(&port))
    })
}

fn broadcast(ip: IpAddr, prefix: u8) -> Option<Ipv4Addr> {
    match ip.to_canonical() {
        IpAddr::V4(v4) if (1..=30).contains(&prefix) => Some(Ipv4Addr::from_bits(v4.to_bits() | u32::MAX >> prefix)),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// What the C library makes of a host before it asks the DNS (`inet_aton(3)`): one to four numbers, decimal, octal or
/// hexadecimal, the last of which fills what is left.
pub fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u64> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = parts.split_last().filter(|(_, first)| first.len() < 4)?;
    let room = 8 * (4 - first.len());
    if *last >> room != 0 || first.iter().any(|&part| part > 255) {
        return None;
    }
    let high = first.iter().fold(0, |address, part| address << 8 | part);
    u32::try_from(high << room | last).ok().map(Ipv4Addr::from_bits)
}

/// A number as `strtoul(3)` reads it with base 0, which must be all of the text.
fn number(text: &str) -> Option<u64> {
    let (digits, base) = match text.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(digits, base).ok().filter(|_| plain)
}
