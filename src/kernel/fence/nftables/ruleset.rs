//! The table as it is put up: three sets of networks, and for each listener the rules that look its SYNs up in them.
//!
//! ```text
//! table inet floodgate {                          # flags owner: dies with our socket, nobody else may change it
//!   set ipv4    { type ipv4_addr; size 65536; flags timeout; gc-interval 1s }
//!   set ipv6_64 { type ipv6_addr; … }
//!   set ipv6_48 { type ipv6_addr; … }
//!   chain dropped { counter drop }
//!   chain prerouting {                            # input for listeners behind a redirection
//!     type filter hook prerouting priority -310   # before conntrack (-200), which keeps nothing of what is dropped
//!     meta nfproto ipv4 tcp flags & (syn | ack) == syn tcp dport 3128 fib daddr type local ip saddr @ipv4 goto dropped
//!   }
//! }
//! ```
//!
//! What an element does with a SYN is said by its own expressions: a counter, for one that is half open after a limit that
//! ends the rule while it is kept. So the look-up comes last, and counts what is dropped and nothing else.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use netlink_packet_core::{DefaultNla, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_netfilter::nftables::{
    Bitwise, ChainAttribute, ChainMessage, Cmp, DataAttribute, ExpressionAttribute, Expressions, Hook, HookNumber,
    Immediate, InetHookNumber, ListAttribute, Lookup, Meta, MetaKey, NfTablesMessage, Operator, Payload, Register,
    RuleAttribute, RuleMessage, SetAttribute, SetDescription, SetFlags, SetMessage, TableAttribute, TableFlags,
    TableMessage, Verdict, VerdictAttribute,
};

use super::super::{Listening, Mode};

/// The most elements of one set.
pub(super) const SET_SIZE: u32 = 65_536;
/// How often the kernel frees what has expired, in milliseconds. Until then it takes room.
const COLLECT: u32 = 1000;
/// For an element that brings no time-out of its own, in milliseconds.
const TIMEOUT: u64 = 60_000;
/// Before conntrack (-200) and everything else that keeps state, after defragmentation (-400).
const PRIORITY: i32 = -310;
/// The chain that counts and drops.
pub(super) const DROPPED: &str = "dropped";

/// One set: networks of one length.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Set {
    pub(super) name: &'static str,
    prefix: u8,
    /// The type's number in nft(8), which only its listings heed.
    key_type: u32,
    /// Bytes of an address, and where in the header the source and the destination are.
    length: u32,
    source: u32,
    destination: u32,
    /// `NFPROTO_IPV4`, `NFPROTO_IPV6`
    protocol: u8,
}

pub(super) const SETS: [Set; 3] = [
    Set { name: "ipv4", prefix: 32, key_type: 7, length: 4, source: 12, destination: 16, protocol: 2 },
    Set { name: "ipv6_64", prefix: 64, key_type: 8, length: 16, source: 8, destination: 24, protocol: 10 },
    Set { name: "ipv6_48", prefix: 48, key_type: 8, length: 16, source: 8, destination: 24, protocol: 10 },
];

impl Set {
    /// Whether a network of this kind belongs here.
    pub(super) fn takes(&self, network: IpNet) -> bool {
        self.is_of(network.addr()) && network.prefix_len() == self.prefix
    }

    fn is_of(&self, address: IpAddr) -> bool {
        address.is_ipv4() == (self.length == 4)
    }

    /// The network that this key stands for.
    pub(super) fn network(&self, key: &[u8]) -> Option<IpNet> {
        let address = match self.length {
            4 => IpAddr::from(*key.first_chunk::<4>()?),
            _ => IpAddr::from(*key.first_chunk::<16>()?),
        };
        IpNet::new(address, self.prefix).ok()
    }
}

/// The key that stands for a network.
pub(super) fn key(network: IpNet) -> DataAttribute {
    DataAttribute::Value(octets(network.network()))
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The messages that put the table up, which must not exist.
pub(super) fn messages(table: &str, listening: &[Listening]) -> Vec<(NfTablesMessage, u16)> {
    let owned = TableMessage {
        attributes: vec![TableAttribute::Name(table.to_owned()), TableAttribute::Flags(TableFlags::Owner)],
    };
    let mut messages = vec![(NfTablesMessage::NewTable(owned), NLM_F_CREATE | NLM_F_EXCL)];
    for (id, set) in (1..).zip(&SETS) {
        let attributes = vec![
            SetAttribute::Table(table.to_owned()),
            SetAttribute::Name(set.name.to_owned()),
            SetAttribute::Flags(SetFlags::Timeout),
            SetAttribute::KeyType(set.key_type),
            SetAttribute::KeyLen(set.length),
            SetAttribute::Id(id),
            SetAttribute::Description(vec![SetDescription::Size(SET_SIZE)]),
            SetAttribute::Timeout(TIMEOUT),
            SetAttribute::GarbageCollectionInterval(COLLECT),
        ];
        messages.push((NfTablesMessage::NewSet(SetMessage { attributes }), NLM_F_CREATE));
    }
    messages.push(chain(table, DROPPED, None));
    messages.push(rule(table, DROPPED, vec![counter(0), verdict(Verdict::Other(NF_DROP), None)]));
    for (mode, name, hook) in
        [(Mode::Explicit, "prerouting", InetHookNumber::PreRouting), (Mode::Redirect, "input", InetHookNumber::LocalIn)]
    {
        let mut of_mode = listening.iter().filter(|listener| listener.mode == mode).peekable();
        if of_mode.peek().is_some() {
            messages.push(chain(table, name, Some(hook)));
        }
        for listener in of_mode {
            let mut address = listener.address;
            address.set_ip(address.ip().to_canonical());
            for set in SETS.iter().filter(|set| set.is_of(address.ip())) {
                messages.push(rule(table, name, look_up(set, address, mode)));
            }
        }
    }
    messages
}

const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;
const IPPROTO_TCP: u8 = 6;
/// `NFT_PAYLOAD_NETWORK_HEADER`, `NFT_PAYLOAD_TRANSPORT_HEADER`
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

type Expression = ListAttribute<ExpressionAttribute>;

/// Drops the SYNs to this listener whose source is in this set.
fn look_up(set: &Set, listener: SocketAddr, mode: Mode) -> Vec<Expression> {
    let mut rule = vec![meta(MetaKey::Nfproto), equals(vec![set.protocol])];
    rule.extend([meta(MetaKey::L4Proto), equals(vec![IPPROTO_TCP])]);
    rule.extend([payload(TRANSPORT, 13, 1), masked(vec![SYN | ACK]), equals(vec![SYN])]);
    rule.extend([payload(TRANSPORT, 2, 2), equals(listener.port().to_be_bytes().to_vec())]);
    if !listener.ip().is_unspecified() {
        rule.extend([payload(NETWORK, set.destination, set.length), equals(octets(listener.ip()))]);
    } else if mode == Mode::Explicit {
        // At prerouting, what is only forwarded passes too. (What it costs, the SYNs to our ports alone pay.)
        rule.extend([destination_type(), equals(RTN_LOCAL.to_ne_bytes().to_vec())]);
    }
    rule.push(payload(NETWORK, set.source, set.length));
    if let Some(host @ 1..) = 128_u32.checked_sub(set.prefix.into()).filter(|_| set.length == 16) {
        rule.push(masked((u128::MAX << host).to_be_bytes().to_vec()));
    }
    let lookup = vec![Lookup::Set(set.name.to_owned()), Lookup::SourceRegister(Register::Reg1)];
    rule.extend([Expressions::Lookup(lookup).into(), verdict(Verdict::Goto, Some(DROPPED))]);
    rule
}

fn chain(table: &str, name: &str, hook: Option<InetHookNumber>) -> (NfTablesMessage, u16) {
    let mut attributes = vec![ChainAttribute::Table(table.to_owned()), ChainAttribute::Name(name.to_owned())];
    if let Some(hook) = hook {
        attributes.extend([
            ChainAttribute::Hook(vec![Hook::Number(HookNumber::Inet(hook)), Hook::Priority(PRIORITY.cast_unsigned())]),
            ChainAttribute::Type("filter".to_owned()),
            ChainAttribute::Policy(NF_ACCEPT),
        ]);
    }
    (NfTablesMessage::NewChain(ChainMessage { attributes }), NLM_F_CREATE)
}

fn rule(table: &str, chain: &str, expressions: Vec<Expression>) -> (NfTablesMessage, u16) {
    let attributes = vec![
        RuleAttribute::Table(table.to_owned()),
        RuleAttribute::Chain(chain.to_owned()),
        RuleAttribute::Expressions(expressions),
    ];
    (NfTablesMessage::NewRule(RuleMessage { attributes }), NLM_F_CREATE | NLM_F_APPEND)
}

fn meta(key: MetaKey) -> Expression {
    Expressions::Meta(vec![Meta::Key(key), Meta::DestinationRegister(Register::Reg1)]).into()
}

fn payload(base: u32, offset: u32, length: u32) -> Expression {
    Expressions::Payload(vec![
        Payload::DestinationRegister(Register::Reg1),
        Payload::Base(base),
        Payload::Offset(offset),
        Payload::Len(length),
    ])
    .into()
}

fn masked(mask: Vec<u8>) -> Expression {
    let none = vec![0; mask.len()];
    Expressions::Bitwise(vec![
        Bitwise::SourceRegister(Register::Reg1),
        Bitwise::DestinationRegister(Register::Reg1),
        Bitwise::Length(u32::try_from(mask.len()).unwrap_or(0)),
        Bitwise::Mask(DataAttribute::Value(mask)),
        Bitwise::Xor(DataAttribute::Value(none)),
    ])
    .into()
}

fn equals(value: Vec<u8>) -> Expression {
    Expressions::Cmp(vec![
        Cmp::SourceRegister(Register::Reg1),
        Cmp::Op(Operator::Equal),
        Cmp::Data(DataAttribute::Value(value)),
    ])
    .into()
}

fn verdict(verdict: Verdict, chain: Option<&str>) -> Expression {
    let mut attributes = vec![VerdictAttribute::Code(verdict)];
    attributes.extend(chain.map(|chain| VerdictAttribute::Chain(chain.to_owned())));
    Expressions::Immediate(vec![
        Immediate::DestinationRegister(Register::Verdict),
        Immediate::Data(DataAttribute::Verdict(attributes)),
    ])
    .into()
}

/// `RTN_LOCAL` of `linux/rtnetlink.h`
const RTN_LOCAL: u32 = 2;

/// `fib daddr type`: `NFTA_FIB_DREG`, `NFTA_FIB_RESULT` = address type, `NFTA_FIB_FLAGS` = destination
fn destination_type() -> Expression {
    other("fib", [(1, be32(Register::Reg1.into())), (2, be32(3)), (3, be32(1 << 1))])
}

/// `NFTA_COUNTER_PACKETS` is the second attribute; bytes nobody asks for.
pub(super) const COUNTER_PACKETS: u16 = 2;

/// Counts packets, beginning with this number.
pub(super) fn counter(packets: u64) -> Expression {
    other("counter", [(1, be64(0)), (COUNTER_PACKETS, be64(packets))])
}

/// Ends the rule for as many in a second, after a first burst: `limit rate over 5/second burst 10 packets`.
pub(super) fn unless_over() -> Expression {
    const PER_SECOND: u64 = 5;
    const BURST: u32 = 10;
    // NFTA_LIMIT_RATE, _UNIT in seconds, _BURST, _TYPE = packets, _FLAGS = NFT_LIMIT_F_INV
    other("limit", [(1, be64(PER_SECOND)), (2, be64(1)), (3, be32(BURST)), (4, be32(0)), (5, be32(1))])
}

fn other(name: &str, attributes: impl IntoIterator<Item = (u16, Vec<u8>)>) -> Expression {
    Expressions::Other {
        expression_type: name.to_owned(),
        attributes: attributes.into_iter().map(|(kind, value)| DefaultNla::new(kind, value)).collect(),
    }
    .into()
}

fn be32(value: u32) -> Vec<u8> {
    value.to_be_bytes().to_vec()
}

fn be64(value: u64) -> Vec<u8> {
    value.to_be_bytes().to_vec()
}
