//! May this request go where it asks to? Pure: request × rules → verdict, tested as a table.
//!
//! Self-target detection happens here twice on purpose: by text before any look-up (a literal or a name of ours costs a
//! comparison), and by address on every resolved address before it is dialled (a name may lead back to us).

use std::net::{IpAddr, SocketAddr};

use crate::config::settings::{DestinationRule, HostName, HostPort, Settings};
use crate::http1::head::Request;
use crate::http1::target::{Authority, AuthorityError, Host, Target};
use crate::net::class::{Class, class, embedded_v4};
use crate::net::own::OwnAddresses;
use crate::outcome::RequestEnd;

/// Where a request wants to go, and what the operator's exceptions lift for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Destination {
    /// The host.
    pub host: Host,
    /// The port.
    pub port: u16,
    /// The pair is on `[self] allow`: own, loopback and private addresses are fine.
    own_service: bool,
    /// The name or pair is on `[destinations] allow`: denied address classes are fine, own addresses are not.
    excepted: bool,
}

impl Destination {
    /// The value of the `Host` field an origin gets (RFC 9110 section 7.2): the port only where it is not HTTP's own.
    pub fn host_field(&self) -> String {
        let host = match &self.host {
            Host::Address(IpAddr::V6(v6)) => format!("[{v6}]"),
            Host::Address(IpAddr::V4(v4)) => v4.to_string(),
            Host::Name(name) => name.to_string(),
        };
        if self.port == 80 { host } else { format!("{host}:{}", self.port) }
    }
}

/// What to do with a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// CONNECT: open a tunnel.
    Tunnel(Destination),
    /// Forward it.
    Forward(Destination),
    /// We are its final recipient (`OPTIONS *`, or `Max-Forwards: 0`).
    Answer,
    /// Refuse it.
    Refuse(RequestEnd),
}

/// Everything a verdict depends on besides the request.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// The operator's settings.
    pub settings: &'a Settings,
    /// Our own addresses and names, as of now.
    pub own: &'a OwnAddresses,
    /// Our pseudonym in `Via`.
    pub via: &'a str,
}

impl Policy<'_> {
    /// Judges a request by its text. `looped`: it came in over one of our own outgoing connections.
    pub fn judge(&self, request: &Request<'_>, looped: bool) -> Verdict {
        if looped || request.via_names(self.via) {
            return Verdict::Refuse(RequestEnd::SelfTarget);
        }
        match request.method {
            b"TRACE" => return Verdict::Refuse(RequestEnd::MethodDenied),
            // RFC 9110 section 7.6.2: at zero the recipient answers, whatever the target.
            b"OPTIONS" if request.max_forwards == Some(0) => return Verdict::Answer,
            _ => {}
        }
        self.judge_target(request).unwrap_or_else(Verdict::Refuse)
    }

    fn judge_target(&self, request: &Request<'_>) -> Result<Verdict, RequestEnd> {
        match request.target {
            Target::Asterisk if request.method == b"OPTIONS" => Ok(Verdict::Answer),
            Target::Asterisk => Err(RequestEnd::Malformed),
            // Nothing is proxied by its Host alone (RFC 9112 section 3.2.2); but clients that mean the proxy send this form.
            Target::Origin(_) => Err(self.judge_origin_form(request)),
            Target::Authority(text) => {
                let authority = self.authority(text)?;
                let port = authority.port.ok_or(RequestEnd::Malformed)?;
                self.destination(authority.host, port, true).map(Verdict::Tunnel)
            }
            Target::Absolute { scheme, authority, .. } => {
                let http = scheme.eq_ignore_ascii_case(b"http");
                let authority = self.authority(authority)?;
                let port = authority.port.unwrap_or(if http { 80 } else { 443 });
                if !http {
                    // Still worth knowing that it is us it means: the storm counts as one.
                    let own = self.is_own(&authority.host);
                    return Err(if own { RequestEnd::SelfTarget } else { RequestEnd::Malformed });
                }
                self.destination(authority.host, port, false).map(Verdict::Forward)
            }
        }
    }

    fn judge_origin_form(&self, request: &Request<'_>) -> RequestEnd {
        let Some(host) = request.host else { return RequestEnd::Malformed };
        match self.authority(host) {
            Ok(authority) if self.is_own(&authority.host) => RequestEnd::SelfTarget,
            Err(RequestEnd::SelfTarget) => RequestEnd::SelfTarget,
            _ => RequestEnd::Malformed,
        }
    }

    fn authority(&self, text: &[u8]) -> Result<Authority, RequestEnd> {
        Authority::parse(text).map_err(|error| match error {
            AuthorityError::NotAscii(authority) if self.is_own(&authority.host) => RequestEnd::SelfTarget,
            AuthorityError::NotAscii(_)
            | AuthorityError::Userinfo
            | AuthorityError::PercentEncoded
            | AuthorityError::Zone
            | AuthorityError::Port
            | AuthorityError::Empty
            | AuthorityError::Host => RequestEnd::Malformed,
        })
    }

    fn destination(&self, host: Host, port: u16, connect: bool) -> Result<Destination, RequestEnd> {
        let rules = &self.settings.destinations;
        let own_service = self.settings.own.allow.iter().any(|pair| names_pair(pair, &host, port));
        if !own_service && self.is_own(&host) {
            return Err(RequestEnd::SelfTarget);
        }
        if rules.deny.iter().any(|rule| rule_names(rule, &host, port)) {
            return Err(RequestEnd::DestinationDenied);
        }
        let ports = if connect { &rules.connect_ports } else { &rules.http_ports };
        let pair = |rule: &DestinationRule| matches!(rule, DestinationRule::Pair(_)) && rule_names(rule, &host, port);
        if !own_service && !ports.contains(port) && !rules.allow.iter().any(pair) {
            return Err(RequestEnd::PortDenied);
        }
        let excepted = rules.allow.iter().any(|rule| rule_names(rule, &host, port));
        let destination = Destination { host, port, own_service, excepted };
        if let Host::Address(ip) = &destination.host {
            self.judge_address(&destination, *ip)?;
        }
        Ok(destination)
    }

    /// Judges one address that a destination has or resolved to. What passes is what is dialled: there is no second look-up.
    pub fn judge_address(&self, destination: &Destination, ip: IpAddr) -> Result<SocketAddr, RequestEnd> {
        let ip = ip.to_canonical();
        let address = SocketAddr::new(ip, destination.port);
        let rules = &self.settings.destinations;
        let own_service = self.is_own_service(destination, address);
        if !own_service && self.is_own_address(ip) {
            return Err(RequestEnd::SelfTarget);
        }
        if rules.deny.iter().any(|rule| denies(rule, address)) {
            return Err(RequestEnd::DestinationDenied);
        }
        let broadcast = matches!(ip, IpAddr::V4(v4) if self.own.is_broadcast(v4));
        let excepted =
            own_service || destination.excepted || rules.allow.iter().any(|rule| rule_has_address(rule, address));
        if !excepted && (broadcast || class(ip) != Class::Public) {
            return Err(RequestEnd::DestinationDenied);
        }
        Ok(address)
    }

    /// Whether the operator has opened this pair of our own.
    pub fn is_own_service(&self, destination: &Destination, address: SocketAddr) -> bool {
        let host = Host::Address(address.ip());
        let own_pair = |pair: &HostPort| names_pair(pair, &host, address.port());
        destination.own_service || self.settings.own.allow.iter().any(own_pair)
    }

    fn is_own(&self, host: &Host) -> bool {
        match host {
            Host::Address(ip) => self.is_own_address(*ip),
            Host::Name(name) => self.own.names(name) || self.settings.own.names.iter().any(|alias| **alias == **name),
        }
    }

    fn is_own_address(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let listed = |ip: IpAddr| self.own.owns(ip) || self.settings.own.addresses.contains(&ip);
        listed(ip) || matches!(ip, IpAddr::V6(v6) if embedded_v4(v6).is_some_and(|v4| listed(v4.into())))
    }
}

fn same_host(configured: &HostName, host: &Host) -> bool {
    match (configured, host) {
        (HostName::Address(a), Host::Address(b)) => a == b,
        (HostName::Name(a), Host::Name(b)) => **a == **b,
        _ => false,
    }
}

fn names_pair(pair: &HostPort, host: &Host, port: u16) -> bool {
    pair.port == port && same_host(&pair.host, host)
}

/// Whether a rule names this host, with this port if it gives one.
fn rule_names(rule: &DestinationRule, host: &Host, port: u16) -> bool {
    match (rule, host) {
        (DestinationRule::Network(net), Host::Address(ip)) => net.contains(ip),
        (DestinationRule::Pair(pair), _) => names_pair(pair, host, port),
        (DestinationRule::Name(name), Host::Name(asked)) => **name == **asked,
        (DestinationRule::Below(zone), Host::Name(asked)) => {
            asked.strip_suffix(zone.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
        }
        _ => false,
    }
}

/// Whether a rule about addresses holds this one.
fn rule_has_address(rule: &DestinationRule, address: SocketAddr) -> bool {
    match rule {
        DestinationRule::Network(net) => net.contains(&address.ip()),
        DestinationRule::Pair(pair) => names_pair(pair, &Host::Address(address.ip()), address.port()),
        DestinationRule::Name(_) | DestinationRule::Below(_) => false,
    }
}

/// Whether a denial holds this address, or the IPv4 address that is written inside it (NAT64, 6to4).
fn denies(rule: &DestinationRule, address: SocketAddr) -> bool {
    let inner = match address.ip() {
        IpAddr::V6(v6) => embedded_v4(v6),
        IpAddr::V4(_) => None,
    };
    let inner = inner.map(|v4| SocketAddr::new(v4.into(), address.port()));
    rule_has_address(rule, address) || inner.is_some_and(|address| rule_has_address(rule, address))
}

#[cfg(test)]
mod tests;
