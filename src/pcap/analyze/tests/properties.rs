//! Whatever is told, in whatever order and at whatever times: nothing panics, and the figures agree with each other.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{End, PROXY, Scene, Side, Talk, Time, connect, get};

/// One thing that happens: to whom, what, and when in nanoseconds.
type Event = (u8, u8, u8, u64);

const CLIENTS: [&str; 4] = ["10.1.1.1", "10.115.5.2", "::ffff:10.1.1.1", "fd00::1"];
const SERVERS: [&str; 4] = [PROXY, "10.115.5.2:80", "203.0.113.80:80", "[fd00::1]:3128"];
const ENDS: [End; 6] = [
    End::Finished(Side::Client),
    End::Finished(Side::Server),
    End::Reset(Side::Client),
    End::Reset(Side::Server),
    End::Open,
    End::Evicted,
];

fn heads() -> [String; 8] {
    [
        get("http://10.115.5.2/"),
        get("http://203.0.113.80/"),
        get("http://www.example.com/"),
        connect("www.example.org:443"),
        connect("0x0a730502:1"),
        "GET / HTTP/1.1\r\nHost: 10.115.5.2\r\n\r\n".into(),
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n".into(),
        "\u{0} http://[::1 x\r\nHost: @%\r\n\r\n".into(),
    ]
}

fn pick<T>(all: &[T], by: u8) -> &T {
    &all[usize::from(by) % all.len()]
}

fn play(told: &[&str], events: &[Event]) -> Scene {
    let mut scene = Scene::told(told);
    let mut open: Vec<Talk> = Vec::new();
    let heads = heads();
    for &(what, whom, how, nanos) in events {
        let at = nanos / 1_000;
        let place = usize::from(whom) % open.len().max(1);
        match what % 6 {
            0 | 1 => {
                let mut talk = scene.call(0, pick::<&str>(&CLIENTS, whom), pick::<&str>(&SERVERS, how));
                // Again, under another number and at another time: as a stranger would.
                talk.conversation.number += 1_000_000;
                talk.conversation.opened = Time(nanos);
                talk.conversation.accepted = how & 8 == 0;
                talk.conversation.midstream = how & 16 == 0;
                super::Witness::opened(&mut scene.gatherer, &talk.conversation);
                open.push(talk);
            }
            2 | 3 => {
                if let Some(talk) = open.get_mut(place) {
                    scene.ask(talk, at, pick::<String>(&heads, how));
                }
            }
            4 => {
                if let Some(talk) = open.get_mut(place).filter(|talk| talk.answered < talk.asked) {
                    scene.answer(talk, at, 100 + u16::from(how) * 2, how & 1 == 0);
                }
            }
            _ if !open.is_empty() => {
                let talk = open.swap_remove(place);
                scene.close(talk, at, *pick(&ENDS, how));
            }
            _ => {}
        }
    }
    scene
}

proptest! {
    #[test]
    fn the_figures_agree(
        told in any::<bool>(),
        events in vec(any::<(u8, u8, u8)>().prop_flat_map(|(what, whom, how)| {
            // Mostly a minute; now and then any time at all.
            (Just(what), Just(whom), Just(how), prop_oneof![9 => 0..60_000_000_000_u64, 1 => 0..u64::MAX / 2_000])
        }), 0..300),
    ) {
        let scene = play(if told { &["10.115.5.2"] } else { &[] }, &events);
        let findings = scene.findings();
        prop_assert!(!findings.verdicts.is_empty());
        prop_assert!(findings.proxies.iter().map(|proxy| proxy.requests).sum::<u64>() <= findings.requests);
        for proxy in &findings.proxies {
            let forms = proxy.by_form.iter().map(|(_, count)| count).sum::<u64>();
            let methods = proxy.by_method.iter().map(|(_, count)| count).sum::<u64>();
            let statuses = proxy.statuses.iter().map(|(_, count)| count).sum::<u64>();
            prop_assert_eq!((forms, methods, statuses), (proxy.requests, proxy.requests, proxy.answers.answered));
            let connections = &proxy.connections;
            let ended = connections.refused + connections.unanswered + connections.silent;
            prop_assert!(ended <= connections.total && connections.peak <= connections.total);
            prop_assert!(proxy.onward.to_own_proxy <= proxy.onward.to_itself);
            prop_assert!(proxy.onward.to_itself <= proxy.onward.connections);
            prop_assert!(proxy.self_target.iter().map(|one| one.count).sum::<u64>() <= proxy.requests);
            for storm in &proxy.storms {
                prop_assert!(storm.attempts >= 20 && storm.attempts <= storm.of && storm.peak_per_s <= storm.attempts);
                prop_assert!((0.0..=1.0).contains(&storm.same_request));
                let gaps = storm.gap.as_ref().map_or(0, |gap| gap.count);
                prop_assert!(gaps < storm.attempts);
            }
        }
    }
}
