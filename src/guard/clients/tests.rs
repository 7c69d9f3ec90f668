use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::detail::{Act, DETAILED};
use super::{ClientBook, SITE, STRANGERS, Stalled};
use crate::guard::Moment;
use crate::guard::ladder::{Class, Reaction};
use crate::http1::target::Host;
use crate::net::ClientKey;

fn v4(n: u32) -> ClientKey {
    ClientKey::new(Ipv4Addr::from_bits(0x0a00_0000 + n).into())
}

fn v6(site: u128, subnet: u128) -> ClientKey {
    ClientKey::new(Ipv6Addr::from_bits(0x2001 << 112 | site << 80 | subnet << 64 | 1).into())
}

const START: Moment = Moment::from_millis(0);

#[test]
fn seats_are_given_back_and_the_book_empties() {
    let book = ClientBook::new(10);
    let seats: Vec<_> = (0..3).map(|_| book.enter(v4(1), START)).collect();
    let other = book.enter(v4(2), START);
    assert_eq!(seats.iter().map(|seat| seat.place).collect::<Vec<_>>(), [1, 2, 3]);
    let open = || {
        let mut open = Vec::new();
        book.each(|key, client| open.push((key, client.open())));
        open.sort_unstable();
        open
    };
    assert_eq!(open(), [(v4(1), 3), (v4(2), 1)]);
    drop(seats);
    assert_eq!(open(), [(v4(1), 0), (v4(2), 1)]);
    // Who has a connection open is never forgotten.
    let later = Moment::from_millis(10_000_000);
    book.tick(later, |_, _| {});
    assert_eq!(book.tracked(), 1);
    drop(other);
    book.tick(later, |_, _| {});
    assert_eq!((book.tracked(), book.clients.len()), (0, 0));
}

#[test]
fn a_flood_of_clients_does_not_grow_the_book_and_the_known_keep_their_entry() {
    let book = ClientBook::new(100);
    let known = book.find(v4(0), START);
    for n in 0..10_000 {
        drop(book.enter(v4(n), START));
    }
    assert_eq!((book.tracked(), book.clients.len()), (100, 100));
    assert_eq!(book.overflowed(), 9_900);
    assert!(std::sync::Arc::ptr_eq(&known, &book.find(v4(0), START)));
    let strangers = (0..10_000).map(|n| book.find(v4(n), START)).filter(|client| client.key().is_none());
    let mut distinct: Vec<_> = strangers.map(|client| std::sync::Arc::as_ptr(&client)).collect();
    distinct.sort();
    distinct.dedup();
    assert!(distinct.len() <= STRANGERS && distinct.len() > STRANGERS / 2, "{}", distinct.len());
}

#[test]
fn one_site_cannot_fill_the_book() {
    let book = ClientBook::new(10_000);
    for subnet in 0..5_000 {
        drop(book.enter(v6(1, subnet), START));
    }
    let of_the_site = usize::try_from(SITE).unwrap() + 1;
    assert_eq!(book.tracked(), of_the_site, "one for each of the first, one for all others");
    assert_eq!(book.find(v6(1, 4_999), START).key(), v6(1, 0).site());
    assert_eq!(book.find(v6(2, 0), START).key(), Some(v6(2, 0)), "other sites are not concerned");
    let later = Moment::from_millis(10_000_000);
    book.tick(later, |_, _| {});
    assert_eq!((book.tracked(), book.sites.len()), (0, 0));
}

#[test]
fn rates_are_of_the_last_tick_and_progress_is_remembered() {
    let book = ClientBook::new(10);
    let client = book.find(v4(1), START);
    for _ in 0..50 {
        drop(book.enter(v4(1), START));
        client.asked();
        client.refused(Class::Malformed, START);
    }
    client.moved(1_000);
    let two_seconds = Moment::from_millis(2_000);
    book.tick(two_seconds, |_, rates| {
        assert_eq!((rates.arrivals, rates.requests, rates.refusals, rates.moved), (25, 25, 25, 1_000));
        assert_eq!(rates.progress, Some(two_seconds));
        assert_eq!(rates.stalled, Some((Class::Malformed, START)));
    });
    let third = Moment::from_millis(3_000);
    book.tick(third, |_, rates| {
        assert_eq!((rates.arrivals, rates.refusals, rates.progress), (0, 0, Some(two_seconds)));
    });
}

#[test]
fn a_client_is_stalled_in_one_class_and_not_in_another() {
    let book = ClientBook::new(10);
    let client = book.find(v4(1), START);
    let stalled = (0..100).filter(|_| client.refused(Class::SelfTarget, START) != Reaction::Answer).count();
    assert_eq!(stalled, 91);
    assert_eq!(client.refused(Class::Denied, START), Reaction::Answer);
    assert_eq!(client.stalled_in(START), [(Class::SelfTarget, START)]);
    assert_eq!((client.refusals(Class::SelfTarget), client.stalled()), (100, 91));
    let [own, malformed, ..] = client.rungs(START);
    let minute = START.after(Duration::from_mins(1));
    assert_eq!(own.stalled, Some(Stalled { since: START, until: minute, trial: minute }));
    assert_eq!((own.class, own.refusals, own.last), (Class::SelfTarget, 100, Some(START)));
    assert_eq!(
        (malformed.class, malformed.refusals, malformed.last, malformed.stalled),
        (Class::Malformed, 0, None, None)
    );
    assert!(client.rungs(minute).iter().all(|rung| rung.stalled.is_none()), "it is quiet");
}

#[test]
fn of_what_was_done_the_latest_is_kept() {
    let book = ClientBook::new(10);
    let acts = |n: u32| book.known(v4(n)).unwrap().detail().map(|seen| seen.acts);
    drop(book.find(v4(2), START));
    book.acted(v4(2), Act::HalfOpened, START);
    book.acted(v4(3), Act::HalfOpened, START);
    assert_eq!(acts(2), None, "it never climbed");
    let client = book.find(v4(1), START);
    for _ in 0..30 {
        client.refused(Class::SelfTarget, START);
    }
    assert_eq!(acts(1).unwrap(), [(START, Act::Stalled(Class::SelfTarget))], "once, and not for each that is stalled");
    for ms in 1..100 {
        book.acted(v4(1), Act::FencedAgain, Moment::from_millis(ms));
    }
    let kept: Vec<_> = acts(1).unwrap().into_iter().map(|(at, _)| at.millis()).collect();
    assert_eq!(kept, (84..100).collect::<Vec<_>>());
}

#[test]
fn heads_are_counted_until_they_are_heard_and_never_twice() {
    let book = ClientBook::new(10);
    let mut seats: Vec<_> = (0..3).map(|n| book.enter(v4(n / 2), START)).collect();
    assert_eq!((seats[0].client.heads(), seats[2].client.heads(), book.heads()), (2, 1, 3));
    seats[0].heard();
    seats[0].heard();
    assert_eq!((seats[0].client.heads(), book.heads()), (1, 2));
    seats.clear();
    assert_eq!((book.heads(), book.find(v4(0), START).heads()), (0, 0));
}

#[test]
fn what_one_client_has_under_way_is_limited_and_given_back() {
    let book = ClientBook::new(10);
    let client = book.find(v4(1), START);
    let places: Vec<_> = (0..5).map(|_| client.opens(3)).collect();
    assert_eq!(places.iter().flatten().count(), 3);
    assert_eq!((client.opening(), client.asking()), (3, 0));
    assert!(client.asks(1).is_some());
    drop(places);
    assert_eq!((client.opening(), client.asking()), (0, 0));
}

#[test]
fn detail_is_kept_of_those_who_climb_and_of_no_more_than_there_are_places_for() {
    let book = ClientBook::new(1_000);
    let storms = |n: u32| {
        let client = book.find(v4(n), START);
        for _ in 0..30 {
            client.refused(Class::SelfTarget, START);
        }
        client
    };
    let dead = |n: u16| (Host::Name("dead.test".into()), n);
    let calm = book.find(v4(0), START);
    calm.refused(Class::SelfTarget, START);
    calm.failed_on(&dead(1).0, 1);
    calm.sample(b"GET / HTTP/1.1");
    assert_eq!((calm.detail(), book.details().taken()), (None, 0));
    let client = storms(1);
    for port in [1, 1, 2, 3, 4, 5, 1, 6] {
        client.failed_on(&dead(port).0, port);
    }
    book.sample(v4(1), b"GET http://10.0.0.1/ HTTP/1.1");
    book.sample(v4(1), b"another");
    for after in [0, 0, 9, 99, 299, 300, 999, 4_999, 5_000, 60_000] {
        client.refused(Class::SelfTarget, START);
        drop(book.enter(v4(1), Moment::from_millis(after)));
        // Only the first connection after a refusal tells how long it took.
        drop(book.enter(v4(1), Moment::from_millis(after + 1)));
    }
    let seen = client.detail().unwrap();
    assert_eq!(seen.gaps, [2, 1, 1, 1, 2, 1, 2]);
    assert_eq!(seen.sample.as_deref(), Some(&b"GET http://10.0.0.1/ HTTP/1.1"[..]));
    let kept = seen.destinations.iter().flatten().map(|(_, port, count)| (*port, *count));
    assert_eq!(kept.collect::<Vec<_>>(), [(1, 3), (2, 1), (3, 1), (4, 1)]);
    assert_eq!(seen.others, 2);
    drop((calm, client));
    for n in 2..400 {
        drop(storms(n));
    }
    let with_detail = (1..400).filter(|n| book.known(v4(*n)).unwrap().detail().is_some()).count();
    assert_eq!((with_detail, book.details().taken()), (DETAILED, DETAILED));
    assert!(book.details().turned_away() > 0);
    book.tick(Moment::from_millis(100_000_000), |_, _| {});
    assert_eq!((book.tracked(), book.details().taken()), (0, 0), "it goes with the client");
}
