//! Seconds, and what is wrong with them.

use std::sync::Arc;
use std::time::Duration;

use super::{Judge, Thresholds};
use crate::alarm::facts::{Facts, Failing, Failure, Fenced, Patience, Refused, Reload, Undelivered};
use crate::alarm::{Alarm, Sample, Sighting};
use crate::guard::Moment;
use crate::guard::fence::Row;
use crate::guard::fence::book::{Event, Offence, Why};
use crate::guard::ladder::Class;
use crate::guard::pressure::{Forecast, Level, Report};
use crate::kernel::view::{Absent, CpuShares, Disk, KernelView, Slab, Sockets};
use crate::net::ClientKey;
use crate::outcome::RequestEnd;

fn key(address: &str) -> ClientKey {
    ClientKey::new(address.parse().unwrap())
}

fn refused(client: &str, end: RequestEnd, count: u64, stalled: bool) -> Refused {
    let request_line = Box::from(&b"GET http://10.115.5.2/ HTTP/1.1"[..]);
    Refused { client: key(client), address: client.parse().unwrap(), end, count, stalled, request_line }
}

/// A judge and its clock.
#[derive(Default)]
struct World {
    judge: Judge,
    thresholds: Thresholds,
    /// Milliseconds.
    now: u64,
}

impl World {
    fn second(&mut self, facts: &Facts) -> Vec<Sighting> {
        self.now += 1_000;
        self.judge.judge(facts, &self.thresholds, Moment::from_millis(self.now))
    }

    /// After how many seconds of this the alarm is seen first, and how; `None` if not within ten minutes.
    fn after(&mut self, alarm: Alarm, facts: &Facts) -> Option<(u32, Sighting)> {
        (1..600).find_map(|second| {
            let seen = self.second(facts).into_iter().find(|sighting| sighting.alarm == alarm)?;
            Some((second, seen))
        })
    }
}

fn value<'a>(sighting: &'a Sighting, name: &str) -> &'a str {
    sighting.values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
}

fn alarms(seen: &[Sighting]) -> Vec<Alarm> {
    seen.iter().map(|sighting| sighting.alarm).collect()
}

#[test]
fn who_asks_for_the_box_itself_again_and_again_storms() {
    let mut world = World::default();
    let seen = world.second(&Facts {
        refused: vec![
            refused("10.0.0.1", RequestEnd::SelfTarget, 3, false),
            refused("10.0.0.2", RequestEnd::SelfTarget, 1, true),
            refused("10.0.0.3", RequestEnd::SelfTarget, 1_272, true),
            refused("10.0.0.4", RequestEnd::PortDenied, 5_000, true),
            refused("10.0.0.5", RequestEnd::DestinationFailing, 5_000, true),
        ],
        ..Facts::default()
    });
    let told: Vec<_> = seen.iter().map(|seen| (seen.alarm, seen.subject.as_str(), seen.count)).collect();
    let storm = Alarm::SelfTargetStorm;
    assert_eq!(told, [(storm, "10.0.0.3", 1_272), (storm, "10.0.0.2", 1)], "the worst first");
    assert_eq!((value(&seen[0], "client"), value(&seen[0], "rate")), ("10.0.0.3", "1,273"), "the rate of both");
    let sample = seen[0].sample.as_ref().unwrap();
    assert_eq!(sample.client, "10.0.0.3".parse().ok());
    assert_eq!(&*sample.request_line, b"GET http://10.115.5.2/ HTTP/1.1");
    // A poll, once a second, is none, however long it goes on.
    let poll = Facts { refused: vec![refused("10.0.0.6", RequestEnd::SelfTarget, 1, false)], ..Facts::default() };
    assert_eq!(World::default().after(storm, &poll), None);
}

#[test]
fn a_storm_stands_until_it_has_become_rare() {
    let mut world = World::default();
    let storm = Facts { refused: vec![refused("10.0.0.1", RequestEnd::SelfTarget, 100, false)], ..Facts::default() };
    assert_eq!(world.second(&storm)[0].count, 100);
    // One that waits for its time-out of five seconds comes twice in ten.
    let one = Facts { refused: vec![refused("10.0.0.1", RequestEnd::SelfTarget, 1, false)], ..Facts::default() };
    let counts: Vec<_> = (1..=25)
        .map(|second| {
            let facts = if second % 3 == 0 { one.clone() } else { Facts::default() };
            world.second(&facts).first().map(|seen| seen.count)
        })
        .collect();
    assert!(counts.iter().all(Option::is_some), "{counts:?}");
    assert_eq!(counts[..3], [Some(0), Some(0), Some(1)]);
    let rest: Vec<_> = (0..20).map(|_| world.second(&Facts::default()).len()).collect();
    assert!(rest[0] == 1 && rest[9..].iter().all(|seen| *seen == 0), "{rest:?}");
}

#[test]
fn who_comes_back_too_fast_or_with_nonsense_storms_too() {
    let mut world = World::default();
    let seen = world.second(&Facts {
        refused: vec![
            refused("10.0.0.1", RequestEnd::Malformed, 6, false),
            refused("10.0.0.1", RequestEnd::RateLimited, 7, false),
            refused("10.0.0.2", RequestEnd::HeadTooLarge, 9, false),
        ],
        ..Facts::default()
    });
    let told: Vec<_> = seen.iter().map(|seen| (seen.alarm, seen.subject.as_str(), seen.count)).collect();
    assert_eq!(told, [(Alarm::ReconnectStorm, "10.0.0.1", 13)]);
    assert_eq!(value(&seen[0], "reason"), "over_limit", "most of it");
}

#[test]
fn a_flood_of_clients_takes_no_more_room_than_there_is() {
    let mut world = World::default();
    for second in 0..20_u32 {
        let refused = (0..4_096).map(|n: u32| {
            let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + second * 4_096 + n);
            refused(&address.to_string(), RequestEnd::SelfTarget, 10, false)
        });
        let seen = world.second(&Facts { refused: refused.collect(), ..Facts::default() });
        let counted: u64 = seen.iter().map(|seen| seen.count).sum();
        assert_eq!(counted, 40_960, "in second {second}");
        assert!(seen.len() <= 1_025, "{}", seen.len());
    }
}

fn row(client: &str, world: &World) -> Row {
    let now = Moment::from_millis(world.now);
    Row {
        client: key(client),
        since: now,
        until: now.after(Duration::from_mins(1)),
        half_open: false,
        reason: Class::SelfTarget,
        syns: Some(5_000),
        times: 1,
    }
}

#[test]
fn who_is_kept_out_is_told_until_it_is_let_in() {
    let mut world = World::default();
    let client = key("10.0.0.1");
    let fenced = Fenced {
        row: row("10.0.0.1", &world),
        until: "14:31:07".to_owned(),
        request_line: Some(Box::from(&b"GET /"[..])),
    };
    let begun = Event::Fenced(Offence {
        client,
        reason: Class::SelfTarget,
        arrivals: 412,
        stalled: Duration::from_secs(5),
        lasts: Duration::from_mins(1),
        times: 1,
    });
    let facts = Facts { fenced: vec![fenced.clone()], fence_events: vec![begun], ..Facts::default() };
    let seen = world.second(&facts);
    assert_eq!((seen.len(), seen[0].alarm, seen[0].subject.as_str()), (1, Alarm::ClientFenced, "10.0.0.1"));
    let told = ["client", "rate", "reason", "until", "syns"].map(|name| value(&seen[0], name));
    assert_eq!(told, ["10.0.0.1", "412", "self_target", "14:31:07", "5,000"]);
    assert!(seen[0].sample.is_some());
    let seen = world.second(&Facts { fenced: vec![fenced], ..Facts::default() });
    assert_eq!(value(&seen[0], "rate"), "412", "it is remembered");
    let over = Event::Released { client, why: Why::Quiet, syns: Some(9), after: Duration::from_mins(2) };
    let seen = world.second(&Facts { fence_events: vec![over], ..Facts::default() });
    assert_eq!((seen.len(), value(&seen[0], "why")), (1, "it has stopped"));
    assert_eq!(world.second(&Facts::default()), []);
}

#[test]
fn a_fence_that_does_not_help_is_told_and_one_that_cannot_be_built_when_it_is_needed() {
    let mut world = World::default();
    let clients = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"].map(key).to_vec();
    let vain = Event::InVain { clients, before: 1_500, after: 1_400 };
    let seen = world.second(&Facts { fence_events: vec![vain], ..Facts::default() });
    assert_eq!(alarms(&seen), [Alarm::FenceUseless]);
    assert_eq!(value(&seen[0], "why"), "10.0.0.1, 10.0.0.2, 10.0.0.3, …: 1,500 -> 1,400 SYN/s");
    let missing = |count| Facts {
        refused: vec![refused("10.0.0.1", RequestEnd::Malformed, count, true)],
        no_fence: Some("nftables: EPERM".to_owned()),
        ..Facts::default()
    };
    assert_eq!(alarms(&world.second(&missing(99))), [Alarm::ReconnectStorm]);
    let seen = world.second(&missing(100));
    assert_eq!(alarms(&seen), [Alarm::FenceUseless, Alarm::ReconnectStorm]);
    assert_eq!(value(&seen[0], "why"), "nftables: EPERM");
}

/// A kernel of which so much of everything is used, in percent.
fn used(percent: u64) -> Facts {
    let gigabyte = 1 << 30;
    let kernel = KernelView {
        slab: vec![("TCP", Slab { objects: 1, bytes: gigabyte / 100 * 15 / 100 * percent })],
        sockets: Sockets { orphan: Some(percent * 10), time_wait: Some(percent * 100), ..Sockets::default() },
        orphan_limit: Some(1_000),
        time_wait_limit: Some(10_000),
        tcp_memory: Some(gigabyte / 100 * percent),
        tcp_memory_limits: Some([1, 2, gigabyte]),
        ram: Some(gigabyte),
        ephemeral_ports: Some(28_200),
        descriptors: Some(percent * 5),
        descriptor_limit: Some(500),
        memory_available: Some(gigabyte / 100 * (100 - percent)),
        conntrack: Some((percent * 20, 2_000)),
        ..KernelView::default()
    };
    #[expect(clippy::cast_precision_loss, reason = "a percentage")]
    let signals = vec![("tcp_memory", percent as f64 / 100.0)];
    Facts {
        kernel: Arc::new(kernel),
        report: Arc::new(Report { signals, ..Report::default() }),
        busiest: Some(("192.0.2.7:443".parse().unwrap(), percent * 282)),
        ..Facts::default()
    }
}

#[test]
fn limits_are_told_of_before_they_are_reached() {
    let limits = [
        (Alarm::Slab, "112.1 MiB", "153.6 MiB"),
        (Alarm::TcpMemory, "747.5 MiB", "1.0 GiB"),
        (Alarm::Orphans, "430", "1,000"),
        (Alarm::TimeWait, "8,300", "10,000"),
        (Alarm::Descriptors, "415", "500"),
        (Alarm::Ports, "21,996", "28,200"),
        (Alarm::Conntrack, "1,660", "2,000"),
        (Alarm::Memory, "952.3 MiB", "1.0 GiB"),
    ];
    for (alarm, told_used, told_limit) in limits {
        let terms = super::terms::terms(alarm);
        let (fire, clear) = (terms.fire.unwrap() * 100.0, terms.clear.unwrap() * 100.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a percentage")]
        let [above, between, below] = [fire + 3.0, f64::midpoint(fire, clear), clear - 1.0].map(|p| p as u64);
        let mut world = World::default();
        assert_eq!(world.after(alarm, &used(between)), None, "{alarm:?}");
        let (after, seen) = world.after(alarm, &used(above)).unwrap();
        // From the first second on it holds; a jump is a steep slope, and makes no difference of a second.
        assert_eq!(u64::from(after), terms.hold.as_secs() + 1, "{alarm:?}");
        assert_eq!((seen.count, value(&seen, "used"), value(&seen, "limit")), (1, told_used, told_limit), "{alarm:?}");
        assert_eq!(seen.subject, if alarm == Alarm::Ports { "192.0.2.7:443" } else { "" });
        let goes_on = |facts: &Facts, world: &mut World| world.second(facts).iter().any(|seen| seen.alarm == alarm);
        assert!(goes_on(&used(between), &mut world), "{alarm:?}");
        assert!(!goes_on(&used(below), &mut world), "{alarm:?}");
        // What is not known is no alarm.
        assert!(!goes_on(&Facts::default(), &mut world), "{alarm:?}");
    }
}

#[test]
fn what_will_run_out_within_two_minutes_is_told_at_half_of_it() {
    let mut world = World::default();
    // From 20 % on, one percent a second: 100 % is reached after 80 s.
    let seen = (0..80).find_map(|second| {
        let seen = world.second(&used(20 + second));
        let orphans = seen.into_iter().find(|seen| seen.alarm == Alarm::Conntrack)?;
        Some((second, orphans))
    });
    let (second, seen) = seen.unwrap();
    // 40 % of it at second 20, and 5 s more; without a forecast it would be second 65.
    assert_eq!(second, 25);
    assert_eq!((value(&seen, "used"), value(&seen, "percent"), value(&seen, "forecast")), ("900", "45%", "55 s"));
}

#[test]
fn pressure_is_told_with_what_drives_it() {
    let mut world = World::default();
    let facts = Facts {
        level: Level::High,
        report: Arc::new(Report {
            signals: vec![("slab", 0.2), ("orphans", 0.74)],
            driver: Some("orphans"),
            forecast: Some(Forecast { signal: "orphans", seconds: 240.0 }),
        }),
        ..Facts::default()
    };
    let after = (1..60).find(|_| world.second(&facts).iter().any(|seen| seen.count > 0)).unwrap();
    let seen = world.second(&facts).pop().unwrap();
    let told = ["level", "signal", "used", "forecast"].map(|name| value(&seen, name));
    assert_eq!((after, told), (11, ["2", "orphans", "74%", "4 min"]));
    let levels = |seen: &[Sighting]| -> Vec<(String, u64)> {
        seen.iter().map(|seen| (seen.subject.clone(), seen.count)).collect()
    };
    let level = |level| Facts { level, ..facts.clone() };
    let told = |levels: &[(&str, u64)]| -> Vec<_> { levels.iter().map(|(of, n)| ((*of).to_owned(), *n)).collect() };
    assert_eq!(levels(&world.second(&facts)), told(&[("1", 0), ("2", 1)]), "level 1 goes on, and is not begun with");
    let rises: Vec<_> = (0..11).map(|_| levels(&world.second(&level(Level::Critical)))).collect();
    assert_eq!(rises[0], told(&[("1", 0), ("2", 0)]));
    assert_eq!(rises[10], told(&[("1", 0), ("2", 0), ("3", 1)]), "it is told when it has held");
    assert_eq!(levels(&world.second(&level(Level::Elevated))), told(&[("1", 1)]));
    assert_eq!(world.second(&Facts::default()), []);
}

#[test]
fn handshakes_that_are_lost_are_told_after_three_seconds() {
    let mut facts = Facts::default();
    facts.counts.listen_drops = Some(5);
    let (after, seen) = World::default().after(Alarm::ListenOverflows, &facts).unwrap();
    assert_eq!((after, seen.count, value(&seen, "rate")), (4, 20, "5"), "with those of the seconds before");
    facts.counts.listen_drops = Some(4);
    assert_eq!(World::default().after(Alarm::ListenOverflows, &facts), None);
}

fn failure(end: RequestEnd, subject: &str, count: u64) -> Failure {
    let upstream = "203.0.113.7:443".parse().ok();
    Failure { end, count, sample: Sample { upstream, ..Sample::default() }, subject: subject.to_owned() }
}

#[test]
fn failures_are_told_when_they_go_on_with_the_destination_that_fails_most() {
    let ends = [
        (RequestEnd::DnsFailure, Alarm::DnsFailure, 10, ""),
        (RequestEnd::DnsTimeout, Alarm::DnsTimeout, 5, "5 s"),
        (RequestEnd::ConnectTimeout, Alarm::ConnectTimeout, 10, "4 s"),
        (RequestEnd::FirstByteTimeout, Alarm::ResponseTimeout, 10, "8 s"),
        (RequestEnd::UpstreamMalformed, Alarm::InvalidResponse, 10, ""),
    ];
    for (end, alarm, hold, limit) in ends {
        let mut facts = Facts {
            failures: vec![
                failure(end, "a.example:443", 1),
                failure(end, "b.example:443", 2),
                failure(RequestEnd::UpstreamReset, "c.example:443", 9),
            ],
            patience: Patience {
                dns: Duration::from_secs(5),
                connect: Duration::from_secs(4),
                first_byte: Duration::from_secs(8),
                slow: Duration::from_secs(8),
            },
            ..Facts::default()
        };
        // One more was at a destination that is not known.
        facts.counts.ends[end.index()] = 4;
        let (after, seen) = World::default().after(alarm, &facts).unwrap();
        assert_eq!((after, seen.subject.as_str()), (hold + 1, ""), "{end:?}");
        assert_eq!(seen.count, u64::from(after.min(10) * 4), "all of the last ten seconds: {end:?}");
        let told = ["rate", "destination", "upstream", "address", "limit"].map(|name| value(&seen, name));
        assert_eq!(told, ["4", "b.example:443", "203.0.113.7:443", "203.0.113.7", limit], "{end:?}");
        assert!(seen.sample.is_some());
        // Now and then is none.
        facts.counts.ends[end.index()] = 1;
        let mut world = World::default();
        let often = (0..300).any(|second| {
            let facts = if second % 2 == 0 { facts.clone() } else { Facts::default() };
            alarms(&world.second(&facts)).contains(&alarm)
        });
        assert!(!often, "{end:?}");
    }
}

#[test]
fn who_waits_for_long_counts_once_and_before_the_time_is_over() {
    for (end, alarm) in
        [(RequestEnd::ConnectTimeout, Alarm::ConnectTimeout), (RequestEnd::FirstByteTimeout, Alarm::ResponseTimeout)]
    {
        let patience = Patience {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_mins(1),
            slow: Duration::from_secs(5),
            ..Patience::default()
        };
        let waiting = Facts { failures: vec![failure(end, "a.example:443", 3)], patience, ..Facts::default() };
        let (_, seen) = World::default().after(alarm, &waiting).unwrap();
        assert_eq!((seen.count, value(&seen, "rate"), value(&seen, "limit")), (30, "3", "5 s"), "{end:?}");
        let mut given_up = Facts { patience, ..Facts::default() };
        given_up.counts.ends[end.index()] = 3;
        assert_eq!(World::default().after(alarm, &given_up), None, "they were told of when they waited: {end:?}");
    }
}

#[test]
fn a_destination_that_fails_nine_times_in_a_row_is_told() {
    let mut world = World::default();
    let facts = |times| Facts {
        failing: vec![Failing { destination: "a.example:80".to_owned(), end: RequestEnd::ConnectTimeout, times }],
        failures: vec![failure(RequestEnd::ConnectTimeout, "a.example:80", 1)],
        ..Facts::default()
    };
    assert_eq!(world.second(&facts(8)), []);
    let seen = world.second(&facts(9));
    assert_eq!((seen.len(), seen[0].alarm, seen[0].subject.as_str()), (1, Alarm::DestinationFenced, "a.example:80"));
    assert_eq!((value(&seen[0], "used"), value(&seen[0], "reason")), ("9", "connect_timeout"));
    assert!(seen[0].sample.is_some());
    assert_eq!(world.second(&Facts::default()), []);
}

#[test]
fn an_error_ratio_above_five_percent_is_told_after_two_minutes() {
    let ratio = |errors: u64, fine: u64, refused: u64| {
        let mut facts = Facts { failures: vec![failure(RequestEnd::UpstreamReset, "a:1", errors)], ..Facts::default() };
        facts.counts.ends[RequestEnd::UpstreamReset.index()] = errors;
        facts.counts.ends[RequestEnd::Forwarded.index()] = fine;
        facts.counts.ends[RequestEnd::SelfTarget.index()] = refused;
        facts
    };
    let (after, seen) = World::default().after(Alarm::ErrorRatio, &ratio(5, 95, 10_000)).unwrap();
    assert_eq!(after, 121);
    let told = ["used", "errors", "requests", "reason"].map(|name| value(&seen, name));
    assert_eq!(told, ["5.0%", "300", "6,000", "upstream_reset"]);
    assert!(seen.sample.is_some());
    assert_eq!(World::default().after(Alarm::ErrorRatio, &ratio(4, 96, 0)), None);
    // With one request every five seconds, all of them failing, nothing is said.
    let mut world = World::default();
    let seen = (0..600).any(|second| {
        let facts = if second % 5 == 0 { ratio(1, 0, 0) } else { Facts::default() };
        alarms(&world.second(&facts)).contains(&Alarm::ErrorRatio)
    });
    assert!(!seen);
}

#[test]
fn requests_that_take_long_are_told_after_a_minute() {
    let slow = |fast: u64, slow: u64| {
        let mut facts = Facts::default();
        // Up to 0.5 ms, and 2.5 s to 5 s.
        (facts.counts.latencies[0], facts.counts.latencies[12]) = (fast, slow);
        facts
    };
    let (after, seen) = World::default().after(Alarm::Latency, &slow(97, 3)).unwrap();
    assert_eq!((after, value(&seen, "used")), (61, "4.17 s"));
    assert_eq!(World::default().after(Alarm::Latency, &slow(995, 5)), None);
}

#[test]
fn the_machine_is_watched() {
    let of = |kernel| Facts { kernel: Arc::new(kernel), ..Facts::default() };
    let cpu = |user, iowait| {
        of(KernelView { cpu: Some(CpuShares { user, iowait, ..CpuShares::default() }), ..KernelView::default() })
    };
    let (after, seen) = World::default().after(Alarm::Cpu, &cpu(0.93, 0.0)).unwrap();
    assert_eq!((after, value(&seen, "used")), (61, "93%"));
    let (after, seen) = World::default().after(Alarm::IoWait, &cpu(0.1, 0.82)).unwrap();
    assert_eq!((after, value(&seen, "used")), (31, "82%"));
    assert_eq!(World::default().after(Alarm::Cpu, &cpu(0.1, 0.82)), None, "who waits is not busy");
    let disk = |path: &str, free| Disk { path: path.into(), free, total: 100 << 20 };
    let disks = vec![disk("/var/log", 5 << 20), disk("/var/lib", 50 << 20)];
    let disks = of(KernelView { disks, ..KernelView::default() });
    let (after, seen) = World::default().after(Alarm::DiskFull, &disks).unwrap();
    assert_eq!((after, seen.subject.as_str()), (11, "/var/log"));
    assert_eq!((value(&seen, "used"), value(&seen, "limit")), ("95.0 MiB", "100.0 MiB"));
}

#[test]
fn the_gateways_own_troubles_are_told_at_once() {
    let mut world = World::default();
    let mut facts = Facts { access_log: Some("/var/log/a.log".to_owned()), ..Facts::default() };
    (facts.counts.log_drops, facts.counts.panics) = (12, 1);
    facts.reload = Some(Reload { file: "/etc/f.toml".to_owned(), why: "line 2".to_owned() });
    let seen = world.second(&facts);
    assert_eq!(alarms(&seen), [Alarm::ReloadFailed, Alarm::AccessLogDrops, Alarm::Panic]);
    assert_eq!((value(&seen[0], "file"), value(&seen[0], "why")), ("/etc/f.toml", "line 2"));
    assert_eq!((seen[1].count, value(&seen[1], "file")), (12, "/var/log/a.log"));
    assert_eq!(world.second(&Facts::default()), []);
    let webhook = Undelivered { webhook: "wecom /etc/key".to_owned(), why: "errcode 45009".to_owned() };
    let facts = Facts { deliveries: vec![webhook], ..Facts::default() };
    let (after, seen) = world.after(Alarm::Delivery, &facts).unwrap();
    assert_eq!((after, seen.subject.as_str(), value(&seen, "why")), (61, "wecom /etc/key", "errcode 45009"));
}

#[test]
fn a_source_that_stops_is_told_and_one_that_never_was_there_is_not() {
    let mut world = World::default();
    let absent = |sources: &[&'static str]| {
        let absent = sources.iter().map(|source| Absent { source, why: "EIO".to_owned() }).collect();
        Facts { kernel: Arc::new(KernelView { absent, ..KernelView::default() }), ..Facts::default() }
    };
    let never = absent(&["/proc/slabinfo"]);
    assert_eq!(world.after(Alarm::NoData, &never), None);
    let (after, seen) = world.after(Alarm::NoData, &absent(&["/proc/slabinfo", "/proc/net/sockstat"])).unwrap();
    assert_eq!((after, seen.subject.as_str(), value(&seen, "why")), (11, "/proc/net/sockstat", "EIO"));
    // It comes, and goes again.
    assert_eq!(world.second(&absent(&[])), []);
    assert_eq!(world.after(Alarm::NoData, &never).unwrap().0, 11);
    // And so do we.
    world.now += 9_000;
    let late = world.second(&absent(&[]));
    assert_eq!((late.len(), late[0].subject.as_str()), (1, "control"));
    assert_eq!(value(&late[0], "why"), "nothing was read for 10 s");
}

#[test]
fn the_order_of_what_is_handed_over_does_not_matter() {
    let facts = |back: bool| {
        let mut facts = Facts {
            refused: (1..50_u8)
                .flat_map(|n| {
                    [RequestEnd::Malformed, RequestEnd::RateLimited]
                        .map(|end| refused(&format!("10.0.0.{n}"), end, u64::from(n % 3) * 20, n % 2 == 0))
                })
                .collect(),
            failures: (0..9).map(|n| failure(RequestEnd::DnsTimeout, &format!("{n}:1"), 3)).collect(),
            ..Facts::default()
        };
        facts.counts.ends[RequestEnd::DnsTimeout.index()] = 27;
        if back {
            facts.refused.reverse();
            facts.failures.reverse();
        }
        facts
    };
    let (mut one, mut other) = (World::default(), World::default());
    for _ in 0..20 {
        assert_eq!(one.second(&facts(false)), other.second(&facts(true)));
    }
}
