use super::*;

fn network(text: &str) -> IpNet {
    text.parse().unwrap()
}

#[test]
fn the_last_word_counts_and_who_is_opened_comes_first() {
    let [one, two, three] = ["10.0.0.1/32", "10.0.0.2/32", "2001:db8::/64"].map(network);
    let (brief, long) = (Duration::from_secs(1), Duration::from_secs(9));
    let changes = [
        Change::Shut(one, brief),
        Change::Open(three),
        Change::Open(two),
        Change::HalfOpen(two, brief),
        Change::Shut(one, long),
    ];
    let last = [Change::Open(three), Change::Shut(one, long), Change::HalfOpen(two, brief)];
    assert_eq!(last_words(&changes).unwrap(), last);
    assert_eq!(last_words(&[]).unwrap(), []);
}

/// `2001:db8::1/64` and `2001:db8::2/64` are one network.
#[test]
fn a_network_is_one_however_it_is_written() {
    let [one, other] = ["2001:db8::1/64", "2001:db8::2/64"].map(network);
    assert_eq!(last_words(&[Change::Open(one), Change::Open(other)]).unwrap(), [Change::Open(other)]);
}

#[test]
fn no_fence_is_for_ever() {
    let change = Change::Shut(network("10.0.0.1/32"), Duration::ZERO);
    assert_eq!(change.timeout(), Some(LEAST_TIMEOUT));
}

#[test]
fn without_a_listener_there_is_no_socket_filter() {
    let (fence, why_not) = probe(Choice::SocketFilter, &[], &[]);
    assert!(fence.is_none());
    assert_eq!(why_not, ["socket filter: there is no listener to set it on"]);
}
