//! What the guard is asked for every connection and request: the limiter, the client book, the table of refusals.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::Criterion;
use floodgate::config::Settings;
use floodgate::guard::{ClientBook, Limiter, Moment};
use floodgate::net::ClientKey;
use floodgate::outcome::{Form, RequestEnd};
use floodgate::telemetry::refusals::Refusals;

const CLIENTS: u32 = 1_000;

fn address(n: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + n % CLIENTS).into()
}

pub(crate) fn bench(c: &mut Criterion) {
    let settings = Settings::defaults();
    let (rate, cap) = (settings.limits.client_request_rate, settings.limits.clients_tracked);
    let mut turn = 0_u32;
    let mut next = move || {
        turn = turn.wrapping_add(7_919);
        address(turn)
    };

    // Empty after its burst: what a client in a storm meets, and the dearer way for nobody.
    let limiter = Limiter::new(rate, cap);
    c.bench_function("limiter: one client over its rate", |b| {
        let client = ClientKey::new(address(1));
        b.iter(|| limiter.allows(black_box(client)));
    });
    c.bench_function("limiter: 1,000 clients in turn", |b| b.iter(|| limiter.allows(ClientKey::new(next()))));
    let full = Limiter::new(rate, 100);
    (0..100).for_each(|n| assert!(full.allows(ClientKey::new(address(n)))));
    c.bench_function("limiter: a stranger, the table being full", |b| {
        let client = ClientKey::new(address(500));
        b.iter(|| full.allows(black_box(client)));
    });

    let (book, now) = (ClientBook::new(65_536), Moment::from_millis(0));
    c.bench_function("client book: come and go", |b| b.iter(|| drop(book.enter(ClientKey::new(next()), now))));

    let refusals = Refusals::new();
    c.bench_function("table of refusals: a known client", |b| {
        b.iter(|| {
            let ip = next();
            refusals.note(ClientKey::new(ip), ip, RequestEnd::SelfTarget, Form::Answered, || {
                Box::from(&b"GET http://10.0.0.1/"[..])
            });
        });
    });
}
