//! What must hold between keys, and what had better.
//!
//! Owns: the cross-checks. Called by: the file and `load`, after flags replaced what they replace; the command line. Never:
//! reads text.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::keys::{
    ADMIN_ADDRESS, ADMIN_ALLOW, ADMIN_READ_TOKEN_FILE, ADMIN_TOKEN_FILE, CLIENTS_ALLOW, HEAD_SIZE, SELF_ALLOW,
    TARGET_SIZE,
};
use super::problem::{Problem, shown};
use super::settings::{HostName, HostPort, Own, Settings, TokenFile};
use super::units::show_size;

/// Two keys that do not go together.
pub(super) struct Conflict {
    /// What is told; its line is not known here.
    pub(super) problem: Problem,
    /// The other key.
    pub(super) with: String,
}

impl Conflict {
    fn new(key: String, value: String, with: String, reason: String, remedy: &str) -> Self {
        let problem = Problem { key, value, reason, remedy: remedy.to_owned(), line: None };
        Self { problem, with }
    }
}

/// Everything that does not go together.
pub(super) fn conflicts(settings: &Settings) -> Vec<Conflict> {
    let bound = bound(settings);
    let mut conflicts = overlaps(&bound);
    conflicts.extend(loops(settings, &bound));
    let limits = &settings.limits;
    if limits.target_size > limits.head_size {
        conflicts.push(Conflict::new(
            TARGET_SIZE.row.path.to_owned(),
            format!("\"{}\"", show_size(limits.target_size)),
            HEAD_SIZE.row.path.to_owned(),
            format!(
                "the target is part of the head, and {} is only \"{}\"",
                HEAD_SIZE.row.path,
                show_size(limits.head_size)
            ),
            "lower the one or raise the other",
        ));
    }
    if settings.clients.allow.is_empty() {
        conflicts.push(Conflict::new(
            CLIENTS_ALLOW.row.path.to_owned(),
            "[]".to_owned(),
            CLIENTS_ALLOW.row.path.to_owned(),
            "nobody would be served".to_owned(),
            "list the networks of the clients, or remove the key for the default",
        ));
    }
    if let TokenFile::At(path) = &settings.admin.read_token_file
        && settings.admin.read_token_file == settings.admin.token_file
    {
        conflicts.push(Conflict::new(
            ADMIN_READ_TOKEN_FILE.row.path.to_owned(),
            format!("\"{}\"", path.display()),
            ADMIN_TOKEN_FILE.row.path.to_owned(),
            format!("is {} too: whoever may see could change things", ADMIN_TOKEN_FILE.row.path),
            "name another file, which is made",
        ));
    }
    conflicts
}

/// What works, and is seldom meant.
pub fn warnings(settings: &Settings) -> Vec<Problem> {
    let admin = &settings.admin;
    let others: Vec<_> = admin.allow.iter().filter(|network| !is_loopback(network)).map(IpNet::to_string).collect();
    let is_asked = admin.read_token_file != TokenFile::Off;
    if others.is_empty() || is_asked || admin.address.ip().is_loopback() {
        return Vec::new();
    }
    vec![Problem {
        key: ADMIN_ALLOW.row.path.to_owned(),
        value: shown(&others.join(", ")),
        reason: format!("may see everything at {} without a token, samples of requests included", admin.address),
        remedy: format!(
            "name a file in {}, and the token that is made there is asked for",
            ADMIN_READ_TOKEN_FILE.row.path
        ),
        line: None,
    }]
}

/// Whether all of it is this box.
fn is_loopback(network: &IpNet) -> bool {
    match network {
        IpNet::V4(v4) => v4.network().is_loopback() && v4.prefix_len() >= 8,
        IpNet::V6(v6) => v6.network().is_loopback() && v6.prefix_len() == 128,
    }
}

/// Every address the settings bind, and its key.
fn bound(settings: &Settings) -> Vec<(String, SocketAddr)> {
    let listeners = settings.listeners.iter().enumerate();
    listeners
        .map(|(index, listener)| (format!("listener[{index}].address"), listener.address))
        .chain([(ADMIN_ADDRESS.row.path.to_owned(), settings.admin.address)])
        .collect()
}

fn overlaps(bound: &[(String, SocketAddr)]) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    for (index, (key, address)) in bound.iter().enumerate() {
        let earlier = bound.iter().take(index);
        if let Some((with, other)) = earlier.clone().find(|(_, other)| overlap(*other, *address)) {
            let reason = if other == address {
                format!("the same address as {with}")
            } else {
                format!("{with} = \"{other}\" takes this port already")
            };
            conflicts.push(Conflict::new(
                key.clone(),
                format!("\"{address}\""),
                with.clone(),
                reason,
                "use another port or remove one of the two",
            ));
        }
    }
    conflicts
}

/// Whether the kernel refuses to bind both. IPv6 sockets are `IPV6_V6ONLY`; port 0 is always a free one.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port()
        && one.port() != 0
        && one.is_ipv4() == other.is_ipv4()
        && (one == other || one.ip().is_unspecified() || other.ip().is_unspecified())
}

/// Entries of `self.allow` that lead back to us: the proxy, or the API, through the proxy.
fn loops(settings: &Settings, bound: &[(String, SocketAddr)]) -> Vec<Conflict> {
    let entries = settings.own.allow.iter().enumerate();
    entries
        .filter_map(|(index, entry)| {
            let (with, _) = bound.iter().find(|(_, address)| arrives_at(entry, *address, &settings.own))?;
            Some(Conflict::new(
                format!("{}[{index}]", SELF_ALLOW.row.path),
                show(entry),
                with.clone(),
                format!("is the port of {with}: the proxy would be reached through itself"),
                "allow another service, or move the listener to another port",
            ))
        })
        .collect()
}

fn arrives_at(entry: &HostPort, bound: SocketAddr, own: &Own) -> bool {
    if entry.port != bound.port() {
        return false;
    }
    match &entry.host {
        HostName::Address(address) => {
            // Bound to every address of its family, it has whatever own address is named.
            let any = bound.ip().is_unspecified() && bound.is_ipv4() == address.is_ipv4();
            any || address.is_loopback()
                || address.is_unspecified()
                || *address == bound.ip()
                || own.addresses.contains(address)
        }
        // Only own services are listed, so the name is one of this box.
        HostName::Name(_) => true,
    }
}

fn show(entry: &HostPort) -> String {
    match &entry.host {
        HostName::Address(IpAddr::V6(address)) => format!("\"[{address}]:{}\"", entry.port),
        HostName::Address(IpAddr::V4(address)) => format!("\"{address}:{}\"", entry.port),
        HostName::Name(name) => format!("\"{name}:{}\"", entry.port),
    }
}
