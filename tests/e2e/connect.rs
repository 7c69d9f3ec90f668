//! Tunnels under load, and how they end. What RFC 9110 section 9.3.6 asks of CONNECT is in `conformance`.

use std::io::{Read, Write};
use std::thread;

use floodgate::outcome::RequestEnd;

use crate::rig::{Client, Origin, Rig, eventually};

#[test]
fn a_megabyte_each_way_at_once_arrives_unchanged() {
    let origin = Origin::echo();
    let rig = Rig::new(&[origin.address]);
    let mut client = rig.tunnel(origin.address);
    let sent: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut writer = Client(client.0.try_clone().unwrap());
    let copy = sent.clone();
    let writing = thread::spawn(move || {
        writer.send(&copy);
        writer.half_close();
    });
    let mut back = Vec::new();
    client.0.read_to_end(&mut back).unwrap();
    writing.join().unwrap();
    assert!(back == sent, "{} of {} bytes", back.len(), sent.len());
    drop(client);
    rig.settled();
}

#[test]
fn a_side_that_breaks_is_shown_to_the_other_as_broken() {
    let origin = Origin::scripted(|_, mut stream, _| {
        stream.write_all(b"half").unwrap();
        stream.read_exact(&mut [0; 1]).unwrap();
        // Unread input turns the close into a reset.
    });
    let rig = Rig::new(&[origin.address]);
    let mut client = rig.tunnel(origin.address);
    assert_eq!(client.exactly(4), b"half");
    client.send("two bytes or more");
    let end = client.0.read(&mut [0; 1]);
    assert!(end.is_err(), "a clean end would pass the half for the whole: {end:?}");
    rig.settled();
}

#[test]
fn idle_and_half_closed_tunnels_end_by_one_clock() {
    let origin = Origin::scripted(|_, mut stream, _| {
        // Talks for a while, one way, then only waits.
        for _ in 0..8 {
            stream.write_all(b"tick").unwrap();
            thread::sleep(std::time::Duration::from_millis(150));
        }
        let _ = stream.read(&mut [0; 16]);
    });
    let rig = Rig::with(&[origin.address], "[timeouts]\ntunnel-idle = \"1s\"\nhalf-closed = \"1s\"");
    let mut client = rig.tunnel(origin.address);
    assert_eq!(client.exactly(32), b"tick".repeat(8), "longer than the idle time, but never idle");
    eventually("the idle tunnel is closed", || rig.open() == 0);
    drop(client);
    rig.settled();
    assert_eq!(rig.ends(RequestEnd::Stalled), 1);
}
