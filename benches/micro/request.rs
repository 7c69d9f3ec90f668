//! What a request costs before any socket is involved: reading its head, judging it, rewriting it.

use std::hint::black_box;

use criterion::Criterion;
use floodgate::config::Settings;
use floodgate::http1::head::{HeadLimits, Request, Scan};
use floodgate::http1::rewrite;
use floodgate::net::own::OwnAddresses;
use floodgate::proxy::policy::Policy;

const LIMITS: HeadLimits = HeadLimits { size: 16 * 1024, target: 8 * 1024, fields: 100 };

/// The request of the storm: the proxy's own address, a handful of fields.
pub(crate) const SELF_TARGET: &[u8] =
    b"POST http://10.115.5.2/mmtls/00006a5e HTTP/1.1\r\nAccept: */*\r\nCache-Control: no-cache\r\n\
    Connection: close\r\nContent-Length: 0\r\nContent-Type: application/octet-stream\r\nHost: 10.115.5.2\r\n\
    Upgrade: mmtls\r\nUser-Agent: Client\r\n\r\n";

/// A browser's request for a page.
const PAGE: &[u8] = b"GET http://www.example.com/a/path?with=a&query=too HTTP/1.1\r\nHost: www.example.com\r\n\
    Proxy-Connection: keep-alive\r\nUpgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Accept-Encoding: gzip, deflate\r\nAccept-Language: en-GB,en;q=0.9\r\nCookie: session=0123456789abcdef\r\n\r\n";

pub(crate) fn bench(c: &mut Criterion) {
    let settings = Settings::defaults();
    let own = OwnAddresses::new([("10.115.5.2".parse().unwrap(), None)], []);
    let policy = Policy { settings: &settings, own: &own, via: "floodgate-0123456789abcdef" };
    for (name, head) in [("self-target", SELF_TARGET), ("page", PAGE)] {
        c.bench_function(&format!("{name}: find the end"), |b| {
            b.iter(|| Scan::request().advance(black_box(head), LIMITS));
        });
        c.bench_function(&format!("{name}: parse"), |b| b.iter(|| Request::parse(black_box(head), LIMITS)));
        let parsed = Request::parse(head, LIMITS).unwrap();
        c.bench_function(&format!("{name}: judge"), |b| b.iter(|| policy.judge(black_box(&parsed), false)));
        let mut out = Vec::with_capacity(1024);
        c.bench_function(&format!("{name}: rewrite"), |b| {
            b.iter(|| {
                out.clear();
                rewrite::request(&mut out, black_box(&parsed), b"www.example.com", policy.via);
            });
        });
    }
}
