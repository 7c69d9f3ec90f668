//! The guard against DNS rebinding: a page of a stranger may point its own name at this address, and the browser then
//! lets it read our answers; but it cannot choose what the browser sends as `Host`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hyper::Request;
use hyper::header::HOST;

/// Whether the request names us: exactly one `Host`, and an absolute target if there is one, that [`names_us`].
pub(super) fn accepted<B>(request: &Request<B>, own: [SocketAddr; 2], names: &[String]) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let accepts = |authority: &str| names_us(authority, own, names);
    host.to_str().is_ok_and(accepts) && request.uri().authority().is_none_or(|authority| accepts(authority.as_str()))
}

/// Whether the authority is one of ours.
///
/// With our port or none: `localhost`, `127.0.0.1`, `[::1]`, the address the listener is bound to, the address the
/// connection came to (a literal address cannot be rebound). With any port, for there may be a tunnel or a proxy in
/// between: the configured names, lower case.
pub(super) fn names_us(authority: &str, own: [SocketAddr; 2], names: &[String]) -> bool {
    let Some((host, port)) = split(authority) else {
        return false;
    };
    let host = without_dot(host);
    if is_one_of(host, names) {
        return true;
    }
    let our_port = port.is_none_or(|port| own.iter().any(|address| address.port() == port));
    let our_host = match host.parse::<IpAddr>() {
        Ok(address) => {
            let address = address.to_canonical();
            address == IpAddr::V4(Ipv4Addr::LOCALHOST)
                || address == IpAddr::V6(Ipv6Addr::LOCALHOST)
                || (!address.is_unspecified() && own.iter().any(|own| own.ip().to_canonical() == address))
        }
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    };
    our_port && our_host
}

/// Whether the authority has one of these names, with any port.
pub(super) fn is_named(authority: &str, names: &[String]) -> bool {
    split(authority).is_some_and(|(host, _)| is_one_of(without_dot(host), names))
}

fn is_one_of(host: &str, names: &[String]) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case(host))
}

fn without_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

/// Host and port of an authority; an IPv6 address without its brackets.
fn split(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, rest) = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => authority.find(':').and_then(|colon| authority.split_at_checked(colon)).unwrap_or((authority, "")),
    };
    match rest {
        "" => Some((host, None)),
        port => Some((host, Some(port.strip_prefix(':')?.parse().ok()?))),
    }
}

#[cfg(test)]
mod tests {
    use super::names_us;

    #[test]
    fn only_our_own_names() {
        let bound = "0.0.0.0:9128".parse().unwrap();
        let local = "10.0.0.1:9128".parse().unwrap();
        let names = ["gate.example".to_owned()];
        let accepts = |authority: &str| names_us(authority, [bound, local], &names);
        for authority in [
            "localhost",
            "localhost:9128",
            "LocalHost:9128",
            "localhost.",
            "127.0.0.1",
            "127.0.0.1:9128",
            "[::1]",
            "[::1]:9128",
            "10.0.0.1",
            "10.0.0.1:9128",
            "[::ffff:10.0.0.1]:9128",
            "gate.example",
            "Gate.Example.:9128",
            "gate.example:8443",
        ] {
            assert!(accepts(authority), "{authority}");
        }
        for authority in [
            "",
            ":9128",
            "evil.example",
            "evil.example:9128",
            "localhost:80",
            "localhost:",
            "localhost:99999",
            "localhost:9128:9128",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.2",
            "127.1",
            "0.0.0.0:9128",
            "[::]:9128",
            "10.0.0.2:9128",
            "10.0.0.1:80",
            "user@localhost",
            "localhost@evil.example",
            "[::1",
            "[::1]x",
            "[localhost].evil.example",
            "sub.gate.example",
        ] {
            assert!(!accepts(authority), "{authority}");
        }
    }
}
