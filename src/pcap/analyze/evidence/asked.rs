//! What a request asks for, and whether that is the box it was sent to: as the gateway would say.

use std::net::{IpAddr, SocketAddr};

use crate::http1::target::{Authority, AuthorityError, Host, Target};
use crate::net::class::embedded_v4;
use crate::net::own::OwnAddresses;

use super::super::super::http::Request;
use super::super::findings::{Form, SelfKind, Spelling};

/// What a request asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Asked<'b> {
    /// Its form.
    pub(super) form: Form,
    /// Whom it names: in the target, in origin-form in `Host`.
    pub(super) authority: &'b [u8],
    /// The port of the scheme; 0 for CONNECT.
    default_port: u16,
}

impl<'b> Asked<'b> {
    pub(super) fn of(request: &Request<'b>) -> Self {
        let target = Target::parse(request.method, request.target).or_else(|_| {
            // Where the gateway says 400 because of a fragment, the client still meant somebody.
            let whole = request.target.split(|&byte| byte == b'#').next().unwrap_or_default();
            Target::parse(request.method, whole)
        });
        let host = request.host.unwrap_or_default();
        match target {
            Ok(Target::Absolute { scheme, authority, .. }) => {
                let default_port = if scheme.eq_ignore_ascii_case(b"https") { 443 } else { 80 };
                Self { form: Form::Absolute, authority, default_port }
            }
            Ok(Target::Authority(authority)) => Self { form: Form::Authority, authority, default_port: 0 },
            Ok(Target::Origin(_)) => Self { form: Form::Origin, authority: host, default_port: 80 },
            Ok(Target::Asterisk) => Self { form: Form::Asterisk, authority: b"", default_port: 80 },
            Err(_) => Self { form: Form::Other, authority: b"", default_port: 80 },
        }
    }

    /// The host and port it names; none if the authority makes no sense.
    pub(super) fn parsed(&self) -> Option<Authority> {
        match Authority::parse(self.authority) {
            Ok(authority) | Err(AuthorityError::NotAscii(authority)) => Some(authority),
            Err(
                AuthorityError::Userinfo
                | AuthorityError::PercentEncoded
                | AuthorityError::Zone
                | AuthorityError::Port
                | AuthorityError::Empty
                | AuthorityError::Host,
            ) => None,
        }
    }

    /// The port it would lead to.
    pub(super) fn port(&self, authority: &Authority) -> u16 {
        authority.port.unwrap_or(self.default_port)
    }

    /// How it names the box of `endpoint`, if it does.
    pub(super) fn self_kind(&self, authority: &Authority, endpoint: SocketAddr, own: &Own) -> Option<SelfKind> {
        let spelling = match &authority.host {
            Host::Name(name) => own.always.names(name).then_some(Spelling::Loopback)?,
            Host::Address(ip) if own.is(endpoint.ip(), *ip) => {
                let literal = ip.to_string();
                let text = self.authority.strip_prefix(b"[").unwrap_or(self.authority);
                let rest = text.get(literal.len()..).unwrap_or_default();
                let plain = text.len() >= literal.len()
                    && text.iter().zip(literal.as_bytes()).all(|(a, b)| a.eq_ignore_ascii_case(b))
                    && matches!(rest, b"" | b"]" | [b':', ..] | [b']', b':', ..]);
                if plain { Spelling::Plain } else { Spelling::Numeric }
            }
            Host::Address(ip) if own.always.owns(*ip) => Spelling::Loopback,
            Host::Address(IpAddr::V6(v6)) => {
                let inner = IpAddr::V4(embedded_v4(*v6)?);
                (own.is(endpoint.ip(), inner) || own.always.owns(inner)).then_some(Spelling::Embedded)?
            }
            Host::Address(IpAddr::V4(_)) => return None,
        };
        let other_port = authority.port.is_some_and(|port| port != endpoint.port() && port != self.default_port);
        Some(SelfKind { form: self.form, spelling, other_port })
    }
}

/// The addresses that belong to boxes with a proxy, as far as they are known beforehand.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// Addresses given with `--proxy`: one box.
    pub(super) told: Vec<IpAddr>,
    /// What is any box's own: loopback, the unspecified address, and their names.
    always: OwnAddresses,
}

impl Own {
    pub(super) fn new(told: Vec<IpAddr>) -> Self {
        Self { told, always: OwnAddresses::default() }
    }

    /// Whether an address is one of the box that `endpoint` is an address of.
    pub(super) fn is(&self, endpoint: IpAddr, ip: IpAddr) -> bool {
        ip == endpoint.to_canonical() || (self.told.contains(&endpoint.to_canonical()) && self.told.contains(&ip))
    }
}
