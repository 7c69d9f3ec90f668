use std::net::SocketAddr;

use serde_json::json;

use super::evidence::*;
use super::gather::recorded;
use super::*;
use crate::kernel::diag::State;

fn fixture(name: &str) -> Diagnosis {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/doctor").join(name);
    diagnose(&recorded(&root).unwrap())
}

fn causes(diagnosis: &Diagnosis) -> Vec<Cause> {
    diagnosis.causes.iter().map(|told| told.cause).collect()
}

fn step(diagnosis: &Diagnosis, step: Step) -> &Finding {
    diagnosis.steps.iter().find(|finding| finding.step == step).unwrap()
}

/// A quiet box of 2 GB with two readings, ten seconds apart.
fn quiet() -> Evidence {
    recorded(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/doctor/healthy")).unwrap()
}

fn socket(local: &str, remote: &str, state: State) -> Socket {
    Socket { local: local.parse().unwrap(), remote: remote.parse().unwrap(), state, inode: 0, uid: 0, queued: 0 }
}

fn census(sockets: impl IntoIterator<Item = Socket>) -> Census {
    let listener = Listener { local: "0.0.0.0:3128".parse().unwrap(), waiting: 0 };
    let mut counting = Counting::new(vec![listener], 32_768, ahash::AHashMap::default());
    sockets.into_iter().for_each(|socket| counting.add(&socket, |uid| format!("user {uid}")));
    counting.finish(false)
}

#[test]
fn each_recorded_box_has_its_cause_and_no_other() {
    for (name, verdict, expected) in [
        ("healthy", Verdict::Ok, None),
        ("incident-2020", Verdict::Critical, Some(Cause::SelfTarget)),
        ("port-exhaustion", Verdict::Critical, Some(Cause::PortExhaustion)),
        ("orphan-flood", Verdict::Critical, Some(Cause::OrphanFlood)),
        ("tcp-mem-pressure", Verdict::Critical, Some(Cause::TcpMemory)),
        ("conntrack-full", Verdict::Critical, Some(Cause::ConntrackFull)),
        ("slow-disk", Verdict::Critical, Some(Cause::SlowDisk)),
    ] {
        let diagnosis = fixture(name);
        let text = show::text(&diagnosis);
        assert_eq!(causes(&diagnosis), Vec::from_iter(expected), "{name}:\n{text}");
        assert_eq!(diagnosis.verdict, verdict, "{name}:\n{text}");
        assert_eq!(diagnosis.steps.iter().map(|finding| finding.step).collect::<Vec<_>>(), Step::ALL);
    }
}

#[test]
fn the_incident_is_told_from_culprit_to_symptom() {
    let diagnosis = fixture("incident-2020");
    let told = &diagnosis.causes[0];
    assert_eq!(told.client, Some("10.115.20.21".parse().unwrap()));
    let because = told.evidence.join("\n");
    for figure in [
        "connections of this box to itself",
        "10.115.5.2:80",
        "10.115.20.21 holds 1,150 sockets to port 3128",
        "→ iowait 82 % → load 11.4",
    ] {
        assert!(because.contains(figure), "{figure} is not in:\n{because}");
    }
    assert!(told.remedy[0].contains("saddr 10.115.20.21 tcp dport 3128"), "{:?}", told.remedy);
    assert!(step(&diagnosis, Step::Slab).evidence.join("\n").contains("caches TCP and TCPv6): 1"));
    assert!(step(&diagnosis, Step::Sockets).evidence.iter().any(|figure| figure.starts_with("a sample: ")));
    let unseen: Vec<&str> = diagnosis.unseen.iter().map(|unseen| unseen.source.as_str()).collect();
    assert_eq!(unseen, ["/proc/pressure/cpu", "/proc/pressure/io", "/proc/pressure/memory"]);
    // The culprit comes first.
    assert!(show::text(&diagnosis).starts_with("CRITICAL  10.115.20.21 asks the proxy for the proxy itself"));
}

#[test]
fn one_reading_is_enough_for_the_culprit() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/doctor/incident-2020");
    let mut evidence = recorded(&root).unwrap();
    evidence.now = evidence.before.take().unwrap();
    let diagnosis = diagnose(&evidence);
    assert_eq!(causes(&diagnosis), [Cause::SelfTarget]);
    let cpu = &step(&diagnosis, Step::Cpu).evidence[0];
    assert!(cpu.starts_with("on average since boot 10.6 days ago: ") && cpu.contains("iowait 37 %"), "{cpu}");
}

#[test]
fn a_setting_says_what_it_comes_to() {
    let settings = step(&fixture("healthy"), Step::Settings).evidence.join("\n");
    for figure in [
        "28,232 ports at 60 s TIME_WAIT = 470 new connections/s to one destination",
        "somaxconn 4,096",
        "tcp_max_orphans 8,192: up to 512 MiB",
        "nf_conntrack_max 65,536 in 16,384 buckets: 20 MiB",
        "tcp_mem 90 MiB / 120 MiB / 179 MiB",
    ] {
        assert!(settings.contains(figure), "{figure} is not in:\n{settings}");
    }
    let incident = fixture("incident-2020");
    let settings = step(&incident, Step::Settings);
    assert_eq!(settings.verdict, Verdict::Warning);
    assert!(settings.remedy.iter().any(|remedy| remedy.contains("net.core.somaxconn=4096")), "{settings:?}");
}

/// The quiet box, with one thing changed: just that is found.
#[test]
fn every_other_cause_is_found_by_itself() {
    type Change = fn(&mut Evidence);
    let cases: [(Cause, Change); 11] = [
        (Cause::ClientStorm, |e| {
            let storm =
                (0..700).map(|n| socket("10.0.0.1:3128", &format!("10.0.9.9:{}", 1024 + n), State::Established));
            let others = (0..90).map(|n| socket("10.0.0.1:3128", &format!("10.0.8.{n}:999"), State::Established));
            e.census = Some(census(storm.chain(others)));
        }),
        (Cause::SocketMemory, |e| e.slab = Some(vec![Cache { name: "TCP".into(), objects: 90_000, bytes: 300 << 20 }])),
        (Cause::Descriptors, |e| {
            let process = Process { name: "squid".into(), pid: 412, open: 1_020, limit: Some(1_024) };
            e.processes = Some(Processes { seen: 1, hidden: 0, fullest: vec![process] });
        }),
        (Cause::CloseWait, |e| {
            let leaked =
                (0..1_500).map(|n| socket("10.0.0.1:40000", &format!("203.0.113.{}:443", n % 200), State::CloseWait));
            e.census = Some(census(leaked));
        }),
        (Cause::TimeWait, |e| e.sockets.time_wait = Some(8_000)),
        (Cause::MemoryShortage, |e| e.memory.available = Some(60 << 20)),
        (Cause::Interrupts, |e| e.now.cpu.as_mut().unwrap()[6] += 1_200),
        (Cause::Stolen, |e| e.now.cpu.as_mut().unwrap()[7] += 1_000),
        (Cause::BusyCores, |e| e.now.cpu.as_mut().unwrap()[0] += 40_000),
        (Cause::AcceptQueue, |e| e.now.tcp.listen_overflows = Some(5_000)),
        (Cause::SelfTarget, |e| {
            let outward = (0..300).map(|n| socket(&format!("10.0.0.1:{}", 40_000 + n), "10.0.0.1:80", State::TimeWait));
            e.census = Some(census(outward));
        }),
    ];
    assert_eq!(causes(&diagnose(&quiet())), []);
    for (cause, change) in cases {
        let mut evidence = quiet();
        change(&mut evidence);
        let diagnosis = diagnose(&evidence);
        assert_eq!(causes(&diagnosis), [cause], "{}", show::text(&diagnosis));
        let told = &diagnosis.causes[0];
        assert!(told.verdict > Verdict::Ok && !told.evidence.is_empty() && !told.remedy.is_empty(), "{told:?}");
    }
    // With those of the recorded boxes, these are all.
    let recorded = [Cause::PortExhaustion, Cause::OrphanFlood, Cause::TcpMemory, Cause::ConntrackFull, Cause::SlowDisk];
    assert_eq!(cases.len() + recorded.len(), Cause::COUNT);
}

/// The sysctls that remedies set.
fn commanded(diagnosis: &Diagnosis) -> Vec<String> {
    let of_steps = diagnosis.steps.iter().flat_map(|finding| &finding.remedy);
    let all = diagnosis.causes.iter().flat_map(|told| &told.remedy).chain(of_steps);
    let words = all.flat_map(|remedy| remedy.split([' ', '`', '"'])).filter(|word| word.contains('='));
    let names = words.filter_map(|word| word.split('=').next());
    names.filter(|name| ["net.", "fs."].iter().any(|root| name.starts_with(root))).map(str::to_owned).collect()
}

#[test]
fn what_is_to_be_set_is_there() {
    let mut names = Vec::new();
    for name in ["incident-2020", "port-exhaustion", "orphan-flood", "tcp-mem-pressure", "conntrack-full", "slow-disk"]
    {
        names.extend(commanded(&fixture(name)));
    }
    let mut evidence = quiet();
    evidence.sockets.time_wait = Some(8_000);
    evidence.now.tcp.listen_overflows = Some(5_000);
    for (name, numbers) in
        [("net.ipv4.tcp_syncookies", vec![0]), ("net.ipv4.tcp_fin_timeout", vec![120]), ("fs.file-max", vec![4_000])]
    {
        evidence.sysctls.insert(name, numbers);
    }
    names.extend(commanded(&diagnose(&evidence)));
    assert!(names.len() > 10, "{names:?}");
    assert!(names.iter().all(|name| gather::SYSCTLS.contains(&name.as_str())), "{names:?}");
}

#[test]
fn two_troubles_are_two_causes() {
    let mut evidence = quiet();
    evidence.tracked = Some(65_530);
    evidence.memory.available = Some(60 << 20);
    assert_eq!(causes(&diagnose(&evidence)), [Cause::ConntrackFull, Cause::MemoryShortage]);
}

#[test]
fn nothing_seen_is_nothing_said() {
    let diagnosis = diagnose(&Evidence::default());
    assert_eq!((diagnosis.verdict, causes(&diagnosis)), (Verdict::Unknown, vec![]));
    assert!(diagnosis.steps.iter().all(|finding| finding.verdict == Verdict::Unknown), "{:?}", diagnosis.steps);
    assert!(show::text(&diagnosis).starts_with("UNKNOWN"));
    assert_eq!(diagnosis.verdict.exit_code(), 0);
}

#[test]
fn a_running_gateway_names_client_and_request() {
    let status = json!({
        "gateway": { "name": "floodgate", "version": "0.1.0" },
        "pressure": { "level": 1 },
        "fences": [{}],
        "clients": [{
            "address": "10.115.20.21", "kernel_bytes": 40_960, "sockets": 16, "refusals_per_minute": 840.0, "step": "stall",
            "outcome": "self_target", "why": "stalled: requests that name this proxy for 12 s", "sample": "GET http://10.115.5.2/\u{1b}[2J",
        }],
    });
    let mut evidence = quiet();
    evidence.gateway = gateway::read("http://127.0.0.1:9128", &status);
    let diagnosis = diagnose(&evidence);
    let told = &diagnosis.causes[0];
    // The gateway has it in hand.
    assert_eq!((told.cause, told.verdict), (Cause::SelfTarget, Verdict::Warning));
    assert_eq!(told.client, Some("10.115.20.21".parse().unwrap()));
    assert_eq!(told.request.as_deref(), Some("GET http://10.115.5.2/\u{fffd}[2J"));
    evidence.gateway.as_mut().unwrap().clients[0].outcome = Some("malformed".into());
    assert_eq!(causes(&diagnose(&evidence)), [Cause::ClientStorm]);
    for odd in [
        json!({}),
        json!([]),
        json!({ "gateway": {}, "clients": 1 }),
        json!({ "gateway": 1, "clients": [], "fences": 1 }),
    ] {
        assert_eq!(gateway::read("", &odd), None);
    }
}

#[test]
fn a_census_tells_who_is_who() {
    let mut sockets = vec![socket("10.0.0.1:3128", "10.0.9.9:5000", State::Established)];
    sockets.extend((0..3).map(|n| socket(&format!("10.0.0.1:4000{n}"), "203.0.113.5:443", State::TimeWait)));
    // To itself: both ends; over loopback it is nobody's client.
    sockets.push(socket("10.0.0.1:50000", "10.0.0.1:3128", State::Established));
    sockets.push(socket("10.0.0.1:3128", "10.0.0.1:50000", State::Established));
    sockets.push(socket("127.0.0.1:3128", "127.0.0.1:50001", State::Established));
    sockets.push(socket("10.0.0.1:3128", "0.0.0.0:0", State::Listen));
    let census = census(sockets);
    assert_eq!((census.total, census.inbound, census.to_itself, census.untold), (7, 1, 1, 0));
    let client = Peer { address: "10.0.9.9".parse().unwrap(), port: 3128, sockets: 1, queued: 0 };
    assert_eq!(census.clients, [client]);
    let to: SocketAddr = "203.0.113.5:443".parse().unwrap();
    assert_eq!(
        (census.destinations[0].to, census.destinations[0].sockets, census.destinations[0].time_wait),
        (to, 3, 3)
    );
    assert_eq!(census.own_target, Some("10.0.0.1:3128".parse().unwrap()));
    assert_eq!(census.of(State::TimeWait), 3);
}

#[test]
fn a_census_has_bounded_tables() {
    let many = (0..70_000_u32).map(|n| {
        let [_, a, b, c] = n.to_be_bytes();
        socket("10.0.0.1:3128", &format!("10.{a}.{b}.{c}:5000"), State::Established)
    });
    let census = census(many);
    assert_eq!((census.total, census.untold), (70_000, 70_000 - 65_536));
}

#[test]
fn a_cause_is_as_bad_as_what_it_brings_about() {
    let mut evidence = quiet();
    evidence.load = Some(Load { averages: [9.0; 3] });
    evidence.memory.available = Some(160 << 20);
    let diagnosis = diagnose(&evidence);
    assert_eq!(step(&diagnosis, Step::Memory).verdict, Verdict::Warning);
    let causes: Vec<_> = diagnosis.causes.iter().map(|told| (told.cause, told.verdict)).collect();
    assert_eq!(causes, [(Cause::MemoryShortage, Verdict::Critical)]);
    assert!(!show::text(&diagnosis).contains("No cause"));
}

#[test]
fn what_a_gateway_refuses_does_not_make_a_load() {
    let client = |address: &str, outcome: &str| Client {
        address: address.into(),
        outcome: Some(outcome.into()),
        refusals_per_minute: 1e300,
        ..Client::default()
    };
    for (outcome, cause) in [("self_target", Cause::SelfTarget), ("malformed", Cause::ClientStorm)] {
        let mut evidence = quiet();
        evidence.load = Some(Load { averages: [9.0; 3] });
        evidence.gateway = Some(Gateway { clients: vec![client("2001:db8::/64", outcome)], ..Gateway::default() });
        let diagnosis = diagnose(&evidence);
        assert_eq!((causes(&diagnosis), diagnosis.verdict), (vec![cause], Verdict::Critical));
        let text = show::text(&diagnosis);
        assert!(text.starts_with("CRITICAL  No cause was found for what stands out: load."), "{text}");
        assert!(text.contains("WARNING  2001:db8::/64 "), "{text}");
        assert!(text.lines().all(|line| line.len() < 200), "{text}");
    }
}

#[test]
fn what_a_capture_calls_critical_has_its_client() {
    let asker = Asker {
        client: "10.0.9.9".parse().unwrap(),
        proxy: "10.0.0.1:3128".parse().unwrap(),
        count: 14,
        request: "GET http://10.0.0.1/ HTTP/1.1".into(),
    };
    let said = Said {
        verdict: Verdict::Critical,
        cause: "The proxy connects to itself.".into(),
        evidence: String::new(),
        remedy: String::new(),
    };
    let mut evidence = quiet();
    evidence.heard = Some(Heard { askers: vec![asker], said: vec![said], ..Heard::default() });
    let diagnosis = diagnose(&evidence);
    assert!(show::text(&diagnosis).starts_with("CRITICAL  10.0.9.9 asks the proxy"), "{}", show::text(&diagnosis));
    // Cores that are busy wait for no disk.
    evidence.load = Some(Load { averages: [9.0; 3] });
    evidence.now.cpu.as_mut().unwrap()[0] += 40_000;
    let because = diagnose(&evidence).causes[0].evidence.join("\n");
    assert!(!because.contains("iowait"), "{because}");
    let remedy = diagnosis.causes[0].remedy.join("\n");
    // The operator may sit behind that address, too.
    assert!(remedy.contains("`ss -tK dst 10.0.9.9 sport = :3128`"), "{remedy}");
    assert!(remedy.contains("dst 10.0.0.1 127.0.0.0/8"), "{remedy}");
}

#[test]
fn files_that_are_read_again_are_no_shortage_while_memory_is_left() {
    let mut evidence = quiet();
    evidence.now.vm.refaults = evidence.before.as_ref().unwrap().vm.refaults.map(|refaults| refaults + 30_000);
    assert_eq!(causes(&diagnose(&evidence)), []);
    evidence.memory.available = Some(400 << 20);
    assert_eq!(causes(&diagnose(&evidence)), [Cause::MemoryShortage]);
}

#[test]
fn a_table_is_full_only_when_it_is() {
    let what = |change: fn(&mut Evidence)| {
        let mut evidence = quiet();
        change(&mut evidence);
        let diagnosis = diagnose(&evidence);
        diagnosis.causes.iter().map(|told| told.what.clone()).collect::<Vec<_>>().join("|")
    };
    let dropping = what(|e| {
        e.before.as_mut().unwrap().tracking_losses = Some(0);
        e.now.tracking_losses = Some(50);
    });
    assert_eq!(dropping, "");
    let near = what(|e| e.tracked = Some(52_000));
    assert!(near.contains("nearly full"), "{near}");
    let files = what(|e| e.files = Some((195_000, 200_012)));
    assert!(files.contains("The whole box"), "{files}");
    let process = what(|e| {
        let process = Process { name: "squid".into(), pid: 412, open: 840, limit: Some(1_024) };
        e.processes = Some(Processes { seen: 1, hidden: 0, fullest: vec![process] });
    });
    assert!(process.contains("few descriptors left"), "{process}");
    let waiting = what(|e| {
        let listener = Listener { local: "0.0.0.0:3128".parse().unwrap(), waiting: 3_000 };
        e.census = Some(Counting::new(vec![listener], 32_768, ahash::AHashMap::default()).finish(false));
    });
    assert!(waiting.starts_with("Connections wait"), "{waiting}");
}

#[test]
fn nobody_is_told_to_set_what_is_set() {
    let remedy = |retries| {
        let mut evidence = quiet();
        evidence.sockets.orphan = Some(8_000);
        evidence.sysctls.insert("net.ipv4.tcp_orphan_retries", vec![retries]);
        diagnose(&evidence).causes[0].remedy.join("|")
    };
    assert_eq!([0, 3, 8].map(|retries| remedy(retries).contains("tcp_orphan_retries=4")), [true, false, true]);
}

#[test]
fn busy_cores_are_told_as_such() {
    let mut evidence = quiet();
    evidence.now.cpu.as_mut().unwrap()[0] += 40_000;
    let meaning = diagnose(&evidence).steps.into_iter().find(|finding| finding.step == Step::Cpu).unwrap().meaning;
    assert!(meaning.contains("programs have more to do"), "{meaning}");
}

#[test]
fn what_was_hardly_seen_is_not_called_well() {
    let mut evidence = Evidence { load: quiet().load, ..Evidence::default() };
    evidence.now.cores = Some(2);
    evidence.unseen.push(Unseen { source: "floodgate".into(), why: "401 \u{202e}no".into() });
    let diagnosis = diagnose(&evidence);
    let text = show::text(&diagnosis);
    assert!(text.starts_with("OK  Nothing wrong was found, but 11 of 14 steps could not be seen."), "{text}");
    assert!(show::text(&diagnose(&quiet())).starts_with("OK  Nothing wrong was found.\n"));
    assert!(!show::json(&diagnosis).contains('\u{202e}'));
}
