//! A whole refusal over loopback, client included: connect, request, 403, close. Mostly the kernel's work.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use criterion::Criterion;
use floodgate::config::Settings;
use floodgate::gateway::Gateway;

use crate::request::SELF_TARGET;

fn refused(proxy: SocketAddr, request: &[u8]) {
    let mut stream = TcpStream::connect(proxy).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = [0; 1024];
    let n = stream.read(&mut answer).unwrap();
    assert!(answer[..n].starts_with(b"HTTP/1.1 403 "));
}

pub(crate) fn bench(c: &mut Criterion) {
    let text = "[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\ntoken-file = \"\"\n[runtime]\nworkers = 1\n\
                [self]\naliases = [\"10.115.5.2\"]\n\
                [limits]\nclient-connection-rate = \"1000000/s, burst 1000000\"\n\
                client-request-rate = \"1000000/s, burst 1000000\"\n";
    let gateway = Gateway::start(Settings::from_toml(text).unwrap()).unwrap();
    let proxy = gateway.listeners[0];
    c.bench_function("refusal over loopback", |b| b.iter(|| refused(proxy, SELF_TARGET)));
    drop(gateway);
}
