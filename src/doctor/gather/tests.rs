use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::doctor::{diagnose, show};
use crate::kernel::diag::State;

pub(in crate::doctor) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/doctor").join(name)
}

/// A tree of these files.
fn tree(files: &[(&str, &[u8])]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn unseen(evidence: &Evidence, source: &str) -> Option<String> {
    evidence.unseen.iter().find(|unseen| unseen.source == source).map(|unseen| unseen.why.clone())
}

#[test]
fn a_recorded_box_is_read_whole() {
    let evidence = recorded(&fixture("healthy")).unwrap();
    assert_eq!(evidence.unseen, []);
    assert_eq!(evidence.now.cores, Some(2));
    assert_eq!(evidence.ports(), Some(28_232));
    assert_eq!(evidence.sockets.inuse_v4, Some(141));
    assert_eq!(evidence.files, Some((1_856, 200_012)));
    assert_eq!(evidence.sysctls.len(), SYSCTLS.len());
    let slab = evidence.slab.as_ref().unwrap();
    assert!(
        slab.iter().any(|cache| cache.name == "TCP" && cache.objects == 182)
            && slab.is_sorted_by(|a, b| a.bytes >= b.bytes)
    );
    let processes = evidence.processes.as_ref().unwrap();
    assert_eq!((processes.seen, processes.fullest[0].name.as_str(), processes.fullest[0].open), (1, "squid", 4));
    assert_eq!(processes.fullest[0].limit, Some(65_536));
    let census = evidence.census.as_ref().unwrap();
    assert_eq!((census.listeners.len(), census.to_itself), (3, 0));
    assert_eq!(census.owners[0].0, "user proxy");
    let change = evidence.change().unwrap();
    assert!((change.seconds - 10.0).abs() < 1e-3, "{}", change.seconds);
    assert!((change.cpu().unwrap().idle - 0.97).abs() < 0.005, "{:?}", change.cpu());
    let (name, busy, _) = change.disks().next().unwrap();
    assert!(name == "sda" && busy < 0.01, "its partition is left out: {name} {busy}");
}

#[test]
fn the_counters_of_old_kernels_are_found() {
    let vm = |text: &str| parse::vmstat(text.as_bytes()).unwrap();
    let old = vm("pgscan_kswapd_dma 1\npgscan_kswapd_normal 20\npgscan_direct_normal 300\npgscan_direct_throttle 9\n");
    assert_eq!((old.scanned, old.direct, old.refaults), (Some(321), Some(300), None));
    let new = vm("workingset_refault_anon 5\nworkingset_refault_file 70\npgsteal_kswapd 3\npgsteal_khugepaged 8\n");
    assert_eq!((new.refaults, new.stolen, new.scanned), (Some(75), Some(3), None));
    assert_eq!(parse::vmstat(b"nr_free_pages 1\n"), None);
    let stat = parse::stat(b"cpu  1 2 3 4 5 6 7 8\ncpu0 1 2 3 4 5 6 7 8\n").unwrap();
    assert_eq!((stat.cores, stat.cpu), (Some(1), Some([1, 2, 3, 4, 5, 6, 7, 8])));
}

#[test]
fn a_row_of_the_socket_tables_is_a_socket() {
    let row = b"   3: 0205730A:0C38 1514730A:0400 06 00000010:00000002 00:00000000 00000000    13        0 30000 1 0";
    let address = |text: &str| -> SocketAddr { text.parse().unwrap() };
    if cfg!(target_endian = "little") {
        let socket = parse::socket(row).unwrap();
        assert_eq!((socket.local, socket.remote), (address("10.115.5.2:3128"), address("10.115.20.21:1024")));
        assert_eq!((socket.state, socket.uid, socket.inode, socket.queued), (State::TimeWait, 13, 30_000, 18));
        let mapped = b"0: 0000000000000000FFFF00000205730A:0C38 B80D0120000000000000000001000000:01BB 01 00000000:00000000 00:0 0 0 0 7";
        let socket = parse::socket(mapped).unwrap();
        assert_eq!((socket.local, socket.remote), (address("10.115.5.2:3128"), address("[2001:db8::1]:443")));
    }
    for odd in
        [&b""[..], b"  sl  local_address rem_address   st", b"0: 0:0 0:0 01 0:0 0:0 0 0 0 1", b"0: 0205730A:0C38"]
    {
        assert!(parse::socket(odd).is_none());
    }
    let header = b"entries drop early_drop insert_failed\n5 a 1 0\n5 1 0 2\n";
    assert_eq!(parse::tracking_losses(header), Some(14));
    assert_eq!(parse::tracking_losses(b"entries\n5\n"), None);
}

#[test]
fn only_what_is_beneath_the_folder_is_read() {
    let root = tree(&[("proc/loadavg", b"1.00 2.00 3.00 1/2 3\n")]);
    let proc = root.path().join("proc");
    // To the living box; to a device; to a pipe that nobody writes to; to a folder.
    symlink("/proc/stat", proc.join("stat")).unwrap();
    symlink("../../../../../../proc/uptime", proc.join("uptime")).unwrap();
    symlink("/dev/zero", proc.join("vmstat")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        proc.join("meminfo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    fs::create_dir(proc.join("diskstats")).unwrap();
    // A link that stays inside is followed.
    fs::create_dir_all(root.path().join("kept")).unwrap();
    fs::write(root.path().join("kept/sockstat"), "TCP: inuse 7 orphan 0 tw 0 alloc 9 mem 1\n").unwrap();
    fs::create_dir(proc.join("net")).unwrap();
    symlink("/kept/sockstat", proc.join("net/sockstat")).unwrap();
    let evidence = recorded(root.path()).unwrap();
    assert_eq!(evidence.sockets.inuse_v4, Some(7));
    assert_eq!((evidence.now.cores, evidence.now.uptime, evidence.memory.total), (None, None, None));
    for path in ["/proc/stat", "/proc/uptime", "/proc/vmstat", "/proc/meminfo", "/proc/diskstats"] {
        assert!(unseen(&evidence, path).is_some(), "{path}: {:?}", evidence.unseen);
    }
    assert!(evidence.gateway.is_none() && !evidence.live);
}

#[test]
fn what_is_too_long_or_no_such_file_is_told() {
    let long = vec![b' '; tree::LONGEST + 1];
    let root = tree(&[("proc/loadavg", b"1.00 2.00 3.00"), ("proc/stat", &long), ("proc/uptime", b"soon\n")]);
    let evidence = recorded(root.path()).unwrap();
    assert!(unseen(&evidence, "/proc/stat").unwrap().contains("1 MiB"));
    assert!(unseen(&evidence, "/proc/uptime").unwrap().contains("format"));
    assert!(unseen(&evidence, "/proc/slabinfo").unwrap().contains("root"));
    let empty = tree(&[("proc/loadavg", b"1.00 2.00 3.00"), ("proc/net/tcp", b"")]);
    let evidence = recorded(empty.path()).unwrap();
    assert!(evidence.census.is_none() && unseen(&evidence, "/proc/net/tcp").unwrap().contains("format"));
    assert!(recorded(&root.path().join("none")).unwrap_err().contains("none"));
    assert!(recorded(tempfile::tempdir().unwrap().path()).unwrap_err().contains("no file of /proc"));
}

#[test]
fn counters_that_run_backwards_are_not_told() {
    let file = |uptime: &str| format!("{uptime} 1.0\n");
    let netstat = |lost: u64| format!("TcpExt: ListenOverflows\nTcpExt: {lost}\n");
    for (before, after, rate) in [(10, 30, Some(2.0)), (30, 10, None)] {
        let root = tree(&[
            ("proc/uptime", file("100").as_bytes()),
            ("proc/net/netstat", netstat(before).as_bytes()),
            ("second/proc/uptime", file("110").as_bytes()),
            ("second/proc/net/netstat", netstat(after).as_bytes()),
        ]);
        let evidence = recorded(root.path()).unwrap();
        assert_eq!(evidence.change().unwrap().rate(|reading| reading.tcp.listen_overflows), rate);
    }
    // The second before the first: no time has passed.
    let root = tree(&[("proc/uptime", b"110 1\n"), ("second/proc/uptime", b"100 1\n")]);
    assert!(recorded(root.path()).unwrap().change().is_none());
}

/// Files of a tree that random bytes are put in.
const FILES: [&str; 16] = [
    "proc/stat",
    "proc/loadavg",
    "proc/uptime",
    "proc/vmstat",
    "proc/meminfo",
    "proc/slabinfo",
    "proc/diskstats",
    "proc/pressure/io",
    "proc/net/sockstat",
    "proc/net/netstat",
    "proc/net/tcp",
    "proc/net/stat/nf_conntrack",
    "proc/sys/net/ipv4/tcp_mem",
    "proc/sys/net/ipv4/ip_local_port_range",
    "proc/1/limits",
    "second/proc/uptime",
];

/// Words of the real files, and numbers of any size.
fn word() -> impl Strategy<Value = String> {
    let known: Vec<&str> = vec![
        "cpu",
        "cpu0",
        "procs_blocked",
        "pgscan_direct",
        "workingset_refault",
        "MemTotal:",
        "MemAvailable:",
        "SUnreclaim:",
        "kB",
        "#",
        "<active_objs>",
        "<num_slabs>",
        "<pagesperslab>",
        "TCP",
        "TCPv6",
        "TCP:",
        "inuse",
        "orphan",
        "tw",
        "alloc",
        "mem",
        "TcpExt:",
        "ListenOverflows",
        "TCPAbortOnMemory",
        "0205730A:0C38",
        "0A",
        "01",
        "06",
        "00000000:00000000",
        "8 0 sda",
        "drop",
        "some",
        "avg10=99.99",
        "Max open files",
        "inf",
        "NaN",
        "-1",
        "\n",
        "\n",
        " ",
        " ",
        " ",
    ];
    prop_oneof![
        proptest::sample::select(known).prop_map(str::to_owned),
        any::<u64>().prop_map(|number| format!(" {number} ")),
        (0_u64..100_000).prop_map(|number| format!(" {number} ")),
        any::<i128>().prop_map(|number| number.to_string()),
        "\\PC{0,3}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever stands in the files, it is judged and shown, and no number is made of nothing.
    #[test]
    fn no_tree_makes_it_panic(texts in proptest::collection::vec(proptest::collection::vec(word(), 0..40), FILES.len())) {
        let texts: Vec<String> = texts.iter().map(|words| words.concat()).collect();
        let files: Vec<(&str, &[u8])> = FILES.iter().zip(&texts).map(|(path, text)| (*path, text.as_bytes())).collect();
        let root = tree(&files);
        if let Ok(evidence) = recorded(root.path()) {
            let diagnosis = diagnose(&evidence);
            let text = show::text(&diagnosis);
            prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text}");
            prop_assert!(serde_json::from_str::<serde_json::Value>(&show::json(&diagnosis)).is_ok());
        }
    }

    #[test]
    fn no_bytes_make_a_parser_panic(text: Vec<u8>) {
        parse::stat(&text);
        parse::load(&text);
        parse::uptime(&text);
        parse::vmstat(&text);
        parse::disks(&text);
        parse::tracking_losses(&text);
        parse::backlog_drops(&text);
        parse::socket(&text);
        parse::open_files(&text);
        parse::inode(&text);
        parse::users(&text).count();
        parse::numbers(&text);
    }

    /// A row that was cut anywhere is the same socket or none.
    #[test]
    fn half_a_row_is_no_other_socket(cut: proptest::sample::Index) {
        let row = b"0: 0205730A:0C38 1514730A:0400 01 00000000:00000000 00:00000000 00000000 13 0 30000";
        let whole = parse::socket(row).unwrap();
        let part = &row[..cut.index(row.len())];
        if let Some(socket) = parse::socket(part) {
            prop_assert_eq!((socket.local, socket.remote, socket.uid), (whole.local, whole.remote, whole.uid));
        }
    }
}
