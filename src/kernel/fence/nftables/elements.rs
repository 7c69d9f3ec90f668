//! Changes as messages about set elements, and what the kernel tells of them. Pure.

use ahash::AHashMap;
use ipnet::IpNet;
use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_netfilter::nftables::{
    ListAttribute, NfTablesMessage, SetElementAttribute, SetElementList, SetElementMessage,
};

use super::super::Change;
use super::nfnetlink::{attribute, attributes};
use super::ruleset::{self, SETS, Set};

/// The messages that make these changes, with their flags; counters go on where they were `counted`.
///
/// They add, delete and add again: so the first always finds nothing to complain of, the second always something to delete,
/// and the third begins time and kind anew, which for an element that exists kernels before 6.12 do not.
pub(super) fn messages(table: &str, changes: &[Change], counted: &AHashMap<IpNet, u64>) -> Vec<(NfTablesMessage, u16)> {
    let mut messages = Vec::new();
    for set in &SETS {
        let of_set = || changes.iter().filter(|change| set.takes(change.network()));
        if of_set().next().is_none() {
            continue;
        }
        let bare = || of_set().map(|change| vec![SetElementAttribute::Key(ruleset::key(change.network()))]);
        messages.push((NfTablesMessage::NewSetElement(message(table, set, bare())), NLM_F_CREATE));
        messages.push((NfTablesMessage::DeleteSetElement(message(table, set, bare())), 0));
        let mut whole = of_set().filter_map(|change| element(*change, counted)).peekable();
        if whole.peek().is_some() {
            messages.push((NfTablesMessage::NewSetElement(message(table, set, whole)), NLM_F_CREATE));
        }
    }
    messages
}

/// The question for all elements of a set.
pub(super) fn all_of(table: &str, set: &Set) -> NfTablesMessage {
    NfTablesMessage::GetSetElement(message(table, set, std::iter::empty()))
}

/// The networks in a message about elements, and how many SYNs of each have been dropped.
pub(super) fn read(set: &Set, message: &[u8]) -> impl Iterator<Item = (IpNet, u64)> {
    attributes(attribute(message, NFTA_SET_ELEM_LIST_ELEMENTS)).filter_map(|(_, element)| {
        let key = attribute(attribute(element, NFTA_SET_ELEM_KEY), NFTA_DATA_VALUE);
        // One expression has an attribute of its own, several have a list.
        let packets = packets(attribute(element, NFTA_SET_ELEM_EXPR));
        let packets = packets.unwrap_or_else(|| counter_in(attribute(element, NFTA_SET_ELEM_EXPRESSIONS)));
        Some((set.network(key)?, packets))
    })
}

/// What the counter among these expressions has counted.
pub(super) fn counter_in(expressions: &[u8]) -> u64 {
    attributes(expressions).find_map(|(_, expression)| packets(expression)).unwrap_or(0)
}

fn message(table: &str, set: &Set, elements: impl Iterator<Item = Vec<SetElementAttribute>>) -> SetElementMessage {
    SetElementMessage {
        attributes: vec![
            SetElementList::Table(table.to_owned()),
            SetElementList::Set(set.name.to_owned()),
            SetElementList::Elements(elements.map(ListAttribute::Element).collect()),
        ],
    }
}

/// What is in the set after a change, if anything.
fn element(change: Change, counted: &AHashMap<IpNet, u64>) -> Option<Vec<SetElementAttribute>> {
    let network = change.network();
    let counter = ruleset::counter(counted.get(&network.trunc()).copied().unwrap_or(0));
    let expressions = match change {
        Change::Open(_) => return None,
        Change::Shut(..) => vec![counter],
        Change::HalfOpen(..) => vec![ruleset::unless_over(), counter],
    };
    Some(vec![
        SetElementAttribute::Key(ruleset::key(network)),
        SetElementAttribute::Timeout(u64::try_from(change.timeout()?.as_millis()).unwrap_or(u64::MAX)),
        SetElementAttribute::ListExpressions(expressions),
    ])
}

// Attributes of linux/netfilter/nf_tables.h
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_EXPR: u16 = 7;
const NFTA_SET_ELEM_EXPRESSIONS: u16 = 11;

/// Of a counter what it counted.
fn packets(expression: &[u8]) -> Option<u64> {
    (attribute(expression, NFTA_EXPR_NAME) == b"counter\0").then_some(())?;
    let packets = attribute(attribute(expression, NFTA_EXPR_DATA), ruleset::COUNTER_PACKETS);
    packets.first_chunk().map(|packets| u64::from_be_bytes(*packets))
}
