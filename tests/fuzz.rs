//! The properties of the fuzz targets (`fuzz/README.md`), on every input of their corpora: no fuzzer, no other toolchain.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

use std::io::Write;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;
use std::{fs, io, panic};

#[path = "../fuzz/properties/mod.rs"]
pub mod properties;

/// Holds every input of a corpus against a property. Some must reach its end, or it says nothing.
fn all_hold(target: &str, holds: fn(&[u8]) -> bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let (mut inputs, mut whole) = (0, 0);
    for entry in fs::read_dir(&folder).expect("a corpus") {
        let path = entry.expect("an entry of the corpus").path();
        let input = fs::read(&path).expect("an input");
        let Ok(end) = panic::catch_unwind(|| holds(&input)) else {
            panic!("{target} does not hold for {}: {}", path.display(), input.escape_ascii())
        };
        whole += usize::from(end);
        inputs += 1;
    }
    // Not `println!`, which the test harness hides.
    writeln!(io::stderr(), "{target}: {inputs} inputs, {whole} to the end").expect("standard error");
    assert!(inputs > 0, "{} is empty", folder.display());
    assert!(whole > 0, "no input of {} gets through {target}", folder.display());
}

#[test]
fn heads() {
    all_hold("head", properties::head::holds);
}

#[test]
fn chunked_bodies() {
    all_hold("chunked", properties::chunked::holds);
}

#[test]
fn messages() {
    all_hold("codec", properties::codec::holds);
}

#[test]
fn policies() {
    all_hold("policy", properties::policy::holds);
}

#[test]
fn captures() {
    all_hold("capture", properties::capture::holds);
}

#[test]
fn segments() {
    all_hold("streams", properties::streams::holds);
}

#[test]
fn pages() {
    all_hold("pages", properties::pages::holds);
}

/// The oracle of the policy reads numbers as this system's resolver does, which is asked nothing that is not a number.
#[test]
fn numbers_are_addresses_to_the_oracle_as_to_the_system() {
    for host in [
        "10.115.5.2",
        "0x0a730502",
        "0XA.0x73.05.2",
        "175310082",
        "10.7537922",
        "10.115.1282",
        "012.0163.05.02",
        "0",
        "127.1",
        "017700000001",
        "0xffffffff",
        "1.2.3.255",
        "1.2.65535",
        "1.16777215",
        "00.00.00.00",
    ] {
        let system = (host, 0).to_socket_addrs().expect("a number").map(|address| address.ip());
        let oracle = properties::policy::inet_aton(host).map(IpAddr::V4);
        assert_eq!(system.collect::<Vec<_>>(), Vec::from_iter(oracle), "{host}");
    }
    for host in [
        "",
        "1.2.3.4.5",
        "256.1.1.1",
        "1.2.3.256",
        "1.16777216",
        "4294967296",
        "08",
        "0x",
        "1.",
        ".1",
        "1..2",
        "+1",
        "0x+1",
        "a",
    ] {
        assert_eq!(properties::policy::inet_aton(host), None, "{host}");
    }
}
