use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use netlink_packet_core::Emitable;
use netlink_packet_netfilter::nftables::{SetElementList, SetElementMessage};
use proptest::collection::{hash_set, vec};
use proptest::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_hours(1);

fn ipv4(bits: u32) -> IpNet {
    IpAddr::from(Ipv4Addr::from_bits(bits)).into()
}

fn ipv6(bits: u64) -> IpNet {
    IpNet::new(Ipv6Addr::from_bits(u128::from(bits) << 64).into(), 64).unwrap()
}

/// The length of an attribute is 16 bits, and what makes messages does not check.
#[test]
fn a_transaction_of_the_longest_elements_can_be_told() {
    let changes: Vec<_> = (0..CHUNK as u64).map(|bits| Change::HalfOpen(ipv6(bits), HOUR)).collect();
    let messages = elements::messages("floodgate_4294967295", &changes, &AHashMap::new());
    let mut whole = 0;
    for (message, _) in &messages {
        whole += message.buffer_len();
        let (NfTablesMessage::NewSetElement(SetElementMessage { attributes })
        | NfTablesMessage::DeleteSetElement(SetElementMessage { attributes })) = message
        else {
            panic!("{message:?}");
        };
        for attribute in attributes {
            assert!(u16::try_from(attribute.buffer_len()).is_ok(), "{}", attribute.buffer_len());
            assert!(
                matches!(attribute, SetElementList::Elements(all) if all.len() == CHUNK) || attribute.buffer_len() < 64
            );
        }
    }
    assert_eq!(messages.len(), 3);
    assert!(whole < 128 * 1024, "{whole}");
}

/// What is sent is read as what is told: elements have the same form in both directions.
#[test]
fn elements_are_read_as_they_are_sent() {
    let counted = [(ipv4(1), 7), (ipv4(2), 8)].into_iter().collect();
    let changes = [Change::Shut(ipv4(1), HOUR), Change::HalfOpen(ipv4(2), HOUR), Change::Shut(ipv4(3), HOUR)];
    let messages = elements::messages(TABLE, &changes, &counted);
    let (message, _) = messages.last().unwrap();
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    let read: Vec<_> = elements::read(&SETS[0], &bytes).collect();
    assert_eq!(read, [(ipv4(1), 7), (ipv4(2), 8), (ipv4(3), 0)]);
}

proptest! {
    #[test]
    fn any_bytes_can_be_read(bytes in vec(any::<u8>(), 0..200)) {
        for set in &SETS {
            elements::read(set, &bytes).for_each(drop);
        }
        elements::counter_in(&bytes);
    }

    #[test]
    fn as_many_fit_as_there_is_room_for(
        members in hash_set(0..400_u32, 0..=200),
        shut in hash_set(0..400_u32, 0..200),
        open in hash_set(0..400_u32, 0..200),
        others in hash_set(any::<u64>(), 0..20),
    ) {
        const SIZE: usize = 200;
        let members: AHashSet<_> = members.into_iter().map(ipv4).collect();
        let mut changes: Vec<_> = open.iter().map(|bits| Change::Open(ipv4(*bits))).collect();
        changes.extend(shut.difference(&open).map(|bits| Change::Shut(ipv4(*bits), HOUR)));
        changes.extend(others.iter().map(|bits| Change::Shut(ipv6(*bits), HOUR)));
        let (fit, left_out) = fit(changes.clone(), &members, SIZE);

        let mut after = members.clone();
        for change in &fit {
            let is_member = if change.is_open() { after.remove(&change.network()) } else { !after.insert(change.network()) };
            prop_assert!(is_member || !change.is_open(), "a stranger is opened");
        }
        let ipv4s = after.iter().filter(|network| network.addr().is_ipv4()).count();
        prop_assert!(ipv4s <= SIZE);
        prop_assert!(left_out.is_empty() || ipv4s == SIZE, "there was room for more");
        prop_assert!(left_out.iter().all(|change| !change.is_open() && !members.contains(&change.network())));
        for change in &changes {
            let is_there = after.contains(&change.network());
            prop_assert_eq!(is_there, !change.is_open() && !left_out.contains(change));
        }
    }
}

#[test]
fn errors_say_what_is_missing() {
    for (code, why) in [
        (libc::EPERM, "it needs CAP_NET_ADMIN (Operation not permitted (os error 1))"),
        (libc::EPROTONOSUPPORT, "the kernel has no nf_tables"),
        (libc::EOPNOTSUPP, "the kernel has no nf_tables"),
        (libc::EINVAL, "Linux 5.12"),
        (libc::ENOENT, "the table is gone"),
        (libc::EIO, "Input/output error"),
    ] {
        let error = explained(io::Error::from_raw_os_error(code));
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(error.kind(), io::Error::from_raw_os_error(code).kind());
    }
}
