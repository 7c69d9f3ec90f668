//! Addresses, names, networks and pairs as an operator writes them.
//!
//! Owns: their syntax and their one normal form (lower case, no trailing dot, no IPv4-mapped address).
//! Called by: the table of keys. Never: resolves a name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use super::problem::Fault;
use super::settings::{DestinationRule, HostName, HostPort};
use super::units;

/// Port of a DNS server that is written without one (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;

/// Reads `10.0.0.1:3128` or `[::1]:3128`; port 0 lets the kernel choose.
pub(super) fn socket(text: &str) -> Result<SocketAddr, Fault> {
    text.parse().map(canonical).map_err(|_| {
        let remedy = match text.trim_start_matches(':').parse::<u16>() {
            Ok(port) => format!("write \"0.0.0.0:{port}\" or \"[::]:{port}\""),
            Err(_) => "write \"127.0.0.1:3128\" or \"[::1]:3128\"; names are not looked up".into(),
        };
        Fault::new("is not an address and a port", remedy)
    })
}

/// The same address and port, IPv4 if it was IPv4-mapped.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => SocketAddr::from((v4, address.port())),
        IpAddr::V6(_) => address,
    }
}

/// Reads an address with or without a port (then 53).
pub(super) fn dns_server(text: &str) -> Result<SocketAddr, Fault> {
    let server = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT)).or_else(|_| text.parse());
    match server.map(canonical) {
        Ok(server) if server.port() > 0 && can_be_one_host(server.ip()) => Ok(server),
        _ => Err(Fault::new(
            "is not the address of a DNS server",
            "write an address such as \"192.0.2.53\" or \"[2001:db8::53]:53\"",
        )),
    }
}

/// Reads an IPv4 source address; none if empty.
pub(super) fn source_v4(text: &str) -> Result<Option<Ipv4Addr>, Fault> {
    source(text, "192.0.2.1")
}

/// Reads an IPv6 source address; none if empty.
pub(super) fn source_v6(text: &str) -> Result<Option<Ipv6Addr>, Fault> {
    source(text, "2001:db8::1")
}

fn source<A>(text: &str, example: &str) -> Result<Option<A>, Fault>
where
    A: std::str::FromStr + Copy + Into<IpAddr>,
{
    if text.is_empty() {
        return Ok(None);
    }
    text.parse::<A>()
        .ok()
        .filter(|address| {
            let address: IpAddr = (*address).into();
            can_be_one_host(address) && address == address.to_canonical()
        })
        .map(Some)
        .ok_or_else(|| {
            Fault::new(
                "cannot be a source address",
                format!("write an address of this box such as \"{example}\", or \"\" for the kernel's choice"),
            )
        })
}

fn can_be_one_host(address: IpAddr) -> bool {
    !address.is_unspecified() && !address.is_multicast() && address != IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// Reads a network, or an address as the network of it alone.
pub(super) fn network(text: &str) -> Result<IpNet, Fault> {
    let network = match text.split_once('/') {
        None => text.parse::<IpAddr>().ok().map(IpNet::from),
        // ipnet takes 010.0.0.0 for 10.0.0.0, others for 8.0.0.0 (`inet_aton(3)`); the standard library refuses it.
        Some((address, _)) if address.parse::<IpAddr>().is_ok() => text.parse::<IpNet>().ok(),
        Some(_) => None,
    };
    let network = network.map(unmapped).ok_or_else(|| {
        Fault::new("is neither a network nor an address", "write \"10.0.0.0/8\", \"fd00::/8\" or an address")
    })?;
    if network == network.trunc() {
        Ok(network)
    } else {
        Err(Fault::new(
            "has bits set behind the prefix",
            format!("write \"{}\" for the network or \"{}\" for the address", network.trunc(), network.addr()),
        ))
    }
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`: clients and destinations are compared in IPv4 form.
fn unmapped(network: IpNet) -> IpNet {
    match (network.addr().to_canonical(), network.prefix_len().checked_sub(96)) {
        (IpAddr::V4(v4), Some(prefix)) if network.addr().is_ipv6() => IpNet::new(v4.into(), prefix).unwrap_or(network),
        _ => network,
    }
}

/// Reads a host name: at most 253 bytes of labels of 1 to 63 (RFC 1035 section 2.3.4) of letters, digits, `-`, `_`.
pub(super) fn name(text: &str) -> Result<String, Fault> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if !name.is_ascii() {
        return Err(Fault::new("is a name with letters beyond ASCII", "write its form in DNS, which begins with xn--"));
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if name.len() > 253 || !name.split('.').all(is_label) {
        return Err(Fault::new(
            "is not a host name",
            "write letters, digits, '-' and '_' between dots; no scheme, path or space",
        ));
    }
    // Stacks dial 127.1 and 0x7f000001 as addresses (WHATWG URL, "ends in a number"): as a name it would never match.
    let last = name.rsplit('.').next().unwrap_or_default();
    let hex = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if last.bytes().all(|byte| byte.is_ascii_digit()) || last.strip_prefix("0x").is_some_and(hex) {
        return Err(Fault::new(
            "is a number, and not an IPv4 address in full",
            "write four decimal numbers such as \"192.0.2.1\"",
        ));
    }
    Ok(name)
}

/// Reads an address (IPv6 with or without brackets) or a name.
pub(super) fn host(text: &str) -> Result<HostName, Fault> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match bare.unwrap_or(text).parse::<IpAddr>() {
        Ok(address) if bare.is_none() || address.is_ipv6() => Ok(HostName::Address(address.to_canonical())),
        _ => name(text).map(HostName::Name),
    }
}

/// Reads a host for a list of texts: the address or the name in its normal form.
pub(super) fn host_text(text: &str) -> Result<String, Fault> {
    host(text).map(|host| match host {
        HostName::Address(address) => address.to_string(),
        HostName::Name(name) => name,
    })
}

/// Reads `host:port` or `[v6]:port`.
pub(super) fn host_port(text: &str) -> Result<HostPort, Fault> {
    let (host_part, port) = text
        .rsplit_once(':')
        .filter(|_| !text.ends_with(']') && text.parse::<IpAddr>().is_err())
        .ok_or_else(|| Fault::new("has no port", PAIR))?;
    if host_part.contains(':') && !host_part.starts_with('[') {
        return Err(Fault::new("is an IPv6 address without brackets", PAIR));
    }
    Ok(HostPort {
        host: host(host_part)?,
        port: units::port(port).map_err(|_| Fault::new("its port is not 1 to 65535", PAIR))?,
    })
}

const PAIR: &str = "write \"host:port\" or \"[v6]:port\"";

/// Reads an entry of `destinations.allow` or `deny`: a network, an address, a pair, a name, or `*.name`.
pub(super) fn rule(text: &str) -> Result<DestinationRule, Fault> {
    if text.starts_with('*') {
        let below = text.strip_prefix("*.").ok_or_else(|| {
            Fault::new(
                "is a pattern other than *.name",
                "write \"*.example.net\", or \"0.0.0.0/0\" and \"::/0\" for every destination",
            )
        })?;
        return name(below).map(DestinationRule::Below);
    }
    if text.contains('/') {
        return network(text).map(DestinationRule::Network);
    }
    match host(text) {
        Ok(HostName::Address(address)) => Ok(DestinationRule::Network(address.into())),
        Ok(HostName::Name(name)) => Ok(DestinationRule::Name(name)),
        Err(_) if text.contains(':') => host_port(text).map(DestinationRule::Pair),
        Err(fault) => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::{dns_server, host_port, host_text, network, rule, socket, source_v4, source_v6};
    use crate::config::problem::Fault;
    use crate::config::settings::DestinationRule;

    #[test]
    fn hosts_have_one_form() {
        for (text, host) in [
            ("Proxy.Example.NET.", "proxy.example.net"),
            ("intranet", "intranet"),
            ("_srv.x-1.example", "_srv.x-1.example"),
            ("10.0.0.1", "10.0.0.1"),
            ("::FFFF:10.0.0.1", "10.0.0.1"),
            ("[2001:DB8::1]", "2001:db8::1"),
        ] {
            assert_eq!(host_text(text).as_deref(), Ok(host), "{text}");
        }
        let long = "a.".repeat(127) + "a";
        for text in [
            "",
            ".",
            "a..b",
            "-a",
            "a-",
            "a b",
            "a/b",
            "http://a",
            "a:80",
            "user@a",
            "a%2eb",
            "*",
            "[10.0.0.1]",
            "[::1",
            "fe80::1%eth0",
            &long,
            &"a".repeat(64),
        ] {
            let fault = host_text(text).unwrap_err();
            assert_eq!(fault.reason, "is not a host name", "{text}");
        }
        for text in ["127.1", "2130706433", "0x7f000001", "256.1.1.1", "1.2.3.4.5", "a.0x", "010"] {
            let fault = host_text(text).unwrap_err();
            assert!(fault.reason.starts_with("is a number"), "{text}");
        }
        let fault = host_text("bücher.example").unwrap_err();
        assert!(fault.remedy.contains("xn--"));
    }

    #[test]
    fn pairs() {
        let shown = |text: &str| host_port(text).map(|pair| format!("{:?} {}", pair.host, pair.port));
        for (text, pair) in [
            ("10.115.5.2:8443", "Address(10.115.5.2) 8443"),
            ("[::FFFF:10.0.0.1]:80", "Address(10.0.0.1) 80"),
            ("[fd00::1]:80", "Address(fd00::1) 80"),
            ("Portal.:1", "Name(\"portal\") 1"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(pair), "{text}");
        }
        for (text, reason) in [
            ("portal", "has no port"),
            ("::1", "has no port"),
            ("[::1]", "has no port"),
            ("2001:db8::1:443", "has no port"),
            ("1:2:3:4:5:6:7:8:443", "is an IPv6 address without brackets"),
            ("a:0", "its port is not 1 to 65535"),
            ("a:65536", "its port is not 1 to 65535"),
            ("a:+80", "its port is not 1 to 65535"),
            ("a:", "its port is not 1 to 65535"),
            (":80", "is not a host name"),
            ("http://a:80", "is an IPv6 address without brackets"),
        ] {
            assert_eq!(shown(text).map_err(|fault| fault.reason), Err(reason.to_owned()), "{text}");
        }
    }

    #[test]
    fn networks() {
        for (text, expected) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.0.0.1", "10.0.0.1/32"),
            ("::1", "::1/128"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(network(text).unwrap().to_string(), expected, "{text}");
        }
        let fault = network("10.1.2.3/8").unwrap_err();
        assert_eq!(fault.remedy, "write \"10.0.0.0/8\" for the network or \"10.1.2.3\" for the address");
        for text in [
            "",
            "10.0.0.0/33",
            "10/8",
            "10.0.0.0/-1",
            "10.0.0.0/",
            "lan",
            "10.0.0.0/255.0.0.0x",
            "010.0.0.0/8",
            "10.20.00.0/16",
        ] {
            assert_eq!(network(text).unwrap_err().reason, "is neither a network nor an address", "{text}");
        }
    }

    #[test]
    fn rules() {
        let shown = |text: &str| {
            rule(text).map(|rule| match rule {
                DestinationRule::Network(network) => format!("network {network}"),
                DestinationRule::Pair(pair) => format!("pair {:?} {}", pair.host, pair.port),
                DestinationRule::Name(name) => format!("name {name}"),
                DestinationRule::Below(name) => format!("below {name}"),
            })
        };
        for (text, expected) in [
            ("10.0.0.0/8", "network 10.0.0.0/8"),
            ("2001:db8::1", "network 2001:db8::1/128"),
            ("::ffff:192.0.2.1", "network 192.0.2.1/32"),
            ("[::1]:8080", "pair Address(::1) 8080"),
            ("Host.example:443", "pair Name(\"host.example\") 443"),
            ("Intranet.Example.", "name intranet.example"),
            ("*.Example.NET", "below example.net"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(expected), "{text}");
        }
        for text in ["*", "*:443", "**.a", "*a.b", "*.", "*.*.a", "a.*", "http://a/", "", "*.10.0.0.1"] {
            rule(text).unwrap_err();
        }
    }

    #[test]
    fn sockets() {
        assert_eq!(socket("[::ffff:127.0.0.1]:80").unwrap().to_string(), "127.0.0.1:80");
        assert_eq!(socket("127.0.0.1:0").unwrap().port(), 0);
        let remedy = |text| socket(text).unwrap_err().remedy;
        assert_eq!(remedy(":3128"), "write \"0.0.0.0:3128\" or \"[::]:3128\"");
        assert_eq!(remedy("3128"), "write \"0.0.0.0:3128\" or \"[::]:3128\"");
        assert!(remedy("localhost:3128").contains("names are not looked up"));
        assert!(remedy("127.0.0.1:65536").contains("127.0.0.1:3128"));

        assert_eq!(dns_server("192.0.2.53").unwrap().to_string(), "192.0.2.53:53");
        assert_eq!(dns_server("2001:db8::53").unwrap().to_string(), "[2001:db8::53]:53");
        assert_eq!(dns_server("[2001:db8::53]:5353").unwrap().port(), 5353);
        for text in ["", "dns.example", "192.0.2.53:0", "0.0.0.0", "224.0.0.1", "255.255.255.255"] {
            dns_server(text).unwrap_err();
        }

        assert_eq!(source_v4(""), Ok(None));
        assert_eq!(source_v4("192.0.2.1"), Ok("192.0.2.1".parse().ok()));
        assert_eq!(source_v6("2001:db8::1"), Ok("2001:db8::1".parse().ok()));
        for text in ["0.0.0.0", "224.0.0.1", "::1", "x", " "] {
            source_v4(text).unwrap_err();
        }
        for text in ["::", "ff02::1", "::ffff:192.0.2.1", "192.0.2.1"] {
            let Fault { remedy, .. } = source_v6(text).unwrap_err();
            assert!(remedy.contains("2001:db8::1"), "{text}");
        }
    }
}
